"""Ray: a cluster that is joined or started, and an actor that holds an engine."""

import logging
import os
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError

from popsim.engines import load_engine
from popsim.engines.wire import Prompt, Reply
from popsim.errors import EngineError

_PATIENCE = 10.0
_OBJECTS = 256 * 2**20
_WITHOUT_GPU = {"nano", "server"}
_PASSED_ON = re.compile(r"(OMP|MKL|OPENBLAS|TORCH|VLLM|HF|TRANSFORMERS|TOKENIZERS)_")
_SECRET = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD)(_|$)")


class Piece(NamedTuple):
    """Positions that are asked together, and how many workers have died over them."""

    positions: Sequence[int]
    deaths: int = 0


@dataclass(slots=True, eq=False)
class Call:
    """A piece on a worker: the replies that come, and which prompts are open, by their place in the piece."""

    piece: Piece
    stream: Any
    open: dict[int, int]


class Worker:
    """An actor as the driver sees it.

    Attributes:
        loading: What the engine says of itself, still to come; None once it has loaded.
        starts: How often in a row the actor was started without its engine having loaded.
        calls: The pieces that it holds, the first of them being answered.
    """

    def __init__(self, spec: str, options: dict[str, object], settings: dict[str, Any]) -> None:
        self._engine, self._settings = (spec, options), settings
        self.actor: Any = None
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start the actor, in the place of an earlier one."""
        if self.actor is not None:
            ray.kill(self.actor)
        self.actor = ray.remote(Host).options(**self._settings).remote()
        self.loading: Any = self.actor.load.remote(*self._engine, str(Path.cwd()), list(sys.path))
        self.starts += 1
        self.calls: deque[Call] = deque()

    @property
    def awaited(self) -> Any:
        """What it says next: that it has loaded, or replies; None where nothing was asked."""
        return self.loading or (self.calls[0].stream if self.calls else None)

    def ask(self, piece: Piece, prompts: list[Prompt]) -> None:
        """Put a piece behind those that it holds."""
        stream = self.actor.answer.options(num_returns="streaming").remote(prompts)
        self.calls.append(Call(piece, stream, dict(enumerate(piece.positions))))


class Host:
    """What runs in a worker's process: the engine, always in one and the same thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    def load(self, spec: str, options: dict[str, object], folder: str, path: list[str]) -> dict[str, Any]:
        """Load the engine as the driver would; relative paths and the user's own modules mean the same here."""
        with suppress(OSError):
            os.chdir(folder)
        sys.path.extend(entry for entry in path if entry not in sys.path)
        self._engine: Any = self._thread.submit(load_engine, spec, **options).result()
        names = ("fingerprint", "reads", "abilities", "reproducible", "notice")
        return {name: getattr(self._engine, name) for name in names}

    def call(self, method: str, arguments: tuple[object, ...]) -> object:
        """Call a method of the engine."""
        return self._thread.submit(getattr(self._engine, method), *arguments).result()

    def answer(self, prompts: list[Prompt]) -> Iterator[list[tuple[int, Reply]]]:
        """Yield the replies that have come while the ones before were on their way."""
        come: SimpleQueue[tuple[int, Reply] | None] = SimpleQueue()

        def run() -> None:
            try:
                for reply in self._engine.answer(prompts):
                    come.put(reply)
            finally:
                come.put(None)

        running = self._thread.submit(run)
        ended = False
        while not ended:
            said = [come.get()]
            while not come.empty():
                said.append(come.get())
            ended = said[-1] is None
            if replies := [reply for reply in said if reply is not None]:
                yield replies
        running.result()


def connect(address: str) -> bool:
    """Join the cluster, or start Ray on this machine; says whether it is ours to shut down."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        _check_address(address)
    else:
        settings |= {"include_dashboard": False, "object_store_memory": _OBJECTS, "num_cpus": 0}  # no idle workers
    try:
        ray.init(address=address or "local", **settings)
    except Exception as problem:  # Ray raises a bare Exception where its start takes more than half a minute
        where = f"--ray-address {address}" if address else "workers"
        raise EngineError(f"{where}: Ray cannot be {'joined' if address else 'started'}: {_line(problem)}") from None
    return True


def _check_address(address: str) -> None:
    """See that somebody listens: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if "://" in address or not host or not port.isdecimal():
        raise EngineError(f"--ray-address {address}: must be HOST:PORT of a cluster's head, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as problem:
        raise EngineError(f"--ray-address {address}: cannot be reached: {_line(problem)}") from None


def place(spec: str, options: Mapping[str, object], workers: int, cluster: bool) -> dict[str, Any]:
    """Give the settings of an actor, once Ray has room for all of them."""
    gpus = 0
    if spec.partition(":")[0] not in _WITHOUT_GPU and ray.cluster_resources().get("GPU", 0):
        each = options.get("tensor_parallel_size", 1)
        gpus = each if isinstance(each, int) else 1
    needs = {"GPU": gpus, "CPU": int(cluster)}
    until = time.monotonic() + _PATIENCE
    for what, each in needs.items():
        while (free := ray.available_resources().get(what, 0)) < workers * each:
            if time.monotonic() > until:
                raise EngineError(f"{workers} workers need {workers * each} {what}s, and Ray has {free:g} free")
            time.sleep(0.5)
    passed = {name: value for name, value in os.environ.items() if _PASSED_ON.match(name) and not _SECRET.search(name)}
    return {
        "num_gpus": gpus,
        "num_cpus": needs["CPU"],
        "scheduling_strategy": "SPREAD",
        "runtime_env": {"env_vars": passed},
    }


def reason(problem: BaseException) -> str:
    """Say in one line why a worker failed or died."""
    cause = problem.cause if isinstance(problem, RayTaskError) else problem
    if isinstance(cause, EngineError):
        return _line(cause)
    if isinstance(cause, RayError):
        detail = re.search(r"(?s)Worker exit detail: (.*?)(\. |$)", str(cause))
        return f"its process ended: {_line(detail[1] if detail else cause)}"
    return f"{type(cause).__name__}: {_line(cause)}"


def _line(problem: object) -> str:
    return " ".join(str(problem).split())[:300]
