"""Marks of what was planned before there were answers, and the margins that a plan sets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from popsim.evaluate.targets import Target

PLANNED, EXPLORATORY = "planned", "exploratory"
_MEANS = ("mean", "effect", "asymmetry")

Figured = tuple[str, str, str, str, str]
"""Group, arm, vignette, outcome and statistic of a figure."""
Effect = tuple[str, str, str, frozenset[str]]
"""Group, vignette, outcome and the two arms of a difference."""


@dataclass(frozen=True)
class Marks:
    """What of a sample was planned."""

    figures: frozenset[Figured] = frozenset()
    effects: frozenset[Effect] = frozenset()
    margins: Mapping[Figured, float] = field(default_factory=dict)
    """Gaps that do not matter, of means in the unit of the answers, and of shares."""

    def figure(self, target: Target) -> str:
        """Say whether a human figure was planned to be compared, in all its arms."""
        return _mark(set(_figures(target, target.statistic)) <= self.figures)

    def effect(self, group: str, vignette: str, outcome: str, arms: Iterable[str]) -> str:
        """Say whether the difference of two arms was planned."""
        return _mark((group, vignette, outcome, frozenset(arms)) in self.effects)

    def margin(self, target: Target) -> float | None:
        """Give the margin that the plan sets for a human figure, if it does in all its arms; the least of them."""
        figures = _figures(target, "mean" if target.statistic in _MEANS else target.statistic)
        found = [self.margins.get(one) for one in figures]
        known = [margin for margin in found if margin is not None]
        return min(known) if len(known) == len(found) else None


def _figures(target: Target, statistic: str) -> list[Figured]:
    return [(target.group, arm, target.vignette, one, statistic) for arm in target.arm_names for one in target.outcomes]


def _mark(is_planned: bool) -> str:
    return PLANNED if is_planned else EXPLORATORY
