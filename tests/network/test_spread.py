import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from popsim.network import FollowNetwork, build_network, first_hearers, followers, from_networkx, spread_step
from popsim.network.feed import NEVER


def draw(n, seed, mean_degree=4.0):
    spec = FollowNetwork(kind="follow", mean_degree=min(mean_degree, n - 1))
    return build_network(spec, pd.DataFrame(index=range(n)), np.random.default_rng(seed))


def cascade(graph, first, key, probability):
    """Run a cascade to its end: step and teller of each person, NEVER where there is none."""
    turned = followers(graph)
    heard_step = np.where(first, 0, NEVER)
    told_by = np.full(len(first), NEVER)
    frontier, step = np.flatnonzero(first), 0
    while len(frontier):
        step += 1
        frontier, tellers = spread_step(turned, frontier, heard_step != NEVER, key, probability)
        heard_step[frontier], told_by[frontier] = step, tellers
    return heard_step, told_by


quick = settings(max_examples=60, deadline=None)
any_graph = st.builds(draw, st.integers(2, 60), st.integers(0, 1000), st.floats(0.5, 8))
keys = st.integers(0, 2**63 - 1)
shares = st.floats(0, 1)


@quick
@given(any_graph, keys, shares, shares, shares, shares)
def test_more_reach_or_probability_never_means_fewer_or_later_hearers(graph, key, r1, r2, p1, p2):
    n = graph.shape[0]
    less, _ = cascade(graph, first_hearers(key, n, min(r1, r2)), key, min(p1, p2))
    more, _ = cascade(graph, first_hearers(key, n, max(r1, r2)), key, max(p1, p2))
    assert ((less == NEVER) | ((more != NEVER) & (more <= less))).all()


@quick
@given(any_graph, keys, shares)
def test_whoever_was_reached_was_told_by_someone_they_follow_one_step_before(graph, key, probability):
    n = graph.shape[0]
    heard_step, told_by = cascade(graph, first_hearers(key, n, 0.2), key, probability)
    reached = np.flatnonzero(heard_step > 0)
    assert (heard_step[told_by[reached]] == heard_step[reached] - 1).all()
    assert (graph.toarray()[reached, told_by[reached]] > 0).all()


@quick
@given(any_graph, keys, shares, st.randoms())
def test_the_order_of_the_frontier_and_other_items_change_nothing(graph, key, probability, random):
    n = graph.shape[0]
    heard = first_hearers(key, n, 0.3)
    frontier = np.flatnonzero(heard)
    shuffled = frontier.copy()
    random.shuffle(shuffled)
    people, tellers = spread_step(followers(graph), frontier, heard, key, probability)
    again = spread_step(followers(graph), shuffled, heard, key, probability)
    assert np.array_equal(people, again.people)
    assert np.array_equal(tellers, again.told_by)
    assert not heard[people].any()


def test_probability_one_reaches_all_who_follow_someone_reached():
    graph = draw(300, 3, 1.5)
    first = first_hearers(11, 300, 0.05)
    heard_step, _ = cascade(graph, first, 11, 1.0)
    turned = nx.from_scipy_sparse_array(followers(graph), create_using=nx.DiGraph)
    distance = nx.multi_source_dijkstra_path_length(turned, set(np.flatnonzero(first).tolist()), weight=None)
    expected = np.full(300, NEVER)
    expected[list(distance)] = list(distance.values())
    assert np.array_equal(heard_step, expected)


def test_reach_of_nobody_and_of_everybody():
    assert not first_hearers(3, 1000, 0.0).any()
    assert first_hearers(3, 1000, 1.0).all()
    count = first_hearers(3, 100_000, 0.2).sum()
    assert stats.binomtest(int(count), 100_000, 0.2).pvalue > 1e-5


def test_two_items_draw_apart():
    both = first_hearers(1, 100_000, 0.3) & first_hearers(2, 100_000, 0.3)
    assert stats.binomtest(int(both.sum()), 100_000, 0.09).pvalue > 1e-5


def test_the_teller_is_the_one_given_most_attention():
    graph = from_networkx(nx.DiGraph([(0, 1, {"weight": 1}), (0, 2, {"weight": 3}), (0, 3, {"weight": 2})]))
    heard = np.array([False, True, True, True])
    for key in range(20):
        assert spread_step(followers(graph), np.flatnonzero(heard), heard, key, 1.0).told_by.tolist() == [2]


def test_among_equals_each_is_the_teller_as_often():
    graph = from_networkx(nx.DiGraph([(0, 1), (0, 2), (0, 3)]))
    heard = np.array([False, True, True, True])
    turned = followers(graph)
    told = [int(spread_step(turned, np.flatnonzero(heard), heard, key, 1.0).told_by[0]) for key in range(900)]
    assert stats.chisquare(np.bincount(told, minlength=4)[1:]).pvalue > 1e-4


def plain_reach(followed_by, first, probability, generator):
    """An independent cascade as networkx users write it."""
    reached, frontier = set(first), list(first)
    while frontier:
        told = [
            follower
            for person in frontier
            for follower in followed_by.successors(person)
            if follower not in reached and generator.random() < probability
        ]
        frontier = list(dict.fromkeys(told))
        reached.update(frontier)
    return len(reached)


@pytest.mark.parametrize("probability", [0.15, 0.3])
def test_reach_is_distributed_as_that_of_a_plain_networkx_loop(probability):
    graph = draw(400, 5, 5)
    followed_by = nx.from_scipy_sparse_array(followers(graph), create_using=nx.DiGraph)
    first = np.isin(np.arange(400), [1, 2, 3])
    generator = np.random.default_rng(1)
    ours = [(cascade(graph, first, key, probability)[0] != NEVER).sum() for key in range(200)]
    plain = [plain_reach(followed_by, [1, 2, 3], probability, generator) for _ in range(200)]
    assert np.std(ours) > 1
    assert stats.ks_2samp(ours, plain).pvalue > 0.01


def test_nobody_to_tell_is_no_error():
    graph = draw(10, 1)
    reached = spread_step(followers(graph), np.flatnonzero(np.zeros(10)), np.zeros(10, dtype=bool), 1, 1.0)
    assert len(reached.people) == len(reached.told_by) == 0
