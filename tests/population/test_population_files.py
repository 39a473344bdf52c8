"""Population files of a user's own: small margins, tables of respondents, and what can be wrong with them."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import complaint

from popsim.errors import PopulationError
from popsim.population import Words, load_population, margin_report, sample_people

SOURCED = {"source": "a table", "status": "found", "unit": "adults", "year": 2020}
SMALL = {
    "name": "small",
    "title": "A small population",
    "unit": "adults",
    "attributes": {"sex": ["f", "m"], "age": ["young", "middle", "old"], "home": ["own", "rent"]},
    "impossible": [{"age": "young", "home": "own"}],
    "steps": [
        {
            "adds": ["sex", "age", "home"],
            "margins": [
                {
                    **SOURCED,
                    "name": "age by sex",
                    "of": ["sex", "age"],
                    "n": 1000,
                    "table": [["sex", "young", "middle", "old"], ["m", 30, 20, 10], ["f", 10, 10, 20]],
                },
                {**SOURCED, "name": "home", "of": ["home"], "table": [["rent", "own"], [60, 40]]},
            ],
        }
    ],
    "persona": {"en": "You are {{sex}} and {{age}}. {{home}}"},
    "words": {"en": {"sex": {"f": "a woman", "m": "a man"}, "home": {"own": "You own.", "rent": "You rent."}}},
}


def write(tmp_path, change=None, text=None):
    data = deepcopy(SMALL)
    if change:
        change(data)
    path = tmp_path / "small.yaml"
    path.write_text(text or yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def margins(data):
    return data["steps"][0]["margins"]


def test_people_meet_small_margins_and_no_structural_zero(tmp_path):
    spec = load_population(write(tmp_path))
    people = sample_people(spec, 1000, seed=2)
    assert len(people) == 1000
    assert not ((people["age"] == "young") & (people["home"] == "own")).any()
    report = margin_report(spec, people)
    assert report["error"].abs().max() <= 0.002
    row = report[(report["margin"] == "age by sex") & (report["cell"] == "m, young")].iloc[0]
    assert row["target"] == pytest.approx(0.3)
    assert row["sampling_error"] == pytest.approx(np.sqrt(0.3 * 0.7 / 1000))
    assert report.loc[report["margin"] == "home", "sampling_error"].isna().all()
    words = Words(spec, "en", people)
    texts = {words.describe(words.of(row)) for row in range(1000)}
    assert "You are a man and old. You own." in texts


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 500), min_size=8, max_size=8),
    size=st.integers(1, 400),
    seed=st.integers(0, 2**31),
)
def test_random_small_populations_are_drawn_whole(tmp_path_factory, counts, size, seed):
    """Margins of a random 2 x 2 x 2 table, one cell of which is impossible, fitted in two steps."""
    table = np.array(counts).reshape(2, 2, 2)
    table[0, 1, 1] = 0
    data = {
        "name": "cube",
        "title": "A cube",
        "unit": "adults",
        "attributes": {name: ["no", "yes"] for name in "abc"},
        "impossible": [{"a": "no", "b": "yes", "c": "yes"}],
        "steps": [
            {"adds": ["a", "b"], "margins": [two_way("ab", table.sum(axis=2))]},
            {
                "adds": ["c"],
                "given": ["b", "a"],
                "margins": [two_way("bc", table.sum(axis=0)), two_way("ac", table.sum(axis=1))],
            },
        ],
    }
    path = tmp_path_factory.mktemp("cube") / "cube.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    spec = load_population(path)
    people = sample_people(spec, size, seed)
    assert len(people) == size
    fit = people.attrs["fit"]
    assert fit["converged"] == (fit["worst_error"] <= 1e-9)
    assert fit["worst_error"] < 1e-3
    assert not ((people["a"] == "no") & (people["b"] == "yes") & (people["c"] == "yes")).any()
    assert (margin_report(spec, people)["error"].abs() * size <= 4).all()
    pd.testing.assert_frame_equal(people, sample_people(spec, size, seed))


def two_way(names, table):
    rows = [[names[0], "no", "yes"], ["no", *table[0].tolist()], ["yes", *table[1].tolist()]]
    return {**SOURCED, "name": names, "of": list(names), "table": rows}


def test_a_margin_that_yields_implies_the_other_ones_total(tmp_path):
    def change(data):
        data["attributes"]["vote"] = ["left", "right"]
        data["steps"].append(
            {
                "adds": ["vote"],
                "given": ["sex"],
                "margins": [
                    {
                        **SOURCED,
                        "name": "vote",
                        "measure": "shares",
                        "of": ["vote"],
                        "table": [["left", "right"], [50, 50]],
                    },
                    {
                        **SOURCED,
                        "name": "vote by sex",
                        "measure": "row_shares",
                        "yields_to": "vote",
                        "n": [400, 100],
                        "of": ["sex", "vote"],
                        "table": [["sex", "left", "right"], ["f", 0.7, 0.3], ["m", 0.5, 0.5]],
                    },
                ],
            }
        )

    spec = load_population(write(tmp_path, change))
    report = margin_report(spec, sample_people(spec, 10_000))
    sexes = report[report["margin"] == "vote by sex"].set_index("cell")
    np.testing.assert_allclose(sexes["published"], [0.28, 0.12, 0.3, 0.3])
    assert sexes.loc[["f, left", "m, left"], "target"].sum() == pytest.approx(0.5)
    assert sexes.loc[["f, left", "f, right"], "target"].sum() == pytest.approx(0.4)
    ratio = sexes["target"] / sexes["published"]
    odds = (ratio["f, left"] / ratio["f, right"]) / (ratio["m, left"] / ratio["m, right"])
    assert odds == pytest.approx(1)
    assert sexes.loc["m, left", "sampling_error"] == pytest.approx(0.6 * np.sqrt(0.25 / 100))
    assert report["error"].abs().max() < 1e-3


def set_margin(number, **values):
    return lambda data: margins(data)[number].update(values)


BAD = [
    pytest.param(
        lambda d: margins(d)[0].update(of=["sexx", "age"]),
        ["steps.0.margins.0.of.0", "unknown attribute 'sexx'; did you mean sex?", "Allowed: sex, age, home"],
        id="unknown-attribute",
    ),
    pytest.param(
        set_margin(1, table=[["rent", "own"], [60, 45]]),
        ["steps.0", "home: totals disagree", "105 adults", "100", "a gap of 5"],
        id="totals",
    ),
    pytest.param(
        set_margin(1, table=[["rent", "own"], [60, -40]]),
        ["steps.0.margins.1.table.1", "own", "at least 0", "-40"],
        id="negative-count",
    ),
    pytest.param(
        lambda d: d.update(impossible=[{"home": "own"}]),
        ["steps.0", "home, own", "declared impossible"],
        id="impossible-zero",
    ),
    pytest.param(
        lambda d: d.update(impossible=[{"home": "onw"}]),
        ["impossible.0.home", "unknown level of home 'onw'; did you mean own?", "Allowed: own, rent"],
        id="unknown-level",
    ),
    pytest.param(
        lambda d: margins(d).append(
            {**SOURCED, "name": "age", "of": ["age"], "table": [["young", "middle", "old"], [41, 29, 30]]}
        ),
        ["age by sex and age contradict each other", "f, middle", "is 0.3", "0.29", "a gap of 0.01"],
        id="overlapping-margins",
    ),
    pytest.param(
        lambda d: d.update(stepz=d.pop("steps")), ["stepz: unknown key; did you mean steps?"], id="misspelt-key"
    ),
    pytest.param(
        lambda d: margins(d)[0].update(unitt="adults"),
        ["steps.0.margins.0.unitt: unknown key; did you mean unit?"],
        id="misspelt-key-below",
    ),
    pytest.param(
        lambda d: d["persona"].update(en="You are {{agee}}."),
        ["persona.en", "unknown slot {{agee}}; did you mean {{age}}?"],
        id="persona-slot",
    ),
    pytest.param(
        lambda d: d["words"]["en"]["home"].update(own="worth {{value}}"),
        ["words.en.home.own", "unknown slot {{value}}"],
        id="words-slot",
    ),
    pytest.param(
        lambda d: d["words"]["en"]["sex"].update(x="other"),
        ["words.en.sex", "unknown level 'x'", "Allowed: f, m"],
        id="words-level",
    ),
    pytest.param(
        set_margin(1, unit="households"),
        ["steps.0", "margins count adults and households", "one unit"],
        id="mixed-units",
    ),
    pytest.param(
        lambda d: d["steps"].append({"adds": ["pet"], "margins": [two_way("sp", np.ones((2, 2)))]})
        or d["attributes"].update(pet=["no", "yes"]),
        ["steps.1.margins.0.of.0", "unknown attribute 's'", "Allowed: pet"],
        id="attribute-of-another-step",
    ),
    pytest.param(
        set_margin(0, table=[["sex", "young", "middle"], ["m", 30, 20], ["f", 10, 40]]),
        ["steps.0", "age by sex says nothing about sex f, age old"],
        id="level-left-out",
    ),
    pytest.param(
        set_margin(0, source=""), ["steps.0.margins.0", "needs a source"], id="no-source"
    ),
    pytest.param(
        set_margin(1, table=[["rent", "own"], [60, "many"]]),
        ["steps.0.margins.1.table.1", "a number of at least 0 is needed, not 'many'"],
        id="words-for-numbers",
    ),
    pytest.param(lambda d: d.update(seed=1), ["seed: unknown key"], id="key-of-another-file"),
    pytest.param(
        lambda d: d.update(impossible=[{"sex": "f", "pet": "yes"}]), ["unknown attribute 'pet'"], id="rule-on-nothing"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), BAD)
def test_a_bad_file_ends_in_one_line(tmp_path, change, words):
    message = complaint(write(tmp_path, change))
    for word in words:
        assert word in message


def test_yaml_tags_and_missing_files_are_refused(tmp_path):
    assert "tags are not allowed" in complaint(write(tmp_path, text="name: !!python/object:os.system x\n"))
    assert "no such file" in complaint(tmp_path / "absent.yaml")
    with pytest.raises(PopulationError, match="did you mean us_adults_2018"):
        load_population("us_adults_218")


def test_an_undeclared_zero_in_a_start_table_is_refused(tmp_path):
    table = {"of": ["age", "home"], "status": "assumption"}
    table["table"] = [["age", "own", "rent"], ["young", 1, 1], ["middle", 1, 1], ["old", 1, 0]]
    message = complaint(write(tmp_path, lambda d: d["steps"][0].update(start=[table])))
    assert "steps.0: start.0: age old, home rent is zero; declare it under impossible" in message


def table_file(tmp_path, frame, suffix="csv", **keys):
    frame.to_csv(tmp_path / "p.csv", index=False) if suffix == "csv" else frame.to_parquet(tmp_path / "p.parquet")
    data = {"name": "mine", "title": "Mine", "from_table": {"file": f"p.{suffix}", "weight": "w"}}
    data |= {"persona": {"en": "You are {{age}}, in {{town}}."}, **keys}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


RESPONDENTS = pd.DataFrame({"age": [30, 40, 50], "town": ["Ayr", "Bath", "Ayr"], "w": [1.0, 1.0, 2.0]})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_respondents_of_a_table_stand_as_they_are_or_are_drawn_by_weight(tmp_path, suffix):
    spec = load_population(table_file(tmp_path, RESPONDENTS, suffix))
    people = sample_people(spec, 3)
    assert people["age"].tolist() == [30, 40, 50]
    np.testing.assert_allclose(people["weight"], [0.75, 0.75, 1.5])
    words = Words(spec, "en", people)
    assert words.describe(words.of(1)) == "You are 40, in Bath."
    drawn = sample_people(spec, 400, seed=1)
    assert drawn["age"].value_counts().to_dict() == {50: 200, 30: 100, 40: 100}
    assert (drawn["weight"] == 1).all()
    assert people.attrs["fit"] == {}
    assert margin_report(spec, people).empty


def test_another_table_is_another_population(tmp_path):
    one = load_population(table_file(tmp_path, RESPONDENTS))
    two = load_population(table_file(tmp_path, RESPONDENTS.assign(age=31)))
    assert one.model_dump_json() != two.model_dump_json()
    assert str(tmp_path) not in one.model_dump_json()


@pytest.mark.parametrize(
    ("frame", "keys", "words"),
    [
        pytest.param(
            RESPONDENTS, {"persona": {"en": "{{twon}}"}}, "unknown slot {{twon}}; did you mean {{town}}?", id="slot"
        ),
        pytest.param(RESPONDENTS.drop(columns="w"), {}, "from_table.weight: unknown column 'w'", id="no-weight"),
        pytest.param(RESPONDENTS.assign(w=-1), {}, "weights must be numbers of at least 0", id="negative-weight"),
        pytest.param(RESPONDENTS.head(0), {}, "has no rows", id="empty"),
        pytest.param(
            RESPONDENTS,
            {"levels": {"age": {"of": "age", "lowest": {"low": 0}}}},
            "has a column 'age', which the population file makes",
            id="clash",
        ),
        pytest.param(RESPONDENTS, {"from_table": {"file": "q.csv"}}, "q.csv: no such file", id="missing"),
        pytest.param(RESPONDENTS, {"from_table": {"file": "p.csv", "weigth": "w"}}, "did you mean weight?", id="key"),
    ],
)
def test_a_bad_table_of_respondents_ends_in_one_line(tmp_path, frame, keys, words):
    assert words in complaint(table_file(tmp_path, frame, **keys))


def test_a_hole_in_a_description_is_refused(tmp_path):
    spec = load_population(table_file(tmp_path, RESPONDENTS.assign(town=["Ayr", None, "Ayr"])))
    with pytest.raises(PopulationError, match="person 1 has no town, which their description needs"):
        Words(spec, "en", sample_people(spec, 3))


def test_the_chinese_panel_speaks_of_itself():
    spec = load_population("cn_platform_panel")
    people = sample_people(spec, 60)
    words = Words(spec, "zh", people)
    text = words.describe(words.of(0))
    for column in (
        "age",
        "occupation",
        "education",
        "city",
        "monthly_income",
        "platforms_used",
        "topics",
        "learning_style",
    ):
        assert words.of(0)[column] in text
    assert people["weight"].mean() == pytest.approx(1)
    assert "illustrat" in (spec.title + spec.note).lower()
