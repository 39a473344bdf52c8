"""Reading a reply: its form leniently (`popsim.survey.lenient`), its meaning strictly.

Nothing is clamped, defaulted, rescaled or dropped in silence: an answer that breaks a rule of its question is kept as a
row without a value, with a status that says why.

================  ======================================================================================================
status            when
================  ======================================================================================================
``ok``            the value is what the reply says, and the question allows it
``dont_know``     the words that the question declares for it
``refused``       likewise
``engine_error``  the engine failed; there is no reply
``truncated``     the reply reached its length limit before a readable final answer
``unreadable``    no JSON object, or not a value of the question's kind: words or two numbers where one is asked,
                  another option, an option twice, true, NaN, one key with two values
``missing``       the key is not there, or holds null or blank
``out_of_range``  a value of the right kind that breaks a bound: range, decimals, count of options, length, sum
================  ======================================================================================================

A reply as a whole is ``ok`` when all its answers are among the first three, else it has the first of the others, in
the order above, that any of them has.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from popsim.survey.lenient import Bare, Pairs, Raw, find_object, fold, fold_key, narrow, split_reply
from popsim.survey.questions import (
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    Question,
    ScaleQuestion,
    TextQuestion,
)

Status = Literal["ok", "dont_know", "refused", "engine_error", "truncated", "unreadable", "missing", "out_of_range"]
STATUSES: tuple[Status, ...] = get_args(Status)
FAILURES: tuple[Status, ...] = STATUSES[3:]
_FAILED = frozenset(FAILURES)

SUM_TOLERANCE = 0.5
"""How far the probabilities of a density question may sum from 100, for respondents who round."""


class Answer(NamedTuple):
    """One row of the table of answers.

    Every question gives the same number of rows whatever was answered (one, or one per option of a multiple question),
    so long tables are built by column: ``zip(*answers)`` for what varies, tiling for what does not.

    Attributes:
        question: The question's name.
        value: The number; the option's index of a choice; 1 or 0 for each option of a multiple question; NaN for text,
            density and every status but ``ok``.
        label: The option, the word of a scale point, the text, or the declared words of ``dont_know`` and ``refused``.
        status: Whether there is a value, and if not why.
        probabilities: Per cent per bin of a density question, in the order of its bins; else empty.
    """

    question: str
    value: float
    label: str
    status: Status
    probabilities: tuple[float, ...] = ()


class Distribution(NamedTuple):
    """The distribution of one answer or one change.

    Attributes:
        vignette: Where it was asked.
        question: The question, or the change.
        values: Those with some probability, in ascending order; for a choice the options' indices.
        probabilities: Of each; with the three masses below they sum to 1. Those of letters sum to 1 without
            ``left_out``, which is then the mass of everything else that the model might have written.
        left_out: The mass on what the question does not allow and on what was too improbable to follow.
        dont_know: The mass on the declared words.
        refused: Likewise.
        reasonings: How many reasonings it is the mean over, 0 without any.
        reasoning_error: Standard error of the mean, of drawing these reasonings; None where one was drawn.
        particles: How many beginnings of the reply it is the mean over.
        particle_error: Standard error of the mean, of drawing them; None where it cannot be told.
    """

    vignette: str
    question: str
    values: tuple[float, ...]
    probabilities: tuple[float, ...]
    left_out: float
    dont_know: float
    refused: float
    reasonings: int
    reasoning_error: float | None
    particles: int
    particle_error: float | None


class Reading(NamedTuple):
    """What a reply says.

    Attributes:
        recall: The first part of the reply, empty where there is none.
        reasoning: The second part.
        answers: Rows in the order of the questions.
        status: ``ok``, or the gravest failure.
        distributions: Of answers and changes, where these were measured instead of written.
        text: The whole reply as it came, where a conversation goes on from it.
    """

    recall: str
    reasoning: str
    answers: tuple[Answer, ...]
    status: Status
    distributions: tuple[Distribution, ...] = ()
    text: str = ""


def join_readings(readings: Sequence[Reading]) -> Reading:
    """Put what was said on several pages into one reading.

    Args:
        readings: In the order of the pages, at least one.

    Example:
        >>> join_readings([Reading("", "a", (), "ok"), Reading("", "", (), "missing")])[1:4]
        ('a', (), 'missing')
    """
    failed = {reading.status for reading in readings} & _FAILED
    return Reading(
        "\n\n".join(reading.recall for reading in readings if reading.recall),
        "\n\n".join(reading.reasoning for reading in readings if reading.reasoning),
        tuple(answer for reading in readings for answer in reading.answers),
        min(failed, key=FAILURES.index) if failed else "ok",
    )


def read_reply(
    text: str,
    questions: Sequence[Question],
    *,
    reasoning: bool = True,
    finish: Literal["stop", "length", "error"] = "stop",
    error: str = "",
) -> Reading:
    """Read the answers to some questions out of a reply.

    Args:
        text: The reply as it came.
        questions: What was asked, slots filled.
        reasoning: Whether recall and reasoning were asked for. If so, a reply that was cut before its final answer is
            ``truncated`` even where a JSON object stands in its reasoning.
        finish: Why the reply ended.
        error: What failed in the engine, if anything did.

    Example:
        >>> from popsim.survey.questions import NumberQuestion
        >>> rate = NumberQuestion(kind="number", name="rate", text="?", minimum=0, maximum=10, decimals=2, unit="%")
        >>> reading = read_reply('<final_answer>{"rate": "4.00%"}</final_answer>', [rate])
        >>> reading.answers[0].value, reading.status
        (4.0, 'ok')
        >>> read_reply('{"rate": "12%"}', [rate]).status
        'out_of_range'
    """
    if finish == "error" or error:
        return _nothing("", "", questions, "engine_error")
    parts = split_reply(text)
    keys = [question.json_key for question in questions]
    cut = finish == "length"
    pairs = None if cut and reasoning and not parts.final else find_object(parts.answer, keys)
    if pairs is None:
        return _nothing(parts.recall, parts.reasoning, questions, "truncated" if cut else "unreadable")
    answers: list[Answer] = []
    for question, raws in zip(questions, _values(pairs, keys), strict=True):
        answers += _answers(question, raws)
    failed = {answer.status for answer in answers} & _FAILED
    status: Status = min(failed, key=FAILURES.index) if failed else "ok"
    return Reading(parts.recall, parts.reasoning, tuple(answers), status)


def _nothing(recall: str, reasoning: str, questions: Sequence[Question], status: Status) -> Reading:
    rows = tuple(row for question in questions for row in _without_value(question, status))
    return Reading(recall, reasoning, rows, status)


def _values(pairs: Pairs, keys: list[str]) -> list[list[Raw]]:
    """Collect what stands under each key: nothing, one value, or several where a key stands twice."""
    exact = dict(pairs)
    if len(exact) == len(pairs) == len(keys) and all(map(exact.__contains__, keys)):
        return [[exact[key]] for key in keys]
    values: dict[str, list[Raw]] = {key: [] for key in keys}
    near: dict[str, str] = {}
    for key in keys:
        near[fold_key(key)] = "" if fold_key(key) in near else key
    for key, value in pairs:
        asked = key if key in values else near.get(fold_key(key), "")
        if asked:
            values[asked].append(value)
    return [values[key] for key in keys]


def _answers(question: Question, raws: list[Raw]) -> tuple[Answer, ...]:
    """Read what stands under a question's key."""
    if len(raws) > 1:
        readings = [_answers(question, [raw]) for raw in raws]
        same = all(repr(reading) == repr(readings[0]) for reading in readings)
        return readings[0] if same else _without_value(question, "unreadable")
    if not raws or raws[0] is None or (isinstance(raws[0], str) and not raws[0].strip()):
        return _without_value(question, "missing")
    raw = raws[0]
    if question.dont_know is not None or question.refusal is not None:
        said = raw[0] if isinstance(raw, list) and len(raw) == 1 else raw
        if isinstance(said, str):
            if question.dont_know is not None and fold(said) == _folded(question.dont_know):
                return _without_value(question, "dont_know", question.dont_know)
            if question.refusal is not None and fold(said) == _folded(question.refusal):
                return _without_value(question, "refused", question.refusal)
    return _READERS[question.kind](question, raw)


