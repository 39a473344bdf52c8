"""Weighted moments and quantiles: one convention each, wherever answers, people or probabilities are summed up.

Weights stand at any scale, none negative; a weight of 2 is the same as the value twice. Where a figure needs another
convention it is worked out where it belongs: with n - 1, after cutting tails, in `popsim.evaluate.statistics`; where a
share below is itself an estimate, in `popsim.evaluate.correction.correct_quantile`.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_TINY = float(np.nextafter(0, 1))


def moments(values: ArrayLike, weights: ArrayLike) -> tuple[float, float]:
    """Give mean and variance, the variance with all of the weight and not n - 1 below; NaN where there is no weight.

    Args:
        values: (n,) values.
        weights: (n,) weights.

    Example:
        >>> moments([1, 3], [0.25, 0.25])
        (2.0, 1.0)
    """
    x, w = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    total = w.sum()
    if not total > 0:
        return math.nan, math.nan
    mean = float((x * w).sum() / total)
    return mean, float((w * (x - mean) ** 2).sum() / total)


def quantiles(values: ArrayLike, weights: ArrayLike, at: Sequence[float]) -> Floats:
    """Give the smallest value at or below which a share of the weight lies; NaN where there is no weight.

    Args:
        values: (n,) values, in any order.
        weights: (..., n) one set of weights, or many.
        at: (k,) shares from 0 to 1; what is within a billionth of a share counts as reaching it.

    Returns:
        (..., k) quantiles, each one of the values.

    Example:
        >>> quantiles([3, 1, 2], [0.25, 0.25, 0.5], [0.25, 0.5, 1]).tolist()
        [1.0, 2.0, 3.0]
    """
    x, w = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    x, below = x[order], np.cumsum(w[..., order], axis=-1)
    found = np.full((*below.shape[:-1], len(at)), np.nan)
    for row in np.ndindex(below.shape[:-1]):
        total = below[row][-1] if len(x) else 0.0
        if total > 0:
            wanted = np.maximum(np.asarray(at) * total * (1 - 1e-9), _TINY)
            found[row] = x[below[row].searchsorted(wanted)]
    return found


def band_starts(values: Floats, weights: Floats, shares: Floats) -> Floats:
    """Give where bands begin that hold the weight between shares: the lowest value above a share of the weight.

    A band takes in its first value, so it cannot begin at the quantile, which belongs to the band below.

    Args:
        values: (n,) values, in any order.
        weights: (n,) weights.
        shares: (k,) rising shares below 1; at 0 the band has no beginning.

    Example:
        >>> band_starts(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4), np.array([0.0, 0.5])).tolist()
        [-inf, 3.0]
    """
    kept = np.flatnonzero(weights > 0)
    order = kept[np.argsort(values[kept], kind="stable")]
    below = np.cumsum(weights[order]) / weights[order].sum()
    starts: Floats = values[order[np.searchsorted(below, shares + 1e-12, "right").clip(0, len(order) - 1)]]
    starts[shares <= 0] = -np.inf
    return starts
