"""The ``nano`` engine: a small language model run by NumPy alone, from ordinary Hugging Face files."""

from popsim.engines.nano.engine import SHIPPED, Nano

__all__ = ["SHIPPED", "Nano"]
