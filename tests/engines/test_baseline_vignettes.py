"""The statistical respondent meets every published figure of the four vignettes, of households and of experts."""

import numpy as np
import pytest

import popsim
from popsim.evaluate import density_table
from popsim.weighted import quantiles


@pytest.mark.parametrize("name", ["macro_vignettes", "macro_vignettes_experts"])
def test_four_vignettes_meet_means_spreads_directions_and_joints(name, tmp_path):
    figures = []
    for seed in (1, 2):
        scenario = popsim.load_scenario(name, {"size": 4000, "seed": seed, "engine": "baseline"})
        found = popsim.compare(popsim.run(scenario, tmp_path / f"{seed}"), draws=200)
        table = found.targets
        # Four vignettes: two outcomes in two arms with mean and SD, two times three directions, five joint ones, and
        # for the oil price the asymmetry of each outcome; more where pooled means were published.
        assert len(table) >= 4 * (2 * 2 * 2 + 2 * 3 + 5)
        assert table["z"].abs().max() < 3.5
        assert found.joint["p"].min() > 0.01
        figures.append(table.set_index(["vignette", "arm", "outcome", "statistic", "of"])[["human", "simulated"]])
    average = sum(figures) / len(figures)
    means = average[average.index.get_level_values("statistic") == "mean"]
    assert np.corrcoef(means["human"], means["simulated"])[0, 1] > 0.98


def test_experts_answer_by_their_own_figures(tmp_path):
    changes = {}
    for group in ("households", "experts"):
        scenario = popsim.load_scenario("oil_price_experts", {"size": 3000, "group": group, "engine": "baseline"})
        table = popsim.compare(popsim.run(scenario, tmp_path / group), draws=200).targets
        changes[group] = table[table["statistic"].eq("trimmed_sd")]["simulated"].to_numpy()
        assert table["z"].abs().max() < 3.5
    assert (changes["households"] > 2 * changes["experts"]).all()


def test_densities_are_spread_over_people_as_published(tmp_path):
    scenario = popsim.load_scenario("inflation_probabilities", {"size": 1500, "engine": "baseline"})
    run = popsim.run(scenario, tmp_path / "run")
    assert run.manifest["uncalibrated"] == []
    table = density_table(run.distributions, scenario.questionnaire.questions[0])
    weights = run.people["weight"].to_numpy()[table["person"]]
    assert len(table) == 1500
    # Published for February 2019: median 2.79, quartiles 1.20 and 4.38, median interquartile range 2.17.
    assert quantiles(table["mean"], weights, [0.5]) == pytest.approx(2.79, abs=0.3)
    assert table["mean"].quantile([0.25, 0.75]).tolist() == pytest.approx([1.20, 4.38], abs=0.5)
    assert quantiles(table["iqr"], weights, [0.5]) == pytest.approx(2.17, abs=0.3)
    assert run.answers["status"].eq("ok").all()


def test_channels_are_ticked_as_often_as_published_by_each_group(tmp_path):
    for name in ("oil_price_2025_households", "oil_price_2025_experts"):
        scenario = popsim.load_scenario(name, {"size": 4000, "engine": "baseline"})
        run = popsim.run(scenario, tmp_path / name)
        for question in scenario.shown("rise").questions:
            if question.kind == "multiple":
                ticked = run.answers[run.answers["question"].eq(question.name)].groupby("label")["value"].mean()
                shares = question.reference.shares
                assert ticked[list(shares)].to_numpy() == pytest.approx(np.array([*shares.values()]) / 100, abs=0.03)
