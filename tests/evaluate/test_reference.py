import numpy as np
import pandas as pd
import pytest

import popsim
from popsim.errors import RunError, SurveyError
from popsim.evaluate import changes_by_person, compare_with_reference

OIL = popsim.load_questionnaire("oil_price")


def answers_of(changes):
    """An answers table from arm -> [(change of inflation, change of unemployment), ...] around 1.6 and 4."""
    rows, person = [], 0
    for arm, pairs in changes.items():
        for inflation, unemployment in pairs:
            levels = {
                "inflation_1": 1.6,
                "inflation_2": round(1.6 + inflation, 2),
                "unemployment_1": 4.0,
                "unemployment_2": round(4.0 + unemployment, 2),
            }
            rows += [(0, person, 0, 0, arm, "oil", question, value, "ok") for question, value in levels.items()]
            person += 1
    columns = ["replicate", "person", "wave", "draw", "arm", "vignette", "question", "value", "status"]
    return pd.DataFrame(rows, columns=columns)


def pick(table, arm, outcome, statistic):
    return table.set_index(["arm", "outcome", "statistic"]).loc[(arm, outcome, statistic)]


def test_pooled_shares_reverse_the_fall_arm_and_weigh_both_arms_alike():
    fall = [(-1.0, -0.5)] * 30 + [(0.0, 0.5)] * 10
    rise = [(1.0, 0.5)] * 60 + [(-0.3, 0.0)] * 40
    table = compare_with_reference(answers_of({"fall": fall, "rise": rise}), OIL)
    assert pick(table, "pooled", "inflation", "share rise")["simulated"] == pytest.approx((0.75 + 0.6) / 2)
    assert pick(table, "pooled", "inflation", "share same")["simulated"] == pytest.approx(0.25 / 2)
    assert pick(table, "pooled", "inflation and unemployment", "share both_rise")["simulated"] == pytest.approx(0.675)
    assert pick(table, "fall", "inflation", "mean")["simulated"] == pytest.approx(-0.75)
    assert pick(table, "rise", "unemployment", "mean")["n"] == 100


def test_one_arm_alone_has_no_pooled_figures():
    table = compare_with_reference(answers_of({"fall": [(-1.0, 0.1), (0.5, 0.2)] * 20}), OIL)
    assert set(table["arm"]) == {"fall"}
    assert len(table) == 4


def test_the_z_of_a_mean_holds_both_standard_errors():
    rng = np.random.default_rng(3)
    fall = [(round(x, 2), round(y, 2)) for x, y in rng.normal(-0.4, 1, (400, 2))]
    row = pick(compare_with_reference(answers_of({"fall": fall}), OIL), "fall", "inflation", "mean")
    inflation = np.array([pair[0] for pair in fall])
    expected = (inflation.mean() + 0.331) / np.hypot(0.050, inflation.std(ddof=1) / 20)
    assert row["z"] == pytest.approx(expected, rel=1e-6)


def test_equal_decimals_are_no_change_and_unreadable_people_are_left_out():
    answers = answers_of({"rise": [(0.0, 0.3), (0.1, 0.1)]})
    answers.loc[answers["question"].eq("inflation_1"), "value"] = 4.3
    answers.loc[answers["question"].eq("inflation_2"), "value"] = [4.3, 4.4]
    answers.loc[(answers["person"] == 1) & (answers["question"] == "inflation_2"), "status"] = "unreadable"
    change = changes_by_person(answers, OIL.vignettes[0].reference.changes["inflation"])
    assert change["change"].tolist() == [0.0]


def test_nothing_to_compare_is_said():
    platform = popsim.load_questionnaire("learning_platform")
    with pytest.raises(SurveyError, match="no published figures"):
        compare_with_reference(answers_of({"fall": [(0.1, 0.1)]}), platform)
    with pytest.raises(SurveyError, match="no readable answer"):
        compare_with_reference(answers_of({"fall": [(0.1, 0.1)]}).assign(status="missing"), OIL)


def test_runs_of_different_questionnaires_are_not_compared():
    one = popsim.run(popsim.load_scenario("oil_price_fall", {"size": 5, "engine": "baseline"}), "one")
    other = popsim.run(popsim.load_scenario("learning_platform_cn", {"size": 5, "engine": "baseline"}), "other")
    with pytest.raises(RunError, match="another questionnaire"):
        popsim.compare(one, other)


@pytest.mark.parametrize("seed", [1, 2])
def test_baseline_meets_every_published_oil_figure(seed):
    overrides = {"size": 5000, "seed": seed, "engine": "baseline"}
    runs = [popsim.run(popsim.load_scenario(f"oil_price_{arm}", overrides), arm) for arm in ("fall", "rise")]
    table = popsim.compare(*runs)
    assert len(table) == 8 + 6 + 5
    assert table["z"].abs().max() < 3.5
    assert "never evidence" in runs[0].manifest["engine"]["notice"]


def test_runs_of_different_groups_are_not_compared():
    runs = [
        popsim.run(popsim.load_scenario("oil_price_experts", {"size": 6, "engine": "baseline", "group": group}), group)
        for group in ("experts", "households")
    ]
    with pytest.raises(RunError, match="households: asks households, experts asks experts"):
        popsim.compare(*runs)
