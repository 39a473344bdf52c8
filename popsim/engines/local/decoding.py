"""Drawing tokens from logits in PyTorch, by the rule that every engine of popsim with logits of its own follows."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from popsim.engines.wire import Sampling


def draw_tokens(logits: torch.Tensor, sampling: Sampling, uniforms: NDArray[np.float64]) -> torch.Tensor:
    """Draw one token per row by inverting its distribution, in float64 and in the order of the vocabulary.

    Args:
        logits: Shape (rows, vocabulary).
        sampling: Temperature, then top-k, then the smallest set of tokens that holds top-p of what is left.
        uniforms: One number in [0, 1) per row; greedy decoding ignores them.

    Returns:
        Token ids, shape (rows,); -1 where the logits of a row are not finite.

    Example:
        >>> draw_tokens(torch.tensor([[0.0, 9.0], [0.0, 0.0]]), Sampling(), np.array([0.5, 0.4])).tolist()
        [1, 0]
    """
    logits = logits.double()
    best = logits.amax(-1, keepdim=True)
    if sampling.greedy:
        tokens = logits.argmax(-1)
    else:
        mass = _filtered(((logits - best) / sampling.temperature).exp(), sampling).cumsum(-1)
        total = mass[:, -1:].contiguous()
        wanted = torch.from_numpy(uniforms).to(mass.device)[:, None] * total
        drawn = torch.searchsorted(mass, wanted, right=True)
        tokens = torch.minimum(drawn, torch.searchsorted(mass, total))[:, 0]
    return torch.where(best[:, 0].isfinite(), tokens, -1)


def _filtered(weights: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Set the weights of tokens that top-k and top-p leave out to zero."""
    if 0 < sampling.top_k < weights.shape[-1]:
        least = weights.topk(sampling.top_k).values[:, -1:]
        weights = weights.where(weights >= least, 0.0)
    if sampling.top_p < 1:
        ordered, order = weights.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        kept = before < sampling.top_p * ordered.sum(-1, keepdim=True)
        weights = weights.where(torch.zeros_like(kept).scatter(-1, order, kept), 0.0)
    return weights


def penalised(logits: torch.Tensor, seen: Sequence[NDArray[np.int64]], penalty: float) -> torch.Tensor:
    """Make tokens that stand in the text already less likely, as ``repetition_penalty`` of transformers does.

    Args:
        logits: Shape (rows, vocabulary).
        seen: Tokens of each row so far.
        penalty: Divides positive logits and multiplies negative ones.

    Example:
        >>> penalised(torch.tensor([[2.0, -2.0, 3.0]]), [np.array([0, 1])], 2.0).tolist()
        [[1.0, -4.0, 3.0]]
    """
    logits = logits.clone()
    for row, tokens in zip(logits, seen, strict=True):
        at = torch.from_numpy(np.unique(tokens)).to(row.device)
        row[at] = torch.where(row[at] < 0, row[at] * penalty, row[at] / penalty)
    return logits
