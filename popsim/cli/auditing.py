"""Printing what an audit found: how answers spread, what failed, what open answers draw on."""

import textwrap
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from popsim.cli.printing import WIDTH, out, print_table

if TYPE_CHECKING:
    from popsim.study.auditing import Findings

_SPOKEN = ("trimmed SD", "SD", "entropy", "IQR")
_WHERE = ["column", "group", "vignette", "outcome", "arm"]
_RARE = 0.05
_SELDOM = 0.005
_COUNTED = {"words": "same words", "hand": "hand codes", "": ""}


def print_findings(found: "Findings", fitted: Collection[str] = ()) -> None:
    """Print an audit: spread, warnings, failures with bounds and open answers, by column of runs; some are fitted."""
    for column, ratios in found.ratios.groupby("column", sort=False):
        said = f"{column} (fitted to published figures)" if column in fitted else str(column)
        print_table(_spread(ratios), f"{said}: how far answers spread, beside those of people")
        print_table(_made_of(found.parts[found.parts["column"].eq(column)]), f"{column}: what that spread is made of")
    if len(found.subgroups):
        print_table(
            _subgroups(found.subgroups), "Subgroups, beside those of people: SD, and mean less that of the others"
        )
    for row in found.warnings.itertuples():
        _say(f"LOOK AT {row.column}: {row.warning}.")
    if len(found.ratios):
        _say(_SPREAD_NOTE)
    _print_failures(found)
    if len(found.channels):
        for (group, vignette), here in found.channels.groupby(["group", "vignette"], sort=False):
            print_table(_channels(here), f"What open answers draw on: {vignette}, {group}, all arms, % of answers")
        _say(_CHANNEL_NOTE)


_SPREAD_NOTE = (
    "ratio: spread of the model on that of people; 1 is as it should be. Flagged below 0.9 or above 1.11 where it also "
    "is three standard errors from 1. The SD of people follows from the standard error of their mean. pooled: fall, "
    "same and rise, arms reversed as published. same answer: share that gave the most common one. halves: share of "
    "answers that are multiples of 0.5. Behind them in brackets: of people. between persons: their part of the "
    "variance, the rest being draws of the same person (intraclass correlation; needs draws: 2 or more)."
)
_CHANNEL_NOTE = (
    "same words: the word list of the published study, run over both. hand codes: those of people were given by hand, "
    "the model's by a word list of ours, so read a few points as no difference; two hand coders agreed on 77 % of "
    "codes. People: wave 3 of the study, who were asked in other words. In brackets: 95 % interval."
)
_BOUNDS_NOTE = (
    "bounds: all missing answers at one end of the scale, then at the other (Manski 1990); nothing is assumed of them. "
    "A conclusion that does not hold at both ends rests on what the failed answers would have been."
)


def _say(text: str) -> None:
    out.print(textwrap.fill(text, WIDTH, subsequent_indent="  "))


def _spread(ratios: Any) -> Any:
    """Lay out a row per outcome and arm: the measure that people are known by best, then the others as ratios."""
    import pandas as pd

    rows = []
    for key, here in ratios.groupby(_WHERE, sort=False):
        by_measure = {row.measure: row for row in here.itertuples()}
        known = [name for name in _SPOKEN if name in by_measure and by_measure[name].ratio == by_measure[name].ratio]
        first = by_measure[known[0] if known else here["measure"].iloc[0]]
        rows.append(
            {
                "outcome": _outcome(ratios, key),
                "arm": key[-1],
                "spread": first.measure,
                "model": f"{first.simulated:.2f}",
                "people": f"{first.human:.2f}" if known else first.human_from,
                "ratio (95% interval)": f"{first.ratio:.2f} ({first.low:.2f} to {first.high:.2f})" if known else "",
                "flag": first.flag,
                **{
                    f"{row.measure}\nratio": f"{row.ratio:.2f}"
                    for row in here.itertuples()
                    if row.measure != first.measure and row.ratio == row.ratio
                },
            }
        )
    return pd.DataFrame(rows).fillna("")


def _made_of(parts: Any) -> Any:
    """Lay out what the spread of each outcome and arm is made of."""
    import pandas as pd

    rows = [
        {
            "outcome": _outcome(parts, [getattr(row, name) for name in _WHERE]),
            "arm": row.arm,
            "answers": row.n,
            "most common": f"{row.most_common:g}",
            "same answer": _percent(row.identical, row.human_identical),
            "halves": _percent(row.whole, row.human_whole),
            "between persons": _percent(row.icc) if row.draws > 1 else "set draws: 2",
        }
        for row in parts.itertuples()
    ]
    return pd.DataFrame(rows).fillna("")


