"""Training: simulated respondents -> a tokenizer and a small language model; people's answers -> a LoRA adapter."""

from popsim.tune.config import TuneConfig, load_tune_config

__all__ = ["TuneConfig", "load_tune_config"]
