"""What a scenario says about information: news that comes in, beliefs that it moves, and opinions that people share."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from popsim.files import Frozen
from popsim.population import CONFIDENCE_LEVELS
from popsim.survey.questions import Name, Text

Share = Annotated[float, Field(ge=0, le=1)]
Above0 = Annotated[float, Field(gt=0)]
EVERYBODY = "all"


class Signal(Frozen):
    """The number that a piece of news carries."""

    variable: Name
    """What the number is about; it moves a belief only about the same variable in the same unit."""
    value: float
    sd: float = Field(gt=0)
    """Its standard deviation, in the unit of the value."""
    unit: Text


class News(Frozen):
    """An item that enters at a step, reaches some people directly, and is passed on to followers.

    Mass media reach people directly (``reach``); people reach their followers (``passed_on``). ``assigned`` shows it to
    a random share of people by experiment, whatever reaches them otherwise.
    """

    name: Name
    step: int = Field(default=0, ge=0)
    text: Text
    """May hold ``{{value}}``, which is the signal's."""
    source: Text
    placebo: Text | None = None
    """What the item says instead where the scenario asks for placebo news: the same spread without the content."""
    reach: Share = 0.0
    """Share of people who hear it directly."""
    first: Literal["random", "most_followed"] = "random"
    """Whether these are drawn or are those with the most followers."""
    odds: dict[Name, dict[str, Above0]] = {}
    """For some values of some attributes, how many times as likely as others they are to hear it directly."""
    assigned: Share | None = None
    """Share of people to whom an experiment shows it; assignment.parquet says who."""
    passed_on: Share = 0.0
    """Probability that one who has just heard it passes it to a given follower."""
    by_confidence: float = 0.0
    """Log-odds that are added to that from middle to full confidence."""
    by_agreement: float = 0.0
    """Log-odds that are added to that where the signal is just what the person believes."""
    rule: Literal["cascade", "threshold"] = "cascade"
    """``threshold``: a person takes it up, and passes it on, once enough of whom they follow have it."""
    life: int | None = Field(default=None, ge=0)
    """Steps after its own in which it is still passed on; for ever unless given."""
    signal: Signal | None = None

    @model_validator(mode="after")
    def _comes_out(self) -> "News":
        if self.first == "most_followed" and self.odds:
            raise ValueError("odds: go with first: random, not with first: most_followed")
        if "{{value}}" in self.text and self.signal is None:
            raise ValueError("text: {{value}} is the signal's; give the item a signal, or write the number")
        if self.by_agreement and self.signal is None:
            raise ValueError("by_agreement: agreement needs a signal")
        if self.rule == "threshold" and (self.passed_on or self.by_confidence or self.by_agreement):
            raise ValueError("rule threshold: everybody has a threshold of their own; take out passed_on and by_...")
        return self

    @property
    def spreads(self) -> bool:
        """Whether it moves from person to person."""
        return self.passed_on > 0 or self.rule == "threshold"


class DeGroot(Frozen):
    """Everyone takes the mean of those they follow, with some weight on their own."""

    rule: Literal["degroot"]
    own: Share = 0.5


class FriedkinJohnsen(Frozen):
    """Everyone mixes what they think by themselves with the mean of those they follow; the confident mix in less."""

    rule: Literal["friedkin_johnsen"]
    sd: Above0
    """How far off the mean of those one follows may be, in the unit; beside one's own SD it gives the weight."""


class BoundedConfidence(Frozen):
    """Everyone takes the mean of themselves and of those they follow who think alike."""

    rule: Literal["bounded_confidence"]
    within: Above0 = 2.0
    """What is alike, in own standard deviations; the confident are narrower."""


Opinions = Annotated[DeGroot | FriedkinJohnsen | BoundedConfidence, Field(discriminator="rule")]


class BeliefSettings(Frozen):
    """What people believe about one variable at first, and how others move it; signals move it by Bayes' rule."""

    unit: Text
    source: Text
    """Where the quantiles were read."""
    quantiles: dict[str, dict[Annotated[float, Field(gt=0, lt=1)], float]] = Field(min_length=1)
    """By value of the attribute ``by``, or under ``all``: value by probability, at least two."""
    by: Name | None = None
    """The attribute of people whose values have quantiles of their own."""
    sd: Above0 | dict[str, Above0]
    """Standard deviation of each person's own belief, in the unit: one number, or one per level of confidence."""
    every_telling: bool = False
    """Whether a source counts every time that somebody brings it, and not once."""
    opinions: Opinions | None = None
    """How beliefs move towards those of whom one follows, at every step; not at all unless given."""

    @field_validator("quantiles")
    @classmethod
    def _rise(cls, quantiles: dict[str, dict[float, float]]) -> dict[str, dict[float, float]]:
        for value, table in quantiles.items():
            ranked = [table[chance] for chance in sorted(table)]
            if len(table) < 2 or ranked != sorted(ranked):
                raise ValueError(f"{value}: give at least two quantiles, whose values do not fall")
        return quantiles

    @model_validator(mode="after")
    def _knows_whom(self) -> "BeliefSettings":
        if self.by is None and set(self.quantiles) != {EVERYBODY}:
            raise ValueError(f"quantiles: stand under {EVERYBODY!r}, or name the attribute in by:")
        if isinstance(self.sd, dict) and set(self.sd) != set(CONFIDENCE_LEVELS):
            raise ValueError(f"sd: give one number, or one for each of {', '.join(CONFIDENCE_LEVELS)}")
        return self


class PostSettings(Frozen):
    """Respondents who post what they wrote in a wave, for their followers to come across before the next."""

    share: Share
    """Share of respondents who post after a wave; a bare number in the file is this."""
    seen: Share = 1.0
    """Probability that a given follower comes across a post."""
    question: Name | None = None
    """The open question whose answer is posted; the first one unless given."""


def check_news(
    news: Sequence[News], beliefs: Mapping[str, BeliefSettings], *, last_wave: int, placebo: bool = False
) -> None:
    """Check that news and beliefs fit together.

    Args:
        news: The items of a scenario.
        beliefs: By variable.
        last_wave: The step of the last wave.
        placebo: Whether placebo texts are shown.

    Raises:
        ValueError: An item comes too late, has no placebo text, or says a number in another unit than the belief.
    """
    for i, item in enumerate(news):
        if item.step > last_wave:
            raise ValueError(
                f"news.{i}.step: {item.name} comes out at step {item.step}, after the last wave ({last_wave})"
            )
        if placebo and item.placebo is None:
            raise ValueError(f"news.{i}.placebo: {item.name} has none, and placebo_news is on")
        belief = beliefs.get(item.signal.variable) if item.signal else None
        if item.signal and belief and belief.unit != item.signal.unit:
            raise ValueError(
                f"news.{i}.signal.unit: {item.signal.unit!r}, but the belief about {item.signal.variable} is in "
                f"{belief.unit!r}; a number in another unit says nothing about it: leave the signal out"
            )
        if item.by_agreement and belief is None:
            raise ValueError(f"news.{i}.by_agreement: there is no belief about the signal's variable to agree with")


def check_posts(posts: PostSettings, questions: Sequence[str]) -> None:
    """Check that there is something to post.

    Args:
        posts: What the scenario says.
        questions: The open questions of the questionnaire.

    Raises:
        ValueError: There is none, or none of that name.
    """
    if not questions:
        raise ValueError("share_opinions: the questionnaire has no open question whose answers could be posted")
    if posts.question is not None and posts.question not in questions:
        raise ValueError(
            f"share_opinions.question: {posts.question!r} is no open question; allowed: {', '.join(questions)}"
        )
