"""Figures of a sample and how far they move when its respondents are drawn again (Efron 1979).

What is drawn again is a unit: a person with all their answers, in every arm and draw, or a whole replicate where people
hear from each other. Single answers are never drawn.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from popsim import streams
from popsim.evaluate.statistics import Values, trimmed_sd
from popsim.weighted import quantiles

Ints = NDArray[np.int64]

_BLOCK = 10_000_000


class Cell(NamedTuple):
    """Answers of one arm: (m,) values, the unit each belongs to, and weights that sum to m."""

    values: Values
    unit: Ints
    weight: Values
    people: int
    """Distinct respondents."""


def cell_of(values: Values, unit: NDArray[Any], weight: Values, people: int) -> Cell:
    """Make a cell, with weights at any scale.

    Args:
        values: (m,) answers.
        unit: (m,) the number of the unit that each belongs to.
        weight: (m,) positive weights.
        people: Distinct respondents.

    Example:
        >>> cell_of(np.zeros(2), np.arange(2), np.array([2.0, 6.0]), 2).weight.tolist()
        [0.5, 1.5]
    """
    scaled = weight * (len(weight) / weight.sum()) if len(weight) else weight
    return Cell(values, unit.astype(np.int64), scaled, people)


def as_numbers(column: "pd.Series[Any]") -> Values:
    """Give a column as an array of floats."""
    return np.asarray(column.to_numpy(dtype=np.float64))


class Figure(NamedTuple):
    """A sum over cells of a coefficient times a mean, a standard deviation (``trim``) or a quantile (``at``)."""

    parts: tuple[tuple[float, Cell], ...]
    trim: float | None = None
    """Share of the ranks cut from each tail of a standard deviation."""
    at: float | None = None
    """Share of the answers at or below a quantile."""

    @property
    def is_mean(self) -> bool:
        """Whether means are added up."""
        return self.trim is None and self.at is None

    def of(self, values: Values, weights: Values) -> Values:
        """Take the standard deviation or the quantile of (n,) values with (draws, n) weights."""
        if self.at is not None:
            return np.asarray(quantiles(values, weights, (self.at,))[..., 0])
        return trimmed_sd(values, weights, self.trim or 0.0)


class Estimates(NamedTuple):
    """What `estimate` found of k figures."""

    value: Values
    """(k,) the figures of the sample."""
    draws: Values
    """(draws, k) the figures of each resample."""
    se: Values
    """(k,) standard errors; missing where fewer than two units were drawn from."""
    freedom: Values
    """(k,) degrees of freedom: one less than the units of the smallest part."""

    def interval(self, level: float) -> tuple[Values, Values]:
        """Give (k,) lower and upper ends of intervals from Student's t with the units' degrees of freedom."""
        reach = stats.t.ppf((1 + level) / 2, np.maximum(self.freedom, 1)) * self.se
        return self.value - reach, self.value + reach


def estimate(figures: Sequence[Figure], stratum: Ints, draws: int = 1000, seed: int = 0) -> Estimates:
    """Take figures of a sample and of resamples of its units.

    Args:
        figures: What to take.
        stratum: (units,) the stratum of each unit; every resample draws as many from each as there are.
        draws: Number of resamples.
        seed: Where the resampling comes from.

    Example:
        >>> cell = Cell(np.arange(100.0), np.arange(100), np.ones(100), 100)
        >>> found = estimate([Figure(((1.0, cell),))], np.zeros(100, dtype=np.int64), 500)
        >>> float(found.value[0]), bool(abs(found.se[0] - np.std(np.arange(100)) / 10) < 0.2)
        (49.5, True)
    """
    sums = _unit_sums(figures, len(stratum))
    value = _take(figures, sums, np.ones((1, len(stratum))))[0]
    drawn = np.concatenate([_take(figures, sums, counts) for counts in resamples(stratum, draws, seed)])
    units = np.array([min(len(np.unique(cell.unit)) for _, cell in figure.parts) for figure in figures])
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(np.nanvar(drawn, axis=0, ddof=1) * units / (units - 1))
    return Estimates(value, drawn, np.where(units > 1, spread, np.nan), units - 1.0)


def resamples(stratum: Ints, draws: int, seed: int) -> Iterator[Values]:
    """Give how often each unit is drawn, (draws, units), in blocks of draws that fit into memory.

    Example:
        >>> [block.sum(axis=1).tolist() for block in resamples(np.zeros(5, dtype=np.int64), 2, 0)]
        [[5.0, 5.0]]
    """
    random = streams.rng(seed, "bootstrap")
    members = [np.flatnonzero(stratum == one) for one in np.unique(stratum)]
    size = max(1, _BLOCK // max(len(stratum), 1))
    for start in range(0, draws, size):
        many = min(size, draws - start)
        counts = np.zeros((many, len(stratum)))
        row = np.arange(many)[:, None]
        for who in members:
            picked = random.integers(0, len(who), (many, len(who))) + row * len(who)
            counts[:, who] = np.bincount(picked.ravel(), minlength=many * len(who)).reshape(many, len(who))
        yield counts


def _unit_sums(figures: Sequence[Figure], units: int) -> tuple[Values, Values]:
    """Sum weight times value, and weight, by unit: (units, parts) each, over the parts of all means in order."""
    parts = [cell for figure in figures if figure.is_mean for _, cell in figure.parts]
    above = [np.bincount(cell.unit, cell.weight * cell.values, units) for cell in parts]
    below = [np.bincount(cell.unit, cell.weight, units) for cell in parts]
    none = np.zeros((units, 0))
    return (np.column_stack(above), np.column_stack(below)) if parts else (none, none)


def _take(figures: Sequence[Figure], sums: tuple[Values, Values], counts: Values) -> Values:
    """Take (draws, k) figures for (draws, units) counts of the units."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = iter(((counts @ sums[0]) / (counts @ sums[1])).T)
    found = np.zeros((len(counts), len(figures)))
    for k, figure in enumerate(figures):
        for coefficient, cell in figure.parts:
            if figure.is_mean:
                found[:, k] += coefficient * next(means)
            else:
                found[:, k] += coefficient * figure.of(cell.values, counts[:, cell.unit] * cell.weight)
    return found
