"""From what a scenario says to a follow graph."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from popsim.network.classic import block_ties, preferential_ties, small_world_ties
from popsim.network.exchange import read_ties, tied
from popsim.network.follow import follow_ties
from popsim.network.graph import Ties, even_graph
from popsim.network.placebo import placebo_graph
from popsim.network.spec import (
    BlockNetwork,
    FileNetwork,
    FollowNetwork,
    NoNetwork,
    PreferentialNetwork,
    SmallWorldNetwork,
    TiedNetwork,
)


def build_network(spec: NoNetwork | TiedNetwork, people: pd.DataFrame, rng: np.random.Generator) -> csr_array:
    """Draw or read a follow graph, and put the placebo in its place where the scenario asks for one.

    Args:
        spec: What the scenario says.
        people: The population, n rows; row number is the person.
        rng: The generator of this purpose, ``popsim.streams.rng(seed, "network")``.

    Returns:
        The follow graph, n by n, float32, with sorted indices, no self loops and no tie twice.

    Raises:
        NetworkError: These people cannot have such a graph, or a file of ties is wrong.

    Example:
        >>> people = pd.DataFrame({"party": ["a", "b"] * 50})
        >>> spec = FollowNetwork(kind="follow", mean_degree=4, homophily={"party": 3})
        >>> graph = build_network(spec, people, np.random.default_rng(1))
        >>> graph.shape, bool(abs(graph.nnz / 100 - 4) < 1)
        ((100, 100), True)
    """
    n = len(people)
    if isinstance(spec, NoNetwork):
        return even_graph(np.empty(0, dtype=np.int64), n)
    if isinstance(spec, FileNetwork):
        graph = tied(read_ties(spec.path), people, spec.id, spec.path)
    else:
        graph = even_graph(_draw(spec, people, rng), n)
    return graph if spec.placebo is None else placebo_graph(graph, spec.placebo, rng)


def _draw(
    spec: FollowNetwork | SmallWorldNetwork | PreferentialNetwork | BlockNetwork,
    people: pd.DataFrame,
    rng: np.random.Generator,
) -> Ties:
    if isinstance(spec, FollowNetwork):
        return follow_ties(spec, people, rng)
    if isinstance(spec, BlockNetwork):
        return block_ties(spec, people, rng)
    if isinstance(spec, SmallWorldNetwork):
        return small_world_ties(spec, len(people), rng)
    return preferential_ties(spec, len(people), rng)
