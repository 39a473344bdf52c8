import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from popsim.network import (
    FollowNetwork,
    Item,
    assigned,
    attribute_weight,
    build_network,
    first_hearers,
    followers,
    from_networkx,
    most_followed,
    never_heard,
    share_probability,
    spread_items,
    spread_step,
    tellings,
    threshold_step,
)
from popsim.network import cascade as cascade_of
from popsim.network.feed import NEVER
from popsim.streams import uniform


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


@quick
@given(any_graph, keys, shares, shares, st.integers(0, 999))
def test_whoever_shares_more_never_reaches_fewer(graph, key, reach, probability, seed):
    n = graph.shape[0]
    one, other = np.random.default_rng(seed).random((2, n)) * probability
    less = cascade_of(followers(graph), first_hearers(key, n, reach), key, np.minimum(one, other))
    more = cascade_of(followers(graph), first_hearers(key, n, reach), key, np.maximum(one, other))
    assert ((less == NEVER) | ((more != NEVER) & (more <= less))).all()


@quick
@given(any_graph, keys, shares, shares)
def test_the_whole_cascade_is_its_steps_one_after_the_other(graph, key, reach, probability):
    first = first_hearers(key, graph.shape[0], reach)
    heard_step, _ = cascade(graph, first, key, probability)
    assert np.array_equal(cascade_of(followers(graph), first, key, probability), heard_step)


@quick
@given(any_graph, keys, shares, shares)
def test_blocks_of_the_frontier_change_nothing(graph, key, reach, probability):
    heard = first_hearers(key, graph.shape[0], reach)
    frontier = np.flatnonzero(heard)
    whole = spread_step(followers(graph), frontier, heard, key, probability)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("popsim.network.spread._BLOCK", 2)
        blocks = spread_step(followers(graph), frontier, heard, key, probability)
    assert np.array_equal(whole.people, blocks.people)
    assert np.array_equal(whole.told_by, blocks.told_by)


@quick
@given(any_graph, keys, shares)
def test_every_telling_is_counted_and_the_first_ones_are_those_that_reach(graph, key, probability):
    n = graph.shape[0]
    heard = first_hearers(key, n, 0.4)
    frontier = np.flatnonzero(heard)
    counts = tellings(followers(graph), frontier, key, probability)
    reached = spread_step(followers(graph), frontier, heard, key, probability)
    assert np.array_equal(np.flatnonzero((counts > 0) & ~heard), reached.people)
    assert (counts <= (graph.toarray()[:, frontier] > 0).sum(axis=1)).all()
    assert tellings(followers(graph), frontier, key, 1.0).sum() == (graph.toarray()[:, frontier] > 0).sum()


def plain_threshold(follows, first, threshold):
    """A linear threshold as its definition says it: look at everyone until nothing changes."""
    heard_at, step = np.where(first, 0, NEVER), 0
    while True:
        step += 1
        has = heard_at != NEVER
        new = ~has & (follows @ has >= threshold - 1e-5) & (follows @ has > 0)
        if not new.any():
            return heard_at
        heard_at[new] = step


@quick
@given(any_graph, keys, shares)
def test_items_with_a_threshold_are_taken_up_as_the_definition_says(graph, key, reach):
    n = graph.shape[0]
    first = first_hearers(key, n, reach)
    heard_at, told_by = never_heard(n, 1), never_heard(n, 1)
    heard_at[first, 0] = 0
    pressure, heard, frontier = np.zeros(n), first.copy(), np.flatnonzero(first)
    for step in range(1, n + 1):
        spread_items(followers(graph), [Item(key=key, rule="threshold")], step, heard_at, told_by)
        reached, pressure = threshold_step(followers(graph), frontier, heard, key, pressure)
        assert np.array_equal(reached.people, np.flatnonzero(heard_at[:, 0] == step))
        frontier = reached.people
        heard[frontier] = True
    expected = plain_threshold(graph.toarray().astype(np.float64), first, uniform(key, 2, np.arange(n)))
    assert np.array_equal(heard_at[:, 0], expected)
    later = np.flatnonzero(heard_at[:, 0] > 0)
    assert (graph.toarray()[later, told_by[later, 0]] > 0).all()
    assert (heard_at[told_by[later, 0], 0] == heard_at[later, 0] - 1).all()


