"""From published moments to the exact probabilities that ``baseline`` draws from: plain numbers in, arrays out.

Every number lives on a grid of whole multiples of 10**-places, so no floating noise reaches a text. A person rounds to
one of six steps; arrays that have a row per step are ordered from the coarsest step to the finest.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls
from scipy.sparse import coo_array, csr_array
from scipy.special import expit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEPS = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01)
"""What people round to, as shares of the power of ten nearest to a tenth of the question's range."""

_MOST_POINTS = 20_000
_DIRECTION_TOLERANCE = 0.02
_FIT_TOLERANCE = 0.05
_SD_TOLERANCE = 0.1
_PULL = 1e-3
_GOOD = 1e-4


class Grid(NamedTuple):
    """The legal answers of a number question: whole multiples of ``10**-places`` from ``lowest`` to ``highest``."""

    places: int
    lowest: int
    highest: int
    steps: tuple[int, ...]

    @property
    def points(self) -> Ints:
        """All legal answers in grid units."""
        return np.arange(self.lowest, self.highest + 1)

    def units(self, value: float) -> float:
        """Turn a value of the question into grid units."""
        return value * 10.0**self.places


def grid_of(minimum: float, maximum: float, decimals: int) -> Grid:
    """Lay the grid of a number question and choose the steps that people round to.

    Decimals are used as far as they give at most 20,000 points; beyond that the grid is coarser.

    Raises:
        ValueError: No number with these decimals lies in the range.

    Example:
        >>> grid_of(-2, 8, 2)
        Grid(places=2, lowest=-200, highest=800, steps=(100, 50, 25, 10, 5, 1))
    """
    width = maximum - minimum
    places = min(decimals, math.floor(math.log10(_MOST_POINTS / width)))
    low, high = (Decimal(repr(float(end))).scaleb(places) for end in (minimum, maximum))
    lowest, highest = math.ceil(low), math.floor(high)
    if lowest > highest:
        raise ValueError(f"no number with {decimals} decimals lies between {minimum:g} and {maximum:g}")
    coarsest = 10.0 ** round(math.log10(width / 10) + places)
    steps, finest = [], 0
    for share in STEPS:
        step = round(coarsest * share)
        if step >= 1 and math.isclose(step, coarsest * share):
            finest = step
        steps.append(finest or 1)
    return Grid(places, lowest, highest, tuple(steps))


def trimmed_moments(values: Floats, pmf: Floats, trim: float) -> tuple[float, float, float]:
    """Take mean, standard deviation and trimmed standard deviation of a discrete distribution.

    Args:
        values: (k,) ascending values.
        pmf: (k,) their probabilities.
        trim: Probability that is cut from each tail; an atom at the cut is cut in part.

    Example:
        >>> mean, sd, trimmed = trimmed_moments(np.array([0.0, 1.0, 9.0]), np.array([0.25, 0.5, 0.25]), 0.25)
        >>> mean, round(sd, 2), trimmed
        (2.75, 3.63, 0.0)
    """
    above = np.cumsum(pmf)
    kept = np.clip(np.minimum(above, 1 - trim) - np.maximum(above - pmf, trim), 0, None)
    mean, sd = _mean_sd(values, pmf)
    return mean, sd, _mean_sd(values, kept / kept.sum())[1]


def _mean_sd(values: Floats, pmf: Floats) -> tuple[float, float]:
    mean = float(pmf @ values)
    return mean, math.sqrt(max(float(pmf @ (values - mean) ** 2), 0.0))


