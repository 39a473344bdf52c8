"""Answers that a plan leaves out before anything is computed, each counted with the reason."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.evaluate.resampling import as_numbers
from popsim.evaluate.sample import changes_by_person
from popsim.evaluate.statistics import Values
from popsim.scenario import Exclusions, find_outcomes
from popsim.survey import FAILURES, Answer, Difference, Questionnaire
from popsim.survey.branches import Condition

Marks = NDArray[np.bool_]
SITTING = ["person", "arm", "draw"]
"""What tells the times apart that somebody was asked."""


def exclude(
    answers: pd.DataFrame, rules: Exclusions, questionnaire: Questionnaire, recalled: "pd.Series[bool] | None" = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Leave out what a plan says: first respondents, then answers outside a range, then the ends of what is left.

    Args:
        answers: All answers of one run to one fielding, those that failed too.
        rules: What to leave out.
        questionnaire: What was asked.
        recalled: Whether a reply recalled who it speaks for, by ``person`` and ``draw``; ``None``
            where no recall was asked for.

    Returns:
        The answers that stay, and how many were left out by reason.

    Example:
        >>> from popsim.survey import load_questionnaire
        >>> asked = load_questionnaire("inflation_expectation")
        >>> said = {"vignette": asked.vignettes[0].name, "question": asked.questions[0].name, "arm": "all", "draw": 0}
        >>> read = {"value": 2.0, "label": "", "status": ["ok", "unreadable"]}
        >>> answers = pd.DataFrame({"person": [0, 1], **read, **said})
        >>> kept, counts = exclude(answers, Exclusions(failed=True), asked)
        >>> kept["person"].tolist(), counts
        ([0], {'respondents with an answer that could not be read': 1})
    """
    counts: dict[str, int] = {}
    kept = answers.assign(unit=answers.groupby(SITTING, observed=True).ngroup())
    for reason, bad in _respondents(kept, rules, questionnaire, recalled):
        gone = kept["unit"].isin(bad)
        counts[reason] = int(kept.loc[gone, "unit"].nunique())
        kept = kept[~gone]
    for name, (low, high) in rules.outside.items():
        kept, dropped = _without(kept, name, questionnaire, partial(_outside, low=low, high=high))
        counts[f"answers outside {low:g} to {high:g}: {name}"] = dropped
    for name, share in rules.trim.items():
        kept, dropped = _without(kept, name, questionnaire, partial(_ends, share=share))
        counts[f"answers trimmed, {share:.2%} of the ranks from either end in each arm: {name}"] = dropped
    return kept.drop(columns="unit"), {reason: count for reason, count in counts.items() if count}


def _respondents(
    answers: pd.DataFrame, rules: Exclusions, questionnaire: Questionnaire, recalled: "pd.Series[bool] | None"
) -> Iterator[tuple[str, "pd.Series[int]"]]:
    """Give the reasons for which respondents are left out, each with who they are, some more than once."""
    if rules.failed:
        yield "respondents with an answer that could not be read", answers.loc[answers["status"].isin(FAILURES), "unit"]
    if rules.recall and recalled is not None:
        keys = pd.MultiIndex.from_frame(answers[["person", "draw"]])
        said = recalled.reindex(keys, fill_value=False).to_numpy(dtype=bool)
        yield "respondents whose reply has no recall", answers.loc[~said, "unit"]
    for condition in rules.unless:
        good = answers.loc[_met(answers, condition, questionnaire), "unit"]
        yield f"respondents but for those of whom {condition}", answers.loc[~answers["unit"].isin(good), "unit"]


def _met(answers: pd.DataFrame, condition: Condition, questionnaire: Questionnaire) -> Marks:
    """Mark the answers that meet a condition; equal answers are looked at once."""
    question = next(one for one in questionnaire.questions if one.name == condition.question)
    code, said = pd.factorize(
        pd.MultiIndex.from_arrays([answers["value"], answers["label"].fillna(""), answers["status"]])
    )
    met = [condition.met(question, [Answer(question.name, *one)]) for one in said]
    return np.asarray(met, dtype=bool)[code] & answers["question"].eq(question.name).to_numpy()


def _without(
    answers: pd.DataFrame, name: str, questionnaire: Questionnaire, bad: Callable[[Values], Marks]
) -> tuple[pd.DataFrame, int]:
    """Leave out the answers to an outcome that are bad in their arm; of a change both answers that it is made of."""
    dropped = 0
    for vignette, outcome, found in find_outcomes(name, questionnaire):
        here = answers[answers["vignette"].eq(vignette) & answers["status"].eq("ok")]
        if isinstance(found, Difference):
            ends = [found.shock, found.baseline]
            frame = changes_by_person(here, found).rename(columns={"change": "value"})
        else:
            ends = [outcome]
            frame = here[here["question"].eq(outcome)].dropna(subset="value")
        frame = frame.sort_values("unit")
        arms = frame.groupby("arm", observed=True)
        gone = [part.loc[bad(as_numbers(part["value"])), "unit"] for _, part in arms]
        units = pd.concat(gone) if gone else pd.Series(dtype=np.int64)
        dropped += len(units)
        mine = answers["vignette"].eq(vignette) & answers["question"].isin(ends)
        answers = answers[~(mine & answers["unit"].isin(units))]
    return answers, dropped


def _outside(values: Values, low: float, high: float) -> Marks:
    return np.asarray((values < low) | (values > high))


def _ends(values: Values, share: float) -> Marks:
    """Mark the floor of a share of the ranks at either end, ties by the order of respondents."""
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    many = np.floor(share * len(values) + 1e-9)
    return np.asarray((rank < many) | (rank >= len(values) - many))
