"""Scores against scikit-learn, scipy, enumeration and the worked numbers of the published benchmarks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from popsim.errors import TargetError
from popsim.evaluate import alignment, matching, scores
from popsim.evaluate.distances import kl, total_variation

metrics = pytest.importorskip("sklearn.metrics")

LABELS = ("a", "b", "c")


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None])), min_size=1, max_size=40))
def test_f1_is_scikit_learns_over_the_classes_of_people(rows):
    truth, predicted = [row[0] for row in rows], [row[1] for row in rows]
    found = scores.score_classes(truth, predicted)
    said = [one or "unreadable" for one in predicted]
    classes = sorted(set(truth))
    for name, value in (("macro", found.macro_f1), ("weighted", found.weighted_f1)):
        direct = metrics.f1_score(truth, said, labels=classes, average=name, zero_division=0)
        assert value == pytest.approx(direct)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, said))
    assert found.unreadable == predicted.count(None)


def test_unreadable_answers_are_wrong_and_no_class():
    found = scores.score_classes(["yes", "no"], ["yes", None])
    assert (found.n, found.unreadable, found.accuracy, found.macro_f1) == (2, 1, 0.5, 0.5)


def test_texts_are_compared_by_words_and_chinese_by_characters():
    assert scores.jaccard("物价上涨", "物价下跌") == pytest.approx(2 / 6)
    assert scores.jaccard("", "") == 1
    assert matching.match_rate([" Own  house"], ["own house"], ["exact"]) == 1


@pytest.mark.parametrize(
    ("rule", "truth", "right", "wrong"),
    [
        ("exact", "['100万以上']", ["['100万以上']", "100万以上", '["100万以上"]'], ["50万-100万", None, ""]),
        ("exact", "['a', 'b']", ["a, b", "A；B"], ["['b', 'a']", "a", "['a', 'b', 'c']"]),
        ("overlap", "['子女', '祖父母/外祖父母']", ["['子女', '配偶']", "配偶、子女", "子女"], ["配偶", "[]", None]),
        (
            "first",
            "['住房支出（房贷、租房等）', '其他']",
            ["住房支出（房租、水费）、其他", "['住房支出']"],
            ["其他", "[]"],
        ),
        ("first", "food (shops)", ["food, rent", "['Food (all)', 'rent']"], ["rent, food"]),
        ("number", "many", [], ["many", "5"]),
        ("number", "3", ["3", "家里有3口人", "['3']"], ["3 or 4", "three", "13", None]),
    ],
)
def test_multi_answers_are_right_by_the_rule_of_their_field(rule, truth, right, wrong):
    assert [matching.matches(truth, said, rule) for said in right] == [True] * len(right)
    assert [matching.matches(truth, said, rule) for said in wrong] == [False] * len(wrong)


def test_fields_of_the_survey_have_the_published_rules_and_all_others_are_exact():
    fields = ["家庭成员关系", "家庭月消费主要支出项目", "家里人口数", "家庭年收入", "性别", "sex"]
    assert [matching.rule_of(one) for one in fields] == ["overlap", "first", "number", "exact", "exact", "exact"]


def test_naming_everybody_overlaps_always_and_is_little_like_the_truth():
    everybody = "parent, child, spouse, sibling"
    assert matching.matches("child", everybody, "overlap")
    assert matching.set_likeness("child", everybody) == 1 / 4
    assert (matching.set_likeness("child", None), matching.set_likeness("child", "['Child']")) == (0, 1)


def test_accuracy_of_a_uniform_guess_is_its_expectation():
    """Socrates scores a draw from the scale; enumerated for 1 to 7 against a person at each point."""
    points = np.arange(1.0, 8.0)
    truth, guess = (grid.ravel() for grid in np.meshgrid(points, points))
    expected = 1 - np.mean([abs(a - b) for a in points for b in points]) / 6
    assert scores.response_accuracy(truth, guess, 1, 7) == pytest.approx(expected)
    assert scores.response_accuracy(np.array([4.0, 4.0]), np.array([4.0, np.nan]), 1, 7) == 0.5


def test_parity_difference_is_best_less_worst_group():
    accuracy, groups = [1, 1, 0, 0.5, 0.5, 1], ["a", "a", "b", "b", "c", "c"]
    assert scores.parity_difference(accuracy, groups) == pytest.approx(0.75)
    with pytest.raises(TargetError, match="two groups or more"):
        scores.parity_difference([1, 0], ["a", "a"])


def test_sensitivity_sees_moves_and_not_levels():
    rng = np.random.default_rng(0)
    human = {(f"o{i}", f"c{j}"): float(rng.normal(10 * i, 1)) for i in range(6) for j in range(3)}
    level = {cell: float(10 * int(cell[0][1:]) + rng.normal()) for cell in human}
    flat = {cell: 10.0 * int(cell[0][1:]) for cell in human}
    moved = [[m[f"o{i}", f"c{j}"] for j in range(3)] for m in (human, level) for i in range(6)]
    centred = (np.array(moved) - np.mean(moved, axis=1, keepdims=True)).reshape(2, -1)
    assert scores.condition_sensitivity(human, level) == pytest.approx(np.corrcoef(centred)[0, 1])
    assert np.corrcoef(list(human.values()), list(level.values()))[0, 1] > 0.95
    assert scores.condition_sensitivity(human, flat) == 0
    with pytest.raises(TargetError, match="people answer alike"):
        scores.condition_sensitivity(flat, human)
    with pytest.raises(TargetError, match="only one side has outcome 'o0'"):
        scores.condition_sensitivity(human, {})


shares = st.lists(st.floats(0.01, 1), min_size=2, max_size=8).map(lambda row: np.array(row) / sum(row))


@given(st.integers(2, 8).flatmap(lambda k: st.tuples(*[st.lists(st.floats(0.01, 1), min_size=k, max_size=k)] * 2)))
def test_js_and_sorted_distance_are_what_the_code_of_cao_computes(rows):
    p, q = (np.array(row) / sum(row) for row in rows)
    with np.errstate(invalid="ignore"):  # SciPy takes the root of a divergence a rounding error below zero
        theirs = 1 - np.nan_to_num(jensenshannon(p, q))
    assert alignment.one_minus_js(p, q) == pytest.approx(theirs, abs=1e-7)
    assert alignment.sorted_share_distance(p, q) == pytest.approx(wasserstein_distance(p, q), abs=1e-9)


def test_worst_possible_js_is_not_zero():
    assert alignment.one_minus_js(np.array([1.0, 0]), np.array([0.0, 1])) == pytest.approx(1 - np.log(2) ** 0.5)


@given(shares, st.randoms(use_true_random=False))
def test_placed_emd_is_scipys_in_any_order_of_options(p, random):
    places = [float(random.randint(0, 3)) for _ in p]
    q = np.roll(p, 1)
    if len(set(places)) < 2:
        return
    direct = wasserstein_distance(places, places, p, q) / (max(places) - min(places))
    assert alignment.placed_emd(p, q, places) == pytest.approx(direct, abs=1e-9)


def test_subpop_worked_number_and_options_without_a_place():
    p, q = np.array([0.1, 0.5, 0.4]), np.array([0.2, 0.3, 0.5])
    assert alignment.placed_emd(p, q, [1, 2, 1.5]) == pytest.approx(0.15)
    assert alignment.placed_emd(np.array([0.5, 0.25, 0.25]), np.array([0, 0.5, 0.5]), [None, 1, 2]) == pytest.approx(0)
    with pytest.raises(TargetError, match="have no order"):
        alignment.placed_emd(p, q, [])
    with pytest.raises(TargetError, match="have no order"):
        alignment.placed_emd(p, q, [None, None, 1])


def test_range_of_wasserstein_is_stated_and_the_observed_one_scores_higher():
    human, model = np.array([3.0, 4.0, 5.0]), np.array([1.0, 4.0, 7.0])
    direct = wasserstein_distance(human, model)
    assert alignment.scaled_wasserstein(human, model, "observed") == pytest.approx(direct / 2)
    assert alignment.scaled_wasserstein(human, model, "declared", (1, 7)) == pytest.approx(direct / 6)
    with pytest.raises(TargetError, match="98 lies outside the scale 1 to 7"):
        alignment.scaled_wasserstein(np.array([98.0]), model, "declared", (1, 7))
    with pytest.raises(TargetError, match="all 2 people answered 4"):
        alignment.scaled_wasserstein(np.array([4.0, 4.0]), model, "observed")
    with pytest.raises(TargetError, match="states no scale"):
        alignment.scaled_wasserstein(human, model, "declared")


HUMAN = {
    ("a", "q"): np.array([0.7, 0.2, 0.1]),
    ("b", "q"): np.array([0.1, 0.2, 0.7]),
    ("a", "r"): np.array([0.5, 0.5]),
    ("b", "r"): np.array([0.9, 0.1]),
}


def test_modes_means_and_diversity_by_hand():
    model = {**HUMAN, ("b", "r"): np.array([0.1, 0.9])}
    assert alignment.mode_accuracy(HUMAN, model) == 0.75
    assert alignment.mean_over(total_variation, HUMAN, model) == pytest.approx(0.2)
    q = 1 - jensenshannon(HUMAN["a", "q"], HUMAN["b", "q"])
    r = 1 - jensenshannon(HUMAN["a", "r"], HUMAN["b", "r"])
    assert alignment.group_diversity(HUMAN) == pytest.approx((q + r) / 2)
    with pytest.raises(TargetError, match="same groups and questions"):
        alignment.mode_accuracy(HUMAN, {})


def test_references_are_uniform_pooled_and_split_half():
    found = alignment.reference_figures(total_variation, HUMAN, (HUMAN, HUMAN))
    uniform = np.mean([0.5 * np.abs(row - 1 / len(row)).sum() for row in HUMAN.values()])
    assert found == pytest.approx({"uniform": uniform, "pooled": (0.3 + 0.3 + 0.2 + 0.2) / 4, "split_half": 0})


def test_temperature_trades_population_against_persons():
    rng = np.random.default_rng(1)
    values = np.arange(5.0)
    logits = rng.normal(0, 1.5, (4000, 5))
    model = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.array([rng.choice(values, p=row) for row in model])
    swept = alignment.sweep_temperatures(truth, model, values, [0.05, 0.5, 1.0, 5.0])
    drawn = np.array([[rng.choice(values, p=row) for row in model] for _ in range(10)])
    assert swept[2].rmse == pytest.approx(np.sqrt(((drawn - truth) ** 2).mean()), rel=0.02)
    assert swept[0].rmse == pytest.approx(alignment.point_rmse(truth, model, values), rel=0.02)
    assert [one.rmse for one in swept] == sorted(one.rmse for one in swept)
    assert any(one.frontier for one in swept)
    assert not swept[3].frontier
    for one in swept:
        beaten = [o for o in swept if o.kl <= one.kl and o.rmse <= one.rmse and o != one]
        assert one.frontier == (not beaten)


def test_the_fitted_temperature_has_the_least_divergence_of_all():
    rng = np.random.default_rng(3)
    human = {("g", str(i)): rng.dirichlet([1.0] * 4) for i in range(12)}
    model = {
        cell: alignment.temperature_scaled(rng.dirichlet(30 * shares + 0.5), 0.4) for cell, shares in human.items()
    }

    def cost(temperature):
        scaled = {cell: alignment.temperature_scaled(shares, temperature) for cell, shares in model.items()}
        return alignment.mean_over(kl, human, scaled)

    best = alignment.fit_temperature(human, model)
    assert best > 1.5
    assert cost(best) <= min(cost(one) for one in np.geomspace(0.1, 10, 60)) + 1e-6


def test_a_temperature_can_be_fitted_where_the_model_is_certain():
    cell, half = ("g", "q"), np.array([0.5, 0.5])
    assert np.isfinite(alignment.fit_temperature({cell: half}, {cell: np.array([1.0, 0.0])}))
    with pytest.raises(TargetError, match="same groups and questions"):
        alignment.fit_temperature({cell: half}, {})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: scores.score_classes(["a"], []), "not 0 for 1"),
        (lambda: matching.match_rate([], [], []), "not 0 for 0"),
        (lambda: matching.match_rate(["a"], ["a"], []), "not 1 for 1"),
        (lambda: scores.response_accuracy(np.array([8.0]), np.array([1.0]), 1, 7), "8 lies outside"),
        (lambda: scores.check_scale(np.array([1.0]), 7, 1), "must ascend"),
        (lambda: alignment.temperature_scaled(np.array([0.5, 0.5]), 0), "above 0, not 0"),
        (
            lambda: alignment.sweep_temperatures(np.array([9.0]), np.ones((1, 2)) / 2, np.array([0.0, 1.0]), [1.0]),
            "9 is not among",
        ),
        (lambda: alignment.group_diversity({("a", "q"): np.array([1.0, 0])}), "two groups answered"),
    ],
)
def test_mistakes_are_one_line(call, said):
    with pytest.raises(TargetError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
