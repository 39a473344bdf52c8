"""The engine ``server`` against a real vLLM server, held to PyTorch on the same files."""

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec

import pytest

pytest.importorskip("openai")
if find_spec("vllm") is None:
    pytest.skip("vllm is not installed", allow_module_level=True)

import torch
from tiny import make_tiny_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

import popsim
from popsim.engines import Prompt, Sampling, Shape, answer_all, load_engine
from popsim.errors import EngineError

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

CONTEXT = 8192
TRAP = {"do_sample": True, "top_k": 1, "temperature": 0.2, "top_p": 0.3, "repetition_penalty": 1.8}
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "OMP_NUM_THREADS": "1",
}
WORDS = ["prices rise", "unemployment", "2.50% or 4.00%?", "You are a person who rents", "x", "Give JSON."]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "float32", context=CONTEXT, width=128)
    end = json.loads((folder / "config.json").read_text())["eos_token_id"]
    (folder / "generation_config.json").write_text(json.dumps(TRAP | {"eos_token_id": end}))
    return folder


@pytest.fixture(scope="session")
def url(folder):
    """Start vLLM's own server on loopback; it takes some half a minute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", str(CONTEXT), "--max-num-batched-tokens", str(CONTEXT)]
    command += ["--no-enable-chunked-prefill"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=log, stderr=log)
    try:
        wait_until_ready(server, port, folder / "server.log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_ready(server, port, log):
    for _ in range(500):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture(scope="session")
def engine(url):
    return load_engine(f"server:tiny@{url}")


@pytest.fixture(scope="session")
def torch_model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def next_shares(torch_model, tokenizer, word, begun=""):
    """Compute the distribution of the next token from the text that the template gives."""
    text = f"<|im_start|>user\n{word}<|im_end|>\n<|im_start|>assistant\n{begun}"
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return torch_model(input_ids=ids).logits[0, -1].double().softmax(-1)


def prompts(sampling, **more):
    return [Prompt((("user", word),), sampling, seed=2**62 + place, **more) for place, word in enumerate(WORDS)]


def test_the_probe_finds_what_vllm_can_do(engine, folder):
    assert engine.abilities == {"seed", "prefill", "grammar", "choice"}
    assert engine.remarks == ()
    assert engine.fingerprint.startswith("server:tiny@127.0.0.1:")
    assert engine.fingerprint.endswith(f"={folder}")


def test_greedy_texts_are_those_of_transformers(engine, folder):
    asked = prompts(Sampling(temperature=0, max_tokens=40))
    local = load_engine(f"transformers:{folder}", dtype="float32")
    # vLLM leaves half a character at the end of a reply out
    replies, expected = (
        [(r.text.rstrip("\ufffd"), r.finish, r.completion_tokens) for r in answer_all(e, asked)]
        for e in (engine, local)
    )
    assert replies == expected
    assert len(set(replies)) > 3


def test_a_prefill_is_gone_on_from(engine, torch_model, tokenizer):
    replies = answer_all(engine, prompts(Sampling(temperature=0, max_tokens=1), prefill="Prices "))
    for word, reply in zip(WORDS, replies, strict=True):
        best = int(next_shares(torch_model, tokenizer, word, "Prices ").argmax())
        assert reply.text == tokenizer.decode([best], skip_special_tokens=True)


def test_choices_are_the_probabilities_of_the_next_token(engine, torch_model, tokenizer):
    letters = ("A", "B", "Y", "o", "w", "e")
    vocabulary = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    largest = 0.0
    for begun in ("", "say"):
        asked = prompts(Sampling(temperature=0.3, top_p=0.1), prefill=begun, choices=letters)
        for prompt, reply in zip(asked, answer_all(engine, asked), strict=True):
            shares = next_shares(torch_model, tokenizer, prompt.messages[0][1], begun)
            expected = [
                sum(float(shares[token]) for token, text in enumerate(vocabulary) if text in (letter, f" {letter}"))
                for letter in letters
            ]
            largest = max(largest, *expected)
            assert json.loads(reply.text) == pytest.approx(expected, abs=1e-4, rel=1e-3)
    assert largest > 0.05


def test_a_generation_config_has_no_say_unless_it_is_given_one(engine):
    def texts(sampling):
        asked = [Prompt((("user", "prices rise"),), sampling, seed=seed) for seed in range(12)]
        return {reply.text for reply in answer_all(engine, asked)}

    assert len(texts(Sampling(max_tokens=20))) > 8
    assert len(texts(Sampling(max_tokens=20, model=True))) == 1


def test_a_seed_gives_the_same_text_whatever_travels_with_it(engine):
    asked = [Prompt((("user", word),), Sampling(max_tokens=40), seed=2**61 + k) for k in range(5) for word in WORDS]
    texts = [reply.text for reply in answer_all(engine, asked)]
    order = list(range(len(asked)))
    random.Random(1).shuffle(order)
    again = answer_all(engine, [asked[place] for place in order])
    assert [reply.text for reply in again] == [texts[place] for place in order]
    assert len(set(texts)) > 20


def test_an_over_long_prompt_is_a_failed_row_and_the_rest_goes_on(engine):
    long, fine = answer_all(engine, [Prompt((("user", "word " * 9000),)), prompts(Sampling(max_tokens=5))[0]])
    assert long.finish == "error"
    assert "maximum context length" in long.error
    assert fine.finish in ("stop", "length")


def test_with_the_grammar_every_reply_of_a_random_model_is_readable(engine, tmp_path):
    settings = {"size": 8, "engine": "baseline", "sampling": {"structured": True}, "prompt.reasoning": False}
    run = popsim.run(popsim.load_scenario("oil_price_fall", settings), tmp_path / "run", engine=engine)
    assert set(run.answers["status"]) == {"ok"}
    assert run.manifest["counts"]["asked"] == 8
    assert run.answers["value"].nunique() > 8


def test_a_reply_ends_with_the_tag_that_closes_its_answer(engine):
    shape = Shape('root ::= "{}</final_answer>" [a-z]{9,20}', "")
    (reply,) = answer_all(engine, [Prompt((("user", "x"),), Sampling(max_tokens=60), shape=shape)])
    assert (reply.text, reply.finish) == ("{}</final_answer>", "stop")


def test_choices_that_begin_alike_are_refused(engine):
    with pytest.raises(EngineError, match="choice 'AB' has no first token of its own; use letters"):
        answer_all(engine, [Prompt((("user", "x"),), choices=("AB", "AC"))])
