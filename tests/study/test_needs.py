"""A study that its engine cannot carry out does not begin, and a manifest says how answers were drawn."""

from pathlib import Path

import pytest
from engines_for_tests import Seeded

import popsim
from popsim.errors import EngineError

NEEDS = {"sampling.structured": (True, "grammar"), "engine.adapter": ("tuned", "adapter")}


class Able(Seeded):
    abilities = frozenset({"adapter", "grammar", "seed"})


@pytest.mark.parametrize("setting", NEEDS)
def test_a_run_that_needs_what_the_engine_lacks_leaves_nothing(setting):
    value, ability = NEEDS[setting]
    scenario = popsim.load_scenario("oil_price_fall", {"size": 4, setting: value})
    says = rf"^{setting}: engine seeded/1 lacks the ability '{ability}' .*\(it has: none\); choose another"
    with pytest.raises(EngineError, match=says) as caught:
        popsim.run(scenario, "out", engine=Seeded(), cache="cache.sqlite")
    assert "\n" not in str(caught.value)
    assert list(Path().iterdir()) == []
    assert popsim.run(scenario, "out", engine=Able()).manifest["state"] == "complete"


def test_a_sweep_is_refused_for_one_point_alone():
    Path("study.yaml").write_text(
        "{name: s, title: S, population: us_adults_2018, size: 4, questionnaire: oil_price, arms: {fall: {}}, "
        "engine: 'engines_for_tests:Seeded', sweep: {sampling.structured: [false, true]}}"
    )
    with pytest.raises(EngineError, match=r"sampling\.structured: engine seeded/1"):
        popsim.sweep(list(popsim.sweep_points("study.yaml")), 1, "out")
    assert not Path("out").exists()


def test_sampling_by_the_model_needs_a_model():
    scenario = popsim.load_scenario("oil_price_fall", {"size": 4, "sampling": "model", "engine": "baseline"})
    with pytest.raises(EngineError, match="sampling: model: engine baseline/1 draws no tokens"):
        popsim.run(scenario, "out")
    assert popsim.run(scenario, "out", engine=Seeded()).manifest["sampling"]["source"] == "model"


def test_the_manifest_says_what_the_engine_can_do_and_how_replies_were_held():
    scenario = popsim.load_scenario("oil_price_fall", {"size": 4, "sampling.structured": True})
    manifest = popsim.run(scenario, "out", engine=Able()).manifest
    assert manifest["engine"]["abilities"] == ["adapter", "grammar", "seed"]
    assert manifest["sampling"] == {"source": "scenario", "structured": True}
