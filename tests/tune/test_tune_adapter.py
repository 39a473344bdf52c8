"""An adapter trained on people's answers on a tiny model: it learns, resumes, chains stages and is served by name."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from tiny import make_tiny_checkpoint  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from popsim.cli import app  # noqa: E402
from popsim.engines import Prompt, Sampling, answer_all, load_engine  # noqa: E402
from popsim.engines.tokens import log_softmax  # noqa: E402
from popsim.errors import EngineError, PopsimError, RunError, TuneError  # noqa: E402
from popsim.tune import adapter, formats  # noqa: E402
from popsim.tune.adapter import rate, tune_adapter  # noqa: E402
from popsim.tune.adapter_config import AdapterConfig, Stage, load_adapter_config  # noqa: E402
from popsim.tune.asking import ask_group  # noqa: E402
from popsim.tune.config import find_training  # noqa: E402
from popsim.tune.records import Answer, Item, Shares, pool  # noqa: E402

PRESETS = ["first_token_kl", "subpop", "align_survey", "socrates", "socrates_preference", "beliefs"]
CHOICE = Item("trust", "Trust?", options=("yes", "maybe", "no"), places=(0, 1, 2))
NUMBER = Item("warm", "How warm?", low=0, high=9)
LONG = Item("pay", "How much?", low=0, high=500)
GROUPS = [Shares("X: one", CHOICE, (0.9, 0.1, 0.0)), Shares("X: two", CHOICE, (0.0, 0.2, 0.8))]
PEOPLE = [
    Answer(str(i), item, value, facts={"side": "ab"[i % 2]}, study="s", reasoning="Because.")
    for i in range(6)
    for item, value in ((CHOICE, CHOICE.options[i % 3]), (NUMBER, float(i)), (LONG, 77.0 * i))
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny", "float32", context=1024)


@pytest.fixture
def files(tmp_path):
    formats.write_subpop(tmp_path / "groups.jsonl", GROUPS)
    columns = formats.write_csv(tmp_path / "people.csv", PEOPLE)
    scale = formats.write_csv(tmp_path / "numbers.csv", [one for one in PEOPLE if one.item.low is not None])
    formats.write_socsci(tmp_path / "social.jsonl", [one for one in PEOPLE if one.item is NUMBER])
    return {
        "groups": {"file": str(tmp_path / "groups.jsonl"), "format": "subpop"},
        "people": {"file": str(tmp_path / "people.csv"), "format": "csv", "columns": columns.model_dump()},
        "numbers": {"file": str(tmp_path / "numbers.csv"), "format": "csv", "columns": scale.model_dump()},
        "social": {"file": str(tmp_path / "social.jsonl"), "format": "socsci"},
    }


def config(model, *stages, **changed):
    first = {"name": "task", "epochs": 2, "batch": 4, "at_once": 4, "learning_rate": 0.01, "schedule": "constant"}
    whole = [{**first, **stage} for stage in stages]
    lora = {"rank": 4, "alpha": 8, "dropout": 0.1}
    parts = {"kind": "adapter", "name": "mine", "title": "Mine", "base": str(model), "device": "cpu", "lora": lora}
    return AdapterConfig.model_validate({**parts, "stages": whole, **changed})


def weights(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "adapter_model.safetensors")


def losses_of(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def served(base, folder, steering="portray"):
    """The option shares that the engine gives through the adapter."""
    engine = load_engine(f"transformers:{base}", adapters={"mine": str(folder)}, device="cpu")
    asked = [ask_group(one, steering) for one in GROUPS]
    prompts = [
        Prompt((("user", one.text),), prefill=one.prefill, choices=tuple(one.letters), adapter="mine") for one in asked
    ]
    shares = np.array([json.loads(reply.text) for reply in answer_all(engine, prompts)])
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["first_token_kl", "first_token_js", "first_token_ce", "first_token_wasserstein"])
def test_tuning_on_shares_brings_the_served_options_to_the_groups(base, files, tmp_path, kind):
    stage = {"data": files["groups"], "loss": {"kind": kind}, "epochs": 60, "learning_rate": 0.02}
    tune_adapter(config(base, stage), tmp_path / "out")
    found = served(base, tmp_path / "out")
    assert losses_of(tmp_path / "out")[-1] < 0.5 * losses_of(tmp_path / "out")[0]
    human = np.array([one.shares for one in GROUPS])
    assert (found.argmax(axis=1) == human.argmax(axis=1)).all()
    if kind == "first_token_kl":
        assert 0.5 * np.abs(found - human).sum(axis=1).max() < 0.1


@pytest.mark.parametrize("steering", ["qa", "bio"])
def test_each_way_to_name_a_group_is_trained_as_it_is_asked(base, files, tmp_path, steering):
    stage = {"data": files["groups"], "loss": {"kind": "first_token_kl"}, "epochs": 60, "learning_rate": 0.02}
    tune_adapter(config(base, {**stage, "steering": steering}), tmp_path / "out")
    human = np.array([one.shares for one in GROUPS])
    assert 0.5 * np.abs(served(base, tmp_path / "out", steering) - human).sum(axis=1).max() < 0.1


def test_served_probabilities_are_a_direct_softmax_over_the_option_logits(base, files, tmp_path):
    tune_adapter(config(base, {"data": files["groups"], "loss": {"kind": "first_token_kl"}}), tmp_path / "out")
    engine = load_engine(f"transformers:{base}", adapters={"mine": str(tmp_path / "out")}, device="cpu")
    asked = ask_group(GROUPS[0])
    prompt = Prompt((("user", asked.text),), prefill=asked.prefill, adapter="mine")
    spelling = list(engine.spelling())
    ids = [[i for i, text in enumerate(spelling) if text.strip() == letter] for letter in asked.letters]
    logs = engine.next_logprobs([(prompt, ())], list(range(len(spelling))))[0]
    sums = np.array([np.exp(log_softmax(logs)[one]).sum() for one in ids])
    assert served(base, tmp_path / "out")[0] == pytest.approx(sums / sums.sum(), abs=1e-6)


@pytest.mark.parametrize(
    ("data", "loss", "more"),
    [
        ("people", {"kind": "answer"}, {"shots": 2}),
        ("social", {"kind": "answer"}, {}),
        ("numbers", {"kind": "number", "weight": 2, "slope": 1, "width": 0.05}, {}),
        ("social", {"kind": "number", "weight": 2, "slope": 1}, {}),
        ("people", {"kind": "preference", "beta": 0.5}, {}),
    ],
    ids=["answer", "socsci", "digits", "one token", "preference"],
)
def test_every_loss_on_answers_falls(base, files, tmp_path, data, loss, more):
    stage = {"data": files[data], "loss": loss, "epochs": 12, **more}
    tune_adapter(config(base, stage), tmp_path / "out")
    found = losses_of(tmp_path / "out")
    assert found[-1] < found[0]


def test_a_base_in_half_precision_is_tuned_in_single(base, files, tmp_path):
    stage = {"data": files["groups"], "loss": {"kind": "first_token_kl"}, "epochs": 20, "learning_rate": 0.01}
    tune_adapter(config(base, stage, dtype="bfloat16"), tmp_path / "out")
    assert {one.dtype for one in weights(tmp_path / "out").values()} == {np.dtype(np.float32)}
    found = losses_of(tmp_path / "out")
    assert found[-1] < 0.5 * found[0]


def test_a_killed_tune_goes_on_to_the_same_adapter(base, files, tmp_path):
    stages = [
        {"name": "first", "data": files["people"], "loss": {"kind": "answer"}, "checkpoint": 1},
        {"name": "second", "data": files["groups"], "loss": {"kind": "first_token_kl"}, "epochs": 3},
    ]
    whole = config(base, *stages)
    tune_adapter(whole, tmp_path / "whole")
    for at in (2, 5, 11):

        def stop(state, at=at):
            if state.step == at:
                raise KeyboardInterrupt

        folder = tmp_path / f"killed_{at}"
        with pytest.raises(KeyboardInterrupt):
            tune_adapter(whole, folder, stop)
        assert not (folder / "adapter_model.safetensors").exists()
        tune_adapter(whole, folder)
        ours, theirs = weights(folder), weights(tmp_path / "whole")
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
        assert not (folder / "checkpoint.pt").exists()


def test_another_seed_gives_another_adapter_and_the_same_the_same(base, files, tmp_path):
    stage = {"data": files["groups"], "loss": {"kind": "first_token_kl"}}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tune_adapter(config(base, stage, seed=seed), tmp_path / name)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert any(not np.array_equal(a[name], c[name]) for name in a)


def test_second_stage_and_start_go_on_from_the_adapter(base, files, tmp_path):
    stage = {"data": files["groups"], "loss": {"kind": "first_token_kl"}, "epochs": 30, "learning_rate": 0.02}
    tune_adapter(config(base, stage), tmp_path / "one")
    again = {**stage, "epochs": 1, "learning_rate": 1e-4}
    tune_adapter(config(base, again, start=str(tmp_path / "one")), tmp_path / "two")
    tune_adapter(config(base, stage, {**again, "name": "more"}), tmp_path / "both")
    fresh = losses_of(tmp_path / "one")[0]
    assert losses_of(tmp_path / "two")[0] < 0.5 * fresh
    assert losses_of(tmp_path / "both")[-1] < 0.5 * fresh


def test_shares_that_a_prompt_asks_for_in_words_are_learned_as_they_are_stated(base, tmp_path):
    prompt = "Say how many percent of these women choose each.\n\nA. yes\nB. maybe\nC. no"
    formats.write_alpaca(tmp_path / "g.json", [replace(GROUPS[0], prompt=prompt)])
    data = {"file": str(tmp_path / "g.json"), "format": "alpaca"}
    stage = {"data": data, "loss": {"kind": "answer"}, "epochs": 100, "learning_rate": 0.03}
    tune_adapter(config(base, stage), tmp_path / "out")
    engine = load_engine(f"transformers:{base}", adapters={"mine": str(tmp_path / "out")}, device="cpu")
    asked = Prompt((("user", prompt),), Sampling(temperature=0, max_tokens=64), adapter="mine")
    assert answer_all(engine, [asked])[0].text == "A. yes: 90%\nB. maybe: 10%\nC. no: 0%"
    with pytest.raises(TuneError, match=r"cannot learn shares that a prompt asks for in words .*; take loss answer"):
        tune_adapter(config(base, {**stage, "loss": {"kind": "first_token_kl"}}), tmp_path / "kl")


def test_a_preference_compares_with_the_model_as_it_was_before_its_stage(base, files, tmp_path):
    """At the first step nothing has changed, whatever an earlier stage did: the loss is ln 2."""
    answers = {"data": files["people"], "loss": {"kind": "answer"}, "epochs": 10, "learning_rate": 0.02}
    pairs = {"data": files["people"], "loss": {"kind": "preference", "beta": 0.5}, "epochs": 3, "batch": 6}
    both = config(base, answers, {**pairs, "name": "pairs"}, lora={"rank": 4, "alpha": 8})
    first = []

    def tell(progress):
        if progress.log and progress.log["stage"] == "task" and progress.log["epoch"] == 10:
            first.append(progress.loss)

    tune_adapter(both, tmp_path / "out", tell)
    assert first[1] == pytest.approx(np.log(2), abs=1e-4)
    assert losses_of(tmp_path / "out")[-1] < np.log(2)


def test_rows_alike_learned_as_one_give_the_same_gradient(base, tmp_path):
    item = Item("trust", "Trust?", options=("yes", "no"))
    people = [Answer(str(i), item, "yes" if i else "no", facts={"side": "a"}) for i in range(4)]
    columns = formats.write_csv(tmp_path / "four.csv", people).model_dump()
    data = {"file": str(tmp_path / "four.csv"), "format": "csv", "columns": columns}
    stage = {"data": data, "loss": {"kind": "answer"}, "epochs": 3}
    lora = {"rank": 4, "alpha": 8}
    tune_adapter(config(base, stage, lora=lora), tmp_path / "each")
    tune_adapter(config(base, {**stage, "merge": True}, lora=lora), tmp_path / "merged")
    each, merged = weights(tmp_path / "each"), weights(tmp_path / "merged")
    for name in each:
        assert merged[name] == pytest.approx(each[name], abs=1e-3)
    log = [json.loads(line) for line in (tmp_path / "merged" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (log[0]["records"], log[0]["rows"]) == (4, 2)
    assert log[0]["left_out"] == 0
    assert losses_of(tmp_path / "merged") == pytest.approx(losses_of(tmp_path / "each"), abs=1e-4)


def test_shares_of_groups_are_never_merged(base, files):
    with pytest.raises(ValueError, match="answers of persons, not first_token_kl"):
        config(base, {"data": files["groups"], "loss": {"kind": "first_token_kl"}, "merge": True})


def test_best_epoch_by_validation_is_kept(base, files, tmp_path):
    formats.write_subpop(tmp_path / "valid.jsonl", [Shares("X: three", CHOICE, (0.4, 0.2, 0.4))])
    valid = {"file": str(tmp_path / "valid.jsonl"), "format": "subpop"}
    stage = {"data": files["groups"], "valid": valid, "loss": {"kind": "first_token_kl"}, "learning_rate": 0.05}
    tune_adapter(config(base, {**stage, "epochs": 8}), tmp_path / "long")
    log = [json.loads(line) for line in (tmp_path / "long" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    best = int(np.argmin([line["valid_loss"] for line in log])) + 1
    assert best < 8
    tune_adapter(config(base, {**stage, "epochs": best}), tmp_path / "short")
    long, short = weights(tmp_path / "long"), weights(tmp_path / "short")
    assert all(np.array_equal(long[name], short[name]) for name in long)


def test_reasoning_is_learned_in_three_parts(base, tmp_path, files):
    rows = [one for one in PEOPLE if one.item is NUMBER]
    formats.write_socsci(tmp_path / "r.jsonl", rows)
    stage = {
        "data": {"file": str(tmp_path / "r.jsonl"), "format": "socsci"},
        "loss": {"kind": "answer"},
        "reasoning": True,
    }
    tune_adapter(config(base, stage), tmp_path / "out")
    assert len(losses_of(tmp_path / "out")) == 2


def test_a_leak_ends_the_tune_before_anything_is_written(base, files, tmp_path):
    stage = {"data": files["groups"], "valid": files["groups"], "apart": ["group"], "loss": {"kind": "first_token_kl"}}
    with pytest.raises(TuneError, match=r"leak: 2 of 2 group"):
        tune_adapter(config(base, stage), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stage", "changed", "said"),
    [
        ({"data": "people", "loss": {"kind": "first_token_kl"}}, {}, "learns from distributions of groups"),
        ({"data": "groups", "loss": {"kind": "answer"}}, {}, "learns from answers of persons"),
        ({"data": "people", "loss": {"kind": "number", "weight": 1, "slope": 1}}, {}, "needs a scale"),
        ({"data": "people", "loss": {"kind": "answer"}, "reasoning": True}, {}, "has no rationale"),
        ({"data": "people", "loss": {"kind": "answer"}, "part": 1e-9}, {}, "stage task: part: 1e-09 of"),
        ({"data": "people", "loss": {"kind": "answer"}, "max_tokens": 4}, {}, "none can be learned from"),
        ({"data": "groups", "loss": {"kind": "first_token_kl"}, "apart": ["group"]}, {}, "there is no valid"),
        ({"data": "groups", "loss": {"kind": "first_token_kl"}}, {"start": "nowhere"}, "no adapter_config.json"),
        ({"data": "groups", "loss": {"kind": "first_token_kl"}}, {"lora": {"modules": ["nix"]}}, "nix"),
        ({"data": "groups", "loss": {"kind": "first_token_kl"}}, {"bits": 4}, "bits: 4 needs"),
        ({"data": "groups", "loss": {"kind": "first_token_kl"}}, {"base": "./nowhere"}, "no such folder"),
    ],
)
def test_what_cannot_be_learned_is_one_line_and_leaves_nothing(base, files, tmp_path, stage, changed, said):
    if changed.get("bits") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(PopsimError) as caught:
        tune_adapter(config(base, {**stage, "data": files[stage["data"]]}, **changed), tmp_path / "out")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_numbers_of_tokens_with_two_digits_are_refused(base, tmp_path):
    columns = formats.write_csv(tmp_path / "l.csv", [Answer("1", LONG, 210.0)])
    data = {"file": str(tmp_path / "l.csv"), "format": "csv", "columns": columns.model_dump()}
    stage = {"data": data, "loss": {"kind": "number", "weight": 1, "slope": 1}}
    with pytest.raises(TuneError, match="210 is neither one token nor one token a digit; rescale"):
        tune_adapter(config(base, stage), tmp_path / "out")


def test_options_without_order_have_no_wasserstein(base, tmp_path):
    item = Item("u", "?", options=("a", "b"))
    formats.write_subpop(tmp_path / "u.jsonl", [Shares("X: one", item, (0.5, 0.5))])
    stage = {
        "data": {"file": str(tmp_path / "u.jsonl"), "format": "subpop"},
        "loss": {"kind": "first_token_wasserstein"},
    }
    with pytest.raises(TuneError, match="question u: options have no order; take loss first_token_kl"):
        tune_adapter(config(base, stage), tmp_path / "out")


def test_a_base_without_a_chat_template_is_refused(base, files, tmp_path):
    bare = make_tiny_checkpoint(tmp_path / "bare", "float32")
    (bare / "chat_template.jinja").unlink()
    stage = {"data": files["groups"], "loss": {"kind": "first_token_kl"}}
    with pytest.raises(EngineError, match="has no chat template"):
        tune_adapter(config(bare, stage), tmp_path / "out")


def test_an_adapter_made_for_another_base_is_refused(base, files, tmp_path):
    wide = make_tiny_checkpoint(tmp_path / "wide", "float32", width=64)
    stage = {"data": files["groups"], "loss": {"kind": "first_token_kl"}}
    tune_adapter(config(base, stage), tmp_path / "one")
    with pytest.raises(TuneError, match=r"start: .*one does not fit .*wide"):
        tune_adapter(config(wide, stage, start=str(tmp_path / "one")), tmp_path / "two")
    with pytest.raises(EngineError, match="does not fit this model"):
        load_engine(f"transformers:{wide}", adapters={"mine": str(tmp_path / "one")})


def test_a_folder_of_another_tune_is_refused(base, files, tmp_path):
    stage = {"data": files["groups"], "loss": {"kind": "first_token_kl"}}
    tune_adapter(config(base, stage), tmp_path / "out")
    before = (tmp_path / "out" / "adapter_model.safetensors").stat().st_mtime_ns
    tune_adapter(config(base, stage), tmp_path / "out")
    assert (tmp_path / "out" / "adapter_model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="seed differ"):
        tune_adapter(config(base, stage, seed=9), tmp_path / "out")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_needs_only_base_and_data(base, files, tmp_path, name):
    with pytest.raises(TuneError, match="names no base model") as caught:
        load_adapter_config(name)
    assert "\n" not in str(caught.value)
    names = (
        [stage["name"] for stage in yaml.safe_load(find_training(name).read_text("utf-8"))["stages"]]
        if (name != "socrates_preference")
        else ["task"]
    )
    data = {**files["groups"], "file": "groups.jsonl"}
    mine = {"based_on": name, "base": str(base), "stages": {one: {"data": data} for one in names}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine), encoding="utf-8")
    loaded = load_adapter_config(tmp_path / "mine.yaml")
    assert loaded.stages[0].data.file == str(tmp_path / "groups.jsonl")
    assert loaded.name == name


def test_the_command_trains_an_adapter_by_a_preset(base, files, tmp_path):
    data = {"file": "groups.jsonl", "format": "subpop"}
    mine = {"based_on": "first_token_kl", "base": str(base), "stages": {"task": {"data": data, "apart": None}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine), encoding="utf-8")
    done = CliRunner().invoke(app, ["tune", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert served(base, tmp_path / "out").shape == (2, 3)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ({"kind": "number"}, "needs both"),
        ({"kind": "preference"}, "beta goes with"),
        ({"kind": "answer", "per_option": True}, "per_option goes with"),
        ({"kind": "hinge"}, "loss.kind"),
    ],
)
def test_mistakes_in_a_file_are_one_line(base, files, tmp_path, loss, said):
    stage = {"name": "task", "data": files["groups"], "loss": loss}
    parts = {"kind": "adapter", "name": "m", "title": "M", "base": str(base), "stages": [stage]}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(parts), encoding="utf-8")
    with pytest.raises(TuneError) as caught:
        load_adapter_config(tmp_path / "bad.yaml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rates_warm_up_and_fall_as_their_schedules_say():
    def stage(**changed):
        data = {"file": "x", "format": "alpaca"}
        return Stage(name="s", data=data, loss={"kind": "answer"}, learning_rate=1, **changed)

    assert rate(stage(schedule="cosine", warm_up=0.1), 0.05, 0) == pytest.approx(0.5)
    assert rate(stage(schedule="cosine"), 0.5, 0) == pytest.approx(0.5)
    assert rate(stage(schedule="linear"), 0.25, 0) == pytest.approx(0.75)
    assert rate(stage(schedule="step"), 0.9, 3) == pytest.approx(0.85**3)
    assert rate(stage(schedule="constant"), 1.0, 3) == 1


def test_pooled_answers_train_like_any_shares(base, tmp_path):
    formats.write_subpop(tmp_path / "p.jsonl", pool(PEOPLE, ["side"]))
    stage = {"data": {"file": str(tmp_path / "p.jsonl"), "format": "subpop"}, "loss": {"kind": "first_token_kl"}}
    tune_adapter(config(base, stage), tmp_path / "out")
    assert adapter.Progress(1, 0.5, 0.1, {}).share == 0.5
