"""What commands print: tables, a progress bar, and what every result has to say of itself."""

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


WIDTH = 118
"""Columns that a paragraph takes."""


def print_text(text: str, hang: str = "  ") -> None:
    """Print a paragraph, its second and later lines indented."""
    out.print(textwrap.fill(text, WIDTH, subsequent_indent=hang))


def print_table(frame: Any, title: str) -> None:
    """Print a frame without its empty columns, numbers to the right; wide where no window is narrower."""
    table = Table(box=None, pad_edge=False)
    shown = frame.loc[:, [bool(frame[column].notna().any() and frame[column].ne("").any()) for column in frame]]
    for column in shown.columns:
        numeric = shown[column].dtype.kind in "if"
        table.add_column(str(column), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in shown.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    wide = None if sys.stdout.isatty() else 160
    out.print(f"\n{title}")
    Console(highlight=False, markup=False, emoji=False, width=wide).print(table)


@contextmanager
def progress_bar() -> Iterator[Any]:
    """Draw answers, failures, answers per second and time left on the terminal."""
    columns = (
        TextColumn("answers"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=err, refresh_per_second=4)
    task = bar.add_task("answers", total=None, failed=0, rate=0.0)

    def tell(state: Any) -> None:
        if not bar.live.is_started:
            bar.start()
        if state.replies % 64 == 1 or state.settled == state.total:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = state.replies / elapsed if elapsed else 0.0
            bar.update(task, total=state.total, completed=state.settled, failed=state.failed, rate=rate)

    with interruptible():
        try:
            yield tell
        finally:
            if bar.live.is_started:
                bar.stop()


@contextmanager
def interruptible() -> Iterator[None]:
    """Say in one line that an interrupt loses nothing."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("popsim: interrupted; what is done is stored, the same command goes on from here", soft_wrap=True)
        sys.exit(130)


def print_notices(manifest: dict[str, Any], folder: Path) -> None:
    """Print what a result is worth, what was drawn by default, and where it lies."""
    if manifest.get("engine"):
        out.print(manifest["engine"]["notice"])
    if manifest.get("uncalibrated"):
        out.print(f"Uncalibrated (no published figures, stated default draws): {', '.join(manifest['uncalibrated'])}")
    fit = manifest.get("population_fit")
    if fit and not fit.get("converged", True):
        out.print(fit_line(fit))
    weights = manifest.get("weights")
    if weights and weights["design_effect"] > 1.005:
        effective = f"effective n {weights['effective_n']:.0f} of {weights['n']}"
        out.print(f"Weighted: {effective} (design effect {weights['design_effect']:.2f}, Kish)")
    if (plan := manifest.get("plan")) and plan["frozen"]:
        edited = f", edited {len(plan['edits'])} times since" if plan["edits"] else ""
        out.print(f"Plan frozen {plan['frozen']}{edited}: SHA-256 {plan['sha256']} ({folder / 'plan.json'})")
    out.print(f"Written to {folder}")


def fit_line(fit: dict[str, Any]) -> str:
    """Say how well the margins were met."""
    if not fit:
        return "Drawn from a table of respondents: no margins were fitted"
    state = "converged" if fit["converged"] else "DID NOT CONVERGE"
    worst = f"worst control {fit['worst_control']}: {fit['worst_error']:.2e}"
    return f"Raking {state} after {fit['iterations']} iterations; {worst}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
    return str(value)
