import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from engines_for_tests import Seeded
from hypothesis import given
from hypothesis import strategies as st

import popsim
import popsim.cli
from popsim.errors import EngineError, ScenarioError
from popsim.model import draw_people
from popsim.population import CONFIDENCE_LEVELS
from popsim.sweeps import Design, Range, combinations

UNIT = {"x": Range(low=2, high=4), "y": Range(low=-1, high=1), "z": ["a", "b"]}
STUDY = {
    "name": "mine",
    "title": "Mine",
    "population": "us_adults_2018",
    "size": 12,
    "questionnaire": "oil_price",
    "arms": {"fall": {}},
    "news": [{"name": "n", "text": "News.", "source": "radio", "reach": 0.5}],
    "engine": "baseline",
}


def points(**changes):
    Path("study.yaml").write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))
    return list(popsim.sweep_points("study.yaml"))


def test_a_grid_has_every_combination_and_pairs_have_one_of_each():
    sweep = {"size": [5, 6], "news.0.reach": [0.0, 1.0]}
    grid = [tuple(point.values.values()) for point in points(sweep=sweep)]
    assert grid == list(itertools.product([5, 6], [0.0, 1.0]))
    pairs = points(sweep=sweep, design="paired")
    assert [(p.scenario.size, p.scenario.news[0].reach) for p in pairs] == [(5, 0.0), (6, 1.0)]


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_a_latin_hypercube_has_one_point_in_every_slice(n, seed):
    found = pd.DataFrame(combinations(UNIT, Design(kind="latin_hypercube", points=n), seed))
    for path in ("x", "y"):
        low, high = UNIT[path].low, UNIT[path].high
        slices = np.floor((found[path] - low) / (high - low) * n * (1 - 1e-7) + 1e-6).astype(int)
        assert sorted(slices) == list(range(n))
    assert abs((found["z"] == "a").sum() - n / 2) <= 0.5


def test_sobol_points_fill_a_range_evenly_and_hang_on_the_seed_alone():
    design = Design(kind="sobol", points=64)
    found = pd.DataFrame(combinations(UNIT, design, 3))
    assert found["x"].between(2, 4).all()
    assert (np.histogram(found["x"], 16, (2, 4))[0] == 4).all()
    assert (found["z"] == "a").sum() == 32
    assert combinations(UNIT, design, 3) == combinations(UNIT, design, 3) != combinations(UNIT, design, 4)


def test_whole_numbers_reach_both_ends():
    found = combinations({"n": Range(low=1, high=4, whole=True)}, Design(kind="latin_hypercube", points=40), 0)
    assert {type(point["n"]) for point in found} == {int}
    assert np.bincount([point["n"] for point in found]).tolist() == [0, 10, 10, 10, 10]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"design": "sobol"}, r"sobol needs the number of points; write \{kind: sobol, points: 16\}"),
        ({"design": {"kind": "sobol", "points": 20}}, "needs a power of 2, not 20; write 16 or 32"),
        ({"design": {"kind": "grid", "points": 4}}, "points belong to latin_hypercube and sobol, not to grid"),
        ({"sweep": {"news.0.reach": {"low": 0, "high": 1}}}, "sweep.news.0.reach: a grid takes a list of values"),
        ({"sweep": {"news.0.reach": {"low": 1, "high": 1}}}, "low 1 must be below high 1"),
        ({"sweep": {"size": [5, 6], "seed": [1]}, "design": "paired"}, "one length: size has 2, seed has 1"),
        (
            {"sweep": {"news.0.reach": {"low": 0, "high": 9}}, "design": {"kind": "latin_hypercube", "points": 4}},
            r"news.0.reach: .*at sweep point \{'news.0.reach': ",
        ),
    ],
)
def test_a_design_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ScenarioError, match=message):
        points(**{"sweep": {"size": [5, 6]}} | changes)


@pytest.mark.parametrize("shift", [-4, -1, 1, 4])
def test_shifted_confidence_moves_everybody_and_ends_at_the_ends(shift):
    plain = points()[0].scenario
    moved = plain.model_copy(update={"people": plain.people.model_copy(update={"confidence_shift": shift})})
    before, after = draw_people(plain), draw_people(moved)
    expected = (before["confidence"].cat.codes + shift).clip(0, 4)
    assert after["confidence"].tolist() == [CONFIDENCE_LEVELS[code] for code in expected]
    pd.testing.assert_frame_equal(before.drop(columns="confidence"), after.drop(columns="confidence"))


def test_confidence_is_shifted_or_fixed_but_not_both():
    with pytest.raises(ScenarioError, match="confidence_shift moves what is drawn, and confidence is 'weak'"):
        points(people={"confidence": "weak", "confidence_shift": 1})


class Gone(Seeded):
    """Breaks down at its first prompt."""

    fingerprint = "gone/1"

    def answer(self, prompts):
        raise EngineError("gone: the machine went away")
        yield


def test_an_engine_that_breaks_down_is_a_row_and_the_others_have_their_answers():
    found = points(sweep={"engine": ["baseline", "test_sweeps:Gone"], "size": [5, 6]})
    answers = popsim.sweep(found, 2, "out")
    table = pd.read_parquet("out/points.parquet")
    assert table["state"].tolist() == ["complete"] * 4 + ["failed"] * 4
    assert table["error"].tolist() == [""] * 4 + ["gone: the machine went away"] * 4
    assert set(answers["engine"]) == {"baseline"}
    assert len(answers) == 2 * (5 + 6) * 5
    assert popsim.load_run("out").manifest["state"] == "incomplete"
    again = popsim.sweep(found, 2, "out")
    pd.testing.assert_frame_equal(answers, again)


def test_a_point_whose_people_cannot_be_drawn_is_a_row():
    found = points(sweep={"priors.period": ["2019Q1", "1066Q4"]})
    answers = popsim.sweep(found, 1, "out")
    table = pd.read_parquet("out/points.parquet")
    assert table["state"].tolist() == ["complete", "failed"]
    assert "1066Q4" in table["error"][1]
    assert set(answers["priors.period"]) == {"2019Q1"}


def test_a_sweep_whose_every_point_fails_is_an_error():
    with pytest.raises(EngineError, match="went away"):
        popsim.sweep(points(sweep={"size": [5, 6]}, engine="test_sweeps:Gone"), 1, "out")


def test_a_sweep_of_over_a_million_prompts_is_asked_for_twice(monkeypatch, capsys):
    points(sweep={"size": [600_000, 600_001]})
    monkeypatch.setattr("sys.argv", ["popsim", "sweep", "study.yaml", "--out", "out"])
    with pytest.raises(SystemExit):
        popsim.cli.main()
    assert "asks 1,200,001 prompts; see them with --dry-run, and ask them with --yes" in capsys.readouterr().err
    assert not Path("out").exists()


def test_repr_of_a_scenario_is_one_short_line():
    said = repr(popsim.load_scenario("oil_price_fall"))
    assert said == "<Scenario oil_price_fall: 1000 of us_adults_2018, 5 questions, arms fall>"