def _outcome(table: Any, key: Any) -> str:
    """Name an outcome, with its vignette and group where there are several."""
    _, group, vignette, outcome, _ = key
    before = f"{vignette}, " if table["vignette"].nunique() > 1 else ""
    behind = f" ({group})" if table["group"].nunique() > 1 else ""
    return f"{before}{outcome}{behind}"


def _subgroups(table: Any) -> Any:
    """Lay out a row per subgroup, outcome and arm; flags are for gaps whose intervals do not meet."""
    shown = table[["column", "outcome", "arm"]].copy()
    shown["subgroup"] = [f"{row.by} {row.level}" for row in table.itertuples()]
    shown["SD"] = [f"{row.sd:.2f}" for row in table.itertuples()]
    shown["people"] = [f"{row.human_sd:.2f}" for row in table.itertuples()]
    shown["ratio (95%)"] = [f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})" for row in table.itertuples()]
    shown["flag"] = table["flag"]
    shown["gap"] = [f"{row.gap:+.2f} ({row.gap_low:+.2f} to {row.gap_high:+.2f})" for row in table.itertuples()]
    shown["gap of people"] = [
        f"{row.human_gap:+.2f} ({row.human_low:+.2f} to {row.human_high:+.2f})" for row in table.itertuples()
    ]
    shown["gap flag"] = table["gap_flag"]
    return shown.drop(columns=[name for name in ("column", "outcome", "arm") if shown[name].nunique() == 1])


def _percent(share: float, people: float = float("nan")) -> str:
    if share != share:
        return ""
    return f"{share:.0%}" + (f" ({people:.0%})" if people == people else "")


def _print_failures(found: "Findings") -> None:
    """Say what failed, where, and how far it could move a mean."""
    from popsim.evaluate.failures import MANY

    out.print("\nFailed prompts, whose answers are left out above")
    for column, rates in found.failures.groupby("column", sort=False):
        for line in _failure_lines(str(column), rates):
            _say(line)
    many = found.bounds[found.bounds["missing"] > MANY] if len(found.bounds) else found.bounds
    if len(many):
        print_table(_bounds(many), "Means of which more than 2 % of answers are missing, with their worst-case bounds")
        _say(_BOUNDS_NOTE)


def _failure_lines(column: str, rates: Any) -> Iterator[str]:
    """Say how much failed by arm, whether arms differ, and which subgroups do."""
    arms = rates[rates["by"].eq("arm")]
    asked = int(arms["prompts"].sum())
    if not arms["first_failed"].any():
        yield f"  {column}: none of {asked:,} prompts"
        return
    each = "; ".join(
        f"{row.value}: {row.first_failed:.1%} at the first attempt, {row.failed:.1%} in the end"
        for row in arms.itertuples()
    )
    tested = min((p for p in (arms["first_p"].iloc[0], arms["p"].iloc[0]) if p == p), default=float("nan"))
    verdict = ""
    if tested == tested:
        differ = "DEPEND ON THE ARM" if tested < _RARE else "no sign that they depend on the arm"
        verdict = f"; {differ} ({_p(tested)})"
    yield f"  {column}, {asked:,} prompts: {each}{verdict}"
    groups = rates[rates["by"].ne("arm") & (rates["holm_p"] < _RARE)]
    for by, here in groups.groupby("by", sort=False):
        shares = ", ".join(f"{row.value} {row.first_failed:.1%}" for row in here.itertuples())
        yield f"  {column}: DEPEND ON {by} (Holm {_p(here['holm_p'].iloc[0])}): {shares}"


def _p(p: float) -> str:
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def _bounds(many: Any) -> Any:
    """Lay out means with their bounds."""
    shown = many[["column", "group", "vignette", "outcome", "arm", "asked"]].copy()
    shown["missing"] = [f"{share:.1%}" for share in many["missing"]]
    shown["mean of readable"] = [f"{mean:+.3f}" for mean in many["mean"]]
    shown["bounds"] = [f"{low:+.3f} to {high:+.3f}" for low, high in zip(many["low"], many["high"], strict=True)]
    return shown.drop(columns=[name for name in ("column", "group", "vignette") if shown[name].nunique() == 1])


def _channels(here: Any) -> Any:
    """Lay out shares of answers that name each channel: people, then each column of runs."""
    import pandas as pd

    rows = []
    for _, these in here.groupby("code", sort=False):
        first = these.iloc[0]
        if first["human"] != first["human"] and these["simulated"].max() < _SELDOM:
            continue
        shown = {
            "named": first["title"],
            "people": f"{100 * first['human']:.1f}" if first["human"] == first["human"] else "no human figure",
            "people counted by": _COUNTED[first["human_by"]],
        }
        for row in these.itertuples():
            head = f"{row.column}, n = {row.n:,}"
            shown[head] = f"{100 * row.simulated:.1f} ({100 * row.low:.0f} to {100 * row.high:.0f})"
        rows.append(shown)
    return pd.DataFrame(rows).fillna("")
