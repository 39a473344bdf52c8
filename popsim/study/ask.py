"""Asking: the rounds of many runs pooled into one engine call, unreadable replies asked again."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, overload

import numpy as np

from popsim.engines import Engine, Prompt, Reply
from popsim.errors import EngineError
from popsim.model import Round
from popsim.survey import Reading, Status

LEGAL = frozenset({"ok", "dont_know", "refused"})
SETTLED = LEGAL | {"engine_error"}


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


class Pooled(Sequence[Prompt]):
    """The prompts of several rounds as one sequence, rendered when asked for; within a round version by version.

    Prompts of one version begin alike, so an engine's prefix cache still holds what they share when the next one comes.
    """

    def __init__(self, rounds: Sequence[Round]) -> None:
        self.rounds = rounds
        self._orders = [np.argsort(one.version, kind="stable") for one in rounds]
        self._ends = list(accumulate(len(one) for one in rounds))

    def __len__(self) -> int:
        """Count the prompts of all rounds."""
        return self._ends[-1] if self._ends else 0

    def locate(self, position: int) -> tuple[int, int]:
        """Say which round a position belongs to, and where in it."""
        which = bisect_right(self._ends, position)
        return which, int(self._orders[which][position - (self._ends[which - 1] if which else 0)])

    @overload
    def __getitem__(self, position: int) -> Prompt: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Prompt]: ...
    def __getitem__(self, position: int | slice) -> Prompt | Sequence[Prompt]:
        """Render one prompt, or several."""
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        which, i = self.locate(position)
        return self.rounds[which][i]

    def __iter__(self) -> Iterator[Prompt]:
        """Render the prompts one after the other."""
        return (self[i] for i in range(len(self)))


def ask(
    rounds: Sequence[Round],
    engine: Engine,
    sinks: Sequence[Callable[[Asked], None]],
    progress: ProgressCallback | None = None,
) -> int:
    """Ask all prompts of several rounds in one engine call, and the unreadable ones again.

    Args:
        rounds: What to ask.
        engine: Who answers.
        sinks: One per round; gets each prompt of its round exactly once, when it is settled.
        progress: Told after every reply.

    Returns:
        How often the engine was called.

    Raises:
        EngineError: The engine ended without answering every prompt.
    """
    pool = Pooled(rounds)
    attempts = [one.attempts for one in rounds]
    state = Progress(len(pool))
    first: dict[int, Status] = {}
    positions: Sequence[int] = range(len(pool))
    prompts: Sequence[Prompt] = pool
    attempt = 0
    while positions:
        again = []
        for k, reply in engine.answer(prompts):
            which, i = pool.locate(positions[k])
            reading = rounds[which].read(i, reply)
            first_status = first.setdefault(positions[k], reading.status) if attempt else reading.status
            settled = reading.status in SETTLED or attempt + 1 == attempts[which]
            state.replies += 1
            if settled:
                state.settled += 1
                state.failed += reading.status not in LEGAL
                sinks[which](Asked(i, attempt, reply, reading, first_status))
            else:
                first[positions[k]] = first_status
                again.append(positions[k])
            if progress:
                progress(state)
        attempt += 1
        positions = sorted(again)
        prompts = [rounds[which].prompt(i, attempt) for which, i in map(pool.locate, positions)]
    if state.settled < state.total:
        lost = state.total - state.settled
        raise EngineError(f"engine {engine.fingerprint}: ended without a reply to {lost} of {state.total} prompts")
    return attempt