@quick
@given(any_graph, keys, shares, shares)
def test_with_thresholds_too_more_first_hearers_reach_a_superset(graph, key, one, other):
    n = graph.shape[0]
    found = []
    for reach in sorted((one, other)):
        heard_at, told_by = never_heard(n, 1), never_heard(n, 1)
        heard_at[first_hearers(key, n, reach), 0] = 0
        for step in range(1, n + 1):
            spread_items(followers(graph), [Item(key=key, rule="threshold")], step, heard_at, told_by)
        found.append(heard_at[:, 0] != NEVER)
    assert (found[0] <= found[1]).all()


def test_items_move_apart_from_their_start_to_the_end_of_their_life():
    line = followers(from_networkx(nx.DiGraph([(i + 1, i) for i in range(9)])))
    items = [Item(key=1), Item(key=2, start=2), Item(key=3, life=3), Item(key=4, start=1, life=2, rule="threshold")]
    heard_at, told_by = never_heard(10, 4), never_heard(10, 4)
    for step in range(10):
        spread_items(line, items, step, heard_at, told_by)
        for k, item in enumerate(items):
            if item.start == step:
                heard_at[0, k] = step
    assert heard_at[:, 0].tolist() == list(range(10))
    assert heard_at[:, 1].tolist() == [2, 3, 4, 5, 6, 7, 8, 9, NEVER, NEVER]
    assert heard_at[:, 2].tolist() == [0, 1, 2, 3] + [NEVER] * 6
    assert heard_at[:, 3].tolist() == [1, 2, 3] + [NEVER] * 7
    assert told_by[:4, 2].tolist() == [NEVER, 0, 1, 2]


@quick
@given(st.integers(1, 50), shares, shares, keys, st.integers(0, 999))
def test_weighted_first_hearers_have_the_reach_and_a_larger_one_is_a_superset(n, one, other, key, seed):
    weight = np.random.default_rng(seed).choice([0.0, 1.0, 5.0, 40.0], n)
    less, more = (first_hearers(key, n, reach, weight) for reach in sorted((one, other)))
    assert (less <= more).all()
    assert not more[weight == 0].any()
    assert first_hearers(key, n, 1.0, weight)[weight > 0].all()


def test_weighted_first_hearers_are_drawn_in_proportion_and_their_mean_is_the_reach():
    people = pd.DataFrame({"party": ["a", "b", None, "c"] * 25_000})
    weight = attribute_weight(people, {"party": {"b": 3.0, "c": 100.0}})
    assert weight[:4].tolist() == [1, 3, 1, 100]
    shares_of = first_hearers(7, 100_000, 0.4, weight).reshape(-1, 4).mean(axis=0)
    assert shares_of == pytest.approx([0.12, 0.36, 0.12, 1.0], abs=0.01)


def test_the_most_followed_hear_first():
    turned = followers(draw(200, 4, 5))
    hears = most_followed(turned, 0.05)
    count = np.diff(turned.indptr)
    assert hears.sum() == 10
    assert count[hears].min() >= count[~hears].max()
    assert (hears <= most_followed(turned, 0.1)).all()
    assert not most_followed(turned, 0.0).any()


def test_who_is_treated_does_not_hang_on_who_hears_first():
    treated, hears = assigned(9, 100_000, 0.5), first_hearers(9, 100_000, 0.5)
    assert (assigned(9, 100_000, 0.3) <= treated).all()
    assert stats.binomtest(int((treated & hears).sum()), 100_000, 0.25).pvalue > 1e-5


@given(st.floats(0, 1), st.floats(-3, 3), st.floats(-3, 3))
def test_the_chance_to_share_follows_confidence_and_agreement(base, by_confidence, by_agreement):
    chance = share_probability(
        base,
        np.array([0.5, 0.0, 1.0, 0.5]),
        np.array([0.0, 0.0, 0.0, 1.0]),
        by_confidence=by_confidence,
        by_agreement=by_agreement,
    )
    assert ((chance >= 0) & (chance <= 1)).all()
    assert chance[0] == pytest.approx(base)
    if 0.01 < base < 0.99:
        log_odds = np.log(chance / (1 - chance)) - np.log(base / (1 - base))
        assert log_odds == pytest.approx([0, -by_confidence, by_confidence, by_agreement], abs=1e-6)
