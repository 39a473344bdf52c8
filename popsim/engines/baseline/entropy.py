"""Distributions that meet given expectations and are otherwise as even as can be: numbers, scales, sets of options."""

import math
from itertools import chain, combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from popsim.engines.baseline.moments import Floats, Ints

_MOST_SUBSETS = 100_000


def max_entropy(features: Floats, targets: ArrayLike, base: Floats) -> Floats:
    """Find the distribution nearest to a base measure that has given expectations (Jaynes 1957).

    Args:
        features: (k, m) features of the k outcomes.
        targets: (m,) expectations to meet.
        base: (k,) positive base measure.

    Returns:
        (k,) probabilities.

    Raises:
        ValueError: No distribution on these outcomes has these expectations.

    Example:
        >>> max_entropy(np.array([[0.0], [1.0], [2.0]]), [1.0], np.ones(3)).round(3)
        array([0.333, 0.333, 0.333])
    """
    centre, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-12)
    x = (features - centre) / spread
    t = (np.asarray(targets, dtype=np.float64) - centre) / spread
    log_base = np.log(base)

    def pmf_at(theta: Floats) -> Floats:
        score = log_base + x @ theta
        return np.asarray(np.exp(score - logsumexp(score)))

    def dual(theta: Floats) -> tuple[float, Floats]:
        return float(logsumexp(log_base + x @ theta) - theta @ t), pmf_at(theta) @ x - t

    def curvature(theta: Floats) -> Floats:
        pmf = pmf_at(theta)
        mean = pmf @ x
        return np.asarray((x * pmf[:, None]).T @ x - np.outer(mean, mean))

    start = np.zeros(x.shape[1])
    found = minimize(dual, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-10})
    pmf = pmf_at(found.x)
    if float(np.abs(pmf @ x - t).max()) > 1e-4:
        raise ValueError("no distribution over the legal answers has these moments")
    return pmf


def fit_number(points: Ints, mean: float, sd: float, base: Floats) -> Floats:
    """Fit the probabilities of whole numbers to a mean and a standard deviation.

    Args:
        points: (k,) the legal answers.
        mean: Published mean, in the unit of ``points``.
        sd: Published standard deviation, in the unit of ``points``.
        base: (k,) how much people like each answer, whatever its size; heaping.

    Raises:
        ValueError: No distribution over these answers has this mean and SD.

    Example:
        >>> pmf = fit_number(np.arange(11), 3.0, 2.0, np.ones(11))
        >>> round(float(pmf @ np.arange(11)), 6)
        3.0
    """
    low, high = int(points[0]), int(points[-1])
    if not low < mean < high or sd**2 >= (mean - low) * (high - mean):
        raise ValueError(
            f"no distribution between the lowest and the highest answer has mean {mean:g} and SD {sd:g} "
            f"(in steps of the grid, {low} to {high})"
        )
    x = (points - mean) / sd
    return max_entropy(np.column_stack([x, x**2]), [0.0, 1.0], base)


def fit_subsets(shares: Floats, at_least: int, at_most: int) -> tuple[NDArray[np.bool_], Floats]:
    """Fit the probabilities of sets of options to the share of people who choose each option.

    Args:
        shares: (m,) share of people per option, between 0 and 1.
        at_least: Fewest options that may be chosen.
        at_most: Most options that may be chosen.

    Returns:
        (k, m) which options each set holds, and (k,) its probability.

    Raises:
        ValueError: There are too many sets, or the shares do not fit the number of options that may be chosen.

    Example:
        >>> sets, pmf = fit_subsets(np.array([0.5, 0.3, 0.2]), 1, 1)
        >>> (pmf @ sets).round(6).tolist()
        [0.5, 0.3, 0.2]
    """
    m = len(shares)
    if (shares < 0).any() or (shares > 1).any():
        raise ValueError("the share of an option lies outside 0 to 1")
    count = sum(math.comb(m, size) for size in range(at_least, at_most + 1))
    if count > _MOST_SUBSETS:
        raise ValueError(f"{count} sets of options are legal; at most {_MOST_SUBSETS} can be fitted, so lower at_most")
    chosen = list(chain.from_iterable(combinations(range(m), size) for size in range(at_least, at_most + 1)))
    sets = np.zeros((count, m), dtype=bool)
    for row, options in enumerate(chosen):
        sets[row, list(options)] = True
    # An option that all or none choose has no finite weight: its sets are left out instead.
    possible = (sets | (shares < 1)).all(axis=1) & (~sets | (shares > 0)).all(axis=1)
    sets, free = sets[possible], (shares > 0) & (shares < 1)
    if not len(sets):
        raise ValueError("no legal set of options has these shares")
    if not free.any():
        return sets, np.full(len(sets), 1 / len(sets))
    return sets, _fit_free(sets[:, free].astype(np.float64), shares[free])


def _fit_free(features: Floats, shares: Floats) -> Floats:
    # Where all sets have the same size the last option follows from the others.
    fixed_size = np.ptp(features.sum(axis=1)) == 0
    if fixed_size and abs(features[0].sum() - shares.sum()) > 1e-6:
        raise ValueError(f"the shares sum to {shares.sum():g}, but every answer has {features[0].sum():g} options")
    last = -1 if fixed_size and features.shape[1] > 1 else None
    return max_entropy(features[:, :last], shares[:last], np.ones(len(features)))
