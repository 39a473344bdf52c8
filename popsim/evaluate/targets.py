"""Targets: published human figures as data, each with where it comes from and how exact it is."""

from collections.abc import Mapping
from datetime import date
from math import hypot, sqrt
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from popsim.errors import TargetError
from popsim.evaluate.rows import HumanRows
from popsim.files import Frozen, find_file, read_yaml, validate
from popsim.scenario.analysis import DIRECTIONS as DIRECTIONS
from popsim.scenario.analysis import Statistic
from popsim.survey.questions import Name, Text

POOLED = "pooled_reversed"
CONTRAST = "contrast"
JOINT = ("both_fall", "fall_rise", "rise_fall", "both_rise", "other")


class Target(Frozen):
    """One human figure."""

    vignette: Name
    outcome: Name | tuple[Name, Name]
    """A change that the vignette's ``reference`` declares, or one of its questions; a pair for a joint share."""
    group: Name
    """Who answered; the simulated respondents of the same ``group`` are compared with them."""
    statistic: Statistic
    """``effect`` is the first of ``arms`` less the second, ``asymmetry`` their sum: 0 where both are mirror images."""
    of: str = ""
    """Whose share: ``fall``, ``same`` or ``rise`` of a change, two directions of a joint share, or an option; of a
    quantile the share of the answers below it, 0.5 for a median."""
    pooling: Name
    """An arm; ``pooled_reversed``: the mean over ``arms`` with the ``reversed`` ones times -1; or ``contrast``."""
    arms: tuple[Name, ...] = ()
    """The arms of a pooled figure or of a contrast."""
    reversed: tuple[Name, ...] = ()
    value: float
    """In the unit of the answers; shares between 0 and 1."""
    se: float | None = Field(default=None, gt=0)
    """Sampling error. Without one a share has a binomial one, an SD one as large for its size as the simulated SD."""
    reading_error: float = Field(default=0, ge=0)
    """Standard error of reading the figure off a picture."""
    rounding: float = Field(default=0, ge=0)
    """The step to which the figure was rounded."""
    n: int = Field(gt=1)
    """Human respondents behind the figure."""
    wave: str
    """Of the human survey."""
    form: Literal["levels", "direct"]
    """A change between two answered levels, or one answer as it was given."""
    population: Text
    weighted: bool
    """Whether the human figure was weighted; a simulated one always is, by the weights of its people."""
    trim: float = Field(default=0.05, ge=0, lt=0.5)
    """Of a trimmed SD: in each arm the floor of this share of the ranks goes from each tail, ties by rank."""
    margin: float | None = Field(default=None, gt=0)
    """Gap that does not matter, in the unit of ``value``; 0.2 human SD or 0.05 of a share unless given."""
    family: Name = "all"
    """Figures that are tested together."""
    published: date
    source: Text
    obtained: Literal["read", "digitised", "computed"]
    """Read in the source, digitised from a picture, or computed from figures or rows that were."""

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arms that the figure is taken from."""
        return self.arms or (self.pooling,)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcomes that it is about."""
        return (self.outcome,) if isinstance(self.outcome, str) else self.outcome

    @property
    def label(self) -> str:
        """The figure in a few words."""
        what = f"{self.statistic} {self.of}".strip()
        return f"{what} of {' and '.join(self.outcomes)}, {self.vignette}, {self.group}, {self.pooling}"

    @property
    def own_error(self) -> float:
        """The error that is this figure's alone: of reading and of rounding."""
        return hypot(self.reading_error, self.rounding / sqrt(12))

    @model_validator(mode="after")
    def _makes_sense(self) -> "Target":
        shares, quantile = self.statistic in ("share", "joint_share"), self.statistic == "quantile"
        pair, contrast = self.statistic == "joint_share", self.statistic in ("effect", "asymmetry")
        problems = [
            (shares and not 0 <= self.value <= 1, f"value: a share lies between 0 and 1, not {self.value:g}"),
            (self.statistic.endswith("sd") and self.value <= 0, f"value: an SD is positive, not {self.value:g}"),
            (
                (shares or quantile) != bool(self.of),
                f"of: {'does not belong to' if self.of else 'is missing from'} a {self.statistic}",
            ),
            (quantile and not _is_share(self.of), f"of: {self.of!r}; a quantile has a number between 0 and 1"),
            (quantile and self.margin is None, "margin: is missing; a quantile needs the gap that does not matter"),
            (pair != (len(self.outcomes) == 2), f"outcome: {self.statistic} is about {1 + pair} of them"),
            (pair and self.of not in JOINT, f"of: {self.of!r} is unknown. Allowed: {', '.join(JOINT)}"),
            (
                (self.pooling in (POOLED, CONTRAST)) != bool(self.arms),
                f"arms: go with pooling {POOLED} or {CONTRAST}, not with {self.pooling}",
            ),
            (contrast != (self.pooling == CONTRAST), f"pooling: {CONTRAST} goes with effect and asymmetry"),
            (contrast and len(self.arms) != 2, f"arms: a contrast has two, not {len(self.arms)}"),
            (
                (self.statistic.endswith("sd") or quantile) and self.pooling == POOLED,
                f"pooling: {'a quantile' if quantile else 'an SD'} is taken by arm; name the arm",
            ),
            (not set(self.reversed) <= set(self.arms), "reversed: names an arm that arms does not"),
            (
                not shares and not self.statistic.endswith("sd") and self.se is None,
                f"se: is missing; a {self.statistic} needs its standard error",
            ),
            (
                (self.obtained == "digitised") != (self.reading_error > 0),
                "reading_error: goes with obtained: digitised, and only with it",
            ),
        ]
        for wrong, what in problems:
            if wrong:
                raise ValueError(what)
        return self