def joint_table(first: Sequence[float], second: Sequence[float], joint: Sequence[float] | None) -> Floats:
    """Make a proper 3 x 3 table of directions out of rounded shares that need not add up.

    The table is the one with non-negative cells that sum to 1 whose margins and joint shares have the least sum of
    squared differences from the published figures. Without joint shares the two directions are independent.

    Args:
        first: (fall, same, rise) of the first change, in per cent or as shares of 1.
        second: The same of the second change.
        joint: (both fall, first falls and second rises, first rises and second falls, both rise, any zero), or None.

    Returns:
        (3, 3) probabilities, rows the first change's fall, same, rise, columns the second's.

    Raises:
        ValueError: Shares are all zero, or margins and joint shares differ by more than rounding.

    Example:
        >>> joint_table((21, 9, 71), (25, 14, 62), (10, 9, 13, 49, 19)).sum(axis=1).round(3)
        array([0.207, 0.087, 0.707])
    """
    margins = [_shares(first), _shares(second)]
    if joint is None:
        return np.asarray(np.outer(margins[0] / margins[0].sum(), margins[1] / margins[1].sum()))
    cells = np.eye(9).reshape(9, 3, 3)
    corners = [cells[:, 0, 0], cells[:, 0, 2], cells[:, 2, 0], cells[:, 2, 2]]
    known = np.vstack([cells.sum(axis=2).T, cells.sum(axis=1).T, *corners, 1 - sum(corners)])
    published = np.concatenate([*margins, _shares(joint)])
    # The heavy last row holds the sum at 1 while the others are met as well as they can be.
    found, _ = nnls(np.vstack([known, np.full((1, 9), 1e4)]), np.append(published, 1e4))
    table = found / found.sum()
    worst = float(np.abs(known @ table - published).max())
    if worst > _DIRECTION_TOLERANCE:
        raise ValueError(f"directions and joint directions contradict each other by {100 * worst:.1f} points")
    return np.asarray(table.reshape(3, 3))


def _shares(published: Sequence[float]) -> Floats:
    shares = np.asarray(published, dtype=np.float64)
    if shares.sum() <= 0:
        raise ValueError("the shares of the directions are all zero")
    return shares / (100 if shares.sum() > 2 else 1)


class ChangeTarget(NamedTuple):
    """Published figures of a change in one arm, in grid units."""

    shares: Floats
    """(3,) fall, same, rise."""
    mean: float
    sd: float
    trimmed_sd: float
    trim: float


class ChangeFit(NamedTuple):
    """The fitted distribution of a change: (k,) values in grid units and (6, k) probabilities by rounding step."""

    values: Ints
    pmf: Floats


def fit_change(target: ChangeTarget, reach: tuple[int, int], steps: Sequence[int], weights: Floats) -> ChangeFit:
    """Fit sizes of change so that direction shares, mean, SD and trimmed SD are those published.

    The shares of falls, zeros and rises are taken as they are. Falls and rises have log-logistic sizes, each with its
    own scale and shape, cut at ``reach`` and rounded: to a person's step, or to the next finer one that does not round
    to nothing, so that rounding never feeds the zero. Scales and shapes make the three moments of the rounded mixture
    meet the published ones by least squares; a slight pull towards a shape of 1 and the trimmed SD as scale decides
    between solutions, because there are four of them and three moments.

    Args:
        target: The published figures, in grid units.
        reach: The largest fall and the largest rise that the range of answers leaves room for, in grid units.
        steps: (6,) rounding steps in grid units, coarsest first.
        weights: (6,) share of people who round to each step.

    Raises:
        ValueError: No such distribution comes near the published moments.

    Example:
        >>> target = ChangeTarget(np.array([0.3, 0.2, 0.5]), mean=20, sd=100, trimmed_sd=60, trim=0.05)
        >>> fit = fit_change(target, (500, 500), (100, 50, 25, 10, 5, 1), np.full(6, 1 / 6))
        >>> [round(x, 1) for x in trimmed_moments(fit.values.astype(float), fit.pmf.mean(axis=0), 0.05)]
        [20.0, 100.0, 60.0]
    """
    values = np.arange(-reach[0], reach[1] + 1)
    asked = np.array([target.mean, target.sd, target.trimmed_sd])
    sides = [_rounding(cap, steps, weights) for cap in reach]
    # Limits a hundredfold around the pull: nothing near them is ever published.
    around = np.array([np.log(target.trimmed_sd)] * 2 + [0.0, 0.0])
    bounds = (np.add(around, [-4.6, -4.6, -4.0, -4.0]), np.add(around, [4.6, 4.6, 1.6, 1.6]))

    def moments(parameters: Floats) -> Floats:
        pmf = _change_pmf(parameters, target.shares, reach, sides)
        return np.array(trimmed_moments(values.astype(np.float64), pmf, target.trim))

    def misfit(parameters: Floats) -> Floats:
        return np.append((moments(parameters) - asked) / target.trimmed_sd, _PULL * (parameters - around))

    fits = []
    for log_shape in (-0.5, -2.0, 0.5):
        fits.append(least_squares(misfit, np.add(around, [0, 0, log_shape, log_shape]), bounds=bounds))
        if fits[-1].cost < _GOOD:
            break
    best = min(fits, key=lambda fit: float(fit.cost))
    got = moments(best.x)
    room = np.array([_FIT_TOLERANCE, _SD_TOLERANCE, _FIT_TOLERANCE]) * asked[[2, 1, 2]]
    if (np.abs(got - asked) > room).any():
        near = ", ".join(
            f"{name} {a:.3g} for {b:.3g}" for name, a, b in zip(("mean", "SD", "trimmed SD"), got, asked, strict=True)
        )
        raise ValueError(f"mean, SD and trimmed SD cannot be met together; the nearest, in steps of the grid: {near}")
    by_step = [
        _change_pmf(best.x, target.shares, reach, [_rounding(cap, steps, only) for cap in reach]) for only in np.eye(6)
    ]
    return ChangeFit(values, np.array(by_step))


