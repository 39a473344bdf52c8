"""Simulated answers beside human figures: every target, treatment effects, distances, each with what it is worth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from popsim.errors import TargetError
from popsim.evaluate.humans import row_distances, with_rows
from popsim.evaluate.lines import LINES, category_distances, sampling_floor, share_lines, transfer
from popsim.evaluate.resampling import Estimates, Figure, estimate
from popsim.evaluate.sample import Missing, Sample, figure_of, missing
from popsim.evaluate.targets import CONTRAST, Target, TargetFile, share_sets
from popsim.evaluate.verdicts import VERDICTS, effects_by_contrast, holm, human_error, joint_test, margins, verdict

LEVEL = 0.95
CONTROL = "control"


@dataclass(frozen=True)
class Comparison:
    """Simulated answers beside human ones."""

    targets: pd.DataFrame
    """A row per human figure and column of runs."""
    effects: pd.DataFrame
    """A row per treatment effect of one arm against another, by column."""
    contrasts: pd.DataFrame
    """The effects of each contrast summed up."""
    distances: pd.DataFrame
    """A row per distance between distributions, by column, with the reference lines beside it."""
    joint: pd.DataFrame
    """A test of all figures of a file at once, by column."""
    fitted: tuple[str, ...]
    """Columns whose respondents were fitted to published figures; they get no verdict."""
    left_out: dict[str, int]
    """Targets that do not apply, by what the runs lack."""
    intervals: str
    """What an interval of these tables says, and what it does not."""


class _Column(NamedTuple):
    """What was taken of one sample: the targets of each file, the contrasts, and their estimates in that order."""

    sample: Sample
    targets: list[tuple[TargetFile, Target]]
    contrasts: list[tuple[Target, Target]]
    people: list[int]
    found: Estimates


def compare(
    samples: Sequence[Sample], files: Sequence[TargetFile], *, strict: bool = True, draws: int = 1000, seed: int = 0
) -> Comparison:
    """Set simulated answers beside human figures.

    Args:
        samples: Simulated answers; several where models, prompts or temperatures differ.
        files: Human figures.
        strict: Whether a target that asks for a group, a vignette or an arm which no sample has is refused; it is left
            out and counted otherwise.
        draws: Resamples of the respondents.
        seed: Of the resampling.

    Raises:
        TargetError: A target asks for what the answers lack or for another form of the question, or none applies.
    """
    whole = [[with_rows(file, sample) for file in files] for sample in samples]
    left_out = _left_out(samples, whole, strict)
    columns = [
        _take(sample, _applicable(sample, mine), draws, seed) for sample, mine in zip(samples, whole, strict=True)
    ]
    targets = pd.concat([_target_rows(column) for column in columns], ignore_index=True)
    shares = [row for column in columns for row in _distance_rows(column)]
    by_row = [row for sample in samples for file in files for row in row_distances(sample, file)]
    if targets.empty and not by_row:
        why = "; ".join(f"{count}: {what}" for what, count in left_out.items())
        raise TargetError(f"none of the {sum(left_out.values())} targets applies to these runs ({why})")
    effects = pd.DataFrame([row for column in columns for row in _effect_rows(column)], columns=_EFFECTS)
    return Comparison(
        targets=_with_band(targets, len(columns)),
        effects=effects,
        contrasts=effects_by_contrast(effects),
        distances=pd.DataFrame([*shares, *by_row], columns=_DISTANCES),
        joint=pd.DataFrame([row for column in columns for row in _joint_rows(column)], columns=_JOINT),
        fitted=tuple(sample.label for sample in samples if sample.fitted),
        left_out=left_out,
        intervals=_what_intervals_are(samples, draws),
    )


_EFFECTS = ["column", "group", "vignette", "outcome", "contrast", "human", "human_se", "simulated", "simulated_se"]
_EFFECTS += ["low", "high", "z", "same_sign", "plan"]
_DISTANCES = ["column", "file", "vignette", "outcome", "group", "arm", "distance", "simulated", *LINES]
_JOINT = ["column", "file", "figures", "chi2", "freedom", "p", "largest_z"]


def _left_out(samples: Sequence[Sample], files: Sequence[Sequence[TargetFile]], strict: bool) -> dict[str, int]:
    """Count the targets that apply to no sample by what is lacking, or refuse the first of them."""
    lacks: dict[tuple[str, str], list[Missing | None]] = {}
    for sample, mine in zip(samples, files, strict=True):
        for file in mine:
            for target in file.targets:
                lacks.setdefault((file.name, target.label), []).append(missing(sample, target))
    left_out = Counter[str]()
    for (name, label), found in lacks.items():
        lack = found[0]
        if lack is None or None in found:
            continue
        if strict:
            raise TargetError(f"{name}: target {label}: {lack}")
        left_out[f"no {lack.what} {lack.name}"] += 1
    return dict(left_out)


def _applicable(sample: Sample, files: Sequence[TargetFile]) -> list[tuple[TargetFile, Target]]:
    """Choose the targets that a sample can be held against."""
    return [(file, target) for file in files for target in file.targets if missing(sample, target) is None]


def _take(sample: Sample, wanted: list[tuple[TargetFile, Target]], draws: int, seed: int) -> _Column:
    """Take every figure of a sample, and of each of its resamples, at once."""
    figures = [figure_of(sample, target) for _, target in wanted]
    by_cell: dict[tuple[str, ...], dict[str, int]] = {}
    for place, (file, target) in enumerate(wanted):
        if target.statistic == "mean" and not target.arms:
            cell = (file.name, target.group, target.vignette, *target.outcomes)
            by_cell.setdefault(cell, {})[target.pooling] = place
    contrasts = []
    for arms in by_cell.values():
        base = CONTROL if CONTROL in arms else next(iter(arms))
        for arm, place in arms.items():
            if arm != base:
                contrasts.append((wanted[place][1], wanted[arms[base]][1]))
                figures.append(Figure(((1.0, figures[place].parts[0][1]), (-1.0, figures[arms[base]].parts[0][1]))))
    people = [min(cell.people for _, cell in figure.parts) for figure in figures]
    return _Column(sample, wanted, contrasts, people, estimate(figures, sample.stratum, draws, seed))


def _target_rows(column: _Column) -> pd.DataFrame:
    """Make the rows of one column: human figure, simulated figure, gap, verdict, and z beside it."""
    low, high = column.found.interval(LEVEL)
    room = {
        (file.name, target.label): margin
        for file in {file.name: file for file, _ in column.targets}.values()
        for target, margin in zip(file.targets, margins(file.targets), strict=True)
    }
    rows = [
        {
            **_about(file, target),
            "column": column.sample.label,
            **_judged(column, k, target, column.sample.marks.margin(target) or room[file.name, target.label]),
            **_ends(target, float(low[k]), float(high[k]), column.people[k]),
            "transfer": transfer(target, file.targets, file.textbook),
            "plan": column.sample.marks.figure(target),
        }
        for k, (file, target) in enumerate(column.targets)
    ]
    table = pd.DataFrame(rows)
    if len(table):
        families = table.groupby(["file", "family", "plan"], sort=False)["p"]
        table["holm_p"] = families.transform(lambda p: holm(p.to_numpy(dtype=np.float64)))
    return table


def _about(file: TargetFile, target: Target) -> dict[str, object]:
    """Give what identifies a human figure."""
    return {
        "file": file.name,
        "family": target.family,
        "vignette": target.vignette,
        "group": target.group,
        "outcome": " and ".join(target.outcomes),
        "arm": target.pooling,
        "statistic": target.statistic,
        "of": target.of,
        "human": target.value,
        "human_n": target.n,
    }


def _ends(target: Target, low: float, high: float, n: int) -> dict[str, float]:
    """Keep the ends of an interval possible; a share of nobody may still be 3 in n (Hanley and Lippman-Hand 1983)."""
    if target.statistic not in ("share", "joint_share") or np.isnan(low):
        return {"low": low, "high": high}
    some = 1 - (1 - LEVEL) ** (1 / n)
    if low == high and low in (0.0, 1.0):
        return {"low": max(low - some, 0.0), "high": min(high + some, 1.0)}
    return {"low": max(low, 0.0), "high": min(high, 1.0)}


def _judged(column: _Column, k: int, target: Target, margin: float) -> dict[str, object]:
    """Set the simulated figure beside the human one and judge the gap, unless who answered was fitted."""
    found, n = column.found, column.people[k]
    simulated, se = float(found.value[k]), float(found.se[k])
    human_se = float(np.hypot(human_error(target, simulated, se, n), target.own_error))
    gap, total = simulated - target.value, float(np.hypot(se, human_se))
    z = gap / total if total > 0 else np.nan
    fitted = column.sample.fitted
    said = "" if fitted else verdict(gap, total, margin, min(n, target.n), float(found.freedom[k]))
    return {
        "human_se": human_se,
        "simulated": simulated,
        "simulated_se": se,
        "n": n,
        "gap": gap,
        "margin": margin,
        "verdict": said,
        "z": z,
        "p": float(2 * stats.norm.sf(abs(z))) if said in VERDICTS else np.nan,
    }


def _with_band(targets: pd.DataFrame, columns: int) -> pd.DataFrame:
    """Add how far the columns lie apart: the lowest and the highest simulated figure."""
    if columns < 2 or targets.empty:
        return targets
    figure = ["file", "vignette", "group", "outcome", "arm", "statistic", "of"]
    spread = targets.groupby(figure, sort=False)["simulated"]
    return targets.assign(band_low=spread.transform("min"), band_high=spread.transform("max"))


def _effect_rows(column: _Column) -> list[tuple[object, ...]]:
    """Make a row per treatment effect: one arm's human mean less another's, beside the simulated difference."""
    found = column.found
    rows: list[tuple[object, ...]] = []
    low, high = found.interval(LEVEL)
    for k, (arm, base) in enumerate(column.contrasts, start=len(column.targets)):
        human, human_se = arm.value - base.value, float(np.hypot(arm.se or np.nan, base.se or np.nan))
        simulated, se = float(found.value[k]), float(found.se[k])
        z = (simulated - human) / float(np.hypot(human_se, se))
        what = (column.sample.label, arm.group, arm.vignette, " and ".join(arm.outcomes))
        contrast = f"{arm.pooling} - {base.pooling}"
        same = bool(np.sign(human) == np.sign(simulated))
        mark = column.sample.marks.effect(*what[1:], (arm.pooling, base.pooling))
        rows.append((*what, contrast, human, human_se, simulated, se, float(low[k]), float(high[k]), z, same, mark))
    return rows


def _distance_rows(column: _Column) -> list[tuple[object, ...]]:
    """Make a row per distance between human and simulated directions, with the reference lines beside it."""
    value = {
        (file.name, target.label): float(figure)
        for (file, target), figure in zip(column.targets, column.found.value, strict=False)
    }
    rows: list[tuple[object, ...]] = []
    for file in {file.name: file for file, _ in column.targets}.values():
        for (vignette, _), shares in share_sets(file.targets).items():
            simulated = np.array([value.get((file.name, target.label), np.nan) for target in shares.values()])
            if np.isnan(simulated).any():
                continue
            one = next(iter(shares.values()))
            human = np.array([target.value for target in shares.values()])
            human, ordered = human / human.sum(), one.statistic == "share"
            lines = {
                name: category_distances(human, line, ordered=ordered)
                for name, line in share_lines(file, vignette, shares).items()
            }
            lines["floor"] = sampling_floor(human, one.n, ordered=ordered)
            what = (column.sample.label, file.name, vignette, " and ".join(one.outcomes), one.group, one.pooling)
            for name, distance in category_distances(human, simulated, ordered=ordered).items():
                rows.append((*what, name, distance, *(lines.get(line, {}).get(name, np.nan) for line in LINES)))
    return rows


def _joint_rows(column: _Column) -> list[tuple[object, ...]]:
    """Test all figures of each file at once; effects and asymmetries are sums of others and left aside."""
    rows: list[tuple[object, ...]] = []
    for name in dict.fromkeys(file.name for file, _ in column.targets):
        places = [
            k
            for k, (file, target) in enumerate(column.targets)
            if file.name == name and target.pooling != CONTRAST and not np.isnan(column.found.se[k])
        ]
        if not places:
            continue
        targets = [column.targets[k][1] for k in places]
        value, se, people = column.found.value, column.found.se, column.people
        errors = [human_error(column.targets[k][1], float(value[k]), float(se[k]), people[k]) for k in places]
        human = np.array(errors)
        own = np.array([target.own_error for target in targets])
        gaps = column.found.value[places] - np.array([target.value for target in targets])
        z = gaps / np.sqrt(column.found.se[places] ** 2 + human**2 + own**2)
        test = joint_test(gaps, column.found.draws[:, places], human, own)
        if not np.isnan(test.p):
            rows.append((column.sample.label, name, *test, float(np.abs(z).max())))
    return rows


def _what_intervals_are(samples: Sequence[Sample], draws: int) -> str:
    """Say what was drawn again, and what an interval does not hold."""
    units = {sample.unit for sample in samples}
    drawn = "persons" if units == {"person"} else "replicates" if units == {"replicate"} else "persons or replicates"
    return (
        f"{LEVEL:.0%} Monte-Carlo intervals, given model, prompt and temperature: {drawn} drawn again {draws:,} times, "
        "never single answers. They say nothing of other models or wordings, nor of people."
    )