_folded = lru_cache(maxsize=4096)(fold)


def _without_value(question: Question, status: Status, words: str = "") -> tuple[Answer, ...]:
    if isinstance(question, MultipleQuestion):
        return tuple(Answer(question.name, math.nan, option, status) for option in question.options)
    return (Answer(question.name, math.nan, words, status),)


_NUMBER = re.compile(r"[+-]?([1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?")


@lru_cache(maxsize=256)
def _unit_words(unit: str) -> tuple[str, ...]:
    word = narrow(unit).strip().casefold()
    return ("%", "percent", "per cent") if word == "%" else (word,)


def _without_unit(text: str, unit: str) -> str:
    """Take the unit away from behind or, after the sign, from before a number."""
    for known in _unit_words(unit):
        if text.endswith(known):
            return text.removesuffix(known).rstrip()
        sign = text[:1] if text[:1] in ("-", "+") else ""
        if text.startswith(sign + known):
            return sign + text.removeprefix(sign + known).lstrip()
    return text


def _parse_number(raw: Raw, unit: str) -> tuple[float, int] | None:
    """Read one decimal number and the decimal places that it needs; trailing zeros need none.

    The declared unit may stand on either side, a comma between groups of three digits. Places are counted in the
    digits as written, so binary fractions play no part.
    """
    if not isinstance(raw, str):
        return None
    text = narrow(raw).strip()
    number = _NUMBER.fullmatch(text.removesuffix(unit).rstrip())
    if number is None:
        number = _NUMBER.fullmatch(_without_unit(text.casefold(), unit))
        if number is None:
            return None
    whole, fraction, exponent = number.groups("")
    if not whole and not fraction:
        return None
    needed = len(fraction.rstrip("0"))
    if exponent:
        digits = (whole + fraction).replace(",", "")
        kept = digits.rstrip("0")
        needed = len(fraction) - int(exponent) - len(digits) + len(kept) if kept else 0
    return float(number[0].replace(",", "")) + 0.0, needed


