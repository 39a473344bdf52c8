"""From vignettes to what ``baseline`` draws from: published moments are fitted, the rest gets stated default draws."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from popsim.engines.baseline.draws import (
    Changes,
    Density,
    Draw,
    FittedDensity,
    Level,
    OneOf,
    SomeOf,
    Spec,
    asked_in,
    cumulate,
)
from popsim.engines.baseline.entropy import fit_number, fit_subsets
from popsim.engines.baseline.moments import (
    ChangeFit,
    ChangeTarget,
    Floats,
    Grid,
    fit_change,
    grid_of,
    heaping_base,
    joint_table,
    level_pmf,
)
from popsim.engines.baseline.scores import HEAPING
from popsim.errors import EngineError

Made = TypeVar("Made")
Margin = tuple[float, ...]

_AVERAGE = HEAPING[-1]
_JOINT = ("both_fall", "fall_rise", "rise_fall", "both_rise", "other")


class Plan(NamedTuple):
    """How some vignettes are answered in one arm."""

    questions: tuple[tuple[str, Spec], ...]
    """(vignette, question) in the order asked."""
    draws: tuple[Draw, ...]
    """What draws all questions but the texts."""


@lru_cache(maxsize=256)
def plan_answers(vignettes: str, arm: str) -> Plan:
    """Fit what some vignettes carry published moments for, and state draws for the rest.

    A choice is drawn uniformly; a scale with a peak in the middle; a number around its anchor (see `level_pmf`); a
    multiple question with any legal number of options.

    Args:
        vignettes: A JSON list of vignettes.
        arm: The arm that is answered.

    Raises:
        EngineError: A reference contradicts itself or cannot be met.
    """
    specs = json.loads(vignettes)
    questions = tuple((vignette["name"], question) for vignette in specs for question in asked_in(vignette))
    draws: list[Draw] = [_changes(vignette, arm) for vignette in specs if _published(vignette, arm)]
    fitted = {level.name for draw in draws if isinstance(draw, Changes) for pair in draw.levels for level in pair}
    for vignette, question in questions:
        if question["name"] not in fitted and question["kind"] != "text":
            where = f"vignette {vignette}: question {question['name']}"
            draws.append(_located(where, partial(_PLANS[question["kind"]], question)))
    return Plan(questions, tuple(draws))


def uncalibrated(vignettes: Sequence[Spec], arm: str | None = None) -> tuple[str, ...]:
    """Name the questions that no published moment covers, so that ``baseline`` gives them a stated default draw.

    Args:
        vignettes: Vignettes as plain data.
        arm: The arm that is answered; without it, moments of any arm count.

    Example:
        >>> text = {"kind": "text", "name": "why", "reference": None}
        >>> uncalibrated([{"name": "v", "pages": [{"questions": [text]}], "reference": None}])
        ('why',)
    """
    names = []
    for vignette in vignettes:
        changed = {change["shock"] for change in _published(vignette, arm).values()}
        names += [q["name"] for q in asked_in(vignette) if q["name"] not in changed and not _has_moments(q)]
    return tuple(names)


def _published(vignette: Spec, arm: str | None) -> Mapping[str, Any]:
    """Find the changes with moments for an arm whose two questions are asked."""
    asked = {question["name"] for question in asked_in(vignette)}
    return {
        name: change
        for name, change in (vignette["reference"] or {"changes": {}})["changes"].items()
        if {change["shock"], change["baseline"]} <= asked and (arm is None or arm in change["arms"])
    }


def _has_moments(question: Spec) -> bool:
    given = question["reference"] or {"mean": None, "shares": {}}
    if question["kind"] == "density":
        return bool(given.get("means"))
    by_mean = given["mean"] is not None and question["kind"] in ("number", "scale")
    return by_mean or bool(given["shares"] and question["kind"] in ("choice", "multiple", "scale"))


def _located(where: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except ValueError as problem:
        raise EngineError(f"engine baseline: {where}: {problem}; mend the question or its reference") from None


def _changes(vignette: Spec, arm: str) -> Changes:
    reference, published = vignette["reference"], _published(vignette, arm)
    where = f"vignette {vignette['name']}"
    used = [change[end] for change in published.values() for end in ("baseline", "shock")]
    twice = next((name for name in used if used.count(name) > 1), None)
    if twice:
        raise EngineError(f"engine baseline: {where}: question {twice} is part of two changes; only one can be fitted")
    margins, table = _located(where, partial(_directions, reference, published, arm))
    asked = {question["name"]: question for question in asked_in(vignette)}
    pairs, fits, sds = [], [], []
    for name in margins:
        baseline, shock = (asked[published[name][end]] for end in ("baseline", "shock"))
        here = f"{where}: reference.changes.{name}, arm {arm}"
        pair = _located(here, partial(_pair, baseline, shock))
        unit, moments = pair[0].grid.units(1.0), published[name]["arms"][arm]
        sd = unit * moments["se"] * math.sqrt(reference["n"] / len(published[name]["arms"]))
        target = unit * moments["mean"], sd, unit * moments["trimmed_sd"], reference["trim"]
        fits.append(_located(here, partial(_fit, margins[name], target, _reach(*pair), pair[0].grid.steps)))
        pairs.append(pair)
        sds.append(sd)
    values, cdfs = tuple(fit.values for fit in fits), tuple(cumulate(fit.pmf) for fit in fits)
    return Changes(vignette["name"], tuple(margins), tuple(pairs), values, cdfs, tuple(sds), table)


def _directions(reference: Spec, published: Mapping[str, Spec], arm: str) -> tuple[dict[str, Margin], Floats | None]:
    """Reconcile the direction shares of every change, the pair with joint shares first, and turn them to the arm."""
    turn = -1 if arm in reference["reversed"] else 1
    shares = {
        name: [change["directions"][way] for way in ("fall", "same", "rise")] for name, change in published.items()
    }
    joint = reference["joint"]
    pair = tuple(joint["of"]) if joint and set(joint["of"]) <= set(published) else ()
    table = None
    margins = {name: joint_table(own, own, None).sum(axis=1)[::turn] for name, own in shares.items()}
    if pair:
        table = joint_table(shares[pair[0]], shares[pair[1]], [joint[cell] for cell in _JOINT])[::turn, ::turn]
        margins = {pair[0]: table.sum(axis=1), pair[1]: table.sum(axis=0)} | {
            name: margin for name, margin in margins.items() if name not in pair
        }
    return {name: tuple(margin.tolist()) for name, margin in margins.items()}, table


def _pair(baseline: Spec, shock: Spec) -> tuple[Level, Level]:
    for question in (baseline, shock):
        if question["kind"] != "number":
            raise ValueError(
                f"question {question['name']} is a {question['kind']} question; a change needs two numbers"
            )
    places = min(_grid(question).places for question in (baseline, shock))
    return _level(baseline, places), _level(shock, places)


def _reach(baseline: Level, shock: Level) -> tuple[int, int]:
    """Leave room for falls and rises from the anchor to the ends of the range, and for half the range at least."""
    low, high, centre = shock.grid.lowest, shock.grid.highest, baseline.centre
    half = (high - low) / 2
    reach = max(centre - low, half), max(high - centre, half)
    room = baseline.grid.highest - low, high - baseline.grid.lowest
    if min(room) < 1:
        raise ValueError("the ranges of the two questions leave no room for a fall or a rise")
    return min(max(int(reach[0]), 1), room[0]), min(max(int(reach[1]), 1), room[1])


@lru_cache(maxsize=256)
def _fit(
    margin: Margin, target: tuple[float, float, float, float], reach: tuple[int, int], steps: tuple[int, ...]
) -> ChangeFit:
    return fit_change(ChangeTarget(np.array(margin), *target), reach, steps, _AVERAGE)


def _grid(question: Spec, places: int | None = None) -> Grid:
    decimals = question["decimals"] if places is None else places
    return grid_of(question["minimum"], question["maximum"], decimals)


def _level(question: Spec, places: int | None = None) -> Level:
    grid, anchor = _grid(question, places), question["anchor"]
    if _has_moments(question):
        mean, sd = (grid.units(question["reference"][moment]) for moment in ("mean", "sd"))
        pmf = fit_number(grid.points, mean, sd, heaping_base(grid, _AVERAGE))
    else:
        pmf = level_pmf(grid, anchor)
    centre = (grid.lowest + grid.highest) / 2 if anchor is None else grid.units(anchor)
    written = _written(grid, question["decimals"], question["unit"])
    return Level(question["name"], question["unit"], grid, centre, cumulate(pmf), written)


def _written(grid: Grid, decimals: int, unit: str) -> list[Any]:
    down, up = 10 ** max(grid.places, 0), 10 ** max(-grid.places, 0)
    values = [point * up / down for point in grid.points.tolist()]
    if unit:
        return [f"{value:.{decimals}f}{unit}" for value in values]
    return [round(value, decimals) if decimals else round(value) for value in values]


def _choice(question: Spec) -> OneOf:
    given = question["reference"]["shares"] if _has_moments(question) else {}
    shares = np.array([given.get(option, 0.0) if given else 1.0 for option in question["options"]])
    if shares.sum() <= 0:
        raise ValueError("reference.shares are all zero")
    return OneOf(question["name"], list(question["options"]), cumulate(shares))


def _scale(question: Spec) -> OneOf:
    points = np.arange(question["minimum"], question["maximum"] + 1)
    pmf = 1.0 + np.minimum(points - points[0], points[-1] - points)
    if _has_moments(question) and question["reference"]["shares"]:
        pmf = _scale_shares(question, points.tolist())
    elif _has_moments(question):
        pmf = fit_number(points, question["reference"]["mean"], question["reference"]["sd"], np.ones(len(points)))
    return OneOf(question["name"], points.tolist(), cumulate(pmf))


def _scale_shares(question: Spec, points: Sequence[int]) -> Floats:
    of = {str(point): i for i, point in enumerate(points)}
    of |= {label: of[str(point)] for point, label in question["labels"].items()}
    pmf = np.zeros(len(points))
    for word, share in question["reference"]["shares"].items():
        if word not in of:
            raise ValueError(f"reference.shares names {word!r}; allowed: {', '.join(of)}")
        pmf[of[word]] += share
    if pmf.sum() <= 0:
        raise ValueError("reference.shares are all zero")
    return pmf


def _multiple(question: Spec) -> OneOf | SomeOf:
    options = tuple(question["options"])
    at_most = len(options) if question["at_most"] is None else question["at_most"]
    if not _has_moments(question):
        return SomeOf(question["name"], options, question["at_least"], at_most)
    given = question["reference"]["shares"]
    # Options left out of the shares are chosen by nobody; shares above 1 are per cent.
    shares = np.array([given.get(option, 0.0) for option in options]) / (100 if max(given.values()) > 1 else 1)
    sets, pmf = fit_subsets(shares, question["at_least"], at_most)
    lists = [[option for option, yes in zip(options, row, strict=True) if yes] for row in sets.tolist()]
    return OneOf(question["name"], lists, cumulate(pmf))


def _density(question: Spec) -> Density | FittedDensity:
    labels = tuple(b["label"] for b in question["bins"])
    if not _has_moments(question):
        return Density(question["name"], labels)
    limits = np.array([b["high"] for b in question["bins"][:-1]], dtype=np.float64)
    points = sorted((float(share), value) for share, value in question["reference"]["means"].items())
    shares, means = (np.array(column) for column in zip(*points, strict=True))
    odds = np.log(shares / (1 - shares))
    return FittedDensity(question["name"], labels, limits, odds, means, question["reference"]["iqr"])


_PLANS: dict[str, Callable[[Spec], Draw]] = {
    "number": _level,
    "choice": _choice,
    "multiple": _multiple,
    "scale": _scale,
    "density": _density,
}
