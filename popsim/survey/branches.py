"""Branches of a questionnaire: pages that hang on earlier answers, and texts that repeat them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from popsim.files import Frozen
from popsim.slots import did_you_mean, fill, slots_of, strings_in
from popsim.survey.questions import (
    DensityQuestion,
    MultipleQuestion,
    Name,
    NumberQuestion,
    Question,
    ScaleQuestion,
    Text,
    option_labels,
)
from popsim.survey.reading import Answer

if TYPE_CHECKING:
    from popsim.survey.questionnaire import Page, Questionnaire, Vignette

ANSWER = "answer."
"""What the slot of an earlier answer begins with: ``{{answer.QUESTION}}``."""


class Condition(Frozen):
    """What an earlier answer has to be for a page to be shown; one that cannot be read meets no condition."""

    question: Name
    among: tuple[Text, ...] = ()
    """Options, labels of scale points, or the declared words of "don't know" and refusal: one of these was given."""
    not_among: tuple[Text, ...] = ()
    """The same, none of which was given, but something else."""
    at_least: float | None = None
    at_most: float | None = None
    """Bounds of a number or a scale point, themselves included."""

    @model_validator(mode="after")
    def _says_something(self) -> "Condition":
        bounded = self.at_least is not None or self.at_most is not None
        if bool(self.among) + bool(self.not_among) + bounded != 1:
            raise ValueError("give among, or not_among, or at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} lies above at_most {self.at_most:g}")
        return self

    def __str__(self) -> str:
        """Say it in words."""
        said = [f"is {' or '.join(map(repr, self.among))}"] if self.among else []
        said += [f"is not {' or '.join(map(repr, self.not_among))}"] if self.not_among else []
        said += [f"is at least {self.at_least:g}"] if self.at_least is not None else []
        said += [f"is at most {self.at_most:g}"] if self.at_most is not None else []
        return f"{self.question} {' and '.join(said)}"

    def met(self, question: Question, rows: Sequence[Answer]) -> bool:
        """Say whether an answer meets the condition.

        Args:
            question: The question.
            rows: What was read of its answer; none where it was not asked.

        Example:
            >>> from popsim.survey.questions import NumberQuestion
            >>> age = NumberQuestion(kind="number", name="age", text="?", minimum=18, maximum=99)
            >>> Condition(question="age", at_least=65).met(age, [Answer("age", 70.0, "", "ok")])
            True
        """
        if self.among:
            return not set(self.among).isdisjoint(_given(question, rows))
        if self.not_among:
            return _was_read(rows) and set(self.not_among).isdisjoint(_given(question, rows))
        low = float("-inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return any(row.status == "ok" and low <= row.value <= high for row in rows)


def repeat(question: Question, rows: Sequence[Answer], comma: str = ", ") -> str:
    """Write an answer as a later page repeats it; empty where there is none that can be read.

    Args:
        question: The question.
        rows: What was read of its answer.
        comma: Stands between several options.

    Example:
        >>> from popsim.survey.questions import NumberQuestion
        >>> rate = NumberQuestion(kind="number", name="rate", text="?", minimum=0, maximum=9, decimals=1, unit="%")
        >>> repeat(rate, [Answer("rate", 2.5, "", "ok")])
        '2.5%'
    """
    if isinstance(question, NumberQuestion | ScaleQuestion) and rows and rows[0].status == "ok":
        decimals, unit = (question.decimals, question.unit) if isinstance(question, NumberQuestion) else (0, "")
        return f"{rows[0].value:.{decimals}f}{unit}"
    return comma.join(_given(question, rows))


def _given(question: Question, rows: Sequence[Answer]) -> list[str]:
    """List the words of an answer: options, the label of a point, a text, or declared words."""
    if not _was_read(rows):
        return []
    if rows[0].status != "ok":
        return [
            words for words in (question.dont_know if rows[0].status == "dont_know" else question.refusal,) if words
        ]
    if isinstance(question, MultipleQuestion):
        return [row.label for row in rows if row.value == 1]
    return [rows[0].label] if rows[0].label else []


def _was_read(rows: Sequence[Answer]) -> bool:
    return bool(rows) and rows[0].status in ("ok", "dont_know", "refused")


def answer_slots(page: "Page") -> frozenset[str]:
    """Name the questions whose answers the texts of a page repeat."""
    texts = [page.title, page.text, *(text for question in page.questions for text in (question.text, question.lead))]
    return frozenset(_answers_in(texts))


def fill_answers(page: "Page", said: Mapping[str, str]) -> "Page":
    """Put earlier answers into the texts of a page.

    Args:
        page: The page.
        said: What was answered, as it is to be repeated, by question.
    """
    if not answer_slots(page):
        return page
    words = {f"{ANSWER}{name}": text for name, text in said.items()}
    questions = tuple(
        question.model_copy(update={"text": _put(question.text, words), "lead": _put(question.lead, words)})
        for question in page.questions
    )
    return page.model_copy(
        update={"title": _put(page.title, words), "text": _put(page.text, words), "questions": questions}
    )


def branching(questionnaire: "Questionnaire") -> str:
    """Say where a questionnaire has a condition or repeats an answer, which takes pages; else nothing.

    Example:
        >>> from popsim.survey import load_questionnaire
        >>> branching(load_questionnaire("oil_price"))
        ''
    """
    for vignette in questionnaire.vignettes:
        for number, page in enumerate(vignette.pages):
            for key in page.conditions:
                return f"vignette {vignette.name}, page {number}: {key}"
            for name in sorted(answer_slots(page)):
                return f"vignette {vignette.name}, page {number}: {{{{{ANSWER}{name}}}}}"
    return ""


def check_branches(questionnaire: "Questionnaire") -> None:
    """Refuse branches that refer to what has not been asked by then.

    With ``show`` or shuffled vignettes only what was asked in the same vignette is sure to have been asked.

    Args:
        questionnaire: With slots or without.

    Raises:
        ValueError: The message names vignette, page and question.
    """
    varies = "vignettes" in questionnaire.shuffle or questionnaire.show is not None
    asked = {question.name for question in questionnaire.questions}
    before: dict[str, Question] = {}
    for vignette in questionnaire.vignettes:
        before = {} if varies else before
        _refuse_stray(vignette)
        for number, page in enumerate(vignette.pages):
            where = f"vignette {vignette.name}, page {number}"
            conditions = [(key, condition) for key, some in page.conditions.items() for condition in some]
            refers = [(key, condition.question) for key, condition in conditions]
            for what, name in refers + [("a text", name) for name in sorted(answer_slots(page))]:
                if name not in before:
                    problem = "is not asked on an earlier page" if name in asked else "is no question"
                    raise ValueError(
                        f"{where}: {what} refers to {name!r}, which {problem}{did_you_mean(name, before)} "
                        f"Allowed: {', '.join(before) or 'nothing, for nothing comes before'}"
                    )
                if what == "a text" and isinstance(before[name], DensityQuestion):
                    raise ValueError(f"{where}: a text repeats {name!r}, whose answer is no single value")
            for key, condition in conditions:
                check_condition(f"{where}: {key} {condition.question}", condition, before[condition.question])
            before = before | {question.name: question for question in page.questions}


def check_condition(where: str, condition: Condition, question: Question) -> None:
    """Refuse a condition that no answer to its question could meet.

    Raises:
        ValueError: The message begins with the place of the condition.
    """
    if not condition.among and not condition.not_among:
        if not isinstance(question, NumberQuestion | ScaleQuestion):
            raise ValueError(f"{where}: at_least and at_most need a number or a scale, not a {question.kind} question")
        return
    options = () if isinstance(question, DensityQuestion) else option_labels(question)
    points = question.labels.values() if isinstance(question, ScaleQuestion) else ()
    known = [words for words in (*options, *points, question.dont_know, question.refusal) if words]
    for words in (*condition.among, *condition.not_among):
        if words not in known:
            raise ValueError(
                f"{where}: {words!r} is no answer to it{did_you_mean(words, known)} Allowed: "
                f"{', '.join(known) or 'at_least and at_most'}"
            )


def _refuse_stray(vignette: "Vignette") -> None:
    """Refuse an earlier answer where no page puts one."""
    put: Any = {"title": True, "text": True, "questions": {"__all__": {"text", "lead"}}}
    rest = vignette.model_dump(exclude={"reference": True, "references": True, "pages": {"__all__": put}})
    for name in sorted(_answers_in(strings_in(rest))):
        raise ValueError(
            f"vignette {vignette.name}: {{{{{ANSWER}{name}}}}} stands where no answer is put in; allowed: title "
            "and text of a page, and the text of a question"
        )


def _answers_in(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from (slot.removeprefix(ANSWER) for slot in slots_of(text) if slot.startswith(ANSWER))


def _put(text: str, words: Mapping[str, str]) -> str:
    """Fill the slots of earlier answers and leave everything else as it stands."""
    slots = slots_of(text)
    return fill(text, {slot: words.get(slot, f"{{{{{slot}}}}}") for slot in slots}) if slots else text
