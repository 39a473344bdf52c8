import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats
from scipy.optimize import minimize

from popsim.errors import NetworkError
from popsim.network import (
    NetworkSpec,
    build_network,
    clustering,
    rewired,
    shuffled,
    summarise,
    to_networkx,
)

SPEC = TypeAdapter(NetworkSpec)
quick = settings(max_examples=40, deadline=None)


def draw(people, seed=1, **keys):
    people = pd.DataFrame(index=range(people)) if isinstance(people, int) else people
    return build_network(SPEC.validate_python(keys), people, np.random.default_rng(seed))


def crowd(n, seed=0):
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {"party": generator.choice(list("abc"), n, p=[0.3, 0.45, 0.25]), "home": generator.choice(["own", "rent"], n)}
    )


def is_simple(graph):
    row = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    return not (row == graph.indices).any() and len(np.unique(row << 32 | graph.indices)) == graph.nnz


def odds_of_likes(graph, people, names):
    """Maximum likelihood of a conditional logit in which each cell of people has a popularity of its own."""
    codes = [pd.factorize(people[name])[0] for name in names]
    cell, first = np.unique(np.stack(codes), axis=1, return_inverse=True, return_index=True)[1:][::-1]
    k = len(first)
    same = np.array([code[first][:, None] == code[first] for code in codes], dtype=float)
    row = np.repeat(np.arange(len(people)), np.diff(graph.indptr))
    count = np.bincount(cell[row] * k + cell[graph.indices], minlength=k * k).reshape(k, k)

    def loss(guess):
        utility = np.append(0, guess[: k - 1]) + np.tensordot(guess[k - 1 :], same, 1)
        return -(count * (utility - np.log(np.exp(utility).sum(axis=1, keepdims=True)))).sum() / count.sum()

    return np.exp(minimize(loss, np.zeros(k - 1 + len(names))).x[k - 1 :])


@pytest.mark.parametrize(("tail", "reciprocity", "closure"), [(2.5, 0.22, 0.3), (2.8, 0.42, 0.6), (2.3, 0.22, 0.0)])
def test_a_follow_graph_has_everything_asked_for_at_once(tail, reciprocity, closure):
    people, homophily = crowd(20_000), {"party": 3.0, "home": 2.0}
    keys = {"tail_exponent": tail, "reciprocity": reciprocity, "closure": closure, "homophily": homophily}
    graph = draw(people, kind="follow", mean_degree=12, **keys)
    figures = summarise(graph, people)
    assert is_simple(graph)
    assert figures["mean_degree"] == pytest.approx(12, rel=0.02)
    assert figures["tail_exponent"] == pytest.approx(tail, rel=0.1)
    assert figures["reciprocity"] == pytest.approx(reciprocity, rel=0.1)
    assert odds_of_likes(graph, people, homophily) == pytest.approx([3, 2], rel=0.1)


@pytest.mark.parametrize("odds", [0.2, 3.0, 10.0])
@pytest.mark.parametrize("closure", [0.0, 0.5])
def test_homophily_holds_between_groups_of_very_uneven_size_when_ties_are_returned(odds, closure):
    people = pd.DataFrame({"party": np.random.default_rng(2).choice(["most", "few"], 20_000, p=[0.9, 0.1])})
    keys = {"mean_degree": 10, "reciprocity": 0.3, "tail_exponent": 3, "closure": closure}
    graph = draw(people, kind="follow", homophily={"party": odds}, **keys)
    assert odds_of_likes(graph, people, ["party"]) == pytest.approx([odds], rel=0.1)


def share_closed(graph):
    ties = graph.copy()
    ties.data[:] = 1
    return ((ties @ ties).multiply(ties)).nnz / ties.nnz


@pytest.mark.parametrize("closure", [0.2, 0.5, 0.7])
def test_closure_is_the_share_of_ties_within_two_steps_beyond_chance(closure):
    keys = {"kind": "follow", "mean_degree": 8, "tail_exponent": 4}
    by_chance = share_closed(draw(20_000, **keys))
    closed = share_closed(draw(20_000, **keys, closure=closure))
    assert by_chance < 0.01
    assert closed == pytest.approx(closure, rel=0.1)


def test_closure_raises_clustering_and_leaves_who_is_followed_alone():
    keys = {"kind": "follow", "mean_degree": 8, "tail_exponent": 3}
    open_graph, closed_graph = draw(20_000, **keys), draw(20_000, **keys, closure=0.6)
    assert clustering(closed_graph) > 5 * clustering(open_graph)
    assert stats.ks_2samp(np.diff(open_graph.indptr), np.diff(closed_graph.indptr)).pvalue > 1e-4
    famous = [np.sort(np.bincount(g.indices, minlength=20_000))[-200:].sum() for g in (open_graph, closed_graph)]
    assert famous[1] == pytest.approx(famous[0], rel=0.2)


