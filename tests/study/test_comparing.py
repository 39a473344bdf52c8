"""Runs beside human figures: what is one column, who is drawn again, and which figures apply."""

import json

import numpy as np
import pandas as pd
import pytest
from engines_for_tests import MadeUp, Seeded
from scipy.stats import bootstrap

import popsim
from popsim.engines import Reply
from popsim.errors import RunError, TargetError
from popsim.evaluate import fit_density
from popsim.evaluate.resampling import Figure, cell_of, estimate
from popsim.study.comparing import compare as compare_runs


def oil(arm, name, engine=None, **overrides):
    scenario = popsim.load_scenario(f"oil_price_{arm}", {"size": 60, "engine": "baseline"} | overrides)
    return popsim.run(scenario, name, engine=engine)


def test_runs_that_answer_alike_are_one_column():
    found = popsim.compare(oil("fall", "a"), oil("rise", "b"), draws=50)
    assert found.targets["column"].unique().tolist() == ["baseline"]
    assert set(found.targets["arm"]) == {"fall", "rise", "pooled_reversed", "contrast"}
    assert found.fitted == ("baseline",)


def test_replicates_are_more_people_and_the_same_seed_is_the_same_people():
    first, second = oil("fall", "a"), oil("fall", "b", seed=2)
    assert popsim.compare(first, second, draws=50).targets["n"].unique().tolist() == [120]
    with pytest.raises(RunError, match="answers twice"):
        popsim.compare(first, first)


def test_another_model_or_temperature_is_another_column():
    runs = [oil("fall", "a"), oil("fall", "b", Seeded()), oil("fall", "c", Seeded(), **{"sampling.temperature": 0.5})]
    found = popsim.compare(*runs, draws=50)
    assert found.targets["column"].nunique() == 3
    assert any("temperature 0.5" in label for label in found.targets["column"])
    assert found.fitted == (found.targets["column"][0],)
    low = found.targets.groupby(["arm", "outcome", "statistic"])["simulated"].min()
    assert sorted(found.targets["band_low"].unique()) == sorted(low.unique())
    judged = found.targets.groupby("column")["verdict"].first()
    assert (judged != "").sum() == 2


def test_another_wording_is_another_column():
    scenario = popsim.load_scenario("oil_price_fall", {"size": 40, "engine": "baseline"})
    other = scenario.model_copy(
        update={"questionnaire": scenario.questionnaire.model_copy(update={"task": "Say what you expect."})}
    )
    found = popsim.compare(popsim.run(scenario, "a"), popsim.run(other, "b"), draws=50)
    assert found.targets["column"].nunique() == 2


def test_a_sweep_is_compared_by_its_points(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        (popsim.files.shipped("scenarios")["oil_price_fall"]).read_text()
        + "engine: baseline\nsweep: {modules.priors: [true, false]}\nreplicates: 2\n"
    )
    points = list(popsim.sweep_points("mine.yaml", {"size": 30}))
    popsim.sweep(points, 2, "swept")
    found = popsim.compare(popsim.load_run("swept"), draws=50)
    assert found.targets["n"].unique().tolist() == [60]
    assert found.targets["column"].unique().tolist() == ["baseline, priors True", "baseline, priors False"]


def test_where_opinions_travel_the_replicate_is_drawn_again():
    news = {"name": "n", "text": "t", "source": "s", "reach": 0.1, "passed_on": 0.2}
    travelling = {"network": {"kind": "follow", "mean_degree": 5}, "news": [news]}
    runs = [oil("fall", f"run{seed}", seed=seed, **travelling) for seed in range(1, 5)]
    one = popsim.compare(runs[0], draws=100).targets
    assert one["low"].isna().all()
    four = popsim.compare(*runs, draws=200)
    assert four.targets["low"].notna().all()
    means = [
        (answers["inflation_2"] - answers["inflation_1"]).mean()
        for answers in (run.answers.pivot(index="person", columns="question", values="value") for run in runs)
    ]
    inflation = four.targets[four.targets["statistic"].eq("mean") & four.targets["outcome"].eq("inflation")].iloc[0]
    assert inflation["simulated"] == pytest.approx(np.mean(means))
    assert inflation["simulated_se"] == pytest.approx(np.std(means, ddof=1) / 2, rel=0.25)
    assert "replicates drawn again" in four.intervals


def test_weights_of_a_table_of_respondents_are_used_and_bad_ones_refused():
    run = oil("fall", "a")
    people = run.people
    people.assign(weight=np.arange(1.0, 61)).to_parquet("a/people.parquet")
    found = popsim.compare(popsim.load_run("a"), draws=50).targets
    wide = run.answers.pivot(index="person", columns="question", values="value")
    change = wide["unemployment_2"] - wide["unemployment_1"]
    mean = found[found["statistic"].eq("mean") & found["outcome"].eq("unemployment")]["simulated"].iloc[0]
    assert mean == pytest.approx(np.average(change, weights=np.arange(1, 61)))
    people.assign(weight=[0.0] + [1.0] * 59).to_parquet("a/people.parquet")
    with pytest.raises(RunError, match="person 0 has weight 0; weights must be positive"):
        popsim.compare(popsim.load_run("a"))


