"""A population file to start from, written from a table of people."""

import json
import re
from pathlib import Path

import pandas as pd

from popsim.errors import PopulationError
from popsim.population.respondents import read_respondents
from popsim.population.spec import FromTable

WEIGHTS = ("weight", "weights", "wgt", "wt", "w", "pwgtp")
"""What a column of weights is usually called."""
MOST_LEVELS = 12
"""Columns of words with more levels than this are described, but not offered as attributes to rake."""
LEAST_RECORDS = 5
"""So are columns with a level that fewer records have."""


def scaffold(table: Path, file: str) -> str:
    """Write a population file for a table of people: they answer themselves, or seed a population raked to margins.

    Args:
        table: CSV or Parquet, a row per person.
        file: How the population file names the table.

    Returns:
        YAML: the table's people with every complete column in their description; and, commented out, the same
        records as a seed with one margin per column, for published figures to be put in.

    Raises:
        PopulationError: The table cannot be read, or has no column that a description could use.
    """
    if not table.is_file():
        raise PopulationError(f"--from-csv {table}: no such file")
    source = FromTable(file=str(table))
    frame = read_respondents(source)
    weight = next((str(name) for name in frame if str(name).lower() in WEIGHTS and _numeric(frame[name])), None)
    usable = [str(name) for name in frame if re.fullmatch(r"[A-Za-z_]\w*", str(name), re.ASCII) and name != weight]
    told = [name for name in usable if frame[name].notna().all()]
    if not told:
        raise PopulationError(
            f"--from-csv {table}: no column is complete and named like a word (letters, digits, _); columns: "
            f"{', '.join(map(str, frame.columns))}"
        )
    name = re.sub(r"\W+", "_", table.name.split(".")[0], flags=re.ASCII).strip("_") or "people"
    name = name if not name[0].isdigit() else f"people_{name}"
    left = [str(column) for column in frame if column not in (*told, weight)]
    lines = [
        f"# The {len(frame)} people of {table.name}. Say who they are and put the description into sentences.",
        f"name: {name}",
        f"title: {_quoted(f'Respondents of {table.name}')}",
        "unit: people",
        "from_table:",
        f"  file: {_quoted(file)}",
        *(
            [f"  weight: {weight}"]
            if weight
            else ["  # weight: the column with weights; without it everybody counts the same"]
        ),
        *([f"# Not described (missing values, or a name that no slot can have): {', '.join(left)}"] if left else []),
        "persona:",
        "  en: |-",
        *(f"    {column}: {{{{{column}}}}}" for column in told),
        *_seeded(frame, [column for column in told if _is_attribute(frame[column])], file, weight),
    ]
    return "\n".join(lines) + "\n"


def _seeded(frame: pd.DataFrame, attributes: list[str], file: str, weight: str | None) -> list[str]:
    """Offer the same records as a seed, raked to margins that begin as the records' own shares."""
    if not attributes:
        return []
    weights = frame[weight].to_numpy(float) if weight else 1.0
    lines = [
        "",
        "# To draw any number of new people raked to published figures, with these records as seed, replace",
        "# from_table and persona by this, and each table by the published one (its source, its year):",
        "# attributes:",
    ]
    margins = []
    for name in attributes:
        levels = [str(level) for level in frame[name].cat.categories]
        shares = frame.assign(_=weights).groupby(name, observed=False)["_"].sum().to_numpy(float)
        lines.append(f"#   {name}: {_quoted(levels)}")
        percent = _quoted([round(float(share), 6) for share in 100 * shares / shares.sum()])
        margins += [
            f"#   - {{name: {name}, of: [{name}], measure: shares, unit: people, year: theirs, status: assumption,",
            f"#      table: [{_quoted(levels)}, {percent}]}}",
        ]
    seed = {"file": file, **({"weight": weight} if weight else {}), "status": "assumption"}
    return [
        *lines,
        "# steps:",
        f"# - adds: [{', '.join(attributes)}]",
        f"#   seed: {_quoted(seed)}",
        "#   margins:",
        *margins,
        "# persona:",
        "#   en: |-",
        *(f"#     {name}: {{{{{name}}}}}" for name in attributes),
    ]


def _numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype))


def _is_attribute(column: pd.Series) -> bool:
    if _numeric(column):
        return False
    counts = column.value_counts()
    return 2 <= len(counts) <= MOST_LEVELS and int(counts.min()) >= LEAST_RECORDS


def _quoted(value: object) -> str:
    """Write a value so that YAML reads it back as it is."""
    return json.dumps(value, ensure_ascii=False)
