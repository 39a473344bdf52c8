import json

import numpy as np
import pytest
from tiny import make_tiny_checkpoint

from popsim.engines import Field, Prompt, Readout, Sampling, Spelling, answer_all, load_engine
from popsim.engines.readout import measured
from popsim.engines.walk import Grid, walk
from popsim.survey import NumberQuestion, spellings

RATE = NumberQuestion(kind="number", name="rate", text="?", minimum=0, maximum=10, decimals=1, unit="%")
SPELLED = tuple(Spelling(*one) for one in spellings(RATE))
PEOPLE = [Prompt((("user", f"How sure are you? {word}"),), seed=i) for i, word in enumerate(("Very.", "Not at all."))]
READOUT = Readout(
    "number", (Field("v.rate", '{"rate": "', SPELLED), Field("v.then", ', "then": "', SPELLED)), floor=0.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("walk") / "tiny", "float32")


@pytest.fixture(params=["nano", "transformers"])
def engine(request, folder):
    found = load_engine(f"{request.param}:{folder}")
    if "next" not in found.abilities:
        pytest.skip(f"{request.param} does not tell the probabilities of tokens yet")
    return found


def test_a_walk_and_the_product_over_one_path_agree_on_a_real_model(engine):
    asked = [Prompt(one.messages, prefill='{"rate": "') for one in PEOPLE]
    vocabulary = engine.spelling()
    token = {text: index for index, text in reversed(list(enumerate(vocabulary)))}
    found = walk(engine, asked, Grid([Spelling("7", '"', 7.0)], vocabulary))
    seven = token["7"]
    closing = [index for index, text in enumerate(vocabulary) if text.startswith('"')]
    for row, prompt in enumerate(asked):
        first = np.exp(engine.next_logprobs([(prompt, ())], [seven])[0, 0])
        then = np.exp(engine.next_logprobs([(prompt, (seven,))], closing)[0]).sum()
        together = [index for index, text in enumerate(vocabulary) if text.startswith('7"')]
        at_once = np.exp(engine.next_logprobs([(prompt, ())], together)[0]).sum() if together else 0.0
        assert found.probabilities[row, 0] == pytest.approx(first * then + at_once, rel=1e-6)


def test_a_readout_of_two_fields_does_not_depend_on_the_batch(engine):
    prompts = [Prompt(one.messages, seed=one.seed, readout=READOUT) for one in PEOPLE]
    together = answer_all(measured(engine, ["number"]), prompts)
    assert {reply.finish for reply in together} == {"stop"}
    for prompt, reply in zip(prompts, together, strict=True):
        [alone] = answer_all(measured(engine, ["number"]), [prompt])
        for one, other in zip(*(json.loads(text.text)["distributions"] for text in (alone, reply)), strict=True):
            assert one["values"] == other["values"]
            assert one["probabilities"] == pytest.approx(other["probabilities"], rel=1e-4)


def test_first_tokens_of_sampled_answers_agree_with_what_the_model_tells(engine):
    prompt = Prompt(PEOPLE[0].messages, Sampling(max_tokens=1), prefill='{"rate": "')
    vocabulary = engine.spelling()
    plain = [index for index, text in enumerate(vocabulary) if text]
    told = np.exp(engine.next_logprobs([(prompt, ())], plain)[0])
    likely = sorted(range(len(plain)), key=lambda k: -told[k])[:3]
    replies = answer_all(engine, [Prompt(prompt.messages, prompt.sampling, k, prompt.prefill) for k in range(400)])
    for k in likely:
        share = np.mean([reply.text == vocabulary[plain[k]] for reply in replies])
        assert abs(share - told[k]) < 4 * np.sqrt(told[k] * (1 - told[k]) / 400) + 0.01
