"""Human answers in a table of rows: how its columns are read, and what is refused in them."""

from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import pandas as pd
from pydantic import Field, StrictFloat, StrictInt, model_validator

from popsim.errors import TargetError
from popsim.evaluate.resampling import Cell, as_numbers, cell_of
from popsim.files import Frozen
from popsim.survey import Difference, Vignette
from popsim.survey.questions import Name, Question, Text, option_labels

Code = StrictInt | StrictFloat | str
READ = (".csv", ".parquet", ".sav", ".dta")


class OutcomeColumns(Frozen):
    """Where one outcome stands: in one column, or in two whose difference it is."""

    column: str = ""
    shock: str = ""
    baseline: str = ""
    codes: dict[Code, str] = {}
    """What a code in the column means: the option of a choice."""
    bins: tuple[float, ...] = ()
    """Ends of the bins for distances that need bins; those are left out without."""
    smoothing: float = Field(default=0.5, ge=0)
    """Answers added to every bin before shares are taken."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, the minuend first."""
        return (self.column,) if self.column else (self.shock, self.baseline)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.column) == bool(self.shock) or bool(self.shock) != bool(self.baseline):
            raise ValueError("give column, or shock and baseline")
        if any(right <= left for left, right in zip(self.bins, self.bins[1:], strict=False)):
            raise ValueError(f"bins must ascend, not {list(self.bins)}")
        return self


class HumanRows(Frozen):
    """A table with a row per respondent and arm."""

    file: str
    """CSV, Parquet, SPSS (.sav) or Stata (.dta), beside the file of targets."""
    group: Name
    vignette: Name
    arm: str
    """The column that holds the arm."""
    arms: dict[Code, Name] = {}
    """What a code in it means; the arm's name itself unless given."""
    person: str = ""
    """The column that names respondents; every row is another unless given."""
    weight: str = ""
    """The column of weights; equal unless given."""
    attributes: dict[Name, str] = {}
    """An attribute of the simulated people -> the column that holds it with the same levels, to audit subgroups."""
    missing: tuple[Code, ...] = ()
    """Codes that stand for no answer, in any column of an outcome."""
    outcomes: dict[Name, OutcomeColumns] = Field(min_length=1)
    wave: str = ""
    population: Text
    published: date
    source: Text


def human_cells(rows: HumanRows, vignette: Vignette) -> dict[tuple[str, str], Cell]:
    """Read the answers of a table by outcome and arm.

    Args and Raises: As for `human_answers`.

    Returns:
        By (outcome, arm): values (of a choice the option's place), the person of each as the unit, and weights.
    """
    found = {}
    for key, answers in human_answers(rows, vignette).items():
        unit, people = pd.factorize(answers["person"])
        found[key] = cell_of(as_numbers(answers["value"]), unit, as_numbers(answers["weight"]), len(people))
    return found


def human_answers(rows: HumanRows, vignette: Vignette) -> dict[tuple[str, str], pd.DataFrame]:
    """Read the answers of a table by outcome and arm, with who gave them.

    Args:
        rows: How the table is laid out.
        vignette: The vignette as it is simulated, which says what answers there can be.

    Returns:
        By (outcome, arm): ``value`` (of a choice the option's place), ``person``, ``weight`` and the attributes.

    Raises:
        TargetError: The file or a column is missing, a code is unknown, an answer lies outside its scale, or a weight
            is not positive.
    """
    table = _read(rows)
    wanted = [
        rows.arm,
        rows.person,
        rows.weight,
        *rows.attributes.values(),
        *(c for one in rows.outcomes.values() for c in one.columns),
    ]
    for column in filter(None, wanted):
        if column not in table:
            raise TargetError(
                f"{rows.file}: has no column {column!r}. Its columns: {', '.join(map(str, table.columns))}"
            )
    arm = _decoded(rows, table[rows.arm], rows.arms) if rows.arms else table[rows.arm].astype(str)
    known = set(vignette.arms)
    if known and not set(arm.dropna()) <= known:
        odd = sorted(set(arm.dropna()) - known)[0]
        raise TargetError(
            f"{rows.file}: column {rows.arm!r} holds {odd!r}, no arm of {vignette.name}; allowed: "
            f"{', '.join(sorted(known))}; map codes under rows.arms"
        )
    weight = table[rows.weight] if rows.weight else pd.Series(1.0, table.index)
    if not (weight > 0).all():
        raise TargetError(
            f"{rows.file}: column {rows.weight!r} holds {_first(weight[~(weight > 0)])}; weights must be positive: "
            "drop these rows or give them a weight"
        )
    person = table[rows.person] if rows.person else table.index.to_series()
    about = {name: table[column] for name, column in rows.attributes.items()}
    whole = pd.DataFrame({"person": person, "weight": weight, **about})
    found = {}
    for name, where in rows.outcomes.items():
        values = _outcome(rows, name, where, table, vignette)
        for one in dict.fromkeys(arm.dropna()):
            here = values.notna() & arm.eq(one)
            if here.any():
                found[name, one] = whole[here].assign(value=values[here])
    return found


