"""What a person has heard, as it stands in the feed."""

import numpy as np
from numpy.typing import NDArray

NEVER = -1
"""The step of an item that a person has not heard."""


def feed(heard_step: NDArray[np.integer], person: int, limit: int) -> list[int]:
    """List the items that a person has heard, newest first.

    Args:
        heard_step: (people, items) step at which each person heard each item, or `NEVER`.
        person: The row.
        limit: The most items to list.

    Returns:
        Item columns; of items heard in the same step the later column comes first.

    Example:
        >>> feed(np.array([[2, NEVER, 5, 2]]), 0, limit=3)
        [2, 3, 0]
    """
    steps = heard_step[person].tolist()
    heard = [(step, item) for item, step in enumerate(steps) if step != NEVER]
    return [item for _, item in sorted(heard, reverse=True)[:limit]]
