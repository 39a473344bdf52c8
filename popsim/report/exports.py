"""Tables for other programs: CSV, Stata and SPSS files with labels, and a codebook."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from popsim.files import write_whole
from popsim.report.material import Material
from popsim.report.methods import plain
from popsim.survey.questions import option_labels

Format = Literal["csv", "dta", "sav"]
FORMATS: tuple[Format, ...] = ("csv", "dta", "sav")
_LONGEST_NAME = 32
_LONGEST = {"dta": (80, 32_000), "sav": (256, 120)}
"""Most characters of a variable's label in Stata, most bytes in SPSS; most bytes of a value's label."""
_RESERVED = re.compile("all|and|by|byte|double|eq|float|ge|gt|if|in|int|le|long|lt|ne|not|or|strl|to|using|with", re.I)
_ABOUT = {
    "replicate": "Number of the replicate",
    "person": "Number of the respondent",
    "wave": "Number of the wave, from 0",
    "group": "Kind of respondent",
    "arm": "Arm of the experiment",
    "vignette": "Vignette that the question belongs to",
    "position": "Place of the question in the questionnaire, from 0",
    "question": "Name of the question",
    "draw": "Number of the draw of this person, from 0",
    "value": "The answer as a number; of a choice the option's place, from 0",
    "label": "The option chosen, or free text",
    "status": "What became of the answer",
    "weight": "Weight of the respondent",
}


@dataclass(frozen=True)
class Variable:
    """One column of an exported file.

    Attributes:
        name: In the file.
        column: In the table.
        about: What it holds.
        labels: Code -> label, where the numbers of the file are codes.
    """

    name: str
    column: str
    about: str
    labels: Mapping[int, str] = field(default_factory=dict)


def export(material: Material, folder: Path, to: Format) -> list[Path]:
    """Write answers, people and one row per respondent and wave, each with its labels, and a codebook.

    Args:
        material: A run or a sweep.
        folder: Where the files go.
        to: The kind of file.

    Returns:
        The files.
    """
    written, chapters = [], []
    for name, table in _tables(material):
        variables = describe(table, material)
        path = folder / f"{name}.{to}"
        write_whole(path, lambda at, table=table, variables=variables: _write(table, variables, at, to))  # type: ignore[misc]
        written.append(path)
        chapters.append(codebook(name, len(table), variables))
    head = f"# Codebook: {plain(material.scenario.title)}\n\n{_HEAD[to]}\n\n"
    path = folder / "codebook.md"
    write_whole(path, lambda at: at.write_text(head + "\n".join(chapters), encoding="utf-8"))
    return [*written, path]


_HEAD = {
    "csv": "Missing values are empty. Labels stand in the cells themselves.",
    "dta": "Missing numbers are `.`, missing text is empty. Labels too long for Stata are cut there, not here.",
    "sav": "Missing numbers are system-missing, text is empty. Labels too long for SPSS are cut there, not here.",
}


def responses(answers: pd.DataFrame, people: pd.DataFrame, paths: tuple[str, ...] = ()) -> pd.DataFrame:
    """Lay answers out with one row per respondent, wave and draw: a column per question, one per option of several.

    Args:
        answers: The answers table.
        people: The people table, put beside the answers; empty for a sweep, whose replicates have other people.
        paths: The swept columns.

    Returns:
        Numbers where a question has them, else text; an answer that failed is missing, its status stands in
        ``QUESTION_status``.
    """
    keys = [*paths, "replicate", "person", "wave", "draw", "group", "arm"]
    readable = answers[answers["status"].eq("ok") & answers["label"].notna()]
    numbers = readable.loc[readable["value"].notna(), "question"]
    texts = set(readable["question"].astype(str)) - set(numbers.astype(str))
    named = answers.assign(name=answers["question"].astype(str))
    several = named.duplicated([*keys, "question"], keep=False)
    place = named.groupby([*keys, "question"], observed=True, sort=False).cumcount() + 1
    named["name"] = named["name"].where(~several, named["name"] + "_" + place.astype(str))
    wide = named[keys].drop_duplicates().set_index(keys)
    for name in dict.fromkeys(named["name"]):
        mine = named[named["name"].eq(name)].set_index(keys)
        is_text = str(mine["question"].iloc[0]) in texts
        column = f"{name}_answer" if name in keys else name
        wide[column] = mine["label" if is_text else "value"].where(mine["status"].eq("ok"))
        wide[f"{name}_status"] = mine["status"]
    wide = wide.reset_index()
    return wide if people.empty else wide.merge(people, on="person", how="left", suffixes=("", "_respondent"))


def describe(table: pd.DataFrame, material: Material) -> list[Variable]:
    """Name every column as Stata and SPSS take it, and say what it and its codes mean."""
    scenario = material.scenario
    questions = {q.name: q for q in scenario.shown(next(iter(scenario.arms))).questions}
    taken: set[str] = set()
    found = []
    for column in map(str, table.columns):
        question = _question(column, questions)
        labels: dict[int, str] = {}
        if isinstance(table[column].dtype, pd.CategoricalDtype):
            labels = {code: str(label) for code, label in enumerate(table[column].cat.categories)}
        elif column in questions and getattr(question, "kind", "") == "choice":
            shown = zip(*(option_labels(one) for one in _in_every_arm(column, material)), strict=True)
            labels = {place: " / ".join(dict.fromkeys(options)) for place, options in enumerate(shown)}
        elif column in questions and getattr(question, "kind", "") == "scale":
            labels = {int(point): word for point, word in question.labels.items()}
        found.append(Variable(_name(column, taken), column, _about(column, question, material), labels))
    return found


def codebook(name: str, rows: int, variables: list[Variable]) -> str:
    """Write the chapter of one file: every variable, and what its codes mean."""
    lines = [
        f"## {name}",
        "",
        f"{rows:,} rows.",
        "",
        "| variable | column | what it holds | codes |",
        "|---|---|---|---|",
    ]
    for one in variables:
        codes = "; ".join(f"{code} = {label}" for code, label in one.labels.items())
        cells = (one.name, one.column, one.about, codes)
        lines.append("| " + " | ".join(" ".join(plain(cell).split()) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _tables(material: Material) -> Iterator[tuple[str, pd.DataFrame]]:
    answers, people = material.table("answers").drop(columns="weight", errors="ignore"), material.table("people")
    swept = bool(material.paths)
    if len(answers):
        yield "answers", answers
        yield "responses", responses(answers, pd.DataFrame() if swept else people, tuple(material.paths))
    if len(people) and not swept:
        yield "people", people


def _write(table: pd.DataFrame, variables: list[Variable], path: Path, to: Format) -> None:
    if to == "csv":
        table.set_axis([one.name for one in variables], axis=1).to_csv(path, index=False)
        return
    import pyreadstat

    longest_label, longest_code = _LONGEST[to]
    plain_columns = {one.name: _codes(table[one.column]) for one in variables}
    about = {one.name: _cut(one.about, longest_label, in_bytes=to == "sav") for one in variables}
    codes = {
        one.name: {
            plain_columns[one.name].dtype.type(code).item(): _cut(label, longest_code, in_bytes=True)
            for code, label in one.labels.items()
        }
        for one in variables
        if one.labels
    }
    write = pyreadstat.write_dta if to == "dta" else pyreadstat.write_sav
    write(pd.DataFrame(plain_columns), path, column_labels=about, variable_value_labels=codes)


def _codes(column: pd.Series) -> pd.Series:
    """Give a column as numbers or text: categories by their codes, missing text empty."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes
        return codes.astype(np.int16) if codes.min() >= 0 else codes.astype(np.float64).where(codes >= 0)
    if pd.api.types.is_bool_dtype(column):
        return column.astype(np.int8)
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(np.float64) if pd.api.types.is_extension_array_dtype(column.dtype) else column
    return column.astype(object).where(column.notna(), "").astype(str)