def test_figures_that_a_scenario_names_apply_where_they_can_and_those_asked_for_must():
    run = oil("fall", "a")
    assert sum(popsim.compare(run, draws=50).left_out.values()) == 82
    with pytest.raises(TargetError, match="no readable answer in arm 'rise'"):
        popsim.compare(run, targets=["aprw_households"])
    with pytest.raises(TargetError, match="no group 'experts'"):
        popsim.compare(run, targets=["aprw_experts"])
    bare = popsim.run(run.scenario.model_copy(update={"targets": ()}), "bare")
    with pytest.raises(RunError, match="names no targets"):
        popsim.compare(bare)


def test_intervals_do_not_depend_on_the_order_of_answers(monkeypatch):
    run = oil("fall", "a")
    before = compare_runs(run, draws=50).targets
    shuffled = run.answers.sample(frac=1, random_state=1)
    shuffled.to_parquet("a/answers.parquet")
    after = compare_runs(popsim.load_run("a"), draws=50).targets
    pd.testing.assert_series_equal(before["simulated"], after["simulated"])
    assert after["simulated_se"].to_numpy() == pytest.approx(before["simulated_se"].to_numpy(), rel=0.5)


@pytest.mark.parametrize("seed", [1, 2])
def test_baseline_meets_every_published_oil_figure(seed):
    overrides = {"size": 4000, "seed": seed, "engine": "baseline"}
    runs = [popsim.run(popsim.load_scenario(f"oil_price_{arm}", overrides), arm) for arm in ("fall", "rise")]
    found = popsim.compare(*runs)
    assert len(found.targets) == 8 + 6 + 5 + 2 + 2
    assert found.targets["z"].abs().max() < 3.5
    assert found.joint["p"].iloc[0] > 0.01
    assert "never evidence" in runs[0].manifest["engine"]["notice"]


class Guesses(MadeUp):
    """Puts its ten ranges into one of three shapes, by the seed of the prompt."""

    fingerprint = "guesses/1"
    shapes = ((0, 0, 0, 0, 20, 50, 30, 0, 0, 0), (0, 0, 0, 0, 0, 10, 60, 30, 0, 0), (0, 0, 0, 0, 0, 0, 0, 100, 0, 0))

    def answer(self, prompts):
        labels = [one.label for one in popsim.load_questionnaire("inflation_density").questions[0].bins]
        for position, prompt in enumerate(prompts):
            shares = dict(zip(labels, self.shapes[prompt.seed % 3], strict=True))
            yield position, Reply(json.dumps({"Inflation_probabilities": shares}))


def test_quantiles_of_what_densities_say_are_set_beside_published_ones():
    overrides = {"size": 300, "prompt.reasoning": False, "assignment": "crossed", "arms": {"only": {}, "other": {}}}
    done = popsim.run(popsim.load_scenario("inflation_probabilities", overrides), "out", engine=Guesses())
    found = popsim.compare(done, draws=200).targets
    assert found["arm"].unique().tolist() == ["only"]
    bins = done.scenario.questionnaire.questions[0].bins
    fits = [fit_density(tuple((one.low, one.high) for one in bins), shape) for shape in Guesses.shapes]
    weight = done.distributions[done.distributions["arm"].eq("only")].pivot(
        index="person", columns="value", values="probability"
    )
    said = np.array([fits[Guesses.shapes.index(tuple(100 * row))] for row in weight.to_numpy().round(2)])
    by = found.set_index(["outcome", "statistic", "of"])["simulated"]
    for of in ("0.25", "0.5", "0.75"):
        expected = np.quantile(said[:, 0], float(of), method="inverted_cdf")
        assert by["inflation_density_mean", "quantile", of] == pytest.approx(expected)
    assert by["inflation_density_iqr", "quantile", "0.5"] == pytest.approx(np.quantile(said[:, 2], 0.5))
    assert by["inflation_density_mean", "share", "fall"] == pytest.approx((said[:, 0] < 0).mean())
    assert found["verdict"].ne("").all()


def test_the_error_of_a_quantile_is_that_of_resampled_persons():
    values = np.random.default_rng(1).normal(size=801)
    cell = cell_of(values, np.arange(801), np.ones(801), 801)
    found = estimate([Figure(((1.0, cell),), at=0.5)], np.zeros(801, dtype=np.int64), 1500)
    assert found.value[0] == np.median(values)
    again = bootstrap((values,), np.median, n_resamples=1500, vectorized=True, rng=2).standard_error
    assert found.se[0] == pytest.approx(again, rel=0.1)
