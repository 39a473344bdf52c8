"""What a tune learns from: a person's answer, or the answers of a group as shares; both are plain data.

Every reader of `popsim.tune.formats` gives one of the two and every writer takes one, so that a file of one shape can
be turned into another. What cannot be an answer is refused here, in one line that names the row.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Literal

from popsim.errors import TuneError

Status = Literal["ok", "missing", "unreadable"]
Unit = Literal["share", "percent"]
_NEAR = 0.05
"""Shares are taken as such when their sum is this near to 1, or as percent when it is as near to 100."""
_MOST_NUMBERS = 1001


@dataclass(frozen=True, slots=True)
class Item:
    """A question with what may be answered: options, or numbers from low to high, or free text.

    Attributes:
        name: Names the question within its study.
        text: The question as it is asked.
        options: What may be chosen, in the order of the questionnaire.
        places: Where each option stands on a scale; None for one without a place; empty where there is no order.
        low: The smallest number.
        high: The largest number.
        step: Numbers are low, low + step, ...
        missing: Codes that stand for no answer, such as 98.

    Example:
        >>> Item("q", "Do you agree?", options=("yes", "no")).letters
        'AB'
    """

    name: str
    text: str
    options: tuple[str, ...] = ()
    places: tuple[float | None, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float = 1.0
    missing: tuple[float | str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.options)) < len(self.options) or len(self.options) == 1:
            raise TuneError(f"question {self.name}: options must be two or more, none twice, not {list(self.options)}")
        if self.places and len(self.places) != len(self.options):
            raise TuneError(f"question {self.name}: {len(self.places)} places for {len(self.options)} options")
        if (self.low is None) != (self.high is None):
            raise TuneError(f"question {self.name}: a scale needs both low and high, or neither")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise TuneError(f"question {self.name}: low {self.low:g} must be below high {self.high:g}")
        if not self.step > 0:
            raise TuneError(f"question {self.name}: step must be above 0, not {self.step:g}")

    @property
    def letters(self) -> str:
        """A letter for each option, in alphabetical order.

        Raises:
            TuneError: There are more options than letters.
        """
        if len(self.options) > len(ascii_uppercase):
            raise TuneError(f"question {self.name}: {len(self.options)} options, but only 26 letters; merge some")
        return ascii_uppercase[: len(self.options)]

    @property
    def ordered(self) -> bool:
        """Whether at least two options have a place."""
        return sum(place is not None for place in self.places) > 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person answered to one question.

    Attributes:
        person: Who; unique within a file.
        item: The question.
        value: The option, the number or the text; None where there is no answer.
        status: ``ok``, ``missing`` (a missing code, no answer) or ``unreadable``; the last two are counted, not scored.
        facts: What is known of the person: label -> words.
        study: Where the question comes from.
        condition: What the person was shown before, by name.
        stimulus: The text of it.
        reasoning: A rationale, where the file has one.
        prompt: The whole prompt, where the file brings its own.
    """

    person: str
    item: Item
    value: str | float | None
    status: Status = "ok"
    facts: Mapping[str, str] = field(default_factory=dict)
    study: str = ""
    condition: str = ""
    stimulus: str = ""
    reasoning: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Shares:
    """How a group of people answered one question.

    Attributes:
        group: Who, in words.
        item: The question, with options.
        shares: Of each option; they sum to 1.
        study: Where the question comes from.
        split: The part that the file puts it in, such as ``train``.
        people: How many answered; 0 where nobody says.
        prompt: The whole prompt, where the file brings its own; it asks for the shares in words.
    """

    group: str
    item: Item
    shares: tuple[float, ...]
    study: str = ""
    split: str = ""
    people: int = 0
    prompt: str = ""


def make_answer(person: str, item: Item, value: str | float | None, where: str, **known: object) -> Answer:
    """Make an answer, or mark it missing, from a raw value.

    Args:
        person: Who.
        item: The question.
        value: As in the file; a missing code of the question gives status ``missing``.
        where: File and row, which begins the error message.
        known: The other attributes of `Answer`.

    Raises:
        TuneError: The value is no option of the question, or outside its scale.

    Example:
        >>> one = Item("q", "How happy?", low=1, high=7, missing=(98,))
        >>> make_answer("7", one, 98, "file, row 1").status
        'missing'
    """
    if value is None or value in item.missing or (isinstance(value, float) and math.isnan(value)):
        return Answer(person, item, None, "missing", **known)  # type: ignore[arg-type]
    if item.options and value not in item.options:
        raise TuneError(f"{where}: {value!r} is no option of {item.name}; allowed: {', '.join(item.options)}")
    if item.low is not None and item.high is not None:
        number = as_number(value, f"{where}: question {item.name}")
        if not item.low <= number <= item.high:
            raise TuneError(
                f"{where}: {number:g} lies outside the scale of {item.name}, {item.low:g} to {item.high:g}; "
                "declare it as a missing code or mend the row"
            )
        value = number
    return Answer(person, item, value, **known)  # type: ignore[arg-type]


