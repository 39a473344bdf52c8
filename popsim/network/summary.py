"""What a follow graph looks like, in a handful of figures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from popsim.network.graph import contains, turned

_MOST_PATHS = 2_000_000
_SAMPLE = 200_000


def summarise(graph: csr_array, people: pd.DataFrame, attributes: Sequence[str] = ()) -> dict[str, float]:
    """Describe a follow graph.

    Args:
        graph: The follow graph of n people.
        people: The population, n rows.
        attributes: Columns of people whose assortativity is wanted.

    Returns:
        ``people``, ``ties``, ``mean_degree``, ``most_followers``; ``tail_exponent`` of the number of followers, by
        `tail_exponent`; ``reciprocity``, the share of ties that are returned; ``clustering``, by `clustering`;
        ``largest_component``, the share of people in the largest weakly connected part; and
        ``assortativity.<attribute>``, Newman's coefficient (2003, "Mixing patterns in networks"). What cannot be told
        from so few ties is left out.

    Example:
        >>> people = pd.DataFrame({"party": ["a", "a", "b"]})
        >>> summarise(csr_array(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])), people, ["party"])["reciprocity"]
        1.0
    """
    n, ties = graph.shape[0], graph.nnz
    in_degree = np.bincount(graph.indices, minlength=n)
    parts = connected_components(graph, directed=True, connection="weak")[1]
    figures = {
        "people": n,
        "ties": ties,
        "mean_degree": ties / n,
        "most_followers": int(in_degree.max()),
        "tail_exponent": tail_exponent(in_degree),
        "reciprocity": _reciprocity(graph) if ties else np.nan,
        "clustering": clustering(graph),
        "largest_component": float(np.bincount(parts).max() / n),
        **{f"assortativity.{name}": _assortativity(graph, people[name]) for name in attributes},
    }
    return {name: figure for name, figure in figures.items() if not np.isnan(figure)}


def tail_exponent(degrees: NDArray[np.integer], share: float = 0.01) -> float:
    """Estimate the exponent of a power-law tail by maximum likelihood.

    The discrete estimator of Clauset, Shalizi and Newman (2009, "Power-law distributions in empirical data", eq. 3.7)
    over the largest degrees.

    Args:
        degrees: (n,) number of ties of each person.
        share: The share of people that counts as the tail.

    Returns:
        The exponent, NaN where fewer than 50 people or degrees below 6 would be in the tail.

    Example:
        >>> degrees = np.floor(10 * (1 - np.arange(100_000) / 100_000) ** (-1 / 1.5) + 0.5).astype(int)
        >>> round(tail_exponent(degrees), 1)
        2.5
    """
    size = int(len(degrees) * share)
    if size < 50:
        return np.nan
    least = np.partition(degrees, -size)[-size]
    if least < 6:
        return np.nan
    tail = degrees[degrees >= least]
    return float(1 + len(tail) / np.log(tail / (least - 0.5)).sum())


def clustering(graph: csr_array) -> float:
    """Share of the ordered pairs of those whom a person follows in which the one follows the other.

    Averaged over the people who follow at least two: the local clustering coefficient (Watts and Strogatz 1998,
    "Collective dynamics of small-world networks") of whom people follow. Where there are up to 2 million paths of two
    steps, all pairs are counted; otherwise one pair of each of 200,000 people drawn at random with a fixed seed, for a
    standard error of at most 0.0011.

    Args:
        graph: A follow graph with sorted indices.

    Returns:
        The share, NaN where nobody follows two.

    Example:
        >>> clustering(csr_array(np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]])))
        0.5
    """
    row, starts, followed = _rows(graph), graph.indptr.astype(np.int64), graph.indices.astype(np.int64)
    degree = np.diff(starts)
    several = np.flatnonzero(degree >= 2)
    if not len(several):
        return np.nan
    ties, steps = row << 32 | followed, degree[followed]
    if steps.sum() <= _MOST_PATHS:
        first = np.repeat(row, steps)
        place = np.arange(len(first)) - np.repeat(np.cumsum(steps) - steps, steps)
        last = followed[np.repeat(starts[followed], steps) + place]
        closed = np.bincount(first[contains(ties, first << 32 | last)], minlength=len(degree))
        return float((closed[several] / (degree * (degree - 1))[several]).mean())
    rng = np.random.default_rng(0)
    person = rng.choice(several, size=_SAMPLE)
    one = rng.integers(degree[person])
    other = (one + 1 + rng.integers(degree[person] - 1)) % degree[person]
    return float(contains(ties, followed[starts[person] + one] << 32 | followed[starts[person] + other]).mean())


def _rows(graph: csr_array) -> NDArray[np.int64]:
    """List the follower of each tie."""
    return np.repeat(np.arange(graph.shape[0], dtype=np.int64), np.diff(graph.indptr))


def _reciprocity(graph: csr_array) -> float:
    ties = _rows(graph) << 32 | graph.indices
    return float(contains(ties, np.sort(turned(ties))).mean())


def _assortativity(graph: csr_array, values: pd.Series) -> float:
    code, names = pd.factorize(values, use_na_sentinel=False)
    k = len(names)
    follower = code[_rows(graph)]
    mixing = np.bincount(follower * k + code[graph.indices], minlength=k * k).reshape(k, k) / max(graph.nnz, 1)
    chance = float(mixing.sum(axis=1) @ mixing.sum(axis=0))
    return float((np.trace(mixing) - chance) / (1 - chance)) if graph.nnz and chance < 1 else np.nan
