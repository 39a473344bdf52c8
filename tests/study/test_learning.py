"""Learning rates: the rate that was put in comes out, of answers and of the rule, and without it nothing does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import popsim
from popsim.engines.baseline.scores import LEVELS, SIGNAL_WEIGHT
from popsim.evaluate.learning import learning_rate, published_learning_rates
from popsim.study.learning import learning

GIVEN = dict(zip(LEVELS, SIGNAL_WEIGHT, strict=False))


def treatment(tmp_path, **overrides):
    scenario = popsim.load_scenario("information_treatment", {"engine": "baseline", "size": 3000, **overrides})
    return popsim.run(scenario, tmp_path / f"run{abs(hash(str(overrides)))}")


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, 2), st.floats(-5, 15), st.integers(0, 10**6))
def test_an_exact_rate_is_found_whatever_the_drift_and_the_regression_to_the_mean(rate, signal, seed):
    rng = np.random.default_rng(seed)
    prior, shown = rng.normal(3, 2, 400), rng.random(400) < 0.5
    update = 0.7 - 0.4 * (prior - 3) + rate * shown * (signal - prior)
    found = learning_rate(prior, prior + update, shown, signal)
    assert found["rate"] == pytest.approx(rate, abs=1e-6)


def test_the_interval_covers_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(600):
        prior, shown = rng.normal(3, 2, 300), rng.random(300) < 0.5
        noise = rng.normal(0, 0.3 + 0.3 * np.abs(prior - 3))
        found = learning_rate(prior, prior + 0.3 * shown * (4 - prior) + noise, shown, 4.0, rng.uniform(0.5, 2, 300))
        hits += found["low"] <= 0.3 <= found["high"]
    assert 0.925 <= hits / 600 <= 0.975


def test_the_estimate_is_that_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(2)
    prior, shown, weight = rng.normal(3, 2, 200), rng.random(200) < 0.5, rng.uniform(0.5, 2, 200)
    posterior = prior + 0.4 * shown * (5 - prior) + rng.normal(0, 1, 200)
    gap = 5 - prior
    terms = np.column_stack([shown * gap, np.ones(200), shown, gap])
    fit = sm.WLS(posterior - prior, terms, weights=weight).fit(cov_type="HC3")
    found = learning_rate(prior, posterior, shown, 5.0, weight)
    assert found["rate"] == pytest.approx(fit.params[0], rel=1e-9)
    assert found["se"] == pytest.approx(fit.bse[0], rel=1e-9)


def test_moves_away_from_the_signal_are_counted_among_those_who_were_shown_it():
    prior, shown = np.zeros(40), np.arange(40) < 20
    posterior = np.where(np.arange(40) < 5, -1.0, 1.0)
    found = learning_rate(prior + np.linspace(0, 0.5, 40), posterior, shown, 3.0)
    assert found["wrong_direction"] == 0.25
    assert np.isnan(learning_rate(prior[:12], prior[:12], shown[:12], 3.0)["rate"])


@pytest.mark.parametrize("signal", [0.0, 6.0])
def test_baselines_answers_give_back_the_rate_of_each_confidence(tmp_path, signal):
    run = treatment(tmp_path, **{"news.0.signal.value": signal})
    found = learning(run)
    answers = found[found["of"].eq("answers")].set_index("confidence")
    for level, rate in GIVEN.items():
        low, high = answers.loc[level, ["low", "high"]]
        slack = (high - low) / 2  # one interval of ten lies beside the truth; two half-widths hardly ever do
        assert low - slack <= rate <= high + slack
    assert answers.loc["extremely weak", "rate"] > answers.loc["extremely strong", "rate"]
    assert answers.loc["all", "low"] <= float(np.mean([GIVEN["moderate"]])) <= answers.loc["all", "high"]


def test_the_rate_is_the_same_on_both_sides_of_the_signal(tmp_path):
    run = treatment(tmp_path, size=6000)
    answers = run.answers
    wide = answers[answers["question"].eq("inflation")].pivot(index="person", columns="wave", values="value")
    shown = run.assignment["shown_forecast"].to_numpy()
    for side in (wide[0] < 2.8, wide[0] > 2.8):
        here = side.to_numpy()
        prior, posterior = (wide[wave].to_numpy()[here] for wave in (0, 1))
        found = learning_rate(prior, posterior, shown[here], 2.8)
        assert found["low"] - 0.03 <= 0.3 <= found["high"] + 0.03


def test_the_rules_rate_is_the_one_its_precisions_give(tmp_path):
    run = treatment(tmp_path, size=800)
    found = learning(run)
    rule = found[found["of"].eq("rule")].set_index("confidence")["rate"]
    for level, sd in run.scenario.beliefs["inflation"].sd.items():
        assert rule[level] == pytest.approx(sd**2 / (sd**2 + 2.5**2), abs=1e-9)


def test_placebo_news_teaches_nothing(tmp_path):
    found = learning(treatment(tmp_path, placebo_news=True))
    everyone = found[found["confidence"].eq("all")].set_index("of")
    assert everyone.loc["answers", "low"] <= 0 <= everyone.loc["answers", "high"]
    assert everyone.loc["rule", "rate"] == pytest.approx(0, abs=1e-12)


def test_what_was_not_shown_at_random_has_no_rate(tmp_path):
    scenario = popsim.load_scenario("oil_news", {"engine": "baseline", "size": 60})
    assert learning(popsim.run(scenario, tmp_path / "run")).empty


def test_published_rates_have_their_context():
    table = published_learning_rates()
    assert table["rate"].between(0, 1).all()
    assert table[["study", "belief", "signal"]].notna().all(axis=None)


def test_a_treatment_and_news_run_on_the_shipped_model(tmp_path):
    for name in ("information_treatment", "oil_forecast", "oil_news"):
        run = popsim.run(popsim.load_scenario(name, {"size": 24, "engine": "nano"}), tmp_path / name)
        assert run.manifest["state"] == "complete"
        assert set(run.answers["wave"]) == {0, 1}
        if name != "information_treatment":  # which nano was never taught
            assert run.answers["status"].eq("ok").mean() > 0.9


def test_the_oil_vignette_gives_the_rates_back_too(tmp_path):
    scenario = popsim.load_scenario("oil_forecast", {"size": 4000, "engine": "baseline"})
    found = learning(popsim.run(scenario, tmp_path / "run"))
    answers = found[found["of"].eq("answers")].set_index("confidence")
    for level, rate in GIVEN.items():
        low, high = answers.loc[level, ["low", "high"]]
        slack = (high - low) / 2
        assert low - slack <= rate <= high + slack
