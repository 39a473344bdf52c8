"""Prefill, choices, next tokens and a model's own sampling: transformers and nano against plain forward passes."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tiny import make_tiny_checkpoint  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors  # noqa: E402

from popsim.engines import Prompt, Sampling, answer_all, load_engine  # noqa: E402
from popsim.engines.tokens import first_tokens  # noqa: E402
from popsim.errors import EngineError  # noqa: E402

GREEDY = Sampling(temperature=0, max_tokens=24)
LETTERS = ("A", "B", "C")
pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny", "float32")


@pytest.fixture(scope="module", params=["transformers", "nano"])
def engine(request, checkpoint):
    return load_engine(f"{request.param}:{checkpoint}")


def make_prompts(count, **values):
    person = ("system", "You are a person who lives in the West. 你好")
    return [
        Prompt((person, ("user", "How sure are you? " * (index % 9 + 1))), GREEDY, index, **values)
        for index in range(count)
    ]


def next_shares(checkpoint, prompt, more=()):
    """The softmax of one plain forward pass over the text of a prompt and its prefill."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    turns = [{"role": role, "content": text} for role, text in prompt.messages]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) + prompt.prefill
    ids = torch.tensor([[*tokenizer(text, add_special_tokens=False)["input_ids"], *more]])
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint).double()
    with torch.inference_mode():
        return torch.softmax(model(ids).logits[0, -1], -1).numpy()


def test_it_says_what_it_can_do(engine):
    assert {"seed", "prefill", "choice", "next"} <= engine.abilities
    assert "adapter" not in engine.abilities


def test_greedy_text_behind_a_prefill_is_the_tail_of_the_whole(engine):
    tails = 0
    for prompt, whole in zip(make_prompts(12), answer_all(engine, make_prompts(12)), strict=True):
        for cut in (1, 5, 9):
            begun = replace(prompt, prefill=whole.text[:cut])
            if len(ids_of(engine, begun)) != whole.prompt_tokens + cut or "\ufffd" in begun.prefill:
                continue
            (reply,) = answer_all(engine, [replace(begun, sampling=replace(GREEDY, max_tokens=24 - cut))])
            assert reply.text == whole.text[cut:]
            assert reply.prompt_tokens == whole.prompt_tokens + cut
            assert reply.completion_tokens == whole.completion_tokens - cut
            tails += 1
    assert tails > 5


def ids_of(engine, prompt):
    return (
        engine._texts.read(prompt.messages, prompt.prefill)[1]
        if hasattr(engine, "_texts")
        else engine.encode(prompt.messages, prompt.prefill)
    )


@pytest.mark.parametrize("prefill", ["", "My answer is (", "My answer is "])
def test_choices_are_the_softmax_at_their_first_tokens(engine, checkpoint, prefill):
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    prompts = make_prompts(20, prefill=prefill, choices=LETTERS)
    for prompt, reply in zip(prompts, answer_all(engine, prompts), strict=True):
        shares = next_shares(checkpoint, prompt)
        expected = [shares[tokenizer.convert_tokens_to_ids(letter)] for letter in LETTERS]
        np.testing.assert_allclose(json.loads(reply.text), expected, rtol=0, atol=1e-6)
        assert (reply.finish, reply.completion_tokens) == ("stop", 0)
        assert 0 < sum(json.loads(reply.text)) < 1


def test_choices_and_free_replies_can_stand_side_by_side(engine):
    scored, free = make_prompts(5, choices=LETTERS), make_prompts(5)
    mixed = [prompt for pair in zip(scored, free, strict=True) for prompt in pair]
    replies = answer_all(engine, mixed)
    assert replies[1::2] == answer_all(engine, free)
    for one, other in zip(replies[::2], answer_all(engine, scored), strict=True):
        np.testing.assert_allclose(json.loads(one.text), json.loads(other.text), rtol=0, atol=1e-6)


def test_both_engines_give_the_same_probabilities(checkpoint):
    prompts = make_prompts(20, prefill="(", choices=LETTERS)
    ours, theirs = (
        [json.loads(reply.text) for reply in answer_all(load_engine(f"{name}:{checkpoint}"), prompts)]
        for name in ("nano", "transformers")
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_choices_that_begin_alike_fail_alone(engine):
    alike = make_prompts(1, choices=("Are", "Aren't"))
    replies = answer_all(engine, [*alike, *make_prompts(1, choices=LETTERS)])
    assert replies[0].finish == "error"
    assert "'Are' and \"Aren't\" begin with the same token" in replies[0].error
    assert "use letters" in replies[0].error
    assert replies[1].finish == "stop"


def word_tokenizer(**options):
    """A tokenizer of whole words with the space in front, a token of two characters, and a beginning-of-text token."""
    words = ["<s>", "?", "▁", "▁A", "A", "▁B", "B", "(", "▁(", "(A", "\n"]
    merges = [("▁", "A"), ("▁", "B"), ("▁", "("), ("(", "A")]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**options)
    tokenizer.decoder = decoders.Metaspace(**options)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer, words


