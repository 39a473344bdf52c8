"""Subgroups of people: does their spread, and their distance to the others, come out as among humans."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from popsim.evaluate.audit import judge
from popsim.evaluate.statistics import Values
from popsim.evaluate.verdicts import FEWEST
from popsim.weighted import moments

_WIDE = 1.959964
COLUMNS = [
    "by",
    "level",
    "n",
    "human_n",
    "sd",
    "human_sd",
    "ratio",
    "low",
    "high",
    "flag",
    "gap",
    "gap_low",
    "gap_high",
]
COLUMNS += ["human_gap", "human_low", "human_high", "gap_flag"]


def subgroups(simulated: pd.DataFrame, human: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Compare subgroups of simulated and of human respondents.

    A gap is the mean of a subgroup less that of all others. It is flagged only where the intervals of both sides do not
    meet, so that noise in either is no finding.

    Args:
        simulated: ``value, person, weight`` and the attributes; the mean of a person's draws counts for the gap.
        human: The same of human answers.
        by: Attributes that both have.

    Returns:
        A row per level with at least 30 people on both sides: SDs with their ratio and its 95 % interval, gaps with
        theirs, and a flag each: ``too little`` or ``too much`` spread; ``larger``, ``smaller`` or ``turned`` gap.

    Example:
        >>> one = pd.DataFrame({"value": np.tile([0.0, 1.0, 4.0, 5.0], 50), "person": range(200), "weight": 1.0})
        >>> one["sex"] = np.where(one["value"] > 2, "m", "f")
        >>> table = subgroups(one, one, ["sex"])
        >>> table["gap"].tolist(), table["ratio"].tolist(), table["gap_flag"].tolist()
        ([-4.0, 4.0], [1.0, 1.0], ['', ''])
    """
    rows = [row for name in by for row in _levels(name, simulated, human)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _levels(name: str, simulated: pd.DataFrame, human: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    ours, theirs = simulated[name].astype("str"), human[name].astype("str")
    for level in sorted(set(ours) & set(theirs)):
        n, human_n = (side["person"][who == level].nunique() for side, who in ((simulated, ours), (human, theirs)))
        if min(n, human_n) < FEWEST:
            continue
        sd, error = _spread(simulated[ours == level])
        human_sd, human_error = _spread(human[theirs == level])
        total = float(np.hypot(error, human_error))
        ratio = sd / human_sd if human_sd > 0 else np.nan
        ends = ratio * np.exp(-_WIDE * total), ratio * np.exp(_WIDE * total)
        gap, gap_se = _gap(simulated, ours == level)
        human_gap, human_se = _gap(human, theirs == level)
        mine = gap - _WIDE * gap_se, gap + _WIDE * gap_se
        known = human_gap - _WIDE * human_se, human_gap + _WIDE * human_se
        flag = _gap_flag(gap, human_gap) if mine[0] > known[1] or mine[1] < known[0] else ""
        spread = (sd, human_sd, ratio, *ends, judge(ratio, total))
        yield (name, level, n, human_n, *spread, gap, *mine, human_gap, *known, flag)


def _gap_flag(gap: float, human: float) -> str:
    if np.sign(gap) * np.sign(human) < 0:
        return "turned"
    return "larger" if abs(gap) > abs(human) else "smaller"


def _spread(answers: pd.DataFrame) -> tuple[float, float]:
    """Give a weighted SD and the standard error of its logarithm, from the fourth moment."""
    x, w = _numbers(answers)
    mean, variance = moments(x, w)
    if variance <= 0:
        return 0.0, float("nan")
    by_person = pd.Series(w * ((x - mean) ** 2 - variance)).groupby(answers["person"].to_numpy()).sum()
    error = float(np.sqrt((by_person**2).sum()) / w.sum())
    return float(np.sqrt(variance)), error / (2 * variance)


def _gap(answers: pd.DataFrame, inside: "pd.Series[bool]") -> tuple[float, float]:
    """Give the mean of a subgroup less that of the others, and its standard error, clustered by person."""
    means, variances = [], []
    for part in (answers[inside], answers[~inside]):
        x, w = _numbers(part)
        if not len(x):
            return float("nan"), float("nan")
        mean, _ = moments(x, w)
        by_person = pd.Series(w * (x - mean)).groupby(part["person"].to_numpy()).sum()
        means.append(mean)
        variances.append(float((by_person**2).sum()) / float(w.sum()) ** 2)
    return means[0] - means[1], float(np.sqrt(sum(variances)))


def _numbers(answers: pd.DataFrame) -> tuple[Values, Values]:
    return answers["value"].to_numpy(np.float64), answers["weight"].to_numpy(np.float64)
