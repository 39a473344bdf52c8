"""Drawing tokens from logits in NumPy, by the rule that every engine of popsim with logits of its own follows."""

import numpy as np
from numpy.typing import NDArray

from popsim.engines.wire import Sampling


def draw_tokens(logits: NDArray[np.floating], sampling: Sampling, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw one token per row by inverting its distribution, in float64 and in the order of the vocabulary.

    Args:
        logits: Shape (rows, vocabulary).
        sampling: Temperature, then top-k, then the smallest set of tokens that holds top-p of what is left.
        uniforms: One number in [0, 1) per row; greedy decoding ignores them.

    Returns:
        Token ids, shape (rows,); -1 where the logits of a row are not finite.

    Example:
        >>> draw_tokens(np.array([[0.0, 9.0], [0.0, 0.0]]), Sampling(), np.array([0.5, 0.4])).tolist()
        [1, 0]
    """
    best = logits.max(-1)
    if sampling.greedy:
        tokens = logits.argmax(-1)
    else:
        with np.errstate(invalid="ignore"):
            weights = np.subtract(logits, best[:, None], dtype=np.float64)
            weights /= sampling.temperature
            np.exp(weights, out=weights)
        mass = np.cumsum(_filtered(weights, sampling), axis=-1)
        total = mass[:, -1]
        drawn = np.count_nonzero(mass <= (uniforms * total)[:, None], axis=-1)
        tokens = np.minimum(drawn, np.count_nonzero(mass < total[:, None], axis=-1))
    return np.where(np.isfinite(best), tokens, -1)


def _filtered(weights: NDArray[np.float64], sampling: Sampling) -> NDArray[np.float64]:
    """Set the weights of tokens that top-k and top-p leave out to zero."""
    if 0 < sampling.top_k < weights.shape[-1]:
        least = np.partition(weights, -sampling.top_k, axis=-1)[:, -sampling.top_k, None]
        weights = np.where(weights >= least, weights, 0.0)
    if sampling.top_p < 1:
        order = np.argsort(-weights, axis=-1, kind="stable")
        ordered = np.take_along_axis(weights, order, -1)
        before = np.cumsum(ordered, axis=-1) - ordered
        kept = np.zeros(weights.shape, dtype=bool)
        np.put_along_axis(kept, order, before < sampling.top_p * ordered.sum(-1, keepdims=True), -1)
        weights = np.where(kept, weights, 0.0)
    return weights
