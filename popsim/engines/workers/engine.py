"""The driver: it spreads prompts over workers, hears their replies, and replaces those that die."""

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError

from popsim.engines.wire import Ability, Prompt, Reply
from popsim.engines.workers.actor import Piece, Worker, connect, place, reason
from popsim.errors import EngineError

_SMALL, _LARGE = 256, 4096
"""Prompts in a piece, at least and at most: a batching engine runs dry at the end of every piece."""
_AHEAD = 2
"""Pieces that a worker holds: one is being answered, the next lies ready."""
_STARTS = 3
_DEATHS = 3
_DEATHS_IN_A_ROW = 10
_log = logging.getLogger(__name__)


class Workers:
    """An engine that is loaded by several processes, here or on a cluster, and answers as the engine itself.

    Prompts are rendered here, piece by piece, and each reply comes back as soon as its worker has it. A worker that
    dies is replaced, and what it had not answered is asked again, in smaller and smaller pieces, so that a prompt that
    kills three workers is found, comes back as an error, and takes no other prompt with it.

    Args:
        spec: Which engine; see `popsim.engines.load_engine`.
        options: Settings of the engine.
        workers: How many. Each takes the GPUs that the engine asks for where Ray sees any, else one CPU of a cluster;
            on this machine as many CPU workers are started as asked for.
        address: ``HOST:PORT`` of a Ray cluster that this machine belongs to, or ``auto``. Its machines need popsim and
            the model's files; keys that the engine reads from the environment have to stand in theirs.
            Without an address Ray is started on this machine, and shut down by `close`, unless it runs already.

    Attributes:
        fingerprint: As of the engine; so are reads, abilities, reproducible and notice.

    Raises:
        EngineError: The cluster cannot be reached or is too small, or the engine cannot be loaded or reads facts.

    Example:
        >>> with Workers("nano:my_nano", workers=2) as engine:  # doctest: +SKIP
        ...     replies = answer_all(engine, prompts)
    """

    def __init__(
        self, spec: str, options: Mapping[str, object] | None = None, workers: int = 2, address: str = ""
    ) -> None:
        self._spec = spec
        self._pool: deque[Worker] = deque()
        self._about: dict[str, Any] = {}
        self._deaths = 0
        self._ours = connect(address)
        try:
            settings = place(spec, options or {}, workers, bool(address))
            self._pool.extend(Worker(spec, dict(options or {}), settings) for _ in range(workers))
            for worker in self._pool:
                self._wait_for(worker)
            if self._about["reads"] == "facts":
                raise EngineError(f"engine {spec}: reads facts, which takes no time to spread; leave workers out")
        except BaseException:
            self.close()
            raise
        self.fingerprint: str = self._about["fingerprint"]
        self.reads: Literal["text", "facts"] = self._about["reads"]
        self.abilities: frozenset[Ability] = self._about["abilities"]
        self.reproducible: Literal["exact", "best_effort"] = self._about["reproducible"]
        self.notice: str = self._about["notice"]

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield each reply as soon as a worker has it.

        Raises:
            EngineError: The engine fails, or workers keep dying whatever they are asked.
        """
        self._deaths = 0
        for worker in self._pool:
            if worker.calls:  # nobody listened to the end of an earlier call
                worker.start()
        work = _Work(len(prompts), len(self._pool))
        while True:
            self._hand_out(work, prompts)
            if not any(worker.calls for worker in self._pool) and not work.left:
                return
            yield from self._hear(work)

    def spelling(self) -> Sequence[str]:
        """Give the text of every token, by its id, where the engine has the ability ``next``."""
        spelling: Sequence[str] = self._each("spelling", [()])[0]
        return spelling

    def next_logprobs(
        self, asked: Sequence[tuple[Prompt, tuple[int, ...]]], tokens: Sequence[int]
    ) -> NDArray[np.float64]:
        """Give the log-probability of tokens as the next; see `popsim.engines.Speller`."""
        size = max(1, -(-len(asked) // len(self._pool)))
        parts = [asked[start : start + size] for start in range(0, len(asked), size)] or [asked]
        return np.concatenate(self._each("next_logprobs", [(part, tokens) for part in parts]))

    def close(self) -> None:
        """End the workers, and Ray if it was started for them."""
        if ray.is_initialized():
            for worker in self._pool:
                ray.kill(worker.actor)
            if self._ours:
                ray.shutdown()
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hand_out(self, work: "_Work", prompts: Sequence[Prompt]) -> None:
        """Give every worker that has loaded its next pieces."""
        for held in range(_AHEAD):
            for worker in self._pool:
                if worker.loading is None and len(worker.calls) <= held and (piece := work.take()):
                    worker.ask(piece, [prompts[position] for position in piece.positions])

    def _hear(self, work: "_Work") -> Iterator[tuple[int, Reply]]:
        """Wait until one worker has something to say, and yield it if these are replies."""
        heard = {id(worker.awaited): worker for worker in self._pool if worker.awaited is not None}
        ready, _ = ray.wait([worker.awaited for worker in heard.values()])
        worker = heard[id(ready[0])]
        self._pool.remove(worker)
        self._pool.append(worker)  # so that each has its turn
        if worker.loading is not None:
            self._load(worker)
            return
        call = worker.calls[0]
        try:
            said = ray.get(next(call.stream))
        except StopIteration:
            worker.calls.popleft()
        except RayTaskError as problem:
            raise EngineError(reason(problem)) from None
        except RayError as problem:
            yield from self._bury(worker, work, problem)
        else:
            self._deaths = 0
            for index, reply in said:
                if (position := call.open.pop(index, None)) is not None:
                    yield position, reply

    def _bury(self, worker: "Worker", work: "_Work", problem: RayError) -> Iterator[tuple[int, Reply]]:
        """Replace a dead worker and put back what it had not answered; yield an error for the prompt that killed it."""
        self._deaths += 1
        last = reason(problem)
        if self._deaths == _DEATHS_IN_A_ROW:
            raise EngineError(f"engine {self._spec}: {self._deaths} workers died in a row without a reply: {last}")
        running, *untouched = worker.calls
        for call in reversed(untouched):
            work.again.appendleft(call.piece)
        left = list(running.open.values())
        _log.warning("popsim: a worker died (%s); it is replaced, %d prompts are asked again", last, len(left))
        if left and running.piece.deaths + 1 == _DEATHS:
            failed = Reply("", finish="error", error=f"killed {_DEATHS} workers: {last}")
            yield from ((position, failed) for position in left)
        else:
            work.again.extendleft(reversed(_smaller(left, running.piece.deaths + 1)))
        worker.start()

    def _load(self, worker: "Worker") -> None:
        """Take in that the engine of a worker has loaded, or start the worker anew when it died over that."""
        try:
            about = ray.get(worker.loading)
        except RayTaskError as problem:
            raise EngineError(reason(problem)) from None
        except RayError as problem:
            if worker.starts == _STARTS:
                raise EngineError(
                    f"engine {self._spec}: a worker died {_STARTS} times while it loaded: {reason(problem)}"
                ) from None
            worker.start()
            return
        known = self._about.setdefault("fingerprint", about["fingerprint"])
        if about["fingerprint"] != known:
            raise EngineError(f"engine {self._spec}: is {about['fingerprint']} on one worker and {known} on another")
        self._about |= about
        worker.loading, worker.starts = None, 0

    def _wait_for(self, worker: "Worker") -> None:
        """Wait until a worker has loaded its engine."""
        while worker.loading is not None:
            self._load(worker)

    def _each(self, method: str, arguments: Sequence[tuple[object, ...]]) -> list[Any]:
        """Call a method of the engine once with each tuple, every time on another worker; a dead one is replaced."""
        workers = list(self._pool)[: len(arguments)]
        results: dict[int, Any] = {}
        last = ""
        for _ in range(_DEATHS):
            waiting = [k for k in range(len(arguments)) if k not in results]
            for k in waiting:
                self._wait_for(workers[k])
            calls = {k: workers[k].actor.call.remote(method, arguments[k]) for k in waiting}
            for k, call in calls.items():
                try:
                    results[k] = ray.get(call)
                except RayTaskError as problem:
                    raise EngineError(reason(problem)) from None
                except RayError as problem:
                    last = reason(problem)
                    workers[k].start()
            if len(results) == len(arguments):
                return [results[k] for k in range(len(arguments))]
        raise EngineError(f"engine {self._spec}: workers died {_DEATHS} times over the same call: {last}")


class _Work:
    """What is still to be asked."""

    def __init__(self, total: int, workers: int) -> None:
        self.again: deque[Piece] = deque()
        self._next, self._total, self._workers = 0, total, workers

    @property
    def left(self) -> bool:
        """Whether any piece is left to take."""
        return bool(self.again) or self._next < self._total

    def take(self) -> Piece | None:
        """Give the next piece: large while much is left, small at the end, so that all workers end together."""
        if self.again or not self.left:
            return self.again.popleft() if self.again else None
        even = -(-self._total // self._workers)
        half = -(-(self._total - self._next) // (2 * self._workers))
        start = self._next
        self._next = min(self._total, start + min(max(half, min(_SMALL, even)), _LARGE))
        return Piece(range(start, self._next))


def _smaller(positions: Sequence[int], deaths: int) -> list[Piece]:
    """Cut what a dead worker left into pieces of a sixteenth; into single prompts after the second death."""
    size = -(-len(positions) // 16) if deaths == 1 else 1
    return [Piece(positions[start : start + size], deaths) for start in range(0, len(positions), max(size, 1))]
