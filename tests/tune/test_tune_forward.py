"""Logits of answers: as a plain pass over the whole text gives them, with prompts shared or not."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tiny import make_tiny_checkpoint  # noqa: E402

from popsim.tune.forward import answer_logits  # noqa: E402
from popsim.tune.losses import IGNORED, answer_cross_entropy  # noqa: E402

LONG, SHORT = [5, 9, 11, 7, 30, 12], [8, 21]
ONCE = [(LONG, [4, 6, 2]), (SHORT, [3, 2])]
SHARED = [(LONG, [4, 6, 2]), (SHORT, [3, 2]), (LONG, [10, 2]), (SHORT, [17, 4, 4, 2]), (LONG, [])]
FIRST_ONLY = [(LONG, []), (LONG, [2]), (SHORT, [])]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny", "float32")
    return transformers.AutoModelForCausalLM.from_pretrained(folder).double()


def plainly(model, prompt, answer):
    """The logits that predict the answer, from one pass over prompt and answer alone."""
    ids = torch.tensor([[*prompt, *answer]])
    return model(input_ids=ids).logits[0, len(prompt) - 1 : len(prompt) - 1 + max(1, len(answer))]


@pytest.mark.parametrize("pairs", [ONCE, SHARED, FIRST_ONLY], ids=["once", "shared", "first only"])
def test_logits_are_those_of_a_plain_pass_over_each_row(model, pairs):
    with torch.no_grad():
        logits, labels = answer_logits(model, pairs)
    for i, (prompt, answer) in enumerate(pairs):
        with torch.no_grad():
            direct = plainly(model, prompt, answer)
        assert torch.allclose(logits[i, : len(direct)], direct, rtol=0, atol=1e-9)
        assert labels[i].tolist() == [*answer, *[IGNORED] * (labels.shape[1] - len(answer))]


def test_gradients_flow_through_a_shared_prompt(model):
    weight = model.model.layers[0].self_attn.k_proj.weight
    logits, labels = answer_logits(model, SHARED)
    [shared] = torch.autograd.grad(answer_cross_entropy(logits, labels), [weight])
    answered = [(prompt, answer) for prompt, answer in SHARED if answer]
    total = sum(
        torch.nn.functional.cross_entropy(plainly(model, prompt, answer), torch.tensor(answer), reduction="sum")
        for prompt, answer in answered
    )
    [direct] = torch.autograd.grad(total / sum(len(answer) for _, answer in answered), [weight])
    assert torch.allclose(shared, direct, rtol=0, atol=1e-6)  # some of transformers computes in single precision


def test_a_model_that_cannot_leave_logits_out_gives_the_same(model):
    class Whole:
        """Takes no logits_to_keep."""

        device = model.device

        def forward(self, input_ids, **more):
            return model(input_ids=input_ids, **more)

        __call__ = forward

    with torch.no_grad():
        assert torch.allclose(answer_logits(Whole(), SHARED)[0], answer_logits(model, SHARED)[0], rtol=0, atol=1e-9)
