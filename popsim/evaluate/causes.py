"""What a dispersion audit warns of: where spread is wrong, the likely cause, and what to try."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from popsim.evaluate.audit import MEASURES, Audit, Place

_MOSTLY = 0.75
_HALF = 0.5
_TOO_EXPERT = 0.15


class Settings(NamedTuple):
    """What of a study decides how its answers spread."""

    temperature: float = 1.0
    modules_off: tuple[str, ...] = ()
    """Parts of a respondent that the prompt does not show."""
    structured: bool = False
    failed: float = 0.0
    """Share of prompts without a readable answer."""


def spread_warnings(found: Audit, settings: Settings | None = None) -> list[str]:
    """Say which answers spread too little or too much, why that is likely, and what to try.

    One measure speaks for each place: the trimmed SD where a human one is known, else the SD, else entropy.

    Args:
        found: The audit of one column.
        settings: How its respondents were asked.

    Returns:
        A sentence or two per outcome, none where spread is as it should be.

    Example:
        >>> from popsim.evaluate.audit import _PARTS, _RATIOS
        >>> spread_warnings(Audit(pd.DataFrame(columns=_RATIOS), pd.DataFrame(columns=_PARTS)))
        []
    """
    settings, where = settings or Settings(), list(Place._fields)
    spoken = found.ratios[found.ratios["ratio"].notna() & found.ratios["measure"].isin(("trimmed SD", "SD", "entropy"))]
    spoken = spoken.assign(order=spoken["measure"].map(MEASURES.index)).sort_values("order", kind="stable")
    flagged = spoken.drop_duplicates(where)
    said = []
    for (group, outcome, flag), these in flagged[flagged["flag"].ne("")].groupby(
        ["group", "outcome", "flag"], sort=False
    ):
        parts = found.parts.merge(these[where], on=where)
        said.append(f"{_heading(str(group), str(outcome), these)}. {_advice(str(flag), parts, settings)}")
    return [*said, *_same_answers(found.parts, flagged, settings)]


def _heading(group: str, outcome: str, these: pd.DataFrame) -> str:
    """Say how far the spread of one outcome is off."""
    arms = ", ".join(dict.fromkeys(these["arm"]))
    worst = these.iloc[int((these["ratio"] - 1).abs().to_numpy().argmax())]
    per = "less" if worst["ratio"] < 1 else "more"
    measure = "entropy of the answers" if worst["measure"] == "entropy" else worst["measure"]
    return (
        f"{outcome} ({group}; {arms}): answers spread {per} than those of people: {measure} {worst['simulated']:.2f} "
        f"against {worst['human']:.2f}, ratio {worst['ratio']:.2f} ({worst['low']:.2f} to {worst['high']:.2f})"
    )


def _advice(flag: str, parts: pd.DataFrame, settings: Settings) -> str:
    """Name the likely cause and what to try."""
    icc, draws = parts["icc"].mean(), parts["draws"].max() if len(parts) else 1
    same = parts["identical"].max() if len(parts) else 0.0
    if flag == "too much":
        if icc == icc and icc < _HALF:
            return (
                f"Likely cause: chance, for only {icc:.0%} of the spread lies between persons, the rest between draws "
                "of the same person. Try a lower sampling.temperature, or compare the mean of a person's draws"
            )
        return (
            "Likely cause: answers that ignore the levels in the question. Look at the largest ones, and try a wording "
            "that states today's rate, or sampling.structured: true where the range is not kept"
        )
    if settings.temperature < 0.7:
        return (
            f"Likely cause: temperature {settings.temperature:g}, which picks the likeliest answer. Try "
            "sampling.temperature: 1"
        )
    if settings.modules_off:
        return (
            f"Likely cause: the prompt leaves out {', '.join(settings.modules_off)}, so respondents read alike. Switch "
            "them on under modules"
        )
    if same > _HALF:
        return (
            f"Likely cause: one number is repeated ({same:.0%} gave it), as a level in the question invites. Try "
            "another wording, or readout: number, which shows the whole distribution"
        )
    if icc == icc and icc < 0.2:
        return (
            f"Likely cause: persons hardly differ (intraclass correlation {icc:.2f}), so the persona does not reach "
            "the answer. Try priors with more spread, readout: number, or a model tuned on survey answers"
        )
    if icc == icc:
        return (
            f"Likely cause: each person answers alike every time (intraclass correlation {icc:.2f}) and persons are "
            "too much alike. Try priors with more spread, or a model tuned on survey answers"
        )
    told = " A part may be missing with the replies that failed." if settings.failed > 0.02 else ""
    again = " Set draws: 3 to see whether persons differ or each repeats itself." if draws == 1 else ""
    return (
        "Likely cause: a tuned chat model, which gives everybody the likeliest view."
        f"{again}{told} Try readout: number, a base model, or a model tuned on survey answers"
    )


def _same_answers(parts: pd.DataFrame, judged: pd.DataFrame, settings: Settings) -> Iterator[str]:
    """Warn of one answer that nearly all give, where no human figure could say whether people do so too."""
    known = set(zip(*(judged[name] for name in Place._fields), strict=True))
    rows: Iterator[Any] = iter(parts.itertuples())
    for row in rows:
        if row.n >= 30 and row.identical > _MOSTLY and (row.group, row.vignette, row.outcome, row.arm) not in known:
            why = (
                f"temperature {settings.temperature:g} picks the likeliest answer; try 1"
                if settings.temperature < 0.7
                else "the question may give the answer away; try another wording, or readout: number"
            )
            yield (
                f"{row.outcome} ({row.group}; {row.arm}): {row.identical:.0%} gave the same answer, and there is no "
                f"human figure to say whether people do. Likely cause: {why}"
            )


def channel_warnings(table: pd.DataFrame) -> list[str]:
    """Say where open answers reason more than those of people do.

    Args:
        table: From `popsim.evaluate.coder.channel_table`.
    """
    codes = {str(row["code"]): row for row in table.to_dict("records")}
    row, guess = codes.get("mechanism"), codes.get("guess")
    if row is None or guess is None or not row["low"] > row["human"] + _TOO_EXPERT:
        return []
    return [
        f"open answers reason more than those of people: {row['simulated']:.0%} name a mechanism against "
        f"{row['human']:.0%}, {guess['simulated']:.0%} say that they guess against {guess['human']:.0%}. Likely cause: "
        "a model that answers as an expert whatever the persona says. Try prompt.reasoning: false, or a model tuned on "
        "survey answers"
    ]
