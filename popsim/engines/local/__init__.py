"""The ``transformers`` engine: any Hugging Face causal language model with a chat template, run by PyTorch."""

from popsim.engines.local.decoding import draw_tokens
from popsim.engines.local.engine import Transformers

__all__ = ["Transformers", "draw_tokens"]
