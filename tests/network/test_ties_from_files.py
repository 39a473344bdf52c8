import networkx as nx
import numpy as np
import pandas as pd
import pytest

from popsim.errors import NetworkError
from popsim.network import FileNetwork, build_network, from_networkx

PEOPLE = pd.DataFrame({"name": ["ann", "bob", "cem", "dee"]})
TIES = pd.DataFrame({"follower": ["ann", "ann", "cem"], "followed": ["bob", "cem", "ann"], "weight": [1.0, 3.0, 2.0]})
EXPECTED = [[0, 0.25, 0.75, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def read(path, id=None, people=PEOPLE):
    return build_network(FileNetwork(kind="file", path=str(path), id=id), people, np.random.default_rng(1))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "graphml"])
def test_ties_by_name_give_the_same_graph_from_every_kind_of_file(tmp_path, suffix):
    path = tmp_path / f"ties.{suffix}"
    if suffix == "csv":
        TIES.to_csv(path, index=False)
    elif suffix == "parquet":
        TIES.to_parquet(path)
    else:
        nx.write_graphml(nx.from_pandas_edgelist(TIES, "follower", "followed", "weight", nx.DiGraph), path)
    graph = read(path, "name")
    assert graph.toarray().tolist() == EXPECTED
    assert graph.dtype == np.float32
    assert graph.has_sorted_indices


def test_row_numbers_name_people_where_no_attribute_does(tmp_path):
    (tmp_path / "ties.csv").write_text("follower, followed\n0, 1\n0, 2\n")
    assert read(tmp_path / "ties.csv").toarray()[0].tolist() == [0, 0.5, 0.5, 0]
    pd.DataFrame({"follower": [0, 0], "followed": [1, 2]}).to_parquet(tmp_path / "ties.parquet")
    assert read(tmp_path / "ties.parquet").toarray()[0].tolist() == [0, 0.5, 0.5, 0]


def test_a_graphml_file_without_directions_is_followed_both_ways(tmp_path):
    graph = nx.Graph([(0, 1), (1, 2), (2, 3)])
    nx.write_graphml(graph, tmp_path / "ties.graphml")
    assert np.array_equal(read(tmp_path / "ties.graphml").toarray(), from_networkx(graph).toarray())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("from,to\n0,1\n", "column 'follower' is missing; it has from, to", id="columns"),
        pytest.param("follower,followed\n0,1\n0,9\n", "tie 2: followed '9' is nobody; allowed: 0 to 3", id="stranger"),
        pytest.param("follower,followed\n,1\n", "tie 1: follower 'nan' is nobody", id="gap"),
        pytest.param("follower,followed\n0,1\n2,2\n", "tie 2: '2' follows themselves; remove it", id="loop"),
        pytest.param("follower,followed\n0,1\n0,1\n", "tie 2: '0' follows '1' for the second time", id="twice"),
        pytest.param("follower,followed,weight\n0,1,-2\n", "tie 1: weight '-2'; allowed: numbers above 0", id="weight"),
        pytest.param("follower,followed,weight\n0,1,much\n", "tie 1: weight 'much'; allowed", id="text-weight"),
        pytest.param("", "cannot be read as csv", id="empty"),
        pytest.param('follower,followed\n"0,1\n', "cannot be read as csv", id="quote"),
    ],
)
def test_a_table_that_is_no_graph_of_these_people_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "ties.csv"
    path.write_text(text)
    with pytest.raises(NetworkError) as caught:
        read(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ties.parquet", "ties.graphml"])
def test_a_file_that_is_not_what_its_name_says_is_refused_in_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"no such thing")
    with pytest.raises(NetworkError, match="cannot be read as") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_name_of_several_people_are_refused(tmp_path):
    with pytest.raises(NetworkError, match="no such file"):
        read(tmp_path / "ties.csv")
    TIES.to_csv(tmp_path / "ties.csv", index=False)
    with pytest.raises(NetworkError, match="'ann' names several people"):
        read(tmp_path / "ties.csv", "name", pd.DataFrame({"name": ["ann", "ann"]}))
    with pytest.raises(NetworkError, match="'bob' is nobody; allowed: a value of name"):
        read(tmp_path / "ties.csv", "name", pd.DataFrame({"name": ["ann", "cem"]}))
