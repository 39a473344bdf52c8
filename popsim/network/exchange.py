"""Follow graphs from and to networkx, and from a user's files."""

from numbers import Real
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from popsim.errors import NetworkError
from popsim.network.follow import column
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


def read_ties(path: str | Path) -> pd.DataFrame:
    r"""Read a user's ties from a file.

    Args:
        path: A CSV or Parquet table with a row per tie and the columns ``follower``, ``followed`` and, where wanted,
            ``weight``; or a GraphML file, whose ties without direction run both ways.

    Returns:
        The columns ``follower`` and ``followed`` as the file has them, and ``weight``, 1 where none is given.

    Raises:
        NetworkError: No such file, it cannot be read, or a column is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "ties.csv").write_text("follower,followed\n0,1\n")
        ...     read_ties(Path(folder) / "ties.csv").to_dict("list")
        {'follower': ['0'], 'followed': ['1'], 'weight': [1.0]}
    """
    path = Path(path)
    if not path.is_file():
        raise NetworkError(f"{path}: no such file")
    try:
        if path.suffix.lower() == ".csv":
            ties = pd.read_csv(path, dtype={"follower": str, "followed": str}, skipinitialspace=True)
        elif path.suffix.lower() == ".parquet":
            ties = pd.read_parquet(path)
        else:
            ties = _graphml(path)
    except (ValueError, OSError, SyntaxError, nx.NetworkXException) as problem:
        what = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise NetworkError(f"{path}: cannot be read as {path.suffix.lower()[1:]}: {what}") from None
    for name in ("follower", "followed"):
        if name not in ties.columns:
            raise NetworkError(
                f"{path}: column {name!r} is missing; it has {', '.join(map(str, ties.columns)) or 'none'}; "
                f"needed: follower, followed and, where wanted, weight"
            )
    return ties[["follower", "followed"]].assign(weight=ties["weight"] if "weight" in ties.columns else 1.0)


def _graphml(path: Path) -> pd.DataFrame:
    graph = nx.read_graphml(path)
    rows = [(str(a), str(b), weight) for a, b, weight in graph.edges(data="weight", default=1.0)]
    if not graph.is_directed():
        rows += [(b, a, weight) for a, b, weight in rows]
    return pd.DataFrame(rows, columns=["follower", "followed", "weight"])


def tied(ties: pd.DataFrame, people: pd.DataFrame, id: str | None, where: str) -> csr_array:
    """Make the follow graph of some people from a table of ties.

    Args:
        ties: Columns ``follower``, ``followed`` and ``weight``, as from `read_ties`.
        people: The population, n rows.
        id: The attribute of the people by which the ties name them; their row number if None.
        where: What an error calls the table.

    Returns:
        The follow graph, with each person's attention scaled to sum to 1.

    Raises:
        NetworkError: A tie names nobody, stands twice or leads to its own person, or a weight is not positive.

    Example:
        >>> people = pd.DataFrame({"name": ["ann", "bob"]})
        >>> ties = pd.DataFrame({"follower": ["bob"], "followed": ["ann"], "weight": [1.0]})
        >>> tied(ties, people, "name", "my ties").toarray().tolist()
        [[0.0, 0.0], [1.0, 0.0]]
    """
    n = len(people)
    names = pd.Index(np.arange(n).astype(str) if id is None else column(people, id, "network.id").astype(str))
    if not names.is_unique:
        raise NetworkError(f"network.id: {names[names.duplicated()][0]!r} names several people; needed: one {id} each")
    rows = {}
    for end in ("follower", "followed"):
        rows[end] = names.get_indexer(pd.Index(ties[end].astype(str).str.strip()))
        for line in np.flatnonzero(rows[end] < 0)[:1]:
            allowed = f"0 to {n - 1}" if id is None else f"a value of {id}"
            raise NetworkError(
                f"{where}: tie {line + 1}: {end} {str(ties[end].iloc[line])!r} is nobody; allowed: {allowed}"
            )
    weight = pd.to_numeric(ties["weight"], errors="coerce").to_numpy(np.float64)
    for line in np.flatnonzero(~((weight > 0) & (weight < np.inf)))[:1]:
        raise NetworkError(
            f"{where}: tie {line + 1}: weight {str(ties['weight'].iloc[line])!r}; allowed: numbers above 0"
        )
    for line in np.flatnonzero(rows["follower"] == rows["followed"])[:1]:
        raise NetworkError(f"{where}: tie {line + 1}: {ties['follower'].iloc[line]!r} follows themselves; remove it")
    for line in np.flatnonzero(pd.DataFrame(rows).duplicated())[:1]:
        a, b = ties["follower"].iloc[line], ties["followed"].iloc[line]
        raise NetworkError(f"{where}: tie {line + 1}: {a!r} follows {b!r} for the second time; remove it")
    graph = csr_array((weight, (rows["follower"], rows["followed"])), shape=(n, n))
    graph.sort_indices()
    return share_attention(graph)
