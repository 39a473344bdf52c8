"""Weighted statistics of survey answers, over one set of weights or over many at once.

Weights count respondents: they sum to the number of answers. Where they are (draws, n), each row is one resample and
the statistic comes back as (draws,).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Fit(NamedTuple):
    """k figures of a sample, and how far each of its n answers moves them."""

    value: Values
    """(k,) figures."""
    moves: Values
    """(n, k) influences, which have mean 0 and n times the variance of the figures."""


def mean(values: Values, weights: Values) -> Values:
    """Take the weighted mean.

    Args:
        values: (n,) answers.
        weights: (..., n) weights.

    Returns:
        (...,) means.

    Example:
        >>> mean(np.array([1.0, 3.0]), np.array([[1.0, 1.0], [0.0, 2.0]])).tolist()
        [2.0, 3.0]
    """
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ values) / weights.sum(axis=-1))[()]


def trimmed_sd(values: Values, weights: Values | None = None, share: float = 0.05) -> Values:
    """Standard deviation (n - 1) after cutting both tails, as in Andre et al. (2022), Table A.5.

    From each tail go the floor of ``share`` of the ranks. Ties are cut by rank; an answer whose weight reaches over the
    cut stays in part, so that a weight of 2 is the same as the answer twice.

    Args:
        values: (n,) answers in any unit.
        weights: (..., n) weights; 1 each unless given.
        share: Share of the ranks to cut from each tail, below one half; 0 gives the plain standard deviation.

    Returns:
        (...,) standard deviations in the unit of the answers, one number for one set of weights; missing where fewer
        than two answers stay.

    Example:
        >>> float(trimmed_sd(np.array([-50.0, 1.0, 2.0, 3.0, 90.0]), share=0.2))
        1.0
    """
    order = np.argsort(values, kind="stable")
    middle = np.median(values) if len(values) else 0.0
    centred = values[order] - middle
    ranked = (np.ones(len(values)) if weights is None else weights)[..., order]
    kept = _kept(ranked, share) if share else ranked
    left = kept.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = (kept @ centred) / left
        variance = (kept @ centred**2 - left * average**2) / (left - 1)
    return np.asarray(np.sqrt(np.where(left > 1, np.maximum(variance, 0.0), np.nan)))[()]


def _kept(ranked: Values, share: float) -> Values:
    """Take the floor of a share of the total weight from both ends of weights in rank order."""
    above = np.cumsum(ranked, axis=-1)
    total = above[..., -1:]
    cut = np.floor(share * total + 1e-9)
    kept = np.minimum(above, total - cut) - np.maximum(above - ranked, cut)
    return np.asarray(np.clip(kept, 0, None))


def direction(change: Values, of: str) -> Values:
    """Mark the changes of one direction with 1 and the others with 0.

    Args:
        change: (n,) changes.
        of: ``fall``, ``same`` or ``rise``.

    Example:
        >>> direction(np.array([-1.0, 0.0, 2.0]), "rise").tolist()
        [0.0, 0.0, 1.0]
    """
    return np.asarray(np.sign(change) == {"fall": -1, "same": 0, "rise": 1}[of], dtype=np.float64)


def joint_direction(first: Values, second: Values, of: str) -> Values:
    """Mark the pairs of changes of two directions with 1; ``other`` are all pairs with a zero.

    Args:
        first: (n,) changes of one outcome.
        second: (n,) changes of the other, of the same people.
        of: ``both_fall``, ``fall_rise``, ``rise_fall``, ``both_rise`` or ``other``.

    Example:
        >>> joint_direction(np.array([1.0, -1.0]), np.array([1.0, 0.0]), "other").tolist()
        [0.0, 1.0]
    """
    if of == "other":
        return np.asarray((first == 0) | (second == 0), dtype=np.float64)
    ways = {"both_fall": ("fall", "fall"), "both_rise": ("rise", "rise")}.get(of) or tuple(of.split("_"))
    return direction(first, ways[0]) * direction(second, ways[1])


def least_squares(terms: Values, outcome: Values, weights: Values) -> Fit:
    """Fit weighted least squares; each move is that of leaving the answer out (HC3, MacKinnon and White 1985).

    Args:
        terms: (n, k) regressors; of those that are combinations of others the shortest coefficients are taken.
        outcome: (n,) answers.
        weights: (n,) one set of weights.

    Example:
        >>> terms = np.column_stack([np.ones(4), np.arange(4.0)])
        >>> least_squares(terms, 1 + 2 * np.arange(4.0), np.ones(4)).value.round(9).tolist()
        [1.0, 2.0]
    """
    weighted = terms * weights[:, None]
    inverse = np.linalg.pinv(weighted.T @ terms / len(terms))
    value = inverse @ (weighted.T @ outcome) / len(terms)
    leverage = weights * np.einsum("ij,jk,ik->i", terms, inverse, terms) / len(terms)
    alone = (outcome - terms @ value) / np.maximum(1 - leverage, 1e-6)
    return Fit(value, (weighted * alone[:, None]) @ inverse)
