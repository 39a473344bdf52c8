"""The follow graph: who follows whom, drawn from edge arrays and kept as CSR.

Row i of a follow graph holds the people whom person i follows; information flows the other way, from the followed to
the follower. The weight of a tie is the share of attention that the follower gives it, so a row sums to 1, or to 0 for
a person who follows nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim.errors import NetworkError
from popsim.network.spec import FollowNetwork, NoNetwork
from popsim.slots import did_you_mean

_MOST_CELLS = 2000
_ROUNDS = 16
_CHUNK = 4_000_000
_LOW = np.int64(0xFFFFFFFF)

Codes = NDArray[np.int64]


def build_network(spec: FollowNetwork | NoNetwork, people: pd.DataFrame, rng: np.random.Generator) -> csr_array:
    """Draw a follow graph: a directed Chung-Lu model weighted by attributes.

    Person i follows a binomial number of others, chosen one after the other without repeats with probabilities
    proportional to fame(j) times the odds of ``spec.homophily`` for each value that i and j share; two missing values
    count as the same. Fame follows a power law (Chung and Lu 2002, "Connected components in random graphs with given
    expected degree sequences") whose quantiles are dealt out at random. Where a reciprocity is asked for, ties are
    first thinned and then returned at random until both it and the mean degree hold.

    Args:
        spec: What the scenario says.
        people: The population, n rows; row number is the person.
        rng: The generator of this purpose, ``popsim.streams.rng(seed, "network")``.

    Returns:
        The follow graph, n by n, float32, with sorted indices, no self loops and no tie twice.

    Raises:
        NetworkError: An attribute is no column or has too many values, or n people cannot have these degrees.

    Example:
        >>> people = pd.DataFrame({"party": ["a", "b"] * 50})
        >>> spec = FollowNetwork(kind="follow", mean_degree=4, homophily={"party": 3})
        >>> graph = build_network(spec, people, np.random.default_rng(1))
        >>> graph.shape, bool(abs(graph.nnz / 100 - 4) < 1)
        ((100, 100), True)
    """
    n = len(people)
    if isinstance(spec, NoNetwork):
        return _graph(np.empty(0, dtype=np.int64), n)
    if spec.mean_degree > n - 1:
        raise NetworkError(
            f"network.mean_degree: {spec.mean_degree:g} is too many for {n} people; allowed: up to {n - 1}, "
            f"or kind: none"
        )
    taste = _taste(spec, people, rng)
    codes = _choose(rng.binomial(n - 1, spec.mean_degree / (n - 1), size=n), taste, rng)
    graph = _graph(codes, n)
    if spec.reciprocity is not None and graph.nnz:
        graph = _return_ties(graph, spec.reciprocity, rng)
    return share_attention(graph)


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
    attention = (graph.data / np.repeat(total, np.diff(graph.indptr))).astype(np.float32)
    return csr_array((attention, graph.indices, graph.indptr), shape=(n, n))


@dataclass(frozen=True)
class _Taste:
    """Whom a person would pick, as fame times the odds between cells of like people."""

    cell: NDArray[np.intp]
    """(n,) the cell of each person: one per combination of the values that homophily looks at."""
    order: NDArray[np.intp]
    """(n,) people sorted by cell."""
    fame: NDArray[np.float64]
    """(n,) of each person."""
    odds: NDArray[np.float64]
    """(cells, cells) odds that a person of the first cell picks one of the second, fame apart."""

    def log_weight(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Log weights of all people for some followers, (rows, n)."""
        return np.asarray(np.log(self.fame) + np.log(self.odds)[self.cell[rows]][:, self.cell])

    def pick(self, rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw one person for each follower in ``rows``, with repeats and self loops."""
        upper = np.cumsum(self.fame[self.order])
        ends = np.cumsum(np.bincount(self.cell)) - 1
        above = upper[ends]
        mass = np.diff(above, prepend=0.0)
        share = np.cumsum(self.odds * mass, axis=1)
        share /= share[:, -1:]
        mine, last = self.cell[rows], len(mass) - 1
        stacked = (share + np.arange(last + 1)[:, None]).ravel()
        found = np.searchsorted(stacked, mine + rng.random(len(rows)), side="right") - mine * (last + 1)
        theirs = np.minimum(found, last)
        at = np.searchsorted(upper, above[theirs] - mass[theirs] * rng.random(len(rows)), side="left")
        return np.asarray(self.order[np.minimum(at, ends[theirs])])


def _taste(spec: FollowNetwork, people: pd.DataFrame, rng: np.random.Generator) -> _Taste:
    n = len(people)
    values = np.zeros((n, len(spec.homophily)), dtype=np.int64)
    cell = np.zeros(n, dtype=np.int64)
    for k, name in enumerate(spec.homophily):
        if name not in people.columns:
            raise NetworkError(
                f"network.homophily: people have no {name!r}{did_you_mean(name, people.columns)} "
                f"Allowed: {', '.join(people.columns)}"
            )
        values[:, k] = pd.factorize(people[name], use_na_sentinel=False)[0]
        cell = np.unique(cell * n + values[:, k], return_inverse=True)[1].astype(np.int64)
    cells = int(cell.max()) + 1
    if cells > _MOST_CELLS:
        raise NetworkError(
            f"network.homophily: {', '.join(spec.homophily)} have {cells} combinations of values; allowed: up to "
            f"{_MOST_CELLS}; name fewer or coarser attributes"
        )
    order = np.argsort(cell, kind="stable")
    return _Taste(cell, order, rng.permutation(_fame(n, spec.tail_exponent)), _odds(spec.homophily, values, cell))


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


def _choose(wanted: NDArray[np.int64], taste: _Taste, rng: np.random.Generator) -> Codes:
    """Give each person as many distinct ties as wanted; a tie is follower * 2**32 + followed."""
    n = len(wanted)
    done: list[Codes] = []
    codes, short = np.empty(0, dtype=np.int64), wanted
    for _ in range(_ROUNDS):
        rows = np.repeat(np.arange(n), short)
        picked = taste.pick(rows, rng)
        codes = np.concatenate([codes, (rows << 32 | picked)[picked != rows]])
        codes.sort()
        codes = codes[np.diff(codes, prepend=-1) > 0]
        follower = codes >> 32
        short = np.where(short > 0, wanted - np.bincount(follower, minlength=n), 0)
        still_open = short[follower] > 0
        done.append(codes[~still_open])
        codes = codes[still_open]
        if not short.any():
            break
    return np.concatenate([*done, codes, *_complete(short, codes, taste, rng)])


def _complete(short: NDArray[np.int64], codes: Codes, taste: _Taste, rng: np.random.Generator) -> list[Codes]:
    """Draw the ties that are hard to hit over all people at once (Gumbel top-k: Efraimidis and Spirakis 2006)."""
    n, rows = len(short), np.flatnonzero(short)
    pieces = []
    for block in np.array_split(rows, -(-len(rows) * n // _CHUNK)) if len(rows) else []:
        key = taste.log_weight(block) + rng.gumbel(size=(len(block), n))
        taken = codes[np.isin(codes >> 32, block)]
        key[np.searchsorted(block, taken >> 32), taken & _LOW] = -np.inf
        key[np.arange(len(block)), block] = -np.inf
        best = np.argsort(-key, axis=1)
        kept = np.arange(n) < short[block][:, None]
        pieces.append((block[:, None] << 32 | best)[kept])
    return pieces


def _graph(codes: Codes, n: int) -> csr_array:
    codes = np.sort(codes)
    starts = np.searchsorted(codes, np.arange(n + 1, dtype=np.int64) << 32)
    index = np.int32 if len(codes) < 2**31 else np.int64
    ones, indices = np.ones(len(codes), dtype=np.float32), (codes & _LOW).astype(index)
    return csr_array((ones, indices, starts.astype(index)), shape=(n, n))


def _return_ties(graph: csr_array, reciprocity: float, rng: np.random.Generator) -> csr_array:
    """Thin the ties and return some of the rest, so that the share of mutual ties is as asked and their number stays.

    Keeping a share p of ties, of which m are mutual by chance, and returning one-way ties until a share r is mutual
    gives (2 p - p**2 m) / (2 - r) times as many ties as before, which is 1 for the p below.
    """
    mutual = graph.multiply(graph.T).nnz / graph.nnz
    if mutual > reciprocity:
        raise NetworkError(
            f"network.reciprocity: {reciprocity:g} is less than the {mutual:.2f} that chance gives {graph.shape[0]} "
            f"people; allowed: {mutual:.2f} to 1, or leave it out; more people or a lower mean_degree bring it down"
        )
    keep = (2 - reciprocity) / (1 + np.sqrt(1 - mutual * (2 - reciprocity)))
    kept = _some(graph, keep, rng)
    both: csr_array = kept.multiply(kept.T).tocsr()
    one_way: csr_array = (kept - both).tocsr()
    one_way.eliminate_zeros()
    needed = (reciprocity * kept.nnz - both.nnz) / (2 - reciprocity)
    returned: csr_array = (kept + _some(one_way, needed / max(one_way.nnz, 1), rng).T).tocsr()
    returned.sort_indices()
    return returned


def _some(graph: csr_array, share: float, rng: np.random.Generator) -> csr_array:
    """Keep a random share of the ties."""
    ties = graph.tocoo()
    kept = rng.random(graph.nnz) < share
    return csr_array((ties.data[kept], (ties.row[kept], ties.col[kept])), shape=graph.shape)
