"""Regressions against statsmodels' formulas, and individual fit against the truth that made the data."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from popsim.errors import TargetError
from popsim.evaluate.regressions import adjusted_r2, individual_fit, regress


def people(n, seed=0):
    random = np.random.default_rng(seed)
    return random, pd.DataFrame(
        {
            "party": pd.Categorical(random.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])),
            "age": random.integers(18, 90, n),
        }
    )


@pytest.mark.parametrize("clustered", [False, True], ids=["robust", "clustered"])
def test_same_as_a_formula_in_statsmodels(clustered):
    random, table = people(600)
    table["y"] = 1.0 + 0.02 * table["age"] + table["party"].eq("b") * 0.5 + random.normal(0, 1 + table["age"] / 60)
    table["w"], table["who"] = random.uniform(0.5, 2, 600), np.arange(600) // 3
    how = {"cov_type": "cluster", "cov_kwds": {"groups": table["who"]}} if clustered else {"cov_type": "HC1"}
    known = smf.wls("y ~ C(party, Treatment('a')) + age", table, weights=table["w"]).fit(**how)
    cluster = table["who"].to_numpy() if clustered else None
    found = regress(table["y"].to_numpy(), table[["party", "age"]], table["w"].to_numpy(), cluster)
    assert found["term"].tolist() == ["intercept", "party: b", "party: c", "age"]
    np.testing.assert_allclose(found["estimate"], known.params.to_numpy(), rtol=1e-8)
    np.testing.assert_allclose(found["se"], known.bse.to_numpy(), rtol=1e-6)
    assert set(found["errors"]) == {"clustered" if clustered else "robust (HC1)"}


def test_a_simulation_that_knows_more_than_attributes_beats_models_fitted_to_them():
    random, table = people(300, 1)
    human = table["age"] * 0.02 + random.normal(0, 1, 300)
    told = individual_fit(human.to_numpy(), (5 + 0.1 * human + random.normal(0, 0.02, 300)).to_numpy(), table)
    fit = told.set_index("who")
    assert fit.loc["simulated, rescaled", "r2"] > 0.9 > fit.loc["OLS", "r2"] > 0
    assert fit.loc["simulated", "r2"] < 0 < fit.loc["simulated", "correlation"]


def test_noise_explains_nothing():
    random, table = people(400, 2)
    assert individual_fit(random.normal(size=400), random.normal(size=400), table)["r2"].max() < 0.05
    assert abs(adjusted_r2(random.normal(size=400), table)) < 0.05


def test_too_few_answers_are_refused():
    _, table = people(4)
    with pytest.raises(TargetError, match="give fewer attributes"):
        regress(np.zeros(4), table)
    with pytest.raises(TargetError, match="give one of each"):
        individual_fit(np.zeros(4), np.zeros(4), table)