def as_number(value: object, where: str) -> float:
    """Read a number.

    Raises:
        TuneError: It is none.

    Example:
        >>> as_number("4.5", "row 1")
        4.5
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TuneError(f"{where}: {value!r} is no number") from None
    if not math.isfinite(number):
        raise TuneError(f"{where}: {value!r} is no finite number")
    return number


def unit_of(values: Sequence[float], where: str) -> Unit:
    """Tell shares from percent by their sum: within 5 percent of 1 or of 100; anything else is refused.

    Args:
        values: The raw shares of all options.
        where: Begins the error message.

    Raises:
        TuneError: A value is negative, or the sum is neither.

    Example:
        >>> unit_of([20.0, 80.0], "row 1")
        'percent'
    """
    total = math.fsum(values)
    if any(not value >= 0 for value in values):
        raise TuneError(f"{where}: a share must be 0 or more, not {min(values):g}")
    if abs(total - 1) <= _NEAR:
        return "share"
    if abs(total - 100) <= 100 * _NEAR:
        return "percent"
    raise TuneError(f"{where}: shares sum to {total:g}; they must sum to 1 or to 100 (within 5 percent)")


def make_shares(group: str, item: Item, values: Sequence[float], where: str, **known: object) -> Shares:
    """Make a distribution, scaled to sum to 1.

    Args:
        group: Who.
        item: The question.
        values: Shares or percent, one for each option.
        where: File and row.
        known: The other attributes of `Shares`.

    Raises:
        TuneError: The values do not fit the options, or are no shares (`unit_of`).

    Example:
        >>> make_shares("Kenya", Item("q", "?", options=("a", "b")), [25, 75], "row 1").shares
        (0.25, 0.75)
    """
    if len(values) != len(item.options):
        raise TuneError(f"{where}: {len(values)} shares for the {len(item.options)} options of {item.name}")
    unit_of(values, where)
    total = math.fsum(values)
    return Shares(group, item, tuple(value / total for value in values), **known)  # type: ignore[arg-type]


def same_unit(rows: Sequence[tuple[str, Sequence[float]]]) -> None:
    """Refuse a file that holds shares in some rows and percent in others.

    Args:
        rows: Where each row stands, and its raw shares.

    Raises:
        TuneError: Two rows differ.

    Example:
        >>> same_unit([("row 1", [0.5, 0.5]), ("row 2", [50, 50])])
        Traceback (most recent call last):
        popsim.errors.TuneError: row 2: is in percent, but row 1 in shares; use one unit in a file
    """
    found = [(where, unit_of(values, where)) for where, values in rows]
    for where, unit in found[1:]:
        if unit != found[0][1]:
            names = {"share": "shares", "percent": "percent"}
            raise TuneError(
                f"{where}: is in {names[unit]}, but {found[0][0]} in {names[found[0][1]]}; use one unit in a file"
            )


def pool(answers: Sequence[Answer], by: Sequence[str]) -> list[Shares]:
    """Count the answers of groups of people as shares, one distribution for each group and question with options.

    Args:
        answers: Of persons; those without status ``ok`` are left out.
        by: The facts that make a group.

    Raises:
        TuneError: A person lacks one of the facts.

    Example:
        >>> q = Item("q", "?", options=("a", "b"))
        >>> people = [Answer(str(i), q, "a" if i else "b", facts={"sex": "female"}) for i in range(4)]
        >>> pool(people, ["sex"])[0].shares
        (0.75, 0.25)
    """
    counts: dict[tuple[str, str, Item], list[int]] = {}
    for answer in answers:
        if answer.status != "ok" or not answer.item.options:
            continue
        if lacks := [name for name in by if name not in answer.facts]:
            raise TuneError(
                f"person {answer.person}: has no {lacks[0]!r}; known: {', '.join(answer.facts) or 'nothing'}"
            )
        group = "; ".join(f"{name}: {answer.facts[name]}" for name in by)
        key = (group, answer.study, answer.item)
        row = counts.setdefault(key, [0] * len(answer.item.options))
        row[answer.item.options.index(str(answer.value))] += 1
    return [
        Shares(group, item, tuple(one / sum(row) for one in row), study, people=sum(row))
        for (group, study, item), row in counts.items()
    ]


def numbers_of(item: Item) -> tuple[float, ...]:
    """List the numbers of a scale; none where it has no ends or too many numbers.

    Example:
        >>> numbers_of(Item("q", "?", low=1, high=2, step=0.5))
        (1.0, 1.5, 2.0)
    """
    if item.low is None or item.high is None or (item.high - item.low) / item.step > _MOST_NUMBERS - 1:
        return ()
    count = round((item.high - item.low) / item.step) + 1
    return tuple(float(round(item.low + i * item.step, 9)) for i in range(count))
