"""Statistics of survey answers, each a function on an array."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def trimmed(values: Values, share: float = 0.05) -> Values:
    """Cut a share of the ranks from each tail; the number cut is rounded down, ties are cut by rank.

    Args:
        values: (n,) answers.
        share: Share to cut from each tail, below one half.

    Returns:
        The answers that remain, sorted.

    Example:
        >>> trimmed(np.array([9.0, 1.0, 2.0, 3.0]), 0.25).tolist()
        [2.0, 3.0]
    """
    cut = int(np.floor(share * len(values) + 1e-9))
    return np.sort(values)[cut : len(values) - cut]


def trimmed_sd(values: Values, share: float = 0.05) -> float:
    """Standard deviation (n - 1) after cutting both tails, as in Andre et al. (2022), Table A.5.

    Args:
        values: (n,) answers in any unit, n large enough to leave two.
        share: Share to cut from each tail.

    Returns:
        The standard deviation in the unit of the answers.

    Example:
        >>> trimmed_sd(np.array([-50.0, 1.0, 2.0, 3.0, 90.0]), 0.2)
        1.0
    """
    return float(np.std(trimmed(values, share), ddof=1))


def direction_shares(change: Values) -> dict[str, float]:
    """Shares of answers that fall, stay and rise.

    Example:
        >>> direction_shares(np.array([-1.0, 0.0, 2.0, 0.5]))
        {'fall': 0.25, 'same': 0.25, 'rise': 0.5}
    """
    sign = np.sign(change)
    return {name: float(np.mean(sign == s)) for name, s in (("fall", -1), ("same", 0), ("rise", 1))}


def joint_direction_shares(first: Values, second: Values) -> dict[str, float]:
    """Shares of pairs of changes by their two directions; ``other`` holds every pair with a zero.

    Args:
        first: (n,) changes of one outcome.
        second: (n,) changes of the other, the same people.

    Example:
        >>> joint_direction_shares(np.array([1.0, -1.0]), np.array([1.0, 0.0]))
        {'both_fall': 0.0, 'fall_rise': 0.0, 'rise_fall': 0.0, 'both_rise': 0.5, 'other': 0.5}
    """
    a, b = np.sign(first), np.sign(second)
    signs = {"both_fall": (-1, -1), "fall_rise": (-1, 1), "rise_fall": (1, -1), "both_rise": (1, 1)}
    shares = {name: float(np.mean((a == x) & (b == y))) for name, (x, y) in signs.items()}
    return {**shares, "other": float(np.mean((a == 0) | (b == 0)))}


def bootstrap_se(values: Values, statistic: Callable[[Values], float], rng: np.random.Generator, draws: int) -> float:
    """Standard error of a statistic by resampling persons (Efron 1979).

    Args:
        values: (n,) one value per person.
        statistic: The function of the sample.
        rng: Where the resampling comes from.
        draws: Number of resamples.

    Example:
        >>> se = bootstrap_se(np.arange(100.0), np.mean, np.random.default_rng(0), 500)
        >>> bool(abs(se - np.std(np.arange(100.0)) / 10) < 0.2)
        True
    """
    n = len(values)
    return float(np.std([statistic(values[rng.integers(0, n, n)]) for _ in range(draws)], ddof=1))
