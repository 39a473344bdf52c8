"""Baselines find what is there, know nothing of what is not, and refuse tables that do not fit."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from popsim.errors import TargetError
from popsim.evaluate import tabular

pytest.importorskip("sklearn")


def people(n, seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"age": rng.integers(18, 90, n).astype(float), "side": rng.choice(["a", "b", "c"], n)})
    means = 50 + 20 * (table["side"] == "a") - 0.3 * (table["age"] - 50)
    return table, (means + rng.normal(0, 5, n)).to_numpy()


@pytest.mark.parametrize("learner", ["svr", "boosting"])
def test_numbers_are_predicted_for_people_that_were_not_seen(learner):
    facts, answers = people(600, 0)
    wanted, truth = people(300, 1)
    found = tabular.predict_numbers(facts, answers, wanted, learner)
    error, spread = np.sqrt(np.mean((found - truth) ** 2)), truth.std()
    assert error < 0.65 * spread
    assert np.array_equal(found, tabular.predict_numbers(facts, answers, wanted, learner))


def test_a_value_that_was_never_seen_is_no_error():
    facts, answers = people(200, 0)
    wanted = pd.DataFrame({"age": [40.0], "side": ["z"]})
    assert np.isfinite(tabular.predict_numbers(facts, answers, wanted)).all()


def test_options_get_probabilities_near_those_that_made_the_answers():
    rng = np.random.default_rng(2)
    facts = pd.DataFrame({"side": rng.choice(["a", "b"], 3000)})
    answers = [str(rng.choice(["x", "y"], p=[0.8, 0.2] if side == "a" else [0.3, 0.7])) for side in facts["side"]]
    found = tabular.predict_options(facts, answers, pd.DataFrame({"side": ["a", "b"]}), ["y", "never", "x"])
    assert found == pytest.approx(np.array([[0.2, 0, 0.8], [0.7, 0, 0.3]]), abs=0.05)
    alone = tabular.predict_options(facts, ["x"] * 3000, facts[:2], ["x", "y"])
    assert alone.tolist() == [[1, 0], [1, 0]]


KNOWN = {
    ("a", "bank"): np.array([0.9, 0.1]),
    ("b", "bank"): np.array([0.3, 0.7]),
    ("a", "warm"): np.array([0.4, 0.6]),
    ("a", "three"): np.array([0.2, 0.3, 0.5]),
}
TEXTS = {
    "bank": "Do you trust banks?",
    "warm": "Is it warm?",
    "three": "Do you trust courts?",
    "new": "Do you trust them?",
}


def test_nearest_question_is_the_groups_own_with_as_many_options():
    wanted = {("a", "new"): 2, ("b", "new"): 2, ("b", "three"): 3}
    found = tabular.nearest_questions(KNOWN, TEXTS, wanted)
    assert found["a", "new"].tolist() == [0.9, 0.1]
    assert found["b", "new"].tolist() == [0.3, 0.7]
    assert found["b", "three"] == pytest.approx(np.full(3, 1 / 3))
    two = tabular.nearest_questions(KNOWN, TEXTS, {("a", "new"): 2}, neighbours=2)
    assert two["a", "new"] == pytest.approx(np.array([0.65, 0.35]))


def test_group_average_leaves_the_group_itself_out():
    found = tabular.group_average(KNOWN, {("a", "bank"): 2, ("b", "warm"): 2, ("a", "new"): 4})
    assert found["a", "bank"].tolist() == [0.3, 0.7]
    assert found["b", "warm"].tolist() == [0.4, 0.6]
    assert found["a", "new"].tolist() == [0.25] * 4


def test_swapped_groups_answer_as_another():
    cells = {(group, "q"): np.array([i, 10 - i]) / 10 for i, group in enumerate("abcd")}
    found = tabular.swapped(cells, seed=3)
    assert sorted(row[0] for row in found.values()) == [0, 0.1, 0.2, 0.3]
    assert all(found[cell].tolist() != cells[cell].tolist() for cell in cells)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: tabular.predict_numbers(pd.DataFrame({"x": [1]}), np.array([]), pd.DataFrame({"x": [1]})),
            "not 0 for 1",
        ),
        (
            lambda: tabular.predict_numbers(pd.DataFrame({"x": [1]}), np.ones(1), pd.DataFrame({"y": [1]})),
            "lack the column 'x'",
        ),
        (
            lambda: tabular.predict_options(pd.DataFrame({"x": [1]}), ["z"], pd.DataFrame({"x": [1]}), ["a"]),
            "'z' is no option",
        ),
        (lambda: tabular.nearest_questions(KNOWN, {}, {}), "has no text"),
        (lambda: tabular.swapped({("a", "q"): np.ones(1)}), "two groups"),
    ],
)
def test_mistakes_are_one_line(call, said):
    with pytest.raises(TargetError) as caught:
        call()
    assert said in str(caught.value)


@pytest.mark.skipif(find_spec("catboost") is not None, reason="catboost is installed")
def test_catboost_that_is_missing_says_what_to_install():
    with pytest.raises(TargetError, match="pip install catboost"):
        tabular.predict_numbers(pd.DataFrame({"x": [1]}), np.ones(1), pd.DataFrame({"x": [1]}), "catboost")
