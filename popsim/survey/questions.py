"""What can be asked: six kinds of question, told apart by ``kind:``."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from popsim.files import Frozen, describe
from popsim.survey.lenient import fold

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _refuse_twins(what: str, labels: Iterable[str | None]) -> None:
    """Refuse two labels that a reader of answers cannot tell apart."""
    seen: dict[str, str] = {}
    for label in labels:
        if label is None:
            continue
        if fold(label) in seen:
            raise ValueError(f"{what} {label!r} reads like {seen[fold(label)]!r}; case, spaces and width do not count")
        seen[fold(label)] = label


class Reference(Frozen):
    """Published human moments of one question, which ``baseline`` is fitted to."""

    source: Text
    """Where the figures were read."""
    mean: float | None = None
    """Mean answer of a number or scale question, in the question's unit."""
    sd: float | None = Field(default=None, gt=0)
    """Standard deviation between respondents, in the question's unit."""
    shares: dict[str, float] = {}
    """Share of respondents per option; they are scaled to sum to 1 for a choice."""
    means: dict[Annotated[float, Field(gt=0, lt=1)], float] = {}
    """Of a density question: share of respondents -> the value that the means of so many's own densities lie below."""
    iqr: float | None = Field(default=None, gt=0)
    """Of a density question: the median over respondents of their own density's interquartile range."""

    @model_validator(mode="after")
    def _says_something(self) -> "Reference":
        if (self.mean is None) != (self.sd is None):
            raise ValueError("mean and sd go together")
        if bool(self.means) != (self.iqr is not None):
            raise ValueError("means and iqr go together")
        if self.mean is None and not self.shares and not self.means:
            raise ValueError("give mean and sd, or shares, or means and iqr")
        points = sorted(self.means.items())
        if len(points) == 1 or any(low[1] >= high[1] for low, high in pairwise(points)):
            raise ValueError("means: give at least two values, which rise with the shares")
        if any(share < 0 for share in self.shares.values()):
            raise ValueError("shares cannot be negative")
        return self


class _Asked(Frozen):
    """What every kind of question has."""

    name: Name
    """Names the question in tables."""
    key: str = ""
    """Its key in the JSON answer; the name unless given."""
    text: Text
    """The question as it is asked; may hold ``{{parameters}}``."""
    lead: str = ""
    """What stands once above questions in a row that share it and are answered alike, as a grid is (`Grid`)."""
    label: str = ""
    """What stands before the blank to fill in, as on a paper form."""
    dont_know: Text | None = None
    """The words of a legal "don't know", where the question has one."""
    refusal: Text | None = None
    """The words of a legal refusal, where the question has one."""
    reference: Reference | None = None
    """Human moments, for the baseline engine."""
    references: dict[Name, Reference] = {}
    """The same for a group of respondents that answered otherwise, by the scenario's ``group``."""

    @property
    def json_key(self) -> str:
        """The key of the answer in the JSON object."""
        return self.key or self.name

    @property
    def named_shares(self) -> set[str]:
        """What the human moments give shares of."""
        given = (self.reference, *self.references.values())
        return {option for one in given if one for option in one.shares}

    @model_validator(mode="after")
    def _words(self) -> "_Asked":
        _refuse_twins("answer", (self.dont_know, self.refusal))
        return self


class NumberQuestion(_Asked):
    """A number in a range."""

    kind: Literal["number"]
    minimum: float
    maximum: float
    decimals: int = Field(default=0, ge=0, le=6)
    """Decimal places that are allowed."""
    unit: str = ""
    """Written behind the number, for example ``%``."""
    anchor: float | None = None
    """A level that the question states, for example today's rate."""

    @model_validator(mode="after")
    def _range(self) -> "NumberQuestion":
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum:g} must be below maximum {self.maximum:g}")
        scale = 10**self.decimals
        if math.ceil(round(self.minimum * scale, 6)) > math.floor(round(self.maximum * scale, 6)):
            raise ValueError(
                f"no number with {self.decimals} decimals lies from {self.minimum:g} to {self.maximum:g}; allow more"
            )
        if self.anchor is not None and not self.minimum <= self.anchor <= self.maximum:
            raise ValueError(f"anchor {self.anchor:g} lies outside {self.minimum:g} to {self.maximum:g}")
        return self


class _Options(_Asked):
    options: tuple[Text, ...] = Field(min_length=2)
    """The answers to choose from, in the order shown."""
    shuffle: bool = False
    """Whether each respondent is shown them in an order of their own, which assignment.parquet tells."""

    @model_validator(mode="after")
    def _distinct(self) -> "_Options":
        _refuse_twins("option", (*self.options, self.dont_know, self.refusal))
        unknown = self.named_shares - set(self.options)
        if unknown:
            raise ValueError(f"reference.shares names {sorted(unknown)}, which is not among the options")
        return self


class ChoiceQuestion(_Options):
    """One of several options."""

    kind: Literal["choice"]


