"""Microdata as the start of a fit: joint distributions, conditional draws that back off, repair, and large tables."""

import numpy as np
import pandas as pd
import pytest
from small_files import complaint, joint, seeded, write

from popsim.errors import PopulationError
from popsim.population import load_population, margin_report, sample_people
from popsim.population.fit import fit_population
from popsim.population.load import bind_files
from popsim.population.spec import PopulationSpec

RECORDS = pd.DataFrame(
    {
        "S": [1, 1, 1, 2, 2, 2, 2, 1],
        "years": ["20", "70", "81", "33", "66", "20", "n/a", "12"],
        "home": ["own", "rent", "own", "own", "rent", "rent", "own", "own"],
        "w": [2.0, 1, 3, 1, 1, 1, 9, 9],
    }
)
SEED = {
    "weight": "w",
    "columns": {
        "sex": {"column": "S", "recode": {1: "f", 2: "m"}},
        "age": {"column": "years", "lowest": {"young": 18, "old": 65}, "recode": {"n/a": None}},
    },
}


def test_a_seed_gives_the_joint_distribution_and_the_margins_give_the_numbers(tmp_path):
    """An independent fit: the seed's table by hand, raked by plain numpy."""
    spec = load_population(write(tmp_path, lambda d: seeded(d, **SEED), r=RECORDS))
    w = np.zeros((2, 2, 2))
    for sex, age, home, weight in [(0, 0, 0, 2), (0, 1, 1, 1), (0, 1, 0, 3), (1, 0, 0, 1), (1, 1, 1, 1), (1, 0, 1, 1)]:
        w[sex, age, home] += weight
    pair, one = np.array([[5, 15], [5, 5]]) / 30, np.array([12, 18]) / 30
    for _ in range(3000):
        w *= (pair / w.sum(axis=2))[:, :, None]
        w *= one / w.sum(axis=(0, 1))
    found = joint(spec).set_index(["sex", "age", "home"])["share"]
    for at, cell in np.ndenumerate(w):
        key = ("fm"[at[0]], ("young", "old")[at[1]], ("own", "rent")[at[2]])
        assert found.get(key, 0.0) == pytest.approx(cell, abs=1e-7)
    taken = fit_population(spec).steps[0].seed
    assert (taken.records, taken.left_out, taken.impossible) == (6, 2, 0)
    assert taken.effective_n == pytest.approx(9**2 / (4 + 1 + 9 + 1 + 1 + 1))


def test_quantiles_cut_records_by_their_weights(tmp_path):
    records = pd.DataFrame({"x": [5, 1, 3, 2, 4] * 20, "w": [1, 1, 1, 6, 1] * 20})
    data = {
        "name": "q",
        "title": "Q",
        "attributes": {"third": ["low", "high"]},
        "steps": [
            {
                "adds": ["third"],
                "seed": {
                    "file": "r.csv",
                    "weight": "w",
                    "status": "assumption",
                    "columns": {"third": {"column": "x", "quantiles": {"low": 0, "high": 0.7}}},
                },
            }
        ],
    }
    records.to_csv(tmp_path / "r.csv", index=False)
    people = sample_people(bind_files(PopulationSpec.model_validate(data), tmp_path), 1000)
    assert people["third"].value_counts().to_dict() == {"low": 700, "high": 300}


