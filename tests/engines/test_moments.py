"""Fits against brute force: exact probabilities against plain Monte Carlo and enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from popsim.engines.baseline.entropy import fit_number, fit_subsets, max_entropy
from popsim.engines.baseline.moments import (
    STEPS,
    ChangeTarget,
    fit_change,
    grid_of,
    heaping_base,
    joint_table,
    level_pmf,
    trimmed_moments,
)
from popsim.engines.baseline.scores import HEAPING

STEPS_IN_HUNDREDTHS = (100, 50, 25, 10, 5, 1)
N = 1099 / 2

# Andre et al. (2022): Tables A.11 and A.5, Figure 1; fall arms with their shares mirrored. Households and experts.
PUBLISHED = {
    "oil fall inflation": ((70, 9, 21), -0.331, 0.050, 0.71, N),
    "oil rise inflation": ((21, 9, 70), 0.667, 0.053, 0.74, N),
    "oil fall unemployment": ((62, 14, 25), -0.210, 0.049, 0.69, N),
    "oil rise unemployment": ((25, 14, 62), 0.445, 0.047, 0.64, N),
    "government fall unemployment": ((39, 18, 43), 0.042, 0.045, 0.63, 540),
    "government rise inflation": ((29, 16, 55), 0.135, 0.041, 0.54, 540),
    "funds rise unemployment": ((33, 16, 51), 0.174, 0.043, 0.55, 560),
    "tax rise inflation": ((33, 16, 51), 0.206, 0.043, 0.52, 560),
    "experts oil rise inflation": ((10, 6, 84), 0.449, 0.030, 0.28, 250),
    "experts government fall unemployment": ((8, 12, 80), 0.303, 0.026, 0.24, 250),
}


def target_of(name: str) -> ChangeTarget:
    shares, mean, se, trimmed_sd, n = PUBLISHED[name]
    return ChangeTarget(np.array(shares) / sum(shares), 100 * mean, 100 * se * np.sqrt(n), 100 * trimmed_sd, 0.05)


@pytest.mark.parametrize("name", PUBLISHED)
def test_fitted_change_meets_every_published_moment(name):
    target = target_of(name)
    fit = fit_change(target, (500, 640), STEPS_IN_HUNDREDTHS, HEAPING[-1])
    pmf = HEAPING[-1] @ fit.pmf
    mean, sd, trimmed_sd = trimmed_moments(fit.values.astype(float), pmf, 0.05)
    assert mean == pytest.approx(target.mean, abs=0.2)
    assert trimmed_sd == pytest.approx(target.trimmed_sd, abs=0.2)
    assert sd == pytest.approx(target.sd, rel=0.005)
    directions = [pmf[np.sign(fit.values) == way].sum() for way in (-1, 0, 1)]
    assert directions == pytest.approx(list(target.shares))


def test_every_rounding_step_writes_multiples_or_smaller_numbers_and_never_feeds_the_zero():
    target = target_of("oil rise inflation")
    fit = fit_change(target, (500, 640), STEPS_IN_HUNDREDTHS, HEAPING[-1])
    for step, pmf in zip(STEPS_IN_HUNDREDTHS, fit.pmf, strict=True):
        large = np.abs(fit.values) >= step
        assert pmf[large & (fit.values % step != 0)].sum() == 0
        assert pmf[fit.values == 0] == pytest.approx(target.shares[1])
        assert pmf.sum() == pytest.approx(1)


def test_exact_moments_agree_with_a_plain_simulation():
    fit = fit_change(target_of("oil fall inflation"), (500, 640), STEPS_IN_HUNDREDTHS, HEAPING[-1])
    pmf = HEAPING[-1] @ fit.pmf
    n = 400_000
    drawn = np.sort(np.random.default_rng(0).choice(fit.values, n, p=pmf))
    mean, sd, trimmed_sd = trimmed_moments(fit.values.astype(float), pmf, 0.05)
    assert drawn.mean() == pytest.approx(mean, abs=4 * sd / np.sqrt(n))
    assert drawn.std() == pytest.approx(sd, rel=0.01)
    assert drawn[n // 20 : -n // 20].std() == pytest.approx(trimmed_sd, rel=0.01)


def test_moments_that_contradict_each_other_are_refused():
    shares = np.array([0.1, 0.1, 0.8])
    with pytest.raises(ValueError, match="cannot be met together"):
        fit_change(ChangeTarget(shares, -200.0, 100.0, 60.0, 0.05), (500, 500), STEPS_IN_HUNDREDTHS, HEAPING[-1])


def test_oil_table_stays_within_rounding_of_every_published_share():
    inflation, unemployment, joint = (21, 9, 71), (25, 14, 62), (10, 9, 13, 49, 19)
    table = 100 * joint_table(inflation, unemployment, joint)
    assert table.min() >= 0
    assert table.sum() == pytest.approx(100)
    assert np.abs(table.sum(axis=1) - inflation).max() < 1
    assert np.abs(table.sum(axis=0) - unemployment).max() < 1
    corners = [table[0, 0], table[0, 2], table[2, 0], table[2, 2]]
    assert np.abs(np.array([*corners, 100 - sum(corners)]) - joint).max() < 1


@given(st.lists(st.integers(1, 100), min_size=9, max_size=9))
def test_rounded_shares_of_a_true_table_give_it_back_within_rounding(cells):
    truth = np.array(cells).reshape(3, 3) / sum(cells)
    corners = [truth[0, 0], truth[0, 2], truth[2, 0], truth[2, 2]]
    rounded = [
        np.round(100 * np.array(s)) for s in (truth.sum(axis=1), truth.sum(axis=0), [*corners, 1 - sum(corners)])
    ]
    table = joint_table(*rounded)
    assert table.sum() == pytest.approx(1)
    assert np.abs(table - truth).max() < 0.02


def test_without_joint_shares_directions_are_independent():
    table = joint_table((20, 30, 51), (1, 1, 2), None)
    assert table == pytest.approx(np.outer(np.array([20, 30, 51]) / 101, [0.25, 0.25, 0.5]))


def test_margins_and_joint_shares_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="contradict each other"):
        joint_table((80, 10, 10), (25, 14, 61), (10, 9, 13, 49, 19))


def test_max_entropy_with_two_moments_is_a_discretised_normal():
    points = np.arange(-400, 401) / 100
    pmf = max_entropy(np.column_stack([points, points**2]), [0.3, 0.3**2 + 0.5**2], np.ones(len(points)))
    density = stats.norm.pdf(points, 0.3, 0.5)
    assert pmf == pytest.approx(density / density.sum(), abs=1e-6)


@given(st.integers(2, 60), st.floats(0.05, 0.95), st.floats(0.05, 0.9))
def test_numbers_meet_any_mean_and_sd_that_a_grid_allows(size, place, width):
    points = np.arange(size + 1)
    mean = place * size
    # Between the least spread of a whole number with this mean and the most that the range allows.
    least, most = (mean % 1) * (1 - mean % 1), mean * (size - mean)
    sd = np.sqrt(least + width * (most - least))
    pmf = fit_number(points, mean, sd, np.ones(size + 1))
    assert pmf @ points == pytest.approx(mean, abs=1e-3 * size)
    assert np.sqrt(pmf @ (points - mean) ** 2) == pytest.approx(sd, abs=1e-3 * size)


@pytest.mark.parametrize(("mean", "sd"), [(12.0, 1.0), (-1.0, 1.0), (5.0, 6.0), (5.5, 0.1), (0.0, 1.0)])
def test_impossible_means_and_sds_are_refused(mean, sd):
    with pytest.raises(ValueError, match="no distribution"):
        fit_number(np.arange(11), mean, sd, np.ones(11))


def test_heaped_numbers_meet_their_moments_too():
    grid = grid_of(0, 10, 2)
    pmf = fit_number(grid.points, 310, 240, heaping_base(grid, HEAPING[-1]))
    assert pmf @ grid.points == pytest.approx(310, abs=0.1)
    assert pmf[grid.points % 50 == 0].sum() > 0.3


@settings(max_examples=40)
@given(st.lists(st.floats(0.1, 0.9), min_size=2, max_size=6), st.integers(0, 2), st.integers(0, 4))
def test_subsets_meet_the_share_of_every_option(shares, at_least, extra):
    shares = np.array(shares)
    at_most = min(at_least + extra, len(shares))
    if not at_least + 0.05 < shares.sum() < at_most - 0.05:
        return
    sets, pmf = fit_subsets(shares, at_least, at_most)
    assert pmf @ sets == pytest.approx(shares, abs=1e-3)
    assert set(sets.sum(axis=1).tolist()) <= set(range(at_least, at_most + 1))


def test_options_that_all_or_none_choose():
    sets, pmf = fit_subsets(np.array([1.0, 0.0, 0.25]), 0, 3)
    assert pmf @ sets == pytest.approx([1.0, 0.0, 0.25], abs=1e-6)


def test_subsets_by_enumeration_are_independent_where_any_number_may_be_chosen():
    shares = np.array([0.2, 0.5, 0.7])
    sets, pmf = fit_subsets(shares, 0, 3)
    for row, p in zip(sets, pmf, strict=True):
        assert p == pytest.approx(np.prod(np.where(row, shares, 1 - shares)), abs=1e-4)
    assert {tuple(row) for row in sets.tolist()} == set(itertools.product([False, True], repeat=3))


@pytest.mark.parametrize(
    ("shares", "low", "high", "problem"),
    [
        ([0.9, 0.9, 0.9], 0, 1, "no distribution"),
        ([0.9, 0.9], 1, 1, "sum to 1.8"),
        ([1.2, 0.1], 0, 2, "outside 0 to 1"),
        ([0.1] * 40, 0, 20, "lower at_most"),
    ],
)
def test_impossible_shares_of_a_multiple_question_are_refused(shares, low, high, problem):
    with pytest.raises(ValueError, match=problem):
        fit_subsets(np.array(shares), low, high)


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e6), st.integers(0, 6))
def test_grids_stay_within_the_range(minimum, width, decimals):
    maximum = minimum + width
    try:
        grid = grid_of(minimum, maximum, decimals)
    except ValueError:
        assert np.floor(maximum * 10**decimals) < np.ceil(minimum * 10**decimals)
        return
    assert grid.places <= decimals
    assert len(grid.points) <= 20_001
    assert minimum - 1e-6 <= grid.lowest * 10.0**-grid.places
    assert grid.highest * 10.0**-grid.places <= maximum + 1e-6
    assert len(grid.steps) == len(STEPS)
    assert all(coarse >= fine >= 1 for coarse, fine in itertools.pairwise(grid.steps))


def test_default_level_states_its_anchor_and_heaps():
    grid = grid_of(-2, 8, 2)
    pmf = level_pmf(grid, 1.6)
    assert pmf[:, grid.points == 160].min() >= 0.4
    coarse = pmf[0][(grid.points % 100 != 0) & (grid.points != 160)].sum()
    assert coarse < 1e-6
    assert np.median(np.repeat(grid.points, np.round(1e4 * pmf[-1]).astype(int))) == 160
