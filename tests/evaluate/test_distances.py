"""Distances against independent implementations, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial import distance
from sklearn.metrics import root_mean_squared_error

from popsim.errors import TargetError
from popsim.evaluate.distances import (
    energy,
    histogram,
    js_distance,
    js_divergence_bits,
    kl,
    ks,
    ordinal_emd,
    rmse,
    total_variation,
    wasserstein,
)

thousand = settings(max_examples=1000, deadline=None)
heaped = st.integers(-20, 20).map(lambda k: k / 4) | st.floats(-30, 30, width=32)
samples = st.integers(1, 25).flatmap(
    lambda n: st.tuples(arrays(float, n, elements=heaped), arrays(float, n, elements=st.floats(0.1, 9)))
)
counts = arrays(float, st.shared(st.integers(2, 8), key="k"), elements=st.integers(0, 50).map(float))
shares = counts.filter(lambda c: c.sum() > 0).map(lambda c: c / c.sum())
full = shares.map(lambda p: (p + 0.01) / (p + 0.01).sum())


def brute_ks(x, w, y, v):
    return max(abs(w[x <= t].sum() / w.sum() - v[y <= t].sum() / v.sum()) for t in np.concatenate([x, y]))


@thousand
@given(samples, samples)
def test_distances_of_samples_agree_with_scipy(first, second):
    (x, w), (y, v) = first, second
    assert wasserstein(x, y, w, v) == pytest.approx(stats.wasserstein_distance(x, y, w, v), abs=1e-9)
    assert energy(x, y, w, v) == pytest.approx(stats.energy_distance(x, y, w, v), abs=1e-9)
    assert ks(x, y, w, v) == pytest.approx(brute_ks(x, w, y, v), abs=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_ks_of_equal_weights_agrees_with_scipy(seed):
    x, y = np.split(np.random.default_rng(seed).normal(size=100).round(1), [37])
    assert ks(x, y) == pytest.approx(stats.ks_2samp(x, y).statistic, abs=1e-12)


@thousand
@given(shares, shares, full)
def test_distances_of_categories_agree_with_scipy(p, q, smooth):
    assert total_variation(p, q) == pytest.approx(distance.cityblock(p, q) / 2, abs=1e-9)
    assert js_distance(p, q) == pytest.approx(distance.jensenshannon(p, q), abs=1e-9)
    assert js_divergence_bits(p, q) == pytest.approx(distance.jensenshannon(p, q, 2) ** 2, abs=1e-9)
    assert kl(p, smooth) == pytest.approx(stats.entropy(p, smooth), abs=1e-9)
    assert kl(smooth, q) == pytest.approx(stats.entropy(smooth, q), abs=1e-9)
    assert rmse(p, q) == pytest.approx(root_mean_squared_error(p, q), abs=1e-9)
    places = np.arange(len(p)) / (len(p) - 1)
    assert ordinal_emd(p, q, ordered=True) == pytest.approx(stats.wasserstein_distance(places, places, p, q), abs=1e-9)


@given(shares, shares, st.randoms(use_true_random=False))
def test_relabelling_options_without_order_changes_nothing(p, q, random):
    order = random.sample(range(len(p)), len(p))
    for measure in (total_variation, js_distance, js_divergence_bits, rmse):
        assert measure(p[order], q[order]) == pytest.approx(measure(p, q), abs=1e-9)


@given(shares, shares, samples, samples, st.sampled_from([0.5, 3.0]), st.integers(-5, 5))
def test_rescaling_an_ordered_scale_changes_nothing_but_the_unit(p, q, first, second, factor, shift):
    places = np.cumsum(np.arange(1.0, len(p) + 1))
    there = ordinal_emd(p, q, ordered=True, positions=places)
    assert ordinal_emd(p, q, ordered=True, positions=factor * places + shift) == pytest.approx(there, abs=1e-9)
    assert ordinal_emd(p[::-1], q[::-1], ordered=True) == pytest.approx(ordinal_emd(p, q, ordered=True), abs=1e-9)
    (x, w), (y, v) = first, second
    scaled = wasserstein(factor * x + shift, factor * y + shift, w, v)
    assert scaled == pytest.approx(factor * wasserstein(x, y, w, v), abs=1e-6)


@given(samples)
def test_a_sample_has_no_distance_to_itself_and_weights_count_repeats(sample):
    x, w = sample
    assert [f(x, x, w, w) for f in (wasserstein, energy, ks)] == pytest.approx([0, 0, 0], abs=1e-12)
    twice = np.repeat(x, 2)
    assert wasserstein(x, twice) == pytest.approx(0, abs=1e-9)


def test_bins_are_as_numpy_has_them_and_smoothing_fills_empty_ones():
    values, edges = np.array([0.0, 0.5, 1.0, 3.0]), [0, 1, 2, 3]
    assert histogram(values, edges).tolist() == (np.histogram(values, edges)[0] / 4).tolist() == [0.5, 0.25, 0.25]
    assert histogram(values, edges, smoothing=1).tolist() == [3 / 7, 2 / 7, 2 / 7]
    assert histogram(values, edges, weights=np.array([3.0, 3.0, 1.0, 1.0])).tolist() == [0.75, 0.125, 0.125]


@pytest.mark.parametrize(
    ("take", "said"),
    [
        (lambda p: ordinal_emd(p, p, ordered=False), "have no order"),
        (lambda p: total_variation(p, p[:2]), "same categories, not 3 and 2"),
        (lambda p: js_distance(p, 100 * p), "sum to 1, not 100"),
        (lambda p: kl(p, np.array([-0.5, 0.5, 1.0])), "0 or more"),
        (lambda p: ordinal_emd(p, p, ordered=True, positions=[1, 1, 2]), "ascending position"),
        (lambda p: wasserstein(p, p, np.array([1.0, 0.0, 1.0])), "weights must be positive, one per answer, not 0"),
        (lambda p: energy(p, p, np.array([1.0])), "not 1 of them for 3 answers"),
        (lambda p: ks(p, p[:0]), "one side has none"),
        (lambda p: histogram(p, [0, 0.3]), "answer 0.5 lies outside 0 to 0.3"),
        (lambda p: histogram(p, [0, 1, 1]), "edges must ascend"),
        (lambda p: rmse(p, p[:2]), "pairs of numbers"),
    ],
)
def test_what_is_no_distribution_is_refused(take, said):
    with pytest.raises(TargetError, match=said):
        take(np.array([0.2, 0.3, 0.5]))