def _is_share(said: str) -> bool:
    try:
        return 0 < float(said) < 1
    except ValueError:
        return False


class TargetFile(Frozen):
    """Human figures that belong together: one group of respondents of one study."""

    name: Name
    title: Text
    common: dict[str, Any] = {}
    """Anchors that the targets take their common fields from; not read otherwise."""
    textbook: dict[Name, dict[Name, Literal[-1, 0, 1]]] = {}
    """Vignette, outcome: the sign that textbooks give the change, where no arm is reversed."""
    targets: tuple[Target, ...] = ()
    rows: HumanRows | None = None
    """Human answers in a table."""

    @model_validator(mode="after")
    def _whole(self) -> "TargetFile":
        if not self.targets and self.rows is None:
            raise ValueError("holds neither targets nor rows; give one of them")
        seen: set[str] = set()
        for target in self.targets:
            if target.label in seen:
                raise ValueError(f"targets: {target.label} stands twice")
            seen.add(target.label)
        for (vignette, outcome), shares in share_sets(self.targets).items():
            step = max(target.rounding for target in shares.values())
            total = sum(target.value for target in shares.values())
            if abs(total - 1) > 0.5 * step * len(shares) + 1e-9:
                raise ValueError(f"targets: the shares of {outcome} in {vignette} sum to {total:g}, not to 1")
        return self


def share_sets(targets: tuple[Target, ...]) -> dict[tuple[str, str], dict[str, Target]]:
    """Find the complete sets of direction and joint shares, each by ``of`` in the order of the directions.

    Returns:
        Keys are the vignette, and outcome with group and pooling in words.
    """
    sets: dict[tuple[str, str], dict[str, Target]] = {}
    for target in targets:
        if target.statistic in ("share", "joint_share"):
            what = f"{' and '.join(target.outcomes)}, {target.group}, {target.pooling}"
            sets.setdefault((target.vignette, what), {})[target.of] = target
    ordered = {key: {of: found[of] for of in (*DIRECTIONS, *JOINT) if of in found} for key, found in sets.items()}
    return {key: found for key, found in ordered.items() if tuple(found) in (DIRECTIONS, JOINT)}


def load_targets(name: str | Path) -> TargetFile:
    """Read a file of targets.

    Args:
        name: A path, or the name of a shipped file.

    Raises:
        TargetError: The file, a path in it, or a value is wrong.

    Example:
        >>> load_targets("aprw_households").targets[0].value
        -0.331
    """
    path = find_file(str(name), "scenarios/targets", TargetError)
    data: Mapping[str, Any] = read_yaml(path, TargetError)
    found = validate(TargetFile, dict(data), str(path), TargetError)
    if found.rows is None:
        return found
    beside = path.parent / found.rows.file
    return found.model_copy(update={"rows": found.rows.model_copy(update={"file": str(beside)})})
