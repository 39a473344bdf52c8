"""Commands about who answers: the engines, and the training of a small model."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from popsim.cli.printing import err, out, print_table
from popsim.errors import PopsimError


def engines() -> None:
    """List the engines: what each is, whether it is installed, what to install."""
    import pandas as pd

    from popsim.engines import ENGINES

    rows = [
        (name, "yes" if entry.installed else f"pip install 'popsim[{entry.extra}]'", entry.about)
        for name, entry in ENGINES.items()
    ]
    print_table(pd.DataFrame(rows, columns=["engine", "ready", "what it is"]), "Engines")


def tune(
    config: Annotated[str, typer.Argument(help="A training file, or the name of a shipped one.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The folder for the model.")],
) -> None:
    """Train a small model on simulated respondents; the same command again continues where it stopped."""
    from popsim.tune import load_tune_config

    loaded = load_tune_config(config)
    missing = [module for module in ("torch", "transformers") if find_spec(module) is None]
    if missing:
        raise PopsimError(f"popsim tune: needs {', '.join(missing)}; run: pip install 'popsim[tune]'")
    from popsim.tune.scratch import Progress as Training
    from popsim.tune.scratch import tune as train

    columns = (
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TextColumn("{task.fields[found]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, refresh_per_second=2) as bar:
        task = bar.add_task("training", total=1.0, step=0, found="")

        def tell(state: Training) -> None:
            found = "  ".join(f"{name} {value:.3f}" for name, value in state.log.items() if isinstance(value, float))
            bar.update(task, completed=state.share, step=state.step, found=f"loss {state.loss:.3f}  {found}")

        train(loaded, out_folder, tell)
    out.print(f"Written to {out_folder}; ask it with --engine nano:{out_folder}")
