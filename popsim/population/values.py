"""Exact numbers inside bands, and the words that are worked out from them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.errors import PopulationError
from popsim.population.traits import Level, Number
from popsim.weighted import band_starts

Floats = NDArray[np.float64]


def categorical(codes: NDArray[np.integer], levels: Sequence[str], *, ordered: bool = False) -> pd.Categorical:
    """Make a categorical column from level codes, -1 for missing.

    Example:
        >>> list(categorical(np.array([1, 0]), ["low", "high"]))
        ['high', 'low']
    """
    return pd.Categorical.from_codes(codes, pd.Index(list(levels)), ordered=ordered)  # type: ignore[return-value]


def draw_number(number: Number, people: pd.DataFrame, random: np.random.Generator) -> pd.Series:
    """Draw an exact number for each person inside their band, evenly spread over the people of a band.

    Years are uniform whole numbers; money is log-uniform and rounded the way a person would state it. In the top band
    years fall off exponentially and money as a Pareto tail, both cut at the band's upper end.

    Args:
        number: The bands and how to draw.
        people: With the categorical columns that it names; a person without a band gets no number.
        random: One uniform number per person and one shuffle are drawn from it.

    Returns:
        Whole numbers, nullable where a band may be missing.
    """
    bands = people[number.of].cat
    codes = bands.codes.to_numpy()
    edges = np.array([number.bounds.get(level, (np.nan, np.nan)) for level in bands.categories])
    low, high = edges[codes, 0], edges[codes, 1]
    for attribute, floors in number.at_least.items():
        column = people[attribute].cat
        least = np.array([floors.get(level, -np.inf) for level in column.categories])
        low = np.where(column.codes >= 0, np.minimum(np.maximum(low, least[column.codes]), high - 1), low)
    u = _even(codes, random)
    top = (codes == np.nanargmax(edges[:, 0])) & (number.tail is not None)
    tail = number.tail or 1.0
    missing = codes < 0
    low, high = np.where(missing, 1.0, low), np.where(missing, 2.0, high)
    if number.kind == "years":
        fall = -tail * np.log1p(-u * -np.expm1(-(high - low) / tail))
        drawn = np.floor(low + np.where(top, fall, u * (high - low)))
    else:
        pareto = (1 - u * (1 - (low / high) ** tail)) ** (-1 / tail)
        drawn = _rounded(low * np.where(top, pareto, (high / low) ** u), low, high, number.steps)
    if not missing.any():
        return pd.Series(drawn.astype(np.int64), index=people.index)
    return pd.Series(pd.array(drawn.astype(np.int64), dtype="Int64"), index=people.index).mask(missing)


def _even(codes: NDArray[np.integer], random: np.random.Generator) -> Floats:
    """Give each person a number in [0, 1), spread evenly over the people of each band."""
    shuffled = random.permutation(len(codes))
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    counts = np.bincount(codes + 1)
    before = np.cumsum(counts) - counts
    band = codes[order] + 1
    u = np.empty(len(codes))
    u[order] = (np.arange(len(codes)) - before[band] + random.random(len(codes))) / counts[band]
    return u


def _rounded(amounts: Floats, low: Floats, high: Floats, steps: dict[float, float]) -> Floats:
    """Round to the step of each amount, without leaving the band."""
    if not steps:
        return np.floor(amounts)
    starts = np.array(sorted(steps))
    step = np.array([steps[start] for start in starts])[np.searchsorted(starts, amounts, "right").clip(1) - 1]
    rounded = np.rint(amounts / step) * step
    rounded -= np.where(rounded >= high, step, 0)
    rounded += np.where(rounded < low, step, 0)
    return np.asarray(rounded, dtype=np.float64)


def work_out(name: str, level: Level, people: pd.DataFrame) -> pd.Categorical:
    """Work out a level from another column; it is missing where that column is.

    Raises:
        PopulationError: A number lies below the lowest level.
    """
    column = people[level.of]
    if level.members:
        word_of = {member: i for i, members in enumerate(level.members.values()) for member in members}
        words = np.array([*(word_of.get(category, -1) for category in column.cat.categories), -1])
        return categorical(words[column.cat.codes], list(level.members), ordered=True)
    numbers = column.to_numpy(float, na_value=np.nan)
    if level.quantiles:
        known = np.flatnonzero(~np.isnan(numbers))
        if not len(known):
            return categorical(np.full(len(numbers), -1), level.words, ordered=True)
        weights = people["weight"].to_numpy(float)[known]
        limits = band_starts(numbers[known], weights, np.array(list(level.quantiles.values())))
    else:
        limits = np.array(list(level.lowest.values()))
    codes = np.where(np.isnan(numbers), -1, np.searchsorted(limits, numbers, "right") - 1)
    if (numbers < limits[0]).any():
        raise PopulationError(f"levels.{name}.lowest: {level.of} {np.nanmin(numbers):g} lies below all levels")
    return categorical(codes, level.words, ordered=True)
