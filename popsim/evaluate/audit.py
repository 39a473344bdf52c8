"""The dispersion audit: do simulated answers spread as human ones do, and where does their spread come from.

Language models answer surveys with too little spread. A ratio of simulated to human spread is flagged where it is below
0.9, or above 1 / 0.9, and three standard errors of its logarithm away from 1, those of both sides counted. With 500
answers beside 1,000 human ones the rule is silent on people, finds an SD of 0.7 always and one of 0.8 nine times in ten
(``benchmarks/audit.py``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from popsim.evaluate.resampling import Cell, Ints, as_numbers, cell_of, resamples
from popsim.evaluate.rows import human_cells
from popsim.evaluate.sample import Outcome, Sample, changes_by_person
from popsim.evaluate.statistics import Values, trimmed_sd
from popsim.evaluate.targets import DIRECTIONS, POOLED, Target, TargetFile, share_sets
from popsim.evaluate.verdicts import FEWEST, human_error
from popsim.survey import Difference
from popsim.weighted import quantiles

MEASURES = ("trimmed SD", "SD", "IQR", "tails", "entropy")
RATIO = 0.9
ERRORS = 3.0
_DRAWS = 300
_BINS = 10
_TAIL = 0.05

Spreads = dict[str, tuple[float, float]]
"""By measure: figure and standard error."""


class Place(NamedTuple):
    """Where answers were given."""

    group: str
    vignette: str
    outcome: str
    arm: str


@dataclass(frozen=True)
class Audit:
    """How answers spread."""

    ratios: pd.DataFrame
    """A row per column, place and measure: simulated, human and their ratio; without a human figure the ratio is
    missing."""
    parts: pd.DataFrame
    """A row per column and place: spread between and within persons, identical and round answers."""


class Human(NamedTuple):
    """What is known of how people answered at one place."""

    spreads: Spreads
    known_from: str
    cell: Cell | None = None
    """The answers themselves, where there are rows."""
    sure: bool = False
    """Whether the errors are those of these answers; of a published SD the tails are unknown."""


def audit(sample: Sample, files: Sequence[TargetFile] = (), draws: int = _DRAWS, seed: int = 0) -> Audit:
    """Audit how the answers of one model, prompt and temperature spread.

    Args:
        sample: Readable answers.
        files: Human figures; their rows too, where they have any.
        draws: Resamples of the respondents behind the intervals.
        seed: Of the resampling.
    """
    ratios: list[dict[str, object]] = []
    parts: list[dict[str, object]] = []
    for place, found, frame in places(sample):
        human = human_spread(sample, files, place, found, draws)
        cell = cell_of(
            as_numbers(frame["value"]), frame["unit"].to_numpy(), as_numbers(frame["weight"]), frame["person"].nunique()
        )
        where = {"column": sample.label, **place._asdict()}
        kind = "change" if isinstance(found, Difference) else found.kind
        spreads = spread_of(cell, kind, human.cell, sample.stratum, draws, seed)
        ratios += [where | row for row in _ratio_rows(spreads, human, cell.people)]
        parts.append(where | _parts(frame, human.cell, kind))
    ratios += [{"column": sample.label} | row for row in _directions(sample, files, draws, seed)]
    return Audit(pd.DataFrame(ratios, columns=_RATIOS), pd.DataFrame(parts, columns=_PARTS))


_RATIOS = ["column", *Place._fields, "measure", "simulated", "human", "human_from", "ratio", "low", "high", "flag", "n"]
_PARTS = ["column", *Place._fields, "n", "draws", "variance", "between", "within", "icc", "most_common", "identical"]
_PARTS += ["human_identical", "whole", "human_whole"]


def places(sample: Sample) -> Iterator[tuple[Place, Outcome, pd.DataFrame]]:
    """Give the readable answers of each arm to each outcome that has a spread.

    Outcomes are the changes that a vignette declares, and its number, scale and choice questions that are no end of
    one; of a choice the value is the option's place.
    """
    for (group, name), vignette in sample.vignettes.items():
        mine = sample.answers[sample.answers["vignette"].eq(name) & sample.answers["group"].eq(group)]
        changes = vignette.changes
        ends = {end for change in changes.values() for end in (change.shock, change.baseline)}
        asked = {
            q.name: q for q in vignette.questions if q.kind in ("number", "scale", "choice") and q.name not in ends
        }
        for outcome, found in {**changes, **asked}.items():
            if isinstance(found, Difference):
                frame = changes_by_person(mine, found).rename(columns={"change": "value"})
            else:
                frame = mine[mine["question"].eq(outcome)].dropna(subset="value")
            for arm, here in frame.groupby("arm", sort=False, observed=True):
                yield Place(group, name, outcome, str(arm)), found, here


def spread_of(cell: Cell, kind: str, human: Cell | None, stratum: Ints, draws: int, seed: int = 0) -> Spreads:
    """Take every measure of spread of one cell, with standard errors from resampling its units.

    Args:
        cell: The answers.
        kind: ``change``, ``number``, ``scale`` or ``choice``; of a choice only entropy is taken.
        human: Human answers, which say where the tails begin and how answers are binned; without them neither tails
            nor the entropy of numbers is taken.
        stratum: (units,) what each unit is drawn again within.
        draws: Resamples.
        seed: Of the resampling.
    """
    if len(cell.values) < 2:
        return {}
    edges = _edges(human) if human is not None and kind != "choice" else None
    tails = quantiles(human.values, human.weight, (_TAIL, 1 - _TAIL)) if human is not None else None

    def measures(weights: Values) -> dict[str, Values]:
        if kind == "choice":
            return {"entropy": entropy(cell.values, weights)}
        quartiles = quantiles(cell.values, weights, (0.25, 0.75))
        found = {
            "trimmed SD": trimmed_sd(cell.values, weights),
            "SD": trimmed_sd(cell.values, weights, 0.0),
            "IQR": quartiles[..., 1] - quartiles[..., 0],
        }
        if tails is not None and edges is not None:
            outside = (cell.values < tails[0]) | (cell.values > tails[1])
            with np.errstate(invalid="ignore"):
                found["tails"] = (weights @ outside.astype(np.float64)) / weights.sum(axis=-1)
            binned = np.searchsorted(edges, cell.values).astype(np.float64)
            found["entropy"] = entropy(binned, weights)
        return found

    value = measures(cell.weight)
    blocks = [measures(counts[:, cell.unit] * cell.weight) for counts in resamples(stratum, draws, seed)]
    return {
        name: (float(figure), float(np.nanstd(np.concatenate([block[name] for block in blocks]), ddof=1)))
        for name, figure in value.items()
    }


def entropy(values: Values, weights: Values) -> Values:
    """Take the entropy of answers, in nats: 0 where all are the same.

    Args:
        values: (n,) answers; equal ones are one category.
        weights: (..., n) weights.

    Returns:
        (...) entropies, NaN where all weights are 0.

    Example:
        >>> float(np.exp(entropy(np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4))).round(6))
        2.0
    """
    _, category = np.unique(values, return_inverse=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = weights @ np.eye(int(category.max()) + 1)[category] / weights.sum(axis=-1, keepdims=True)
        return np.asarray(-np.sum(np.where(shares > 0, shares * np.log(shares), 0 * shares), axis=-1))[()]


def judge(ratio: float, error: float) -> Literal["", "too little", "too much"]:
    """Say whether a ratio of spreads is flagged.

    Args:
        ratio: Simulated on human.
        error: Standard error of its logarithm.

    Example:
        >>> judge(0.5, 0.05), judge(0.95, 0.01), judge(0.7, 0.2)
        ('too little', '', '')
    """
    if not ratio > 0 or not np.isfinite(error):
        return "too little" if ratio == 0 else ""
    apart = np.log(ratio)
    if abs(apart) < -np.log(RATIO) or abs(apart) < ERRORS * error:
        return ""
    return "too little" if apart < 0 else "too much"


def variance_parts(values: Values, person: Ints) -> tuple[float, float]:
    """Split a variance into that between persons and that within, by one-way analysis of variance.

    Args:
        values: (n,) answers, several of each person.
        person: (n,) whose they are.

    Returns:
        Both variances; missing where nobody answered twice.

    Example:
        >>> variance_parts(np.array([0.0, 0.0, 4.0, 4.0]), np.array([0, 0, 1, 1]))
        (8.0, 0.0)
    """
    _, code, count = np.unique(person, return_inverse=True, return_counts=True)
    n, k = len(values), len(count)
    if n == k or k < 2:
        return np.nan, np.nan
    means = np.bincount(code, values) / count
    within = float(((values - means[code]) ** 2).sum() / (n - k))
    around = float((count * (means - values.mean()) ** 2).sum() / (k - 1))
    typical = (n - (count**2).sum() / n) / (k - 1)
    return max((around - within) / float(typical), 0.0), within


def human_spread(
    sample: Sample, files: Sequence[TargetFile], place: Place, found: Outcome, draws: int = _DRAWS
) -> Human:
    """Find how people spread at one place: from rows, from published SDs, or from the error of a published mean.

    The last is the SD times the root of n, so it gives an SD back; its n is taken to be right.
    """
    vignette = sample.vignettes[place.group, place.vignette]
    for file in files:
        rows = file.rows
        if rows is None or (rows.group, rows.vignette) != (place.group, place.vignette):
            continue
        cell = human_cells(rows, vignette).get((place.outcome, place.arm))
        if cell is not None and len(cell.values) >= FEWEST:
            kind = "change" if isinstance(found, Difference) else found.kind
            return Human(spread_of(cell, kind, cell, np.zeros(cell.people, dtype=np.int64), draws), "rows", cell, True)
    spreads: Spreads = {}
    known_from = ""
    for target in (target for file in files for target in file.targets):
        if (target.group, target.vignette, target.outcome, target.pooling) != place:
            continue
        name = {"trimmed_sd": "trimmed SD", "sd": "SD"}.get(target.statistic)
        if name:
            spreads[name] = target.value, float(np.hypot(human_error(target, 0.0, 0.0, 1), target.own_error))
            known_from = "published"
        elif target.statistic == "mean" and target.se is not None and "SD" not in spreads:
            implied = target.se * np.sqrt(target.n)
            spreads["SD"] = implied, implied / np.sqrt(2 * (target.n - 1))
            known_from = known_from or "standard error of the mean"
    return Human(spreads, known_from)


def _ratio_rows(spreads: Spreads, human: Human, people: int) -> Iterator[dict[str, object]]:
    """Make a row per measure, flagged where the human figure allows."""
    for name, (simulated, se) in spreads.items():
        known = human.spreads.get(name)
        row: dict[str, object] = {"measure": name, "simulated": simulated, "n": people}
        if known is None or known[0] <= 0:
            yield row | {"human": np.nan, "human_from": "no human figure", "ratio": np.nan, "flag": ""}
            continue
        figure, human_se = known
        # Of an SD that was published without its error, heavy tails are taken to be those of the simulated answers.
        own = se / simulated if simulated > 0 else np.inf
        error = float(np.hypot(own, max(human_se / figure, own if not human.sure and own < np.inf else 0.0)))
        ratio, reach = simulated / figure, 1.96 * error
        low, high = (ratio * np.exp(-reach), ratio * np.exp(reach)) if simulated > 0 else (0.0, 0.0)
        flag = judge(ratio, error) if people >= FEWEST else ""
        known_from = "standard error of the mean" if name == "SD" and human.known_from == "published" else ""
        yield (
            row
            | {"human": figure, "human_from": known_from or human.known_from, "ratio": ratio}
            | {
                "low": low,
                "high": high,
                "flag": flag,
            }
        )


def _parts(frame: pd.DataFrame, human: Cell | None, kind: str) -> dict[str, object]:
    """Say where spread comes from, and how many answers are the same or round."""
    values = as_numbers(frame["value"])
    between, within = variance_parts(values, frame["person"].to_numpy(np.int64))
    common, share = _commonest(values, as_numbers(frame["weight"]))
    total = between + within
    numbers = kind in ("change", "number")
    return {
        "n": len(frame),
        "draws": int(frame["draw"].nunique()),
        "variance": float(values.var(ddof=1)) if len(values) > 1 else np.nan,
        "between": between,
        "within": within,
        "icc": between / total if total > 1e-12 else np.nan,
        "most_common": common,
        "identical": share,
        "human_identical": _commonest(human.values, human.weight)[1] if human is not None else np.nan,
        "whole": _whole(values) if numbers else np.nan,
        "human_whole": _whole(human.values) if human is not None and numbers else np.nan,
    }


def _directions(sample: Sample, files: Sequence[TargetFile], draws: int, seed: int) -> Iterator[dict[str, object]]:
    """Compare the entropy of fall, same and rise with that of published shares, arms pooled as they were."""
    cut = {place: frame for place, found, frame in places(sample) if isinstance(found, Difference)}
    for file in files:
        for shares in (shares for shares in share_sets(file.targets).values() if tuple(shares) == DIRECTIONS):
            one: Target = next(iter(shares.values()))
            wanted = [Place(one.group, one.vignette, one.outcomes[0], arm) for arm in one.arm_names]
            if one.pooling != POOLED or not set(wanted) <= set(cut):
                continue
            frames = [
                cut[place].assign(value=cut[place]["value"] * (-1.0 if place.arm in one.reversed else 1.0))
                for place in wanted
            ]
            frame = pd.concat(frames)
            signs = np.asarray(np.sign(as_numbers(frame["value"])))
            cell = cell_of(signs, frame["unit"].to_numpy(), as_numbers(frame["weight"]), frame["person"].nunique())
            people = np.asarray([shares[of].value for of in DIRECTIONS], dtype=np.float64)
            logs = np.where(people > 0, np.log(np.maximum(people, 1e-12)), 0.0)
            known = -float((people * logs).sum() / people.sum()) + float(np.log(people.sum()))
            # The error of an entropy by the delta method.
            error = float(np.sqrt(max((people * logs**2).sum() - known**2, 0.0) / one.n))
            human = Human({"entropy": (known, error)}, "published shares", sure=True)
            spreads = spread_of(cell, "choice", None, sample.stratum, draws, seed)
            where = wanted[0]._replace(arm="pooled")._asdict()
            yield from (where | row for row in _ratio_rows(spreads, human, cell.people))


def _edges(human: Cell) -> Values:
    """Give the inner ends of bins that hold about as many people each."""
    return np.unique(quantiles(human.values, human.weight, [k / _BINS for k in range(1, _BINS)]))


def _commonest(values: Values, weights: Values) -> tuple[float, float]:
    """Give the most common answer and its share."""
    if not len(values):
        return np.nan, np.nan
    different, which = np.unique(values.round(6), return_inverse=True)
    shares = np.bincount(which, weights) / weights.sum()
    return float(different[shares.argmax()]), float(shares.max())


def _whole(values: Values) -> float:
    """Share of answers that are multiples of one half."""
    return float(np.isclose(values * 2, np.round(values * 2), atol=1e-6).mean())
