"""Presets: what they fill in, what they leave alone, and what is said when one does not fit."""

import json
import re
import textwrap
from pathlib import Path

import pytest
import yaml

import popsim
from popsim.engines.presets import load_preset
from popsim.errors import ScenarioError
from popsim.files import shipped
from popsim.scenario import Scenario, load_scenario, sweep_points, to_plain

STUDY = {
    "name": "mine",
    "title": "Mine",
    "population": "us_adults_2018",
    "size": 4,
    "questionnaire": "oil_price",
    "arms": {"fall": {}},
    "prompt": {"template": "mine.txt"},
}
ENGINE = {"preset": "survey_v1_3b", "model": "/weights/survey"}


def study(engine=ENGINE, **changes):
    Path("mine.txt").write_text("{{persona}} {{questionnaire}}")
    Path("study.yaml").write_text(yaml.safe_dump(STUDY | {"engine": engine} | changes))
    return "study.yaml"


def refused(*arguments, **changes):
    with pytest.raises(ScenarioError) as caught:
        load_scenario(study(*arguments, **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", shipped("presets"))
def test_every_shipped_preset_gives_a_scenario(name):
    scenario = load_scenario(study({"preset": name, "model": "weights"}))
    assert scenario.engine.spec == f"{load_preset(name).spec}:weights"


def test_the_3b_model_is_asked_as_its_card_does():
    scenario = load_scenario(study())
    assert scenario.engine.spec == "vllm:/weights/survey"
    assert scenario.engine.options["dtype"] == "bfloat16"
    assert scenario.sampling.wire(99999).model
    assert scenario.sampling.wire(99999).max_tokens == 2000
    assert scenario.prompt.template == "{{persona}} {{questionnaire}}"


def test_what_the_scenario_says_wins_value_by_value():
    engine = ENGINE | {"options": {"dtype": "float16", "seed": 1}, "adapter": "mine"}
    scenario = load_scenario(study(engine, sampling={"max_tokens": 50}))
    assert scenario.engine.options == {"dtype": "float16", "max_model_len": 8192, "seed": 1}
    assert scenario.engine.adapter == "mine"
    assert (scenario.sampling.source, scenario.sampling.max_tokens) == ("model", 50)


@pytest.mark.parametrize("given", [{"temperature": 0.0}, {"top_k": 5}, {"source": "scenario"}, "scenario"])
def test_who_says_how_to_draw_says_all_of_it(given):
    sampling = load_scenario(study(sampling=given)).sampling
    assert (sampling.source, sampling.max_tokens) == ("scenario", 2000)
    assert sampling.temperature == (0.0 if given == {"temperature": 0.0} else 1.0)


def test_another_engine_takes_the_sampling_and_not_the_options():
    spec = "server:survey@http://127.0.0.1:8000/v1"
    scenario = load_scenario(study({"preset": "survey_v1_3b", "spec": spec, "options": {"concurrency": 8}}))
    assert (scenario.engine.spec, scenario.engine.options) == (spec, {"concurrency": 8})
    assert scenario.sampling.source == "model"


def test_the_same_engine_by_its_spec_takes_the_options_too():
    scenario = load_scenario(study({"preset": "survey_v1_3b", "spec": "vllm:elsewhere"}))
    assert scenario.engine.options == load_preset("survey_v1_3b").options


def test_a_scenario_without_a_preset_is_left_as_it_was():
    plain = load_scenario(study("baseline"))
    assert (plain.engine.spec, plain.engine.preset, plain.engine.options) == ("baseline", "", {})
    assert plain.sampling.source == "scenario"
    assert plain.sampling.max_tokens is None


def test_what_is_resolved_reads_as_itself():
    scenario = load_scenario(study())
    plain = to_plain(scenario)
    assert plain["engine"]["spec"] == "vllm:/weights/survey"
    assert Scenario.model_validate(plain) == scenario
    again = load_scenario(study(plain["engine"], sampling=plain["sampling"]))
    assert (again.engine, again.sampling) == (scenario.engine, scenario.sampling)


def test_the_manifest_shows_what_a_preset_gave(tmp_path):
    preset = {"title": "A dry run.", "spec": "baseline", "sampling": {"temperature": 0.5, "max_tokens": 40}}
    Path("dry.yaml").write_text(yaml.safe_dump(preset))
    popsim.run(load_scenario(study({"preset": "dry.yaml", "spec": "baseline"})), tmp_path / "run")
    resolved = json.loads((tmp_path / "run" / "manifest.json").read_text())["identity"]["scenario"]
    assert resolved["engine"]["preset"] == "dry.yaml"
    assert (resolved["sampling"]["temperature"], resolved["sampling"]["max_tokens"]) == (0.5, 40)


def test_models_can_be_swept_and_set_from_outside():
    path = study(sweep={"engine.model": ["/a", "/b"]})
    assert [point.scenario.engine.spec for point in sweep_points(path)] == ["vllm:/a", "vllm:/b"]
    assert load_scenario(path, {"engine.model": "/c"}).engine.spec == "vllm:/c"
    assert load_scenario(path, {"engine": "baseline"}).engine.spec == "baseline"


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        (
            {"preset": "survey_v1_3", "model": "w"},
            "study.yaml: engine.preset: survey_v1_3: neither a .yaml file nor shipped; did you mean survey_v1_3b? "
            "Shipped: survey_v1_3b",
        ),
        ({"preset": "none.yaml", "model": "w"}, "study.yaml: engine.preset: none.yaml: no such file"),
        ({"preset": "survey_v1_3b"}, "study.yaml: engine: preset survey_v1_3b: needs the weights; write model: "),
        (
            {"preset": "survey_v1_3b", "model": "a", "spec": "vllm:b"},
            "study.yaml: engine: preset survey_v1_3b: model 'a' and spec 'vllm:b' contradict each other; leave one out",
        ),
        ({"model": "w"}, "study.yaml: engine.model: 'w' goes with a preset; else write spec: NAME:MODEL"),
        ({"preset": 3, "model": "w"}, "study.yaml: engine.preset: should be a valid string; put it in quotes, not 3"),
        (ENGINE | {"options": 3}, "study.yaml: engine.options: should be a mapping of keys to values, not 3"),
        (ENGINE | {"modell": "w"}, "study.yaml: engine.modell: unknown key; did you mean model?"),
    ],
)
def test_a_preset_that_does_not_fit_is_refused_in_one_line(engine, says):
    assert refused(engine).startswith(says)


