"""Training: simulated respondents -> pairs of prompt and answer -> a tokenizer and a small language model."""

from popsim.tune.config import TuneConfig, load_tune_config

__all__ = ["TuneConfig", "load_tune_config"]
