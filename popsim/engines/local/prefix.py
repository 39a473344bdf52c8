"""Prompts that begin alike: who shares a beginning, and keys and values that are computed once for all of them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

Ids = NDArray[np.int32]

SHORTEST = 16
"""Tokens that a common beginning needs to be worth a pass of its own."""


def families(rows: Sequence[Ids], least: int) -> list[tuple[list[int], int]]:
    """Group prompts that have half their tokens in common with their neighbours in the order of the dictionary.

    Args:
        rows: Tokens of each prompt.
        least: Rows that make a family; smaller groups are put together as one that shares nothing.

    Returns:
        Positions of the rows of each group, and how many first tokens they share; one less than the shortest row has
        at most, since a row needs a token to read.

    Example:
        >>> alike = [np.array([*range(40), last], dtype=np.int32) for last in (7, 8)]
        >>> families([*alike, np.array([5], dtype=np.int32)], 2)
        [([0, 1], 40), ([2], 0)]
    """
    order = sorted(range(len(rows)), key=lambda i: rows[i].astype(">i4").tobytes())
    groups: list[tuple[list[int], int]] = []
    for i in order:
        length = len(rows[i]) - 1
        if groups:
            members, common = groups[-1]
            shared = min(_common(rows[members[-1]], rows[i]), common, length)
            if shared >= SHORTEST and 2 * shared >= length:
                members.append(i)
                groups[-1] = (members, shared)
                continue
        groups.append(([i], length))
    large = [(members, shared) for members, shared in groups if len(members) >= max(2, min(least, len(rows)))]
    kept = {i for members, _ in large for i in members}
    rest = [i for i in range(len(rows)) if i not in kept]
    return [*large, *([(rest, 0)] if rest else [])]


def _common(one: Ids, other: Ids) -> int:
    """Count the first tokens that two rows have in common."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if len(differ) else length


def can_share(cache: DynamicCache) -> bool:
    """Whether a model remembers each token by itself: no sliding windows, no running states."""
    return bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)


def spread(cache: DynamicCache, shifts: Sequence[int], empty: DynamicCache) -> DynamicCache:
    """Give each row a copy of the keys and values of a common beginning, moved to the right.

    Args:
        cache: Of one row.
        shifts: Places by which each row is padded on the left; what falls off on the right is read again.
        empty: A new cache, to be filled.
    """
    places = torch.arange(cache.get_seq_length())[None, :] - torch.tensor(shifts)[:, None]
    for index, layer in enumerate(cache.layers):
        at = places.clamp(min=0).to(layer.keys.device)
        empty.update(layer.keys[0][:, at].transpose(0, 1), layer.values[0][:, at].transpose(0, 1), index)
    return empty
