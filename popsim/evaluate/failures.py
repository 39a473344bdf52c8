"""Failed answers: how often by arm and subgroup, whether that is chance, and how far they could move a mean.

A failure is not missing at random: what a model cannot answer depends on what it was asked. Worst-case bounds
(Manski 1990) put all missing answers at one end of the scale, then at the other, and assume nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from popsim import streams
from popsim.evaluate.statistics import Values

MANY = 0.02
"""Share of missing answers above which a mean is shown with its bounds."""
_SHUFFLES = 9999


class Bounds(NamedTuple):
    """A mean and what it could be if missing answers were known."""

    missing: float
    """Share of the weight."""
    mean: float
    """Of the answers that there are."""
    low: float
    high: float


def failure_rates(asked: pd.DataFrame, by: Sequence[str] = ("arm",)) -> pd.DataFrame:
    """Count failures, of the first attempt and in the end, and test whether they depend on what they are split by.

    Args:
        asked: A row per prompt: ``person``, the columns of ``by``, and booleans ``first_failed`` and ``failed``.
        by: What to split by, one at a time.

    Returns:
        A row per value: ``by, value, prompts, first_failed, failed, low, high`` (95 % interval of ``failed``, Wilson
        1927), and ``first_p`` and ``p`` of no difference between the values of one ``by``.

    Example:
        >>> asked = pd.DataFrame({"person": range(400), "arm": ["fall", "rise"] * 200})
        >>> asked["first_failed"] = asked["failed"] = asked["arm"].eq("rise") & (asked["person"] % 10 == 1)
        >>> rates = failure_rates(asked)
        >>> rates["failed"].tolist(), bool(rates["p"].max() < 0.01)
        ([0.0, 0.2], True)
    """
    rows = []
    for name in by:
        tests = {which: dependence(asked, name, which) for which in ("first_failed", "failed")}
        for value, here in asked.groupby(name, sort=False, observed=True):
            interval = stats.binomtest(int(here["failed"].sum()), len(here)).proportion_ci(method="wilson")
            shares = float(here["first_failed"].mean()), float(here["failed"].mean())
            ends = float(interval.low), float(interval.high)
            rows.append((name, str(value), len(here), *shares, *ends, tests["first_failed"], tests["failed"]))
    columns = ["by", "value", "prompts", "first_failed", "failed", "low", "high", "first_p", "p"]
    return pd.DataFrame(rows, columns=columns)


def dependence(asked: pd.DataFrame, by: str, which: str) -> float:
    """Test whether persons with a failure are as frequent everywhere: chi-square, its p-value by shuffling them.

    With both margins fixed the failures of the groups are multivariate hypergeometric, so the test is exact but for
    the 9,999 shuffles. A person counts once however often they were asked.

    Args:
        asked: A row per prompt.
        by: The column that says where a prompt belongs.
        which: The column that says whether it failed.

    Returns:
        The p-value; missing where nothing failed or there is one group.
    """
    persons = asked.groupby([by, "person"], observed=True)[which].any().groupby(level=0, observed=True)
    total, failed = persons.size().to_numpy(), persons.sum().to_numpy()
    if len(total) < 2 or failed.sum() in (0, total.sum()):
        return float("nan")
    expected = total * failed.sum() / total.sum()
    random = streams.rng(0, "failures")
    drawn = random.multivariate_hypergeometric(total, int(failed.sum()), size=_SHUFFLES, method="marginals")
    apart = ((drawn - expected) ** 2 / expected / (1 - failed.sum() / total.sum())).sum(axis=1)
    seen = float(((failed - expected) ** 2 / expected / (1 - failed.sum() / total.sum())).sum())
    return float((1 + (apart >= seen - 1e-9).sum()) / (1 + _SHUFFLES))


def mean_bounds(values: Values, minimum: float, maximum: float, weights: Values | None = None) -> Bounds:
    """Bound a mean when some answers are missing, without any assumption about them (Manski 1990).

    Args:
        values: (n,) answers, NaN where missing.
        minimum: The least that a missing answer could be.
        maximum: The most.
        weights: (n,) weights; equal unless given.

    Example:
        >>> mean_bounds(np.array([1.0, 3.0, np.nan, np.nan]), 0.0, 10.0)
        Bounds(missing=0.5, mean=2.0, low=1.0, high=6.0)
    """
    weight = np.ones(len(values)) if weights is None else weights
    known = ~np.isnan(values)
    total = float(weight.sum())
    if not known.any():
        return Bounds(1.0, np.nan, minimum, maximum)
    there = float(weight[known].sum() / total)
    mean = float(np.average(values[known], weights=weight[known]))
    missing = 1 - there
    return Bounds(missing, mean, there * mean + missing * minimum, there * mean + missing * maximum)
