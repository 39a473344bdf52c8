"""What a population file says of numbers, levels, confidence and priors, which no margin gives."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from popsim.files import Frozen
from popsim.population.tables import unknown

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Status = Literal["found", "recalled", "assumption"]
"""Read in a source, remembered and to be verified, or a choice of this file's author."""

CONFIDENCE_LEVELS = ("extremely weak", "weak", "moderate", "strong", "extremely strong")
"""The five words for a respondent's confidence, weakest first."""


def check_limits(lowest: Mapping[str, float], quantiles: Mapping[str, float]) -> None:
    """Check the limits by which numbers are turned into words.

    Args:
        lowest: Word -> the lowest number that it is used for.
        quantiles: Word -> the share of people below it.

    Raises:
        ValueError: They do not rise, or the shares do not begin at 0.
    """
    for key, limits in (("lowest", lowest), ("quantiles", quantiles)):
        if any(low >= high for low, high in pairwise(limits.values())):
            raise ValueError(f"{key}: the numbers must rise, not {list(limits.values())}")
    if quantiles and min(quantiles.values()) != 0:
        raise ValueError(f"quantiles: must begin at 0, not at {min(quantiles.values()):g}")


class Number(Frozen):
    """An exact number inside the band that a person is in."""

    of: Name
    """The attribute whose levels are the bands."""
    kind: Literal["years", "money"]
    """Whole years spread evenly, or amounts spread evenly on the log scale."""
    bounds: dict[Text, tuple[float, float]]
    """Band -> lowest number in it, and the first number above it."""
    tail: Annotated[float, Field(gt=0)] | None = None
    """Top band: mean years above its lower end (exponential), or the exponent of a Pareto tail for money."""
    steps: dict[float, float] = {}
    """From this amount on -> the step to which a person would round it."""
    at_least: dict[Name, dict[Text, float]] = {}
    """Attribute -> level -> lowest possible number, where the band leaves room."""

    @field_validator("bounds")
    @classmethod
    def _ordered(cls, bounds: dict[str, tuple[float, float]], info: ValidationInfo) -> dict[str, tuple[float, float]]:
        least = 0.0 if info.data.get("kind") == "years" else 1e-9
        for band, (low, high) in bounds.items():
            if not least <= low < high:
                raise ValueError(f"{band}: needs two numbers above 0 in rising order, not {low:g}, {high:g}")
        return bounds


class Level(Frozen):
    """A word such as low, middle or high that is worked out from another column."""

    of: Name
    lowest: dict[Text, float] = {}
    """Word -> the lowest number that it is used for, rising."""
    quantiles: dict[Text, Annotated[float, Field(ge=0, lt=1)]] = {}
    """Word -> the share of the people drawn whose number is below it, rising from 0."""
    members: dict[Text, tuple[Text, ...]] = {}
    """Word -> the levels that it is used for."""

    @model_validator(mode="after")
    def _one_way(self) -> "Level":
        if sum(map(bool, (self.lowest, self.quantiles, self.members))) != 1:
            raise ValueError("give one of lowest, quantiles (of a number) and members (of an attribute)")
        check_limits(self.lowest, self.quantiles)
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """The words, in order."""
        return tuple(self.lowest or self.quantiles or self.members)


class Gradient(Frozen):
    """How a published measure of uncertainty varies over one column."""

    values: dict[Text, Annotated[float, Field(gt=0)]]
    """Level -> the measure; only its logarithm relative to the average counts."""
    shrink: float = Field(default=1.0, ge=0, le=1)
    """Multiplies the log ratios, where gradients overlap."""
    source: str
    year: int | str
    status: Status


class Confidence(Frozen):
    """Five levels of confidence from a latent uncertainty: gradients plus noise, ranked over the people drawn."""

    shares: dict[Literal[CONFIDENCE_LEVELS], Annotated[float, Field(ge=0)]]  # type: ignore[valid-type]
    gradients: dict[Name, Gradient] = {}
    noise: float = Field(gt=0)
    """Standard deviation of the part of log uncertainty that no attribute explains."""
    status: Status
    """Of the shares and the noise."""
    note: str = ""

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: dict[str, float]) -> dict[str, float]:
        if tuple(shares) != CONFIDENCE_LEVELS or abs(sum(shares.values()) - 1) > 1e-9:
            raise ValueError(f"give a share for each of {', '.join(CONFIDENCE_LEVELS)}, in this order, summing to 1")
        return shares


class Period(Frozen):
    """Published answers of one period, in percent."""

    shares: dict[Name, tuple[Annotated[float, Field(ge=0)], ...]]
    """Column -> percent per level, in the order of ``columns``."""
    dont_know: dict[Name, Annotated[float, Field(ge=0)]] = {}
    """Column -> percent without an answer, spread over the levels in proportion."""


class Priors(Frozen):
    """Prior expectations, drawn jointly from a table of periods with a tilt by the party in power."""

    columns: dict[Name, tuple[Text, ...]] = Field(min_length=1)
    """Column -> its levels from the most pessimistic to the most optimistic."""
    by: Name | None = None
    """The attribute whose levels lean with or against the party in power."""
    sides: dict[Text, Text] = {}
    """Party that may be in power -> its level of ``by``. Levels that stand nowhere follow the national average."""
    in_power: Text | None = None
    party_tilt: float = 0.0
    """Log odds, per step of optimism, between the followers of the party in power and those of the others."""
    association: float = 0.0
    """Log odds by which pessimism in one column goes with pessimism in another, per step and step."""
    period: str
    periods: dict[Text, Period] = Field(min_length=1)
    source: Text
    status: Status
    note: str = ""

    @model_validator(mode="after")
    def _fits(self) -> "Priors":
        for name, period in self.periods.items():
            for column in self.columns:
                shares = period.shares.get(column, ())
                total = sum(shares) + period.dont_know.get(column, 0.0)
                if len(shares) != len(self.columns[column]) or abs(total - 100) > 1:
                    raise ValueError(
                        f"periods.{name}.shares.{column}: give percent for {', '.join(self.columns[column])}; with "
                        f"dont_know they sum to 100, not {total:g}"
                    )
        if self.period not in self.periods:
            raise ValueError(f"period: {unknown('period', self.period, list(self.periods))}")
        if bool(self.sides) != (self.in_power is not None) or bool(self.sides) != (self.by is not None):
            raise ValueError("by, sides and in_power go together")
        if self.in_power is not None and self.in_power not in self.sides:
            raise ValueError(f"in_power: {unknown('party', self.in_power, list(self.sides))}")
        return self
