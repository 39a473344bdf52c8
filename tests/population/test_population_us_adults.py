"""US adults of 2018: margins met, exact numbers in their bands, gradients that hold against microdata."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from popsim.errors import PopulationError
from popsim.population import CONFIDENCE_LEVELS, Words, load_population, margin_report, sample_people
from popsim.population.fit import fit_population
from popsim.population.people import level_codes

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
SIZE = 100_000
POINT = 0.001
"""A tenth of a percentage point, as a share."""


@pytest.fixture(scope="module")
def spec():
    return load_population("us_adults_2018")


@pytest.fixture(scope="module")
def people(spec):
    return sample_people(spec, SIZE, seed=11)


@pytest.fixture(scope="module")
def report(spec, people):
    return margin_report(spec, people)


def test_every_margin_is_met_within_a_tenth_of_a_point(report, people):
    assert report["error"].abs().max() < POINT
    assert {"ACS B25118", "ACS DP04", "GSS party by tenure", "prices_prior", "confidence"} <= set(report["margin"])
    np.testing.assert_allclose(report["error"], report["achieved"] - report["target"])
    sourced = report[report["margin"].str.startswith(("ACS", "GSS"))]
    assert (sourced["sampling_error"] > 0).all()
    assert people.attrs["fit"]["converged"]


def test_small_samples_are_balanced_too(spec):
    error = np.array(
        [margin_report(spec, sample_people(spec, 1000, seed)).set_index("margin")["error"] for seed in range(5)]
    )
    at_random = margin_report(spec, sample_people(spec, 1000)).eval("target * (1 - target) / 1000") ** 0.5
    assert (error**2).mean() < 0.25 * (at_random**2).mean()


def test_household_tables_are_met_in_households_and_adults_differ(spec, people, report):
    tables = SHARED / "facts" / "marginals" / "us_2018_region_tenure_income_households.csv"
    if not tables.exists():
        pytest.skip("the source tables are not here")
    households = pd.read_csv(tables, comment="#")
    owners = households.loc[households["tenure"] == "own", "count"].sum() / households["count"].sum()
    units = fit_population(spec).units["households"]
    per_household = units.people_in(level_codes(spec, people))
    own = (people["tenure"] == "own").to_numpy()
    assert (own / per_household).sum() / (1 / per_household).sum() == pytest.approx(owners, abs=POINT)
    assert own.mean() > owners + 0.02
    assert len(people) / (1 / per_household).sum() == pytest.approx(253_815_197 / 121_520_180, rel=0.01)
    rows = report[report["margin"] == "ACS B25118"]
    by_name = {f"{h.region}, {h.tenure}, {h.income}": h.share for h in households.itertuples()}
    for cell, target in zip(rows["cell"], rows["target"], strict=True):
        assert target == pytest.approx(by_name[cell], abs=1e-6)


def test_fewer_live_with_another_generation_than_can_be(spec, people):
    """Adults less householders less half of the married are those who are neither householder nor married to one."""
    units = fit_population(spec).units["households"]
    per_household = pd.Series(1 / units.people_in(level_codes(spec, people)))
    unmarried = people["marital"] != "married"
    for age, of_age in people.groupby("age_band", observed=True):
        householder_age = "15-24" if age == "18-24" else age
        householders = per_household[people["householder_age"] == householder_age].sum()
        spare = len(of_age) - householders - (~unmarried[of_age.index]).sum() / 2
        elsewhere = (unmarried & (people["age_band"] == age) & (people["lives_with"] == "other_generation")).sum()
        assert elsewhere < spare


def test_home_value_belongs_to_owners_alone(people):
    own = people["tenure"] == "own"
    for column in ("home_value", "home_value_band", "home_value_level"):
        assert people[column].notna().equals(own)


def test_numbers_lie_in_their_bands_and_are_stated_as_people_would(spec, people):
    for column, number in spec.numbers.items():
        known = people[people[column].notna()]
        values = known[column].to_numpy(float)
        low, high = np.array([number.bounds[band] for band in known[number.of]]).T
        assert ((values >= low) & (values < high)).all()
        step_at = np.array(sorted(number.steps or {0: 1}))
        step = np.array([(number.steps or {0: 1})[s] for s in step_at])[np.searchsorted(step_at, values, "right") - 1]
        assert (values % step == 0).mean() > 0.999
    assert people.loc[people["education"] == "graduate_degree", "age"].min() >= 23
    top = people.loc[people["income_band"] == "150k+", "income"]
    exponent = spec.numbers["income"].tail
    assert np.median(top) == pytest.approx(150_000 * 2 ** (1 / exponent), rel=0.03)


def test_levels_agree_with_the_model_card(spec, people):
    level = spec.levels
    assert people.loc[people["income"] == 65000, "income_level"].unique().tolist() == ["middle"]
    assert people.loc[people["home_value"] == 400000, "home_value_level"].unique().tolist() == ["high"]
    assert "college_degree" in level["education_level"].members["high"]


def test_confidence_has_its_shares_and_a_weak_gradient(people):
    shares = people["confidence"].value_counts(normalize=True)[list(CONFIDENCE_LEVELS)]
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.4, 0.2, 0.1], atol=1e-4)
    education = np.corrcoef(people["confidence"].cat.codes, people["education"].cat.codes)[0, 1]
    assert 0.2 < education < 0.3


def test_priors_tilt_with_the_party_in_power_and_keep_their_totals(spec):
    for in_power, optimists in (("Republican", "republican"), ("Democratic", "democrat")):
        people = sample_people(spec, 20_000, 3, {"in_power": in_power, "period": "2022"})
        up = (people["prices_prior"] == "up").groupby(people["party"], observed=True).mean()
        more = (people["unemployment_prior"] == "more").groupby(people["party"], observed=True).mean()
        assert up.idxmin() == optimists == more.idxmin()
        assert up["independent"] == pytest.approx(83.67 / (83.67 + 9.58 + 6.25), abs=0.002)
        both = ((people["prices_prior"] == "up") & (people["unemployment_prior"] == "more")).mean()
        apart = (people["prices_prior"] == "up").mean() * (people["unemployment_prior"] == "more").mean()
        assert both > apart
        report = margin_report(spec, people)
        assert report.loc[report["margin"].str.contains("prior"), "error"].abs().max() < 0.0005
        assert (report.loc[report["margin"] == "prices_prior", "year"] == "2022").all()


def test_without_a_tilt_parties_expect_the_same(spec):
    people = sample_people(spec, 20_000, 3, {"party_tilt": 0})
    up = (people["prices_prior"] == "up").groupby(people["party"], observed=True).mean()
    assert up.max() - up.min() < 0.002


def test_the_same_seed_gives_the_same_people_and_priors_move_nothing_else(spec):
    one, two = sample_people(spec, 500, 5), sample_people(spec, 500, 5)
    pd.testing.assert_frame_equal(one, two)
    other = sample_people(spec, 500, 5, {"period": "2023"})
    same = [c for c in one if c not in ("prices_prior", "unemployment_prior")]
    pd.testing.assert_frame_equal(one[same], other[same])
    assert not one["age"].equals(sample_people(spec, 500, 6)["age"])


def test_people_survive_a_parquet_file(spec, tmp_path):
    people = sample_people(spec, 300, 1, {"period": "2020"})
    people.to_parquet(tmp_path / "p.parquet")
    back = pd.read_parquet(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(margin_report(spec, back), margin_report(spec, people))


def test_microdata_confirm_who_owns_by_age_and_marital_status(spec, people):
    """Log odds of owning by age x marital status, centred, against 2018 ACS person records of 20 areas.

    The areas are not the nation (52 percent of their adults own, 67 percent nationally) and a cell of 100 records has a
    sampling error of about 0.3 in log odds, so levels are taken out and cells weigh by their records. Measured:
    correlation 0.97, mean gap 0.16, largest 0.57 (old unmarried people own less in these areas). Giving everybody the
    same odds has a mean gap of 0.7; the rule must stay at least three times better.
    """
    path = SHARED / "data" / "nist_acs_excerpt_2018.csv.gz"
    if not path.exists():
        pytest.skip("the microdata are not here")
    records = pd.read_csv(path).query("AGEP >= 18 and OWN_RENT != 0")
    edges = [18, 25, 35, 45, 55, 65, 75, 200]
    names = {"1": "married", "2": "married", "3": "widowed", "4": "divorced", "5": "separated", "6": "never_married"}
    band = pd.cut(records["AGEP"], edges, right=False, labels=spec.attributes["age_band"]).astype(str)
    keys = [band.rename("age_band"), records["MSP"].astype(str).map(names).rename("marital")]
    weight = records["PWGTP"].astype(float)
    share = (weight * (records["OWN_RENT"] == 1)).groupby(keys).sum() / weight.groupby(keys).sum()
    table = pd.DataFrame({"n": weight.groupby(keys).size(), "theirs": share}).query("n >= 100")
    ours = (people["tenure"] == "own").groupby([people["age_band"].astype(str), people["marital"].astype(str)]).mean()
    table["ours"] = ours
    centred = {}
    for column in ("theirs", "ours"):
        odds = np.log(table[column] / (1 - table[column]))
        centred[column] = odds - np.average(odds, weights=table["n"])
    gap = (centred["ours"] - centred["theirs"]).abs()
    cov = np.cov(centred["ours"], centred["theirs"], aweights=table["n"])
    assert len(table) >= 20
    assert cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]) > 0.94
    assert np.average(gap, weights=table["n"]) < 0.22
    assert np.average(gap, weights=table["n"]) < np.average(centred["theirs"].abs(), weights=table["n"]) / 3
    assert gap.max() < 0.75


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_persona_states_every_fact_of_the_person(spec, people, language):
    few = people.head(300)
    words = Words(spec, language, few)
    for row in range(len(few)):
        person, said = words.person(row), words.of(row)
        text = words.describe(said)
        assert "{{" not in text
        facts = [
            "age",
            "sex",
            "marital",
            "region",
            "education",
            "education_level",
            "party",
            "in_power",
            "income",
            "income_level",
        ]
        assert all(said[fact] in text for fact in facts)
        assert (str(person["home_value"]) in text) == (person["tenure"] == "own")
    assert words.person(0)["confidence"] == words.of(0)["confidence"] == few["confidence"].iloc[0]
    assert all(value is None or isinstance(value, str | int | float) for value in words.person(0).values())


def test_a_language_that_is_not_there_is_named(spec, people):
    with pytest.raises(PopulationError, match="language 'fr'; it has: en, zh"):
        Words(spec, "fr", people.head(3))


@pytest.mark.parametrize(
    ("size", "seed", "priors", "words"),
    [
        pytest.param(0, 0, None, "size 0: an integer of at least 1", id="size-0"),
        pytest.param(-5, 0, None, "size -5", id="negative-size"),
        pytest.param(10, -1, None, "seed -1: an integer of at least 0", id="negative-seed"),
        pytest.param(10, 0, {"period": "2018Q1"}, "did you mean 2019Q1", id="period"),
        pytest.param(10, 0, {"in_power": "Whig"}, "Allowed: Democratic, Republican", id="party"),
        pytest.param(10, 0, {"party_tillt": 1}, "did you mean party_tilt", id="unknown-prior"),
        pytest.param(10, 0, {"party_tilt": "much"}, "priors.party_tilt: a number is needed, not 'much'", id="tilt"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(spec, size, seed, priors, words):
    with pytest.raises(PopulationError) as problem:
        sample_people(spec, size, seed, priors)
    assert words in str(problem.value)
    assert "\n" not in str(problem.value)
