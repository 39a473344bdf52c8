"""Distances between two distributions, each a function on plain arrays; the same twice has distance 0.

Samples (``wasserstein``, ``ks``, ``energy``) need no bins. Distributions over categories (``total_variation``,
``js_distance``, ...) are compared cell by cell; `histogram` makes one out of a sample with declared bins. Distances
that use an order refuse categories that have none.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popsim.errors import TargetError

Values = NDArray[np.float64]


def wasserstein(first: Values, second: Values, weights: Values | None = None, others: Values | None = None) -> float:
    """Wasserstein-1 distance of two samples, in the unit of the answers.

    Args:
        first: (n,) answers.
        second: (m,) answers.
        weights: (n,) weights of the first sample; equal unless given.
        others: (m,) weights of the second.

    Raises:
        TargetError: A sample is empty or a weight is not positive.

    Example:
        >>> wasserstein(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
        1.0
    """
    gaps, difference = _differences(first, second, weights, others)
    return float(np.abs(difference) @ gaps)


def ks(first: Values, second: Values, weights: Values | None = None, others: Values | None = None) -> float:
    """Kolmogorov-Smirnov distance: the largest gap between the two shares of answers up to a value.

    Args and Raises: As for `wasserstein`.

    Example:
        >>> ks(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
        0.5
    """
    return float(np.abs(_differences(first, second, weights, others)[1]).max(initial=0.0))


def energy(first: Values, second: Values, weights: Values | None = None, others: Values | None = None) -> float:
    """Energy distance: the root of 2 E|X-Y| - E|X-X'| - E|Y-Y'| (Székely and Rizzo 2013).

    Args and Raises: As for `wasserstein`.

    Example:
        >>> energy(np.array([0.0]), np.array([2.0]))
        2.0
    """
    gaps, difference = _differences(first, second, weights, others)
    return float(np.sqrt(2 * (difference**2) @ gaps))


def rmse(first: Values, second: Values) -> float:
    """Root of the mean squared difference of paired numbers.

    Raises:
        TargetError: The numbers are not paired.

    Example:
        >>> rmse(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == 2**0.5
        True
    """
    if first.shape != second.shape or first.size == 0:
        raise TargetError(f"RMSE needs pairs of numbers, not {first.size} and {second.size}; give one for one")
    return float(np.sqrt(np.mean((first - second) ** 2)))


def histogram(
    values: Values, edges: Sequence[float], weights: Values | None = None, smoothing: float = 0.0
) -> NDArray[np.float64]:
    """Share of answers in each bin.

    Args:
        values: (n,) answers.
        edges: (k + 1,) ascending ends of the bins; a bin holds its lower end, the last one both.
        weights: (n,) weights; equal unless given.
        smoothing: Answers that are added to every bin before shares are taken, so that no bin is empty.

    Returns:
        (k,) shares that sum to 1.

    Raises:
        TargetError: The edges do not ascend, an answer lies outside them, or a weight is not positive.

    Example:
        >>> histogram(np.array([0.0, 1.0, 1.0, 2.0]), [0, 1, 2]).tolist()
        [0.25, 0.75]
    """
    ends = np.asarray(edges, dtype=np.float64)
    if len(ends) < 2 or (np.diff(ends) <= 0).any():
        raise TargetError(f"bins: edges must ascend, not {list(edges)}")
    if values.size and not (values.min() >= ends[0] and values.max() <= ends[-1]):
        far = values[(values < ends[0]) | (values > ends[-1])][0]
        raise TargetError(f"bins: answer {far:g} lies outside {ends[0]:g} to {ends[-1]:g}; declare bins that hold it")
    shares = checked_weights(values, weights) * len(values)
    counts = np.histogram(values, ends, weights=shares)[0] + smoothing
    return np.asarray(counts / counts.sum())


def total_variation(p: Values, q: Values) -> float:
    """Total variation: the share of respondents who would have to answer otherwise.

    Args:
        p: (k,) shares that sum to 1.
        q: (k,) shares of the same categories.

    Raises:
        TargetError: One of them is no distribution, or they have different lengths.

    Example:
        >>> total_variation(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
        0.5
    """
    p, q = _distributions(p, q)
    return float(0.5 * np.abs(p - q).sum())


def ordinal_emd(p: Values, q: Values, *, ordered: bool, positions: Sequence[float] | None = None) -> float:
    """Earth mover's distance along ordered categories, between 0 and 1 (1: from one end to the other).

    Args:
        p: (k,) shares that sum to 1, from the lowest category to the highest.
        q: (k,) shares of the same categories.
        ordered: Whether the categories have an order.
        positions: (k,) ascending places of the categories; equal steps unless given.

    Raises:
        TargetError: The categories have no order, or as for `total_variation`.

    Example:
        >>> ordinal_emd(np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), ordered=True)
        0.5
    """
    if not ordered:
        raise TargetError("ordinal EMD: these options have no order; take total variation or a Jensen-Shannon figure")
    p, q = _distributions(p, q)
    places = np.arange(len(p), dtype=np.float64) if positions is None else np.asarray(positions, dtype=np.float64)
    if places.shape != p.shape or len(p) < 2 or (np.diff(places) <= 0).any():
        raise TargetError(f"ordinal EMD: needs one ascending position per category, not {places.tolist()}")
    gaps = np.diff(places) / (places[-1] - places[0])
    return float(np.abs(np.cumsum(p - q)[:-1]) @ gaps)


def kl(p: Values, q: Values) -> float:
    """Kullback-Leibler divergence of ``p`` from ``q`` in nats: ``kl(human, model)`` is the forward one.

    Infinite where ``q`` has no mass and ``p`` has; smooth both with `histogram` first.

    Args and Raises: As for `total_variation`.

    Example:
        >>> round(kl(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 4)
        0.1438
    """
    p, q = _distributions(p, q)
    has = p > 0
    with np.errstate(divide="ignore"):
        return max(float(p[has] @ (np.log(p[has]) - np.log(q[has]))), 0.0)


def js_distance(p: Values, q: Values) -> float:
    """Jensen-Shannon distance in nats: the root of the divergence, between 0 and 0.833.

    Args and Raises: As for `total_variation`.

    Example:
        >>> round(js_distance(np.array([1.0, 0]), np.array([0, 1.0])), 4)
        0.8326
    """
    return float(np.sqrt(js_divergence_bits(p, q) * np.log(2)))


def js_divergence_bits(p: Values, q: Values) -> float:
    """Jensen-Shannon divergence in bits, between 0 and 1.

    Args and Raises: As for `total_variation`.

    Example:
        >>> js_divergence_bits(np.array([1.0, 0]), np.array([0, 1.0]))
        1.0
    """
    p, q = _distributions(p, q)
    middle = (p + q) / 2
    return (kl(p, middle) + kl(q, middle)) / (2 * float(np.log(2)))


def checked_weights(values: Values, weights: Values | None) -> Values:
    """Give (n,) weights that sum to 1, equal ones where none are given.

    Raises:
        TargetError: There is no answer, a weight is missing or not positive.

    Example:
        >>> checked_weights(np.zeros(2), np.array([1.0, 3.0])).tolist()
        [0.25, 0.75]
    """
    n = len(values)
    if n == 0:
        raise TargetError("a distance needs answers on both sides; one side has none")
    given = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.shape != (n,) or not (given > 0).all():
        bad = given[~(given > 0)]
        what = f"{bad[0]:g}" if bad.size else f"{given.size} of them for {n} answers"
        raise TargetError(f"weights must be positive, one per answer, not {what}")
    return np.asarray(given / given.sum())


def _differences(first: Values, second: Values, weights: Values | None, others: Values | None) -> tuple[Values, Values]:
    """Give the gaps between all values in order, and by how much the two shares below each gap differ."""
    signed = np.concatenate([checked_weights(first, weights), -checked_weights(second, others)])
    values = np.concatenate([first, second]).astype(np.float64)
    order = np.argsort(values, kind="stable")
    gaps = np.diff(values[order])
    # Between two equal values the shares are halfway through a jump, and no distance looks there.
    difference = np.where(gaps > 0, np.cumsum(signed[order])[:-1], 0.0)
    return gaps, difference


def _distributions(p: Values, q: Values) -> tuple[Values, Values]:
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if p.shape != q.shape:
        raise TargetError(f"two distributions need the same categories, not {p.size} and {q.size}")
    for one in (p, q):
        if not (one >= 0).all() or abs(one.sum() - 1) > 1e-6:
            raise TargetError(f"shares must be 0 or more and sum to 1, not {one.sum():g}: {np.round(one, 4).tolist()}")
    return p, q
