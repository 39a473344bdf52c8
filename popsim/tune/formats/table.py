"""A plain CSV with a row per answer, and a map that says which column is what."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from popsim.errors import TuneError
from popsim.files import Frozen
from popsim.tune.records import Answer, Item, as_number, make_answer


class ItemMap(Frozen):
    """A question that the table's answers belong to."""

    text: str
    options: tuple[str, ...] = ()
    places: tuple[float | None, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float = Field(default=1, gt=0)
    missing: tuple[float | str, ...] = ()
    codes: dict[str, str] = {}
    """A code in the column of answers -> the option that it stands for."""


class ColumnMap(Frozen):
    """Which column is what."""

    person: str
    question: str
    answer: str
    study: str = ""
    condition: str = ""
    stimulus: str = ""
    facts: tuple[str, ...] = ()
    """Columns with what is known of the person."""
    items: dict[str, ItemMap] = Field(min_length=1)
    """The questions, by what stands in the column ``question``."""


def read_csv(path: str | Path, columns: ColumnMap) -> list[Answer]:
    """Read answers from a CSV.

    Args:
        path: The file.
        columns: Which column is what.

    Raises:
        TuneError: There is no such file or column, a question is not among the items, or an answer is none of its.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise TuneError(f"{path}: no such file") from None
    except (ValueError, UnicodeDecodeError) as problem:
        raise TuneError(f"{path}: not readable as CSV: {problem}") from None
    named = [columns.person, columns.question, columns.answer, columns.study, columns.condition, columns.stimulus]
    if lacks := [name for name in [*named, *columns.facts] if name and name not in table.columns]:
        raise TuneError(f"{path}: has no column {lacks[0]!r}; it has {', '.join(table.columns)}")
    items = {
        name: Item(name, one.text, one.options, one.places, one.low, one.high, one.step, one.missing)
        for name, one in columns.items.items()
    }
    rows = table.to_dict("records")
    return [_answer(row, columns, items, f"{path}, row {i}") for i, row in enumerate(rows, 2)]


def _answer(row: Mapping[Any, str], columns: ColumnMap, items: Mapping[str, Item], where: str) -> Answer:
    name = row[columns.question]
    if name not in items:
        raise TuneError(f"{where}: question {name!r} is not among the items: {', '.join(items)}")
    item, raw = items[name], row[columns.answer]
    value: str | float | None = columns.items[name].codes.get(raw, raw) or None
    if value is not None and value not in item.missing and item.low is not None:
        value = as_number(value, f"{where}: question {name}")
    return make_answer(
        row[columns.person],
        item,
        value,
        where,
        facts={fact: row[fact] for fact in columns.facts if row[fact]},
        study=row[columns.study] if columns.study else "",
        condition=row[columns.condition] if columns.condition else "",
        stimulus=row[columns.stimulus] if columns.stimulus else "",
    )


def write_csv(path: str | Path, answers: Iterable[Answer]) -> ColumnMap:
    """Write answers as a CSV, and give the map that reads it again.

    Args:
        path: The file.
        answers: A missing one has an empty field.
    """
    import pandas as pd

    from popsim.files import write_whole

    answers = list(answers)
    facts = list(dict.fromkeys(name for one in answers for name in one.facts))
    rows = [
        {
            "person": one.person,
            "question": one.item.name,
            "answer": "" if one.value is None else one.value,
            "study": one.study,
            "condition": one.condition,
            "stimulus": one.stimulus,
            **{name: one.facts.get(name, "") for name in facts},
        }
        for one in answers
    ]
    write_whole(Path(path), lambda to: pd.DataFrame(rows).to_csv(to, index=False))
    items = {one.item.name: one.item for one in answers}
    kept = ("text", "options", "places", "low", "high", "step", "missing")
    return ColumnMap(
        person="person",
        question="question",
        answer="answer",
        study="study",
        condition="condition",
        stimulus="stimulus",
        facts=tuple(facts),
        items={name: ItemMap(**{key: getattr(item, key) for key in kept}) for name, item in items.items()},
    )
