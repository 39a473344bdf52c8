"""Printing what an audit found: how answers spread, what failed, what open answers draw on."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from popsim.cli.printing import out, print_table, print_text

if TYPE_CHECKING:
    from popsim.study.auditing import Findings


def print_findings(found: "Findings", fitted: Collection[str] = ()) -> None:
    """Print an audit: spread, warnings, failures with bounds and open answers, by column of runs; some are fitted."""
    from popsim.report import findings as lay_out

    for column, ratios in found.ratios.groupby("column", sort=False):
        said = f"{column} (fitted to published figures)" if column in fitted else str(column)
        print_table(lay_out.spread_table(ratios), f"{said}: how far answers spread, beside those of people")
        parts = found.parts[found.parts["column"].eq(column)]
        print_table(lay_out.parts_table(parts), f"{column}: what that spread is made of")
    if len(found.subgroups):
        title = "Subgroups, beside those of people: SD, and mean less that of the others"
        print_table(lay_out.subgroup_table(found.subgroups), title)
    for row in found.warnings.itertuples():
        print_text(f"LOOK AT {row.column}: {row.warning}.")
    if len(found.ratios):
        print_text(lay_out.SPREAD_NOTE)
    _print_failures(found)
    if len(found.channels):
        for (group, vignette), here in found.channels.groupby(["group", "vignette"], sort=False):
            title = f"What open answers draw on: {vignette}, {group}, all arms, % of answers"
            print_table(lay_out.channel_table(here), title)
        print_text(lay_out.CHANNEL_NOTE)


def _print_failures(found: "Findings") -> None:
    """Say what failed, where, and how far it could move a mean."""
    from popsim.report.findings import BOUNDS_NOTE, HELD_NOTE, bounds_table, failure_lines, held_lines
    from popsim.study.auditing import uncertain

    out.print("\nFailed prompts, whose answers are left out above")
    for column, rates in found.failures.groupby("column", sort=False):
        for line in failure_lines(str(column), rates):
            print_text(f"  {line}")
    for column, held in found.held.groupby("column", sort=False):
        for line in held_lines(str(column), held):
            print_text(f"  {line}.")
    if len(found.held):
        print_text(HELD_NOTE)
    many = uncertain(found.bounds)
    if len(many):
        title = "Means of which more than 2 % of answers are missing, with their worst-case bounds"
        print_table(bounds_table(many), title)
        print_text(BOUNDS_NOTE)
