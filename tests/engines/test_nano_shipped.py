"""The model in the box: its files, what it says, and that whoever names no engine asks it."""

import json

import numpy as np
import pytest

import popsim
from popsim.engines import Prompt, Sampling, answer_all, load_engine
from popsim.engines.nano import SHIPPED, Nano
from popsim.model import PopulationModel, Round

SCENARIOS = ["oil_price_fall", "oil_price_rise", "learning_platform_cn"]


def asked(name, size, **changes):
    scenario = popsim.load_scenario(name, {"size": size, "seed": 5}).model_copy(update=changes)
    return Round(PopulationModel(scenario), 0)


def test_the_files_are_small_and_tell_what_the_answers_are_worth():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 16e6
    card = " ".join((SHIPPED / "README.md").read_text(encoding="utf-8").split())
    assert "never evidence about people" in card
    assert "rank correlation, fall, inflation" in card
    assert json.loads((SHIPPED / "tune.json").read_text(encoding="utf-8"))["name"] == "nano"
    assert (SHIPPED / "log.jsonl").is_file()


def test_whoever_names_no_engine_asks_nano(tmp_path):
    done = popsim.run(popsim.load_scenario("oil_price_fall", {"size": 3}), tmp_path / "run")
    assert done.manifest["engine"]["fingerprint"] == Nano().fingerprint
    assert "never evidence about people" in done.manifest["engine"]["notice"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_greedy_texts_are_those_of_transformers_on_the_same_files(name):
    greedy = Sampling(temperature=0, max_tokens=600)
    prompts = [Prompt(prompt.messages, greedy) for prompt in asked(name, 3)]
    ours = [reply.text for reply in answer_all(Nano(), prompts)]
    theirs = answer_all(load_engine(f"transformers:{SHIPPED}", dtype="float32"), prompts)
    assert ours == [reply.text for reply in theirs]


@pytest.mark.parametrize("name", SCENARIOS)
def test_replies_are_readable(name):
    prompts = asked(name, 60)
    readings = [prompts.read(i, reply) for i, reply in enumerate(answer_all(Nano(), prompts))]
    assert np.mean([reading.status == "ok" for reading in readings]) >= 0.9


def test_a_figure_that_was_heard_pulls_answers_its_way_and_the_unsure_more():
    item = {
        "name": "forecast",
        "text": "Experts now expect inflation of 6.0% over the coming 12 months.",
        "source": "evening news",
        "reach": 1.0,
        "signal": {"variable": "inflation", "value": 6.0, "sd": 1.0, "unit": "%"},
    }
    moved = {}
    for level in ("extremely weak", "extremely strong"):
        means = []
        for news in ([], [item]):
            given = {"size": 60, "seed": 5, "people.confidence": level, "news": news}
            prompts = Round(PopulationModel(popsim.load_scenario("oil_price_rise", given)), 0)
            readings = [prompts.read(i, reply) for i, reply in enumerate(answer_all(Nano(), prompts))]
            means.append(np.nanmean([reading.answers[1].value for reading in readings]))
        moved[level] = (means[1] - means[0]) / (6.0 - means[0])
    assert moved["extremely weak"] > 0.15
    assert 0.03 < moved["extremely strong"] < moved["extremely weak"]
