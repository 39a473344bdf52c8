"""Subgroups beside those of people: flags only what both sides are sure of."""

import numpy as np
import pandas as pd
import pytest

from popsim.evaluate.subgroups import subgroups


def people(random, n, gap=0.5, sd=1.0):
    sex = np.where(random.random(n) < 0.5, "f", "m")
    value = np.where(sex == "f", gap, 0.0) + random.normal(0, sd, n)
    return pd.DataFrame({"value": value, "person": np.arange(n), "weight": 1.0, "sex": sex})


def test_the_same_people_drawn_again_get_no_flag():
    random = np.random.default_rng(1)
    tables = [subgroups(people(random, 500), people(random, 500), ["sex"]) for _ in range(200)]
    flags = pd.concat(tables)[["flag", "gap_flag"]]
    assert flags.ne("").any(axis=1).mean() < 0.02


@pytest.mark.parametrize(
    ("gap", "flag"), [(1.5, "larger"), (-0.5, "turned"), (0.0, "smaller")], ids=["larger", "turned", "none"]
)
def test_another_gap_is_flagged(gap, flag):
    random = np.random.default_rng(2)
    table = subgroups(people(random, 2000, gap), people(random, 2000), ["sex"])
    found = set(table["gap_flag"])
    assert found <= {flag, "smaller", "turned"}
    assert "" not in found


def test_half_the_spread_in_one_subgroup_is_flagged_there_alone():
    random = np.random.default_rng(3)
    mine, human = people(random, 800), people(random, 800)
    mine.loc[mine["sex"].eq("f"), "value"] *= 0.5
    table = subgroups(mine, human, ["sex"]).set_index("level")
    assert table["flag"].to_dict() == {"f": "too little", "m": ""}


def test_ten_answers_of_a_person_are_no_ten_people():
    random = np.random.default_rng(4)
    once = people(random, 60)
    often = pd.concat([once] * 10, ignore_index=True)
    one, ten = (subgroups(frame, people(random, 500), ["sex"]).iloc[0] for frame in (once, often))
    assert ten["gap_high"] - ten["gap_low"] == pytest.approx(one["gap_high"] - one["gap_low"], rel=1e-9)
    few = people(random, 40)
    assert subgroups(few, people(random, 500), ["sex"]).empty
