"""Pictures of what answers are worth: figures beside human ones, spread as a ratio, open answers, subgroups."""

from functools import partial

import pandas as pd

from popsim.report import charts
from popsim.report.blocks import Figure, Named
from popsim.report.findings import best_known, outcome_name, statistic_kind
from popsim.report.material import Material

BAND = (0.9, 1 / 0.9)
"""Ratios of spread that are never flagged."""
_WIDE = 1.96
_SIDES = ("simulated", "people")
_SHARES = ("share", "joint share")


def check_figures(material: Material) -> Named:
    """Draw what an audit found, where it found anything that can be drawn."""
    yield from _agreement(material)
    yield from _ratios(material)
    yield from _gaps(material)
    yield from _channels(material)


def _agreement(material: Material) -> Named:
    """Draw simulated over human figures, those in points and those that are shares by themselves."""
    found = material.comparison
    if found.empty or not {"statistic", "human", "human_se", "simulated", "low", "high"} <= set(found):
        return
    shares = found["statistic"].str.startswith(_SHARES)
    kinds = {"figures": (found[~shares], "Figures in points", "points"), "shares": (found[shares], "Shares", "share")}
    for name, (here, title, unit) in kinds.items():
        if len(here) < 2:
            continue
        half = _WIDE * here["human_se"].fillna(0.0)
        frame = here[["outcome", "arm", "statistic", "human", "simulated", "low", "high"]].assign(
            human_low=here["human"] - half, human_high=here["human"] + half, group=statistic_kind(here["statistic"])
        )
        note = "On the dashed line simulated figures would equal human ones. Lines: 95 % intervals of both sides."
        draw = partial(charts.agreement, frame, (f"people ({unit})", f"simulated ({unit})"), f"{title}: both sides")
        yield f"agreement-{name}", Figure("human", f"{title}, simulated and human", note, frame, draw)


def _ratios(material: Material) -> Named:
    """Draw how far answers spread as a ratio to people, a dot for each outcome and arm."""
    ratios = material.found("ratios")
    known = ratios[ratios["ratio"].notna()] if len(ratios) else ratios
    if known.empty:
        return
    best = best_known(known)
    keys = zip(*(best[name] for name in ("column", "group", "vignette", "outcome", "arm")), strict=True)
    rows = [
        f"{outcome_name(ratios, key)}\n{key[-1]}, {measure}" for key, measure in zip(keys, best["measure"], strict=True)
    ]
    frame = best.assign(row=rows)[["row", "ratio", "low", "high", "flag"]]
    flagged = f"Flagged: {frame['flag'].ne('').sum()} of {len(frame)}."
    note = f"Dot: ratio of spread, line: its 95 % interval. Inside the shaded band nothing is flagged. {flagged}"
    said = "; ".join(f"{row.row}: {row.ratio:.2f}".replace("\n", ", ") for row in frame.itertuples())
    draw = partial(charts.ratios, frame, BAND, f"Spread of answers on that of people. {said}")
    yield "audit-spread", Figure("dispersion", "Spread beside that of people", note, frame, draw)


def _gaps(material: Material) -> Named:
    """Draw how far the mean of each subgroup lies from that of the others, beside people."""
    found = material.found("subgroups")
    if found.empty:
        return
    for (outcome, arm), here in found.groupby(["outcome", "arm"], sort=False):
        rows = [f"{row.by} {row.level}" for row in here.itertuples()]
        sides = [
            here.assign(row=rows, group=group)[["row", "group", *names]].set_axis(
                ["row", "group", "mean", "low", "high"], axis=1
            )
            for group, names in zip(
                _SIDES, (["gap", "gap_low", "gap_high"], ["human_gap", "human_low", "human_high"]), strict=True
            )
        ]
        frame = pd.concat(sides, ignore_index=True)
        title = f"Gaps between groups: {outcome}, {arm}"
        note = "Mean of each group less that of all others, with 95 % intervals."
        draw = partial(charts.dots, frame, _SIDES, f"gap in {outcome}", title)
        yield f"audit-groups-{outcome}-{arm}", Figure("groups", title, note, frame, draw)


def _channels(material: Material) -> Named:
    """Draw the share of open answers that name each channel, beside people."""
    found = material.found("channels")
    if found.empty:
        return
    several = found["vignette"].nunique() > 1
    for (group, vignette), here in found.groupby(["group", "vignette"], sort=False):
        known = here[here["human"].notna()]
        if known.empty:
            continue
        ours = known[["title", "simulated", "low", "high"]].set_axis(["row", "mean", "low", "high"], axis=1)
        theirs = pd.DataFrame({"row": known["title"], "mean": known["human"]})
        theirs = theirs.assign(low=theirs["mean"], high=theirs["mean"], group="people")
        frame = pd.concat([ours.assign(group="simulated"), theirs], ignore_index=True)
        frame = frame.assign(**{name: 100 * frame[name] for name in ("mean", "low", "high")})
        title = "What open answers name" + (f": {vignette}, {group}" if several else "")
        note = "Share of open answers, with 95 % intervals of the simulated ones; several may be named."
        draw = partial(charts.dots, frame, _SIDES, "% of answers", title)
        yield f"audit-channels-{group}-{vignette}", Figure("channels", title, note, frame, draw)
