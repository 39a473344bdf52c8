import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from popsim.engines import Prompt, Reply, Sampling, answer_all, load_engine
from popsim.errors import RunError, TuneError
from popsim.tune import TuneConfig, check, load_tune_config
from popsim.tune.attention import let_branch
from popsim.tune.pairs import draw_pairs
from popsim.tune.scratch import answer_loss, collate, tune
from popsim.tune.tokenizer import END, chat, grow_tokenizer
from popsim.tune.weights import make_model, take_over

TINY = TuneConfig(
    name="tiny",
    title="A tiny one",
    draw={"scenarios": {"learning_platform_cn": 1}, "cell": 5, "held_out": 2},
    tokenizer={"vocabulary": 900, "pairs": 30},
    model={"hidden": 16, "layers": 2, "heads": 2, "kv_heads": 1, "intermediate": 32, "context": 2560},
    train={
        "steps": 6,
        "prompts": 2,
        "cells": 1,
        "threads": 1,
        "checkpoint": 2,
        "evaluate": 100,
        "replies": 0,
        "warm_up": 1,
        "brief": 0.3,
    },
)


class Killed(BaseException):
    pass


def kill_after(step):
    def tell(progress):
        if progress.step == step:
            raise Killed

    return tell


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune") / "unbroken"
    seen = []
    tune(TINY, folder, seen.append)
    return folder, seen


def test_steps_and_shares_are_told(unbroken):
    _, seen = unbroken
    assert [progress.step for progress in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].share == 1
    assert seen[-1].loss < seen[0].loss


def test_a_training_that_was_killed_ends_with_the_same_weights(unbroken, tmp_path):
    whole = load_file(unbroken[0] / "model.safetensors")
    for step in (1, 5):
        with pytest.raises(Killed):
            tune(TINY, tmp_path, kill_after(step))
    seen = []
    tune(TINY, tmp_path, seen.append)
    assert [progress.step for progress in seen] == [5, 6]
    broken = load_file(tmp_path / "model.safetensors")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_two_processes_end_with_the_mean_of_their_steps_and_go_on_after_a_kill(tmp_path):
    both = TINY.model_copy(update={"train": TINY.train.model_copy(update={"steps": 3, "processes": 2})})
    seen = []
    whole = load_file(tune(both, tmp_path / "whole", seen.append) / "model.safetensors")
    assert [progress.step for progress in seen] == [1, 2, 3]
    with pytest.raises(Killed):
        tune(both, tmp_path / "broken", kill_after(3))
    tune(both, tmp_path / "broken", seen.append)
    assert seen[3].step == 3
    broken = load_file(tmp_path / "broken" / "model.safetensors")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    alone = tune(TINY.model_copy(update={"train": TINY.train.model_copy(update={"steps": 3})}), tmp_path / "alone")
    assert any(not torch.equal(weight, whole[name]) for name, weight in load_file(alone / "model.safetensors").items())


def test_the_folder_holds_a_model_that_an_engine_reads(unbroken):
    folder, _ = unbroken
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    settings = json.loads((folder / "generation_config.json").read_text())
    assert settings["do_sample"]
    assert settings["temperature"] == 1
    assert "never evidence about people" in " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    assert not (folder / "checkpoint.pt").exists()
    engine = load_engine(f"transformers:{folder}", dtype="float32")
    [reply] = answer_all(engine, [Prompt((("user", "你好"),), Sampling(max_tokens=4), seed=1)])
    assert reply.error == ""
    assert reply.completion_tokens == 4


def test_a_training_that_has_ended_is_left_alone_and_another_is_refused(unbroken, tmp_path):
    folder, _ = unbroken
    seen = []
    assert tune(TINY, folder, seen.append) == folder
    assert seen == []
    with pytest.raises(RunError, match="title differ"):
        tune(TINY.model_copy(update={"title": "Another"}), folder)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="other files"):
        tune(TINY, tmp_path)


