"""Simulated answers against human ones."""

from popsim.evaluate.density import DensityFit, density_table, fit_density, weighted_median
from popsim.evaluate.reference import changes_by_person, compare_with_reference
from popsim.evaluate.statistics import direction_shares, joint_direction_shares, trimmed, trimmed_sd

__all__ = [
    "DensityFit",
    "changes_by_person",
    "compare_with_reference",
    "density_table",
    "direction_shares",
    "fit_density",
    "joint_direction_shares",
    "trimmed",
    "trimmed_sd",
    "weighted_median",
]
