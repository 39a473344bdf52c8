"""A user's own respondents: a CSV or Parquet file with any columns."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from popsim.errors import PopulationError
from popsim.population.draw import systematic
from popsim.population.sources import read_frame
from popsim.population.spec import FromTable, PopulationSpec, check_parts, levels_of
from popsim.population.tables import unknown


def bind_table(spec: PopulationSpec, path: Path) -> PopulationSpec:
    """Tie a spec to the table beside its file, and check every name in it against the table's columns.

    Args:
        spec: A spec with ``from_table``.
        path: The file of the spec.

    Returns:
        The spec with the table's hash, so that another table is another population.

    Raises:
        PopulationError: There is no such table, or a name does not fit its columns.
    """
    assert spec.from_table is not None
    where = path.parent / spec.from_table.file
    if not where.is_file():
        raise PopulationError(f"{path}: from_table.file: {where}: no such file")
    digest = hashlib.sha256(where.read_bytes()).hexdigest()
    if spec.from_table.sha256 not in ("", digest):
        raise PopulationError(f"{path}: from_table.sha256: {where} has changed: its hash is {digest}")
    bound = FromTable(file=spec.from_table.file, weight=spec.from_table.weight, sha256=digest)
    bound._path = where
    try:
        frame = read_respondents(bound)
        check_parts(spec, table_levels(frame))
    except (PopulationError, ValueError) as problem:
        raise PopulationError(f"{path}: {problem}") from None
    for column in set(frame.columns) & set(spec.derived) - {bound.weight}:
        raise PopulationError(f"{path}: {where} has a column {column!r}, which the population file makes; rename one")
    return spec.model_copy(update={"from_table": bound})


def read_respondents(table: FromTable) -> pd.DataFrame:
    """Read the table: numbers stay numbers, everything else becomes a categorical column.

    Raises:
        PopulationError: The file cannot be read, has no rows, or its weights cannot be weights.
    """
    path = table._path or Path(table.file)
    frame = read_frame(path, as_text=False)
    for column in frame.columns:
        kind = frame[column].dtype
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
            text = frame[column].astype("str").where(frame[column].notna())
            frame[column] = pd.Categorical(text, categories=list(dict.fromkeys(text.dropna())))
    if table.weight is not None:
        if table.weight not in frame:
            raise PopulationError(f"from_table.weight: {unknown('column', table.weight, list(frame.columns))}")
        weights = frame[table.weight]
        if not pd.api.types.is_numeric_dtype(weights.dtype) or not np.isfinite(weights).all() or (weights < 0).any():
            raise PopulationError(f"{path}: column {table.weight}: weights must be numbers of at least 0, none missing")
        if not weights.sum() > 0:
            raise PopulationError(f"{path}: column {table.weight}: all weights are 0")
    return frame


def table_levels(frame: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """List the levels of every categorical column; a column of numbers has none."""
    return {
        str(column): tuple(frame[column].cat.categories) if isinstance(frame[column].dtype, pd.CategoricalDtype) else ()
        for column in frame.columns
    }


def people_levels(spec: PopulationSpec) -> dict[str, tuple[str, ...]]:
    """List the columns that the people of a population have, each with its levels; a column of numbers has none.

    Example:
        >>> from popsim.population import load_population
        >>> found = people_levels(load_population("us_adults_2018"))
        >>> found["tenure"], found["age"]
        (('own', 'rent'), ())
    """
    attributes = table_levels(read_respondents(spec.from_table)) if spec.from_table else spec.attributes
    known = levels_of(spec, attributes)
    return {name: tuple(known.get(name, ())) for name in (*attributes, *spec.derived)}


def draw_respondents(table: FromTable, size: int, random: np.random.Generator) -> pd.DataFrame:
    """Take respondents from the table.

    With as many people as the table has rows, each respondent stands once, in order, with their weight scaled to a mean
    of 1. With any other size they are drawn in proportion to their weights, systematically, and count for 1 each.
    """
    frame = read_respondents(table)
    weights = frame[table.weight].to_numpy(float) if table.weight else np.ones(len(frame))
    kept = frame.drop(columns=[table.weight]) if table.weight else frame
    if size == len(frame):
        return kept.assign(weight=weights / weights.mean())
    rows = np.repeat(np.arange(len(frame)), systematic(weights * (size / weights.sum()), random.random()))
    random.shuffle(rows)
    return kept.iloc[rows].reset_index(drop=True).assign(weight=1.0)
