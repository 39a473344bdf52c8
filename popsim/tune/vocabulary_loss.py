"""The loss over a whole vocabulary, a few rows at a time, so that the logits never leave the processor's cache."""

from typing import Any

import torch

_ROWS = 256


def weighted_loss(
    states: torch.Tensor, matrix: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Compute the weighted mean cross-entropy of the tokens that follow states.

    Args:
        states: (r, d) last states of a model.
        matrix: (v, d) output embeddings.
        labels: (r,) the tokens that follow.
        weights: (r,) how many times each counts.
        dtype: In which matrices are multiplied.

    Returns:
        Nats per token, a scalar.

    Example:
        >>> states, matrix, labels = torch.zeros(2, 3), torch.ones(4, 3), torch.tensor([0, 3])
        >>> round(float(weighted_loss(states, matrix, labels, torch.ones(2), torch.float32)), 4)  # four, equally likely
        1.3863
    """
    return _Loss.apply(states, matrix, labels, (weights / weights.sum()).to(states.dtype), dtype)


class _Loss(torch.autograd.Function):  # type: ignore[misc]
    """Takes the gradients along with the loss, while the probabilities are at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        matrix: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Compute the loss, and what a step of it owes to each state and to the matrix."""
        total, small = states.new_zeros(()), matrix.to(dtype)
        by_state, by_matrix = torch.empty_like(states), torch.zeros_like(matrix)
        columns = (states, labels[:, None], weights[:, None], by_state)
        for state, label, weight, push in zip(*(column.split(_ROWS) for column in columns), strict=True):
            state = state.to(dtype)
            logits = (state @ small.T).to(states.dtype)
            logits -= logits.amax(1, keepdim=True)
            right = logits.gather(1, label)
            sums = logits.exp_().sum(1, keepdim=True)
            total += ((sums.log() - right) * weight).sum()
            logits.mul_(weight / sums).scatter_add_(1, label, -weight)
            slope = logits.to(dtype)
            push.copy_(slope @ small)
            by_matrix += slope.T @ state
        ctx.save_for_backward(by_state, by_matrix)
        return total

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scale the gradients that are at hand."""
        by_state, by_matrix = ctx.saved_tensors
        return by_state * grad[0], by_matrix * grad[0], None, None, None