def _outcome(
    rows: HumanRows, name: str, where: OutcomeColumns, table: pd.DataFrame, vignette: Vignette
) -> "pd.Series[float]":
    """Read one outcome of every row, missing where there is no answer."""
    asked = {question.name: question for question in vignette.questions}
    change = vignette.changes.get(name)
    questions = _questions(rows, name, where, change, asked)
    read = []
    for column, question in zip(where.columns, questions, strict=False):
        answers = table[column].mask(table[column].map(_plain).isin([_plain(code) for code in rows.missing]))
        if options := option_labels(question):
            labels = _decoded(rows, answers, where.codes) if where.codes else answers
            places = labels.map({option: float(place) for place, option in enumerate(options)})
            _refuse(rows, column, answers[places.isna() & answers.notna()], f"an option: {', '.join(options)}")
            read.append(places)
            continue
        numbers = pd.to_numeric(answers, errors="coerce")
        _refuse(rows, column, answers[numbers.isna() & answers.notna()], "a number")
        low, high = _range(question, len(questions) > len(where.columns))
        _refuse(rows, column, numbers[numbers.notna() & ~numbers.between(low, high)], f"from {low:g} to {high:g}")
        read.append(numbers)
    return (read[0] - read[1]).round(9) if len(read) == 2 else read[0]


def _questions(
    rows: HumanRows, name: str, where: OutcomeColumns, change: Difference | None, asked: dict[str, Question]
) -> list[Question]:
    if change is not None:
        return [asked[change.shock], asked[change.baseline]]
    if name in asked and len(where.columns) == 1 and asked[name].kind in ("number", "scale", "choice"):
        return [asked[name]]
    raise TargetError(
        f"rows.outcomes.{name} ({rows.file}): vignette {rows.vignette} has no change and no number, scale or choice "
        f"question of that name that these columns could hold"
    )


def _range(question: Any, as_change: bool) -> tuple[float, float]:
    """Give the legal answers to a question, or the legal changes between two like it."""
    width = float(question.maximum - question.minimum)
    return (-width, width) if as_change else (float(question.minimum), float(question.maximum))


def _decoded(rows: HumanRows, column: "pd.Series[Any]", codes: dict[Any, str]) -> "pd.Series[Any]":
    """Turn codes into names; a code counts whether it stands in the file as a number or as text."""
    names = {_plain(code): name for code, name in codes.items()}
    found = column.map(lambda code: names.get(_plain(code)), na_action="ignore")
    _refuse(rows, str(column.name), column[found.isna() & column.notna()], f"a code: {', '.join(map(str, codes))}")
    return found


def _plain(code: object) -> str:
    number = pd.to_numeric(str(code), errors="coerce")
    return str(code) if pd.isna(number) else f"{float(number):g}"


def _refuse(rows: HumanRows, column: str, odd: "pd.Series[Any]", allowed: str) -> None:
    if len(odd):
        raise TargetError(
            f"{rows.file}: column {column!r} holds {_first(odd)}, not {allowed}; a code for no answer belongs under "
            "rows.missing"
        )


def _first(odd: "pd.Series[Any]") -> str:
    return f"{odd.iloc[0]} in row {odd.index[0] + 1}" + (f" and {len(odd) - 1} more such rows" if len(odd) > 1 else "")


def _read(rows: HumanRows) -> pd.DataFrame:
    path = Path(rows.file)
    if path.suffix not in READ:
        raise TargetError(f"{path}: rows come as {', '.join(READ)}, not {path.suffix or 'a file without an ending'}")
    if not path.is_file():
        raise TargetError(f"{path}: no such file")
    if path.suffix in (".sav", ".dta") and find_spec("pyreadstat") is None:
        raise TargetError(f"{path}: reading it needs pyreadstat; install popsim[evaluate] or save the table as CSV")
    try:
        return _read_as(path).reset_index(drop=True)
    except TargetError:
        raise
    except Exception as problem:  # each reader has errors of its own
        said = " ".join(str(problem).split())
        raise TargetError(f"{path}: cannot be read as {path.suffix}: {said}") from None


def _read_as(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path)
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    import pyreadstat

    read = pyreadstat.read_sav if path.suffix == ".sav" else pyreadstat.read_dta
    table: pd.DataFrame = read(path)[0]
    return table
