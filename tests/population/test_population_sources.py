"""Populations from files: tables long and wide, recodes, totals, extending another, and what can be wrong with them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from small_files import BASE, LONG, RECODE, SOURCED, WIDE, complaint, joint, seeded, table, write

from popsim.errors import PopulationError
from popsim.population import load_population, margin_report, sample_people
from popsim.population.fit import fit_population
from popsim.population.spec import PopulationSpec


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


def test_rescale_brings_a_margin_to_the_total_before_it_and_says_by_how_much(tmp_path):
    def off(data):
        data["steps"][0]["margins"][1]["table"] = [["rent", "own"], [18.6, 12.4]]

    message = complaint(write(tmp_path, off))
    assert "totals disagree: it sums to 31 adults, the margins before it to 30 (a gap of 1)" in message
    assert "write rescale: true to multiply it by 0.96774194" in message
    spec = load_population(write(tmp_path, lambda d: off(d) or d["steps"][0]["margins"][1].update(rescale=True)))
    assert fit_population(spec).steps[0].margins[1].rescaled == pytest.approx(30 / 31)
    np.testing.assert_allclose(fit_population(spec).steps[0].margins[1].target, [0.4, 0.6])


def test_a_population_that_is_based_on_another_says_only_what_differs(tmp_path):
    write(tmp_path)
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "more.yaml"
    half = {**SOURCED, "name": "half", "of": ["home"], "table": [["own", "rent"], [15, 15]]}
    data = {
        "name": "more",
        "based_on": "../small.yaml",
        "steps": {0: {"margins": {1: {"yields_to": "half"}, "half": {**half, "before": "home"}}}},
    }
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    spec = load_population(path)
    assert spec.name == "more"
    assert spec.title == "Small"
    assert [margin.name for margin in spec.steps[0].margins] == ["age by sex", "half", "home"]
    assert joint(spec).groupby("home")["share"].sum()["own"] == pytest.approx(0.5)
    for change, words in (
        ({"steps": {7: {"adds": []}}}, "steps.7: the file below has no such item"),
        ({"steps": {0: {"margins": {"half": {**half, "before": "x"}}}}}, "half.before: there is no item 'x'"),
        ({"based_on": "more.yaml"}, "goes in a circle"),
        ({"based_on": "none.yaml"}, "none.yaml: no such file"),
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
    pytest.param(
        lambda d: d["steps"][0]["margins"][1].update(rescale=True, where={"sex": "f"}), {},
        ["steps.0.margins.1", "rescale: a margin with where takes its size from the people"], id="rescale-where",
    ),
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
