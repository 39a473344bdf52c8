"""Placebo graphs: what is left of a finding when the network is taken away, in part or whole."""

import numpy as np
from scipy.sparse import csr_array

from popsim.network.graph import Ties, contains
from popsim.network.spec import Placebo

_ROUNDS = 6
_OFFERED = 0.9


def placebo_graph(graph: csr_array, placebo: Placebo, rng: np.random.Generator) -> csr_array:
    """Make the control of a follow graph.

    Args:
        graph: The follow graph.
        placebo: ``rewired``, ``shuffled`` or ``none``.
        rng: The generator.

    Returns:
        Another follow graph of the same people.

    Example:
        >>> graph = csr_array(np.array([[0, 1], [0, 0]], dtype=np.float32))
        >>> placebo_graph(graph, "none", np.random.default_rng(1)).nnz
        0
    """
    if placebo == "rewired":
        return rewired(graph, rng)
    if placebo == "shuffled":
        return shuffled(graph, rng)
    return csr_array(graph.shape, dtype=graph.dtype)


def shuffled(graph: csr_array, rng: np.random.Generator) -> csr_array:
    """Deal the people anew to the places of a graph, so that their attributes say nothing about their ties.

    Args:
        graph: The follow graph.
        rng: The generator.

    Returns:
        The same graph with its people permuted.

    Example:
        >>> graph = csr_array(np.array([[0, 1], [0, 0]], dtype=np.float32))
        >>> shuffled(graph, np.random.default_rng(1)).nnz
        1
    """
    place = rng.permutation(graph.shape[0])
    dealt: csr_array = graph[place]
    person = np.argsort(place).astype(graph.indices.dtype)
    made = csr_array((dealt.data, person[dealt.indices], dealt.indptr), shape=graph.shape)
    made.sort_indices()
    return made


def rewired(graph: csr_array, rng: np.random.Generator, rounds: int = _ROUNDS) -> csr_array:
    """Swap whom people follow, keeping how many each person follows and is followed by.

    In each round the ties are paired at random and nine pairs in ten swap the followed, unless that would make someone
    follow themselves or follow someone twice (Maslov and Sneppen 2002, "Specificity and stability in topology of
    protein networks"). Homophily, closure and reciprocity go to what chance gives these degrees.

    Args:
        graph: The follow graph.
        rng: The generator.
        rounds: How often the ties are paired; in a sparse graph hardly a tie of a hundred thousand is left after six.

    Returns:
        A follow graph with the same degrees; each follower's attention stays in its shares.

    Example:
        >>> graph = csr_array(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32))
        >>> rewired(graph, np.random.default_rng(1)).sum(axis=0).tolist()
        [1.0, 1.0, 1.0]
    """
    follower = np.repeat(np.arange(graph.shape[0], dtype=np.int64), np.diff(graph.indptr))
    followed = graph.indices.astype(np.int64)
    for _ in range(rounds):
        order = rng.permutation(graph.nnz)
        half = rng.binomial(graph.nnz // 2, _OFFERED)
        one, other = order[:half], order[half : 2 * half]
        swap = np.concatenate([follower[one] << 32 | followed[other], follower[other] << 32 | followed[one]])
        loops = np.concatenate([follower[one] == followed[other], follower[other] == followed[one]])
        bad = (loops | _clash(swap, np.sort(follower << 32 | followed))).reshape(2, half).any(axis=0)
        one, other = one[~bad], other[~bad]
        followed[one], followed[other] = followed[other], followed[one]
    made = csr_array((graph.data.copy(), followed.astype(graph.indices.dtype), graph.indptr), shape=graph.shape)
    made.sort_indices()
    return made


def _clash(new: Ties, ties: Ties) -> np.ndarray:
    """Tell which new ties stand among the sorted old ones or twice among themselves."""
    order = np.argsort(new)
    ranked = new[order]
    same = np.diff(ranked) == 0
    clash = contains(ties, ranked)
    clash[1:] |= same
    clash[:-1] |= same
    found = np.empty_like(clash)
    found[order] = clash
    return found
