"""Simulated answers against human ones."""

from popsim.evaluate.audit import Audit, audit
from popsim.evaluate.coder import agreement, channel_table, code_answers
from popsim.evaluate.comparison import Comparison, compare
from popsim.evaluate.correction import (
    Corrected,
    Labelled,
    calibrated,
    correct_effect,
    correct_mean,
    correct_ols,
    correct_quantile,
    quantile_map,
)
from popsim.evaluate.density import DensityFit, density_table, fit_density
from popsim.evaluate.failures import failure_rates, mean_bounds
from popsim.evaluate.overlap import overlap, overlap_warning
from popsim.evaluate.regressions import individual_fit, regress
from popsim.evaluate.sample import Sample, changes_by_person
from popsim.evaluate.statistics import direction, joint_direction, mean, trimmed_sd
from popsim.evaluate.targets import Target, TargetFile, load_targets

__all__ = [
    "Audit",
    "Comparison",
    "Corrected",
    "DensityFit",
    "Labelled",
    "Sample",
    "Target",
    "TargetFile",
    "agreement",
    "audit",
    "calibrated",
    "changes_by_person",
    "channel_table",
    "code_answers",
    "compare",
    "correct_effect",
    "correct_mean",
    "correct_ols",
    "correct_quantile",
    "density_table",
    "direction",
    "failure_rates",
    "fit_density",
    "individual_fit",
    "joint_direction",
    "load_targets",
    "mean",
    "mean_bounds",
    "overlap",
    "overlap_warning",
    "quantile_map",
    "regress",
    "trimmed_sd",
]