@quick
@given(st.integers(2, 40), st.floats(0.01, 1), st.floats(0, 0.7), st.floats(0.001, 1000), st.integers(0, 999))
def test_any_closure_gives_a_simple_graph_of_the_mean_degree(n, share, closure, odds, seed):
    keys = {"kind": "follow", "mean_degree": share * (n - 1), "closure": closure, "homophily": {"party": odds}}
    graph = draw(crowd(n, seed), seed, **keys)
    assert is_simple(graph)
    spread = np.sqrt(n * (n - 1) * share * (1 - share))
    assert abs(graph.nnz - share * n * (n - 1)) <= 6 * spread + 1e-6


@quick
@given(st.integers(3, 60), st.integers(1, 6), st.floats(0, 1), st.integers(0, 999))
def test_a_small_world_keeps_its_number_of_mutual_ties(n, half, shortcuts, seed):
    half = min(half, (n - 1) // 2)
    graph = draw(n, seed, kind="small_world", mean_degree=2 * half, shortcuts=shortcuts)
    assert is_simple(graph)
    assert graph.nnz == 2 * half * n
    assert ((graph > 0) != (graph > 0).T).nnz == 0


def test_a_small_world_is_clustered_as_watts_and_strogatz_say():
    found = {p: draw(3000, kind="small_world", mean_degree=10, shortcuts=p) for p in (0.0, 0.1, 1.0)}
    assert clustering(found[0.0]) == pytest.approx(3 * (10 - 2) / (4 * (10 - 1)))
    reference = np.mean([nx.average_clustering(nx.watts_strogatz_graph(3000, 10, 0.1, seed=s)) for s in range(3)])
    assert clustering(found[0.1]) == pytest.approx(reference, abs=0.02)
    assert clustering(found[1.0]) < 0.02


def test_preferential_attachment_has_the_degrees_of_networkx():
    ours = draw(3000, kind="preferential", mean_degree=8)
    assert is_simple(ours)
    assert nx.is_connected(to_networkx(ours).to_undirected())
    assert ours.nnz / 3000 == pytest.approx(8, rel=0.02)
    reference = np.array([d for _, d in nx.barabasi_albert_graph(3000, 4, seed=1).degree])
    degree = np.diff(ours.indptr)
    assert np.quantile(degree, [0.5, 0.9, 0.99]) == pytest.approx(np.quantile(reference, [0.5, 0.9, 0.99]), rel=0.15)
    assert abs(stats.spearmanr(np.arange(3000), degree).statistic) < 0.1


def test_blocks_follow_as_many_of_each_block_as_the_mixing_says():
    people = crowd(6000)
    mixing = {"a": {"a": 8, "b": 2}, "b": {"a": 0.5, "b": 4, "c": 3}, "c": {}}
    graph = draw(people, kind="block", attribute="party", mixing=mixing)
    party = people.party.to_numpy()
    row = np.repeat(party, np.diff(graph.indptr))
    assert is_simple(graph)
    for mine in "abc":
        for theirs in "abc":
            expected = mixing[mine].get(theirs, 0) * (party == mine).sum()
            got = ((row == mine) & (party[graph.indices] == theirs)).sum()
            assert abs(got - expected) <= 4.5 * np.sqrt(expected)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        pytest.param({"attribute": "partei", "mixing": {"a": {}}}, "no 'partei'; did you mean party?", id="attribute"),
        pytest.param({"attribute": "party", "mixing": {"a": {}, "b": {}}}, "party 'c', which has no row", id="value"),
        pytest.param(
            {"attribute": "party", "mixing": {"a": {"b": 50}, "b": {}, "c": {}}},
            "network.mixing.a.b: 50 is too many of",
            id="too-many",
        ),
    ],
)
def test_blocks_that_these_people_cannot_have_are_refused(keys, message):
    with pytest.raises(NetworkError) as caught:
        draw(crowd(30), kind="block", **keys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": "small_world", "mean_degree": 3},
        {"kind": "preferential", "mean_degree": 0},
        {"kind": "small_world", "mean_degree": 4, "shortcuts": 1.5},
        {"kind": "block", "attribute": "party", "mixing": {"a": {"z": 1}}},
        {"kind": "file", "path": "ties.xlsx"},
        {"kind": "follow", "mean_degree": 4, "placebo": "random"},
        {"kind": "follow", "mean_degree": 4, "closure": 1},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(keys):
    with pytest.raises(ValidationError):
        SPEC.validate_python(keys)


@pytest.mark.parametrize("kind", ["small_world", "preferential"])
def test_too_few_people_are_said_in_one_line(kind):
    with pytest.raises(NetworkError, match="8 is too many for 8 people; allowed: up to 7"):
        draw(8, kind=kind, mean_degree=8)


@quick
@given(st.integers(2, 40), st.floats(0.02, 1), st.integers(0, 999))
def test_rewiring_keeps_how_many_each_follows_and_is_followed_by(n, share, seed):
    graph = draw(n, seed, kind="follow", mean_degree=share * (n - 1))
    placebo = rewired(graph, np.random.default_rng(seed))
    assert np.array_equal(placebo.indptr, graph.indptr)
    assert np.array_equal(np.bincount(placebo.indices, minlength=n), np.bincount(graph.indices, minlength=n))
    assert is_simple(placebo)
    assert placebo.has_sorted_indices
    assert np.allclose(placebo.sum(axis=1), graph.sum(axis=1), atol=1e-6)


def test_rewiring_leaves_homophily_closure_and_reciprocity_to_chance():
    people = crowd(5000)
    keys = {"homophily": {"party": 5}, "reciprocity": 0.4, "closure": 0.5, "tail_exponent": 4}
    graph = draw(people, kind="follow", mean_degree=8, **keys)
    placebo = draw(people, kind="follow", mean_degree=8, **keys, placebo="rewired")
    before, after = (summarise(g, people, ["party"]) for g in (graph, placebo))
    assert before["assortativity.party"] > 0.3
    assert abs(after["assortativity.party"]) < 4.5 / np.sqrt(graph.nnz)
    assert after["reciprocity"] < 0.02
    assert after["clustering"] < before["clustering"] / 5
    assert after["most_followers"] == before["most_followers"]
    kept = (graph > 0).multiply(placebo > 0).nnz / graph.nnz
    assert kept < 0.02


def test_rewiring_draws_every_graph_of_these_degrees_as_often():
    """Four people on a directed ring have nine graphs in which each follows one other and is followed by one."""
    ring = nx.to_scipy_sparse_array(nx.cycle_graph(4, create_using=nx.DiGraph), dtype=float, format="csr")
    generator = np.random.default_rng(3)
    seen = pd.Series([tuple(rewired(ring, generator, rounds=60).indices.tolist()) for _ in range(450)]).value_counts()
    assert len(seen) == 9
    assert stats.chisquare(seen).pvalue > 1e-4


def test_shuffling_keeps_the_graph_and_forgets_who_is_where():
    people = crowd(3000)
    graph = draw(people, kind="follow", mean_degree=8, homophily={"party": 8}, tail_exponent=4)
    placebo = shuffled(graph, np.random.default_rng(4))
    before, after = (summarise(g, people, ["party"]) for g in (graph, placebo))
    gone = after.pop("assortativity.party")
    assert before.pop("assortativity.party") > 0.3
    assert abs(gone) < 4.5 / np.sqrt(graph.nnz)
    assert after == before
    assert not np.array_equal(placebo.indices, graph.indices)
    small = draw(7, kind="follow", mean_degree=2)
    assert nx.is_isomorphic(to_networkx(small), to_networkx(shuffled(small, np.random.default_rng(1))))


def test_the_placebo_none_has_no_ties_and_the_graph_is_the_same_without_a_placebo():
    assert draw(50, kind="follow", mean_degree=4, placebo="none").nnz == 0
    plain, placebo = draw(50, kind="small_world", mean_degree=4), draw(50, kind="small_world", mean_degree=4)
    assert np.array_equal(plain.indices, placebo.indices)


def test_clustering_counts_ties_among_those_followed_exactly_and_a_sample_comes_close(monkeypatch):
    graph = draw(400, kind="follow", mean_degree=10, closure=0.5, tail_exponent=3)
    ties = graph.toarray() > 0
    exact = np.mean([ties[np.ix_(row, row)].sum() / (row.sum() * (row.sum() - 1)) for row in ties if row.sum() > 1])
    assert clustering(graph) == pytest.approx(exact)
    monkeypatch.setattr("popsim.network.summary._MOST_PATHS", 0)
    assert abs(clustering(graph) - exact) < 4.5 * np.sqrt(exact / 200_000)
