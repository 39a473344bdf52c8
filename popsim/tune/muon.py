"""Muon (Jordan and others 2024) for the matrices of a model, whose momentum is made orthogonal, and AdamW for the rest.

PyTorch has a Muon of its own, but it multiplies in bfloat16, which processors without bfloat16 do very slowly.
"""

from collections.abc import Iterable
from typing import Any

import torch
from transformers import LlamaForCausalLM

from popsim.tune.config import TrainSettings

Optimisers = tuple[Any, Any]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_STILL = 1e-5
"""Added to the size of a gradient. With the usual 1e-8 the tiny push that every token gets away from what is said moves
all embeddings by whole steps along one direction, and tokens such as the names of parties become the same."""


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """Step along the orthogonal matrix nearest to the momentum, whatever the size of the gradient.

    Args:
        weights: Matrices.
        lr: Five times the root mean square of a step's entries, whatever the shape.
        momentum: Nesterov's.
        weight_decay: Decoupled, times the rate.
    """

    def __init__(
        self, weights: Iterable[torch.Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self, closure: None = None) -> None:
        """Take one step with the gradients at hand."""
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._move(weight, group)

    def _move(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        rate, momentum = group["lr"], group["momentum"]
        moving = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
        moving.lerp_(weight.grad, 1 - momentum)
        direction = orthogonal(weight.grad.lerp(moving, momentum))
        weight.mul_(1 - rate * group["weight_decay"])
        weight.add_(direction, alpha=-0.2 * rate * max(weight.shape) ** 0.5)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Bring all singular values of a matrix near 1, by Newton and Schulz's iteration with Jordan's coefficients.

    Example:
        >>> values = torch.linalg.svdvals(orthogonal(torch.diag(torch.tensor([3.0, 1.0, 0.5]))))
        >>> bool((values > 0.6).all() and (values < 1.3).all())
        True
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


def make_optimisers(model: LlamaForCausalLM, settings: TrainSettings) -> Optimisers:
    """Let Muon move the matrices within the layers and AdamW the rest.

    Args:
        model: The model.
        settings: Give the rates.
    """
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim > 1]
    mine = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in mine]
    return (
        Muon(matrices, settings.matrix_rate, weight_decay=settings.weight_decay),
        torch.optim.AdamW(rest, settings.learning_rate, betas=(0.9, 0.98), eps=_STILL, weight_decay=0.0),
    )


def set_pace(optimisers: Optimisers, settings: TrainSettings, pace: float) -> None:
    """Set the learning rates to a share of their peaks.

    Args:
        optimisers: From `make_optimisers`.
        settings: Give the peaks.
        pace: The share, from 0 to 1.
    """
    for optimiser, rate in zip(optimisers, (settings.matrix_rate, settings.learning_rate), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * pace
