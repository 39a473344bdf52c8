"""The ties of the textbook graphs: small world, preferential attachment, stochastic blocks."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.errors import NetworkError
from popsim.network.follow import Taste, choose, column
from popsim.network.graph import LOW, Ties, contains, distinct, turned
from popsim.network.spec import BlockNetwork, PreferentialNetwork, SmallWorldNetwork
from popsim.slots import did_you_mean

_ROUNDS = 16


def small_world_ties(spec: SmallWorldNetwork, n: int, rng: np.random.Generator) -> Ties:
    """Draw a small world (Watts and Strogatz 1998, "Collective dynamics of small-world networks").

    Everyone stands on a ring and is tied to the nearest on both sides; with the chance ``spec.shortcuts`` the far end
    of a tie moves to anyone with whom there is no tie yet. Those who are tied follow each other.

    Args:
        spec: What the scenario says.
        n: Number of people.
        rng: The generator.

    Returns:
        The ties, sorted.

    Raises:
        NetworkError: There are too few people.

    Example:
        >>> spec = SmallWorldNetwork(kind="small_world", mean_degree=2, shortcuts=0)
        >>> small_world_ties(spec, 3, np.random.default_rng(1)).size
        6
    """
    _enough_people(spec.mean_degree, n)
    place = rng.permutation(n)
    near = np.arange(n)[:, None]
    far = (near + np.arange(1, spec.mean_degree // 2 + 1)) % n
    ties = (place[near] << 32 | place[far]).ravel()
    moving = rng.random(len(ties)) < spec.shortcuts
    waiting = ties[moving]
    settled = np.sort(_pair(np.concatenate([ties[~moving], waiting])))
    placed = [_pair(ties[~moving])]
    for _ in range(_ROUNDS):
        proposed = (waiting >> 32) << 32 | rng.integers(n, size=len(waiting))
        pair = _pair(proposed)
        first = np.zeros(len(pair), dtype=np.bool_)
        first[np.unique(pair, return_index=True)[1]] = True
        fine = first & (pair >> 32 != pair & LOW) & ~contains(settled, pair)
        placed.append(pair[fine])
        waiting = waiting[~fine]
        settled = np.sort(np.concatenate([*placed, _pair(waiting)]))
        if not len(waiting):
            break
    pairs = np.concatenate([*placed, _pair(waiting)])
    return np.sort(np.concatenate([pairs, turned(pairs)]))


def preferential_ties(spec: PreferentialNetwork, n: int, rng: np.random.Generator) -> Ties:
    """Draw a graph grown by preferential attachment (Barabasi and Albert 1999, "Emergence of scaling").

    Each newcomer is tied to people drawn in proportion to the ties that they have, which is to copy an end of a tie
    drawn at random (Batagelj and Brandes 2005, "Efficient generation of large random networks"); where the same person
    comes up twice one tie is left out, about one in a thousand of a large graph. Those who are tied follow each other.

    Args:
        spec: What the scenario says.
        n: Number of people.
        rng: The generator.

    Returns:
        The ties, sorted.

    Raises:
        NetworkError: There are too few people.

    Example:
        >>> spec = PreferentialNetwork(kind="preferential", mean_degree=2)
        >>> preferential_ties(spec, 50, np.random.default_rng(1)).size
        98
    """
    _enough_people(spec.mean_degree, n)
    m = spec.mean_degree // 2
    newcomer = np.repeat(np.arange(1, n), m)
    slot = np.arange(len(newcomer))
    drawn = (rng.random(len(newcomer)) * np.maximum(2 * m * (newcomer - 1), 1)).astype(np.int64)
    copied = np.where((drawn % 2 == 1) & (newcomer > 1), drawn // 2, slot)
    end = np.where(newcomer == 1, 0, newcomer[drawn // 2])
    while (copied != (further := copied[copied])).any():
        copied = further
    place = rng.permutation(n)
    pairs = distinct(_pair(place[newcomer] << 32 | place[end[copied]]))
    return np.sort(np.concatenate([pairs, turned(pairs)]))


def block_ties(spec: BlockNetwork, people: pd.DataFrame, rng: np.random.Generator) -> Ties:
    """Draw a directed stochastic block model (Holland, Laskey and Leinhardt 1983, "Stochastic blockmodels").

    Args:
        spec: What the scenario says.
        people: The population, n rows.
        rng: The generator.

    Returns:
        The ties, sorted.

    Raises:
        NetworkError: No such attribute, a value of the people without a row, or a block too small for its followers.

    Example:
        >>> spec = BlockNetwork(kind="block", attribute="sex", mixing={"f": {"m": 1}, "m": {}})
        >>> ties = block_ties(spec, pd.DataFrame({"sex": ["f", "m"]}), np.random.default_rng(1))
        >>> bool((ties >> 32 == 0).all())
        True
    """
    values = column(people, spec.attribute, "network.attribute")
    names = list(spec.mixing)
    block = pd.Index(names).get_indexer(pd.Index(values.astype(str)))
    if (block < 0).any():
        stranger = str(values[block < 0].iloc[0])
        raise NetworkError(
            f"network.mixing: people have the {spec.attribute} {stranger!r}, which has no row"
            f"{did_you_mean(stranger, names)} Given: {', '.join(names)}"
        )
    size = np.bincount(block, minlength=len(names))
    mean = np.array([[spec.mixing[mine].get(theirs, 0.0) for theirs in names] for mine in names])
    others = np.maximum(size - np.eye(len(names)), 0)
    for a, b in np.argwhere((mean > others) & (size[:, None] > 0)):
        raise NetworkError(
            f"network.mixing.{names[a]}.{names[b]}: {mean[a, b]:g} is too many of {size[b]} people; "
            f"allowed: up to {others[a, b]:g}"
        )
    chance = np.divide(mean, others, out=np.zeros_like(mean), where=others > 0)
    wanted = sum(rng.binomial(others[block, b].astype(np.int64), chance[block, b]) for b in range(len(names)))
    odds = np.divide(mean, size, out=np.zeros_like(mean), where=size > 0)
    odds[~odds.any(axis=1)] = 1.0
    taste = Taste(block.astype(np.int64), np.argsort(block, kind="stable"), np.ones(len(people)), odds)
    return choose(np.asarray(wanted), taste, rng)


def _enough_people(mean_degree: int, n: int) -> None:
    if mean_degree > n - 1:
        raise NetworkError(
            f"network.mean_degree: {mean_degree} is too many for {n} people; allowed: up to {n - 1}, or kind: none"
        )


def _pair(ties: Ties) -> NDArray[np.int64]:
    """Write each tie as it stands when the lower row number comes first."""
    return np.minimum(ties, turned(ties))
