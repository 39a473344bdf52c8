"""Whether humans are a sample of the population that they are to speak for."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from popsim.errors import TargetError
from popsim.evaluate.statistics import Values
from popsim.population import effective_size
from popsim.weighted import moments

APART = 0.2
"""Standardised difference above which a covariate counts as different (Cohen 1988: a small effect)."""
_RARE = 0.01
_MOST_LEVELS = 12
_COLUMNS = ["covariate", "level", "humans", "population", "difference", "p"]


def overlap(
    humans: pd.DataFrame,
    population: pd.DataFrame,
    weight: Values | None = None,
    population_weight: Values | None = None,
) -> pd.DataFrame:
    """Compare the covariates of humans with those of the population, level by level.

    Args:
        humans: A row per person; columns that both tables have are compared.
        population: The same of the population.
        weight: (n,) weights that shall make the humans a sample of the population; equal unless given.
        population_weight: (N,) weights of the population.

    Returns:
        A row per level of a category, or per number: shares or means of both, the ``difference`` in standard
        deviations of the population, and the ``p`` of no difference, the errors of both sides counted.

    Raises:
        TargetError: The tables have no column in common.

    Example:
        >>> young = pd.DataFrame({"age": ["young"] * 80 + ["old"] * 20})
        >>> half = pd.DataFrame({"age": ["young"] * 50 + ["old"] * 50})
        >>> overlap(young, half)["difference"].round(2).tolist()
        [-0.6, 0.6]
    """
    common = [name for name in humans if name in population]
    if not common:
        raise TargetError("overlap: humans and population have no covariate in common; name them alike")
    w = np.ones(len(humans)) if weight is None else np.asarray(weight, dtype=np.float64)
    v = np.ones(len(population)) if population_weight is None else np.asarray(population_weight, dtype=np.float64)
    rows = []
    for name in common:
        for level, mine, theirs in _levels(humans[name], population[name]):
            a, se_a, _ = _moments(mine, w)
            b, se_b, sd = _moments(theirs, v)
            gap, error = a - b, float(np.hypot(se_a, se_b))
            p = float(2 * stats.norm.sf(abs(gap) / error)) if error > 0 else float(gap == 0)
            rows.append((name, level, a, b, gap / sd if sd > 0 else (0.0 if gap == 0 else np.inf), p))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _levels(humans: "pd.Series[Any]", population: "pd.Series[Any]") -> Iterator[tuple[str, Values, Values]]:
    """Give a number as it is, or a mark for each level of a category, for both sides."""
    if pd.api.types.is_numeric_dtype(humans) and humans.nunique() > _MOST_LEVELS:
        yield "", humans.to_numpy(np.float64), population.to_numpy(np.float64)
        return
    ours, theirs = humans.astype("str"), population.astype("str")
    for level in sorted(set(ours) | set(theirs)):
        yield level, np.asarray(ours == level, dtype=np.float64), np.asarray(theirs == level, dtype=np.float64)


def overlap_warning(table: pd.DataFrame, weight: Values | None = None) -> str:
    """Say in a sentence that humans do not stand for the population, or that a few of them carry all weight.

    Args:
        table: From `overlap`.
        weight: (n,) the weights that were used there.

    Returns:
        What is wrong and what to do; empty where nothing is.
    """
    far = table[(table["difference"].abs() > APART) & (table["p"] < _RARE / max(len(table), 1))]
    absent = table[table["humans"].eq(0) & (table["population"] > _RARE) & table["level"].ne("")]
    if len(absent):
        row = absent.iloc[int(absent["population"].to_numpy().argmax())]
        return (
            f"no human has {row['covariate']} {row['level']}, which is {row['population']:.0%} of the population; no "
            "weight can stand for them: leave them out of the population or ask some"
        )
    if len(far):
        row = far.iloc[int(far["difference"].abs().to_numpy().argmax())]
        what = f"{row['covariate']} {row['level']}".strip()
        return (
            f"the humans are no sample of this population: {what} is {row['humans']:.2f} among them and "
            f"{row['population']:.2f} in the population ({row['difference']:+.1f} SD); intervals will miss. Give "
            "weights that carry the difference"
        )
    if weight is not None:
        effective = effective_size(weight)
        if effective < 0.25 * len(weight):
            return (
                f"the weights leave {effective:.0f} effective answers of {len(weight)}; a few people speak for most. "
                "Trim the weights or ask more people like those who are rare"
            )
    return ""


def _moments(values: Values, weight: Values) -> tuple[float, float, float]:
    """Give a weighted mean, its standard error and the standard deviation."""
    known = np.isfinite(values)
    x, w = values[known], weight[known]
    mean, variance = moments(x, w)
    return mean, float(np.sqrt(((w * (x - mean)) ** 2).sum()) / w.sum()), variance**0.5
