"""Populations from files: tables long and wide, recodes, microdata seeds, and what can be wrong with them."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from popsim.errors import PopulationError
from popsim.population import load_population, margin_report, sample_people
from popsim.population.fit import fit_population
from popsim.population.load import bind_files
from popsim.population.spec import PopulationSpec

SOURCED = {"source": "a table", "status": "found", "unit": "adults", "year": 2020}
LONG = "# a note\nzone,AGE,sex,year,n\nN,1,f,19,5\nN,2,f,19,7\nN,3,f,19,8\nN,1,m,19,5\nN,2,m,19,3\nN,3,m,19,2\n"
WIDE = "sex,1,2,3,total\nf,5,7,8,20\nm,5,3,2,10\nall,10,10,10,30\n"
RECODE = {"1": "young", 2: "old", 3: "old"}
BASE = {
    "name": "small",
    "title": "Small",
    "unit": "adults",
    "attributes": {"sex": ["f", "m"], "age": ["young", "old"], "home": ["own", "rent"]},
    "steps": [
        {
            "adds": ["sex", "age", "home"],
            "margins": [
                {
                    **SOURCED,
                    "name": "age by sex",
                    "of": ["sex", "age"],
                    "file": {"file": "t.csv", "numbers": "n", "columns": {"age": {"column": "AGE", "recode": RECODE}}},
                },
                {**SOURCED, "name": "home", "of": ["home"], "table": [["rent", "own"], [18, 12]]},
            ],
        }
    ],
}


def write(folder, change=None, **files):
    data = deepcopy(BASE)
    if change:
        change(data)
    for name, content in {"t": LONG, **files}.items():
        if isinstance(content, str):
            (folder / f"{name}.csv").write_text(content, encoding="utf-8")
        else:
            content.to_csv(folder / f"{name}.csv", index=False)
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def complaint(path):
    with pytest.raises(PopulationError) as problem:
        load_population(path)
    message = str(problem.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def table(data):
    return data["steps"][0]["margins"][0]["file"]


def seeded(data, **keys):
    data["steps"][0]["seed"] = {"file": "r.csv", "status": "assumption", **keys}


def joint(spec):
    """Give the fitted shares of a population of one step as a frame."""
    step = fit_population(spec).steps[0]
    frame = pd.DataFrame({name: np.array(spec.attributes[name])[codes] for name, codes in step.codes.items()})
    return frame.assign(share=step.chances[0])


def test_a_long_table_is_recoded_and_summed_to_the_levels(tmp_path):
    spec = load_population(write(tmp_path))
    assert [list(row) for row in spec.steps[0].margins[0].table] == [
        ["sex", "young", "old"],
        ["f", 5.0, 15.0],
        ["m", 5.0, 5.0],
    ]
    assert spec.steps[0].margins[0].file.sha256
    assert str(tmp_path) not in spec.model_dump_json()


def test_a_wide_table_a_parquet_table_and_an_inline_one_are_the_same_population(tmp_path):
    def wide(data):
        columns = {"age": {"recode": {**RECODE, "total": None}}, "sex": {"recode": {"all": None}}}
        data["steps"][0]["margins"][0]["file"] = {"file": "t.csv", "columns": columns}

    def parquet(data):
        table(data)["file"] = "t.parquet"

    def inline(data):
        margin = data["steps"][0]["margins"][0]
        del margin["file"]
        margin["table"] = [["sex", "young", "old"], ["m", 5, 5], ["f", 5, 15]]

    pd.read_csv(write(tmp_path).parent / "t.csv", comment="#").to_parquet(tmp_path / "t.parquet")
    first = joint(load_population(write(tmp_path)))
    for change, text in ((wide, WIDE), (parquet, LONG), (inline, LONG)):
        again = joint(load_population(write(tmp_path, change, t=text)))
        pd.testing.assert_frame_equal(again, first)


def test_a_table_may_be_summed_over_a_column_that_is_named(tmp_path):
    def by_age(data):
        data["steps"][0]["margins"][0]["of"] = ["age"]
        table(data)["sum_over"] = ["sex"]

    spec = load_population(write(tmp_path, by_age))
    assert spec.steps[0].margins[0].table[1] == (10.0, 20.0)
    message = complaint(write(tmp_path, lambda d: by_age(d) or table(d).pop("sum_over")))
    assert "row 4 (1) stands twice; name the columns that the table is summed over under sum_over" in message


def test_a_grouped_margin_fits_what_its_groups_hold(tmp_path):
    def grouped(data):
        data["attributes"]["age"] = ["young", "middle", "old"]
        table(data)["columns"]["age"]["recode"] = {1: "young", 2: "older", 3: "older"}
        data["steps"][0]["margins"][0]["groups"] = {"age": {"older": ["middle", "old"]}}

    shares = joint(load_population(write(tmp_path, grouped))).groupby("age")["share"].sum()
    np.testing.assert_allclose(shares[["young", "middle", "old"]], [1 / 3, 1 / 3, 1 / 3])


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


def test_rescale_brings_a_margin_to_the_total_before_it_and_says_by_how_much(tmp_path):
    def off(data):
        data["steps"][0]["margins"][1]["table"] = [["rent", "own"], [18.6, 12.4]]

    message = complaint(write(tmp_path, off))
    assert "totals disagree: it sums to 31 adults, the margins before it to 30 (a gap of 1)" in message
    assert "write rescale: true to multiply it by 0.96774194" in message
    spec = load_population(write(tmp_path, lambda d: off(d) or d["steps"][0]["margins"][1].update(rescale=True)))
    assert fit_population(spec).steps[0].margins[1].rescaled == pytest.approx(30 / 31)
    np.testing.assert_allclose(fit_population(spec).steps[0].margins[1].target, [0.4, 0.6])


def test_a_population_that_extends_another_says_only_what_differs(tmp_path):
    write(tmp_path)
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "more.yaml"
    data = {
        "name": "more",
        "extends": "../small.yaml",
        "change": {"steps.0.margins.1.yields_to": "half"},
        "insert": {
            "steps.0.margins.1": {**SOURCED, "name": "half", "of": ["home"], "table": [["own", "rent"], [15, 15]]}
        },
    }
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    spec = load_population(path)
    assert spec.name == "more"
    assert spec.title == "Small"
    assert [margin.name for margin in spec.steps[0].margins] == ["age by sex", "half", "home"]
    assert joint(spec).groupby("home")["share"].sum()["own"] == pytest.approx(0.5)
    for change, words in (
        ({"change": {"steps.7.adds": []}}, "change.steps.7.adds: addresses nothing: steps has no '7'; it has: 0"),
        ({"insert": {"title": "x"}}, "insert.title: only items of a list can be inserted"),
        ({"extends": "more.yaml"}, "is it a circle?"),
        ({"extends": "none.yaml"}, "none.yaml: no such file"),
    ):
        path.write_text(yaml.safe_dump({**data, **change}), encoding="utf-8")
        with pytest.raises(PopulationError) as problem:
            load_population(path)
        assert words in str(problem.value)


def test_shares_that_do_not_sum_to_one_are_refused_or_rescaled(tmp_path):
    def shares(data, **keys):
        data["steps"][0]["margins"][1].update(measure="shares", table=[["rent", "own"], [60, 37]], **keys)

    assert "home: shares sum to 97; 1 or 100 is needed" in complaint(write(tmp_path, shares))
    assert "write rescale: true to multiply them by 1.03093" in complaint(write(tmp_path, shares))
    spec = load_population(write(tmp_path, lambda d: shares(d, rescale=True)))
    np.testing.assert_allclose(fit_population(spec).steps[0].margins[1].target, np.array([37, 60]) / 97)
    assert fit_population(spec).steps[0].margins[1].rescaled == pytest.approx(100 / 97)


def test_shares_may_be_confined_to_those_who_were_drawn_before(tmp_path):
    def confined(data):
        margin = data["steps"][0]["margins"].pop()
        data["steps"][0]["adds"] = ["sex", "age"]
        others = [{**margin, "measure": "shares", "where": {"sex": sex}, "name": f"home {sex}"} for sex in "fm"]
        others[1]["table"] = [["own", "rent"], [0.9, 0.1]]
        data["steps"].append({"adds": ["home"], "given": ["sex"], "margins": others})
        others[0]["table"] = [["rent", "own"], [80, 20]]

    spec = load_population(write(tmp_path, confined))
    people = sample_people(spec, 3000)
    owners = people["home"].eq("own").groupby(people["sex"], observed=True).mean()
    np.testing.assert_allclose(owners[["f", "m"]], [0.2, 0.9], atol=1e-3)
    assert margin_report(spec, people)["error"].abs().max() < 1e-3


def test_words_may_be_cut_at_quantiles_of_the_people(tmp_path):
    (tmp_path / "t.csv").write_text("income,w\n10,1\n20,1\n30,4\n40,1\n50,1\n,1\n", encoding="utf-8")
    data = {
        "name": "t",
        "title": "T",
        "from_table": {"file": "t.csv", "weight": "w"},
        "levels": {"word": {"of": "income", "quantiles": {"low": 0, "middle": 0.25, "high": 0.75}}},
    }
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    people = sample_people(load_population(path), 6)
    assert people["word"].astype(object).where(people["word"].notna(), None).tolist() == [
        "low", "low", "middle", "high", "high", None,
    ]  # fmt: skip


def test_the_example_of_the_docs_is_a_population(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "docs" / "populations.md").read_text(encoding="utf-8")
    (tmp_path / "town.yaml").write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    (tmp_path / "tenure.csv").write_text("TEN,percent\n1,30\n2,20\n3,50\ntotal,100\n", encoding="utf-8")
    spec = load_population(tmp_path / "town.yaml")
    people = sample_people(spec, 1000)
    assert people["tenure"].eq("own").sum() == 500
    assert not ((people["age_band"] == "18-34") & (people["tenure"] == "own")).any()


def test_a_population_inside_a_scenario_says_that_its_files_were_not_read():
    with pytest.raises(PopulationError, match=r"file: t.csv was not read; name a population by its own file"):
        fit_population(PopulationSpec.model_validate(BASE))


BAD = [
    pytest.param(lambda d: table(d).update(file="u.csv"), {}, ["margins.0.file", "u.csv: no such file"], id="gone"),
    pytest.param(
        lambda d: table(d).update(file="t.txt"), {"t": LONG}, ["t.txt: no such file"], id="other-kind-that-is-not-there"
    ),
    pytest.param(
        lambda d: table(d).update(numbers="N"), {}, ["unknown column 'N'", "Allowed: zone, AGE"], id="numbers-column"
    ),
    pytest.param(
        lambda d: table(d)["columns"]["age"].update(column="age"), {}, ["unknown column 'age'"], id="attribute-column"
    ),
    pytest.param(
        None,
        {"t": LONG.replace("8", "-8")},
        ["file: column 'n', row 3: a number of at least 0 is needed, not '-8' (1 such rows)"],
        id="negative-cell",
    ),
    pytest.param(None, {"t": LONG.replace("19,8", "19,")}, ["row 3: a number of at least 0", "not ''"], id="empty"),
    pytest.param(
        None, {"t": LONG.replace("N,1,m,19,5\n", "")}, ["t.csv: there is no row for m, young"], id="missing-cell"
    ),
    pytest.param(
        None, {"t": LONG.replace("N,3,m", "N,4,m")}, ["unknown level of age '4'", "Allowed: young, old"], id="level"
    ),
    pytest.param(
        lambda d: d["steps"][0]["margins"][0].update(n=[5, 6]), {}, ["give one number for a table in a file"],
        id="n-by-row",
    ),
    pytest.param(lambda d: table(d).update(sum_over=["zoe"]), {}, ["column 'zoe'; did you mean zone?"], id="sum"),
    pytest.param(lambda d: d["steps"][0]["margins"][1].pop("table"), {}, ["give either table or file"], id="no-table"),
    pytest.param(
        lambda d: d["steps"][0]["margins"][0].update(table=[["sex", "young", "old"], ["m", 5, 5], ["f", 5, 15]]),
        {}, ["steps.0.margins.0: give either table or file"], id="both",
    ),
    pytest.param(lambda d: table(d).update(sha256="0"), {}, ["sha256", "has changed: its hash is"], id="another-file"),
    pytest.param(
        lambda d: seeded(d), {"r": "sex,age,home\nf,young,own\nx,old,rent\n"},
        ["steps.0.seed: columns.sex: unknown level of sex 'x'", "Allowed: f, m (1 rows); recode it"], id="seed-level",
    ),
    pytest.param(
        lambda d: seeded(d), {"r": "sex,age\nf,young\n"}, ["steps.0.seed: unknown column 'home'"], id="seed-column"
    ),
    pytest.param(
        lambda d: seeded(d, weight="w"), {"r": "sex,age,home,w\nf,young,own,much\n"},
        ["steps.0.seed: column 'w', row 1", "not 'much'"], id="seed-weight",
    ),
    pytest.param(
        lambda d: seeded(d, columns={"age": {"lowest": {"young": 0, "old": 65}}}), {"r": "sex,age,home\nf,x,own\n"},
        ["columns.age: column 'age' holds 'x', which is no number; recode it"], id="seed-number",
    ),
    pytest.param(
        lambda d: seeded(d), {"r": "sex,age,home\nf,young,own\nf,young,rent\nm,young,own\nf,old,own\n"},
        ["seed: no record in age by sex, m, old, where people must be"], id="seed-lacks-a-cell",
    ),
    pytest.param(
        lambda d: seeded(d, columns={"sex": {"recode": {"f": None}}}), {"r": "sex,age,home\nf,young,own\n"},
        ["no record is left; recode leaves out all 1"], id="seed-empty",
    ),
    pytest.param(lambda d: seeded(d, repair=1.0), {"r": "sex\nf\n"}, ["seed.repair", "less than 1"], id="repair"),
    pytest.param(
        lambda d: seeded(d, columns={"age": {"quantiles": {"young": 0.1, "old": 0.5}}}), {"r": "sex\nf\n"},
        ["quantiles: must begin at 0"], id="quantiles",
    ),
    pytest.param(lambda d: seeded(d, status="found"), {"r": "sex\nf\n"}, ["needs a source"], id="seed-source"),
    pytest.param(lambda d: seeded(d), {"r": "sex,age,home\n"}, ["r.csv: has no rows"], id="seed-no-rows"),
    pytest.param(lambda d: d.update(change={"title": "x"}), {}, ["change and insert need extends"], id="change"),
    pytest.param(lambda d: d.update(draw="qis"), {}, ["draw", "'systematic' or 'multinomial'"], id="draw"),
    pytest.param(
        lambda d: d["steps"][0]["margins"][1].update(measure="shares", where={"sex": "f"}), {},
        ["home: shares of sex, which is not among given"], id="shares-where",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "files", "words"), BAD)
def test_bad_input_ends_in_one_line(tmp_path, change, files, words):
    message = complaint(write(tmp_path, change, **files))
    for word in words:
        assert word in message
