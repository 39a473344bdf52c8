"""Replies held to a grammar on the transformers engine: whatever an untrained model writes can be read."""

import random
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
xgrammar = pytest.importorskip("xgrammar")

from tiny import make_tiny_checkpoint  # noqa: E402

from popsim.engines import Prompt, Sampling, Shape, answer_all, load_engine  # noqa: E402
from popsim.engines.local import grammar  # noqa: E402
from popsim.model import PopulationModel  # noqa: E402
from popsim.scenario import load_scenario  # noqa: E402
from popsim.survey import read_reply, reply_grammar  # noqa: E402
from popsim.survey.questions import (  # noqa: E402
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    ScaleQuestion,
    TextQuestion,
)

EVERY_KIND = [
    NumberQuestion(
        kind="number", name="rate", text="?", minimum=-2, maximum=8, decimals=2, unit="%", dont_know="No idea"
    ),
    ScaleQuestion(kind="scale", name="trust", text="?", minimum=-3, maximum=10),
    ChoiceQuestion(
        kind="choice", name="vote", text="?", options=('the "left"', "right \\ wrong", "中间"), refusal="Not saying"
    ),
    MultipleQuestion(kind="multiple", name="why", text="?", options=("a", "b", "c", "d"), at_least=1, at_most=3),
    DensityQuestion(
        kind="density", name="odds", text="?", bins=[{"label": "low", "high": 0}, {"label": "high", "low": 0}]
    ),
    TextQuestion(kind="text", name="words", text="?", max_characters=20),
]
YES_OR_NO = Shape('root ::= "yes" | "no"', "{}")
pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny", "float32", context=8192)


@pytest.fixture(scope="module")
def engine(checkpoint):
    return load_engine(f"transformers:{checkpoint}", batch_size=100)


def make_prompts(count, shape, **values):
    return [Prompt((("user", "How sure are you?"),), seed=seed, shape=shape, **values) for seed in range(count)]


def read_all(engine, reasoning, size):
    """Field the oil questionnaire, both arms, with a short prompt, and read what comes back."""
    overrides = {
        "size": size,
        "prompt.reasoning": reasoning,
        "sampling.structured": True,
        "sampling.max_tokens": 8000,
        "arms": {"fall": {"share": 1}, "rise": {"share": 1}},
    }
    scenario = load_scenario("oil_price_fall", overrides)
    short = scenario.prompt.model_copy(update={"template": "You are {{age}}."})
    scenario = scenario.model_copy(update={"prompt": short})
    asked = next(PopulationModel(scenario).waves())
    return [asked.read(i, reply) for i, reply in enumerate(answer_all(engine, asked))]


@pytest.mark.slow
@pytest.mark.parametrize(("reasoning", "size"), [(False, 192), (True, 8)])
def test_every_reply_of_an_untrained_model_can_be_read(engine, reasoning, size):
    readings = read_all(engine, reasoning, size)
    assert len(readings) == size
    assert {reading.status for reading in readings} <= {"ok", "dont_know", "refused"}
    numbers = [answer.value for reading in readings for answer in reading.answers if answer.value is not None]
    assert len(set(numbers)) > min(size, 20)


@pytest.mark.parametrize("questions", [[question] for question in EVERY_KIND], ids=lambda one: one[0].kind)
def test_a_random_model_answers_every_kind_of_question_readably(engine, questions):
    shape = Shape(reply_grammar(questions, reasoning=False), "{}")
    texts = {reply.text for reply in answer_all(engine, make_prompts(40, shape, sampling=Sampling(3.0)))}
    assert len(texts) > 1
    for text in texts:
        reading = read_reply(text, questions, reasoning=False)
        assert reading.status in ("ok", "dont_know", "refused"), text


