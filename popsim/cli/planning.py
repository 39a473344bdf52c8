"""Printing what was planned, and what came of it."""

import textwrap
from typing import TYPE_CHECKING, Any

from popsim.cli.printing import WIDTH, out, print_table

if TYPE_CHECKING:
    from popsim.study.planned import Planned


def print_planned(found: "Planned", cached: int = 0) -> None:
    """Print the contrasts and models of plans, and whether these were frozen before the answers."""
    from popsim.report.plans import status

    for column, here in found.contrasts.groupby("column", sort=False):
        print_table(_contrasts(here), f"{column}: contrasts of the plan")
    for (column, name), here in found.models.groupby(["column", "name"], sort=False):
        print_table(_model(here), f"{column}: {name}, {_about(here.iloc[0])}")
    out.print()
    for line in [*found.notes, *status(found.records, cached)]:
        out.print(textwrap.fill(line, WIDTH, subsequent_indent="  "))


def _contrasts(here: Any) -> Any:
    """Lay out a row per contrast."""
    shown = here[["plan", "name"]].copy()
    shown["outcome"] = [_outcome(row, here) for row in here.itertuples()]
    shown["contrast"] = here["contrast"]
    shown["estimate"] = [f"{value:+.3f}" for value in here["estimate"]]
    ends = zip(here["low"], here["high"], strict=True)
    shown["95% interval"] = ["none" if low != low else f"{low:+.3f} to {high:+.3f}" for low, high in ends]
    shown["Holm p"] = [_p(value) for value in here["holm_p"]]
    shown["expected"] = here["expect"]
    shown["verdict"] = here["verdict"]
    shown["n"] = here["n"]
    return _only_marks(shown)


def _model(here: Any) -> Any:
    """Lay out a row per term."""
    shown = here[["plan", "term"]].copy()
    shown["estimate"] = [f"{value:+.3f}" for value in here["estimate"]]
    shown["s.e."] = [f"{value:.3f}" for value in here["se"]]
    ends = zip(here["low"], here["high"], strict=True)
    shown["95% interval"] = [f"{low:+.3f} to {high:+.3f}" for low, high in ends]
    shown["p"] = [_p(value) for value in here["p"]]
    return _only_marks(shown)


def _only_marks(shown: Any) -> Any:
    """Leave out the column of marks where nothing was planned."""
    return shown if shown["plan"].eq("planned").any() else shown.drop(columns="plan")


def _about(row: Any) -> str:
    arm = "all arms" if row["arm"] == "all" else f"arm {row['arm']}"
    of = f"share of {row['of']} in " if row["of"] else ""
    return f"{of}{row['outcome']}, {arm}, n = {row['n']:,}, R2 = {row['r2']:.3f}, errors {row['errors']}"


def _outcome(row: Any, here: Any) -> str:
    before = f"{row.vignette}, " if here["vignette"].nunique() > 1 else ""
    return f"{before}{row.outcome}{f': {row.of}' if row.of else ''}"


def _p(p: float) -> str:
    return "" if p != p else f"{p:.3f}" if p >= 0.001 else "< 0.001"
