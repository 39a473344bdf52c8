"""Follow graphs from and to networkx."""

from numbers import Real

import networkx as nx
import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from popsim.errors import NetworkError
from popsim.network.graph import share_attention


def to_networkx(graph: csr_array, people: pd.DataFrame | None = None) -> nx.DiGraph:
    """Make a networkx graph with a tie from each follower to each person followed.

    Args:
        graph: The follow graph.
        people: The population; its columns become attributes of the nodes.

    Returns:
        Nodes 0 to n - 1 in this order; the attention of a tie is its ``weight``.

    Example:
        >>> list(to_networkx(csr_array(np.array([[0, 1], [0, 0]], dtype=np.float32))).edges(data=True))
        [(0, 1, {'weight': 1.0})]
    """
    result = nx.DiGraph()
    rows = range(graph.shape[0])
    result.add_nodes_from(rows if people is None else zip(rows, people.to_dict("records"), strict=True))
    ties = graph.tocoo()
    result.add_weighted_edges_from(zip(ties.row.tolist(), ties.col.tolist(), ties.data.tolist(), strict=True))
    return result


def from_networkx(graph: nx.Graph) -> csr_array:
    """Make a follow graph from a networkx graph.

    Args:
        graph: Its nodes are the row numbers 0 to n - 1, and a tie runs from the follower to the followed, or both ways
            in an undirected graph. A tie's ``weight``, 1 where it has none, says how much attention it gets.

    Returns:
        The follow graph, with each person's attention scaled to sum to 1.

    Raises:
        NetworkError: Nodes are no row numbers, a tie stands twice or leads to its own node, a weight is not positive.

    Example:
        >>> from_networkx(nx.DiGraph([(0, 1), (0, 2)])).toarray().tolist()
        [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    n = graph.number_of_nodes()
    if n == 0:
        raise NetworkError("networkx graph: it has no nodes; needed: one per person")
    if set(graph.nodes) != set(range(n)):
        stranger = next(node for node in graph.nodes if node not in range(n))
        raise NetworkError(f"networkx graph: node {stranger!r} is no row number; allowed: 0 to {n - 1}, each once")
    if graph.is_multigraph():
        raise NetworkError("networkx graph: ties may stand twice; allowed: Graph or DiGraph, not a multigraph")
    for follower, followed, weight in graph.edges(data="weight", default=1.0):
        if follower == followed:
            raise NetworkError(f"networkx graph: person {follower} follows themselves; remove this tie")
        if not (isinstance(weight, Real) and 0 < float(weight) < np.inf):
            raise NetworkError(
                f"networkx graph: weight {weight!r} of the tie {follower} to {followed}; allowed: above 0"
            )
    return share_attention(nx.to_scipy_sparse_array(graph, nodelist=range(n), dtype=np.float64, format="csr"))
