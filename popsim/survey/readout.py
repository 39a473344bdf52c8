"""Ways to read an answer: as generated text, or as the distribution that a model's own probabilities give.

What is read is worked out here from the questions: which of them, and every way to write each of their answers.
"""

import json
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, Literal

from pydantic import Field

from popsim.files import Frozen
from popsim.survey.grammar import number_texts
from popsim.survey.questionnaire import Difference, Questionnaire
from popsim.survey.questions import ChoiceQuestion, NumberQuestion, Question, ScaleQuestion


class ReadoutSettings(Frozen):
    """How answers are read; a bare word in the file is its ``kind``."""

    kind: Literal["generate", "choice", "number"] = "generate"
    """``number`` gives the distribution of each number, scale and choice question; ``choice`` that of each choice
    question by the probability of a letter, which is known to be poor on models that were not tuned for it. Both are
    the model's own, at temperature 1. The other questions are left out."""
    reasonings: int = Field(default=0, ge=0)
    """With ``prompt.reasoning``: how many are written and averaged over."""
    particles: int = Field(default=64, ge=1)
    """Values of a question that are drawn for the questions after it, which are read given them."""
    floor: float = Field(default=1e-4, ge=0, lt=1)
    """Beginnings of a number that are less probable than this are not followed; 0 follows all."""


Spelled = tuple[str, str, float | str]
"""A text, what closes it in the JSON object, and the value: a number, or ``dont_know`` or ``refused``."""


def measured_questions(questions: Sequence[Question], kind: str) -> tuple[Question, ...]:
    """Pick the questions that a way to read gives distributions of.

    Args:
        questions: All that are asked.
        kind: ``number`` or ``choice``.

    Example:
        >>> age = NumberQuestion(kind="number", name="age", text="?", minimum=18, maximum=99)
        >>> len(measured_questions([age], "number")), len(measured_questions([age], "choice"))
        (1, 0)
    """
    kinds = (ChoiceQuestion,) if kind == "choice" else (NumberQuestion, ScaleQuestion, ChoiceQuestion)
    return tuple(question for question in questions if isinstance(question, kinds))


def measured_changes(questionnaire: Questionnaire, kind: str) -> list[tuple[str, str, Difference]]:
    """List the changes between measured numbers: vignette, name and change.

    Args:
        questionnaire: What is asked.
        kind: ``number`` or ``choice``, which measures no numbers.

    Example:
        >>> from popsim.survey.questionnaire import load_questionnaire
        >>> sorted(name for _, name, _ in measured_changes(load_questionnaire("oil_price"), "number"))
        ['inflation', 'unemployment']
    """
    measured = measured_questions(questionnaire.questions, kind)
    numbers = {question.name for question in measured if not isinstance(question, ChoiceQuestion)}
    return [
        (vignette.name, name, change)
        for vignette in questionnaire.vignettes
        for name, change in vignette.changes.items()
        if {change.shock, change.baseline} <= numbers
    ]


def check_readout(settings: ReadoutSettings, questionnaire: Questionnaire, *, reasoning: bool) -> None:
    """Refuse a way to read that does not fit what is asked.

    Args:
        settings: The way to read.
        questionnaire: What is asked.
        reasoning: Whether recall and reasoning are asked for.

    Raises:
        ValueError: The message says what to change.
    """
    if settings.kind == "generate":
        if settings != ReadoutSettings():
            raise ValueError("readout: kind generate takes no other settings; write readout: generate")
        return
    if reasoning and not settings.reasonings:
        raise ValueError(
            f"readout: {settings.kind} after reasoning is an average over several reasonings; give "
            "readout.reasonings, for example 8, or set prompt.reasoning: false"
        )
    if settings.reasonings and not reasoning:
        raise ValueError("readout.reasonings: prompt.reasoning is false, so there are none; take it out")
    questions = measured_questions(questionnaire.questions, settings.kind)
    if not questions:
        wanted = "choice" if settings.kind == "choice" else "number, scale or choice"
        raise ValueError(
            f"readout: {settings.kind}: questionnaire {questionnaire.name} asks no {wanted} question; "
            "write readout: generate"
        )
    if settings.kind == "choice":
        for question in questions:
            lettered(question)
    asked = {question.name for question in questionnaire.questions}
    for vignette, name, _ in measured_changes(questionnaire, settings.kind):
        if name in asked:
            raise ValueError(f"readout: vignette {vignette}: a change and a question are both named {name}; rename one")


def lettered(question: Question) -> tuple[tuple[str, str], ...]:
    """Give each answer of a choice question a letter, its declared "don't know" and refusal after the options.

    Args:
        question: A choice question; others have no letters.

    Raises:
        ValueError: There are more answers than letters.

    Example:
        >>> lettered(ChoiceQuestion(kind="choice", name="q", text="?", options=("yes", "no"), dont_know="unsure"))
        (('A', 'yes'), ('B', 'no'), ('C', 'unsure'))
    """
    if not isinstance(question, ChoiceQuestion):
        return ()
    labels = [*question.options, *(words for _, words in _ways_out(question))]
    if len(labels) > len(ascii_uppercase):
        raise ValueError(
            f"question {question.name}: {len(labels)} answers, but readout choice has letters for "
            f"{len(ascii_uppercase)}; use readout number or generate"
        )
    return tuple(zip(ascii_uppercase, labels, strict=False))


def spellings(question: Question, *, letters: bool = False) -> tuple[Spelled, ...]:
    """List every way to write every answer to a question in its JSON field, behind the opening quotation mark.

    A number may leave out zeros at the end of its decimals, and its unit, as in a reply that is read as text.

    Args:
        question: A number, a scale or a choice.
        letters: Whether choices are answered by a letter in parentheses.

    Example:
        >>> half = NumberQuestion(kind="number", name="n", text="?", minimum=0, maximum=0.5, decimals=1, unit="%")
        >>> spellings(half)[:4]
        (('0.0', '%"', 0.0), ('0.0', '"', 0.0), ('0', '%"', 0.0), ('0', '"', 0.0))
    """
    if letters:
        ways = [status for status, _ in _ways_out(question)]
        count = len(lettered(question)) - len(ways)
        values: list[Any] = [*map(float, range(count)), *ways]
        return tuple((letter, ')"', value) for (letter, _), value in zip(lettered(question), values, strict=True))
    found: list[Spelled] = []
    if isinstance(question, ChoiceQuestion):
        found += [(_inside(option), '"', float(index)) for index, option in enumerate(question.options)]
    elif isinstance(question, NumberQuestion | ScaleQuestion):
        unit = question.unit if isinstance(question, NumberQuestion) else ""
        closes = dict.fromkeys([_inside(unit) + '"', '"'])
        for text in number_texts(question):
            found += [(short, close, float(text) + 0.0) for short in _shorter(text) for close in closes]
    return (*found, *((_inside(words), '"', status) for status, words in _ways_out(question)))


def _shorter(text: str) -> list[str]:
    """Write a number in every length that keeps its value."""
    whole, point, places = text.partition(".")
    least = len(places.rstrip("0"))
    ends = range(len(places), least - 1, -1)
    return [f"{whole}{point}{places[:end]}" if end else whole for end in ends]


def _ways_out(question: Question) -> list[tuple[str, str]]:
    declared = (("dont_know", question.dont_know), ("refused", question.refusal))
    return [(status, words) for status, words in declared if words is not None]


def _inside(text: str) -> str:
    """Write a text as it stands between the quotation marks of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
