"""Whole people from weights: serpentine systematic sampling, exactly as many as asked for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popsim.errors import PopulationError
from popsim.population.balance import Aim, balance

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TINY = 1e-9


def check_size(size: int, seed: int) -> None:
    """Refuse a size or a seed that cannot be drawn with.

    Raises:
        PopulationError: The size is not a positive integer, or the seed is negative.

    Example:
        >>> check_size(10, 0)
    """
    for what, value, least in (("size", size, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise PopulationError(f"{what} {value!r}: an integer of at least {least} is needed")


def serpentine(codes: Sequence[NDArray[np.integer]], sizes: Sequence[int]) -> Ints:
    """Give each cell its place on a line where neighbours differ in one category (a reflected Gray code).

    Args:
        codes: One integer array per attribute: the level of each cell, from 0.
        sizes: The number of levels of each attribute.

    Returns:
        One integer per cell; sorting by it makes the line.

    Example:
        >>> serpentine([np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])], [2, 2]).tolist()
        [0, 1, 3, 2]
    """
    place = np.zeros(len(codes[0]), dtype=np.int64)
    for code, size in zip(codes, sizes, strict=True):
        place = place * size + np.where(place % 2 == 0, code, size - 1 - code)
    return place


def systematic(expected: Floats, start: float) -> Ints:
    """Round expected counts along a line to whole counts with one random start (Madow 1949).

    Every count, and every sum of neighbouring counts, is within one of what is expected.

    Args:
        expected: Expected counts in the order of the line; their sum is a whole number up to rounding error.
        start: One uniform number in [0, 1).

    Example:
        >>> systematic(np.array([0.4, 1.2, 0.4]), 0.5).tolist()
        [0, 2, 0]
    """
    line = np.cumsum(expected)
    line[-1:] = np.rint(line[-1:])
    ticks = np.ceil(np.minimum(line, line[-1]) - start).astype(np.int64)
    return np.diff(ticks, prepend=0)


def draw_cells(weights: Floats, size: int, random: np.random.Generator, aims: Sequence[Aim] = ()) -> Ints:
    """Draw people from weighted cells that stand in line, in random order.

    Args:
        weights: One weight per cell, at any scale, in the order of the line.
        size: The number of people.
        random: One start and one shuffle are drawn from it.
        aims: Margins that the rounding of the cells should meet (`popsim.population.balance`).

    Returns:
        The cell of each person, ``size`` integers.

    Example:
        >>> np.bincount(draw_cells(np.array([1.0, 3.0]), 8, np.random.default_rng(1))).tolist()
        [2, 6]
    """
    alive = np.flatnonzero(weights > 0)
    expected = weights[alive] * (size / weights.sum())
    counts = systematic(expected, random.random())
    if aims:
        aims = [Aim(aim.cell[alive], aim.weight[alive], aim.wanted) for aim in aims]
        counts = balance(counts[None], expected[None], aims, random)[0]
    people = np.repeat(alive, counts)
    random.shuffle(people)
    return people


def draw_cells_at_random(weights: Floats, size: int, random: np.random.Generator) -> Ints:
    """Draw every person independently from weighted cells (multinomial counts), in random order.

    Example:
        >>> sorted(draw_cells_at_random(np.array([0.0, 3.0]), 3, np.random.default_rng(1)).tolist())
        [1, 1, 1]
    """
    alive = np.flatnonzero(weights > 0)
    people = np.repeat(alive, random.multinomial(size, weights[alive] / weights.sum()))
    random.shuffle(people)
    return people


def draw_given_at_random(chances: Floats, parent: Ints, random: np.random.Generator) -> Ints:
    """Draw an outcome for each person given a parent cell, every person independently.

    Example:
        >>> chances = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> draw_given_at_random(chances, np.array([0, 1, 0]), np.random.default_rng(1)).tolist()
        [1, 0, 1]
    """
    below = np.cumsum(chances, axis=1)
    u = (1 - random.random(len(parent))) * below[parent, -1]
    line = (below + np.arange(len(chances))[:, None] * 2).ravel()
    place = np.maximum(u + 2 * parent, np.nextafter(2.0 * parent, np.inf))
    outcome: Ints = np.searchsorted(line, place, "left") - parent * chances.shape[1]
    return outcome.clip(0, chances.shape[1] - 1)


def draw_given(chances: Floats, parent: Ints, random: np.random.Generator, aims: Sequence[Aim] = ()) -> Ints:
    """Draw an outcome for each person given a parent cell, systematically along the line of parent cells.

    Each parent cell first gets the whole part of what is expected of each outcome. The people left over, few per cell,
    stand in the line of their cells: the first outcome is a systematic sample of them with their own chances, the
    second one of the rest, and so on. So rounding is made good by the neighbours and does not add up over cells.

    Args:
        chances: Parent cells by outcomes, in the order of the line; rows of parents who occur sum to 1.
        parent: The row of each person.
        random: One start per outcome and one shuffle are drawn from it.
        aims: Margins that the rounding should meet (`popsim.population.balance`).

    Returns:
        The outcome of each person.

    Example:
        >>> chances = np.array([[0.5, 0.5], [1.0, 0.0]])
        >>> people = draw_given(chances, np.array([0, 1, 0, 1, 0, 0]), np.random.default_rng(1))
        >>> sorted(people[[0, 2, 4, 5]].tolist()), people[[1, 3]].tolist()
        ([0, 0, 1, 1], [0, 0])
    """
    rows, outcomes = chances.shape
    expected = np.bincount(parent, minlength=rows)[:, None] * chances
    counts = np.floor(expected + TINY).astype(np.int64)
    rest = (expected - counts).clip(0)
    rest[rest < TINY] = 0
    left = np.bincount(parent, minlength=rows) - counts.sum(axis=1)
    starts = np.asarray(random.random(outcomes))
    np.add.at(counts, _draw_rest(rest, np.repeat(np.arange(rows), left), starts), 1)
    if aims:
        counts = balance(counts, expected, aims, random)
    shuffled = random.permutation(len(parent))
    kind = np.int16 if rows < 2**15 else np.int64
    people = shuffled[np.argsort(parent[shuffled].astype(kind), kind="stable")]
    result = np.empty(len(parent), dtype=np.int64)
    result[people] = np.repeat(np.tile(np.arange(outcomes), rows), counts.ravel())
    return result


def _draw_rest(rest: Floats, waiting: Ints, starts: Floats) -> tuple[Ints, Ints]:
    """Draw an outcome for each waiting row of ``rest``, in line; a row waits as often as its numbers sum to."""
    drawn: list[tuple[Ints, Ints]] = []
    mass = rest.sum(axis=1)
    for outcome in range(rest.shape[1]):
        chance = np.divide(rest[:, outcome], mass, out=np.zeros(len(mass)), where=rest[:, outcome] > 0)
        chance[chance > 1 - TINY] = 1.0
        ticks = np.ceil(np.cumsum(chance[waiting]) - starts[outcome])
        taken = (np.diff(ticks, prepend=0.0) > 0) & (chance[waiting] > 0)
        drawn.append((waiting[taken], np.full(int(taken.sum()), outcome)))
        waiting = waiting[~taken]
        mass -= rest[:, outcome]
    drawn.append((waiting, np.argmax(rest[waiting], axis=1)))
    return np.concatenate([row for row, _ in drawn]), np.concatenate([outcome for _, outcome in drawn])
