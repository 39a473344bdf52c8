"""Who is who: human rows, the run's rows of the same people, and those of a population."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.errors import RunError, TargetError
from popsim.evaluate.audit import places
from popsim.evaluate.pairs import QUANTILES, Pairs, Side
from popsim.evaluate.rows import HumanRows, human_answers
from popsim.evaluate.statistics import direction
from popsim.evaluate.targets import DIRECTIONS
from popsim.slots import did_you_mean, slots_of
from popsim.study.comparing import ANSWERING, columns_of, sample_of
from popsim.study.folder import Run
from popsim.survey import Vignette
from popsim.survey.questions import option_labels

_FOLD, _IS = "the fold of a row", "is "
"""Columns beside the attributes, whose names have no spaces."""

Ints = NDArray[np.int64]


class Options(NamedTuple):
    """What a user may choose."""

    outcome: str = ""
    """One outcome; all that the human rows have unless given."""
    fold: str = ""
    """The column that says which model was not tuned on a person."""
    within: tuple[str, ...] = ()
    """Attributes within whose levels quantiles are mapped."""
    quantiles: tuple[float, ...] = QUANTILES
    rescale: bool = False
    """Whether simulated answers are first moved onto the human scale, across folds."""
    wave: int = 0


class Cell(NamedTuple):
    """One outcome in one arm, ready to be corrected."""

    outcome: str
    arm: str
    pairs: Pairs
    left_out: tuple[str, ...]


Cells = Mapping[tuple[str, str], pd.DataFrame]
"""By outcome and arm: a row per person, ``value`` and the share of draws with each mark."""


@dataclass(frozen=True)
class Study:
    """Human answers with the row of the run that each belongs to, and what each model simulated."""

    rows: HumanRows
    answers: Cells
    twins: Sequence[Cells]
    population: Sequence[Cells]
    people: tuple[pd.DataFrame, pd.DataFrame]
    """Those among whom the humans are, and the population."""
    apart: bool
    """Whether the population was simulated by runs of its own."""
    chosen: Options

    @classmethod
    def of(cls, rows: HumanRows, runs: Sequence[Run], population: Sequence[Run], chosen: Options) -> Self:
        """Read everything and refuse what does not fit."""
        lots = list(columns_of(runs).values())
        others = _matched(lots, list(columns_of(population).values())) if population else lots
        first, vignette = lots[0][0], _vignette(rows, lots[0][0])
        _check_names(rows, first.people, others[0][0].people, chosen)
        _check_hidden(rows, first)
        wanted = {name: where for name, where in rows.outcomes.items() if name == chosen.outcome or not chosen.outcome}
        extra = {_FOLD: chosen.fold} if chosen.fold else {}
        asked = rows.model_copy(update={"outcomes": wanted, "attributes": {**rows.attributes, **extra}})
        answers = {key: _seated(found, rows, first) for key, found in human_answers(asked, vignette).items()}
        marks = {name: _marks_of(vignette, name) for name in wanted}
        marked = {key: _marked(found, marks[key[0]]) for key, found in answers.items()}
        twins, whole = ([_simulated(lot, rows, marks, chosen.wave) for lot in side] for side in (lots, others))
        return cls(rows, marked, twins, whole, (first.people, others[0][0].people), bool(population), chosen)

    def cell(self, outcome: str, arm: str) -> Cell:
        """Put the humans of one arm, their twins and the population side by side."""
        found = self.answers[outcome, arm]
        if not all((outcome, arm) in one for one in (*self.twins, *self.population)):
            there = ", ".join(sorted({arm for name, arm in self.twins[0] if name == outcome})) or "none"
            raise TargetError(
                f"{self.rows.file}: the runs have no readable answer to {outcome} in arm {arm!r}; there: {there}. "
                "assignment: crossed puts everybody into every arm"
            )
        fold = _folds(found, len(self.twins), self.chosen.fold, self.rows.file)
        parts = [_among(one[outcome, arm], found.index[fold == k]) for k, one in enumerate(self.twins)]
        twin = pd.concat(parts)
        answered = set() if self.apart else {row for one in self.answers.values() for row in one.index}
        population = _mixed([one[outcome, arm] for one in self.population], fold[fold >= 0], answered)
        if population.empty:
            raise TargetError(
                f"{self.rows.file}: everybody in arm {arm} has a human answer, so nobody is left as the population; "
                "name runs of one with --population"
            )
        human, (ours, theirs) = found.loc[twin.index], self.people
        weight = theirs["weight"] if "weight" in theirs else pd.Series(1.0, theirs.index)
        sides = (
            self._side(human, human["weight"], ours),
            self._side(twin, human["weight"], ours),
            self._side(population, weight.loc[population.index], theirs),
        )
        return Cell(outcome, arm, Pairs(*sides, self.chosen.within), tuple(_left_out(found, fold, twin)))

    def _side(self, answers: pd.DataFrame, weight: "pd.Series[Any]", people: pd.DataFrame) -> Side:
        """Take answers with the covariates of who gave them."""
        marks = {
            str(name).removeprefix(_IS): answers[name].to_numpy(np.float64) for name in answers if _IS in str(name)[:3]
        }
        facts = people.loc[answers.index, list(self.rows.attributes)].reset_index(drop=True)
        values = answers["value"].to_numpy(np.float64)
        return Side(values, marks, weight.to_numpy(np.float64), facts, not set(marks) - set(DIRECTIONS))


def _matched(lots: Sequence[list[Run]], others: Sequence[list[Run]]) -> list[list[Run]]:
    """Find for each model the runs of the population that it answered in the same way."""
    there = {_way(lot[0]): lot for lot in others}
    for lot in lots:
        if _way(lot[0]) not in there:
            raise RunError(
                f"{others[0][0].path}: was not answered like {lot[0].path}; engine, sampling, draws, questionnaire, "
                "prompt and news must be the same for the humans' twins and for the population"
            )
    return [there[_way(lot[0])] for lot in lots]


def _way(run: Run) -> str:
    """Say all that decides how an answer comes about, but who gives it."""
    fields = ANSWERING - {"assignment", "network"} | {"questionnaire", "prompt"}
    return f"{run.manifest['engine']['fingerprint']} {run.scenario.model_dump_json(include=fields)}"


def _vignette(rows: HumanRows, run: Run) -> Vignette:
    scenario = run.scenario
    known = {one.name: one for one in scenario.questionnaire.of_group(scenario.group).vignettes}
    if rows.group != scenario.group or rows.vignette not in known:
        raise TargetError(
            f"{rows.file}: is of vignette {rows.vignette!r} and group {rows.group!r}; {run.path} has group "
            f"{scenario.group!r} with {', '.join(known)}"
        )
    return known[rows.vignette]


def _check_names(rows: HumanRows, ours: pd.DataFrame, theirs: pd.DataFrame, chosen: Options) -> None:
    """Refuse names that nothing has."""
    for name in rows.attributes:
        for people in (ours, theirs):
            if name not in people:
                near = did_you_mean(name, map(str, people))
                raise TargetError(f"{rows.file}: rows.attributes.{name}: the runs' people have no such column{near}")
    for name in chosen.within:
        if name not in rows.attributes:
            there = ", ".join(rows.attributes) or "none"
            raise TargetError(f"--within {name}: is not under rows.attributes of the human rows; there: {there}")
    if chosen.outcome and chosen.outcome not in rows.outcomes:
        near = did_you_mean(chosen.outcome, list(rows.outcomes))
        raise TargetError(
            f"--outcome {chosen.outcome}: {rows.file} has none such{near} Has: {', '.join(rows.outcomes)}"
        )
    if odd := [share for share in chosen.quantiles if not 0 < share < 1]:
        raise TargetError(f"--quantiles {odd[0]:g}: a quantile lies between 0 and 1")


def _check_hidden(rows: HumanRows, run: Run) -> None:
    """Refuse a run whose prompts told the answers that it is held against."""
    told = {slot for text in run.scenario.population.persona.values() for slot in slots_of(text)}
    if leak := sorted(told & {column for where in rows.outcomes.values() for column in where.columns}):
        raise TargetError(
            f"{run.path}: the persona tells {leak[0]!r}, which holds human answers, so the twins recite them; take it "
            "out of the persona and run again"
        )


def _seated(found: pd.DataFrame, rows: HumanRows, run: Run) -> pd.DataFrame:
    """Find the row of the run that each human is, and make sure that they are alike; it becomes the index."""
    people, table = run.people, run.scenario.population.from_table
    if table is None:
        raise TargetError(
            f"{run.path}: its people were drawn from margins and are nobody's twins; simulate those who answered, with "
            "from_table: in a population file"
        )
    if rows.person in people:
        if not people[rows.person].is_unique:
            raise TargetError(
                f"{run.path}: column {rows.person!r} names somebody twice; run it with size: that of the table"
            )
        seats = dict(zip(people[rows.person].astype("str"), people.index, strict=True))
        row = found["person"].astype("str").map(seats)
    elif not rows.person and hashlib.sha256(Path(rows.file).read_bytes()).hexdigest() == table.sha256:
        row = found["person"].where(found["person"] < len(people))
    else:
        raise TargetError(
            f"{rows.file}: nothing says who is who; name the column of respondents under rows.person, and have it in "
            f"the table of {run.path}, whose columns are: {', '.join(map(str, people))}"
        )
    if row.isna().any():
        raise TargetError(
            f"{rows.file}: person {found['person'][row.isna()].iloc[0]} is not among the people of {run.path}"
        )
    seated = found.set_index(row.astype(np.int64).rename(None))
    if seated.index.has_duplicates:
        twice = seated["person"][seated.index.duplicated()].iloc[0]
        raise TargetError(f"{rows.file}: person {twice} has two rows in one arm; keep one of them")
    for name in rows.attributes:
        mine, theirs = seated[name].astype("str"), people.loc[seated.index, name].astype("str")
        if (odd := mine.ne(theirs) & seated[name].notna()).any():
            at = seated.index[odd][0]
            raise TargetError(
                f"{rows.file}: person {seated['person'][at]} has {name} {mine[at]} there, {theirs[at]} in {run.path}: "
                "these are not the same people"
            )
    return seated


def _marks_of(vignette: Vignette, outcome: str) -> tuple[str, ...]:
    """Name what an answer to an outcome can be: a direction, an option, or nothing of the kind."""
    if outcome in vignette.changes:
        return DIRECTIONS
    asked = {question.name: question for question in vignette.questions}
    return option_labels(asked[outcome])


def _marked(answers: pd.DataFrame, marks: Sequence[str]) -> pd.DataFrame:
    """Add a column for each direction or option: 1 where it is the answer."""
    values = answers["value"].to_numpy(np.float64)
    if tuple(marks) == DIRECTIONS:
        return answers.assign(**{f"{_IS}{mark}": direction(values, mark) for mark in marks})
    return answers.assign(**{f"{_IS}{mark}": (values == place).astype(float) for place, mark in enumerate(marks)})


def _simulated(lot: Sequence[Run], rows: HumanRows, marks: Mapping[str, Sequence[str]], wave: int) -> Cells:
    """Take what one model simulated by outcome and arm, the draws of each person averaged."""
    sample = sample_of("", lot, wave)
    row = sample.answers.drop_duplicates("person").set_index("person")["row"]
    found = {}
    for place, _, frame in places(sample):
        if (place.group, place.vignette) != (rows.group, rows.vignette) or place.outcome not in marks:
            continue
        values = _marked(frame[["value"]].astype(np.float64), marks[place.outcome])
        found[place.outcome, place.arm] = values.groupby(frame["person"].map(row)).mean()
    return found


def _folds(found: pd.DataFrame, models: int, column: str, file: str) -> Ints:
    """Say which model answers for each human: the one that was not tuned on them; -1 where all were."""
    if not column:
        if models > 1:
            raise TargetError(
                f"{models} models: --fold must name the column of {file} that says who was held out of which"
            )
        return np.zeros(len(found), dtype=np.int64)
    number = pd.to_numeric(found[_FOLD], errors="coerce")
    if (odd := (number.isna() & found[_FOLD].notna()) | (number.notna() & ~number.isin(range(1, models + 1)))).any():
        raise TargetError(f"{file}: column {column!r} holds {found[_FOLD][odd].iloc[0]}, not 1 to {models} or nothing")
    return (number.fillna(0).to_numpy(np.int64) - 1).astype(np.int64)


def _mixed(frames: Sequence[pd.DataFrame], folds: Ints, answered: set[int]) -> pd.DataFrame:
    """Take each member of the population from one model, the models as often as they answer for a human."""
    rows = sorted({row for frame in frames for row in frame.index} - answered)
    if not len(folds):
        return frames[0].iloc[:0]
    model = folds[np.arange(len(rows)) % len(folds)]
    parts = [_among(one, pd.Index(np.asarray(rows)[model == k])) for k, one in enumerate(frames)]
    return pd.concat(parts).sort_index()


def _among(frame: pd.DataFrame, rows: "pd.Index[Any]") -> pd.DataFrame:
    return frame.loc[frame.index.intersection(rows)]


def _left_out(found: pd.DataFrame, fold: Ints, twin: pd.DataFrame) -> Iterator[str]:
    """Say which humans are not used."""
    seen = int((fold < 0).sum())
    if seen:
        yield f"{seen} of {len(found)} human answers were tuned on and are left out"
    if silent := len(found) - seen - len(twin):
        yield f"{silent} of {len(found)} humans have no readable simulated answer and are left out"
