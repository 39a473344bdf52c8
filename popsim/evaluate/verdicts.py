"""What a gap between a simulated and a human figure amounts to."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from popsim.evaluate.statistics import Values
from popsim.evaluate.targets import Target

FEWEST = 30
"""Fewer respondents than this are shown and never judged."""
VERDICTS = ("inside", "undecided", "outside")
MARGIN_OF_SD = 0.2
MARGIN_OF_SHARE = 0.05
_LEVEL = 0.05
_FEWEST_DRAWS = 3


def human_error(target: Target, value: float, se: float, n: float) -> float:
    """Give the sampling error of a human figure.

    An SD published without one is taken to be as uncertain, for its size and number of respondents, as the simulated
    SD, and no less than that of normal answers.

    Args:
        target: The figure.
        value: The simulated figure.
        se: Its standard error.
        n: Simulated respondents.

    Example:
        >>> from popsim.evaluate.targets import load_targets
        >>> human_error(load_targets("aprw_households").targets[0], value=-0.4, se=0.02, n=2000)
        0.05
    """
    if target.se is not None:
        return target.se
    if target.statistic in ("share", "joint_share"):
        return float(np.sqrt(target.value * (1 - target.value) / target.n))
    normal = 1 / np.sqrt(2 * (target.n - 1))
    as_simulated = se / value * np.sqrt(n / target.n) if value > 0 and se > 0 else 0.0
    return float(target.value * max(normal, as_simulated))


def margins(targets: Sequence[Target]) -> list[float]:
    """Give the gap that does not matter for each figure: its own, 5 points of a share, or 0.2 human SD.

    The human SD is the one published for the same arm, else that which the standard error of the mean implies.
    """
    sds = {
        (target.group, target.vignette, target.outcome, target.pooling): target.value
        for target in targets
        if target.statistic in ("sd", "trimmed_sd")
    }
    found = []
    for target in targets:
        if target.margin is not None:
            found.append(target.margin)
        elif target.statistic in ("share", "joint_share"):
            found.append(MARGIN_OF_SHARE)
        elif target.statistic in ("sd", "trimmed_sd"):
            found.append(MARGIN_OF_SD * target.value)
        else:
            by_arm = [sds.get((target.group, target.vignette, target.outcome, arm)) for arm in target.arm_names]
            known = [sd for sd in by_arm if sd is not None]
            implied = (target.se or np.nan) * np.sqrt(target.n)
            found.append(MARGIN_OF_SD * float(np.mean(known) if len(known) == len(by_arm) else implied))
    return found


def verdict(gap: float, se: float, margin: float, n: int, freedom: float) -> str:
    """Judge a gap by two one-sided tests at 5 %.

    Args:
        gap: Simulated less human.
        se: Its standard error, of both sides.
        margin: The gap that does not matter.
        n: Respondents of the smallest cell, of humans or simulated ones.
        freedom: Degrees of freedom of the error.

    Returns:
        ``inside`` or ``outside`` the margin, ``undecided``, or why it is not judged.

    Example:
        >>> [verdict(gap, 0.02, 0.1, 500, 499) for gap in (0.01, 0.09, 0.3)]
        ['inside', 'undecided', 'outside']
    """
    if n < FEWEST:
        return f"not judged, n < {FEWEST}"
    if np.isnan(se):
        return "no interval"
    reach = float(stats.t.ppf(1 - _LEVEL, freedom)) * se
    if abs(gap) + reach <= margin:
        return "inside"
    return "outside" if abs(gap) - reach > margin else "undecided"


def holm(p: Values) -> Values:
    """Adjust p-values for being many (Holm 1979); missing ones stay missing and do not count.

    Example:
        >>> holm(np.array([0.01, 0.04, np.nan])).tolist()
        [0.02, 0.04, nan]
    """
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


class Joint(NamedTuple):
    """A test of many gaps at once."""

    figures: int
    chi2: float
    freedom: int
    p: float


def joint_test(gaps: Values, drawn: Values, human: Values, own: Values) -> Joint:
    """Test that all gaps are nothing but the errors of both sides, which are correlated.

    The covariance of the simulated figures comes from their resamples, that of the human ones from the same
    correlations and their own errors; its inverse is scaled as in Hartlap, Simon and Schneider (2007).

    Args:
        gaps: (k,) simulated less human.
        drawn: (draws, k) resampled figures; a resample that lacks one of them (few could be read) is left aside.
        human: (k,) sampling errors of the human figures.
        own: (k,) their errors of reading and rounding, which are independent.

    Example:
        >>> drawn = np.random.default_rng(0).normal(size=(500, 2))
        >>> joint_test(np.array([3.0, 0.0]), drawn, np.zeros(2), np.zeros(2)).p < 0.02
        True
    """
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    if len(drawn) < _FEWEST_DRAWS:
        return Joint(len(gaps), np.nan, 0, np.nan)
    covariance = np.atleast_2d(np.cov(drawn, rowvar=False))
    sd = np.sqrt(np.diag(covariance))
    ratio = np.divide(human, sd, out=np.zeros_like(human), where=sd > 0)
    both = covariance * (1 + np.outer(ratio, ratio)) + np.diag(own**2 + np.where(sd > 0, 0.0, human**2))
    scale = np.sqrt(np.diag(both))
    moves = scale > 0
    scale = scale[moves]
    values, vectors = np.linalg.eigh(both[np.ix_(moves, moves)] / np.outer(scale, scale))
    kept = values > 1e-8
    along = vectors[:, kept].T @ (gaps[moves] / scale)
    draws, freedom = len(drawn), int(kept.sum())
    shrink = max((draws - freedom - 2) / (draws - 1), 0.0)
    chi2 = shrink * float(np.sum(along**2 / values[kept]))
    return Joint(len(gaps), chi2, freedom, float(stats.chi2.sf(chi2, freedom)))


def effects_by_contrast(effects: pd.DataFrame) -> pd.DataFrame:
    """Sum up treatment effects over the cells of each contrast: do signs agree, and do sizes go along.

    Args:
        effects: A row per cell with ``column, group, contrast, human, simulated``.

    Returns:
        A row per column, group and contrast: ``cells, same_sign``, and from three cells on the ``slope`` of simulated
        on human effects and their ``correlation``.
    """
    rows = []
    for key, here in effects.groupby(["column", "group", "contrast"], sort=False, observed=True):
        human, simulated = here["human"].to_numpy(), here["simulated"].to_numpy()
        line = stats.linregress(human, simulated) if len(here) > 2 and np.ptp(human) > 0 else None
        slope, correlation = (float(line.slope), float(line.rvalue)) if line else (np.nan, np.nan)
        rows.append((*key, len(here), int((np.sign(human) == np.sign(simulated)).sum()), slope, correlation))
    columns = ["column", "group", "contrast", "cells", "same_sign", "slope", "correlation"]
    return pd.DataFrame(rows, columns=columns)