def test_p_given_parents_backs_off_where_records_are_few_and_is_raked_to_the_margin(tmp_path):
    records = pd.DataFrame(
        {
            "sex": ["f"] * 40 + ["m"] * 43,
            "age": ["young"] * 20 + ["old"] * 20 + ["young"] * 40 + ["old"] * 3,
            "home": ["own"] * 5
            + ["rent"] * 15
            + ["own"] * 15
            + ["rent"] * 5
            + ["own"] * 10
            + ["rent"] * 30
            + ["own"] * 3,
        }
    )

    def conditional(data, least=10):
        data["steps"][0]["adds"] = ["sex", "age"]
        margin = data["steps"][0]["margins"].pop()
        seed = {"file": "r.csv", "status": "assumption", "at_least": least}
        data["steps"].append({"adds": ["home"], "given": ["sex", "age"], "seed": seed, "margins": [margin]})

    spec = load_population(write(tmp_path, conditional, r=records))
    step = fit_population(spec).steps[1]
    assert step.seed.backed_off == pytest.approx({"sex, age": 25 / 30, "sex": 5 / 30, "": 0})
    assert step.raked.converged
    odds = step.chances[:, 0] / step.chances[:, 1]
    place = {"f young": 0, "f old": 1, "m old": 2, "m young": 3}
    assert odds[place["f old"]] / odds[place["f young"]] == pytest.approx((15 / 5) / (5 / 15))
    assert odds[place["m old"]] / odds[place["f young"]] == pytest.approx((13 / 30) / (5 / 15))
    assert margin_report(spec, sample_people(spec, 3000)).query("margin == 'home'")["error"].abs().max() < 1e-3
    fine = load_population(write(tmp_path, lambda d: conditional(d, 3), r=records))
    assert fit_population(fine).steps[1].seed.backed_off["sex, age"] == pytest.approx(1)


def test_a_cell_of_a_margin_without_a_record_is_named_or_repaired(tmp_path):
    records = RECORDS[~((RECORDS["S"] == 2) & (RECORDS["years"] == "66"))]
    message = complaint(write(tmp_path, lambda d: seeded(d, **SEED), r=records))
    assert "seed: no record in age by sex, m, old, where people must be (1 such cells)" in message
    assert "write repair: 0.05 under seed" in message
    spec = load_population(write(tmp_path, lambda d: seeded(d, **SEED, repair=0.05), r=records))
    step = fit_population(spec).steps[0]
    assert step.seed.sampling_zeros == ("age by sex, m, old",)
    assert step.raked.converged
    report = margin_report(spec, sample_people(spec, 3000))
    assert report["error"].abs().max() < 1e-3


def test_structural_zeros_stay_zero_when_a_seed_is_repaired(tmp_path):
    def change(data):
        seeded(data, **SEED, repair=0.2)
        data["impossible"] = [{"age": "young", "home": "own"}]

    spec = load_population(write(tmp_path, change, r=RECORDS))
    people = sample_people(spec, 500)
    assert not ((people["age"] == "young") & (people["home"] == "own")).any()
    assert fit_population(spec).steps[0].seed.impossible == 2


def test_records_that_are_all_impossible_are_refused(tmp_path):
    def change(data):
        seeded(data, **SEED, repair=0.2)
        data["impossible"] = [{"age": ["young", "old"], "home": "own"}, {"age": ["young", "old"], "home": "rent"}]

    message = complaint(write(tmp_path, change, r=RECORDS))
    assert "seed: all 6 records are in cells that are declared impossible" in message


def test_a_table_too_large_for_memory_is_estimated_and_its_list_form_fits(tmp_path):
    names = [f"a{i}" for i in range(14)]
    random = np.random.default_rng(1)
    records = pd.DataFrame({name: random.choice(["p", "q", "r", "s"], 500) for name in names})
    data = {
        "name": "large",
        "title": "Large",
        "attributes": {name: ["p", "q", "r", "s"] for name in names},
        "steps": [{"adds": names}],
    }
    with pytest.raises(
        PopulationError, match=r"has 268,435,456 cells and would take about 43 GB of memory \(at most 8\)"
    ):
        fit_population(PopulationSpec.model_validate(data))
    data["steps"][0]["seed"] = {"file": "r.csv", "status": "assumption"}
    records.to_csv(tmp_path / "r.csv", index=False)
    people = sample_people(bind_files(PopulationSpec.model_validate(data), tmp_path), 500)
    pd.testing.assert_frame_equal(
        people[names].astype(str).sort_values(names, ignore_index=True), records.sort_values(names, ignore_index=True)
    )