def _number(question: NumberQuestion, raw: Raw) -> tuple[Answer, ...]:
    parsed = _parse_number(raw, question.unit)
    if parsed is None:
        return (Answer(question.name, math.nan, "", "unreadable"),)
    value, decimals = parsed
    if decimals > question.decimals or not question.minimum <= value <= question.maximum:
        return (Answer(question.name, math.nan, "", "out_of_range"),)
    return (Answer(question.name, value, "", "ok"),)


def _scale(question: ScaleQuestion, raw: Raw) -> tuple[Answer, ...]:
    parsed = _parse_number(raw, "")
    if parsed is None:
        return (Answer(question.name, math.nan, "", "unreadable"),)
    value, decimals = parsed
    if decimals > 0 or not question.minimum <= value <= question.maximum:
        return (Answer(question.name, math.nan, "", "out_of_range"),)
    return (Answer(question.name, value, question.labels.get(int(value), ""), "ok"),)


def _position(labels: Sequence[str], raw: Raw) -> int | None:
    """Find the one label that a value names, exactly or else folded."""
    if not isinstance(raw, str):
        return None
    if raw in labels:
        return labels.index(raw)
    wanted = fold(raw)
    near = [position for position, label in enumerate(labels) if _folded(label) == wanted]
    return near[0] if len(near) == 1 else None


def _choice(question: ChoiceQuestion, raw: Raw) -> tuple[Answer, ...]:
    position = _position(question.options, raw)
    if position is None:
        return (Answer(question.name, math.nan, "", "unreadable"),)
    return (Answer(question.name, float(position), question.options[position], "ok"),)


def _multiple(question: MultipleQuestion, raw: Raw) -> tuple[Answer, ...]:
    if isinstance(raw, str):
        whole = _position(question.options, raw)
        raw = [raw] if whole is not None else [part for part in re.split(r"[;；、\n]", raw) if part.strip()] or None
    if not isinstance(raw, list):
        return _without_value(question, "unreadable")
    chosen = [_position(question.options, part) for part in raw]
    if None in chosen or len(set(chosen)) < len(chosen):
        return _without_value(question, "unreadable")
    if not question.at_least <= len(chosen) <= question.most:
        return _without_value(question, "out_of_range")
    return tuple(
        Answer(question.name, float(position in chosen), option, "ok")
        for position, option in enumerate(question.options)
    )


def _density(question: DensityQuestion, raw: Raw) -> tuple[Answer, ...]:
    labels = [b.label for b in question.bins]
    if isinstance(raw, list):
        raw = tuple(zip(labels, raw, strict=True)) if len(raw) == len(labels) else None
    if not isinstance(raw, tuple):
        return _without_value(question, "unreadable")
    probabilities: dict[int, float] = {}
    for label, share in raw:
        position, parsed = _position(labels, label), _parse_number(share, "%")
        if position is None or parsed is None or probabilities.setdefault(position, parsed[0]) != parsed[0]:
            return _without_value(question, "unreadable")
    if len(probabilities) < len(labels):
        return _without_value(question, "missing")
    shares = tuple(probabilities[position] for position in range(len(labels)))
    if not all(0 <= share <= 100 for share in shares) or abs(math.fsum(shares) - 100) > SUM_TOLERANCE:
        return _without_value(question, "out_of_range")
    return (Answer(question.name, math.nan, "", "ok", shares),)


_SURROGATE = re.compile("[\ud800-\udfff]")


def _text(question: TextQuestion, raw: Raw) -> tuple[Answer, ...]:
    """Keep the words as written, stripped at both ends; half of a surrogate pair is not a character."""
    if not isinstance(raw, str) or isinstance(raw, Bare):
        return _without_value(question, "unreadable")
    if not raw.isascii() and _SURROGATE.search(raw):
        return _without_value(question, "unreadable")
    words = raw.strip()
    if len(words) > question.max_characters:
        return _without_value(question, "out_of_range")
    return (Answer(question.name, math.nan, words, "ok"),)


_READERS: dict[str, Callable[[Any, Raw], tuple[Answer, ...]]] = {
    "number": _number,
    "choice": _choice,
    "multiple": _multiple,
    "scale": _scale,
    "density": _density,
    "text": _text,
}
