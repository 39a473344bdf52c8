"""What a benchmark refuses: one line that says what is wrong and where, exit status 2, and nothing is asked."""

import json

import pytest
import yaml

from popsim.engines.tokens import first_tokens
from popsim.errors import EngineError
from popsim.tune import formats
from popsim.tune.records import Answer, Item, Shares

TRUST = Item("trust", "Do you trust people?", options=("yes", "it depends", "no"))
SIDED = "engines_for_tests:Sided"


@pytest.fixture
def refused(tmp_path, call):
    """Run a benchmark that cannot be run, and give the line that says why."""

    def run(*arguments, **parts):
        file = tmp_path / "b.yaml"
        whole = {"kind": "benchmark", "name": "b", "engine": SIDED, **parts}
        file.write_text(yaml.safe_dump(whole), encoding="utf-8")
        status, _, err = call("compare", file, "--out", tmp_path / "out", *arguments)
        assert status == 2, err
        assert err.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return err

    return run


def people(path, item, values, **facts):
    return formats.write_csv(path, [Answer(str(i), item, value, facts=facts) for i, value in enumerate(values)])


def csv(path, columns):
    return {"file": path.name, "format": "csv", "columns": columns.model_dump(mode="json")}


def subpop(path, **changed):
    row = {
        "qkey": "q",
        "attribute": "side",
        "group": "left",
        "question": "Well?",
        "options": ["yes", "no"],
        "responses": [0.5, 0.5],
        **changed,
    }
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return {"file": path.name, "format": "subpop"}


def test_rows_outside_their_scale(tmp_path, refused):
    columns = people(tmp_path / "p.csv", Item("warm", "How warm?", low=1, high=7), [3.0, 98.0])
    err = refused(task="numbers", data=csv(tmp_path / "p.csv", columns))
    assert "row 3: 98 lies outside the scale of warm, 1 to 7; declare it as a missing code" in err


@pytest.mark.parametrize(("responses", "said"), [([0.5, 0.6], "shares sum to 1.1"), ([-1, 2], "must be 0 or more")])
def test_shares_that_are_none(tmp_path, refused, responses, said):
    assert said in refused(task="shares", data=subpop(tmp_path / "g.jsonl", responses=responses))


def test_more_options_than_letters_and_letters_past_j(tmp_path, refused, call):
    many = [f"option {i}" for i in range(27)]
    shares = [1 / 27] * 27
    err = refused(task="shares", data=subpop(tmp_path / "g.jsonl", options=many, responses=shares))
    assert "27 options, but only 26 letters" in err
    data = subpop(tmp_path / "h.jsonl", options=many[:26], responses=[1 / 26] * 26)
    file = tmp_path / "h.yaml"
    file.write_text(
        yaml.safe_dump({"kind": "benchmark", "name": "h", "task": "shares", "data": data}), encoding="utf-8"
    )
    assert call("compare", file, "--engine", SIDED, "--out", tmp_path / "h")[0] == 0


def test_a_letter_that_is_several_tokens():
    pieces = {"A": [1, 2], "B": [3, 4]}

    def encode(text):
        return [0] * (len(text) > 1) + [token for letter in text for token in pieces.get(letter, [9])]

    with pytest.raises(EngineError, match="choice 'A' is several tokens for this model"):
        first_tokens(encode, lambda ids: "?", "", ["A", "B"])


def test_a_task_that_does_not_fit_the_file(tmp_path, refused):
    columns = people(tmp_path / "p.csv", TRUST, ["no"])
    assert "task numbers scores persons' numeric answers" in refused(
        task="numbers", data=csv(tmp_path / "p.csv", columns)
    )
    assert "task responses scores" in refused(task="responses", data=subpop(tmp_path / "g.jsonl"))


def test_orders_that_are_not_the_options(tmp_path, refused):
    data = csv(tmp_path / "p.csv", people(tmp_path / "p.csv", TRUST, ["no"]))
    assert "no question is named 'thrust'" in refused(task="responses", data=data, orders={"thrust": ["no"]})
    assert "'it depends' is on one side only" in refused(task="responses", data=data, orders={"trust": ["no", "yes"]})


