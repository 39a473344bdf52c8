"""Printing what an audit found: how answers spread, what failed, what open answers draw on."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from popsim.cli.printing import WIDTH, out, print_table

if TYPE_CHECKING:
    from popsim.study.auditing import Findings

_SPOKEN = ("trimmed SD", "SD", "entropy", "IQR")
_RARE = 0.05
_COUNTED = {"words": "same words", "hand": "hand codes", "": ""}


def print_findings(found: "Findings") -> None:
    """Print an audit: a table of spread for each column of runs, warnings, failures with bounds, and open answers."""
    for column, ratios in found.ratios.groupby("column", sort=False):
        print_table(_spread(ratios, found.parts), f"{column}: how far answers spread, beside those of people")
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
    "is three standard errors from 1. The SD of people follows from the standard error of their mean. pooled: "
    "fall, same and rise, arms reversed as published. same answer: share that gave the most common one. halves: share "
    "of answers that are multiples of 0.5. In brackets: of people. between persons: their part of the variance, the "
    "rest being draws of the same person (intraclass correlation; needs draws: 2 or more)."
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


def _spread(ratios: Any, parts: Any) -> Any:
    """Lay out a row per outcome and arm: the measure that people are known by best, then the others as ratios."""
    import pandas as pd

    where = ["column", "group", "vignette", "outcome", "arm"]
    several = ratios[["group", "vignette"]].drop_duplicates().shape[0] > 1
    rows = []
    for key, here in ratios.groupby(where, sort=False):
        by_measure = {row.measure: row for row in here.itertuples()}
        known = [name for name in _SPOKEN if name in by_measure and by_measure[name].ratio == by_measure[name].ratio]
        first = by_measure[known[0] if known else here["measure"].iloc[0]]
        others = ", ".join(
            f"{row.measure} {row.ratio:.2f}"
            for row in here.itertuples()
            if row.measure != first.measure and row.ratio == row.ratio
        )
        made = parts[(parts[where] == list(key)).all(axis=1)]
        rows.append(
            {
                "outcome": f"{key[3]}, {key[2]} ({key[1]})" if several else key[3],
                "arm": key[4],
                "spread": first.measure,
                "model": f"{first.simulated:.2f}",
                "people": f"{first.human:.2f}" if known else first.human_from,
                "ratio": f"{first.ratio:.2f}" if known else "",
                "95% interval": f"{first.low:.2f} to {first.high:.2f}" if known else "",
                "flag": first.flag,
                "other\nratios": others,
                **(_made(made.iloc[0]) if len(made) else {}),
            }
        )
    return pd.DataFrame(rows).fillna("")


def _made(part: Any) -> dict[str, str]:
    """Say what the spread of one place is made of."""
    return {
        "same\nanswer": _percent(part["identical"], part["human_identical"]),
        "halves": _percent(part["whole"], part["human_whole"]),
        "between\npersons": _percent(part["icc"]),
    }


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
