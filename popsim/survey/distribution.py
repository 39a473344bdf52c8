"""Distributions of answers: what a readout found, and the answers that it stands for."""

import json
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from popsim.errors import SurveyError
from popsim.survey.questions import ChoiceQuestion, Question
from popsim.survey.reading import Answer, Distribution, Reading, Status
from popsim.weighted import moments

_MOST_LEFT_OUT = 0.5


def read_readout(
    text: str, questions: Sequence[Question], *, finish: Literal["stop", "length", "error"] = "stop"
) -> Reading:
    """Read the distributions in the reply to a readout, and an answer for each question out of them.

    The answer to a choice is its most probable option, any other the mean of its distribution. It is ``dont_know`` or
    ``refused`` where that is more probable than a value, ``unreadable`` where half of the mass or more was left out.

    Args:
        text: The JSON object.
        questions: Those that were measured, in order.
        finish: Why the reply ended.

    Raises:
        SurveyError: The reply is a text of another kind.

    Example:
        >>> yes = ChoiceQuestion(kind="choice", name="q", text="?", options=("yes", "no"))
        >>> found = '{"name": "v.q", "values": [0.0, 1.0], "probabilities": [0.2, 0.7], "left_out": 0.1,'
        >>> found += ' "reasonings": 0, "reasoning_error": 0.0, "particles": 1, "particle_error": 0.0}'
        >>> read_readout('{"distributions": [' + found + '], "reasonings": []}', [yes]).answers[0].label
        'no'
    """
    if finish == "error":
        rows = tuple(Answer(question.name, math.nan, "", "engine_error") for question in questions)
        return Reading("", "", rows, "engine_error")
    try:
        found = [_distribution(one) for one in json.loads(text)["distributions"]]
    except (ValueError, TypeError, LookupError):
        raise SurveyError(
            f"readout: the engine wrote {text[:40]!r} in place of distributions; "
            "let popsim.engines.readout.measured(engine, [kind]) answer"
        ) from None
    by_question = {one.question: one for one in reversed(found)}
    answers = tuple(_answer(question, by_question[question.name]) for question in questions)
    failed = any(answer.status == "unreadable" for answer in answers)
    return Reading("", "", answers, "unreadable" if failed else "ok", tuple(found))


def _distribution(found: dict[str, Any]) -> Distribution:
    vignette, _, question = found.pop("name").partition(".")
    values, probabilities = (tuple(found.pop(name)) for name in ("values", "probabilities"))
    ways_out = {"dont_know": 0.0, "refused": 0.0}
    return Distribution(vignette, question, values, probabilities, **{**ways_out, **found})


def _answer(question: Question, found: Distribution) -> Answer:
    masses: dict[Status, float] = {
        "ok": math.fsum(found.probabilities),
        "dont_know": found.dont_know,
        "refused": found.refused,
    }
    status: Status = max(masses, key=masses.__getitem__)
    if found.left_out >= _MOST_LEFT_OUT or masses[status] <= 0:
        return Answer(question.name, math.nan, "", "unreadable")
    if status != "ok":
        words = question.dont_know if status == "dont_know" else question.refusal
        return Answer(question.name, math.nan, words or "", status)
    if isinstance(question, ChoiceQuestion):
        best = found.values[int(np.argmax(found.probabilities))]
        return Answer(question.name, best, question.options[int(best)], "ok")
    return Answer(question.name, moments(found.values, found.probabilities)[0], "", "ok")
