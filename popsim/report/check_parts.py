"""The parts of the page that say what answers are worth: how they spread, what they draw on, what failed."""

import pandas as pd

from popsim.report import findings as lay_out
from popsim.report.blocks import Folded, Part, Table, tabulate
from popsim.report.material import Material
from popsim.report.methods import is_by_construction

_SPREAD = (
    "Language models tend to answer too much alike. Each ratio sets the spread of these answers beside that of people: "
    "1 is as it should be, 0.5 is half as much."
)
_NO_HUMAN_SPREAD = "No human figure says how far people spread here, so nothing can be flagged."
_CHANNELS = (
    "What respondents had in mind, as coded from the reasons they wrote, beside the shares of people who named it."
)
_SUBGROUPS = "Do groups of people differ from each other as they do among humans, and by as much?"
_JOINT = "All figures of a file at once, given how they hang together:"
_DISTANCES = (
    "0 between equal distributions. Ordinal EMD: moves along fall, same, rise, from end to end 1; total variation: the "
    "share of respondents who would have to answer otherwise. Behind them what reference answers would score: floor is "
    "another sample of as many humans, pooled margin the same answer to every vignette or arm."
)
_BOUNDS = "Means of which more than 2 % of answers are missing, with their worst-case bounds"


def check_parts(material: Material) -> list[Part]:
    """Give the parts on spread, subgroups and open answers, those without anything to show empty."""
    return [_spread(material), _subgroups(material), _channels(material)]


def _spread(material: Material) -> Part:
    title, ratios, parts = "How far answers spread", material.found("ratios"), material.found("parts")
    warnings = material.found("warnings")
    said = [f"{row.warning}." for row in warnings.itertuples()] if len(warnings) else []
    if parts.empty:
        return Part("dispersion", title, warnings=said)
    lines = [_SPREAD if len(ratios) and ratios["ratio"].notna().any() else _NO_HUMAN_SPREAD]
    tables = [tabulate(_flat(lay_out.spread_table(ratios)), "Spread beside that of people")] if len(ratios) else []
    tables.append(tabulate(lay_out.parts_table(parts), "What that spread is made of"))
    return Part("dispersion", title, lines, tables=tables, warnings=said, note=lay_out.SPREAD_NOTE)


def _subgroups(material: Material) -> Part:
    title, found = "Differences between groups", material.found("subgroups")
    if found.empty:
        return Part("groups", title)
    shown = tabulate(
        lay_out.subgroup_table(found), "Subgroups beside those of people: SD, and mean less that of others"
    )
    return Part("groups", title, [_SUBGROUPS], tables=[shown], note=lay_out.SUBGROUP_NOTE)


def _channels(material: Material) -> Part:
    title, found = "What open answers draw on", material.found("channels")
    if found.empty:
        return Part("channels", title)
    tables = [
        tabulate(_flat(lay_out.channel_table(here)), f"{vignette}, {group}, all arms, % of answers")
        for (group, vignette), here in found.groupby(["group", "vignette"], sort=False)
    ]
    return Part("channels", title, [_CHANNELS], tables=tables, note=lay_out.CHANNEL_NOTE)


def failure_lines(material: Material) -> list[str]:
    """Say where prompts failed and whether that is chance."""
    rates = material.found("failures")
    if rates.empty:
        return []
    lines, held = [*lay_out.failure_lines("Failed prompts", rates)], material.found("held")
    return [f"{line}." for line in (*lines, *(lay_out.held_lines("Replies", held) if len(held) else ()))]


def left_out_table(material: Material) -> list[Table]:
    """Give the probability that each measured question left out, where answers were measured."""
    readouts = material.table("readouts")
    if readouts.empty:
        return []
    asked = readouts.groupby(["vignette", "question"], sort=False, observed=True)["left_out"]
    shares = asked.agg(["mean", "max"]).reset_index()
    shown = shares[["question"]].assign(
        **{
            "left out, mean": [f"{share:.1%}" for share in shares["mean"]],
            "left out, most": [f"{share:.1%}" for share in shares["max"]],
        }
    )
    return [tabulate(shown, "Probability on what the question does not allow, or below the floor")]


def failure_tables(material: Material) -> tuple[list[Table], list[Folded]]:
    """Give failures by arm with bounds of means, and folded those by subgroup; nothing where nothing failed."""
    rates, bounds = material.found("failures"), material.found("bounds")
    if rates.empty or not rates["first_failed"].any():
        return [], []
    arms, groups = rates[rates["by"].eq("arm")], rates[rates["by"].ne("arm")]
    tables = [tabulate(lay_out.rates_table(arms).drop(columns="by"), "Failed prompts by arm")]
    if len(bounds):
        tables.append(tabulate(lay_out.bounds_table(bounds), _BOUNDS))
    note = "p: of no difference between the values of one attribute, by shuffling persons; Holm: for being many."
    shown = tabulate(lay_out.rates_table(groups))
    return tables, [Folded("Failed prompts by subgroup", note, table=shown)] if len(groups) else []


def human_lines(material: Material) -> list[str]:
    """Say how simulated figures go with human ones, and whether all of them together can be told apart."""
    known = {"statistic", "human", "simulated"} <= set(material.comparison)
    said = [f"{line}." for line in lay_out.correlation_lines(material.comparison)] if known else []
    said += [f"{line}." for line in lay_out.contrast_lines(material.found("contrasts"))]
    joint = material.found("joint")
    fitted = tuple(joint["column"]) if len(joint) and is_by_construction(material.manifest) else ()
    at_once = [f"{line}." for line in lay_out.joint_lines(joint, fitted)]
    return [*said, *([f"{_JOINT} {' '.join(at_once)}"] if at_once else [])]


def human_tables(material: Material) -> tuple[list[Table], list[Folded]]:
    """Give effects of one arm against another, and folded the distances between distributions."""
    effects, distances = material.found("effects"), material.found("distances")
    tables = [tabulate(lay_out.effects_table(effects), "Effects of one arm against another")] if len(effects) else []
    if distances.empty:
        return tables, []
    shown = distances.drop(columns=["column", "file"])
    shown = shown.loc[:, [bool(shown[name].notna().any()) for name in shown]]
    return tables, [Folded("Distances to the human distributions", _DISTANCES, table=tabulate(shown))]


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Put heads of two lines on one, and leave out columns without an entry."""
    filled = frame.loc[:, [bool(frame[name].ne("").any()) for name in frame]]
    return filled.rename(columns=lambda head: str(head).replace("\n", " "))
