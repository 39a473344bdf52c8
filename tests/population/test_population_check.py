"""The account of a fit: distances against plain formulas, held-out records, weights, and what the command saves."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats.contingency import association

from popsim.errors import PopulationError
from popsim.population import effective_size, fit_report, load_population, sample_people
from popsim.population.check import Compared, compare_associations, compare_combinations, compare_ways, cramers_v
from popsim.population.scaffold import scaffold
from popsim.population.seeds import cell_table

NAMES = ("a", "b", "c")
SIZES = {"a": 2, "b": 3, "c": 4}


def records(number, n):
    random = np.random.default_rng(number)
    a = random.integers(2, size=n)
    b = (a + random.integers(2, size=n)) % 3
    c = (b + random.choice(4, n, p=[0.7, 0.2, 0.1, 0.0])) % 4
    return pd.DataFrame({"a": a, "b": b, "c": c})


def cells(frame, weights=None):
    codes = {name: frame[name].to_numpy().astype(np.int64) for name in NAMES}
    return cell_table(codes, SIZES, np.ones(len(frame)) if weights is None else weights)


def shares(frame, names, weights=None):
    table = np.zeros([SIZES[name] for name in names])
    np.add.at(table, tuple(frame[name] for name in names), 1.0 if weights is None else weights)
    return table / table.sum()


def test_distances_agree_with_their_formulas():
    people, truth = records(1, 400), records(2, 300)
    weights = np.random.default_rng(3).random(300) + 0.5
    found = compare_ways(Compared(cells(people), cells(truth, weights), SIZES)).set_index("ways")
    n = 1 / (1 / 400 + 1 / (weights.sum() ** 2 / (weights**2).sum()))
    for ways in (1, 2, 3):
        srmse, tae, beyond, count = [], [], 0, 0
        for names in combinations(NAMES, ways):
            p, q = shares(people, names), shares(truth, names, weights)
            srmse.append(np.sqrt(((p - q) ** 2).mean()) / q.mean())
            tae.append(np.abs(p - q).sum())
            inside = (q > 0) & (q < 1)
            z = (p - q)[inside] / np.sqrt(q * (1 - q) / n)[inside]
            beyond, count = beyond + (np.abs(z) > 1.96).sum(), count + inside.sum()
        row = found.loc[ways]
        assert row["srmse"] == pytest.approx(np.mean(srmse))
        assert row["worst"] == pytest.approx(max(srmse))
        assert row["tae"] == pytest.approx(np.mean(tae))
        assert row["tv"] == pytest.approx(np.mean(tae) / 2)
        assert row["z_share"] == pytest.approx(beyond / count)


def test_independent_samples_are_rarely_beyond_their_standard_errors():
    found = [compare_ways(Compared(cells(records(i, 2000)), cells(records(100 + i, 2000)), SIZES)) for i in range(20)]
    assert 0.01 < np.mean([one["z_share"].iloc[1] for one in found]) < 0.1


def test_cramers_v_agrees_with_scipy():
    people, truth = records(1, 4000), records(2, 4000)
    found = compare_associations(Compared(cells(people), cells(truth), SIZES))
    for row in found.itertuples():
        counts = np.rint(shares(people, (row.one, row.two)) * 4000).astype(int)
        counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
        assert row.people == pytest.approx(association(counts, method="cramer"))
        assert row.difference == pytest.approx(row.people - row.truth)
    assert cramers_v(np.array([[0.5, 0.5], [0.0, 0.0]])) == 0.0


def test_combinations_that_came_back_are_counted():
    seed = pd.DataFrame({"a": [0, 1], "b": [0, 0], "c": [0, 0]})
    truth = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 1, 2], "c": [0, 1, 1, 1]})
    people = pd.DataFrame({"a": [0, 0, 1, 0], "b": [0, 1, 0, 2], "c": [0, 1, 0, 2]})
    found = compare_combinations(Compared(cells(people), cells(truth), SIZES), cells(seed))
    assert found == {"people_new": 0.5, "truth_new": 3, "recovered": 1}


SPEC = {
    "name": "small",
    "title": "Small",
    "attributes": {"sex": ["f", "m"], "home": ["own", "rent", "none"]},
    "not_applicable": {"home": "none"},
    "impossible": [{"sex": "f", "home": "none"}],
    "steps": [
        {
            "adds": ["sex", "home"],
            "seed": {
                "file": "half.csv",
                "status": "assumption",
                "repair": 0.1,
                "columns": {"sex": {"column": "S", "recode": {1: "f", 2: "m"}}, "home": {"column": "H"}},
            },
            "margins": [
                {
                    "name": "sex",
                    "of": ["sex"],
                    "table": [["f", "m"], [60, 40]],
                    "unit": "people",
                    "year": 2020,
                    "status": "assumption",
                }
            ],
        }
    ],
}


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "half.csv").write_text("S,H\n" + "1,own\n1,rent\n2,own\n2,none\n" * 10, encoding="utf-8")
    (tmp_path / "other.csv").write_text(
        "S,H,weight\n1,own,2\n1,rent,1\n2,own,1\n2,rent,1\n2,none,1\n", encoding="utf-8"
    )
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False), encoding="utf-8")
    return load_population(tmp_path / "small.yaml")


def test_a_report_tells_the_fit_the_seed_and_the_distance_from_it(spec):
    people = sample_people(spec, 200)
    report = fit_report(spec, people)
    assert report["structural_zeros_created"] == 0
    assert report["people"] == {"n": 200, "effective_n": 200, "design_effect": 1}
    step = report["steps"][0]
    assert step["converged"]
    assert step["divergence"] > 0
    assert step["seed"]["records"] == 40
    assert step["seed"]["sampling_zeros"] == ()
    assert report["against"]["file"] == "the seed"
    assert report["against"]["records"] == 40
    assert report["against"]["combinations"]["truth_new"] == 0
    assert report["against"]["combinations"]["people_new"] > 0
    assert [row["cell"] for row in report["margins"]] == ["f", "m"]


def test_a_structural_zero_among_people_would_be_counted(spec):
    people = sample_people(spec, 200)
    broken = people.copy()
    broken.loc[broken["sex"] == "f", "home"] = None
    assert fit_report(spec, broken)["structural_zeros_created"] == (people["sex"] == "f").sum()


def test_held_out_records_are_read_by_the_seed_s_columns_or_by_the_attributes_names(spec, tmp_path):
    people = sample_people(spec, 200)
    report = fit_report(spec, people, tmp_path / "other.csv")
    against = report["against"]
    assert against["attributes"] == ["sex", "home"]
    assert against["effective_n"] == pytest.approx(36 / 8)
    assert against["combinations"]["truth_new"] == 1
    assert against["combinations"]["recovered"] == 1
    people.to_csv(tmp_path / "own.csv", index=False)
    own = fit_report(spec, people, tmp_path / "own.csv")["against"]
    assert own["records"] == 200
    assert [way["srmse"] for way in own["ways"]] == pytest.approx([0, 0])
    people.to_parquet(tmp_path / "own.parquet")
    assert fit_report(spec, people, tmp_path / "own.parquet")["against"]["ways"][1]["tae"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "no such file", id="gone"),
        pytest.param("x,y\n1,2\n", "has no column of small; columns: x, y", id="columns"),
        pytest.param("S,H\n3,own\n", "unknown level of sex '3'", id="level"),
        pytest.param("S,H,weight\n1,own,-1\n", "column 'weight', row 1: a number of at least 0", id="weight"),
        pytest.param("S,H,weight\n1,own,0\n", "no record is left", id="none-left"),
    ],
)
def test_a_held_out_file_that_does_not_fit_ends_in_one_line(spec, tmp_path, text, words):
    path = tmp_path / "truth.csv"
    if text:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(PopulationError) as problem:
        fit_report(spec, sample_people(spec, 50), path)
    assert words in str(problem.value)
    assert "\n" not in str(problem.value)


def test_weights_of_a_table_give_a_design_effect(tmp_path):
    frame = pd.DataFrame({"town": ["Ayr", "Bath", "Ayr"], "w": [1.0, 1.0, 2.0]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.yaml").write_text(scaffold(tmp_path / "t.csv", "t.csv"), encoding="utf-8")
    spec = load_population(tmp_path / "t.yaml")
    assert spec.from_table.weight == "w"
    report = fit_report(spec, sample_people(spec, 3), tmp_path / "t.csv")
    assert report["people"]["effective_n"] == pytest.approx(16 / 6) == effective_size([1, 1, 2])
    assert report["people"]["design_effect"] == pytest.approx(18 / 16)
    assert report["against"]["attributes"] == ["town"]
    assert json.dumps(report["margins"]) == "[]"


def test_a_scaffold_offers_the_table_itself_and_the_same_records_as_a_seed(tmp_path):
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "sex": random.choice(["f", "m"], 60),
            "zone": random.choice(["no", "yes: 1", "#2"], 60),
            "age": random.integers(18, 90, 60),
            "half known": "x",
            "gap": [None] * 5 + ["y"] * 55,
            "weight": random.random(60) + 0.5,
        }
    )
    frame.to_csv(tmp_path / "2nd wave.csv", index=False)
    text = scaffold(tmp_path / "2nd wave.csv", "2nd wave.csv")
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    spec = load_population(path)
    assert spec.name == "people_2nd_wave"
    assert sample_people(spec, 60)["age"].tolist() == frame["age"].tolist()
    assert "half known, gap" in text
    commented = text[text.index("# attributes:") :].replace("# ", "", 1).replace("\n# ", "\n")
    path.write_text(f"name: raked\ntitle: Raked\n{commented}", encoding="utf-8")
    raked = load_population(path)
    assert list(raked.attributes) == ["sex", "zone"]
    people = sample_people(raked, 500)
    assert fit_report(raked, people)["against"]["ways"][1]["srmse"] < 0.05
    frame[["half known", "gap"]].to_csv(tmp_path / "no.csv", index=False)
    with pytest.raises(PopulationError, match="no column is complete and named like a word"):
        scaffold(tmp_path / "no.csv", "no.csv")
