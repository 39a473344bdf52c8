"""What an audit found, laid out for readers: `popsim compare` prints these tables and sentences, the page shows them.

Each function takes tables of `popsim.study.auditing.Findings` and gives a small frame of text, or sentences.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

SPREAD_NOTE = (
    "ratio: spread of the model on that of people; 1 is as it should be. Flagged below 0.9 or above 1.11 where it also "
    "is three standard errors from 1. The SD of people follows from the standard error of their mean. pooled: fall, "
    "same and rise, arms reversed as published. same answer: share that gave the most common one. halves: share of "
    "answers that are multiples of 0.5. Behind them in brackets: of people. between persons: their part of the "
    "variance, the rest being draws of the same person (intraclass correlation; needs draws: 2 or more)."
)
CHANNEL_NOTE = (
    "same words: the word list of the published study, run over both. hand codes: those of people were given by hand, "
    "the model's by a word list of ours, so read a few points as no difference; two hand coders agreed on 77 % of "
    "codes. People: wave 3 of the study, who were asked in other words. In brackets: 95 % interval."
)
BOUNDS_NOTE = (
    "bounds: all missing answers at one end of the scale, then at the other (Manski 1990); nothing is assumed of them. "
    "A conclusion that does not hold at both ends rests on what the failed answers would have been."
)
HELD_NOTE = (
    "held to the form: what the model would have said outside it was moved into it (sampling.structured), so these "
    "answers are no plain draw from the model, however few of them fail."
)
SUBGROUP_NOTE = (
    "gap: the mean of a subgroup less that of all others, with its 95 % interval. Flagged only where the intervals of "
    "the model and of people do not meet, so that noise in either is no finding."
)
_WHERE = ["column", "group", "vignette", "outcome", "arm"]
_SPOKEN = ("trimmed SD", "SD", "entropy", "IQR")
_RARE = 0.05
_SELDOM = 0.005
_COUNTED = {"words": "same words", "hand": "hand codes", "": ""}


def best_known(ratios: pd.DataFrame) -> pd.DataFrame:
    """Keep one row per place: the measure of spread that people are known by best, or that is read most.

    Args:
        ratios: From `popsim.evaluate.audit`.
    """
    order = {name: place for place, name in enumerate(_SPOKEN)}
    ranked = ratios.assign(unknown=ratios["ratio"].isna(), rank=ratios["measure"].map(order).fillna(len(order)))
    return ranked.sort_values(["unknown", "rank"], kind="stable").drop_duplicates(_WHERE).sort_index()


def spread_table(ratios: pd.DataFrame) -> pd.DataFrame:
    """Lay out a row per outcome and arm: the measure that people are known by best, then the others as ratios."""
    rows = []
    spoken = {tuple(row[name] for name in _WHERE): row for row in best_known(ratios).to_dict("records")}
    for key, here in ratios.groupby(_WHERE, sort=False):
        first: Any = spoken[key]
        known = first["ratio"] == first["ratio"]
        rows.append(
            {
                "outcome": outcome_name(ratios, key),
                "arm": key[-1],
                "spread": first["measure"],
                "model": f"{first['simulated']:.2f}",
                "people": f"{first['human']:.2f}" if known else first["human_from"],
                "ratio (95% interval)": f"{first['ratio']:.2f} ({first['low']:.2f} to {first['high']:.2f})"
                if known
                else "",
                "flag": first["flag"],
                **{
                    f"{row.measure}\nratio": f"{abs(row.ratio):.2f}"
                    for row in _rows(here)
                    if row.measure != first["measure"] and row.ratio == row.ratio
                },
            }
        )
    return pd.DataFrame(rows).fillna("")


def parts_table(parts: pd.DataFrame) -> pd.DataFrame:
    """Lay out what the spread of each outcome and arm is made of."""
    rows = [
        {
            "outcome": outcome_name(parts, [getattr(row, name) for name in _WHERE]),
            "arm": row.arm,
            "answers": row.n,
            "most common": f"{row.most_common:g}",
            "same answer": _percent(row.identical, row.human_identical),
            "halves": _percent(row.whole, row.human_whole),
            "between persons": _percent(row.icc) if row.draws > 1 else "set draws: 2",
        }
        for row in _rows(parts)
    ]
    return pd.DataFrame(rows).fillna("")


def outcome_name(table: pd.DataFrame, key: Any) -> str:
    """Name an outcome, with its vignette and group where the table has several."""
    _, group, vignette, outcome, _ = key
    before = f"{vignette}, " if table["vignette"].nunique() > 1 else ""
    behind = f" ({group})" if table["group"].nunique() > 1 else ""
    return f"{before}{outcome}{behind}"


def subgroup_table(table: pd.DataFrame) -> pd.DataFrame:
    """Lay out a row per subgroup, outcome and arm; flags are for gaps whose intervals do not meet."""
    shown = table[["column", "outcome", "arm"]].copy()
    shown["subgroup"] = [f"{row.by} {row.level}" for row in _rows(table)]
    shown["SD"] = [f"{row.sd:.2f}" for row in _rows(table)]
    shown["people"] = [f"{row.human_sd:.2f}" for row in _rows(table)]
    shown["ratio (95%)"] = [f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})" for row in _rows(table)]
    shown["flag"] = table["flag"]
    shown["gap"] = [_gap(row.gap, row.gap_low, row.gap_high) for row in _rows(table)]
    shown["gap of people"] = [_gap(row.human_gap, row.human_low, row.human_high) for row in _rows(table)]
    shown["gap flag"] = table["gap_flag"]
    return without_constant(shown, "column", "outcome", "arm")


def failure_lines(column: str, rates: pd.DataFrame) -> Iterator[str]:
    """Say how much failed by arm, whether arms differ, and which subgroups do.

    Args:
        column: Whose prompts they were.
        rates: Its rows of `Findings.failures`.
    """
    arms = rates[rates["by"].eq("arm")]
    asked = int(arms["prompts"].sum())
    if not arms["first_failed"].any():
        yield f"{column}: none of {asked:,} prompts"
        return
    each = "; ".join(
        f"{row.value}: {row.first_failed:.1%} at the first attempt, {row.failed:.1%} in the end" for row in _rows(arms)
    )
    tested = min((p for p in (arms["first_p"].iloc[0], arms["p"].iloc[0]) if p == p), default=float("nan"))
    verdict = ""
    if tested == tested:
        differ = "DEPEND ON THE ARM" if tested < _RARE else "no sign that they depend on the arm"
        verdict = f"; {differ} ({_p(tested)})"
    yield f"{column}, {asked:,} asked: {each}{verdict}"
    groups = rates[rates["by"].ne("arm") & (rates["holm_p"] < _RARE)]
    for by, here in groups.groupby("by", sort=False):
        shares = ", ".join(f"{row.value} {row.first_failed:.1%}" for row in _rows(here))
        yield f"{column}: DEPEND ON {by} (Holm {_p(here['holm_p'].iloc[0])}): {shares}"


def rates_table(rates: pd.DataFrame) -> pd.DataFrame:
    """Lay out failures by arm or by subgroup, with the tests of no difference."""
    shown = rates[["by", "value", "prompts"]].copy()
    shown["failed at first"] = [f"{share:.1%}" for share in rates["first_failed"]]
    shown["failed in the end"] = [f"{share:.1%}" for share in rates["failed"]]
    shown["95 % interval"] = [f"{low:.1%} to {high:.1%}" for low, high in zip(rates["low"], rates["high"], strict=True)]
    for head, name in (("p, at first", "first_p"), ("p, in the end", "p"), ("Holm p", "holm_p")):
        shown[head] = [chance(p) for p in rates[name]]
    return shown.loc[:, [bool(shown[name].ne("").any()) for name in shown]]


def held_lines(column: str, held: pd.DataFrame) -> Iterator[str]:
    """Say how often a model would have left the form that its replies were held to.

    Args:
        column: Whose replies they were.
        held: Its rows of `Findings.held`.
    """
    arms = "; ".join(
        f"{row.arm}: {row.outside:.1%} on average, over half in {row.mostly_outside:.0%} of {row.replies:,} replies"
        for row in _rows(held)
    )
    yield f"{column}, held to the form of the answers; left free, the model would have left it with probability {arms}"


def bounds_table(bounds: pd.DataFrame) -> pd.DataFrame:
    """Lay out means of which answers are missing, with their worst-case bounds."""
    shown = bounds[["column", "group", "vignette", "outcome", "arm", "asked"]].copy()
    shown["missing"] = [f"{share:.1%}" for share in bounds["missing"]]
    shown["mean of readable"] = [f"{mean:+.3f}" for mean in bounds["mean"]]
    shown["bounds"] = [f"{low:+.3f} to {high:+.3f}" for low, high in zip(bounds["low"], bounds["high"], strict=True)]
    return without_constant(shown, "column", "group", "vignette")


def channel_table(here: pd.DataFrame) -> pd.DataFrame:
    """Lay out shares of answers to one vignette that name each channel: people, then each column of runs."""
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
        for row in _rows(these):
            head = f"{row.column}, n = {row.n:,}"
            shown[head] = f"{100 * row.simulated:.1f} ({100 * row.low:.0f} to {100 * row.high:.0f})"
        rows.append(shown)
    return pd.DataFrame(rows).fillna("")


def effects_table(effects: pd.DataFrame) -> pd.DataFrame:
    """Lay out the effects of one arm against another, human and simulated."""
    shown = effects[["column", "group", "vignette", "outcome", "contrast"]].copy()
    shown["human"] = [f"{value:7.3f}" for value in effects["human"]]
    shown["s.e."] = [f"{value:.3f}" for value in effects["human_se"]]
    shown["simulated"] = [f"{value:7.3f}" for value in effects["simulated"]]
    ends = zip(effects["low"], effects["high"], strict=True)
    shown["95% interval"] = ["none" if low != low else f"{low:.3f} to {high:.3f}" for low, high in ends]
    shown["z"] = ["" if z != z else f"{round(z, 1) + 0.0:5.1f}" for z in effects["z"]]
    shown["sign"] = ["same" if same else "OTHER" for same in effects["same_sign"]]
    planned = effects["plan"].eq("planned")
    if planned.any():
        shown["plan"] = effects["plan"].where(planned, "")
    return without_constant(shown, "column", "group")


def contrast_lines(contrasts: pd.DataFrame) -> Iterator[str]:
    """Say how many effects have the human sign, and how simulated ones go with human ones."""
    for row in contrasts.to_dict("records"):
        line = f"{row['column']}, {row['group']}, {row['contrast']}: {row['same_sign']} of {row['cells']} signs agree"
        if row["cells"] > 2:
            line += f"; simulated on human: slope {row['slope']:.2f}, correlation {row['correlation']:.2f}"
        yield line


def correlation_lines(targets: pd.DataFrame) -> Iterator[str]:
    """Say how simulated figures go along with human ones, by kind of statistic, from three figures on.

    Quantiles are left aside: those of one outcome rise by construction.

    Args:
        targets: ``statistic, human, simulated``, and ``column`` where there are several.

    Example:
        >>> told = pd.DataFrame({"statistic": "mean", "human": [1.0, 2.0, 3.0], "simulated": [3.0, 5.0, 7.0]})
        >>> list(correlation_lines(told.assign(column="nano")))
        ['nano: correlation of simulated with human figures: mean 1.00 (3 figures)']
    """
    named = targets if "column" in targets else targets.assign(column="")
    for column, mine in named.assign(kind=statistic_kind(named["statistic"])).groupby("column", sort=False):
        said = []
        for kind, here in mine.groupby("kind", sort=False):
            human, simulated = here["human"].to_numpy(float), here["simulated"].to_numpy(float)
            if kind != "quantile" and len(here) > 2 and human.std() > 0 and simulated.std() > 0:
                said.append(f"{kind!s} {np.corrcoef(human, simulated)[0, 1]:.2f} ({len(here)} figures)")
        if said:
            before = f"{column!s}: c" if column else "C"
            yield f"{before}orrelation of simulated with human figures: {', '.join(said)}"


def statistic_kind(statistic: "pd.Series[str]") -> "pd.Series[str]":
    """Name the kind of each statistic, without the direction or option that it is of.

    Example:
        >>> statistic_kind(pd.Series(["trimmed sd", "share fall", "mean"])).tolist()
        ['trimmed SD', 'share', 'mean']
    """
    spoken = statistic.astype("str").str.replace("_", " ")
    kinds = spoken.str.extract(r"^(joint share|share|trimmed sd|sd|mean|quantile|effect|asymmetry)", expand=False)
    return kinds.fillna(spoken).str.replace(r"\bsd\b", "SD", regex=True)


def joint_lines(joint: pd.DataFrame, fitted: tuple[str, ...] = ()) -> Iterator[str]:
    """Say whether all figures of a file together can be told from the human ones."""
    for row in _rows(joint):
        chi2 = f"chi2 = {row.chi2:.1f} on {row.freedom} degrees of freedom, p = {row.p:.3f}"
        own = "; fitted to them, so human errors count for it and p is high" if row.column in fitted else ""
        out_of = f"{row.column}, {row.file}, all {row.figures} figures at once"
        yield f"{out_of}: {chi2}; largest |z| {row.largest_z:.1f}; human errors included{own}"


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    yield from frame.itertuples()


def without_constant(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Leave out columns that say the same in every row."""
    return frame.drop(columns=[name for name in names if frame[name].nunique() == 1])


def _gap(*values: float) -> str:
    """Write a gap with its interval, without a minus sign before nothing."""
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*(round(value, 2) + 0.0 for value in values))


def _percent(share: float, people: float = float("nan")) -> str:
    if share != share:
        return ""
    return f"{share:.0%}" + (f" ({people:.0%})" if people == people else "")


def chance(p: float) -> str:
    """Write a p-value; nothing where there is none.

    Example:
        >>> [chance(p) for p in (0.0104, 1e-9, float("nan"))]
        ['0.010', '< 0.001', '']
    """
    return "" if p != p else f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _p(p: float) -> str:
    return f"p = {chance(p)}" if p >= 0.001 else "p < 0.001"
