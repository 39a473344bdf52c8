"""How many prompts a GPU's memory holds at once, estimated on the safe side."""

from dataclasses import dataclass
from typing import Any

MOST = 256
"""Prompts in a batch at most: beyond that a batch hardly gets faster."""
_SHARE = 0.8
_LOGITS = 48
"""Bytes for each logit while a token is drawn in float64."""


@dataclass(frozen=True)
class Footprint:
    """What one prompt costs.

    Attributes:
        kept: Bytes of keys and values for each token read or written.
        passing: Bytes needed for a moment for each token of a prompt while it is read.
        drawing: Bytes needed while a token is drawn.

    Example:
        >>> Footprint(kept=1000, passing=500, drawing=10_000).row(read=100, written=20)
        180000
    """

    kept: int
    passing: int
    drawing: int

    def row(self, read: int, written: int) -> int:
        """Give the bytes of one prompt.

        Args:
            read: Its tokens.
            written: Tokens of its reply at most.
        """
        return (read + written) * self.kept + read * self.passing + self.drawing


def footprint(config: Any, item: int) -> Footprint:
    """Work out the footprint of a model with full attention.

    Args:
        config: Of transformers.
        item: Bytes of one number.
    """
    text = config.get_text_config()
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    keys = getattr(text, "num_key_value_heads", None) or heads
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    return Footprint(
        kept=2 * text.num_hidden_layers * keys * size * item,
        passing=4 * (text.hidden_size + inner) * item,
        drawing=text.vocab_size * _LOGITS,
    )


def rows_that_fit(free: int, row: int) -> int:
    """Say how many prompts to begin with: at least one, and no more than some hundred.

    Args:
        free: Bytes of memory.
        row: Bytes of one prompt.

    Example:
        >>> rows_that_fit(10_000, 1_000), rows_that_fit(10, 1_000)
        (8, 1)
    """
    return max(1, min(MOST, int(free * _SHARE) // row))
