"""Commands about who answers: the engines, the cache of what they said, and the training of a small model."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from popsim.cli.printing import err, interruptible, out, print_table
from popsim.errors import EngineError, PopsimError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def engines() -> None:
    """List the engines: what each is, with which versions it would run on what, or what to install."""
    import pandas as pd

    from popsim.engines.machine import engine_states, package_versions, this_machine

    machine = this_machine()
    rows = [
        (one.engine, one.install or "yes", _named(one.versions), one.runs_on, one.about)
        for one in engine_states(machine)
    ]
    print_table(pd.DataFrame(rows, columns=["engine", "ready", "with", "runs on", "what it is"]), "Engines")
    cards = ", ".join(f"{name} ({memory:.0f} GiB)" for name, memory in machine.gpus) or "no GPU that PyTorch can use"
    out.print(
        f"\nThis machine: {machine.cores} core{'s' * (machine.cores > 1)}, {machine.memory:.0f} GiB of memory, {cards}"
    )
    workers = _named(package_versions(("ray",))) or "pip install 'popsim[ray]'"
    out.print(f"Several workers: {workers}")


def cache(
    file: Annotated[
        Path | None, typer.Argument(envvar="POPSIM_CACHE", help="The file that popsim run --cache FILE made.")
    ] = None,
    prune_older_than: Annotated[
        float | None, typer.Option(help="Throw out replies that no run has used for so many days.", min=0)
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(help="Throw out the longest unused replies down to a size, such as 500MB.")
    ] = None,
) -> None:
    """Show the replies that runs share, and prune them; other runs may go on meanwhile."""
    import pandas as pd

    from popsim.engines.cache import Cache

    if file is None:
        raise EngineError("popsim cache: no file is named; give FILE, or set POPSIM_CACHE")
    if not file.is_file():
        raise EngineError(f"cache {file}: no such file; popsim run SCENARIO --cache {file} makes it")
    most = None if max_size is None else _bytes(max_size)
    with Cache(file) as opened:
        if prune_older_than is not None or most is not None:
            gone = opened.prune(older_than=prune_older_than, max_size=most)
            out.print(f"{gone} replies thrown out")
        contents, size = opened.contents(), opened.size()
    rows = [
        (one.engine, one.replies, one.characters, datetime.fromtimestamp(one.last_used, UTC).date().isoformat())
        for one in contents
    ]
    if rows:
        print_table(pd.DataFrame(rows, columns=["engine", "replies", "characters", "last used"]), "Replies by engine")
    out.print(f"{file}: {sum(one.replies for one in contents)} replies, {size / 1e6:.1f} MB")


def tune(
    config: Annotated[str, typer.Argument(help="A training file, or the name of a shipped one.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The folder for the model or adapter.")],
) -> None:
    """Train a small model on simulated respondents, or an adapter on people's answers; run again, it continues."""
    from popsim.tune.adapter_config import is_adapter

    if is_adapter(config):
        _tune_adapter(config, out_folder)
    else:
        _tune_from_scratch(config, out_folder)


def _tune_from_scratch(config: str, folder: Path) -> None:
    from popsim.tune import load_tune_config

    loaded = load_tune_config(config)
    _need("torch", "transformers")
    from popsim.tune.scratch import tune as train

    with _bar() as tell:
        train(loaded, folder, tell)
    out.print(f"Written to {folder}; ask it with --engine nano:{folder}")


def _tune_adapter(config: str, folder: Path) -> None:
    from popsim.tune.adapter_config import load_adapter_config

    loaded = load_adapter_config(config)
    _need("torch", "transformers", "peft")
    from popsim.tune.adapter import tune_adapter

    with _bar() as tell:
        tune_adapter(loaded, folder, tell)
    out.print(f"Written to {folder}; ask it with engine options adapters: {{{loaded.name}: {folder}}}")


def _need(*modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise PopsimError(f"popsim tune: needs {', '.join(missing)}; run: pip install 'popsim[tune]'")


@contextmanager
def _bar() -> Iterator[Callable[[Any], None]]:
    """Show how far a training is, which tells it after every step."""
    columns = (
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TextColumn("{task.fields[found]}"),
        TimeRemainingColumn(),
    )
    with interruptible(), Progress(*columns, console=err, refresh_per_second=2) as bar:
        task = bar.add_task("training", total=1.0, step=0, found="")

        def tell(state: Any) -> None:
            found = "  ".join(f"{name} {value:.3f}" for name, value in state.log.items() if isinstance(value, float))
            bar.update(task, completed=state.share, step=state.step, found=f"loss {state.loss:.3f}  {found}")

        yield tell


def _named(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _bytes(size: str) -> int:
    """Read a size such as 500MB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", size.strip().upper())
    if not found:
        raise EngineError(f"--max-size {size}: is no size; write for example 500MB or 2GB")
    return int(float(found[1]) * _UNITS[found[2]])
