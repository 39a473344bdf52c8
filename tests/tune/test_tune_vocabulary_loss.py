import pytest
import torch

from popsim.tune.vocabulary_loss import weighted_loss


@pytest.mark.parametrize("rows", [1, 255, 600])
def test_the_loss_and_its_gradients_are_those_of_the_whole_table_of_logits(rows):
    """An independent implementation: PyTorch's cross-entropy on all logits at once, in double precision."""
    torch.manual_seed(rows)
    states, matrix = torch.randn(rows, 5, dtype=torch.float64), torch.randn(11, 5, dtype=torch.float64)
    labels, weights = torch.randint(11, (rows,)), torch.rand(rows, dtype=torch.float64) + 0.1
    ours = [given.clone().requires_grad_() for given in (states, matrix)]
    loss = weighted_loss(*ours, labels, weights, torch.float64)
    (3 * loss).backward()
    theirs = [given.clone().requires_grad_() for given in (states, matrix)]
    whole = torch.nn.functional.cross_entropy(theirs[0] @ theirs[1].T, labels, reduction="none")
    mean = (whole * weights).sum() / weights.sum()
    (3 * mean).backward()
    assert loss.item() == pytest.approx(mean.item(), rel=1e-12)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad, other.grad, atol=1e-12)


def test_bfloat16_is_near():
    torch.manual_seed(0)
    states, matrix, labels = torch.randn(300, 16), torch.randn(40, 16) / 4, torch.randint(40, (300,))
    exact, near = (
        weighted_loss(states, matrix, labels, torch.ones(300), dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    assert near.item() == pytest.approx(exact.item(), rel=2e-3)
