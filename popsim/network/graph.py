"""The form of a follow graph: CSR, made from arrays of ties.

Row i of a follow graph holds the people whom person i follows; information flows the other way, from the followed to
the follower. The weight of a tie is the share of attention that the follower gives it, so a row sums to 1, or to 0 for
a person who follows nobody. While a graph is being made a tie is one integer, follower * 2**32 + followed, so that
sorting the ties puts them into the order of the rows.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Ties = NDArray[np.int64]
LOW = np.int64(0xFFFFFFFF)


def share_attention(graph: csr_array) -> csr_array:
    """Scale the weights of each person's ties to sum to 1.

    Args:
        graph: A follow graph with positive weights.

    Returns:
        The same ties with float32 attention.

    Example:
        >>> share_attention(csr_array([[0, 1, 3], [0, 0, 0], [5, 0, 0]])).toarray().tolist()
        [[0.0, 0.25, 0.75], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    n = graph.shape[0]
    total = np.asarray(graph.sum(axis=1, dtype=np.float64))
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    attention = (graph.data * np.repeat(scale, np.diff(graph.indptr))).astype(np.float32)
    return csr_array((attention, graph.indices, graph.indptr), shape=(n, n))


def even_graph(ties: Ties, n: int) -> csr_array:
    """Make the follow graph of sorted ties to which each follower gives even attention.

    Args:
        ties: Follower * 2**32 + followed, ascending, none twice.
        n: Number of people.

    Returns:
        The follow graph, float32, with int32 indices where they suffice.

    Example:
        >>> even_graph(np.array([0 << 32 | 1, 0 << 32 | 2]), 3).toarray().tolist()
        [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    starts = row_starts(ties, n)
    index = np.int32 if len(ties) < 2**31 else np.int64
    degree = np.diff(starts)
    attention = np.repeat((1 / np.maximum(degree, 1)).astype(np.float32), degree)
    return csr_array((attention, (ties & LOW).astype(index), starts.astype(index)), shape=(n, n))


def row_starts(ties: Ties, n: int) -> NDArray[np.int64]:
    """Find where the ties of each follower start in sorted ties, (n + 1,).

    Example:
        >>> row_starts(np.array([0 << 32 | 1, 2 << 32 | 1]), 3).tolist()
        [0, 1, 1, 2]
    """
    return np.searchsorted(ties, np.arange(n + 1, dtype=np.int64) << 32).astype(np.int64)


def turned(ties: Ties) -> Ties:
    """Turn ties round, from the followed to the follower; their order is lost.

    Example:
        >>> turned(np.array([3 << 32 | 5])).tolist() == [5 << 32 | 3]
        True
    """
    return (ties & LOW) << 32 | ties >> 32


def distinct(ties: Ties) -> Ties:
    """Sort ties and drop those that stand twice.

    Example:
        >>> distinct(np.array([7, 3, 7])).tolist()
        [3, 7]
    """
    ties = np.sort(ties)
    return ties[np.diff(ties, prepend=-1) > 0]


def contains(ties: Ties, wanted: Ties) -> NDArray[np.bool_]:
    """Tell for each wanted tie whether it stands among sorted ties; quick where the wanted ones are sorted too.

    Example:
        >>> contains(np.array([3, 7]), np.array([2, 3, 9])).tolist()
        [False, True, False]
    """
    if not len(ties):
        return np.zeros(len(wanted), dtype=np.bool_)
    return np.asarray(ties[np.minimum(np.searchsorted(ties, wanted), len(ties) - 1)] == wanted)
