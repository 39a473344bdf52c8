import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.sparse import csr_array

from popsim.errors import NetworkError
from popsim.network import (
    Beliefs,
    Signal,
    agreement,
    bounded_confidence,
    degroot,
    friedkin_johnsen,
    hear,
    latest_of_source,
    prior_beliefs,
    stubbornness,
)

N = 6
means = arrays(np.float64, N, elements=st.floats(-20, 20))
precisions = arrays(np.float64, N, elements=st.floats(0.01, 100))
weights = arrays(np.float64, (N, N), elements=st.one_of(st.just(0.0), st.floats(0.05, 1)))
quick = settings(max_examples=80, deadline=None)


def believed(mean, precision=None):
    mean = np.asarray(mean, dtype=np.float64)
    return Beliefs("inflation", "pp", mean, np.ones(len(mean)) if precision is None else np.asarray(precision))


def graph_of(weight):
    weight = weight * (1 - np.eye(len(weight)))
    total = weight.sum(axis=1, keepdims=True)
    return csr_array(np.divide(weight, total, out=np.zeros_like(weight), where=total > 0))


def said(value, sd=1.0, source="central bank"):
    return Signal("inflation", "pp", value, sd, source)


@quick
@given(means, weights)
def test_degroot_on_a_connected_aperiodic_graph_ends_in_the_mean_weighted_by_the_left_eigenvector(mean, weight):
    ring_and_chord = np.roll(np.eye(N), 1, axis=1)
    ring_and_chord[0, 2] = 1
    graph = graph_of(weight + ring_and_chord)
    structure = nx.from_scipy_sparse_array(graph, create_using=nx.DiGraph)
    assert nx.is_strongly_connected(structure)
    assert nx.is_aperiodic(structure)
    value, vector = np.linalg.eig(graph.toarray().T)
    influence = np.real(vector[:, np.argmin(np.abs(value - 1))])
    now = believed(mean)
    for _ in range(600):
        now = degroot(now, graph)
    assert np.sort(np.abs(value))[-2] < 0.98
    assert np.allclose(now.mean, influence @ mean / influence.sum(), atol=1e-3)


@quick
@given(means, weights, st.floats(0, 1))
def test_degroot_never_leaves_the_range_of_beliefs_and_keeps_a_consensus(mean, weight, own):
    after = degroot(believed(mean), graph_of(weight), own).mean
    assert after.min() >= mean.min() - 1e-9
    assert after.max() <= mean.max() + 1e-9
    same = believed(np.full(N, mean[0]))
    assert np.allclose(degroot(same, graph_of(weight), own).mean, mean[0])


@quick
@given(means, means, weights)
def test_friedkin_johnsen_with_full_stubbornness_never_moves(mean, later, weight):
    graph, first = graph_of(weight), believed(mean)
    now = first
    for _ in range(5):
        now = friedkin_johnsen(now, graph, first, 1.0)
        assert np.array_equal(now.mean, mean)
    assert np.array_equal(friedkin_johnsen(believed(later), graph, first, np.ones(N)).mean, mean)


@quick
@given(means, weights)
def test_friedkin_johnsen_without_stubbornness_is_degroot(mean, weight):
    graph, first = graph_of(weight), believed(mean)
    assert np.array_equal(friedkin_johnsen(first, graph, first, 0.0).mean, degroot(first, graph).mean)


@quick
@given(means, weights, st.floats(0.05, 0.95))
def test_friedkin_johnsen_settles_where_its_equation_says(mean, weight, stubborn):
    graph, first = graph_of(weight + 0.01), believed(mean)
    now = first
    for _ in range(800):
        now = friedkin_johnsen(now, graph, first, stubborn)
    settled = np.linalg.solve(np.eye(N) - (1 - stubborn) * graph.toarray(), stubborn * mean)
    assert np.allclose(now.mean, settled, atol=1e-6)


@quick
@given(
    means,
    precisions,
    arrays(np.float64, 3, elements=st.floats(-20, 20)),
    st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
)
def test_the_bayesian_rule_is_a_friedkin_johnsen_step_with_attention_in_proportion_to_precision(mean, k0, values, sds):
    """Everyone hears three unmoved speakers whose messages are their beliefs."""
    precision = np.array(sds) ** -2.0
    bayes = hear(
        believed(mean, k0),
        [said(v, sd, str(i)) for i, (v, sd) in enumerate(zip(values, sds, strict=True))],
        np.ones((N, 3)),
    )
    everyone = believed(np.concatenate([mean, values]), np.concatenate([k0, precision]))
    attention = np.zeros((N + 3, N + 3))
    attention[:N, N:] = precision / precision.sum()
    step = friedkin_johnsen(everyone, csr_array(attention), everyone, stubbornness(everyone, precision.sum()))
    assert np.allclose(step.mean[:N], bayes.mean)
    assert np.allclose(step.mean[N:], values)


@quick
@given(means, precisions, st.floats(-20, 20), st.floats(0.1, 5))
def test_hearing_moves_towards_the_signal_the_less_the_surer_and_never_past_it(mean, k0, value, sd):
    after = hear(believed(mean, k0), [said(value, sd)], np.ones((N, 1)))
    rate = sd**-2.0 / (k0 + sd**-2.0)
    assert np.allclose(after.mean - mean, rate * (value - mean))
    assert np.allclose(1 - rate, stubbornness(believed(mean, k0), sd**-2.0))
    assert (after.precision > k0).all()
    surer = hear(believed(mean, 2 * k0), [said(value, sd)], np.ones((N, 1)))
    assert (np.abs(surer.mean - mean) <= np.abs(after.mean - mean) + 1e-12).all()


