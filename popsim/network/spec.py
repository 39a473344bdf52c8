"""What a scenario says about its network, told apart by ``kind:``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from popsim.files import Frozen

Odds = Annotated[float, Field(ge=0.001, le=1000)]
Placebo = Literal["rewired", "shuffled", "none"]


class NoNetwork(Frozen):
    """Nobody follows anybody."""

    kind: Literal["none"]


class _Graph(Frozen):
    """What every network with ties may say."""

    placebo: Placebo | None = None
    """A control in place of the graph: ``rewired`` swaps who is followed and keeps how many each person follows and is
    followed by; ``shuffled`` keeps the graph and deals the people anew to its places; ``none`` takes all ties away."""


class FollowNetwork(_Graph):
    """A directed follow graph with famous people, likes following likes, and friends of friends."""

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
    closure: float = Field(default=0, ge=0, le=0.7)
    """Share of chosen ties whose choice falls on someone followed by someone whom the chooser follows already."""


class SmallWorldNetwork(_Graph):
    """A ring of neighbours who follow each other, with shortcuts (Watts and Strogatz 1998)."""

    kind: Literal["small_world"]
    mean_degree: int = Field(ge=2)
    """People that a person follows on average, an even number: half of them to each side of the ring."""
    shortcuts: float = Field(default=0.1, ge=0, le=1)
    """Share of ties that lead anywhere instead of to a neighbour."""

    @field_validator("mean_degree")
    @classmethod
    def _is_even(cls, value: int) -> int:
        return _even(value)


class PreferentialNetwork(_Graph):
    """Newcomers tie themselves to people who have many ties, and are followed back (Barabasi and Albert 1999)."""

    kind: Literal["preferential"]
    mean_degree: int = Field(ge=2)
    """People that a person follows on average, an even number: a newcomer brings half as many ties."""

    @field_validator("mean_degree")
    @classmethod
    def _is_even(cls, value: int) -> int:
        return _even(value)


class BlockNetwork(_Graph):
    """A directed stochastic block model: who follows whom depends on one attribute alone."""

    kind: Literal["block"]
    attribute: str
    """The attribute whose values are the blocks."""
    mixing: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = Field(min_length=1)
    """For each value of the follower: how many people of each value they follow on average, 0 where not named."""

    @model_validator(mode="after")
    def _names_only_its_own(self) -> "BlockNetwork":
        for follower, row in self.mixing.items():
            for followed in row:
                if followed not in self.mixing:
                    raise ValueError(
                        f"mixing.{follower}: {followed!r} has no row of its own; allowed: {', '.join(self.mixing)}"
                    )
        return self


class FileNetwork(_Graph):
    """A user's own ties: a CSV or Parquet table with a row per tie, or a GraphML file."""

    kind: Literal["file"]
    path: str
    """The file. A table has columns ``follower`` and ``followed`` and may have ``weight``, the attention of the tie; in
    a GraphML file a tie runs from the follower to the followed, or both ways where it has no direction."""
    sha256: str = ""
    """Of the file, filled in when the scenario is read, so that other ties make another study."""
    id: str | None = None
    """The attribute of the people by which the file names them; their row number, from 0, unless given."""

    @field_validator("path")
    @classmethod
    def _is_readable(cls, value: str) -> str:
        if Path(value).suffix.lower() not in (".csv", ".parquet", ".graphml"):
            raise ValueError(f"{value!r} ends in none of .csv, .parquet, .graphml")
        return value


def _even(value: int) -> int:
    if value % 2:
        raise ValueError(f"should be even, not {value}; allowed: {value - 1} or {value + 1}")
    return value


TiedNetwork = FollowNetwork | SmallWorldNetwork | PreferentialNetwork | BlockNetwork | FileNetwork
NetworkSpec = Annotated[NoNetwork | TiedNetwork, Field(discriminator="kind")]