class Teacher:
    """Says what the teacher said, or something else."""

    fingerprint = "teacher"

    def __init__(self, texts):
        self.texts = texts

    def answer(self, prompts):
        yield from enumerate(map(Reply, self.texts))


def test_a_model_that_speaks_like_its_teacher_is_found_to_be_good(monkeypatch):
    draw = load_tune_config("nano").draw.model_copy(update={"scenarios": {"oil_price_fall": 1, "oil_price_rise": 1}})
    pairs = [pair for pair in draw_pairs(draw, "train", 150) if pair.reasoning]
    texts = [pair.answers[0] for pair in pairs]
    monkeypatch.setattr(check, "Transformers", lambda *_, **__: Teacher(texts))
    good = check.validate_replies("", pairs)
    assert (good.replies, good.ok, good.recall) == (len(pairs), 1, 1)
    assert min(good.correlation.values()) > 0.2
    texts = [*texts[1:], "I would rather not."]
    bad = check.validate_replies("", pairs)
    assert bad.ok == 1 - 1 / len(pairs)
    assert bad.recall < 0.2
    assert max(bad.correlation.values()) < min(0.3, *good.correlation.values())


def test_an_untrained_model_is_found_to_be_bad(unbroken, monkeypatch):
    monkeypatch.setattr(check, "_MAX_TOKENS", 8)
    found = check.validate_replies(unbroken[0], draw_pairs(TINY.draw, "train", 2))
    assert found.figures() == {"replies": 2, "ok": 0, "recall_numbers": 0, "correlation": {}}


def test_the_heads_of_a_new_model_look_one_two_three_tokens_back(unbroken):
    tokenizer = Tokenizer.from_file(str(unbroken[0] / "tokenizer.json"))
    model = make_model(load_tune_config("nano").model, tokenizer, 0)
    model.set_attn_implementation("eager")
    ids = torch.from_numpy(np.random.default_rng(0).integers(900, size=(1, 300)))
    seen = model(ids, output_attentions=True).attentions[0][0]
    for back, head in enumerate(seen, 1):
        assert torch.diagonal(head, -back).mean() > 0.8


def test_a_context_that_is_too_short_is_named(unbroken):
    folder, _ = unbroken
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    short = TINY.model_copy(update={"model": TINY.model.model_copy(update={"context": 64})})
    with pytest.raises(TuneError, match=r"model\.context: 64 is too short"):
        collate(short, tokenizer, draw_pairs(TINY.draw, "train", 1))


def taught(tokenizer, pair):
    """The ids of each answer, as far as their text does not go beyond the place where it breaks off."""
    if not pair.ends:
        return [tokenizer.encode(answer + END).ids for answer in pair.answers]
    every = [tokenizer.encode(answer).ids for answer in pair.answers]
    return [
        next(
            ids[:n] for n in range(len(ids), 0, -1) if len(tokenizer.decode(ids[:n], skip_special_tokens=False)) <= end
        )
        for ids, end in zip(every, pair.ends, strict=True)
    ]


