"""Mending the rounding of a draw: people who were rounded up change cells until the margins are met."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDS = 100
_TINY = 1e-9
_AT_ONCE = 8192
_SLACK = 16
"""Moves into or out of a cell of a margin that are taken at once whatever it lacks, in the first round; none later."""


class Aim(NamedTuple):
    """A margin that a draw should meet, over a table of parents by outcomes.

    Attributes:
        cell: (parents * outcomes,) the cell of the margin that each cell of the table counts in, -1 for none.
        weight: (parents * outcomes,) what one person there counts for.
        wanted: Its share of all in each cell of the margin.
    """

    cell: Ints
    weight: Floats
    wanted: Floats


def balance(counts: Ints, expected: Floats, aims: Sequence[Aim], random: np.random.Generator) -> Ints:
    """Move people between the outcomes of their parents so that margins miss by less (a rejective draw, Fuller 2009).

    Only those move who were rounded up, and only to a cell that was rounded down, so every cell stays within one of
    what is expected. Moves are proposed so that each is about as frequent over all draws as its reverse: to a cell with
    the chance that it is rounded up, from one with the chance that it is rounded down where a parent has many people to
    round, and always where it has one. Taken are those that lower the squared misses of the margins, which lie on
    either side about alike, so that cells hardly gain or lose over all draws where margins hold many people. Where they
    hold less than one, people go to the likelier cell: such draws are not for balancing.

    Args:
        counts: (parents, outcomes) whole people, within one of what is expected.
        expected: (parents, outcomes) their expectation.
        aims: The margins.
        random: Which moves are proposed.

    Returns:
        (parents, outcomes) people after the moves; each parent has as many as before.

    Example:
        >>> aim = Aim(np.array([0, 1, 0, 1]), np.ones(4), np.array([0.5, 0.5]))
        >>> drawn = balance(np.array([[1, 0], [1, 0]]), np.full((2, 2), 0.5), [aim], np.random.default_rng(1))
        >>> drawn.sum(axis=0).tolist(), drawn.sum(axis=1).tolist()
        ([1, 1], [1, 1])
    """
    people = counts.ravel().copy()
    whole = np.floor(expected.ravel() + _TINY).astype(np.int64)
    rest = np.where(np.isin(people - whole, (0, 1)), expected.ravel() - whole, 0.0).clip(0)
    rest[rest < _TINY] = 0
    cells, line = np.flatnonzero(rest), np.cumsum(rest)
    off = [_off(aim, aim.weight * people) for aim in aims]
    for slack in np.linspace(_SLACK, -_SLACK, ROUNDS if len(cells) else 0).clip(0):
        source = random.choice(cells, min(_AT_ONCE, len(cells)))
        source, target = _propose(source[people[source] > whole[source]], rest, line, counts.shape[1], random)
        gain = sum((_gain(aim, gap, source, target) for aim, gap in zip(aims, off, strict=True)), np.zeros(len(source)))
        good = (gain < -_TINY) & (people[target] == whole[target])
        source, target = source[good], target[good]
        kept = _first(source, 1) & _first(target, 1)
        for aim, gap in zip(aims, off, strict=True):
            kept &= _few(aim, np.abs(gap) / 2 + slack, source, target)
        source, target = source[kept], target[kept]
        people[source] -= 1
        people[target] += 1
        for aim, gap in zip(aims, off, strict=True):
            _move(aim, gap, source, target)
    return people.reshape(counts.shape)


def _propose(source: Ints, rest: Floats, line: Floats, outcomes: int, random: np.random.Generator) -> tuple[Ints, Ints]:
    """Propose a cell of the same parent to some of those who were rounded up; ``line`` adds up ``rest``."""
    first = source - source % outcomes
    below = line[first] - rest[first]
    waiting = line[first + outcomes - 1] - below
    leaves = random.random(len(source)) >= rest[source] * (1 - 1 / np.maximum(waiting, 1))
    there = np.searchsorted(line, below + random.random(len(source)) * waiting, "right")
    target = there.clip(first, first + outcomes - 1)
    leaves &= rest[target] > 0
    return source[leaves], target[leaves]


def _off(aim: Aim, people: Floats) -> Floats:
    """Say how far each cell of a margin is above what it should come to."""
    reached = np.bincount(aim.cell + 1, people, len(aim.wanted) + 1)[1:]
    return np.asarray(reached - aim.wanted * people.sum())


def _gain(aim: Aim, off: Floats, source: Ints, target: Ints) -> Floats:
    """Say by how much the squared misses of a margin would grow if people moved."""
    old, new = aim.cell[source], aim.cell[target]
    less = aim.weight[source] * (aim.weight[source] - 2 * off[old])
    more = aim.weight[target] * (aim.weight[target] + 2 * off[new])
    return np.where(old == new, 0.0, np.where(old >= 0, less, 0.0) + np.where(new >= 0, more, 0.0))


def _few(aim: Aim, most: Floats, source: Ints, target: Ints) -> NDArray[np.bool_]:
    """Mark moves of which no cell of a margin takes part in more than so many; within a cell any number may move."""
    old, new = aim.cell[source], aim.cell[target]
    allowed = np.append(most, np.inf)
    leaving, coming = (_first(np.where(old == new, -1, cells), allowed) for cells in (old, new))
    return np.asarray((old == new) | (leaving & coming))


def _first(cells: Ints, most: Floats | int) -> NDArray[np.bool_]:
    """Mark the first of each cell, so many as are allowed there and at least one."""
    order = np.argsort(cells, kind="stable")
    line = cells[order]
    begins = np.flatnonzero(np.diff(line, prepend=-2))
    place = np.arange(len(line)) - np.repeat(begins, np.diff(begins, append=len(line)))
    marked = np.empty(len(cells), dtype=bool)
    marked[order] = place < np.maximum(most if isinstance(most, int) else most[line], 1)
    return marked


def _move(aim: Aim, off: Floats, source: Ints, target: Ints) -> None:
    """Count moves in what a margin misses by."""
    for cells, sign in ((source, -1), (target, 1)):
        counted = cells[aim.cell[cells] >= 0]
        np.add.at(off, aim.cell[counted], sign * aim.weight[counted])
