"""What a follow graph looks like, in a handful of figures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components


def summarise(graph: csr_array, people: pd.DataFrame, attributes: Sequence[str] = ()) -> dict[str, float]:
    """Describe a follow graph.

    Args:
        graph: The follow graph of n people.
        people: The population, n rows.
        attributes: Columns of people whose assortativity is wanted.

    Returns:
        ``people``, ``ties``, ``mean_degree``, ``most_followers``; ``tail_exponent`` of the number of followers, by
        `tail_exponent`; ``reciprocity``, the share of ties that are returned; ``largest_component``, the share of
        people in the largest weakly connected part; and ``assortativity.<attribute>``, Newman's coefficient (2003,
        "Mixing patterns in networks"). What cannot be told from so few ties is left out.

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
        "reciprocity": graph.multiply(graph.T).nnz / ties if ties else np.nan,
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


def _assortativity(graph: csr_array, values: pd.Series) -> float:
    code, names = pd.factorize(values, use_na_sentinel=False)
    k = len(names)
    follower = np.repeat(code, np.diff(graph.indptr))
    mixing = np.bincount(follower * k + code[graph.indices], minlength=k * k).reshape(k, k) / max(graph.nnz, 1)
    chance = float(mixing.sum(axis=1) @ mixing.sum(axis=0))
    return float((np.trace(mixing) - chance) / (1 - chance)) if graph.nnz and chance < 1 else np.nan
