"""Benchmarks from the command line: files are fielded, predictions stand beside the truth, scores beside baselines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from engines_for_tests import Graded

from popsim.tune import formats
from popsim.tune.benchmark.config import load_benchmark
from popsim.tune.benchmark.field import field
from popsim.tune.records import Answer, Item, Shares

TESTS = Path(__file__).resolve().parents[1]
TRUST = Item("trust", "Do you trust people?", options=("yes", "it depends", "no"))
WARM = Item("warm", "How warm?", low=1, high=7)
BANKS = Item("banks", "Do you trust banks?", options=("yes", "it depends", "no"))
SIDES = {"left": "no", "right": "yes"}


def benchmark(path, **parts):
    path.write_text(yaml.safe_dump({"kind": "benchmark", "name": path.stem, **parts}), encoding="utf-8")
    return path


def persons(path, count=40, **facts):
    """Persons of the left say no and of the right yes, but every tenth says the other."""
    sides = [("left", "right")[i % 2] for i in range(count)]
    said = [SIDES[sides[(i + (i % 10 == 0)) % 2]] for i in range(count)]
    answers = [
        Answer(
            str(i), item, said[i], facts={"side": sides[i], **{name: words.format(i) for name, words in facts.items()}}
        )
        for i in range(count)
        for item in (TRUST, BANKS)
    ]
    return {"file": path.name, "format": "csv", "columns": formats.write_csv(path, answers).model_dump(mode="json")}


def groups(path, people=0):
    shares = {"left": (0.1, 0.1, 0.8), "right": (0.8, 0.1, 0.1)}
    rows = [Shares(f"side: {side}", item, shares[side], people=people) for side in shares for item in (TRUST, BANKS)]
    formats.write_subpop(path, rows)
    return {"file": path.name, "format": "subpop"}


def alpaca(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return {"file": path.name, "format": "alpaca"}


def figures(folder):
    return pd.read_parquet(folder / "scores.parquet").set_index("score")


def test_persons_answers_are_predicted_by_person_and_stand_beside_baselines_and_controls(tmp_path, call):
    file = benchmark(
        tmp_path / "sides.yaml",
        task="responses",
        data=persons(tmp_path / "people.csv", 160),
        split={"by": ["person"], "held_out": 0.5},
        groups=["side"],
        orders={"trust": ["no", "it depends", "yes"], "banks": ["no", "it depends", "yes"]},
    )
    status, out, _ = call("compare", file, "--engine", "engines_for_tests:Sided", "--out", tmp_path / "out")
    assert status == 0
    found, table = figures(tmp_path / "out"), pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    right = (table["truth"] == table["predicted"]).mean()
    assert found.loc["accuracy", "model"] == pytest.approx(right)
    assert right > 0.8
    assert found.loc["accuracy", "shuffled options"] == pytest.approx(right)
    assert found.loc["accuracy", "shuffled personas"] < right
    assert found.loc["accuracy", "uniform"] < 0.6
    assert found.loc["accuracy", "boosting"] == pytest.approx(right)
    assert found.loc["group ordinal EMD", "model"] < found.loc["group ordinal EMD", "uniform"]
    assert "accuracy" in out
    assert "Made up by a test." in out
    shares = pd.read_parquet(tmp_path / "out" / "distributions.parquet")
    assert shares.groupby("record")["predicted"].sum().to_numpy() == pytest.approx(1)


def test_groups_are_scored_cell_by_cell_with_the_same_figures_as_by_hand(tmp_path, call):
    file = benchmark(
        tmp_path / "g.yaml", task="shares", data=groups(tmp_path / "g.jsonl"), engine="engines_for_tests:Sided"
    )
    assert call("compare", file, "--out", tmp_path / "out")[0] == 0
    found = figures(tmp_path / "out")
    model = np.array([0.6, 0.1, 0.1]) / 0.8
    assert found.loc["total variation", "model"] == pytest.approx(abs(model - [0.8, 0.1, 0.1]).sum() / 2)
    assert found.loc["total variation", "uniform"] == pytest.approx(0.8 - 1 / 3)
    assert found.loc["mode accuracy", ["model", "shuffled options", "swapped groups"]].tolist() == [1, 1, 0]
    assert found.loc["mass on the options", "model"] == pytest.approx(0.8)
    assert found.loc["group likeness", "people"] < found.loc["group likeness", "model"] < 1
    assert "people again" not in found


def test_known_answers_feed_the_baselines_and_a_leak_ends_the_benchmark(tmp_path, call):
    data = groups(tmp_path / "test.jsonl")
    others = [Shares("side: centre", TRUST, (0.2, 0.6, 0.2)), Shares("side: left", BANKS, (0.3, 0.3, 0.4))]
    formats.write_subpop(tmp_path / "known.jsonl", others)
    parts = {"task": "shares", "data": data, "known": {"file": "known.jsonl", "format": "subpop"}}
    file = benchmark(tmp_path / "g.yaml", **parts, engine="engines_for_tests:Sided")
    assert call("compare", file, "--out", tmp_path / "out")[0] == 0
    found = figures(tmp_path / "out")
    assert {"group average", "nearest question"} <= set(found)
    leaking = benchmark(tmp_path / "leak.yaml", **parts, apart=["group"], engine="engines_for_tests:Sided")
    status, _, err = call("compare", leaking, "--out", tmp_path / "leak")
    assert (status, err.count("\n")) == (2, 1)
    assert "leak: 1 of 2 group in 'held out' also in 'known', for example 'side: left'" in err
    assert not (tmp_path / "leak").exists()


STANCE = "Tell your stance on prices as JSON with predict and reason."


def test_stances_are_read_from_json_and_an_unreadable_one_is_wrong_but_no_class(tmp_path, call):
    said = [("positive", "prices rise"), ("negative", "no idea"), ("positive", "prices")]
    rows = [
        {"instruction": STANCE + " mute" * (i == 2), "output": json.dumps({"predict": word, "reason": reason}), "id": i}
        for i, (word, reason) in enumerate(said, 1)
    ]
    rows[2]["instruction"] += " mute"
    file = benchmark(tmp_path / "s.yaml", task="stances", data=alpaca(tmp_path / "s.json", rows))
    assert call("compare", file, "--engine", "engines_for_tests:Words", "--out", tmp_path / "out")[0] == 0
    found, table = figures(tmp_path / "out"), pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert table["status"].tolist() == ["ok", "unreadable", "unreadable"]
    assert found.loc["accuracy", "model"] == pytest.approx(1 / 3)
    assert found.loc["macro F1", "model"] == pytest.approx((2 / 3 + 0) / 2)
    assert found.loc["Jaccard of reasons", "model"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert "shuffled options" not in found


def test_roles_are_matched_exactly_by_field(tmp_path, call):
    rows = [
        {"instruction": "Who speaks?", "output": "As People  say", "field": "sex", "id": 1},
        {"instruction": "Who speaks?", "output": "male", "field": "sex", "id": 2},
        {"instruction": "Who speaks? mute", "output": "worker", "field": "job", "id": 3},
    ]
    parts = {
        "task": "roles",
        "data": alpaca(tmp_path / "r.json", rows),
        "known": alpaca(tmp_path / "k.json", rows[1:2]),
    }
    file = benchmark(tmp_path / "r.yaml", **parts, engine="engines_for_tests:Words")
    assert call("compare", file, "--out", tmp_path / "out")[0] == 0
    found = figures(tmp_path / "out")
    assert found.loc["exact match", "model"] == pytest.approx(1 / 3)
    assert found.loc["exact match, sex", ["model", "pooled"]].tolist() == [0.5, 0.5]


def test_interviews_are_judged_and_verdicts_that_cannot_be_read_are_counted(tmp_path, call):
    rows = [
        {"instruction": f"You are {name}. How are you?", "output": reply, "id": i}
        for i, (name, reply) in enumerate([("Ann", "as people say"), ("Ben", "Fine."), ("mute", "Well.")])
    ]
    file = benchmark(tmp_path / "i.yaml", task="interview", data=alpaca(tmp_path / "i.json", rows))
    engine = "engines_for_tests:Words"
    status, _, err = call("compare", file, "--engine", engine, "--out", tmp_path / "out")
    assert status == 2
    assert "judge" in err
    status, out, _ = call("compare", file, "--engine", engine, "--judge", engine, "--out", tmp_path / "out")
    assert status == 0
    found, table = figures(tmp_path / "out"), pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert found.loc[["naturalness", "style", "consistency"], "model"].tolist() == [4, 3, 5]
    assert found.loc["mean of the three", "people"] == 4
    assert table["naturalness"].tolist()[:2] == [4, 4]
    assert table["status"].tolist() == ["ok", "ok", "unreadable"]
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert counts["verdicts"]["model"] == {"read": 2, "asked": 3}
    assert counts["verdicts"]["people"] == {"read": 1, "asked": 3}
    assert "verdicts on people: 1 of 3" in out
    assert call("compare", file, "--engine", engine, "--judge", engine, "--out", tmp_path / "again")[0] == 0
    status, out, _ = call("compare", tmp_path / "out", tmp_path / "again", "--json")
    assert status == 0
    assert json.loads(out)["scores"][0]["difference"] == 0


def test_interviews_have_errors_over_persons_in_table_folder_and_difference(tmp_path, call):
    rows = [
        {"instruction": f"You are {i}. {question}", "output": "as people say", "id": i}
        for i in range(8)
        for question in ("How are you?", "And your work?")
    ]
    file = benchmark(tmp_path / "i.yaml", task="interview", data=alpaca(tmp_path / "i.json", rows))
    judges = ["--engine", "engines_for_tests:Words", "--judge", "engines_for_tests:Moody"]
    status, out, _ = call("compare", file, *judges, "--out", tmp_path / "one", "--tables", tmp_path / "tables")
    assert status == 0
    found = figures(tmp_path / "one")
    rated = pd.read_parquet(tmp_path / "one" / "predictions.parquet").groupby("who")["naturalness"].mean()
    assert found.loc["naturalness", "s.e."] == pytest.approx(rated.std() / np.sqrt(8))
    assert found.loc["naturalness", "s.e. people"] > 0
    mean, error = found.loc["naturalness", ["model", "s.e."]]
    assert f"{mean:.3f} ({error:.3f})" in out
    assert "s.e. people" in (tmp_path / "tables" / "scores.csv").read_text().splitlines()[0]
    assert call("compare", file, *judges, "--out", tmp_path / "two")[0] == 0
    status, out, _ = call("compare", tmp_path / "one", tmp_path / "two", "--json")
    row = json.loads(out)["scores"][0]
    assert (row["difference"], row["s.e. difference"]) == (0, 0)
    assert row["s.e. people"] == pytest.approx(found.loc["naturalness", "s.e. people"])


def test_numbers_are_read_scored_by_study_and_missing_codes_left_out(tmp_path, call):
    item = Item("s/1", "How warm? Only return an integer from 1 to 7.", low=1, high=7, missing=(98.0,))
    answers = [
        Answer(f"s/{i}", item, float(value), study="s", condition=str(i % 2), facts={"sex": "fm"[i % 2], "age": str(i)})
        for i, value in enumerate([5, 3, 1, 7])
    ]
    formats.write_socsci(tmp_path / "n.jsonl", answers)
    with (tmp_path / "n.jsonl").open("a") as file:
        file.write(json.dumps({"study_id": "s", "task_num": 1, "participant": 9, "prompt": item.text, "response": 98}))
    data = {"file": "n.jsonl", "format": "socsci", "missing": [98]}
    file = benchmark(tmp_path / "n.yaml", task="numbers", data=data, engine="engines_for_tests:Words")
    assert call("compare", file, "--out", tmp_path / "out")[0] == 0
    found = figures(tmp_path / "out")["model"]
    assert found["individual accuracy"] == pytest.approx(np.mean([1, 4 / 6, 2 / 6, 4 / 6]))
    assert found["Wasserstein, declared range"] == pytest.approx(np.mean([(0 + 4) / 2, (2 + 2) / 2]) / 6)
    assert found["Wasserstein, observed range"] == pytest.approx(np.mean([2 / 4, 2 / 4]))
    assert found["condition sensitivity"] == 0
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert counts["left_out"] == {"missing": 1}


def test_draws_of_shares_are_counted(tmp_path, call):
    parts = {"task": "shares", "data": groups(tmp_path / "g.jsonl", people=50), "readout": "generate", "draws": 3}
    file = benchmark(tmp_path / "g.yaml", **parts, engine="engines_for_tests:Sided", shuffle_options=False)
    assert call("compare", file, "--out", tmp_path / "out")[0] == 0
    shares = pd.read_parquet(tmp_path / "out" / "distributions.parquet")
    assert shares.groupby("record")["predicted"].max().tolist() == [1, 1, 1, 1]
    assert figures(tmp_path / "out").loc["mode accuracy", "model"] == 1


def test_answered_benchmarks_stand_side_by_side_and_are_not_asked_again(tmp_path, call):
    file = benchmark(tmp_path / "g.yaml", task="shares", data=groups(tmp_path / "g.jsonl"))
    for name in ("one", "two"):
        assert call("compare", file, "--engine", "engines_for_tests:Sided", "--out", tmp_path / name)[0] == 0
    made = (tmp_path / "one" / "scores.parquet").stat().st_mtime_ns
    assert call("compare", file, "--engine", "engines_for_tests:Sided", "--out", tmp_path / "one")[0] == 0
    assert (tmp_path / "one" / "scores.parquet").stat().st_mtime_ns == made
    status, out, _ = call("compare", tmp_path / "one", tmp_path / "two", "--json", "--tables", tmp_path / "tables")
    assert status == 0
    row = json.loads(out)["scores"][0]
    assert list(row)[:6] == ["score", "better", "one", "s.e. one", "two", "s.e. two"]
    assert row["s.e. uniform"] == figures(tmp_path / "one").iloc[0]["s.e. uniform"]
    assert not {"s.e. swapped groups", "s.e. shuffled options"} & set(row)
    assert (row["difference"], row["s.e. difference"]) == (0, 0)
    assert row["one"] == row["two"]
    assert (tmp_path / "tables" / "one-predictions.csv").is_file()
    other = benchmark(tmp_path / "h.yaml", task="shares", data=groups(tmp_path / "h.jsonl"), part="", seed=1)
    formats.write_subpop(tmp_path / "h.jsonl", [Shares("side: left", TRUST, (0.5, 0.25, 0.25))])
    assert call("compare", other, "--engine", "engines_for_tests:Sided", "--out", tmp_path / "other")[0] == 0
    status, _, err = call("compare", tmp_path / "one", tmp_path / "other")
    assert status == 2
    assert "data differs" in err


def levels(path, count, seed):
    rng = np.random.default_rng(seed)
    answers = [
        Answer(str(i), WARM, float(np.clip(level + rng.integers(-1, 2), 1, 7)), facts={"level": str(level)})
        for i, level in enumerate((1 + rng.binomial(6, 0.3, count)).tolist())
    ]
    return {"file": path.name, "format": "csv", "columns": formats.write_csv(path, answers).model_dump(mode="json")}


def numbers(tmp_path, name, **engine):
    parts = {"task": "numbers", "readout": "choice", "data": levels(tmp_path / "test.csv", 140, 0)}
    parts |= {"known": levels(tmp_path / f"known_{name}.csv", 70, sum(map(ord, name)))}
    spec = {"spec": "engines_for_tests:Graded", **engine}
    return benchmark(tmp_path / f"{name}.yaml", **parts, engine=spec)


def test_the_frontier_over_temperature_is_drawn_beside_baselines(tmp_path, call):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    file = numbers(tmp_path, "warm")
    status, _, err = call("compare", file, "--out", tmp_path / "out", "--figures", tmp_path / "figures")
    assert status == 0, err
    assert "Pictures in" in err
    ends = ("svg", "png", "pdf")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"frontier{size}.{end}" for size in ("", "-double") for end in ends
    }
    drawn = (tmp_path / "figures" / "frontier.svg").read_text(encoding="utf-8")
    swept = pd.read_parquet(tmp_path / "out" / "temperatures.parquet")
    for word in (*(f"{one:g}" for one in swept["temperature"]), "uniform", "people again", "pooled"):
        assert f">{word}<" in drawn
    assert 0 < swept["frontier"].sum() < len(swept)
    status, _, err = call("compare", tmp_path, "--figures", tmp_path / "figures")
    assert status == 2
    assert "popsim report RUN --figures" in err


def test_the_learning_curve_goes_by_the_records_of_each_adapter(tmp_path, call):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    for records in (100, 400):
        (tmp_path / f"on_{records}").mkdir()
        log = json.dumps({"stage": "task", "records": records, "rows": 7, "share": 1})
        (tmp_path / f"on_{records}" / "log.jsonl").write_text(f"{{}}\n{log}\n")
        options = {"adapters": {"mine": str(tmp_path / f"on_{records}")}}
        file = numbers(tmp_path, f"b{records}", options=options, adapter="mine")
        field(load_benchmark(file), tmp_path / "runs" / str(records), engine=Graded())
    field(load_benchmark(numbers(tmp_path, "bare")), tmp_path / "runs" / "bare", engine=Graded())
    folders = [tmp_path / "runs" / name for name in ("400", "bare", "100")]
    learned = [json.loads((one / "manifest.json").read_text())["learned"] for one in folders]
    assert learned == [400, 0, 100]
    status, out, err = call("compare", *folders, "--figures", tmp_path / "figures")
    assert status == 0, err
    assert "Known answers differ" in out
    drawn = (tmp_path / "figures" / "learning-curve-individual-accuracy.svg").read_text(encoding="utf-8")
    places = [drawn.index(f">{word}<") for word in ("0", "100", "400")]
    assert places == sorted(places)
    assert ">records learned from<" in drawn
    assert (tmp_path / "figures" / "frontier.svg").is_file()


@pytest.mark.slow
def test_a_killed_benchmark_goes_on_and_gives_the_tables_of_an_unbroken_one(tmp_path):
    file = benchmark(
        tmp_path / "sides.yaml",
        task="responses",
        data=persons(tmp_path / "people.csv", name="number {}"),
        engine="engines_for_tests:Sided",
    )

    def start(out, **env):
        code = "import sys; from popsim.cli import main; sys.argv[0] = 'popsim'; main()"
        env = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"} | env
        command = [sys.executable, "-c", code, "compare", str(file), "--out", str(out)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    killed = start(tmp_path / "broken", POPSIM_DIE="50")
    assert killed.returncode == -9
    assert json.loads((tmp_path / "broken" / "manifest.json").read_text())["state"] == "running"
    assert not (tmp_path / "broken" / "scores.parquet").exists()
    for out in ("broken", "whole"):
        done = start(tmp_path / out)
        assert done.returncode == 0, done.stderr
    counts = json.loads((tmp_path / "broken" / "manifest.json").read_text())["counts"]
    assert (counts["from_journal"], counts["asked"]) == (50, 110)
    for name in ("scores", "predictions", "distributions"):
        broken, whole = (pd.read_parquet(tmp_path / out / f"{name}.parquet") for out in ("broken", "whole"))
        pd.testing.assert_frame_equal(broken, whole)


@pytest.mark.slow
def test_an_adapter_tuned_on_groups_beats_its_base_and_the_uniform_guess_on_them(tmp_path, call):
    pytest.importorskip("peft")
    from tiny import make_tiny_checkpoint

    from popsim.tune.adapter import tune_adapter
    from popsim.tune.adapter_config import AdapterConfig

    base, data = make_tiny_checkpoint(tmp_path / "tiny", "float32", context=1024), groups(tmp_path / "g.jsonl")
    stage = {"name": "task", "data": {**data, "file": str(tmp_path / "g.jsonl")}, "loss": {"kind": "first_token_kl"}}
    stage |= {"epochs": 60, "batch": 4, "learning_rate": 0.02, "schedule": "constant"}
    config = {"kind": "adapter", "name": "mine", "title": "M", "base": str(base), "device": "cpu", "stages": [stage]}
    tune_adapter(AdapterConfig.model_validate(config), tmp_path / "mine")
    options = {"device": "cpu", "adapters": {"mine": str(tmp_path / "mine")}}
    for name, adapter in (("untuned", ""), ("tuned", "mine")):
        engine = {"spec": f"transformers:{base}", "options": options, "adapter": adapter}
        file = benchmark(tmp_path / f"{name}.yaml", task="shares", data=data, engine=engine)
        assert call("compare", file, "--out", tmp_path / "runs" / name)[0] == 0
    status, out, _ = call("compare", tmp_path / "runs" / "untuned", tmp_path / "runs" / "tuned", "--json")
    assert status == 0
    scores = {row["score"]: row for row in json.loads(out)["scores"]}
    assert scores["total variation"]["tuned"] < 0.1
    gain = scores["total variation"]["tuned"] - scores["total variation"]["untuned"]
    assert scores["total variation"]["difference"] == pytest.approx(gain)
    assert 0 < scores["total variation"]["s.e. difference"] < abs(gain)
    for name, best in (("total variation", min), ("1 - JS distance", max)):
        assert best(("tuned", "untuned", "uniform"), key=scores[name].get) == "tuned"
    assert figures(tmp_path / "runs" / "tuned").loc["total variation", "swapped groups"] > 0.5
