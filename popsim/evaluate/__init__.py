"""Simulated answers against human ones."""

from popsim.evaluate.comparison import Comparison, compare
from popsim.evaluate.density import DensityFit, density_table, fit_density, weighted_median
from popsim.evaluate.sample import Sample, changes_by_person
from popsim.evaluate.statistics import direction, joint_direction, mean, trimmed_sd
from popsim.evaluate.targets import Target, TargetFile, load_targets

__all__ = [
    "Comparison",
    "DensityFit",
    "Sample",
    "Target",
    "TargetFile",
    "changes_by_person",
    "compare",
    "density_table",
    "direction",
    "fit_density",
    "joint_direction",
    "load_targets",
    "mean",
    "trimmed_sd",
    "weighted_median",
]