@pytest.mark.parametrize("broken", [0, 1])
def test_the_loss_is_that_of_the_answers_and_nothing_else(unbroken, broken):
    """The loss of a batch is what reading each prompt and answer in full gives, averaged over the answers' tokens.

    What all answers of a prompt begin with counts once.
    """
    tokenizer = Tokenizer.from_file(str(unbroken[0] / "tokenizer.json"))
    pairs = draw_pairs(TINY.draw.model_copy(update={"broken": broken, "broken_answers": 3}), "train", 2)
    [batch] = collate(TINY, tokenizer, pairs)
    rest = [tokenizer.decode(row[row >= 0].tolist(), skip_special_tokens=False) for row in batch.labels]
    begun = [tokenizer.decode(row[row >= 0].tolist(), skip_special_tokens=False) for row in batch.begun]
    assert all(map(len, begun)) if broken else not any(END in start for start in begun)
    learned = {begun[i // (len(rest) // 2)] + end for i, end in enumerate(rest)}
    wanted = [taught(tokenizer, pair) for pair in pairs]
    assert learned == {tokenizer.decode(ids, skip_special_tokens=False) for some in wanted for ids in some}
    model = make_model(TINY.model, tokenizer, 0).double()
    branching = make_model(TINY.model, tokenizer, 0).double()
    let_branch(branching)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for pair, answers in zip(pairs, wanted, strict=True):
        prompt = tokenizer.encode(chat(pair.messages)).ids
        seen = set()
        for answer in answers:
            ids = torch.tensor([prompt + answer])
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
            losses = torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="none")
            for place, loss in enumerate(losses):
                alike = len({tuple(one[: place + 1]) for one in answers}) == 1
                if not alike or place not in seen:
                    total, count = total + loss, count + 1
                seen.add(place)
    loss = answer_loss(branching, batch, torch.float64)
    assert loss.item() == pytest.approx(total.item() / count, rel=1e-6)
    loss.backward()
    (total / count).backward()
    for ours, theirs in zip(branching.parameters(), model.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_a_training_that_goes_on_from_another_model_begins_with_what_it_knows(unbroken, tmp_path):
    first = Tokenizer.from_file(str(unbroken[0] / "tokenizer.json"))
    new = ["The federal funds rate is steered by a committee."] * 20
    grown = grow_tokenizer(first, new, first.get_vocab_size() + 50)
    model = make_model(TINY.model, grown, 5)
    take_over(model, unbroken[0], grown)
    known = make_model(TINY.model, first, 5)
    take_over(known, unbroken[0], first)
    ids = torch.tensor([first.encode("你好，平台。").ids])
    with torch.inference_mode():
        ours, theirs = (one(input_ids=ids).logits for one in (model, known))
    assert torch.allclose(ours[..., : theirs.shape[-1]], theirs, atol=1e-6)
    rows, [whole] = model.model.embed_tokens.weight, grown.encode(new[0]).ids
    pieces = first.encode(new[0]).ids
    assert torch.allclose(rows[whole], rows[pieces].mean(0), atol=1e-5)


def test_a_training_goes_on_from_a_folder_with_a_grown_vocabulary(unbroken, tmp_path):
    config = TINY.model_copy(
        update={
            "start": str(unbroken[0]),
            "draw": TINY.draw.model_copy(update={"scenarios": {"oil_price_rise": 1}}),
            "tokenizer": TINY.tokenizer.model_copy(update={"vocabulary": 1100}),
            "model": TINY.model.model_copy(update={"context": 8192}),
            "train": TINY.train.model_copy(update={"steps": 1, "brief": 0.0}),
        }
    )
    folder = tune(config, tmp_path / "on")
    before, after = (Tokenizer.from_file(str(one / "tokenizer.json")) for one in (unbroken[0], folder))
    assert before.get_vocab_size() < after.get_vocab_size() <= 1100
    assert load_file(folder / "model.safetensors")["model.embed_tokens.weight"].shape[0] == after.get_vocab_size()


def test_a_model_of_other_sizes_cannot_be_gone_on_from(unbroken):
    tokenizer = Tokenizer.from_file(str(unbroken[0] / "tokenizer.json"))
    wider = make_model(TINY.model.model_copy(update={"intermediate": 48}), tokenizer, 0)
    with pytest.raises(TuneError, match=r"start: .*its sizes are not those of model: .*size mismatch.*\(48, 16\)|48"):
        take_over(wider, unbroken[0], tokenizer)


def test_a_folder_without_a_model_cannot_be_gone_on_from(tmp_path):
    with pytest.raises(TuneError, match=r"start: .*nowhere: no tokenizer\.json there"):
        tune(TINY.model_copy(update={"start": str(tmp_path / "nowhere")}), tmp_path / "out")
    tune(TINY.model_copy(update={"train": TINY.train.model_copy(update={"steps": 1})}), tmp_path / "out")
