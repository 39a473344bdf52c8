"""The respondents of the vignettes: the sample table of the study is met, and assumptions are called assumptions."""

import pytest

from popsim.population import Words, load_population, margin_report, sample_people


@pytest.fixture(scope="module")
def households():
    return sample_people(load_population("aprw_households_2019"), 20_000, seed=3)


def test_households_meet_the_sample_table_of_the_study(households):
    def share(mask):
        return float(mask.mean())

    assert share(households["sex"].eq("female")) == pytest.approx(0.55, abs=0.002)
    regions = households["region"].value_counts(normalize=True)
    assert regions.to_dict() == pytest.approx(
        {"Northeast": 0.22, "Midwest": 0.21, "South": 0.41, "West": 0.16}, abs=0.002
    )
    ages = households["age"]
    assert [share(ages < 35), share((ages > 34) & (ages < 55)), share(ages > 54)] == pytest.approx(
        [0.28, 0.39, 0.33], abs=0.002
    )
    assert share(households["education_level"].eq("high")) == pytest.approx(0.32, abs=0.002)
    assert float(households["income"].median()) == pytest.approx(62_500, abs=5000)
    assert households.attrs["fit"]["converged"]


def test_households_differ_from_us_adults_only_where_the_table_says_so(households):
    us = load_population("us_adults_2018")
    mine = load_population("aprw_households_2019")
    assert mine.persona == us.persona
    assert mine.words == us.words
    assert mine.steps[1:] == us.steps[1:]
    assert {margin.name for margin in mine.steps[0].margins} == {
        f"APRW {x}" for x in ("sex", "age", "education", "region")
    }
    report = margin_report(mine, households)
    assert report[report["margin"].str.startswith("APRW")]["error"].abs().max() < 0.002


def test_every_share_of_the_experts_is_called_an_assumption():
    spec = load_population("experts_2019")
    tables = [table for step in spec.steps for table in (*step.start, *step.margins)]
    assert {table.status for table in tables} == {"assumption"}
    people = sample_people(spec, 500, seed=1)
    assert {"role", "degree", "country", "field"} <= set(people.columns)
    words = Words(spec, "en", people)
    for row in range(50):
        persona = words.describe(words.of(row))
        assert persona.startswith("You are a")
        assert "{{" not in persona
        assert "_" not in persona
