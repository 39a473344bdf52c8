"""Fits to probabilities of bins: exact where the shape is known, and indifferent to where and how bins are written."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from popsim.errors import SurveyError
from popsim.evaluate import density_table, fit_density
from popsim.survey import load_questionnaire

SCE = ((None, -12), (-12, -8), (-8, -4), (-4, -2), (-2, 0), (0, 2), (2, 4), (4, 8), (8, 12), (12, None))
limits = st.lists(st.integers(1, 40), min_size=3, max_size=9).map(lambda steps: np.cumsum([-30, *steps]) / 4)
shares = st.lists(st.integers(0, 20), min_size=10, max_size=10).map(lambda some: tuple(5 * x for x in some))


def bins_of(ends):
    return tuple(zip(map(float, ends[:-1]), map(float, ends[1:]), strict=True))


@given(st.floats(-20, 20), st.floats(0.1, 8))
def test_one_bin_holds_an_isosceles_triangle(low, width):
    fit = fit_density(((low - 1, low), (low, low + width)), (0, 100))
    same = stats.triang(0.5, low, width)
    assert fit.mean == pytest.approx(same.mean())
    assert fit.median == pytest.approx(same.median())
    assert fit.iqr == pytest.approx(same.ppf(0.75) - same.ppf(0.25))


@given(st.floats(0.2, 8), st.floats(0.2, 8), st.integers(1, 99))
def test_over_two_bins_the_triangle_keeps_both_probabilities_and_stays_within(left, right, share):
    fit = fit_density(((-left, 0.0), (0.0, right)), (share, 100 - share))
    base = fit.iqr / (1 - 2 * np.sqrt(1 / 8))
    triangle = stats.triang(0.5, fit.mean - base / 2, base)
    assert triangle.cdf(0) == pytest.approx(share / 100, abs=1e-9)
    assert fit.mean - base / 2 >= -left - 1e-9
    assert fit.mean + base / 2 <= right + 1e-9


@settings(max_examples=30, deadline=None)
@given(st.floats(1.3, 8), st.floats(1.3, 8))
def test_a_beta_distribution_is_found_again(a, b):
    ends = np.linspace(-3, 5, 9)
    truth = stats.beta(a, b, -3, 8)
    probabilities = np.diff(truth.cdf(ends))
    assume((probabilities > 1e-3).all())
    fit = fit_density(bins_of(ends), tuple(probabilities.tolist()))
    assert fit.mean == pytest.approx(truth.mean(), abs=0.01)
    assert fit.median == pytest.approx(truth.median(), abs=0.01)
    assert fit.iqr == pytest.approx(truth.ppf(0.75) - truth.ppf(0.25), abs=0.01)


@settings(max_examples=40, deadline=None)
@given(limits, st.data())
def test_moving_stretching_and_mirroring_the_bins_does_the_same_to_the_fit(ends, data):
    p = data.draw(st.lists(st.integers(0, 10), min_size=len(ends) - 1, max_size=len(ends) - 1).filter(any))
    fit = fit_density(bins_of(ends), tuple(p))
    moved = fit_density(bins_of(ends * 2 + 5), tuple(p))
    assert moved == pytest.approx((2 * fit.mean + 5, 2 * fit.median + 5, 2 * fit.iqr), abs=1e-3)
    mirrored = fit_density(bins_of(-ends[::-1]), tuple(p[::-1]))
    assert mirrored == pytest.approx((-fit.mean, -fit.median, fit.iqr), abs=1e-3)
    assert fit_density(bins_of(ends), tuple(10 * x for x in p)) == pytest.approx(fit, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(shares.filter(any))
def test_open_bins_never_carry_the_fit_beyond_its_reach(p):
    fit = fit_density(SCE, p)
    used = [end for end, share in zip(SCE, p, strict=True) if share]
    low, high = used[0][0], used[-1][1]
    for value in (fit.mean, fit.median):
        assert (-38 if low is None else low) <= value <= (38 if high is None else high)
    assert 0 < fit.iqr < 76


def test_more_weight_on_higher_bins_never_lowers_the_mean():
    means = [fit_density(SCE, (0, 0, 0, 0, 10, 50 - moved, 30, 10 + moved, 0, 0)).mean for moved in range(0, 51, 5)]
    assert all(a < b for a, b in itertools.pairwise(means))


@pytest.mark.parametrize("p", [(0, 0), (50, -50), (100,), (float("nan"), 1)])
def test_shares_that_say_nothing_are_refused(p):
    with pytest.raises(SurveyError, match="density: "):
        fit_density(((0, 1), (1, 2)), p)


def test_the_table_has_a_row_for_each_answer_and_leaves_other_questions_aside():
    question = load_questionnaire("inflation_density").questions[0]
    rows = [(0, 5, 1.0), (1, 5, 0.25), (1, 6, 0.5), (1, 7, 0.25)]
    table = pd.DataFrame(rows, columns=["person", "value", "probability"])
    table = table.assign(replicate=0, wave=0, arm="a", draw=0, vignette="inflation", question=question.name)
    other = table.assign(question="another")
    fits = density_table(pd.concat([table, other]), question)
    assert fits["person"].tolist() == [0, 1]
    assert fits["mean"].iloc[0] == pytest.approx(1.0)
    assert 2.5 < fits["mean"].iloc[1] < 4
    with pytest.raises(SurveyError, match="no answer to question inflation_density"):
        density_table(other, question)
