"""Engines that a worker loads by name: each answers with its prompt's seed and logs who asked what where."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from popsim.engines import Prompt, Reply
from popsim.errors import EngineError


class Logged:
    """Writes a line with process and seed for every prompt, and dies over one seed where it is told to."""

    fingerprint = "logged/1"
    reads = "text"
    abilities = frozenset({"next"})
    reproducible = "exact"
    notice = "Made up by a test."

    def __init__(self, log: str, pause: float = 0.0, deadly: int = -1) -> None:
        self.log, self.pause, self.deadly = Path(log), pause, deadly

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        with self.log.open("a") as log:
            for position in reversed(range(len(prompts))):
                seed = prompts[position].seed
                print(os.getpid(), seed, file=log, flush=True)
                time.sleep(self.pause)
                if seed == self.deadly:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield position, Reply(str(seed), "stop", 1, 1)

    def spelling(self) -> list[str]:
        return ["a", "b"]

    def next_logprobs(self, asked: Sequence[tuple[Prompt, tuple[int, ...]]], tokens: Sequence[int]) -> np.ndarray:
        with self.log.open("a") as log:
            print(os.getpid(), "next", file=log)
        return np.array([[prompt.seed + len(follow) + token for token in tokens] for prompt, follow in asked], float)


class Unloadable(Logged):
    def __init__(self) -> None:
        raise EngineError("unloadable: no such folder;\n give another")


class Dying(Logged):
    def __init__(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Logged):
    """Dies over whatever it is asked."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        os._exit(3)


class Failing(Logged):
    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        yield 0, Reply("one")
        raise ValueError("half a\nmodel")


class Environment(Logged):
    """Answers with what it finds around it."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        for position, prompt in enumerate(prompts):
            name = prompt.messages[0][1]
            yield position, Reply(str(Path.cwd()) if name == "cwd" else os.environ.get(name, "nothing"))


class Affine(Logged):
    """Insists on the thread that it was made in, as SQLite does."""

    def __init__(self) -> None:

        self.thread = threading.get_ident()

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:

        for position in range(len(prompts)):
            yield position, Reply(str(threading.get_ident() == self.thread))


if __name__ == "__main__":
    from popsim.engines.workers import Workers

    folder, end = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    engine = Workers("engines_for_workers:Logged", {"log": f"{folder}/log"})
    replies = [reply.text for _, reply in engine.answer([Prompt((), seed=seed) for seed in range(4)])]
    print(*sorted(replies), flush=True)
    signal.sigwait({signal.SIGUSR1})
    if end == "close":
        engine.close()
        print("closed", flush=True)
        signal.sigwait({signal.SIGUSR1})
    sys.exit(7 if end == "exit" else 0)
