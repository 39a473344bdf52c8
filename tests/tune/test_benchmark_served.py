"""Benchmarks asked of a real HTTP server and of vLLM: the same letters, numbers and words as of any engine."""

import json
import math
import os
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_server import Manner, serving

from popsim.tune import formats
from popsim.tune.records import Answer, Item

TRUST = Item("trust", "Do you trust people?", options=("yes", "it depends", "no"))
LETTER_ALONE = "Reply with the letter of one option and nothing else."


def benchmark(tmp_path, **parts):
    people = [Answer(str(i), TRUST, TRUST.options[i % 3], facts={"number": str(i)}) for i in range(6)]
    columns = formats.write_csv(tmp_path / "people.csv", people).model_dump(mode="json")
    whole = {"kind": "benchmark", "name": "b", "task": "responses", **parts}
    whole["data"] = parts.get("data", {"file": "people.csv", "format": "csv", "columns": columns})
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    return tmp_path / "b.yaml"


def read(folder, name="distributions"):
    return pd.read_parquet(folder / f"{name}.parquet")


@pytest.fixture
def server(request):
    pytest.importorskip("openai")
    with serving(Manner(**request.param)) as running:
        yield running


@pytest.mark.parametrize("server", [{"goes_on": True}], indirect=True)
def test_a_servers_letters_are_scored_and_nothing_is_asked_twice(tmp_path, call, server):
    file = benchmark(tmp_path)
    for _ in range(2):
        status, _, err = call("compare", file, "--engine", f"server:fake@{server.url}", "--out", tmp_path / "out")
        assert status == 0, err
        assert server.asked("Do you trust people?") == 12
    asked = np.array([math.exp(-1) + math.exp(-2), math.exp(-1.5), 0])
    found = read(tmp_path / "out").groupby("record")["predicted"].apply(list).tolist()
    assert np.array(found) == pytest.approx(np.tile(asked / asked.sum(), (6, 1)))
    scores = read(tmp_path / "out", "scores").set_index("score")
    assert scores.loc["mass on the options", "model"] == pytest.approx(asked.sum())


@pytest.mark.parametrize("server", [{"says": "B) it depends"}], indirect=True)
def test_a_server_that_cannot_go_on_is_refused_for_letters_and_asked_for_one_in_words(tmp_path, call, server):
    engine = ("--engine", f"server:fake@{server.url}", "--out", tmp_path / "out")
    status, _, err = call("compare", benchmark(tmp_path), *engine)
    assert status == 2
    assert "lacks the ability 'prefill'" in err
    assert server.asked("Do you trust people?") == 0
    assert call("compare", benchmark(tmp_path, readout="generate", shuffle_options=False), *engine)[0] == 0
    assert server.asked(LETTER_ALONE) == 6
    assert read(tmp_path / "out", "predictions")["predicted"].tolist() == ["it depends"] * 6


@pytest.mark.parametrize("server", [{"says": '{"naturalness": 2, "style": 3, "consistency": 4}'}], indirect=True)
def test_a_server_can_be_interviewed_and_be_the_judge(tmp_path, call, server):
    formats.write_alpaca(tmp_path / "i.json", [Answer(str(i), Item("q", "How are you?"), "Fine.") for i in range(3)])
    spec = f"server:fake@{server.url}"
    file = benchmark(tmp_path, task="interview", data={"file": "i.json", "format": "alpaca"}, engine=spec, judge=spec)
    status, _, err = call("compare", file, "--out", tmp_path / "out")
    assert status == 0, err
    scores = read(tmp_path / "out", "scores").set_index("score")
    assert scores.loc[["naturalness", "style", "consistency"], "people"].tolist() == [2, 3, 4]
    assert server.asked("You rate one reply") == 2


@pytest.mark.parametrize("server", [{"says": "no verdict"}], indirect=True)
def test_a_judge_who_cannot_be_read_is_told_of(tmp_path, call, server):
    formats.write_alpaca(tmp_path / "i.json", [Answer("7", Item("q", "How are you?"), "Fine.")])
    spec = f"server:fake@{server.url}"
    file = benchmark(tmp_path, task="interview", data={"file": "i.json", "format": "alpaca"}, engine=spec, judge=spec)
    status, _, err = call("compare", file, "--out", tmp_path / "out")
    assert status == 0
    assert "none of the judge's verdicts could be read" in err


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.filterwarnings("ignore")
def test_vllm_predicts_what_transformers_predicts(tmp_path, call):
    from tiny import make_tiny_checkpoint

    for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}.items():
        os.environ.setdefault(name, value)
    base = make_tiny_checkpoint(tmp_path / "tiny", "float32", context=1024, width=128)
    for engine in ("transformers", "vllm"):
        spec = {"spec": f"{engine}:{base}", "options": {"dtype": "float32"}}
        status, _, err = call("compare", benchmark(tmp_path, engine=spec), "--out", tmp_path / engine)
        assert status == 0, err
        counts = json.loads((tmp_path / engine / "manifest.json").read_text())["counts"]
        assert counts["statuses"]["model"] == {"ok": 6}
    ours, theirs = (read(tmp_path / engine)["predicted"].to_numpy() for engine in ("vllm", "transformers"))
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert np.ptp(ours) > 0.01