@pytest.mark.parametrize(("before", "expected"), [("x ", ["A", "▁A"]), ("x(", ["A", "▁A"]), ("x\n", ["A", "▁A"])])
def test_the_letter_is_found_behind_spaces_merges_and_a_beginning_of_text(before, expected):
    """The second token of a text encoded alone, a known shortcut, would be the wrong one for each of these."""
    tokenizer, words = word_tokenizer(split=False)
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    assert tokenizer.encode("A").ids[0] == 0
    (found,) = first_tokens(encode, tokenizer.decode, before, ["A"])
    assert sorted(words[token] for token in found) == sorted(expected)


def test_a_space_of_its_own_says_nothing_about_the_choice():
    encode = lambda text: list(text.encode())  # noqa: E731
    assert first_tokens(encode, lambda ids: bytes(ids).decode(errors="replace"), "", ["A", "B"]) == [[65], [66]]
    with pytest.raises(EngineError, match="choices '是' and '昰' begin with the same token"):
        first_tokens(encode, lambda ids: bytes(ids).decode(errors="replace"), "", ["是", "昰"])
    with pytest.raises(EngineError, match="choice '' begins with no token of its own"):
        first_tokens(encode, lambda ids: bytes(ids).decode(errors="replace"), "", ["A", ""])


def test_spelling_reads_the_vocabulary(engine, checkpoint):
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    spelling = engine.spelling()
    assert len(spelling) == 300
    assert list(spelling[:3]) == ["", "", ""]
    assert spelling[tokenizer.convert_tokens_to_ids("Ġ")] == " "
    for text in ("How sure are you? 2.50% ", ' {"inflation": 3.10}'):
        assert "".join(spelling[token] for token in tokenizer(text)["input_ids"]) == text
    pieces = tokenizer("你")["input_ids"]
    assert [spelling[token] for token in pieces] == [""] * len(pieces)


def test_next_logprobs_are_those_of_a_whole_pass(engine, checkpoint):
    tokens = [40, 7, 299]
    ways = [(), (17,), (17, 30), (80, 81, 82), (5,)]
    asked = [(prompt, way) for prompt in make_prompts(4, prefill="Of 10:") for way in ways]
    found = engine.next_logprobs(asked, tokens)
    assert found.shape == (20, 3)
    for (prompt, way), row in zip(asked, found, strict=True):
        expected = np.log(next_shares(checkpoint, prompt, way)[tokens])
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-4)
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_allclose(engine.next_logprobs([asked[i] for i in order], tokens), found[order], rtol=0, atol=1e-5)
    with pytest.raises(EngineError, match="the model reads 512; shorten the prompt"):
        engine.next_logprobs([(asked[0][0], (5,) * 500)], tokens)


@pytest.mark.parametrize("name", ["transformers", "nano"])
def test_a_trap_in_the_generation_config_changes_nothing_unless_asked_for(checkpoint, copy, name):
    plain = load_engine(f"{name}:{checkpoint}")
    drawn = [replace(prompt, sampling=Sampling(max_tokens=24)) for prompt in make_prompts(10)]
    prompts = [*drawn, *make_prompts(10), *make_prompts(3, choices=LETTERS)]
    path = copy / "generation_config.json"
    own = json.loads(path.read_text())
    path.write_text(json.dumps(own | {"do_sample": True, "top_k": 1, "repetition_penalty": 1.5}))
    trapped = load_engine(f"{name}:{copy}")
    assert answer_all(trapped, prompts) == answer_all(plain, prompts)
    assert trapped.fingerprint != plain.fingerprint

    asked = [replace(prompt, sampling=Sampling(max_tokens=24, model=True)) for prompt in drawn]
    followed = answer_all(trapped, asked)
    if name == "nano":
        assert {reply.error for reply in followed} == {
            "the model's generation_config sets repetition_penalty to 1.5, which nano does not compute; "
            "say in the scenario how to sample"
        }
    else:
        for prompt, reply in zip(asked, followed, strict=True):
            assert reply.text == penalised_text(trapped, prompt)

    path.write_text(json.dumps(own | {"do_sample": False, "temperature": 0.6}))
    assert answer_all(load_engine(f"{name}:{copy}"), asked) == answer_all(plain, make_prompts(10))
    path.write_text(json.dumps(own | {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20}))
    same = [replace(prompt, sampling=Sampling(0.6, 0.9, 20, 24)) for prompt in drawn]
    assert answer_all(load_engine(f"{name}:{copy}"), asked) == answer_all(plain, same)
    path.write_text(json.dumps(own | {"min_p": 0.1}))
    assert (
        "sets min_p to 0.1, which popsim does not compute" in answer_all(load_engine(f"{name}:{copy}"), asked)[0].error
    )


def penalised_text(engine, prompt):
    """What transformers itself writes greedily under the same penalty."""
    ids = torch.from_numpy(engine._texts.read(prompt.messages)[1].astype(np.int64))[None]
    written = engine._model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, repetition_penalty=1.5, max_new_tokens=24, top_k=None
    )[0, ids.shape[1] :]
    return engine._texts.write(written.tolist())


def test_nano_has_no_adapters_and_no_grammars(checkpoint):
    from popsim.engines import Shape

    prompts = [*make_prompts(1, adapter="one"), *make_prompts(1, shape=Shape('root ::= "a"', "{}")), *make_prompts(1)]
    replies = answer_all(load_engine(f"nano:{checkpoint}"), prompts)
    assert "nano has no adapters" in replies[0].error
    assert "nano cannot hold a reply to a grammar" in replies[1].error
    assert replies[2].finish != "error"