def test_every_kind_together_with_reasoning_goes_through_the_matcher(engine):
    """The grammar of a whole reply, drawn token by token without a model."""
    matcher = engine._grammars.begin(Shape(reply_grammar(EVERY_KIND), "{}"))
    rng, written = random.Random(3), []
    allowed = xgrammar.allocate_token_bitmask(1, 300)
    while not matcher.is_terminated():
        matcher.fill_next_token_bitmask(allowed)
        bits = np.unpackbits(allowed.numpy().view(np.uint8), bitorder="little")[:300]
        token = rng.choice(np.flatnonzero(bits).tolist())
        assert matcher.accept_token(token)
        written.append(token)
    assert written[-1] == 2
    assert read_reply(engine._texts.write(written), EVERY_KIND).status == "ok"


def test_shaped_and_free_replies_share_a_batch_and_do_not_feel_each_other(engine):
    free = [replace(prompt, sampling=Sampling(max_tokens=9)) for prompt in make_prompts(10, None)]
    shaped = [replace(prompt, shape=YES_OR_NO) for prompt in free]
    mixed = [prompt for pair in zip(free, shaped, strict=True) for prompt in pair]
    replies = answer_all(engine, mixed)
    assert replies[::2] == answer_all(engine, free)
    assert replies[1::2] == answer_all(engine, shaped)
    assert {(reply.text, reply.finish) for reply in replies[1::2]} == {("yes", "stop"), ("no", "stop")}


def test_a_grammar_is_drawn_from_by_what_is_left_of_the_probabilities(engine):
    prompts = [replace(prompt, choices=("y", "n"), shape=None) for prompt in make_prompts(1, None)]
    yes, no = [float(part) for part in answer_all(engine, prompts)[0].text.strip("[]").split(",")]
    texts = [reply.text for reply in answer_all(engine, make_prompts(600, YES_OR_NO))]
    share = yes / (yes + no)
    assert abs(texts.count("yes") / 600 - share) < 4 * (share * (1 - share) / 600) ** 0.5


def test_a_prefill_is_the_beginning_of_the_shape(engine):
    (reply,) = answer_all(engine, make_prompts(1, YES_OR_NO, prefill="y"))
    assert (reply.text, reply.finish) == ("es", "stop")
    (reply,) = answer_all(engine, make_prompts(1, YES_OR_NO, prefill="may"))
    assert reply.error == "the prefill 'may' does not begin a reply of this grammar"


def test_what_cannot_be_held_to_fails_alone(engine, monkeypatch):
    broken = Shape('root ::= "yes', "{}")
    replies = answer_all(engine, [*make_prompts(1, broken), *make_prompts(1, YES_OR_NO)])
    assert "the grammar of the reply cannot be read" in replies[0].error
    assert "\n" not in replies[0].error
    assert replies[1].finish == "stop"
    monkeypatch.setattr(grammar, "INSTALLED", False)
    (reply,) = answer_all(engine, make_prompts(1, YES_OR_NO))
    assert reply.error == "a reply held to a grammar needs xgrammar; run: pip install 'popsim[local]'"


def test_the_ability_follows_the_package(engine, checkpoint, monkeypatch):
    assert "grammar" in engine.abilities
    monkeypatch.setattr(grammar, "INSTALLED", False)
    assert "grammar" not in load_engine(f"transformers:{checkpoint}").abilities


def test_special_tokens_are_no_text_of_a_grammar(engine):
    matcher = engine._grammars.begin(Shape('root ::= "<|im_start|>" | "x"', "{}"))
    assert not matcher.accept_token(1)
    assert matcher.accept_string("x")


def test_a_held_reply_says_how_probable_it_was_to_leave_the_grammar(engine):
    (prompt,) = make_prompts(1, Shape('root ::= "y" | "n"', "{}"))
    (reply,) = answer_all(engine, [prompt])
    pieces, ends = list(engine.spelling()), sorted(engine._ends)
    letters = [token for token, piece in enumerate(pieces) if piece in ("y", "n")]
    said = pieces.index(reply.text)
    first = np.exp(engine.next_logprobs([(replace(prompt, shape=None), ())], letters)).sum()
    then = np.exp(engine.next_logprobs([(replace(prompt, shape=None), (said,))], ends)).sum()
    assert reply.outside == pytest.approx(1 - first * then, rel=1e-4)
    assert 0.5 < reply.outside < 1
    (free,) = answer_all(engine, [replace(prompt, shape=None)])
    assert free.outside is None
