"""What this machine has for the engines: processors, memory, and the versions of what is installed."""

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from popsim.engines import ENGINES, EngineEntry

_GIB = 2**30
_ON_GPU = {"torch", "vllm"}
_ELSEWHERE = {"openai"}


class Machine(NamedTuple):
    """Processors and memory; ``gpus`` holds name and GiB of those that PyTorch can use."""

    cores: int
    memory: float
    gpus: tuple[tuple[str, float], ...]


class EngineState(NamedTuple):
    """How an engine stands here: versions of its packages that are there, where it would run, what to install."""

    engine: str
    versions: dict[str, str]
    runs_on: str
    install: str
    about: str


def this_machine() -> Machine:
    """Look at this machine; PyTorch is imported where it is installed, and only there.

    Example:
        >>> this_machine().cores > 0
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cores, _memory() / _GIB, _gpus())


def engine_states(machine: Machine) -> list[EngineState]:
    """Say of every engine whether it is installed, with what, and what it would run on.

    Args:
        machine: From `this_machine`.

    Example:
        >>> state = engine_states(Machine(cores=8, memory=32.0, gpus=()))[0]
        >>> state.engine, state.runs_on, state.install
        ('baseline', '8 cores', '')
    """
    return [
        EngineState(
            name,
            package_versions(entry.modules),
            _runs_on(entry, machine),
            "" if entry.installed else f"pip install 'popsim[{entry.extra}]'",
            entry.about,
        )
        for name, entry in ENGINES.items()
    ]


def package_versions(modules: tuple[str, ...]) -> dict[str, str]:
    """Give the versions of those modules that are installed; vLLM may have come as its package for CPUs.

    Example:
        >>> sorted(package_versions(("numpy", "no_such_package")))
        ['numpy']
    """
    found = {}
    for module in modules:
        for name in (module, f"{module}-cpu"):
            try:
                found[name] = version(name)
                break
            except PackageNotFoundError:
                continue
    return found


def _runs_on(entry: EngineEntry, machine: Machine) -> str:
    needed = set(entry.modules)
    if needed & _ELSEWHERE:
        return "its server"
    if needed & _ON_GPU and machine.gpus:
        return ", ".join(f"{name} ({memory:.0f} GiB)" for name, memory in machine.gpus)
    return f"{machine.cores} core{'s' * (machine.cores > 1)}"


def _memory() -> int:
    """Give the bytes of memory that this process may use: the machine's, or fewer where its container is limited."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdigit() else whole


def _gpus() -> tuple[tuple[str, float], ...]:
    if find_spec("torch") is None:
        return ()
    import torch

    if not torch.cuda.is_available():
        return ()
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return tuple((card.name, card.total_memory / _GIB) for card in cards)
