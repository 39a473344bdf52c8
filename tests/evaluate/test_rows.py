"""Human answers in a table: how it is read, what is refused, and what it is compared by."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest
import yaml
from test_comparison import noisy, sample_of

import popsim
from popsim.errors import TargetError
from popsim.evaluate import Sample, TargetFile, compare, load_targets
from popsim.evaluate.rows import HumanRows, human_cells

OIL = popsim.load_questionnaire("oil_price").vignettes[0]
LAYOUT = {
    "file": "humans.csv",
    "group": "households",
    "vignette": "oil",
    "arm": "treat",
    "arms": {1: "fall", 2: "rise"},
    "person": "id",
    "weight": "w",
    "missing": [98, "refused"],
    "outcomes": {"inflation": {"shock": "q2", "baseline": "q1", "bins": [-10, -1, -0.1, 0.1, 1, 10]}},
    "population": "adults",
    "published": "2020-01-01",
    "source": "our own survey",
}


def table(n=300, seed=0):
    rng = np.random.default_rng(seed)
    level = rng.normal(1.6, 0.3, n).round(1).clip(0, 4)
    arm = rng.integers(1, 3, n)
    change = rng.normal(np.where(arm == 2, 0.7, -0.3), 0.6).round(2)
    shock = (level + change).round(2).clip(-2, 8)
    return pd.DataFrame({"id": np.arange(n), "treat": arm, "w": rng.uniform(0.5, 2, n), "q1": level, "q2": shock})


def rows(**changes):
    return HumanRows.model_validate(LAYOUT | changes)


def file_of(**changes):
    return TargetFile(name="mine", title="Mine", rows=rows(**changes))


SAVE = {
    ".csv": lambda frame, to: frame.to_csv(to, index=False),
    ".parquet": lambda frame, to: frame.to_parquet(to, index=False),
    ".sav": pyreadstat.write_sav,
    ".dta": pyreadstat.write_dta,
}


@pytest.mark.parametrize("ending", SAVE)
def test_every_format_gives_the_same_cells(ending):
    humans = table()
    SAVE[ending](humans, f"humans{ending}")
    cells = human_cells(rows(file=f"humans{ending}"), OIL)
    assert set(cells) == {("inflation", "fall"), ("inflation", "rise")}
    here = humans[humans["treat"].eq(2)]
    cell = cells["inflation", "rise"]
    assert cell.values == pytest.approx((here["q2"] - here["q1"]).to_numpy())
    assert cell.people == len(here)
    assert cell.weight == pytest.approx((here["w"] / here["w"].mean()).to_numpy())


def test_missing_codes_are_no_answers_and_options_are_decoded():
    humans = table(40).assign(mood=["1", "2", "98", "refused"] * 10)
    humans.loc[:9, "q2"] = 98
    humans.to_csv("humans.csv", index=False)
    question = {"kind": "choice", "name": "mood", "text": "How?", "options": ["good", "bad"]}
    asked = OIL.model_dump()
    asked["pages"] = [*asked["pages"], {"questions": [question]}]
    vignette = type(OIL).model_validate(asked)
    outcomes = LAYOUT["outcomes"] | {"mood": {"column": "mood", "codes": {1: "good", 2: "bad"}}}
    cells = human_cells(rows(outcomes=outcomes), vignette)
    assert sum(len(cells["inflation", arm].values) for arm in ("fall", "rise")) == 30
    assert sum(len(cells["mood", arm].values) for arm in ("fall", "rise")) == 20
    assert set(np.concatenate([cells["mood", arm].values for arm in ("fall", "rise")])) == {0.0, 1.0}
    mood = {
        "unit": 0,
        "person": 0,
        "group": "households",
        "vignette": "oil",
        "question": "mood",
        "draw": 0,
        "weight": 1.0,
    }
    answers = pd.DataFrame(
        [
            mood | {"unit": k, "person": k, "arm": arm, "value": float(k % 3 > 0), "label": ["good", "bad"][k % 3 > 0]}
            for k, arm in enumerate(["fall", "rise"] * 60)
        ]
    )
    sample = Sample("m", False, answers, {("households", "oil"): vignette}, np.zeros(120, dtype=int))
    found = compare([sample], [file_of(outcomes={"mood": outcomes["mood"]})], draws=60)
    good = found.targets[found.targets["arm"].eq("fall") & found.targets["of"].eq("good")]
    assert good["simulated"].tolist() == [pytest.approx(1 / 3)]
    assert set(found.distances["distance"]) >= {"total variation", "JS distance, nats"}
    assert "ordinal EMD" not in set(found.distances["distance"])


def test_a_table_gives_its_own_targets_distances_lines_and_floor():
    humans = table(4000)
    humans.to_csv("humans.csv", index=False)
    sample = sample_of({"fall": noisy(-0.3, 1500, sd=0.6), "rise": noisy(0.7, 1500, 1, 0.6)})
    found = compare([sample], [file_of(weight="")], draws=200)
    means = found.targets[found.targets["statistic"].eq("mean")].set_index("arm")
    here = humans[humans["treat"].eq(1)]
    change = here["q2"] - here["q1"]
    assert means.loc["fall", "human"] == pytest.approx(change.mean())
    assert means.loc["fall", "human_se"] == pytest.approx(change.std() / np.sqrt(len(here)), rel=0.15)
    assert means["verdict"].tolist() == ["inside", "inside"]
    assert found.joint["p"].iloc[0] > 0.01
    distances = found.distances.set_index(["arm", "distance"])
    assert set(found.distances["distance"]) >= {"Wasserstein-1", "KS", "energy", "ordinal EMD, bins"}
    one = distances.loc[("rise", "Wasserstein-1")]
    assert one["simulated"] < 3 * one["floor"]
    assert one["floor"] < one["pooled_margin"] < one["no_change"] < one["uniform"]
    bare = compare([sample], [file_of(outcomes={"inflation": {"shock": "q2", "baseline": "q1"}})], draws=60)
    assert not any("bins" in name for name in bare.distances["distance"])


@pytest.mark.parametrize(
    ("changes", "layout", "said"),
    [
        (
            {"q2": 98.0},
            {"missing": []},
            r"column 'q2' holds 98.0 in row 1 and 39 more such rows, not from -2 to 8; a code",
        ),
        ({"w": 0.0}, {}, "column 'w' holds 0.0 in row 1 .*weights must be positive"),
        ({"w": -1.0}, {}, "weights must be positive"),
        ({"treat": 3}, {}, "column 'treat' holds 3 in row 1"),
        ({}, {"arms": {}}, "holds '1', no arm of oil; allowed: fall, rise"),
        ({"q1": "much"}, {}, "column 'q1' holds much in row 1 .*, not a number"),
        ({}, {"weight": "wt"}, "has no column 'wt'. Its columns: id, treat, w, q1, q2"),
        ({}, {"file": "humans.xlsx"}, "rows come as .csv, .parquet, .sav, .dta, not .xlsx"),
        ({}, {"file": "nothing.csv"}, "nothing.csv: no such file"),
        ({}, {"vignette": "gas"}, "the runs have no vignette 'gas' of group 'households'; there: oil"),
        ({}, {"outcomes": {"considerations": {"column": "q1"}}}, "no change and no number, scale or choice question"),
    ],
)
def test_what_cannot_be_an_answer_is_refused_in_one_line(changes, layout, said):
    table(40).assign(**changes).to_csv("humans.csv", index=False)
    with pytest.raises(TargetError, match=said) as problem:
        compare([sample_of({"fall": noisy(0, 40), "rise": noisy(0, 40)})], [file_of(**layout)], draws=60)
    assert "\n" not in str(problem.value)


def test_a_broken_table_is_one_line():
    Path("humans.sav").write_text("no SPSS file")
    with pytest.raises(TargetError, match=r"humans.sav: cannot be read as .sav"):
        human_cells(rows(file="humans.sav"), OIL)


def test_the_table_lies_beside_its_file_of_targets(tmp_path):
    (tmp_path / "far").mkdir()
    table(60).to_csv(tmp_path / "far" / "humans.csv", index=False)
    (tmp_path / "far" / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "title": "Mine", "rows": LAYOUT}))
    assert len(human_cells(load_targets("far/mine.yaml").rows, OIL)) == 2
