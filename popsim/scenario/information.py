"""What a scenario says about information: news that comes in, and how it spreads."""

from typing import Annotated

from pydantic import Field

from popsim.files import Frozen
from popsim.survey.questions import Name, Text

Share = Annotated[float, Field(ge=0, le=1)]


class Signal(Frozen):
    """The number that a piece of news carries."""

    variable: Name
    """What the number is about; it moves a belief only about the same variable in the same unit."""
    value: float
    sd: float = Field(gt=0)
    """Its standard deviation, in the unit of the value."""
    unit: Text


class News(Frozen):
    """An item that enters at a step, reaches some people directly, and is passed on to followers."""

    name: Name
    step: int = Field(default=0, ge=0)
    text: Text
    source: Text
    reach: Share
    """Share of people who hear it directly."""
    passed_on: Share = 0.0
    """Probability that one who has just heard it passes it to a given follower."""
    signal: Signal | None = None
