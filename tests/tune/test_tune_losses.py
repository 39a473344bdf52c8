"""Losses against hand-computed cases, an independent computation and finite differences."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, wasserstein_distance

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

from popsim.errors import TuneError  # noqa: E402
from popsim.tune import losses  # noqa: E402
from popsim.tune.letters import letter_tokens, number_tokens  # noqa: E402
from popsim.tune.pairings import preference_pairs  # noqa: E402
from popsim.tune.records import Answer, Item  # noqa: E402

HUMAN = torch.tensor([[0.2, 0.3, 0.5], [0.75, 0.25, 0.0]], dtype=torch.float64)
TOKENS = [[[0, 5], [1], [2]], [[3], [4, 6]]]
PLACES = torch.tensor([[1.0, 2.0, 1.5], [0.0, 3.0, math.nan]], dtype=torch.float64)


def random_logits(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def scored(seed=0):
    return losses.option_logits(random_logits(2, 8, seed=seed), TOKENS)


def model_shares(seed=0):
    """The distributions by plain arithmetic: a direct softmax over the option logits, both spellings summed."""
    weights = np.exp(random_logits(2, 8, seed=seed).numpy())
    rows = []
    for row, options in zip(weights, TOKENS, strict=True):
        sums = np.array([row[ids].sum() for ids in options])
        rows.append(sums / sums.sum())
    return rows


def test_option_scores_are_a_softmax_over_option_tokens_alone():
    found = scored().softmax(1)
    for row, direct in zip(found, model_shares(), strict=True):
        assert row[: len(direct)].numpy() == pytest.approx(direct, abs=1e-12)
    assert found[1, 2] == 0


def test_kl_is_scipys_and_the_code_form_divides_by_the_options_of_each_question():
    parts = [entropy(h[: len(m)], m) for h, m in zip(HUMAN.numpy(), model_shares(), strict=True)]
    assert float(losses.first_token_kl(scored(), HUMAN)) == pytest.approx(np.mean(parts))
    code = float(losses.first_token_kl(scored(), HUMAN, per_option=True))
    assert code == pytest.approx((parts[0] / 3 + parts[1] / 2) / 2)


def test_code_form_is_batchmean_of_one_vector():
    logits, human = random_logits(1, 4), torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    direct = torch.nn.functional.kl_div(logits[0].log_softmax(0), human[0], reduction="batchmean")
    assert float(losses.first_token_kl(logits, human, per_option=True)) == pytest.approx(float(direct))


def test_js_ce_and_wasserstein_are_scipys():
    rows = list(zip(HUMAN.numpy(), model_shares(), strict=True))
    js = np.mean([jensenshannon(h[: len(m)], m) ** 2 for h, m in rows])
    assert float(losses.first_token_js(scored(), HUMAN)) == pytest.approx(js)
    assert float(losses.first_token_ce(scored(), HUMAN)) == pytest.approx(
        np.mean([-math.log(m[h[: len(m)].argmax()]) for h, m in rows])
    )
    places = [[1.0, 2.0, 1.5], [0.0, 3.0]]
    wd = [
        wasserstein_distance(at, at, h[: len(m)], m) / (max(at) - min(at))
        for at, (h, m) in zip(places, rows, strict=True)
    ]
    assert float(losses.first_token_wasserstein(scored(), HUMAN, PLACES)) == pytest.approx(np.mean(wd))


def test_option_without_a_place_is_left_out_and_the_rest_scaled():
    logits = torch.tensor([[0.2, 0.4, 0.4]], dtype=torch.float64).log()
    human = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    places = torch.tensor([[math.nan, 0.0, 1.0]], dtype=torch.float64)
    assert float(losses.first_token_wasserstein(logits, human, places)) == pytest.approx(0.0, abs=1e-12)
    skewed = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    assert float(losses.first_token_wasserstein(logits, skewed, places)) == pytest.approx(0.5)


def test_number_penalty_is_flat_within_its_width_and_capped_at_one():
    values = torch.tensor([0.0, 1.0, 2.0, 50.0], dtype=torch.float64)
    for at, cost in ((0, 0.0), (1, 0.0), (2, 0.5), (3, 1.0)):
        sure = torch.full((1, 4), -80.0, dtype=torch.float64)
        sure[0, at] = 80
        found = losses.number_penalty(sure, values, torch.tensor([0.0]), slope=0.5, width=1)
        assert float(found) == pytest.approx(cost)


def test_number_penalty_without_width_is_wasserstein_to_the_answer():
    logits, values = random_logits(1, 11), torch.arange(11, dtype=torch.float64)
    found = losses.number_penalty(logits, values, torch.tensor([3.0]), slope=0.1)
    direct = wasserstein_distance(values, [3.0], logits[0].softmax(0).numpy()) / 10
    assert float(found) == pytest.approx(direct)


def test_digit_penalty_weighs_places_and_leaves_out_absent_digits():
    logits = torch.full((1, 3, 10), -90.0, dtype=torch.float64)
    logits[0, 0, 5] = logits[0, 1, 2] = 90.0
    digits, worth = torch.tensor([[4, 2, -100]]), torch.tensor([[10.0, 1.0, 0.1]])
    assert float(losses.digit_penalty(logits, digits, worth, slope=0.01)) == pytest.approx(0.1)
    assert float(losses.digit_penalty(logits, digits, worth, slope=0.01, width=10)) == pytest.approx(0)


def test_preference_is_the_logistic_of_the_margin():
    chosen, rejected, zero = torch.tensor([-1.0]), torch.tensor([-3.0]), torch.zeros(1)
    found = float(losses.preference(chosen, rejected, zero, zero, 0.5))
    assert found == pytest.approx(math.log(1 + math.exp(-0.5 * 2)))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: losses.first_token_kl(losses.option_logits(x, TOKENS), HUMAN),
        lambda x: losses.first_token_kl(losses.option_logits(x, TOKENS), HUMAN, per_option=True),
        lambda x: losses.first_token_js(losses.option_logits(x, TOKENS), HUMAN),
        lambda x: losses.first_token_ce(losses.option_logits(x, TOKENS), HUMAN),
        lambda x: losses.first_token_wasserstein(losses.option_logits(x, TOKENS), HUMAN, PLACES),
        lambda x: losses.number_penalty(x, torch.arange(8.0), torch.tensor([2.0, 7.0]), slope=0.2, width=0.5),
        lambda x: losses.answer_cross_entropy(x[None], torch.tensor([[3, -100]])),
        lambda x: losses.preference(x[0], x[1], torch.zeros(8), torch.ones(8), 0.3),
        lambda x: losses.digit_penalty(
            torch.cat([x, x[:, :2]], 1)[None], torch.tensor([[3, 9]]), torch.tensor([[1.0, 0.1]]), slope=0.3
        ),
    ],
    ids=["kl", "kl-code", "js", "ce", "wasserstein", "number", "answer", "preference", "digits"],
)
def test_gradients_agree_with_finite_differences(loss):
    logits = random_logits(2, 8, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(loss, (logits,))
    assert logits.grad is None
    loss(logits).backward()
    assert float(logits.grad.abs().max()) > 1e-4


def test_kl_gradient_by_hand_is_model_minus_human():
    logits = random_logits(1, 3).requires_grad_()
    losses.first_token_kl(logits, HUMAN[:1]).backward()
    assert logits.grad[0].numpy() == pytest.approx((logits.softmax(1)[0] - HUMAN[0]).detach().numpy())


def test_losses_fall_when_they_are_followed():
    for loss in (losses.first_token_kl, losses.first_token_js):
        logits = scored(seed=5).detach().requires_grad_()
        before = float(loss(logits, HUMAN).detach())
        for _ in range(300):
            [gradient] = torch.autograd.grad(loss(logits, HUMAN), logits)
            logits = (logits - 0.5 * gradient).detach().requires_grad_()
        assert float(loss(logits, HUMAN).detach()) < 0.05 * before


def make_tokenizer(*, bos, merges=()):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocab = {token: i for i, token in enumerate(["<s>", *sorted(alphabet), *(a + b for a, b in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


@pytest.mark.parametrize("bos", [True, False], ids=["with a beginning-of-text token", "without"])
def test_letter_token_is_the_letter_with_either_kind_of_tokenizer(bos):
    tokenizer = make_tokenizer(bos=bos, merges=[("Ġ", "A"), ("Ġ", "B")])
    assert (tokenizer("A)x")["input_ids"][0] == 0) is bos
    found = letter_tokens(tokenizer, "My answer is (", ["A", "B"])
    assert [sorted(tokenizer.convert_ids_to_tokens(ids)) for ids in found] == [["A", "ĠA"], ["B", "ĠB"]]


def test_letters_of_several_tokens_are_refused_in_one_line():
    tokenizer = make_tokenizer(bos=False)
    with pytest.raises(TuneError, match=r"is several tokens|begin with the same token"):
        letter_tokens(tokenizer, "Answer: (", ["AA", "BB"])
    assert number_tokens(tokenizer, "Answer: ", [8.0, 9.0]) is not None
    assert number_tokens(tokenizer, "Answer: ", [9.0, 10.0]) is None


def test_pairs_reject_another_persons_different_answer_in_the_same_cell():
    item = Item("q", "?", options=("a", "b"))
    people = [Answer(str(i), item, "ab"[i % 2], study="s", condition=str(i // 4)) for i in range(12)] + [
        Answer("lost", item, None, "unreadable", study="s", condition="0"),
        Answer("alone", item, "a", condition="9"),
    ]
    found = preference_pairs(people)
    assert [pair.chosen.person for pair in found] == [str(i) for i in range(12)]
    assert all({pair.chosen.value, pair.rejected} == {"a", "b"} for pair in found)