class MultipleQuestion(_Options):
    """Some of several options."""

    kind: Literal["multiple"]
    at_least: int = Field(default=0, ge=0)
    at_most: int | None = None

    @model_validator(mode="after")
    def _counts(self) -> "MultipleQuestion":
        if not self.at_least <= self.most <= len(self.options):
            raise ValueError(f"at_least {self.at_least} and at_most {self.most} do not fit {len(self.options)} options")
        return self

    @property
    def most(self) -> int:
        """The largest number of options that may be chosen."""
        return len(self.options) if self.at_most is None else self.at_most


class ScaleQuestion(_Asked):
    """A whole number on a labelled scale."""

    kind: Literal["scale"]
    minimum: int
    maximum: int
    labels: dict[int, str] = {}
    """Words for some of the points, for example the two ends."""

    @model_validator(mode="after")
    def _range(self) -> "ScaleQuestion":
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} must be below maximum {self.maximum}")
        outside = [point for point in self.labels if not self.minimum <= point <= self.maximum]
        if outside:
            raise ValueError(f"labels {outside} lie outside {self.minimum} to {self.maximum}")
        return self


class Bin(Frozen):
    """A range of values that probability is put on; an end that is left out is open."""

    label: Text
    low: float | None = None
    high: float | None = None


class DensityQuestion(_Asked):
    """Probabilities of bins, which sum to 100."""

    kind: Literal["density"]
    bins: tuple[Bin, ...] = Field(min_length=2)
    """From the lowest to the highest."""

    @model_validator(mode="after")
    def _ordered(self) -> "DensityQuestion":
        labels = [b.label for b in self.bins]
        _refuse_twins("bin label", labels)
        if self.reference and self.reference.means and any(b.high is None for b in self.bins[:-1]):
            raise ValueError("reference.means need bins with limits")
        unknown = self.named_shares - set(labels)
        if unknown:
            raise ValueError(f"reference.shares names {sorted(unknown)}, which is not among the bins")
        for left, right in zip(self.bins, self.bins[1:], strict=False):
            if left.high is None or right.low is None or left.high > right.low:
                raise ValueError(f"bins {left.label!r} and {right.label!r} overlap or have an open end between them")
        for b in self.bins:
            if b.low is not None and b.high is not None and b.low >= b.high:
                raise ValueError(f"bin {b.label!r}: low {b.low:g} must be below high {b.high:g}")
        return self


class TextQuestion(_Asked):
    """Free words."""

    kind: Literal["text"]
    length: str = ""
    """How long an answer should be, in words for the respondent."""
    max_characters: int = Field(default=4000, ge=1)


Question = Annotated[
    NumberQuestion | ChoiceQuestion | MultipleQuestion | ScaleQuestion | DensityQuestion | TextQuestion,
    Field(discriminator="kind"),
]


_IN_GRIDS = ("scale", "choice", "multiple", "number")


class Grid(Frozen):
    """Several items that are answered alike, written as one; each becomes a question ``GRID_ITEM`` of its own."""

    kind: Literal["grid"]
    name: Name
    key: str = ""
    text: Text
    """Stands once above the items."""
    items: dict[Name, Text] = Field(min_length=2)
    """Name -> words."""
    each: dict[str, Any]
    """How every item is answered: the ``kind`` of a question, and what that kind takes."""


def expand_grids(questions: Any) -> Any:
    """Write every grid among some questions, as plain data, as the questions that it stands for.

    Example:
        >>> each = {"kind": "scale", "minimum": 0, "maximum": 10}
        >>> grid = {"kind": "grid", "name": "trust", "text": "Whom?", "items": {"a": "A", "b": "B"}, "each": each}
        >>> [question["name"] for question in expand_grids([grid])]
        ['trust_a', 'trust_b']
    """
    if not isinstance(questions, list | tuple):
        return questions
    return tuple(one for question in questions for one in _expanded(question))


def _expanded(question: Any) -> list[Any]:
    if not isinstance(question, dict) or question.get("kind") != "grid":
        return [question]
    try:
        grid = Grid.model_validate(question)
    except ValidationError as problem:
        raise ValueError(f"grid {question.get('name', '')}: {describe(problem, Grid)}") from None
    own = {"name", "key", "text", "lead", "label", "shuffle"} & set(grid.each)
    if own:
        raise ValueError(f"grid {grid.name}: each.{min(own)}: is not the same for all items of a grid; take it out")
    if grid.each.get("kind") not in _IN_GRIDS:
        raise ValueError(f"grid {grid.name}: each.kind: {grid.each.get('kind')!r}; allowed: {', '.join(_IN_GRIDS)}")
    return [
        {
            **grid.each,
            "name": f"{grid.name}_{item}",
            "key": f"{grid.key or grid.name}_{item}",
            "text": words,
            "lead": grid.text,
            "label": words,
        }
        for item, words in grid.items.items()
    ]


def option_labels(question: Any) -> tuple[str, ...]:
    """List the options of a choice or multiple question, or the bins of a density question; else nothing.

    Example:
        >>> option_labels(ChoiceQuestion(kind="choice", name="q", text="?", options=("yes", "no")))
        ('yes', 'no')
    """
    if isinstance(question, _Options):
        return question.options
    if isinstance(question, DensityQuestion):
        return tuple(b.label for b in question.bins)
    return ()
