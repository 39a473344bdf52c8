"""What a part of the page is made of: text, tables of text, pictures drawn when asked for; nothing here is HTML."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

_INTERVAL = "95 % interval"
_ONE = r"(< )?[+−-]?\d[\d,.]*%?"
_NUMBER = re.compile(rf"{_ONE}( to {_ONE})?( \({_ONE}( to {_ONE})?\))?")
_HEADS = {
    "human_se": "human SE", "simulated_se": "simulated SE", "z": "gap in SEs", "sd": "SD",
    "sampling_error": "sampling error of the source",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of a table, with the class that colours it."""

    cells: Sequence[str]
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table, every cell already text; a class for each column, ``number`` where it goes to the right."""

    heads: Sequence[str]
    classes: Sequence[str]
    rows: Sequence[Row]
    caption: str = ""


@dataclass(frozen=True)
class Folded:
    """Something long that is opened by a click."""

    title: str
    note: str = ""
    text: str = ""
    table: Table | None = None


@dataclass(frozen=True)
class Quote:
    """Words that a respondent gave."""

    text: str
    who: str


@dataclass(frozen=True)
class Part:
    """One part of the page; its pictures are those whose section is its id, its note stands below its tables."""

    id: str
    title: str
    lines: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    quotes: Sequence[Quote] = ()
    warnings: Sequence[str] = ()
    note: str = ""
    folded: Sequence[Folded] = field(default_factory=tuple)


@dataclass(frozen=True)
class Figure:
    """One picture: drawn when it is asked for, at the width that is asked for.

    Attributes:
        section: Which part of the page it belongs to.
        title: What it shows, in a few words.
        note: How to read it.
        data: The figures behind it.
        chart: Draws it at a width in pixels.
    """

    section: str
    title: str
    note: str
    data: pd.DataFrame
    chart: Callable[[int], Any]


Named = Iterator[tuple[str, Figure]]


def number(value: Any) -> str:
    """Write a value for a reader: three decimals at most, thousands apart, a real minus sign.

    Example:
        >>> [number(x) for x in (1234.5, -0.25, 12, "a", None)]
        ['1,234.5', '−0.25', '12', 'a', '']
    """
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool) or not hasattr(value, "__round__"):
        return str(value)
    said = f"{float(value):,.3f}".rstrip("0").rstrip(".")
    return "0" if said == "-0" else said.replace("-", "−")


def tabulate(frame: pd.DataFrame, caption: str = "", marks: Sequence[str] = ()) -> Table:
    """Turn a frame into a table; ``low`` and ``high`` become one column."""
    shown = frame
    if {"low", "high"} <= set(frame.columns):
        shown = (
            frame.assign(low=_interval(frame["low"], frame["high"]))
            .drop(columns="high")
            .rename(columns={"low": _INTERVAL})
        )
    numeric = [bool(pd.api.types.is_numeric_dtype(shown[name])) for name in shown]
    classes = ["number" if numeric[k] or _reads_as_numbers(shown[name]) else "" for k, name in enumerate(shown)]
    classes = [
        "number interval" if one and _is_wide(shown[name]) else one for name, one in zip(shown, classes, strict=True)
    ]
    heads = [_HEADS.get(str(name), str(name).replace("_", " ")) for name in shown]
    columns = [
        _aligned(shown[name]) if numeric[k] else [_minus(number(value), classes[k]) for value in shown[name]]
        for k, name in enumerate(shown)
    ]
    rows = [Row(list(cells), marks[k] if marks else "") for k, cells in enumerate(zip(*columns, strict=True))]
    return Table(heads, classes, rows, caption)


def _reads_as_numbers(column: pd.Series) -> bool:
    """Say whether a column of text holds numbers, each perhaps with its interval or a second number in brackets."""
    said = [str(value).strip() for value in column if str(value).strip()]
    return bool(said) and all(_NUMBER.fullmatch(one) for one in said)


def _is_wide(column: pd.Series) -> bool:
    """Say whether a column of numbers holds intervals too."""
    return any(" to " in str(value) for value in column)


def _minus(said: str, kind: str) -> str:
    """Give numbers that came as text a real minus sign."""
    return said.replace("-", "−") if kind else said


def _aligned(column: pd.Series) -> list[str]:
    """Write a column of numbers with as many decimals as the one that needs most, three at the most."""
    said = [number(value) for value in column]
    places = max((len(one.partition(".")[2]) for one in said), default=0)
    return [
        f"{float(value):,.{places}f}".replace("-", "−") if one else "" for value, one in zip(column, said, strict=True)
    ]


def _interval(low: pd.Series, high: pd.Series) -> list[str]:
    """Put the two ends of each interval into one cell."""
    both = _aligned(pd.concat([low, high], ignore_index=True))
    return [f"{a} to {b}" if a else "" for a, b in zip(both[: len(low)], both[len(low) :], strict=True)]
