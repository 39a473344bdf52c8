import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from popsim.errors import NetworkError
from popsim.network import FollowNetwork, NetworkSpec, NoNetwork, build_network, summarise, to_networkx
from popsim.network import follow as follow_module
from popsim.streams import rng

Z = 4.5  # two-sided chance below 1e-5, and every seed is fixed


def follow(**keys):
    return FollowNetwork(kind="follow", **keys)


def draw(people, seed=1, **keys):
    return build_network(follow(**keys), people, rng(seed, "network"))


def parties(n, names="abc", seed=0):
    return pd.DataFrame({"party": pd.Categorical(np.random.default_rng(seed).choice(list(names), n))})


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 60),
    share=st.floats(0.01, 1),
    odds=st.floats(0.001, 1000),
    tail=st.floats(2.1, 10),
    seed=st.integers(0, 2**20),
)
def test_any_spec_gives_a_simple_graph_whose_attention_sums_to_one(n, share, odds, tail, seed):
    people = parties(n, seed=seed)
    keys = {"mean_degree": share * (n - 1), "homophily": {"party": odds}, "tail_exponent": tail}
    built = draw(people, seed, **keys)
    dense = built.toarray()
    assert dense.diagonal().sum() == 0
    assert built.nnz == np.count_nonzero(dense) == len(np.unique(built.tocoo().row * n + built.indices))
    assert (built.data > 0).all()
    assert built.dtype == np.float32
    assert built.indices.dtype == np.int32
    assert built.has_sorted_indices
    assert np.allclose(dense.sum(axis=1)[np.diff(built.indptr) > 0], 1)
    again = draw(people, seed, **keys)
    assert (built.indptr == again.indptr).all()
    assert (built.indices == again.indices).all()


@pytest.mark.parametrize("rounds", [0, 1, 16])
def test_ties_are_drawn_as_by_sequential_sampling_without_replacement(rounds, monkeypatch):
    monkeypatch.setattr(follow_module, "_ROUNDS", rounds)
    n, repeats, odds = 24, 200, 4.0
    people = parties(n)
    same = people.party.to_numpy()[:, None] == people.party.to_numpy()
    generator = np.random.default_rng(5)
    figures = np.empty((repeats, 2, 3))
    for i in range(repeats):
        ties = draw(people, i, mean_degree=9, homophily={"party": odds}).toarray() > 0
        fame = generator.permutation(follow_module._fame(n, 2.3))
        plain = np.zeros((n, n), dtype=bool)
        for person, k in enumerate(generator.binomial(n - 1, 9 / (n - 1), n)):
            weight = fame * np.where(same[person], odds, 1.0) * (np.arange(n) != person)
            plain[person, generator.choice(n, k, replace=False, p=weight / weight.sum())] = True
        for j, matrix in enumerate((ties, plain)):
            figures[i, j] = matrix.sum(), matrix[same].mean(), matrix.sum(axis=0).std()
    gap = figures[:, 0].mean(axis=0) - figures[:, 1].mean(axis=0)
    error = np.sqrt(figures.var(axis=0).sum(axis=0) / repeats)
    assert (np.abs(gap) < Z * error).all(), gap / error


def test_mean_degree_is_met_and_followers_have_a_heavy_tail():
    built = draw(parties(30_000), mean_degree=10, homophily={"party": 3}, tail_exponent=2.5)
    figures = summarise(built, parties(30_000))
    assert abs(built.nnz - 300_000) < Z * np.sqrt(300_000)
    assert abs(figures["tail_exponent"] / 2.5 - 1) < 0.1
    followers = np.bincount(built.indices, minlength=30_000)
    assert (followers > stats.poisson(10).ppf(1 - 1e-9)).mean() > 0.01
    assert np.diff(built.indptr).max() < stats.poisson(10).ppf(1 - 1e-9)


@pytest.mark.parametrize("odds", [0.5, 1.0, 3.0, 10.0])
def test_homophily_is_the_odds_ratio_of_a_tie_to_a_like_person(odds):
    people = parties(20_000)
    party = people.party.cat.codes.to_numpy()
    built = draw(people, mean_degree=10, homophily={"party": odds}, tail_exponent=6)
    like = (np.repeat(party, np.diff(built.indptr)) == party[built.indices]).mean()
    alike = (np.bincount(party) / len(party)) ** 2
    measured = like / (1 - like) * (1 - alike.sum()) / alike.sum()
    assert abs(measured / odds - 1) < 0.1


