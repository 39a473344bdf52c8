"""What a scenario says about its network, told apart by ``kind:``."""

from typing import Annotated, Literal

from pydantic import Field

from popsim.files import Frozen

Odds = Annotated[float, Field(ge=0.001, le=1000)]


class NoNetwork(Frozen):
    """Nobody follows anybody."""

    kind: Literal["none"]


class FollowNetwork(Frozen):
    """A directed follow graph with famous people, and with likes following likes."""

    kind: Literal["follow"]
    mean_degree: float = Field(gt=0)
    """People that a person follows on average; the mean number of followers is the same."""
    homophily: dict[str, Odds] = Field(default_factory=dict)
    """Odds ratio by attribute: of two equally famous people, the one who has my value is this many times as likely to
    be followed by me. 1 is neutral, below 1 means that opposites attract, and attributes multiply."""
    tail_exponent: float = Field(default=2.3, ge=2.1, le=10)
    """The share of people with k followers falls as k to the power of minus this; about 2.3 on Twitter."""
    reciprocity: float | None = Field(default=None, gt=0, le=1)
    """Share of ties that are returned; left to chance unless given."""


NetworkSpec = Annotated[NoNetwork | FollowNetwork, Field(discriminator="kind")]
