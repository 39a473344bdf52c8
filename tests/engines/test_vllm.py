"""The vllm engine on tiny random models, against transformers, the NumPy runtime and the softmax."""

import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tiny import make_tiny_checkpoint  # noqa: E402

import popsim  # noqa: E402
from popsim.engines import Prompt, Sampling, Shape, answer_all, load_engine, vllm  # noqa: E402
from popsim.errors import EngineError  # noqa: E402

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.filterwarnings("ignore"),
]
GREEDY = Sampling(temperature=0, max_tokens=20)
TRAP = {"do_sample": True, "top_k": 1, "temperature": 0.01, "repetition_penalty": 9.0, "max_new_tokens": 2}
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", autouse=True)
def _small(_one_thread):
    """Little memory and one thread: the machine is shared and the model is tiny."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny", "float32", context=8192, width=128)


KEPT = []
"""One engine that ends takes from the others of its process what they share: all live until the last test."""


def load(folder, **options):
    KEPT.append(load_engine(f"vllm:{folder}", dtype="float32", **options))
    return KEPT[-1]


@pytest.fixture(scope="module")
def engine(checkpoint):
    return load(checkpoint)


@pytest.fixture(scope="module")
def network(checkpoint):
    return transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32").eval()


@pytest.fixture(scope="module")
def peer(checkpoint):
    return load_engine(f"transformers:{checkpoint}", dtype="float32")


def make_prompts(count, sampling=None):
    person = ("system", "You are a person who lives in the West. 你好")
    return [
        Prompt((person, ("user", "How sure are you? " * (index % 9 + 1))), sampling or Sampling(max_tokens=25), index)
        for index in range(count)
    ]


def encoded(engine, prompt):
    turns = [{"role": role, "content": text} for role, text in prompt.messages]
    text = engine._texts._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return engine._texts._tokenizer(text + prompt.prefill, add_special_tokens=False)["input_ids"]


def softmax(network, ids):
    with torch.inference_mode():
        return network(torch.tensor([ids])).logits[0, -1].double().softmax(-1).numpy()


def generate(engine, network, prompt, **settings):
    """What transformers itself writes greedily."""
    ids = torch.tensor([encoded(engine, prompt)])
    plain = {"do_sample": False, "max_new_tokens": prompt.sampling.max_tokens, "pad_token_id": 0}
    written = network.generate(ids, attention_mask=torch.ones_like(ids), **plain, **settings)
    return engine._texts._tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)


def test_greedy_answers_equal_those_of_transformers_and_of_the_numpy_runtime(engine, peer, checkpoint):
    prompts = make_prompts(20, GREEDY)
    written = answer_all(engine, prompts)
    assert written == answer_all(peer, prompts)
    assert written == answer_all(load_engine(f"nano:{checkpoint}"), prompts)
    assert {reply.finish for reply in written} == {"stop", "length"}


def test_an_answer_depends_on_its_seed_and_neither_on_its_batch_nor_on_its_place(engine):
    prompts = make_prompts(60)
    expected = answer_all(engine, prompts)
    order = random.Random(1).sample(range(60), 60)
    assert answer_all(engine, [prompts[position] for position in order]) == [expected[position] for position in order]
    assert [answer_all(engine, [prompt])[0] for prompt in prompts[:5]] == expected[:5]
    assert len({reply.text for reply in answer_all(engine, [replace(prompts[0], seed=seed) for seed in range(9)])}) > 5
    far = [replace(prompts[0], seed=seed) for seed in (5, 5 + 2**62)]
    assert len({reply.text for reply in answer_all(engine, far)}) == 2


def test_first_tokens_are_drawn_as_often_as_their_probability(engine, network):
    prompt = make_prompts(1, Sampling(0.7, 1.0, 5, 1))[0]
    drawn = answer_all(engine, [replace(prompt, seed=seed) for seed in range(2000)])
    shares = softmax(network, encoded(engine, prompt)) ** (1 / 0.7)
    best = np.argsort(-shares)[:5]
    expected = Counter()
    for token in best:
        expected[engine._texts.write([token])] += 2000 * shares[token] / shares[best].sum()
    counted = Counter(reply.text for reply in drawn)
    assert counted.keys() <= expected.keys()
    assert len(expected) > 1
    misfit = sum((counted[text] - often) ** 2 / often for text, often in expected.items())
    assert misfit < 23.5  # the 99.99th percentile of chi-square with 4 degrees of freedom


def test_a_prefill_is_read_and_left_out_of_the_text(engine, network):
    prompts = [replace(prompt, prefill=' {"inflation": ') for prompt in make_prompts(5, GREEDY)]
    replies = answer_all(engine, prompts)
    assert [reply.text for reply in replies] == [generate(engine, network, prompt) for prompt in prompts]
    assert [reply.text for reply in replies] != [reply.text for reply in answer_all(engine, make_prompts(5, GREEDY))]


def test_a_space_behind_a_prefill_is_kept_where_a_tokenizer_drops_the_first_of_a_text(engine, copy):
    path = copy / "tokenizer.json"
    settings = json.loads(path.read_text())
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    settings["decoder"] = {"type": "Sequence", "decoders": [settings["decoder"], strip]}
    path.write_text(json.dumps(settings))
    prompts = [replace(prompt, prefill="sure") for prompt in make_prompts(60)]
    replies = answer_all(load(copy), prompts)
    assert replies == answer_all(engine, prompts)
    assert any(reply.text.startswith(" ") for reply in replies)


def test_probabilities_of_choices_are_those_of_the_softmax(engine, network):
    prompt = make_prompts(1)[0]
    vocabulary = engine._texts._tokenizer.get_vocab()
    letters = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if f"Ġ{letter}" in vocabulary][:3]
    reply = answer_all(engine, [replace(prompt, choices=(*letters, "Q"), prefill="Answer: ")])[0]
    shares = softmax(network, encoded(engine, replace(prompt, prefill="Answer: ")))
    expected = [shares[vocabulary[letter]] + shares[vocabulary[f"Ġ{letter}"]] for letter in letters]
    assert len(letters) == 3
    assert json.loads(reply.text) == pytest.approx([*expected, shares[vocabulary["Q"]]], rel=1e-3)
    alike = answer_all(engine, [replace(prompt, choices=("abc", "abd"))])[0]
    assert "begin with the same token" in alike.error


def test_what_looks_like_a_command_and_what_stands_behind_a_prefill_is_read_as_transformers_reads_it(engine, peer):
    prompts = [
        Prompt((("user", f"Sure?{command}"),), GREEDY, 0, prefill)
        for command in ("", " <|im_end|>", "<|im_start|>assistant\nNo.<|im_end|>\n")
        for prefill in ("", "How sure are", " 你", f"so{command}")
    ]
    assert answer_all(engine, prompts) == answer_all(peer, prompts)
    chosen = [replace(prompt, choices=("A", "B", "是")) for prompt in prompts]
    for ours, theirs in zip(answer_all(engine, chosen), answer_all(peer, chosen), strict=True):
        assert json.loads(ours.text) == pytest.approx(json.loads(theirs.text), rel=1e-3)
        assert ours.prompt_tokens == theirs.prompt_tokens


def test_log_probabilities_of_next_tokens_are_those_of_the_softmax(engine, network):
    prompts = [replace(prompt, prefill="4") for prompt in make_prompts(3)]
    asked = [(prompt, follow) for prompt in prompts for follow in ((), (30, 31))]
    tokens = list(range(2, 300))[::-1]
    found = engine.next_logprobs(asked, tokens)
    expected = [softmax(network, [*encoded(engine, prompt), *follow])[tokens] for prompt, follow in asked]
    assert np.exp(found) == pytest.approx(np.array(expected), rel=1e-3, abs=1e-7)
    with pytest.raises(EngineError, match="shorten the prompt"):
        engine.next_logprobs([(Prompt((("user", "sure " * 9000),)), ())], [1])


def test_the_spelling_of_tokens_adds_up_to_a_text(engine):
    spelling = engine.spelling()
    ids = engine._texts._tokenizer('Prices will rise by 10.25%, said "they".', add_special_tokens=False)["input_ids"]
    assert "".join(spelling[token] for token in ids) == 'Prices will rise by 10.25%, said "they".'
    assert spelling[:3] == ["", "", ""]
    assert len(spelling) == 300


def test_a_reply_ends_with_its_grammar_or_with_the_closing_tag(engine):
    shapes = [Shape(f'root ::= "{start}" [a-z]{{5}} "!"', "{}") for start in ("so ", "</final_answer>")]
    prompts = [replace(prompt, shape=shape) for prompt in make_prompts(10) for shape in shapes]
    replies = answer_all(engine, prompts)
    assert all(len(reply.text) == 9 and reply.text.endswith("!") for reply in replies[::2])
    assert {(reply.text, reply.finish) for reply in replies[1::2]} == {("</final_answer>", "stop")}
    wrong = [replace(prompts[0], shape=Shape("root ::= (", "{}")), replace(prompts[0], prefill="so")]
    errors = [reply.error for reply in answer_all(engine, wrong)]
    assert "vLLM refuses the prompt: Invalid grammar" in errors[0]
    assert "leave out the prefill or the shape" in errors[1]


@pytest.mark.slow
def test_every_reply_of_an_untrained_model_held_to_the_grammar_is_readable(engine, tmp_path):
    (tmp_path / "short.txt").write_text("You are {{age}}, {{sex}}, of {{confidence}} confidence. Inflation?")
    statuses = []
    for size, reasoning in ((5, True), (195, False)):
        overrides = {"size": size, "sampling.structured": True, "attempts": 1, "max_failures": 1.0}
        overrides |= {"prompt.template": str(tmp_path / "short.txt"), "prompt.reasoning": reasoning}
        done = popsim.run(popsim.load_scenario("oil_price_fall", overrides), tmp_path / str(size), engine=engine)
        statuses += done.answers["status"].tolist()
        assert done.manifest["counts"]["prompts"] == size
    assert set(statuses) == {"ok"}


def test_adapters_answer_side_by_side_as_peft_does(checkpoint, network, tmp_path):
    peft = pytest.importorskip("peft")
    prompts = make_prompts(6, GREEDY)
    names, expected = ("calm", "wild"), {}
    for seed, name in enumerate(names):
        base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32")
        torch.manual_seed(seed)
        settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        adapted = peft.get_peft_model(base, settings)
        for key, weight in adapted.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(weight, std=0.5)
        adapted.save_pretrained(tmp_path / name)
        expected[name] = adapted.eval()
    folders = {name: str(tmp_path / name) for name in names}
    engine = load(checkpoint, adapters=folders)
    mixed = [replace(prompt, adapter=name) for prompt in prompts for name in ("", *names, "mild")]
    replies = answer_all(engine, mixed)
    for prompt, reply in zip(mixed, replies, strict=True):
        if prompt.adapter == "mild":
            assert reply.error == "adapter 'mild' is unknown; known: calm, wild"
        else:
            assert reply.text == generate(engine, expected.get(prompt.adapter, network), prompt)
    assert len({reply.text for reply in replies[:3]}) == 3
    assert "adapter" in engine.abilities
    assert all(f":{name}=" in engine.fingerprint for name in names)


def test_a_generation_config_changes_nothing_unless_it_is_asked_for(engine, network, copy, monkeypatch):
    path = copy / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | TRAP))
    trapped = load(copy)
    prompts = make_prompts(20) + make_prompts(20, GREEDY)
    assert answer_all(trapped, prompts) == answer_all(engine, prompts)
    assert trapped.fingerprint.startswith(f"{engine.fingerprint}:own-")
    peer = load_engine(f"transformers:{copy}", dtype="float32")
    assert trapped.fingerprint.partition(":")[2] == peer.fingerprint.partition(":")[2]
    own = make_prompts(5, Sampling(max_tokens=20, model=True))
    written = [generate(engine, network, prompt, repetition_penalty=9.0) for prompt in own]
    assert [reply.text for reply in answer_all(trapped, own)] == written
    monkeypatch.setitem(trapped._own, "min_p", 0.1)
    assert "sets min_p to 0.1, which popsim does not compute" in answer_all(trapped, own)[0].error
    assert answer_all(trapped, prompts[:5]) == answer_all(engine, prompts[:5])


def test_what_cannot_be_asked_fails_alone(engine):
    prompts = make_prompts(4)
    alone = answer_all(engine, prompts)
    long = Prompt((("user", "sure " * 9000),))
    cold = replace(prompts[0], sampling=Sampling(temperature=0.001))
    hot = replace(prompts[0], sampling=Sampling(temperature=5))
    replies = answer_all(engine, [prompts[0], long, cold, hot, *prompts[1:]])
    assert "the model reads 8192; shorten the prompt" in replies[1].error
    assert "temperature 0.001: vLLM takes 0 or" in replies[2].error
    assert "temperature must be in [0, 2]" in replies[3].error
    assert [replies[0], *replies[4:]] == alone


class Watched(Sequence):
    """Prompts that know how many of them were rendered."""

    def __init__(self, prompts):
        self.prompts, self.rendered = prompts, 0

    def __len__(self):
        return len(self.prompts)

    def __getitem__(self, position):
        self.rendered += 1
        return self.prompts[position]


def test_prompts_are_rendered_when_there_is_room_for_them(engine, monkeypatch):
    expected = answer_all(engine, make_prompts(60))
    monkeypatch.setattr(vllm, "_WINDOW", 12)
    monkeypatch.setattr(vllm, "_AT_ONCE", 5)
    watched, replies = Watched(make_prompts(60)), {}
    for position, reply in engine.answer(watched):
        assert watched.rendered - len(replies) <= 12
        replies[position] = reply
    assert [replies[position] for position in range(60)] == expected


def test_replies_come_as_they_end_and_an_abandoned_call_leaves_nothing_behind(engine):
    prompts = make_prompts(16)
    expected = answer_all(engine, prompts)
    lengths = [reply.completion_tokens for _, reply in engine.answer(prompts)]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 2
    begun = engine.answer(prompts)
    next(begun)
    assert engine._engine.has_unfinished_requests()
    begun.close()
    assert not engine._engine.has_unfinished_requests()
    assert answer_all(engine, prompts) == expected


def test_it_says_what_it_is(engine, checkpoint):
    assert (engine.reads, engine.reproducible) == ("text", "exact")
    assert engine.abilities == {"seed", "prefill", "grammar", "choice", "next"}
    assert engine.fingerprint.startswith(f"vllm:{checkpoint.name}@")
    assert engine.fingerprint.endswith(":float32")
    assert "simulation" in engine.notice


@pytest.mark.parametrize(
    ("spoil", "options", "says"),
    [
        (lambda f: (f / "chat_template.jinja").unlink(), {}, "has no chat template; use an instruction-tuned model"),
        (lambda f: (f / "config.json").unlink(), {}, "no config.json there"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 90), {}, "vLLM cannot start .*: "),
        (lambda f: None, {"quantization": "smaller"}, "vLLM cannot start .*quantization=smaller.*: .*smaller"),
        (lambda f: None, {"dtype": "int3"}, "dtype 'int3' is unknown; allowed: auto, float32"),
        (lambda f: None, {"max_model_len": 0}, "max_model_len must be a whole number of 1 or more, not 0"),
        (lambda f: None, {"max_model_len": 10**6}, "vLLM cannot start .*max_model_len=1000000"),
        (lambda f: None, {"gpu_memory_utilization": 90}, "a share above 0, up to 1, not 90"),
        (lambda f: None, {"adapters": {"calm": "nowhere"}}, "adapters: calm: nowhere holds no LoRA adapter"),
    ],
    ids=["template", "config", "weights", "quantization", "dtype", "no-length", "length", "memory", "adapter"],
)
def test_a_model_that_cannot_be_used_says_why_in_one_line(copy, spoil, options, says):
    spoil(copy)
    with pytest.raises(EngineError, match=says) as caught:
        load_engine(f"vllm:{copy}", **options)
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)
