"""What `popsim compare` shows of a run beyond its distance to human figures, as a user reads it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from engines_for_tests import Seeded, Uneven
from humans_for_tests import write_rows

from popsim import cli
from popsim.scenario import load_scenario
from popsim.study import run
from popsim.study.auditing import examine


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    overrides = {"size": 400, "arms": {"fall": {"share": 1}, "rise": {"share": 1}}, "attempts": 2, "draws": 2}
    return run(load_scenario("oil_price_fall", overrides), tmp_path_factory.mktemp("runs") / "uneven", engine=Uneven())


def printed(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["popsim", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code in (0, None)
    return capsys.readouterr().out


def test_everything_is_shown_without_an_option_and_fits_a_window(uneven, capsys, monkeypatch):
    text = printed(capsys, monkeypatch, "compare", uneven.path)
    flat = " ".join(text.split())
    assert "how far answers spread, beside those of people" in text
    assert "LOOK AT" in text
    assert "answers spread less than those of people" in flat
    assert "persons hardly differ" in flat
    assert "DEPEND ON THE ARM" in text
    assert "worst-case bounds" in text
    assert "open answers reason more than those of people: 100% name a mechanism against 39%" in flat
    assert "firms' costs" in text
    assert max(map(len, text.splitlines())) <= 120


def test_planted_failures_stand_in_the_tables_with_bounds_that_hold_every_answer(uneven):
    found = examine(uneven)
    arms = found.failures[found.failures["by"].eq("arm")].set_index("value")
    assert arms.loc["rise", "first_failed"] == pytest.approx(0.5, abs=0.08)
    assert arms.loc["rise", "failed"] == pytest.approx(0.25, abs=0.06)
    assert arms.loc["fall", ["first_failed", "failed"]].tolist() == [0, 0]
    assert arms["first_p"].max() < 0.001
    assert found.failures.loc[found.failures["by"].ne("arm"), "holm_p"].min() > 0.01
    bounds = found.bounds.set_index(["outcome", "arm"])
    row = bounds.loc[("inflation", "rise")]
    assert row["missing"] == pytest.approx(arms.loc["rise", "failed"], abs=0.05)
    assert (row["low"], row["high"]) == pytest.approx(
        (
            (1 - row["missing"]) * row["mean"] - 10 * row["missing"],
            (1 - row["missing"]) * row["mean"] + 10 * row["missing"],
        )
    )
    effect = bounds.loc[("inflation", "rise - fall")]
    assert effect["low"] < effect["mean"] < effect["high"]
    assert bounds.loc[("inflation", "fall"), "low"] == bounds.loc[("inflation", "fall"), "high"]


def test_json_holds_the_same_tables(uneven, capsys, monkeypatch):
    tables = json.loads(printed(capsys, monkeypatch, "compare", uneven.path, "--json"))
    assert {"ratios", "parts", "warnings", "failures", "bounds", "channels"} <= set(tables)
    parts = pd.DataFrame(tables["parts"])
    assert parts["draws"].eq(2).all()
    assert parts.loc[parts["outcome"].eq("inflation"), "icc"].max() < 0.2


def test_the_shipped_study_gets_no_warning_from_a_respondent_fitted_to_it(tmp_path):
    done = run(load_scenario("oil_price_fall", {"size": 500, "engine": "baseline"}), tmp_path / "run")
    found = examine(done)
    assert found.warnings.empty
    assert (found.failures["failed"] == 0).all()
    spread = found.ratios[found.ratios["measure"].eq("trimmed SD")]
    assert spread["ratio"].between(0.8, 1.25).all()
    assert (np.sign(spread["low"] - 1) != np.sign(spread["high"] - 1)).all()


def test_subgroups_stand_beside_those_of_human_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(load_scenario("oil_price_fall", {"size": 400, "engine": "baseline"}), tmp_path / "run")
    other = run(load_scenario("oil_price_fall", {"size": 400, "engine": "baseline", "seed": 9}), tmp_path / "other")
    write_rows(Path(), other, "fall")
    found = examine(done, targets=["mine.yaml"]).subgroups
    assert set(found["level"]) == {"female", "male"}
    assert set(found["flag"]) == set(found["gap_flag"]) == {""}
    text = printed(capsys, monkeypatch, "compare", done.path, "mine.yaml")
    assert "sex female" in text
    assert max(map(len, text.splitlines())) <= 120


def test_tables_are_exported_with_regressions_whose_errors_are_clustered(uneven, tmp_path, capsys, monkeypatch):
    printed(capsys, monkeypatch, "compare", uneven.path, "--tables", tmp_path / "tables")
    assert len(pd.read_csv(tmp_path / "tables" / "failures.csv")) > 2
    found = pd.read_csv(tmp_path / "tables" / "regressions.csv")
    assert set(found["errors"]) == {"clustered"}
    assert {"intercept", "sex: male"} <= set(found["term"])
    assert found.loc[found["arm"].eq("fall") & found["outcome"].eq("inflation"), "n"].eq(400).all()


class Held(Seeded):
    """Says how probable it was to leave the form: by a tenth where prices fall, nearly always where they climb."""

    fingerprint = "held/1"

    def answer(self, prompts):
        for position, reply in super().answer(prompts):
            climbs = "climbs" in prompts[position].messages[0][1]
            yield position, replace(reply, outside=0.9 if climbs else 0.1)


def test_what_was_moved_into_the_form_is_shown_by_arm(tmp_path, call):
    arms = {"fall": {"share": 1}, "rise": {"share": 1}}
    done = run(load_scenario("oil_price_fall", {"size": 60, "arms": arms}), tmp_path / "run", engine=Held())
    held = examine(done).held.set_index("arm")
    assert held["outside"].round(6).to_dict() == {"fall": 0.1, "rise": 0.9}
    assert held["mostly_outside"].to_dict() == {"fall": 0, "rise": 1}
    _, out, _ = call("compare", done.path)
    assert "fall: 10.0% on average, over half in 0% of" in " ".join(out.split())
    assert "no plain draw from the model" in " ".join(out.split())
