"""How an item spreads: it reaches some people directly, and each who hears it may pass it on to followers.

An independent cascade (Kempe, Kleinberg and Tardos 2003, "Maximizing the spread of influence through a social
network"): a person who has just heard an item gets one chance with each follower. The draw of a chance belongs to the
item and to the two people, whoever else is drawn, so a larger reach or probability reaches a superset of people.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim.streams import uniform

People = NDArray[np.intp]
_DIRECT, _TOLD = 0, 1


class Reached(NamedTuple):
    """Who heard an item in one step, and from whom."""

    people: People
    """(k,) row numbers, ascending."""
    told_by: People
    """(k,) whom each of them heard it from."""


def followers(graph: csr_array) -> csr_array:
    """Turn a follow graph round, once per run, for `spread_step`.

    Args:
        graph: The follow graph; row i holds the people whom person i follows.

    Returns:
        Row j holds the followers of person j, ascending, with the attention that each of them gives to j.

    Example:
        >>> followers(csr_array(np.array([[0, 1], [0, 0]]))).indices.tolist()
        [0]
    """
    return graph.T.tocsr()


def first_hearers(item_key: int, n: int, reach: float) -> NDArray[np.bool_]:
    """Draw who hears an item directly.

    Args:
        item_key: The item in this run, for example ``popsim.streams.stream("7/news/0")``.
        n: Number of people.
        reach: Share of people, 0 to 1; each hears it independently with this probability.

    Returns:
        (n,) whether each person hears it.

    Example:
        >>> few, many = first_hearers(5, 1000, 0.1), first_hearers(5, 1000, 0.2)
        >>> int(few.sum()), bool((few <= many).all())
        (89, True)
    """
    return uniform(item_key, _DIRECT, np.arange(n)) < reach


def spread_step(
    followers_csr: csr_array, frontier: People, heard: NDArray[np.bool_], item_key: int, probability: float
) -> Reached:
    """Let those who have just heard an item pass it on to their followers.

    Args:
        followers_csr: From `followers`.
        frontier: People who pass the item on in this step, each once in the life of the item.
        heard: (n,) whether each person has heard the item before this step.
        item_key: The item in this run, as for `first_hearers`.
        probability: Chance that a follower hears it from a given person in the frontier.

    Returns:
        Who heard it for the first time. Someone who could have heard it from several people heard it from the one
        given most attention, and among equals from the one with the lowest draw.

    Example:
        >>> graph = csr_array(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32))
        >>> spread_step(followers(graph), np.array([2]), np.array([False, False, True]), 5, 1.0)
        Reached(people=array([1]), told_by=array([2]))
    """
    starts = followers_csr.indptr[frontier].astype(np.intp)
    counts = followers_csr.indptr[frontier + 1] - starts
    ties = np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)
    teller = np.repeat(frontier, counts)
    listener = followers_csr.indices[ties].astype(np.intp)
    fresh = ~heard[listener]
    ties, teller, listener = ties[fresh], teller[fresh], listener[fresh]
    draw = uniform(item_key, _TOLD, teller << 32 | listener)
    hit = draw < probability
    ties, teller, listener, draw = ties[hit], teller[hit], listener[hit], draw[hit]
    order = np.lexsort((draw, -followers_csr.data[ties], listener))
    people, first = np.unique(listener[order], return_index=True)
    return Reached(people, teller[order][first])