def test_groups_by_facts_that_persons_lack(tmp_path, refused):
    data = csv(tmp_path / "p.csv", people(tmp_path / "p.csv", TRUST, ["no"], age="44"))
    assert "groups: person 0 has no 'sex'; known: age" in refused(task="responses", data=data, groups=["sex"])


def test_leaks_and_ways_to_hold_out_that_contradict_each_other(tmp_path, refused):
    columns = people(tmp_path / "p.csv", TRUST, ["no", "yes"] * 20)
    data = csv(tmp_path / "p.csv", columns)
    err = refused(task="responses", data=data, known=data, apart=["person"])
    assert "leak: 40 of 40 person in 'held out' also in 'known'" in err
    assert "apart" in refused(task="responses", data=data, apart=["question"])
    err = refused(task="responses", data=data, split={"by": ["person"]}, apart=["question"])
    assert "leak: 1 of 1 question" in err
    assert "give one" in refused(task="responses", data=data, split={"by": ["person"]}, known=data)
    assert "has no 'test_9'" in refused(task="shares", data=subpop(tmp_path / "g.jsonl"), part="test_9")


def test_engines_that_cannot_do_what_is_asked(tmp_path, refused):
    data = csv(tmp_path / "p.csv", people(tmp_path / "p.csv", TRUST, ["no"]))
    assert "reads facts, and records are text" in refused("--engine", "baseline", task="responses", data=data)
    err = refused("--engine", "engines_for_tests:Words", task="responses", data=data)
    assert "lacks the ability 'choice'" in err
    one = {"spec": "nano", "adapter": "mine"}
    assert "engine.adapter" in refused(task="responses", data=data, engine=one)
    preset = {"preset": "survey_v1_3b", "model": "x"}
    assert "engine.preset is for popsim's own prompts" in refused(task="responses", data=data, engine=preset)
    assert "sampling.structured" in refused(task="responses", data=data, sampling={"structured": True})
    assert "draws go with readout: generate" in refused(task="responses", data=data, draws=3)


def test_options_of_compare_that_go_with_a_benchmark_alone(tmp_path, call):
    status, _, err = call("compare", "nowhere.yaml", "--engine", SIDED)
    assert (status, err.count("\n")) == (2, 1)
    assert "nowhere.yaml: no such file" in err


def test_the_folder_of_a_benchmark_is_no_run(tmp_path, call):
    (tmp_path / "g.yaml").write_text(
        yaml.safe_dump({"kind": "benchmark", "name": "g", "task": "shares", "data": subpop(tmp_path / "g.jsonl")})
    )
    assert call("compare", tmp_path / "g.yaml", "--engine", SIDED, "--out", tmp_path / "g")[0] == 0
    for command in (("report", tmp_path / "g"), ("export", tmp_path / "g", "--to", "csv")):
        status, _, err = call(*command)
        assert (status, err.count("\n")) == (2, 1)
        assert "is the folder of a benchmark, not of a run" in err


@pytest.mark.slow
def test_base_models_without_a_chat_template_and_adapters_of_another_base(tmp_path, refused):
    pytest.importorskip("peft")
    from tiny import make_tiny_checkpoint

    from popsim.tune.adapter import tune_adapter
    from popsim.tune.adapter_config import AdapterConfig

    small, wide = (make_tiny_checkpoint(tmp_path / f"w{width}", "float32", width=width) for width in (32, 64))
    formats.write_subpop(tmp_path / "t.jsonl", [Shares("side: left", TRUST, (0.5, 0.25, 0.25))])
    stage = {
        "name": "task",
        "data": {"file": str(tmp_path / "t.jsonl"), "format": "subpop"},
        "loss": {"kind": "first_token_kl"},
    }
    config = {"kind": "adapter", "name": "mine", "title": "M", "base": str(small), "device": "cpu", "stages": [stage]}
    tune_adapter(AdapterConfig.model_validate(config), tmp_path / "mine")
    data = subpop(tmp_path / "g.jsonl")
    one = {"spec": f"transformers:{wide}", "options": {"adapters": {"mine": str(tmp_path / "mine")}}, "adapter": "mine"}
    err = refused(task="shares", data=data, engine=one)
    assert "adapter mine" in err
    assert "does not fit" in err or "another" in err
    (small / "chat_template.jinja").unlink()
    assert "chat template" in refused(task="shares", data=data, engine=f"transformers:{small}")
