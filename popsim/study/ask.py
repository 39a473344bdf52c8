"""Asking: the rounds of many runs pooled and put to the engine block by block, unreadable replies asked again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from popsim.engines import Engine, Prompt, Prompts, Reply
from popsim.errors import EngineError
from popsim.model import Round
from popsim.survey import Reading, Status

LEGAL = frozenset({"ok", "dont_know", "refused"})
SETTLED = LEGAL | {"engine_error"}
BLOCK = 65_536
"""Prompts that are put to the engine in one call and settled before the next; more replies are never held."""

Place = tuple[int, int]
"""A prompt among several rounds: which round, and where in it."""


class Asked(NamedTuple):
    """One prompt that is settled: its last reply, read, and how it went before."""

    position: int
    attempt: int
    reply: Reply
    reading: Reading
    first_status: Status


@dataclass
class Progress:
    """How far a study is; handed to the progress callback after every reply.

    Attributes:
        total: Prompts of this wave over all runs, without further attempts.
        settled: How many of them have their last reply.
        failed: How many of those cannot be read.
        replies: Replies so far, further attempts included.
    """

    total: int
    settled: int = 0
    failed: int = 0
    replies: int = 0


ProgressCallback = Callable[[Progress], None]


def blocks(rounds: Sequence[Round], size: int) -> Iterator[list[Place]]:
    """Cut the prompts of several rounds into blocks: round by round, of each round one stretch after the other.

    Within a stretch the prompts of one version stand together: they begin alike, so an engine's prefix cache still
    holds what they share when the next one comes.

    Args:
        rounds: What is asked.
        size: Prompts in a block; the last one may have fewer.
    """
    block: list[Place] = []
    for which, one in enumerate(rounds):
        start = 0
        while start < len(one):
            stretch = one.version[start : start + size - len(block)]
            block += [(which, start + i) for i in np.argsort(stretch, kind="stable").tolist()]
            start += len(stretch)
            if len(block) == size:
                yield block
                block = []
    if block:
        yield block


class Pooled(Prompts):
    """Prompts of several rounds as one sequence, each rendered when it is asked for.

    Args:
        rounds: What is asked.
        places: Which prompts, in which order.
        attempt: How often they were asked before.
    """

    def __init__(self, rounds: Sequence[Round], places: Sequence[Place], attempt: int = 0) -> None:
        self._rounds, self._places, self._attempt = rounds, places, attempt

    def __len__(self) -> int:
        """Count the prompts."""
        return len(self._places)

    def prompt(self, i: int) -> Prompt:
        """Render one of them."""
        which, place = self._places[i]
        return self._rounds[which].prompt(place, self._attempt)


def ask(
    rounds: Sequence[Round],
    engine: Engine,
    sinks: Sequence[Callable[[list[Asked]], None]],
    progress: ProgressCallback | None = None,
) -> int:
    """Ask all prompts of several rounds block by block, the unreadable ones of a block again before the next block.

    Args:
        rounds: What to ask.
        engine: Who answers.
        sinks: One per round; gets the settled prompts of its round in the order of their positions, each exactly once,
            as many at a time as stand in one block.
        progress: Told after every reply.

    Returns:
        How often the engine was called.

    Raises:
        EngineError: The engine ended without answering every prompt.
    """
    state, calls = Progress(sum(map(len, rounds))), 0
    for block in blocks(rounds, BLOCK):
        settled, attempts = _settle(rounds, block, engine, state, progress)
        calls += attempts
        for which, places in groupby(sorted(block), key=itemgetter(0)):
            sinks[which]([settled.pop(place) for place in places])
    return calls


def _settle(
    rounds: Sequence[Round],
    block: Sequence[Place],
    engine: Engine,
    state: Progress,
    progress: ProgressCallback | None,
) -> tuple[dict[Place, Asked], int]:
    """Ask some prompts until each is settled; the second value says how often the engine was called."""
    settled: dict[Place, Asked] = {}
    first: dict[Place, Status] = {}
    waiting, attempt = block, 0
    while waiting:
        again = []
        for k, reply in engine.answer(Pooled(rounds, waiting, attempt)):
            place = which, i = waiting[k]
            reading = rounds[which].read(i, reply)
            first_status = first.get(place, reading.status)
            state.replies += 1
            if reading.status in SETTLED or attempt + 1 == rounds[which].attempts:
                state.settled += 1
                state.failed += reading.status not in LEGAL
                settled[place] = Asked(i, attempt, reply, reading, first_status)
            else:
                first[place] = first_status
                again.append(k)
            if progress:
                progress(state)
        attempt += 1
        waiting = [waiting[k] for k in sorted(again)]
    if lost := len(block) - len(settled):
        raise EngineError(f"engine {engine.fingerprint}: ended without a reply to {lost} of {len(block)} prompts")
    return settled, attempt
