"""Simulated answers cut into cells: the readable answers of one arm to one outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from popsim.errors import TargetError
from popsim.evaluate.marks import Marks
from popsim.evaluate.resampling import Cell, Figure, Ints, as_numbers, cell_of
from popsim.evaluate.statistics import Values, direction, joint_direction
from popsim.evaluate.targets import DIRECTIONS, POOLED, Target
from popsim.slots import did_you_mean
from popsim.survey import Difference, Vignette
from popsim.survey.questions import Question, option_labels

Outcome = Difference | Question

_OF_A_PAIR = ("replicate", "unit", "person", "wave", "group", "arm", "draw", "weight")
_OF_NUMBERS = "mean, sd, trimmed_sd, quantile, share of fall, same and rise, joint_share, effect, asymmetry"


@dataclass(frozen=True)
class Sample:
    """Answers of one model, prompt and temperature, from one run or from several."""

    label: str
    fitted: bool
    """Whether who answered was fitted to published figures."""
    answers: pd.DataFrame
    """Readable answers: ``unit, person, group, arm, vignette, question, draw, value, label, weight``."""
    vignettes: Mapping[tuple[str, str], Vignette]
    """By group and name, with the slots as they were or filled in."""
    stratum: Ints
    """(units,) what each unit is drawn again within."""
    unit: Literal["person", "replicate"] = "person"
    """What is drawn again: a replicate where people hear from each other."""
    marks: Marks = field(default_factory=Marks)
    """What was planned before there were answers."""
    excluded: Mapping[str, int] = field(default_factory=dict)
    """How many were left out by a plan, by reason."""
    cut: dict[tuple[str, ...], pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)
    """Answers by group, vignette and outcome, kept once they were cut."""


class Missing(NamedTuple):
    """What a target needs and a sample lacks."""

    what: str
    name: str
    there: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        near = did_you_mean(self.name, self.there)
        return f"the runs have no {self.what} {self.name!r}{near} There: {', '.join(self.there) or 'none'}"


def missing(sample: Sample, target: Target) -> Missing | None:
    """Find the group, vignette or arm of a target that a sample lacks.

    Args:
        sample: What was simulated.
        target: The human figure.
    """
    groups = tuple(dict.fromkeys(group for group, _ in sample.vignettes))
    if target.group not in groups:
        return Missing("group", target.group, groups)
    names = tuple(name for group, name in sample.vignettes if group == target.group)
    if target.vignette not in names:
        return Missing("vignette", target.vignette, names)
    find_outcome(sample, target, target.outcomes[0])
    frame = outcome_answers(sample, target, target.outcomes[0])
    arms = tuple(frame["arm"].unique())
    absent = [arm for arm in target.arm_names if arm not in arms]
    return Missing("readable answer in arm", absent[0], arms) if absent else None


def find_outcome(sample: Sample, target: Target, name: str) -> Outcome:
    """Find what an outcome of a target is, and refuse what cannot be taken of it.

    Raises:
        TargetError: The vignette has no such outcome, it was asked in another form, or the statistic makes no sense.
    """
    vignette = sample.vignettes[target.group, target.vignette]
    changes = vignette.changes
    asked = {question.name: question for question in vignette.questions}
    found = changes.get(name) or asked.get(name)
    if found is None:
        known = [*changes, *asked]
        raise TargetError(
            f"target {target.label}: the runs have no outcome {name!r}{did_you_mean(name, known)} "
            f"There: {', '.join(known)}"
        )
    form = "levels" if isinstance(found, Difference) else "direct"
    if target.form != form:
        raise TargetError(
            f"target {target.label}: its form is {target.form!r} and that of the runs is {form!r}; figures of two "
            "forms of a question are not compared"
        )
    _refuse_nonsense(target, found)
    return found


def _refuse_nonsense(target: Target, found: Outcome) -> None:
    """Refuse a statistic that the kind of an outcome does not have."""
    kind = _kind(found)
    number = kind in ("change", "number", "scale")
    if target.statistic not in ("share", "joint_share") or target.of in DIRECTIONS or target.statistic == "joint_share":
        good = number
    elif not isinstance(found, Difference) and found.kind == "scale":
        good = target.of in {str(point) for point in range(found.minimum, found.maximum + 1)}
    else:
        good = kind in ("choice", "multiple") and target.of in option_labels(found)
    if not good:
        options = option_labels(found) if kind in ("choice", "multiple") else ()
        allowed = f"shares of {', '.join(options)}" if options else _OF_NUMBERS if number else "nothing"
        what = f"{target.statistic} {target.of}".strip()
        asked = kind if kind == "change" else f"{kind} question"
        raise TargetError(f"target {target.label}: {what} makes no sense for a {asked}. Allowed: {allowed}")


def outcome_answers(sample: Sample, target: Target, name: str) -> pd.DataFrame:
    """Take the answers to one outcome of a target (`answers_to`)."""
    key = (target.group, target.vignette, name)
    return sample.cut[key] if key in sample.cut else answers_to(sample, *key, find_outcome(sample, target, name))


def answers_to(sample: Sample, group: str, vignette: str, name: str, found: Outcome) -> pd.DataFrame:
    """Take the answers to one outcome: ``unit, person, arm, draw, weight, value`` and, of options, ``label``."""
    key = (group, vignette, name)
    if key not in sample.cut:
        answers = sample.answers
        here = answers[answers["vignette"].eq(vignette) & answers["group"].eq(group)]
        if isinstance(found, Difference):
            sample.cut[key] = changes_by_person(here, found).rename(columns={"change": "value"})
        else:
            sample.cut[key] = here[here["question"].eq(name)]
    return sample.cut[key]


def changes_by_person(answers: pd.DataFrame, change: Difference) -> pd.DataFrame:
    """Take shock minus baseline for every person, arm, wave and draw with two readable answers.

    Args:
        answers: The answers table of a run, or of several that differ in ``replicate``.
        change: The two questions.

    Returns:
        What tells the answers of a pair from others, and ``change``.
    """
    keys = [name for name in _OF_A_PAIR if name in answers]
    readable = answers[answers["status"].eq("ok")] if "status" in answers else answers
    ends = [readable.loc[readable["question"].eq(name), [*keys, "value"]] for name in (change.shock, change.baseline)]
    both = ends[0].merge(ends[1], on=keys, suffixes=("", "_baseline"), validate="one_to_one")
    # Differences of decimals are rounded so that 4.3 - 4.0 counts as 0.3 and equal answers as no change.
    return both[keys].assign(change=(both["value"] - both["value_baseline"]).round(9)).dropna(subset="change")


def figure_of(sample: Sample, target: Target) -> Figure:
    """Turn a target into the figure to take of a sample."""
    trim = {"trimmed_sd": target.trim, "sd": 0.0}.get(target.statistic)
    at = float(target.of) if target.statistic == "quantile" else None
    share = 1 / len(target.arm_names) if target.pooling == POOLED else 1.0
    signs = (1.0, -1.0) if target.statistic == "effect" else (1.0,) * len(target.arm_names)
    parts = zip(signs, target.arm_names, strict=True)
    return Figure(tuple((share * sign, arm_cell(sample, target, arm)) for sign, arm in parts), trim, at)


def arm_cell(sample: Sample, target: Target, arm: str) -> Cell:
    """Cut the answers of one arm, reversed where the target says so, as numbers or as marks of a share."""
    turn = -1.0 if arm in target.reversed else 1.0
    frames = [outcome_answers(sample, target, name) for name in target.outcomes]
    here = [frame[frame["arm"].eq(arm)] for frame in frames]
    if len(here) == 2:
        keys = ["unit", "person", "arm", "draw", "weight"]
        both = here[0][[*keys, "value"]].merge(here[1][[*keys, "value"]], on=keys, suffixes=("", "_other"))
        marks = joint_direction(turn * as_numbers(both["value"]), turn * as_numbers(both["value_other"]), target.of)
        return _cell(both, marks)
    share = target.of if target.statistic == "share" else ""
    return _cell(*of_outcome(here[0], find_outcome(sample, target, target.outcomes[0]), share, turn))


def of_outcome(here: pd.DataFrame, found: Outcome, of: str = "", turn: float = 1.0) -> tuple[pd.DataFrame, Values]:
    """Give answers to an outcome as numbers, or as marks of those that a share is of, with the rows they stand in.

    Args:
        here: From `answers_to`.
        found: The outcome.
        of: A direction of a number, a point of a scale, or an option; the numbers themselves unless given.
        turn: What numbers are multiplied by first.
    """
    kind = _kind(found)
    if kind == "multiple" and of:
        here = here[here["label"].eq(of)]
    values = turn * as_numbers(here["value"])
    if not of:
        return here, values
    if of in DIRECTIONS and kind in ("change", "number", "scale"):
        return here, direction(values, of)
    if kind == "multiple":
        return here, np.asarray(values != 0, dtype=np.float64)
    if kind == "scale":
        return here, np.asarray(values == float(of), dtype=np.float64)
    return here, as_numbers(here["label"].eq(of).astype(np.float64))


def _kind(found: Outcome) -> str:
    return "change" if isinstance(found, Difference) else found.kind


def _cell(frame: pd.DataFrame, values: Values) -> Cell:
    weight = as_numbers(frame["weight"])
    return cell_of(values, frame["unit"].to_numpy(), weight, int(frame["person"].nunique()))