def test_more_homophily_gives_more_assortativity_and_none_gives_none():
    people = parties(3000)
    found = [
        nx.attribute_assortativity_coefficient(
            to_networkx(draw(people, mean_degree=8, homophily={"party": odds}, tail_exponent=4), people), "party"
        )
        for odds in (1.0, 2.0, 8.0)
    ]
    assert abs(found[0]) < Z / np.sqrt(24_000)
    assert found[0] + 0.1 < found[1] < found[2] - 0.1


def test_attributes_multiply_and_a_missing_value_is_a_value():
    people = pd.DataFrame({"party": [None, "a"] * 2000, "home": [True, True, False, False] * 1000})
    built = draw(people, mean_degree=10, homophily={"party": 3, "home": 2}, tail_exponent=8)
    row = np.repeat(np.arange(4000), np.diff(built.indptr))
    cell = people.fillna({"party": "-"}).groupby(["party", "home"]).ngroup().to_numpy()
    shares = np.bincount((cell[row] ^ cell[built.indices]) & 3, minlength=4) / built.nnz
    assert np.allclose(shares, np.array([6, 3, 2, 1]) / 12, atol=0.03)


@pytest.mark.parametrize("reciprocity", [0.1, 0.22, 0.6, 1.0])
def test_reciprocity_and_mean_degree_are_met_together(reciprocity):
    built = draw(parties(2000), mean_degree=10, homophily={"party": 5}, tail_exponent=2.8, reciprocity=reciprocity)
    assert abs(nx.overall_reciprocity(to_networkx(built)) / reciprocity - 1) < 0.05
    assert abs(built.nnz / 20_000 - 1) < 0.05
    assert np.allclose(np.asarray(built.sum(axis=1))[np.diff(built.indptr) > 0], 1)


def test_everyone_follows_everyone_at_the_largest_mean_degree():
    for n in (2, 3, 40):
        assert draw(parties(n), mean_degree=n - 1).nnz == n * (n - 1)


def test_no_network_has_no_ties():
    assert build_network(NoNetwork(kind="none"), parties(1), rng(1, "network")).shape == (1, 1)
    assert build_network(NoNetwork(kind="none"), parties(50), rng(1, "network")).nnz == 0


@pytest.mark.parametrize(
    ("n", "keys", "message"),
    [
        pytest.param(1, {"mean_degree": 1}, "1 is too many for 1 people; allowed: up to 0", id="one-person"),
        pytest.param(5, {"mean_degree": 4.5}, "4.5 is too many for 5 people; allowed: up to 4", id="dense"),
        pytest.param(
            5, {"mean_degree": 1, "homophily": {"partei": 2}}, "no 'partei'; did you mean party? Allowed: party",
            id="unknown-attribute",
        ),
        pytest.param(20, {"mean_degree": 10, "reciprocity": 0.1}, "0.1 is less than the 0.", id="reciprocity"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_said_in_one_line(n, keys, message):
    with pytest.raises(NetworkError) as caught:
        draw(parties(n), **keys)
    assert message in str(caught.value)
    assert str(caught.value).startswith("network.")
    assert "\n" not in str(caught.value)


def test_too_many_combinations_of_values_are_refused():
    with pytest.raises(NetworkError, match="income have 3000 combinations of values"):
        draw(pd.DataFrame({"income": range(3000)}), mean_degree=3, homophily={"income": 2})


def test_a_spec_is_told_apart_by_kind_and_refuses_nonsense():
    adapter = TypeAdapter(NetworkSpec)
    assert adapter.validate_python({"kind": "none"}) == NoNetwork(kind="none")
    assert adapter.validate_python({"kind": "follow", "mean_degree": 3}) == follow(mean_degree=3)
    for wrong in ({"mean_degree": 0}, {"mean_degree": 3, "homophily": {"party": 0}}, {"mean_degree": 3, "closure": 1}):
        with pytest.raises(ValidationError):
            adapter.validate_python({"kind": "follow", **wrong})
