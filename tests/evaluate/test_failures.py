"""Failures that depend on the arm are found, and what could be missing bounds the truth."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from popsim.evaluate.failures import dependence, failure_rates, mean_bounds


def asked(random, n, rates):
    arm = random.choice(list(rates), n)
    failed = random.random(n) < np.vectorize(rates.get)(arm)
    return pd.DataFrame({"person": np.arange(n), "arm": arm, "first_failed": failed, "failed": failed})


def test_failures_that_depend_on_the_arm_are_found_and_bounds_hold_the_truth():
    random = np.random.default_rng(1)
    for _ in range(50):
        arm = random.choice(["fall", "rise"], 600)
        truth = np.where(arm == "rise", 1.0, -1.0) + random.normal(0, 0.5, 600)
        # Who would have said a lot fails to answer, and only in one arm: what is left has a smaller effect.
        failed = (arm == "rise") & (truth > 1.4) & (random.random(600) < 0.8)
        table = pd.DataFrame({"person": range(600), "arm": arm, "first_failed": failed, "failed": failed})
        assert failure_rates(table)["p"].max() < 0.01
        bounds = {one: mean_bounds(np.where(failed, np.nan, truth)[arm == one], -8.0, 8.0) for one in ("fall", "rise")}
        effect = truth[arm == "rise"].mean() - truth[arm == "fall"].mean()
        assert bounds["rise"].mean - bounds["fall"].mean < effect
        assert bounds["rise"].low - bounds["fall"].high <= effect <= bounds["rise"].high - bounds["fall"].low


def test_failures_by_chance_are_rarely_told():
    random = np.random.default_rng(2)
    p = [dependence(asked(random, 300, {"fall": 0.05, "rise": 0.05}), "arm", "failed") for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) <= 0.09


def test_p_is_that_of_fishers_exact_test():
    table = pd.DataFrame({"person": range(60), "arm": ["fall"] * 30 + ["rise"] * 30})
    table["failed"] = table["person"].isin([0, 30, 31, 32, 33, 34, 35, 36])
    exact = stats.fisher_exact([[1, 29], [7, 23]]).pvalue
    assert dependence(table, "arm", "failed") == pytest.approx(exact, abs=0.01)


def test_a_person_asked_ten_times_is_no_ten_persons():
    """Persons who always fail, spread by chance over the arms, are no sign of dependence."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(100):
        persons = asked(random, 60, {"fall": 0.2, "rise": 0.2})
        found.append(dependence(pd.concat([persons] * 10, ignore_index=True), "arm", "failed"))
    assert np.mean(np.array(found) < 0.05) <= 0.1


def test_first_attempts_are_told_from_final_ones():
    table = pd.DataFrame({"person": range(200), "arm": ["fall", "rise"] * 100, "failed": False})
    table["first_failed"] = table["arm"].eq("rise") & (table["person"] % 4 == 1)
    rates = failure_rates(table)
    assert rates["first_failed"].tolist() == [0.0, 0.5]
    assert rates["first_p"].iloc[0] < 0.001
    assert np.isnan(rates["p"]).all()


@given(
    st.lists(st.tuples(st.floats(-2, 8), st.booleans(), st.floats(0.1, 5)), min_size=1, max_size=40),
)
def test_bounds_hold_whatever_the_missing_answers_were(rows):
    truth, missing, weight = (np.array(column) for column in zip(*rows, strict=True))
    found = mean_bounds(np.where(missing, np.nan, truth), -2.0, 8.0, weight)
    assert found.low - 1e-9 <= np.average(truth, weights=weight) <= found.high + 1e-9
