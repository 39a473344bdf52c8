"""popsim people and popsim copy: what they print, save, and say of what they cannot do."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml


@pytest.fixture
def panel(tmp_path):
    random = np.random.default_rng(1)
    sex = random.choice(["f", "m"], 200)
    home = np.where(random.random(200) < np.where(sex == "f", 0.7, 0.3), "own", "rent")
    frame = pd.DataFrame({"sex": sex, "home": home, "weight": random.random(200) + 0.2})
    frame.to_csv(tmp_path / "panel.csv", index=False)
    seed = {"file": "panel.csv", "weight": "weight", "status": "assumption"}
    margin = {"name": "home", "of": ["home"], "table": [["own", "rent"], [70, 30]]}
    margin |= {"unit": "people", "year": 2020, "status": "assumption"}
    data = {
        "name": "raked",
        "title": "Raked",
        "attributes": {"sex": ["f", "m"], "home": ["own", "rent"]},
        "steps": [{"adds": ["sex", "home"], "seed": seed, "margins": [margin]}],
    }
    (tmp_path / "raked.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return frame


def test_people_saves_the_account_of_the_fit_beside_the_people(call, panel):
    status, out, _ = call("people", "raked.yaml", "--size", 400, "--out", "p.parquet", "--truth", "panel.csv")
    assert status == 0
    saved = json.loads(Path("p.fit.json").read_text(encoding="utf-8"))
    assert saved["steps"][0]["seed"]["records"] == 200
    assert saved["against"]["file"] == "panel.csv"
    assert saved["margins"][0]["sampling_error"] is None
    assert saved["structural_zeros_created"] == 0
    effective = panel["weight"].sum() ** 2 / (panel["weight"] ** 2).sum()
    assert f"200 records (effective n {effective:.0f}" in out
    assert "Against panel.csv" in out
    assert "Cramer's V" in out
    assert "Structural zeros created: 0" in out
    assert len(pd.read_parquet("p.parquet")) == 400


def test_people_draws_as_it_is_asked_to(call, panel):
    frames = {}
    for draw in ("systematic", "multinomial"):
        assert call("people", "raked.yaml", "--size", 400, "--out", f"{draw}.csv", "--draw", draw)[0] == 0
        frames[draw] = pd.read_csv(f"{draw}.csv")["home"].eq("own").sum()
        assert json.loads(Path(f"{draw}.fit.json").read_text(encoding="utf-8"))["draw"] == draw
    assert frames["systematic"] == 280
    assert frames["multinomial"] != 280
    status, _, err = call("people", "raked.yaml", "--size", 4, "--out", "p.csv", "--draw", "qis")
    assert (status, err) == (2, "popsim: --draw qis: unknown; allowed: systematic, multinomial\n")
    status, _, err = call("people", "raked.yaml", "--size", 4, "--out", "p.csv", "--truth", "gone.csv")
    assert (status, err) == (2, "popsim: --truth gone.csv: no such file\n")


def test_a_fit_that_does_not_converge_says_so_everywhere(call, tmp_path):
    """Of three kinds of a, each goes with two of b: no weights of these records have both margins."""
    pd.DataFrame({"a": list("xxyyzz"), "b": list("prpqqr")}).to_csv(tmp_path / "r.csv", index=False)
    common = {"unit": "people", "year": 2020, "status": "assumption"}
    margins = [
        {**common, "name": "one", "of": ["a"], "table": [["x", "y", "z"], [1, 1, 4]]},
        {**common, "name": "two", "of": ["b"], "table": [["p", "q", "r"], [4, 1, 1]]},
    ]
    step = {"adds": ["a", "b"], "seed": {"file": "r.csv", "status": "assumption"}, "margins": margins}
    data = {"name": "n", "title": "N", "attributes": {"a": ["x", "y", "z"], "b": ["p", "q", "r"]}, "steps": [step]}
    (tmp_path / "n.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    status, out, _ = call("people", "n.yaml", "--size", 60, "--out", "p.csv")
    assert status == 0
    assert "Raking DID NOT CONVERGE after 2000 iterations" in out
    assert "a, b: DID NOT CONVERGE; worst" in out
    saved = json.loads(Path("p.fit.json").read_text(encoding="utf-8"))
    assert saved["fit"]["converged"] is saved["steps"][0]["converged"] is False
    assert "CANNOT BE MET TOGETHER: after 2000 rounds" in call("check", "n.yaml")[1]


def test_a_table_of_people_becomes_a_population_with_its_design_effect(call, panel):
    assert call("copy", "--from-csv", "panel.csv", "mine.yaml")[0] == 0
    assert call("check", "mine.yaml")[0] == 0
    status, out, _ = call("people", "mine.yaml", "--size", 200, "--out", "p.csv")
    assert status == 0
    assert "Weights: 200 respondents tell as much as" in out
    assert "use the column weight in every statistic" in out
    for arguments, words in (
        (("copy", "--from-csv", "panel.csv", "mine.yaml"), "exists already"),
        (("copy", "--from-csv", "panel.csv", "mine.txt"), "a population file ends in .yaml"),
        (("copy", "--from-csv", "gone.csv", "more.yaml"), "gone.csv: no such file"),
        (("copy", "--from-csv", "panel.csv", "a.yaml", "b.yaml"), "one file is written"),
        (("copy", "oil_price_fall"), "name the file to write"),
    ):
        status, _, err = call(*arguments)
        assert status == 2
        assert words in err
        assert err.count("\n") == 1


def test_a_copy_brings_the_tables_that_a_population_reads(call, tmp_path):
    assert call("copy", "us_householders_2018", "own/mine.yaml")[0] == 0
    assert (tmp_path / "own" / "tables" / "acs_2018_b25007.csv").is_file()
    status, out, _ = call("check", "own/mine.yaml")
    assert (status, out) == (0, "own/mine.yaml: population, good\n")
