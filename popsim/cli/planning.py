"""Printing what was planned, and what came of it."""

from typing import TYPE_CHECKING, Any

from popsim.cli.printing import out, print_table, print_text

if TYPE_CHECKING:
    from popsim.study.planned import Planned

_ONE = ["column", "plan", "name", "group", "vignette", "outcome", "of", "arm"]


def print_planned(found: "Planned", cached: int = 0) -> None:
    """Print the contrasts and models of plans, and whether these were frozen before the answers."""
    from popsim.report.plans import status

    for column, here in found.contrasts.groupby("column", sort=False):
        print_table(_contrasts(here), f"{column}: contrasts of the plan{_all_planned(here)}")
    for _, here in found.models.groupby(_ONE, sort=False):
        first = here.iloc[0]
        print_table(_model(here), f"{first['column']}: {first['name']}{_all_planned(here)}, {_about(first)}")
    out.print()
    for line in [*found.notes, *status(found.records, cached)]:
        print_text(line)


def _contrasts(here: Any) -> Any:
    """Lay out a row per contrast, with marks where only some were planned."""
    from popsim.report.findings import chance

    mixed = here["plan"].nunique() > 1
    shown = here[["plan", "name"]].copy() if mixed else here[["name"]].copy()
    shown["of"] = [f"{_outcome(row, here)}: {row.contrast}" for row in here.itertuples()]
    shown["estimate"] = [f"{value:+.3f}" for value in here["estimate"]]
    ends = zip(here["low"], here["high"], strict=True)
    shown["95% interval"] = ["none" if low != low else f"{low:+.3f} to {high:+.3f}" for low, high in ends]
    shown["Holm p"] = [chance(value) for value in here["holm_p"]]
    verdicts = zip(here["expect"], here["verdict"], strict=True)
    shown["expected"] = [f"{expect}: {said}" if said else expect for expect, said in verdicts]
    shown["n"] = here["n"]
    return shown


def _model(here: Any) -> Any:
    """Lay out a row per term."""
    from popsim.report.findings import chance

    shown = here[["term"]].copy()
    shown["estimate"] = [f"{value:+.3f}" for value in here["estimate"]]
    shown["s.e."] = [f"{value:.3f}" for value in here["se"]]
    ends = zip(here["low"], here["high"], strict=True)
    shown["95% interval"] = [f"{low:+.3f} to {high:+.3f}" for low, high in ends]
    shown["p"] = [chance(value) for value in here["p"]]
    return shown


def _all_planned(here: Any) -> str:
    return ", planned" if here["plan"].eq("planned").all() else ""


def _about(row: Any) -> str:
    arm = "all arms" if row["arm"] == "all" else f"arm {row['arm']}"
    of = f"share of {row['of']} in " if row["of"] else ""
    return f"{of}{row['outcome']}, {arm}, n = {row['n']:,}, R2 = {row['r2']:.3f}, errors {row['errors']}"


def _outcome(row: Any, here: Any) -> str:
    before = f"{row.vignette}, " if here["vignette"].nunique() > 1 else ""
    return f"{before}{row.outcome}{f': {row.of}' if row.of else ''}"