def test_the_order_in_which_signals_are_heard_does_not_matter():
    prior, one, two = believed([5.0, 1.0], [1.0, 3.0]), said(3, 0.5, "bank"), said(8, 2, "paper")
    together = hear(prior, [one, two], np.ones((2, 2)))
    apart = hear(hear(prior, [two], np.ones((2, 1))), [one], np.ones((2, 1)))
    assert np.allclose(together.mean, apart.mean)
    assert np.allclose(together.precision, apart.precision)


def test_a_source_counts_once_unless_every_time_is_asked_for():
    prior = believed([5.0])
    repeated, twice = np.array([[3]]), [said(3.0), said(3.0)]
    assert hear(prior, [said(3.0)], repeated).mean[0] == pytest.approx(4.0)
    assert hear(prior, twice, np.array([[2, 1]])).mean[0] == pytest.approx(4.0)
    assert hear(prior, [said(3.0)], repeated, once=False).mean[0] == pytest.approx(3.5)
    assert hear(prior, [said(3.0), said(3.0, source="other")], np.array([[1, 1]])).mean[0] == pytest.approx(11 / 3)
    counted = latest_of_source(np.array([[1, 0, 2], [1, 5, 0]]), ["a", "a", "a"])
    assert counted.tolist() == [[False, False, True], [False, True, False]]


def test_who_hears_nothing_keeps_what_they_believed():
    prior = believed([5.0, 2.0], [1.0, 3.0])
    for after in (hear(prior, [], np.empty((2, 0))), hear(prior, [said(9)], np.zeros((2, 1)))):
        assert np.array_equal(after.mean, prior.mean)
        assert np.array_equal(after.precision, prior.precision)
    nobody = csr_array((2, 2))
    assert np.array_equal(degroot(prior, nobody).mean, prior.mean)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        pytest.param(
            Signal("oil price", "dollars", 54, 1, "wire"), "it says oil price in dollars", id="other-variable"
        ),
        pytest.param(Signal("inflation", "%", 3, 1, "wire"), "it says inflation in %", id="other-unit"),
        pytest.param(said(3, 0.0), "sd 0 pp; allowed: above 0", id="no-error"),
    ],
)
def test_a_signal_that_cannot_move_this_belief_is_refused_in_one_line(signal, message):
    with pytest.raises(NetworkError) as caught:
        hear(believed([1.0]), [signal], np.ones((1, 1)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@quick
@given(means, weights, st.floats(0, 40))
def test_bounded_confidence_is_the_mean_of_those_within_tolerance(mean, weight, tolerance):
    graph = graph_of(weight)
    follows = graph.toarray() > 0
    expected = [
        np.mean([mean[i], *(mean[j] for j in range(N) if follows[i, j] and abs(mean[j] - mean[i]) <= tolerance)])
        for i in range(N)
    ]
    assert np.allclose(bounded_confidence(believed(mean), graph, tolerance).mean, expected)


def test_two_camps_apart_by_more_than_the_tolerance_stay_apart_and_agree_within():
    now = believed([1.0, 2.0, 3.0, 11.0, 12.0, 13.0])
    for _ in range(50):
        now = bounded_confidence(now, graph_of(np.ones((6, 6))), 3.0)
    assert np.allclose(now.mean, [2, 2, 2, 12, 12, 12])


def test_priors_drawn_from_quartiles_have_these_quartiles_by_group():
    draw = (np.arange(40_000) + 0.5) / 40_000
    groups = np.arange(40_000) % 2
    tables = [{0.25: 1.0, 0.5: 3.0, 0.75: 8.0}, {0.1: -1.0, 0.9: 1.0}]
    prior = prior_beliefs("inflation", "pp", tables, groups, np.where(groups, 2.0, 4.0), draw)
    assert np.quantile(prior.mean[groups == 0], [0.25, 0.5, 0.75]) == pytest.approx([1, 3, 8], abs=0.01)
    assert prior.mean[groups == 1].std() == pytest.approx(1 / stats.norm.ppf(0.9), rel=0.01)
    assert prior.spread[:2].tolist() == [4.0, 2.0]


@pytest.mark.parametrize(
    ("table", "sd", "message"),
    [
        pytest.param({0.5: 3.0}, 1.0, "at least two", id="one-quantile"),
        pytest.param({0.25: 3.0, 0.75: 1.0}, 1.0, "values that do not fall", id="falling"),
        pytest.param({0.0: 1.0, 0.5: 3.0}, 1.0, "probabilities between 0 and 1", id="zero"),
        pytest.param({0.25: 1.0, 0.75: 3.0}, 0.0, "sd 0 pp; allowed: above 0", id="sd"),
    ],
)
def test_quantiles_that_make_no_distribution_are_refused(table, sd, message):
    with pytest.raises(NetworkError, match=message):
        prior_beliefs("inflation", "pp", [table], [0], sd, np.array([0.5]))


def test_agreement_falls_with_the_distance_in_own_standard_deviations():
    close, sure = agreement(believed([3.0, 3.0], [0.25, 4.0]), said(4.0))
    assert -1 < sure < close < 1
    assert agreement(believed([4.0]), said(4.0))[0] == 1
