"""The populations that ship beside us_adults_2018: what they take over, what differs, and where it stands."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from popsim.population import Words, load_population, margin_report, sample_people
from popsim.population.fit import fit_population
from popsim.weighted import quantiles

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
SIZE = 50_000


def drawn(name):
    spec = load_population(name)
    return spec, sample_people(spec, SIZE, seed=4)


@pytest.mark.parametrize("name", ["us_adults_2019", "us_adults_2023", "us_householders_2018", "cn_adults_2020"])
def test_every_margin_is_met_and_every_person_is_described(name):
    spec, people = drawn(name)
    assert people.attrs["fit"]["converged"]
    assert margin_report(spec, people)["error"].abs().max() < 0.001
    for language in spec.persona:
        words = Words(spec, language, people.head(200))
        assert all("{{" not in words.describe(words.of(row)) for row in range(200))
    sources = [margin for step in spec.steps for margin in step.margins if not margin.source]
    assert sources == []


def test_2019_differs_from_2018_in_party_and_expectations_alone():
    base, later = load_population("us_adults_2018"), load_population("us_adults_2019")
    for before, after in zip(fit_population(base).steps[:5], fit_population(later).steps[:5], strict=True):
        np.testing.assert_array_equal(before.chances, after.chances)
    people = sample_people(later, SIZE, seed=4)
    assert people["party"].eq("independent").mean() == pytest.approx(0.41, abs=0.001)
    ratio = people["party"].eq("democrat").mean() / people["party"].eq("republican").mean()
    assert ratio == pytest.approx(0.3091 / 0.2402, rel=0.01)
    assert later.priors.period == "2019"
    by_tenure = pd.crosstab(people["tenure"], people["party"], normalize="index")
    assert by_tenure.loc["own", "republican"] > 2 * by_tenure.loc["rent", "republican"]


def test_2023_has_its_published_medians_and_parties_and_the_shape_of_2018():
    spec, people = drawn("us_adults_2023")
    units = fit_population(spec).units["households"]
    from popsim.population.people import level_codes

    weights = 1 / units.people_in(level_codes(spec, people))
    assert quantiles(people["income"], weights, [0.5]) == pytest.approx(78_538, rel=0.03)
    own = people["tenure"].eq("own").to_numpy()
    assert quantiles(people["home_value"][own], weights[own], [0.5]) == pytest.approx(303_400, rel=0.04)
    party = people["party"].value_counts(normalize=True)
    np.testing.assert_allclose(party[["democrat", "independent", "republican"]], np.array([27, 43, 27]) / 97, atol=1e-3)
    assert people["in_power"].unique().tolist() == ["Democratic"]
    thirds = people["home_value_level"].value_counts(normalize=True)
    assert thirds.between(0.28, 0.39).all()
    before, base = drawn("us_adults_2018")[1], ["<25k", "25-50k", "50-75k"]
    below = people["income_band"].value_counts()[base] / before["income_band"].value_counts()[base]
    assert below.max() / below.min() < 1.06


def test_householders_have_the_household_tables_as_they_are():
    spec, people = drawn("us_householders_2018")
    assert spec.unit == "households"
    assert fit_population(spec).units == {}
    assert people["tenure"].eq("own").mean() == pytest.approx(0.63947, abs=2e-4)
    adults = drawn("us_adults_2018")[1]
    assert adults["tenure"].eq("own").mean() > people["tenure"].eq("own").mean() + 0.02
    assert people["age_band"].eq("18-24").mean() < adults["age_band"].eq("18-24").mean() / 2
    tables = SHARED / "facts" / "marginals" / "us_2018_region_tenure_income_households.csv"
    if not tables.exists():
        pytest.skip("the source tables are not here")
    published = pd.read_csv(tables, comment="#").set_index(["region", "tenure", "income"])["count"]
    found = people.groupby(["region", "tenure", "income_band"], observed=True).size()
    np.testing.assert_allclose(found / SIZE, (published / published.sum()).loc[found.index], atol=5e-4)


def test_chinese_adults_say_which_figures_are_recalled():
    spec, people = drawn("cn_adults_2020")
    status = {margin.name: margin.status for margin in spec.steps[0].margins}
    assert status == {"sex": "found", "age": "recalled", "education": "recalled", "residence": "recalled"}
    males = people["sex"].eq("male").sum()
    assert males / (len(people) - males) == pytest.approx(1.0507, abs=1e-3)
    assert people["age"].min() >= 18