def _name(column: str, taken: set[str]) -> str:
    """Make a name that Stata and SPSS both take, and that no other column has.

    Example:
        >>> taken = set()
        >>> [_name(column, taken) for column in ("news.0.reach", "news_0_reach", "all")]
        ['news_0_reach', 'news_0_reach_2', 'all_']
    """
    clean = re.sub(r"[^A-Za-z0-9_]", "_", column)
    clean = clean if re.match(r"[A-Za-z]", clean) else f"v{clean}"
    clean = (f"{clean}_" if _RESERVED.fullmatch(clean) else clean)[:_LONGEST_NAME]
    name, number = clean, 2
    while name.lower() in taken:
        ending = f"_{number}"
        name, number = clean[: _LONGEST_NAME - len(ending)] + ending, number + 1
    taken.add(name.lower())
    return name


def _cut(text: str, most: int, *, in_bytes: bool) -> str:
    text = " ".join(text.split())
    size = (lambda t: len(t.encode())) if in_bytes else len
    if size(text) <= most:
        return text
    while size(text) > most - 3:
        text = text[:-1]
    return text + "…"


def _question(column: str, questions: Mapping[str, Any]) -> Any:
    """Find the question that a column of the wide table belongs to."""
    whole = column.removesuffix("_status")
    names = (column, whole, re.sub(r"_\d+$", "", whole))
    return next((questions[name] for name in names if name in questions), None)


def _in_every_arm(name: str, material: Material) -> list[Any]:
    """Give a question as each arm sees it."""
    scenario = material.scenario
    return [q for arm in scenario.arms for q in scenario.shown(arm).questions if q.name == name]


def _about(column: str, question: Any, material: Material) -> str:
    if question is None:
        return _ABOUT.get(column, f"Swept: {column}" if column in material.paths else f"Respondent: {column}")
    if column.endswith("_status"):
        return f"What became of the answer: {question.label or question.name}"
    if column != question.name:
        return f"{option_labels(question)[int(column.rpartition('_')[2]) - 1]}: {question.text}"
    return str(question.text)
