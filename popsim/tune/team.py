"""Processes that train one model together: each reads a batch of its own, and they average the gradients."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import distributed

from popsim.errors import TuneError

_PATIENCE = timedelta(hours=1)
"""How long the others wait for the first, which validates alone."""


class Team(NamedTuple):
    """A process among several that do the same with different batches; alone, it does nothing more.

    Attributes:
        rank: Its number; 0 alone writes files and tells the time.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    def follow(self, value: float) -> float:
        """Give the value that the first process has."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)

    def least(self, value: int) -> int:
        """Give the smallest value that any process has."""
        if self.size == 1:
            return value
        shared = torch.tensor([value])
        distributed.all_reduce(shared, distributed.ReduceOp.MIN)
        return int(shared)

    def average(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Replace the gradients by their mean over the processes."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


@contextmanager
def team(size: int, work: Callable[..., object], given: Sequence[Any]) -> Iterator[Team]:
    """Start the other processes of a team and give this one its place.

    Args:
        size: Processes, this one included.
        work: What the others call, a function of a module: with their place and what is given.
        given: Further arguments, which can be pickled.

    Yields:
        This process's place.

    Raises:
        TuneError: Another process has ended before its time.
    """
    if size == 1:
        yield Team()
        return
    with TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        context = multiprocessing.get_context("spawn")
        others = [
            context.Process(target=_join, args=(Team(rank, size), meeting, work, given), daemon=True)
            for rank in range(1, size)
        ]
        for other in others:
            other.start()
        try:
            _meet(Team(0, size), meeting)
            yield Team(0, size)
            for other in others:
                other.join()
        except RuntimeError:
            if any(other.exitcode for other in others):
                raise TuneError("train.processes: one of them was ended; run the same command again to go on") from None
            raise
        finally:
            for other in others:
                other.terminate()
            if distributed.is_initialized():
                distributed.destroy_process_group()


def _meet(place: Team, meeting: str) -> None:
    distributed.init_process_group(
        "gloo", init_method=meeting, rank=place.rank, world_size=place.size, timeout=_PATIENCE
    )


def _join(place: Team, meeting: str, work: Callable[..., object], given: Sequence[Any]) -> None:
    try:
        _meet(place, meeting)
        work(place, *given)
    except (KeyboardInterrupt, RuntimeError):
        raise SystemExit(1) from None  # the first process has stopped, and says why