def _change_pmf(parameters: Floats, shares: Floats, reach: tuple[int, int], sides: Sequence[csr_array]) -> Floats:
    down, up = reach
    pmf = np.zeros(down + up + 1)
    pmf[down] = shares[1]
    pmf[: down + 1] += shares[0] * (sides[0] @ _sizes(parameters[0], parameters[2], down))[::-1]
    pmf[down:] += shares[2] * (sides[1] @ _sizes(parameters[1], parameters[3], up))
    return np.asarray(pmf / pmf.sum())


def _sizes(log_scale: float, log_shape: float, cap: int) -> Floats:
    """Probabilities of the (2 cap) half-units below the cap under a log-logistic distribution that ends there."""
    below = expit((np.log(np.arange(1, 2 * cap + 1) / 2) - log_scale) / np.exp(log_shape))
    return np.diff(below, prepend=0.0) / below[-1] if cap else np.zeros(0)


def _rounding(cap: int, steps: Sequence[int], weights: Floats) -> csr_array:
    """Make the (cap + 1, 2 cap) matrix that takes half-units to the rounded sizes people write."""
    middle = (np.arange(2 * cap) + 0.5) / 2
    sizes = [_round_up(middle, steps[i:], cap) for i in range(len(steps))]
    share = np.repeat(weights, 2 * cap)
    cells = (np.concatenate(sizes), np.tile(np.arange(2 * cap), len(steps)))
    return csr_array(coo_array((share, cells), shape=(cap + 1, 2 * cap)))


def _round_up(sizes: Floats, steps: Sequence[int], cap: int) -> Ints:
    rounded = np.zeros(len(sizes), dtype=np.int64)
    for step in steps:
        nearest = np.minimum(np.floor(sizes / step + 0.5), cap // step).astype(np.int64) * step
        rounded = np.where(rounded == 0, nearest, rounded)
    return np.where(rounded == 0, 1, rounded)


def level_pmf(grid: Grid, anchor: float | None) -> Floats:
    """State the default draw of a number without published moments.

    Where the question states an anchor, four people in ten write just that. The others are logistic around it with a
    scale of a twentieth of the range, or around the middle of the range with a tenth where there is no anchor, and
    round to their step.

    Args:
        grid: The legal answers.
        anchor: A level that the question states, in its unit.

    Returns:
        (6, k) probabilities of the grid's points by rounding step.

    Example:
        >>> level_pmf(grid_of(0, 10, 0), 4)[0].round(2)
        array([0.  , 0.  , 0.03, 0.13, 0.67, 0.13, 0.03, 0.  , 0.  , 0.  , 0.  ])
    """
    points = grid.points
    centre = (grid.lowest + grid.highest) / 2 if anchor is None else grid.units(anchor)
    scale = max(len(points) * (0.1 if anchor is None else 0.05), 0.5)
    density = expit((points - centre) / scale) * expit((centre - points) / scale)
    heaped = np.array([density * (points % step == 0) for step in grid.steps]) + 1e-9 * density
    pmf = heaped / heaped.sum(axis=1, keepdims=True)
    at = round(centre) - grid.lowest
    if anchor is not None and 0 <= at < len(points):
        pmf *= 0.6
        pmf[:, at] += 0.4
    return np.asarray(pmf)


def heaping_base(grid: Grid, weights: Floats) -> Floats:
    """Weigh the points of a grid by how many people's rounding steps hit them.

    Example:
        >>> heaping_base(grid_of(0, 10, 0), np.full(6, 1 / 6)).round(2).tolist()[:3]
        [1.0, 1.0, 1.0]
    """
    hits = [share * step * (grid.points % step == 0) for share, step in zip(weights, grid.steps, strict=True)]
    return np.asarray(np.sum(hits, axis=0) + 1e-3)
