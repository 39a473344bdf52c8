"""Who hears an item first, and who is shown it by experiment.

A draw belongs to the item and the person, whoever else is drawn, so a larger share is a superset.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim.errors import NetworkError
from popsim.network.follow import column
from popsim.streams import uniform

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
_DIRECT, _ASSIGNED = 0, 3  # 1 and 2 are those of spread.py


def first_hearers(item_key: int, n: int, reach: float, weight: Floats | None = None) -> Flags:
    """Draw who hears an item directly.

    Args:
        item_key: The item in this run, as in `popsim.network.Item`.
        n: Number of people.
        reach: Share of people, 0 to 1; each hears it independently with this probability.
        weight: (n,) how likely each person is compared with the others, for example from `attribute_weight`; the
            probability is in proportion to it, at most 1, and ``reach`` on average.

    Returns:
        (n,) whether each person hears it.

    Example:
        >>> few, many = first_hearers(5, 1000, 0.1), first_hearers(5, 1000, 0.2)
        >>> int(few.sum()), bool((few <= many).all())
        (89, True)
    """
    chance = reach if weight is None else _capped(np.asarray(weight, dtype=np.float64), reach)
    return np.asarray(uniform(item_key, _DIRECT, np.arange(n)) < chance)


def _capped(weight: Floats, reach: float) -> Floats:
    """Probabilities min(1, c * weight) whose mean is ``reach``, or as near to it as positive weights allow."""
    ranked = np.sort(weight[weight > 0])[::-1]
    scale = (reach * len(weight) - np.arange(len(ranked))) / np.cumsum(ranked[::-1])[::-1]
    first = np.flatnonzero(scale * ranked <= 1)
    chance = np.minimum(1.0, max(scale[first[0]], 0.0) * weight) if len(first) else weight > 0
    return np.asarray(chance, dtype=np.float64)


def attribute_weight(people: pd.DataFrame, odds: Mapping[str, Mapping[str, float]]) -> Floats:
    """Weigh people by their attributes, for `first_hearers`.

    Args:
        people: The population, n rows.
        odds: For some values of some attributes, how many times as likely as others; attributes multiply.

    Returns:
        (n,) weights, 1 for people of whom nothing is said.

    Raises:
        NetworkError: There is no such attribute, or it has no such value.

    Example:
        >>> attribute_weight(pd.DataFrame({"party": ["a", "b"]}), {"party": {"b": 3}}).tolist()
        [1.0, 3.0]
    """
    weight = np.ones(len(people))
    for name, ratios in odds.items():
        given = column(people, name, "odds")
        if isinstance(given.dtype, pd.CategoricalDtype):
            known = [str(level) for level in given.cat.categories]
            for value in ratios:
                if value not in known:
                    raise NetworkError(f"odds.{name}: {value!r} is no value of it; allowed: {', '.join(known)}")
        values = given.astype(str)
        weight *= values.map(lambda value, ratios=ratios: float(ratios.get(value, 1.0))).to_numpy(np.float64)
    return weight


def most_followed(followers_csr: csr_array, reach: float) -> Flags:
    """Take the people with the most followers as the first hearers of an item.

    Args:
        followers_csr: From `popsim.network.followers`.
        reach: Share of people, 0 to 1, rounded up to whole people.

    Returns:
        (n,) whether each person hears it; of equals the lower row number comes first.

    Example:
        >>> from popsim.network import followers
        >>> most_followed(followers(csr_array(np.array([[0, 0], [1, 0]]))), 0.5).tolist()
        [True, False]
    """
    n = followers_csr.shape[0]
    order = np.argsort(-np.diff(followers_csr.indptr), kind="stable")
    taken = np.zeros(n, dtype=np.bool_)
    taken[order[: int(np.ceil(reach * n - 1e-9))]] = True
    return taken


def assigned(item_key: int, n: int, share: float) -> Flags:
    """Draw who is shown an item by experiment, whatever reaches them otherwise.

    Args:
        item_key: The item in this run, as in `popsim.network.Item`.
        n: Number of people.
        share: Share of people treated, 0 to 1.

    Returns:
        (n,) whether each person is treated; a larger share treats a superset.

    Example:
        >>> int(assigned(5, 1000, 0.5).sum())
        508
    """
    return np.asarray(uniform(item_key, _ASSIGNED, np.arange(n)) < share)
