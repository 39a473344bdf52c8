"""What a person has heard, as it stands in the feed."""

from collections.abc import Sequence

NEVER = -1
"""The step of an item that a person has not heard."""


def feed(steps: Sequence[int], strength: Sequence[float], limit: int) -> list[int]:
    """Rank what a person has heard: the newest first, and of these what came over the strongest tie.

    Args:
        steps: Step at which the person heard each item, `NEVER` where they have not.
        strength: Attention that the person gives to whoever brought it; 0 where it came from its source directly.
        limit: The most items to list.

    Returns:
        Positions of items; of those that are alike the later one comes first.

    Example:
        >>> feed([2, NEVER, 5, 2, 2], [0.0, 0.0, 0.0, 0.5, 0.0], limit=3)
        [2, 3, 4]
    """
    heard = [(step, strength[item], item) for item, step in enumerate(steps) if step != NEVER]
    return [item for *_, item in sorted(heard, reverse=True)[:limit]]