def test_without_a_template_the_user_decides_whose_sentences_are_asked():
    assert "tuned on sentences that popsim does not have; write prompt: {template: FILE}" in refused(prompt={})
    assert load_scenario(study(prompt={"layout": "survey_v1"})).prompt.template is None


def test_drawing_both_ways_at_once_is_refused():
    assert "source 'model' leaves temperature to the model" in refused(sampling={"source": "model", "temperature": 0.2})


def test_a_broken_preset_is_named_with_the_scenario_that_uses_it():
    Path("mine.yaml").write_text("title: Mine\nspec: vllm\nsampling: {max_tokens: [1]}\n")
    assert "study.yaml: engine.preset: mine.yaml: sampling.max_tokens" in refused({"preset": "mine.yaml", "model": "w"})
    Path("mine.yaml").write_text("title: Mine\nspec: vllm\nsamplings: {}\n")
    assert "samplings: unknown key; did you mean sampling?" in refused({"preset": "mine.yaml", "model": "w"})


def test_the_recipe_in_the_documentation_is_a_scenario_that_loads():
    text = (Path(popsim.__file__).parents[1] / "docs" / "engines.md").read_text(encoding="utf-8")
    whole, server = (textwrap.dedent(block) for block in re.findall(r"(?s)```yaml\n(.*?)```", text))
    Path("my_prompt.txt").write_text(textwrap.dedent(re.search(r"(?s)```text\n(.*?)```", text)[1]))
    recipe = yaml.safe_load(whole)
    for changes in ({}, yaml.safe_load(server)):
        Path("recipe.yaml").write_text(yaml.safe_dump(recipe | changes))
        scenario = load_scenario("recipe.yaml")
        assert scenario.sampling.source == "model"
        assert f"engine.spec: {scenario.engine.spec}" in text or f"spec: {scenario.engine.spec}" in text
    assert "popsim copy survey_v1_3b" in text
