"""The ``baseline`` engine: a statistical respondent fitted to published moments, not a language model."""

from popsim.engines.baseline.plan import uncalibrated
from popsim.engines.baseline.respondent import Baseline

__all__ = ["Baseline", "uncalibrated"]
