"""What a plan asks for is computed as it says, and only what was frozen before the answers is marked planned."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from engines_for_tests import Seeded, Stubborn

import popsim
from popsim.evaluate import regress
from popsim.study.planned import planned

STUDY = {
    "name": "mine",
    "title": "Mine",
    "population": "us_adults_2018",
    "size": 200,
    "seed": 3,
    "group": "households",
    "questionnaire": "oil_price",
    "targets": ["aprw_households"],
    "arms": {"fall": {}, "rise": {}},
    "attempts": 1,
}
PLAN = {
    "outcomes": ["inflation"],
    "margins": {"inflation": 0.4, "unemployment": 0.2},
    "contrasts": {
        "up": {"outcome": "oil.inflation", "arm": "fall", "expect": "above"},
        "down": {"outcome": "inflation", "expect": "below"},
        "men": {"outcome": "inflation", "between": {"sex": ["male", "female"]}, "arm": "rise"},
        "arms": {"outcome": "inflation", "between": {"arm": ["rise", "fall"]}, "against": 0.1},
        "share": {"outcome": "inflation", "of": "rise", "against": 0.5},
        "flat": {"outcome": "unemployment", "expect": "same"},
        "experts": {"outcome": "inflation", "between": {"group": ["experts", "households"]}},
    },
    "models": {
        "who": {"outcome": "inflation", "attributes": ["arm", "age", "sex"]},
        "by_state": {"outcome": "inflation", "attributes": ["age"], "cluster": "region"},
    },
}


def fielded(folder, engine=None, freeze=True, analysis=PLAN, **changed):
    Path("mine.yaml").write_text(yaml.safe_dump(STUDY | changed | {"analysis": analysis}, sort_keys=False))
    return popsim.run(popsim.load_scenario("mine.yaml"), folder, engine=engine or Seeded(), freeze=freeze)


def wide(run):
    table = run.answers.pivot(index="person", columns="question", values="value")
    people = run.people.join(run.assignment.set_index("person")[["arm"]], on="person")
    return people.assign(change=(table["inflation_2"] - table["inflation_1"]).astype(float).to_numpy())


def test_contrasts_are_the_differences_that_they_name():
    run = fielded("run")
    found, people = planned(run, draws=400), wide(run)
    rows = found.contrasts.set_index("name")
    rise = people[people["arm"].eq("rise")]
    sides = [rise.loc[rise["sex"].eq(sex), "change"] for sex in ("male", "female")]
    means = people.groupby("arm", observed=True)["change"].mean()
    expected = {
        "up": means["fall"],
        "down": people["change"].mean(),
        "men": sides[0].mean() - sides[1].mean(),
        "arms": means["rise"] - means["fall"],
        "share": (people["change"] > 1e-9).mean(),
        "flat": -0.1,
    }
    assert rows["estimate"].to_dict() == pytest.approx(expected)
    by_hand = np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides))
    assert rows.loc["men", "se"] == pytest.approx(by_hand, rel=0.15)
    assert rows.loc["men", "n"] == min(map(len, sides))
    assert rows["verdict"].to_dict() == {"up": "holds", "down": "fails", "flat": "holds"} | dict.fromkeys(
        ("men", "arms", "share"), ""
    )
    assert (rows["holm_p"] >= rows["p"])[rows["p"].notna()].all()
    assert set(rows["plan"]) == {"planned"}
    assert found.notes == ("Contrast experts cannot be taken: no readable answer of group experts in these runs.",)


def test_models_are_those_of_the_answers_and_the_people():
    pytest.importorskip("statsmodels")
    run = fielded("run")
    people = wide(run)
    who = people[["arm", "age", "sex"]].reset_index(drop=True)
    found = planned(run, draws=50).models.set_index("name")
    by_hand = regress(people["change"].to_numpy(), who)
    pd.testing.assert_frame_equal(
        found.loc["who", list(by_hand)].reset_index(drop=True), by_hand, check_dtype=False, check_exact=False
    )
    regions = pd.factorize(people["region"])[0].astype(np.int64)
    clustered = regress(people["change"].to_numpy(), people[["age"]].reset_index(drop=True), cluster=regions)
    assert found.loc["by_state", "se"].tolist() == pytest.approx(clustered["se"].tolist())
    assert set(found.loc["by_state", "errors"]) == {"clustered"}


def test_respondents_and_answers_are_left_out_before_anything_is_computed_and_counted():
    rules = {"failed": True, "outside": {"inflation": [-1, 3]}, "trim": {"inflation": 0.1}}
    run = fielded("run", Stubborn(), analysis=PLAN | {"exclude": rules})
    people = wide(run).dropna(subset="change")
    inside = people[people["change"].between(-1, 3)]
    kept = []
    for _, part in inside.groupby("arm", observed=True):
        cut = int(0.1 * len(part))
        kept += sorted(part["change"])[cut : len(part) - cut]
    found = planned(run, draws=50)
    assert found.contrasts.set_index("name").loc["down", "estimate"] == pytest.approx(np.mean(kept))
    failed, outside, trimmed = (200 - len(people), len(people) - len(inside), len(inside) - len(kept))
    assert min(failed, outside, trimmed) > 0
    for count in (f"{failed} respondents with", f"{outside} answers outside -1 to 3", f"{trimmed} answers trimmed"):
        assert count in found.notes[0]
    means = popsim.compare(run, draws=50).targets.query("statistic == 'mean' and outcome == 'inflation'")
    by_arm = inside.groupby("arm", observed=True)["change"].count()
    assert means.set_index("arm")["n"].to_dict() == {arm: n - 2 * int(0.1 * n) for arm, n in by_arm.items()} | {
        "pooled_reversed": min(n - 2 * int(0.1 * n) for n in by_arm)
    }


def test_answers_that_are_not_as_they_should_be_and_missing_recalls_leave_the_respondent_out():
    class Forgets(Seeded):
        def text(self, prompt):
            said = super().text(prompt)
            return said.replace("\nme\n", "") if prompt.seed % 2 else said

    rules = {"recall": True, "unless": [{"question": "inflation_2", "at_most": 4}]}
    run = fielded("run", Forgets(), analysis=PLAN | {"exclude": rules})
    recalled = run.replies.set_index("person")["recall"].ne("").reindex(run.people["person"]).to_numpy()
    people = wide(run)
    kept = people[recalled & (people["change"] + 1.6 <= 4 + 1e-9)]
    assert 0 < len(kept) < recalled.sum() < 200
    found = planned(run, draws=50)
    assert found.contrasts.set_index("name").loc["down", "estimate"] == pytest.approx(kept["change"].mean())
    assert f"{200 - recalled.sum()} respondents whose reply has no recall" in found.notes[0]


def test_margins_and_marks_are_those_of_the_frozen_plan():
    found = popsim.compare(fielded("run"), draws=50)
    mine = found.targets[found.targets["plan"].eq("planned")]
    assert set(mine["statistic"]) == {"mean"}
    assert set(mine["outcome"]) == {"inflation"}
    assert mine["margin"].tolist() == [0.4] * 3
    others = found.targets.query("outcome == 'unemployment' and statistic == 'mean'")
    assert others["margin"].tolist() == [0.2] * 3
    assert set(others["plan"]) == {"exploratory"}
    assert found.effects.set_index("outcome")["plan"].to_dict() == {
        "inflation": "planned",
        "unemployment": "exploratory",
    }
    families = found.targets.groupby(["family", "plan"])["p"].transform("count")
    assert (found.targets["holm_p"] <= (found.targets["p"] * families).clip(upper=1) + 1e-12)[
        found.targets["p"].notna()
    ].all()


def test_what_rests_on_a_run_that_was_not_frozen_is_exploratory():
    fall = fielded("fall", arms={"fall": {}})
    rise = fielded("rise", arms={"rise": {}}, freeze=False)
    found = popsim.compare(fall, rise, draws=50)
    marks = found.targets.query("statistic == 'mean' and outcome == 'inflation'").set_index("arm")["plan"]
    assert marks.to_dict() == {"fall": "planned", "rise": "exploratory", "pooled_reversed": "exploratory"}
    contrasts = planned(fall, rise, draws=50).contrasts.set_index("name")["plan"]
    assert (contrasts["up"], contrasts["men"], contrasts["arms"]) == ("planned", "exploratory", "exploratory")
    assert set(planned(rise, draws=50).contrasts["plan"]) == {"exploratory"}


def test_what_was_added_later_is_computed_and_exploratory():
    fielded("run")
    more = {"late": {"outcome": "unemployment"}, "up": PLAN["contrasts"]["up"] | {"against": 9.0}}
    run = fielded("run", analysis=PLAN | {"contrasts": PLAN["contrasts"] | more}, freeze=False)
    found = planned(run, draws=50).contrasts
    assert found[found["plan"].eq("exploratory")]["name"].tolist() == ["up", "late"]
    assert found[found["name"].eq("up")]["verdict"].tolist() == ["holds", "fails"]


def test_a_wording_or_a_layout_that_the_plan_does_not_name_is_exploratory(tmp_path):
    plan = PLAN | {"wordings": ["oil_price"], "templates": ["survey_v1"]}
    study = STUDY | {"analysis": plan, "size": 40, "engine": "baseline"}
    study["sweep"] = {"questionnaire": ["oil_price", "oil_price_plain"], "prompt.layout": ["survey_v1", "shared_first"]}
    Path("mine.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    popsim.sweep(list(popsim.sweep_points("mine.yaml")), 1, "swept", freeze=True)
    found = planned(popsim.load_run("swept"), draws=50).contrasts
    assert found.groupby("column", sort=False)["plan"].first().tolist() == ["planned", *["exploratory"] * 3]


def test_another_fielding_than_the_planned_one_is_exploratory():
    run = fielded("run", waves=[0, 1], analysis=PLAN | {"wave": 1}, size=60)
    for wave, mark in ((0, "exploratory"), (1, "planned")):
        assert set(planned(run, wave=wave, draws=50).contrasts["plan"]) == {mark}
        found = popsim.compare(run, wave=wave, draws=50)
        assert (mark == "planned") == ("planned" in set(found.targets["plan"]))
