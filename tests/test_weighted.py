"""Weighted moments, quantiles and bands are those of values that are repeated as often as they weigh."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popsim.weighted import band_starts, moments, quantiles

POINTS = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 4)), max_size=12)
SHARES = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95]


def repeated(points):
    """Give values and weights apart, at a scale of no meaning, and the values as often as they weigh, in order."""
    values, counts = (np.array([point[k] for point in points], dtype=np.int64) for k in (0, 1))
    return values.astype(float), counts / 7, np.sort(np.repeat(values, counts)).astype(float)


@given(POINTS)
def test_moments_and_quantiles_are_those_of_repeated_values(points):
    values, weights, whole = repeated(points)
    if not len(whole):
        assert np.isnan([*moments(values, weights), *quantiles(values, weights, SHARES)]).all()
        return
    assert moments(values, weights) == pytest.approx((whole.mean(), whole.var()), abs=1e-9)
    at = [*SHARES, 1.0]
    assert quantiles(values, weights, at).tolist() == np.quantile(whole, at, method="inverted_cdf").tolist()


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8), st.integers(1, 4), st.randoms(use_true_random=False))
def test_many_sets_of_weights_are_taken_each_by_itself(values, rows, random):
    weights = np.array([[random.randint(0, 3) for _ in values] for _ in range(rows)])
    alone = [quantiles(values, row, SHARES) for row in weights]
    assert np.array_equal(quantiles(values, weights, SHARES), alone, equal_nan=True)


@given(POINTS.filter(lambda points: any(count for _, count in points)))
def test_a_band_begins_at_the_first_value_above_its_share(points):
    values, weights, whole = repeated(points)
    expected = [-np.inf, *(whole[int(share * len(whole) + 1e-9)] for share in SHARES[1:])]
    assert band_starts(values, weights, np.array(SHARES)).tolist() == expected
