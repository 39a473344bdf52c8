"""The ties of a follow graph: a directed Chung-Lu model weighted by attributes, with closure and reciprocity."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.errors import NetworkError
from popsim.network.graph import LOW, Ties, contains, distinct, row_starts, turned
from popsim.network.spec import FollowNetwork
from popsim.slots import did_you_mean

_MOST_CELLS = 2000
_ROUNDS = 16
_CHUNK = 4_000_000
_NO_TIES = np.empty(0, dtype=np.int64)


def follow_ties(spec: FollowNetwork, people: pd.DataFrame, rng: np.random.Generator) -> Ties:
    """Draw who follows whom.

    A person chooses a binomial number of others, one after the other without repeats, with probabilities proportional
    to fame(j) times the odds of ``spec.homophily`` for each value that i and j share; two missing values count as the
    same. Fame follows a power law (Chung and Lu 2002, "Connected components in random graphs with given expected degree
    sequences") whose quantiles are dealt out at random. A share ``spec.closure`` of the choices is made last, among the
    people followed by those whom the person follows; such a choice is refused as often as it takes to leave the
    shares between groups where homophily puts them, and people whom nobody leads to anyone new choose freely.
    Where a reciprocity is asked for, fewer ties are chosen and ties chosen at random are returned.

    Args:
        spec: What the scenario says.
        people: The population, n rows; row number is the person.
        rng: The generator.

    Returns:
        The ties, sorted.

    Raises:
        NetworkError: An attribute is no column or has too many values, or n people cannot have these degrees.

    Example:
        >>> spec = FollowNetwork(kind="follow", mean_degree=4, closure=0.5)
        >>> ties = follow_ties(spec, pd.DataFrame(index=range(100)), np.random.default_rng(1))
        >>> bool(abs(len(ties) / 100 - 4) < 1)
        True
    """
    n = len(people)
    if spec.mean_degree > n - 1:
        raise NetworkError(
            f"network.mean_degree: {spec.mean_degree:g} is too many for {n} people; allowed: up to {n - 1}, "
            f"or kind: none"
        )
    chosen = spec.mean_degree * (1 - (spec.reciprocity or 0) / 2)
    wanted = rng.binomial(n - 1, chosen / (n - 1), size=n)
    closing = np.minimum(rng.binomial(wanted, spec.closure), np.maximum(wanted - 1, 0))
    taste = _taste(spec, people, rng)
    ties = choose(wanted - closing, taste, rng)
    if spec.closure:
        ties = _close(ties, closing, taste, rng)
    return ties if spec.reciprocity is None else _return_ties(ties, spec.reciprocity, taste, rng)


@dataclass(frozen=True)
class Taste:
    """Whom a person would pick, as fame times the odds between cells of like people."""

    cell: NDArray[np.int64]
    """(n,) the cell of each person."""
    order: NDArray[np.int64]
    """(n,) people sorted by cell."""
    fame: NDArray[np.float64]
    """(n,) of each person."""
    odds: NDArray[np.float64]
    """(cells, cells) odds that a person of the first cell picks one of the second, fame apart."""

    def shares(self) -> NDArray[np.float64]:
        """The share of its picks that each cell makes in each, (cells, cells); each row sums to 1."""
        mass = np.bincount(self.cell, weights=self.fame, minlength=len(self.odds))
        share = self.odds * mass
        return np.asarray(share / share.sum(axis=1, keepdims=True))

    def log_weight(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log weights of all people for some followers, (rows, n)."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.fame) + np.log(self.odds)[self.cell[rows]][:, self.cell])

    def pick(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw one person for each follower in ``rows``, with repeats and self loops."""
        cells = len(self.odds)
        if cells == 1:
            return _pick_famous(self.order, self.fame, len(rows), rng)
        share = np.cumsum(self.shares(), axis=1)
        share /= share[:, -1:]
        mine = self.cell[rows]
        stacked = (share + np.arange(cells)[:, None]).ravel()
        found = np.searchsorted(stacked, mine + rng.random(len(rows)), side="right") - mine * cells
        theirs = np.minimum(found, cells - 1).astype(np.uint16)
        members = np.split(self.order, np.cumsum(np.bincount(self.cell, minlength=cells))[:-1])
        counts = np.bincount(theirs, minlength=cells)
        picked = np.empty(len(rows), dtype=np.int64)
        picked[np.argsort(theirs, kind="stable")] = np.concatenate(
            [_pick_famous(ones, self.fame, count, rng) for ones, count in zip(members, counts, strict=True)]
        )
        return picked


def _pick_famous(
    members: NDArray[np.int64], fame: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw members with repeats in proportion to fame; many draws are counted first and then put in random order."""
    mass = fame[members]
    if count * 8 < len(members):
        upper = np.cumsum(mass)
        found = np.searchsorted(upper, upper[-1] * rng.random(count))
        return np.asarray(members[np.minimum(found, len(members) - 1)])
    drawn = np.repeat(members, rng.multinomial(count, mass / mass.sum()))
    rng.shuffle(drawn)
    return drawn


def choose(wanted: NDArray[np.int64], taste: Taste, rng: np.random.Generator, ties: Ties = _NO_TIES) -> Ties:
    """Give each person as many distinct ties as wanted.

    Args:
        wanted: (n,) how many people each person follows; those whom they follow already count.
        taste: Whom they would pick.
        rng: The generator.
        ties: Those that exist, sorted.

    Returns:
        The old ties and the new ones, sorted.

    Example:
        >>> alike = Taste(np.zeros(3, int), np.arange(3), np.ones(3), np.ones((1, 1)))
        >>> choose(np.array([2, 0, 0]), alike, np.random.default_rng(1)).tolist()
        [1, 2]
    """
    n = len(wanted)
    done: list[Ties] = []
    for _ in range(_ROUNDS):
        follower = ties >> 32
        short = np.maximum(wanted - np.bincount(follower, minlength=n), 0)
        if not short.any():
            break
        still_open = short[follower] > 0
        done.append(ties[~still_open])
        ties = ties[still_open]
        wanted = np.where(short > 0, wanted, 0)
        rows = np.repeat(np.arange(n), short)
        picked = taste.pick(rows, rng)
        ties = distinct(np.concatenate([ties, (rows << 32 | picked)[picked != rows]]))
    short = np.maximum(wanted - np.bincount(ties >> 32, minlength=n), 0)
    return np.sort(np.concatenate([*done, ties, *_complete(short, ties, taste, rng)]))


def _complete(short: NDArray[np.int64], ties: Ties, taste: Taste, rng: np.random.Generator) -> list[Ties]:
    """Draw the ties that are hard to hit over all people at once (Gumbel top-k: Efraimidis and Spirakis 2006)."""
    n, rows = len(short), np.flatnonzero(short)
    pieces = []
    for block in np.array_split(rows, -(-len(rows) * n // _CHUNK)) if len(rows) else []:
        key = taste.log_weight(block) + rng.gumbel(size=(len(block), n))
        taken = ties[np.isin(ties >> 32, block)]
        key[np.searchsorted(block, taken >> 32), taken & LOW] = -np.inf
        key[np.arange(len(block)), block] = -np.inf
        best = np.argsort(-key, axis=1)
        kept = np.arange(n) < short[block][:, None]
        pieces.append((block[:, None] << 32 | best)[kept])
    return pieces


def _close(ties: Ties, closing: NDArray[np.int64], taste: Taste, rng: np.random.Generator) -> Ties:
    """Let each person follow as many more as wanted of those whom the people they follow had followed before.

    A proposal is taken with the chance that makes up for what is still owed between two cells beside what proposals
    bring, so that the ties between cells come out as the taste would have them.
    """
    n, cells = len(closing), len(taste.odds)
    wanted = np.minimum(np.diff(row_starts(ties, n)) + closing, n - 1)
    share = taste.shares()
    by_two_steps = share @ share
    owed = share * np.bincount(taste.cell, weights=closing, minlength=cells)[:, None]
    for _ in range(_ROUNDS):
        starts, followed = row_starts(ties, n), ties & LOW
        degree = np.diff(starts)
        rows = np.repeat(np.arange(n), np.where(degree > 0, wanted - degree, 0))
        if not len(rows):
            break
        friend = _someone_followed(rows, starts, degree, followed, rng)
        rows, friend = rows[degree[friend] > 0], friend[degree[friend] > 0]
        theirs = _someone_followed(friend, starts, degree, followed, rng)
        accept = owed / by_two_steps
        accept /= np.maximum(accept.max(axis=1, keepdims=True), 1e-9)
        kept = (theirs != rows) & (rng.random(len(rows)) < accept[taste.cell[rows], taste.cell[theirs]])
        new = distinct((rows << 32 | theirs)[kept])
        new = new[~contains(ties, new)]
        between = taste.cell[new >> 32] * cells + taste.cell[new & LOW]
        owed = np.maximum(owed - np.bincount(between, minlength=cells**2).reshape(cells, cells), 0)
        ties = np.sort(np.concatenate([ties, new]))
    return choose(wanted, taste, rng, ties)


def _someone_followed(
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    degree: NDArray[np.int64],
    followed: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw one of those whom each person in ``rows`` follows."""
    return np.asarray(followed[starts[rows] + (rng.random(len(rows)) * degree[rows]).astype(np.int64)])


def _return_ties(ties: Ties, reciprocity: float, taste: Taste, rng: np.random.Generator) -> Ties:
    """Return some of the one-way ties, so that the share of mutual ties is as asked and cells mix as the taste says.

    Of t ties m are mutual by chance. Returning (r t - m) / (2 - r) one-way ties makes the share mutual r and the number
    of ties (2 t - m) / (2 - r), so m / 2 ties more than without chance have to be chosen for the same number.
    """
    n = len(taste.cell)
    by_chance = contains(ties, np.sort(turned(ties))).sum()
    degree = np.diff(row_starts(ties, n))
    extra = np.bincount(rng.integers(n, size=by_chance // 2), minlength=n)
    ties = choose(np.minimum(degree + extra, n - 1), taste, rng, ties)
    back = np.sort(turned(ties))
    one_way = back[~contains(ties, back)]
    mutual = 1 - len(one_way) / max(len(ties), 1)
    if mutual > reciprocity:
        raise NetworkError(
            f"network.reciprocity: {reciprocity:g} is less than the {mutual:.2f} that chance gives {n} "
            f"people; allowed: {mutual:.2f} to 1, or leave it out; more people or a lower mean_degree bring it down"
        )
    needed = (reciprocity - mutual) * len(ties) / (2 - reciprocity)
    cells = len(taste.odds)
    between = taste.cell[one_way >> 32] * cells + taste.cell[one_way & LOW]
    flow = (taste.shares() * np.bincount(taste.cell, minlength=cells)[:, None]).ravel()
    chance = _chances(flow, np.bincount(between, minlength=cells**2), needed)
    return np.sort(np.concatenate([ties, one_way[rng.random(len(one_way)) < chance[between]]]))


def _chances(flow: NDArray[np.float64], available: NDArray[np.int64], needed: float) -> NDArray[np.float64]:
    """Chances, at most 1, that take ``needed`` of what is available, in proportion to ``flow`` as far as it goes."""
    rate = np.divide(flow, available, out=np.zeros_like(flow), where=available > 0)
    chance = rate
    for _ in range(_ROUNDS):
        chance = np.minimum(rate, 1.0)
        rate = rate * needed / max(chance @ available, 1e-9)
    return chance


def _taste(spec: FollowNetwork, people: pd.DataFrame, rng: np.random.Generator) -> Taste:
    n = len(people)
    values = np.zeros((n, len(spec.homophily)), dtype=np.int64)
    cell = np.zeros(n, dtype=np.int64)
    for k, name in enumerate(spec.homophily):
        values[:, k] = pd.factorize(column(people, name, "network.homophily"), use_na_sentinel=False)[0]
        cell = np.unique(cell * n + values[:, k], return_inverse=True)[1].astype(np.int64)
    cells = int(cell.max()) + 1
    if cells > _MOST_CELLS:
        raise NetworkError(
            f"network.homophily: {', '.join(spec.homophily)} have {cells} combinations of values; allowed: up to "
            f"{_MOST_CELLS}; name fewer or coarser attributes"
        )
    order = np.argsort(cell, kind="stable")
    return Taste(cell, order, rng.permutation(_fame(n, spec.tail_exponent)), _odds(spec.homophily, values, cell))


def column(people: pd.DataFrame, name: str, where: str) -> pd.Series:
    """Take one attribute of the people.

    Args:
        people: The population.
        name: The attribute.
        where: The key of the scenario that names it.

    Raises:
        NetworkError: There is no such attribute.

    Example:
        >>> column(pd.DataFrame({"sex": ["f", "m"]}), "sex", "network.id").tolist()
        ['f', 'm']
    """
    if name not in people.columns:
        raise NetworkError(
            f"{where}: people have no {name!r}{did_you_mean(name, people.columns)} Allowed: {', '.join(people.columns)}"
        )
    return people[name]


def _fame(n: int, tail_exponent: float) -> NDArray[np.float64]:
    """Mean fame within n equal slices of a power law of mean 1, the most famous first."""
    edge = (np.arange(n + 1) / n) ** (1 - 1 / (tail_exponent - 1))
    return np.diff(edge) * n


def _odds(homophily: Mapping[str, float], values: NDArray[np.int64], cell: NDArray[np.int64]) -> NDArray[np.float64]:
    first = np.unique(cell, return_index=True)[1]
    odds = np.ones((len(first), len(first)))
    for k, ratio in enumerate(homophily.values()):
        mine = values[first, k]
        odds[mine[:, None] == mine] *= ratio
    return odds
