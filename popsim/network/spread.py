"""How an item spreads: it reaches some people directly, and each who hears it may pass it on to followers.

Two rules. An independent cascade (Kempe, Kleinberg and Tardos 2003, "Maximizing the spread of influence through a
social network"): a person who has just heard an item gets one chance with each follower. A linear threshold
(Granovetter 1978, in the form of the same paper): a person takes an item up once the attention they give to those who
have it reaches a threshold of their own. The draw of a chance belongs to the item and to the two people, that of a
threshold to the item and the person, whoever else is drawn, so a larger reach or probability reaches a superset of
people. Who hears an item first is drawn in ``hearers.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim.network.feed import NEVER
from popsim.streams import uniform

People = NDArray[np.intp]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
_TOLD, _THRESHOLD = 1, 2  # 0 and 3 are those of hearers.py
_ROUNDING = 1e-5
_BLOCK = 1 << 16


class Reached(NamedTuple):
    """Who heard an item in one step, and from whom."""

    people: People
    """(k,) row numbers, ascending."""
    told_by: People
    """(k,) whom each of them heard it from."""


@dataclass(frozen=True, slots=True)
class Item:
    """How one item moves."""

    key: int
    """The item in this run, for example ``popsim.streams.stream("7/news/0")``."""
    probability: float | Floats = 1.0
    """Chance that a person passes it on to a follower; one number, or (n,) by the person who passes it on."""
    rule: Literal["cascade", "threshold"] = "cascade"
    start: int = 0
    """The step at which it comes out."""
    life: int | None = None
    """Steps after its start in which it is still passed on; for ever if None."""


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


def share_probability(
    base: float, confidence: Floats, agreement: Floats, *, by_confidence: float = 0.0, by_agreement: float = 0.0
) -> Floats:
    """Let the chance that a person passes an item on depend on how sure they are and on how much they agree with it.

    Args:
        base: The chance at middle confidence and no agreement either way, 0 to 1.
        confidence: (n,) 0 for the least and 1 for the most confident, 0.5 in the middle.
        agreement: (n,) -1 for full disagreement to 1 for full agreement, for example from `agreement`.
        by_confidence: Log-odds added from middle to full confidence.
        by_agreement: Log-odds added from no to full agreement.

    Returns:
        (n,) probabilities, for `Item`.

    Example:
        >>> share_probability(0.5, np.array([0.5, 1.0]), np.zeros(2), by_confidence=1).round(2).tolist()
        [0.5, 0.73]
    """
    odds = np.exp(by_confidence * (2 * confidence - 1) + by_agreement * agreement)
    return np.asarray(base * odds / (1 - base + base * odds), dtype=np.float64)


def spread_step(
    followers_csr: csr_array, frontier: People, heard: Flags, item_key: int, probability: float | Floats
) -> Reached:
    """Let those who have just heard an item pass it on to their followers.

    Args:
        followers_csr: From `followers`.
        frontier: People who pass the item on in this step, each once in the life of the item.
        heard: (n,) whether each person has heard the item before this step.
        item_key: The item in this run, as in `Item`.
        probability: Chance that a follower hears it from a given person in the frontier; (n,) if it depends on the
            person in the frontier.

    Returns:
        Who heard it for the first time. Someone who could have heard it from several people heard it from the one
        given most attention, and among equals from the one with the lowest draw.

    Example:
        >>> graph = csr_array(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32))
        >>> spread_step(followers(graph), np.array([2]), np.array([False, False, True]), 5, 1.0)
        Reached(people=array([1]), told_by=array([2]))
    """
    blocks = np.split(frontier, range(_BLOCK, len(frontier), _BLOCK))
    hits = [_hits(followers_csr, block, heard, item_key, probability) for block in blocks]
    return _first_told(*(np.concatenate(column) for column in zip(*hits, strict=True)))


def threshold_step(
    followers_csr: csr_array, frontier: People, heard: Flags, item_key: int, pressure: Floats
) -> tuple[Reached, Floats]:
    """Let people take an item up who give enough attention to those who have it.

    Args:
        followers_csr: From `followers`.
        frontier: People who have taken it up in the step before.
        heard: (n,) whether each person has it before this step.
        item_key: The item in this run; each person's threshold for it is drawn between 0 and 1.
        pressure: (n,) attention that each person gives to those who had it before the frontier; zeros at first.

    Returns:
        Who takes it up, each told by the one in the frontier given most attention, and the new pressure.

    Example:
        >>> graph = csr_array(np.array([[0, 1], [0, 0]], dtype=np.float32))
        >>> threshold_step(followers(graph), np.array([1]), np.array([False, True]), 5, np.zeros(2))[0]
        Reached(people=array([0]), told_by=array([1]))
    """
    ties, teller, listener = _ties_of(followers_csr, frontier)
    attention = followers_csr.data[ties]
    pressure = pressure + np.bincount(listener, weights=attention, minlength=len(pressure))
    ready = pressure[listener] >= uniform(item_key, _THRESHOLD, listener) - _ROUNDING
    hit = np.flatnonzero(ready & ~heard[listener])
    draw = uniform(item_key, _TOLD, teller[hit] << 32 | listener[hit])
    return _first_told(listener[hit], teller[hit], attention[hit], draw), pressure


def tellings(
    followers_csr: csr_array, frontier: People, item_key: int, probability: float | Floats
) -> NDArray[np.int64]:
    """Count from how many of the frontier each person hears an item, news to them or not.

    By default an item counts once however many friends pass it on, which `spread_step` gives; a scenario that lets
    every telling count adds these counts up over the steps.

    Args:
        followers_csr: From `followers`.
        frontier: People who pass the item on in this step.
        item_key: The item in this run, as in `Item`.
        probability: As for `spread_step`.

    Returns:
        (n,) counts.

    Example:
        >>> graph = csr_array(np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]]))
        >>> tellings(followers(graph), np.array([1, 2]), 5, 1.0).tolist()
        [2, 0, 0]
    """
    _, teller, listener = _ties_of(followers_csr, frontier)
    told = uniform(item_key, _TOLD, teller << 32 | listener) < _of(probability, teller)
    return np.bincount(listener[told], minlength=followers_csr.shape[0])


def cascade(followers_csr: csr_array, first: Flags, item_key: int, probability: float | Floats) -> NDArray[np.int32]:
    """Let one item spread until nobody new hears it.

    Args:
        followers_csr: From `followers`.
        first: (n,) who hears it directly, at step 0.
        item_key: The item in this run, as in `Item`.
        probability: As for `spread_step`.

    Returns:
        (n,) step at which each person heard it, `NEVER` where they did not.

    Example:
        >>> graph = csr_array(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32))
        >>> cascade(followers(graph), np.array([False, False, True]), 5, 1.0).tolist()
        [2, 1, 0]
    """
    heard_at = np.full(len(first), NEVER, dtype=np.int32)
    frontier, step = np.flatnonzero(first), 0
    heard_at[frontier] = 0
    while len(frontier):
        step += 1
        _, teller, listener = _ties_of(followers_csr, frontier)
        told = listener[uniform(item_key, _TOLD, teller << 32 | listener) < _of(probability, teller)]
        told = told[heard_at[told] == NEVER]
        place = np.arange(len(told), dtype=np.int32)
        heard_at[told] = place
        frontier = told[heard_at[told] == place].astype(np.intp)
        heard_at[frontier] = step
    return heard_at


def never_heard(n: int, items: int) -> NDArray[np.int32]:
    """Make the table of steps at which people hear items, before anyone has heard any.

    Args:
        n: Number of people.
        items: Number of items.

    Returns:
        (n, items) of `NEVER`, laid out by item, which is how items spread.

    Example:
        >>> never_heard(2, 1).tolist()
        [[-1], [-1]]
    """
    return np.full((n, items), NEVER, dtype=np.int32, order="F")


def spread_items(
    followers_csr: csr_array,
    items: Sequence[Item],
    step: int,
    heard_at: NDArray[np.int32],
    told_by: NDArray[np.int32],
) -> None:
    """Move all items by one step, from those who heard them in the step before; both tables change in place.

    Args:
        followers_csr: From `followers`.
        items: How each of them moves; one before its start or past its life rests.
        step: The step to make.
        heard_at: (people, items) step at which a person heard an item, `NEVER` where not; see `never_heard`.
        told_by: (people, items) who told them, `NEVER` where nobody did.

    Example:
        >>> graph = csr_array(np.array([[0, 1], [0, 0]], dtype=np.float32))
        >>> heard_at, told_by = never_heard(2, 1), never_heard(2, 1)
        >>> heard_at[1, 0] = 0
        >>> spread_items(followers(graph), [Item(key=5)], 1, heard_at, told_by)
        >>> heard_at.tolist(), told_by.tolist()
        ([[1], [0]], [[1], [-1]])
    """
    for k, item in enumerate(items):
        if step <= item.start or (item.life is not None and step > item.start + item.life):
            continue
        steps = heard_at[:, k]
        frontier = np.flatnonzero(steps == step - 1)
        if not len(frontier):
            continue
        heard = steps != NEVER
        if item.rule == "cascade":
            reached = spread_step(followers_csr, frontier, heard, item.key, item.probability)
        else:
            pressure = followers_csr.T @ (heard & (steps < step - 1)).astype(np.float64)
            reached, _ = threshold_step(followers_csr, frontier, heard, item.key, pressure)
        heard_at[reached.people, k], told_by[reached.people, k] = step, reached.told_by


def _ties_of(followers_csr: csr_array, frontier: People) -> tuple[People, People, NDArray[np.integer]]:
    """List the ties of the frontier to its followers: place in the graph, teller and listener."""
    starts = followers_csr.indptr[frontier].astype(np.intp)
    counts = followers_csr.indptr[frontier + 1] - starts
    ends = np.cumsum(counts)
    ties = np.repeat(starts - ends + counts, counts)
    ties += np.arange(len(ties))
    return ties, np.repeat(frontier, counts), followers_csr.indices[ties]


def _hits(
    followers_csr: csr_array, frontier: People, heard: Flags, item_key: int, probability: float | Floats
) -> tuple[NDArray[np.integer], People, NDArray[np.floating], Floats]:
    """List those to whom the item is new and comes: listener, teller, attention and draw."""
    ties, teller, listener = _ties_of(followers_csr, frontier)
    fresh = np.flatnonzero(~heard[listener])
    ties, teller, listener = ties[fresh], teller[fresh], listener[fresh]
    draw = uniform(item_key, _TOLD, teller << 32 | listener)
    hit = np.flatnonzero(draw < _of(probability, teller))
    return listener[hit], teller[hit], followers_csr.data[ties[hit]], draw[hit]


def _of(probability: float | Floats, teller: People) -> float | Floats:
    return probability[teller] if isinstance(probability, np.ndarray) else probability


def _first_told(
    listener: NDArray[np.integer], teller: People, attention: NDArray[np.floating], draw: Floats
) -> Reached:
    """Give each listener one teller: the one with most attention, of equals the one with the lowest draw."""
    if not len(listener):
        return Reached(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp))
    order = np.argsort(listener)
    listener, teller, attention, draw = listener[order], teller[order], attention[order], draw[order]
    first = _run_starts(listener)
    times = np.diff(np.append(first, len(listener)))
    most = np.repeat(np.maximum.reduceat(attention, first), times)
    draw = np.where(attention == most, draw, 2.0)
    told = np.flatnonzero(draw == np.repeat(np.minimum.reduceat(draw, first), times))
    told = told[_run_starts(listener[told])]
    return Reached(listener[told].astype(np.intp), teller[told])


def _run_starts(ranked: NDArray[np.integer]) -> People:
    """Find where each run of equal numbers starts in sorted, non-empty ones."""
    starts = np.ones(len(ranked), dtype=np.bool_)
    np.not_equal(ranked[1:], ranked[:-1], out=starts[1:])
    return np.flatnonzero(starts)
