"""Simulated answers against human ones."""

from popsim.evaluate.reference import changes_by_person, compare_with_reference
from popsim.evaluate.statistics import direction_shares, joint_direction_shares, trimmed, trimmed_sd

__all__ = [
    "changes_by_person",
    "compare_with_reference",
    "direction_shares",
    "joint_direction_shares",
    "trimmed",
    "trimmed_sd",
]
