from itertools import pairwise

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popsim.errors import NetworkError
from popsim.network import (
    FollowNetwork,
    build_network,
    feed,
    from_networkx,
    summarise,
    tail_exponent,
    to_networkx,
)

PEOPLE = pd.DataFrame({"party": pd.Categorical(["a", "b", None] * 100), "age": range(300)})


def draw(seed=1, **keys):
    spec = FollowNetwork(kind="follow", mean_degree=6, homophily={"party": 4}, **keys)
    return build_network(spec, PEOPLE, np.random.default_rng(seed))


def test_a_round_trip_through_networkx_gives_the_same_graph():
    graph = draw()
    there = to_networkx(graph, PEOPLE)
    back = from_networkx(there)
    assert there.nodes[7]["age"] == 7
    assert list(there) == list(range(300))
    assert np.array_equal(back.indptr, graph.indptr)
    assert np.array_equal(back.indices, graph.indices)
    assert np.array_equal(back.data, graph.data)
    assert back.dtype == np.float32


def test_an_undirected_graph_is_followed_both_ways_whatever_the_order_of_its_nodes():
    graph = nx.Graph([(2, 0), (0, 1)])
    assert from_networkx(graph).toarray().tolist() == [[0, 0.5, 0.5], [1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        pytest.param(nx.DiGraph([("ann", "bob")]), "node 'ann' is no row number; allowed: 0 to 1", id="names"),
        pytest.param(nx.DiGraph([(0, 2)]), "node 2 is no row number; allowed: 0 to 1", id="gap"),
        pytest.param(nx.DiGraph([(0, 1), (1, 1)]), "person 1 follows themselves", id="loop"),
        pytest.param(nx.MultiDiGraph([(0, 1)]), "not a multigraph", id="multi"),
        pytest.param(nx.DiGraph([(0, 1, {"weight": 0})]), "weight 0 of the tie 0 to 1", id="zero"),
        pytest.param(nx.DiGraph([(0, 1, {"weight": "much"})]), "weight 'much' of the tie 0 to 1", id="text"),
        pytest.param(nx.DiGraph(), "it has no nodes", id="empty"),
    ],
)
def test_a_networkx_graph_that_is_no_follow_graph_is_refused(graph, message):
    with pytest.raises(NetworkError, match=message):
        from_networkx(graph)


def test_summary_figures_agree_with_networkx():
    graph = draw(reciprocity=0.3)
    reference = to_networkx(graph, PEOPLE.astype({"party": str}))
    figures = summarise(graph, PEOPLE, ["party"])
    assert figures["ties"] == reference.number_of_edges()
    assert figures["mean_degree"] == pytest.approx(np.mean([d for _, d in reference.out_degree]))
    assert figures["most_followers"] == max(d for _, d in reference.in_degree)
    assert figures["reciprocity"] == pytest.approx(nx.overall_reciprocity(reference))
    assert figures["largest_component"] == len(max(nx.weakly_connected_components(reference), key=len)) / 300
    assert figures["assortativity.party"] == pytest.approx(nx.attribute_assortativity_coefficient(reference, "party"))


def test_a_summary_leaves_out_what_cannot_be_told():
    nobody = from_networkx(nx.empty_graph(3, create_using=nx.DiGraph))
    figures = summarise(nobody, PEOPLE.head(3), ["party"])
    assert figures == {"people": 3, "ties": 0, "mean_degree": 0, "most_followers": 0, "largest_component": 1 / 3}


@pytest.mark.parametrize("exponent", [2.1, 2.5, 3.0])
def test_the_tail_exponent_of_power_law_draws_is_recovered(exponent):
    draws = np.random.default_rng(1).random(200_000) ** (-1 / (exponent - 1))
    assert tail_exponent(np.floor(3 * draws + 0.5).astype(int)) == pytest.approx(exponent, rel=0.06)


@given(st.lists(st.integers(-1, 5), max_size=12), st.integers(0, 14))
def test_the_feed_is_newest_then_strongest_first_and_limited(steps, limit):
    ties = [(7 * item) % 3 / 2 for item in range(len(steps))]
    shown = feed(steps, ties, limit)
    heard = [item for item, step in enumerate(steps) if step >= 0]
    assert len(shown) == min(limit, len(heard)) == len(set(shown) & set(heard))
    assert all((steps[a], ties[a], a) > (steps[b], ties[b], b) for a, b in pairwise(shown))
    left_out = set(heard) - set(shown)
    assert all((steps[a], ties[a], a) > (steps[b], ties[b], b) for a in shown for b in left_out)
