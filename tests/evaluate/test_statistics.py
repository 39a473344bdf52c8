import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from popsim.evaluate import direction, joint_direction, mean, trimmed_sd
from popsim.evaluate.resampling import Figure, cell_of, estimate, resamples

values = arrays(float, st.integers(20, 200), elements=st.integers(-8, 8).map(lambda k: k / 4))
JOINT = ("both_fall", "fall_rise", "rise_fall", "both_rise", "other")


def trimmed(answers, share):
    return np.sort(stats.trimboth(np.sort(answers), share))


@given(values, st.sampled_from([0.0, 0.05, 0.1, 0.25]))
def test_trimmed_sds_agree_with_scipy_on_heaped_answers(answers, share):
    assert trimmed_sd(answers, share=share) == pytest.approx(np.std(trimmed(answers, share), ddof=1), abs=1e-9)


@given(values, st.data())
def test_a_weight_of_three_is_the_answer_three_times_also_in_ties(answers, data):
    weights = data.draw(arrays(float, len(answers), elements=st.integers(1, 4).map(float)))
    repeated = np.repeat(answers, weights.astype(int))
    assert trimmed_sd(answers, weights) == pytest.approx(trimmed_sd(repeated), abs=1e-9)
    assert trimmed_sd(answers, weights, 0.0) == pytest.approx(DescrStatsW(answers, weights, ddof=1).std, abs=1e-9)
    assert mean(answers, weights) == pytest.approx(repeated.mean())


@given(values, st.integers(-5, 5), st.sampled_from([-2.0, 0.5, 3.0]), st.randoms(use_true_random=False))
def test_a_trimmed_sd_is_scaled_and_not_shifted_and_has_no_order(answers, shift, factor, random):
    shuffled = np.array(random.sample(list(answers), len(answers)))
    assert trimmed_sd(factor * shuffled + shift) == pytest.approx(abs(factor) * trimmed_sd(answers), abs=1e-9)


def test_the_number_cut_is_rounded_down():
    answers = np.r_[np.zeros(17), -100.0, 100.0]  # 19 ranks: the floor of 5 % of them is none
    assert trimmed_sd(answers) == pytest.approx(np.std(answers, ddof=1))
    assert trimmed_sd(np.r_[answers, 0.0]) == 0


def test_rows_of_weights_give_a_figure_each():
    answers, weights = np.arange(5.0), np.array([[1.0] * 5, [0, 0, 5.0, 0, 0], [2.0, 0, 1, 0, 2.0]])
    assert mean(answers, weights).tolist() == [2.0, 2.0, 2.0]
    assert trimmed_sd(answers, weights)[[0, 1]].tolist() == [np.std(answers, ddof=1), 0.0]


@given(values)
def test_directions_and_pairs_of_them_are_counted_once(answers):
    other = np.roll(answers, 1)
    assert sum(direction(answers, of) for of in ("fall", "same", "rise")).tolist() == [1.0] * len(answers)
    assert sum(joint_direction(answers, other, of) for of in JOINT).tolist() == [1.0] * len(answers)
    assert (direction(answers, "fall") == direction(-answers, "rise")).all()
    by_hand = [a < 0 < b for a, b in zip(answers, other, strict=True)]
    assert joint_direction(answers, other, "fall_rise").tolist() == by_hand


def test_resamples_draw_as_many_of_each_stratum_as_there_are():
    stratum = np.array([0, 1, 0, 2, 1, 0])
    for block in resamples(stratum, 40, seed=3):
        for one, size in ((0, 3), (1, 2), (2, 1)):
            assert (block[:, stratum == one].sum(axis=1) == size).all()


def test_standard_errors_are_those_of_textbooks():
    rng = np.random.default_rng(1)
    answers, n = rng.normal(size=1000), 1000
    cell = cell_of(answers, np.arange(n), np.ones(n), n)
    found = estimate([Figure(((1.0, cell),)), Figure(((1.0, cell),), 0.0)], np.zeros(n, dtype=int), 1000)
    assert found.se == pytest.approx([1 / np.sqrt(n), 1 / np.sqrt(2 * n)], rel=0.1)


def test_answers_of_one_person_are_drawn_together():
    answers = np.random.default_rng(2).normal(size=300)
    once = cell_of(answers, np.arange(300), np.ones(300), 300)
    fourfold = cell_of(np.repeat(answers, 4), np.repeat(np.arange(300), 4), np.ones(1200), 300)
    stratum = np.zeros(300, dtype=int)
    errors = [estimate([Figure(((1.0, cell),))], stratum, 300).se[0] for cell in (once, fourfold)]
    assert errors[0] == pytest.approx(errors[1])


def test_the_same_persons_in_both_arms_do_not_blur_their_difference():
    person = 10 * np.random.default_rng(3).normal(size=200)
    cells = [cell_of(person + arm, np.arange(200), np.ones(200), 200) for arm in (0.0, 1.0)]
    found = estimate([Figure(((1.0, cells[1]), (-1.0, cells[0])))], np.zeros(200, dtype=int), 200)
    assert found.value[0] == pytest.approx(1)
    assert found.se[0] < 1e-9


def test_one_unit_gives_no_interval():
    cell = cell_of(np.arange(50.0), np.zeros(50, dtype=int), np.ones(50), 50)
    found = estimate([Figure(((1.0, cell),))], np.zeros(1, dtype=int), 100)
    assert found.value[0] == 24.5
    assert np.isnan([found.se[0], found.interval(0.95)[0][0]]).all()
