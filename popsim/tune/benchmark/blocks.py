"""Standard errors of scores: what remains of a score when a block of persons, or of cells, is left out."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from popsim import streams
from popsim.tune.benchmark.parts import question_of
from popsim.tune.records import Shares

_BLOCKS = 20


def leave_out(
    rows: Sequence[Any], measure: Callable[[Sequence[int]], Mapping[str, float]], seed: int
) -> dict[str, list[float]]:
    """Score what remains when one in twenty persons, or cells of shares, is left out (delete-a-group jackknife).

    All rows of a person, to whatever question and in whatever draw, stand in one block, so the standard errors are
    clustered by person. A cell is one group's shares of one question. Models and baselines that were asked about the
    same have the same blocks, so their differences have standard errors too. What was learned from other answers stays
    as it is.

    Args:
        rows: What was to be predicted.
        measure: Gives the figures of some of the rows, by their places.
        seed: Of who is in which block.

    Returns:
        By score a figure for each block; none of a score that some block leaves without, and none at all of one person.

    Example:
        >>> from popsim.tune.records import Answer, Item
        >>> rows = [Answer(str(i), Item("q", "?", options=("yes", "no")), "no") for i in range(4)]
        >>> right = [1.0, 1.0, 0.0, 0.0]
        >>> left = leave_out(rows, lambda kept: {"accuracy": float(np.mean([right[at] for at in kept]))}, 0)
        >>> round(standard_error(left["accuracy"]), 4)
        0.2887
    """
    units = [(row.group, question_of(row)) if isinstance(row, Shares) else row.person for row in rows]
    distinct = list(dict.fromkeys(units))
    blocks = min(_BLOCKS, len(distinct))
    order = streams.rng(seed, "benchmark.jackknife").permutation(len(distinct))
    block = {unit: int(place) % blocks for unit, place in zip(distinct, order, strict=True)}
    found: dict[str, list[float]] = defaultdict(list)
    for left_out in range(blocks if blocks > 1 else 0):
        kept = [at for at, unit in enumerate(units) if block[unit] != left_out]
        for name, value in measure(kept).items():
            found[name].append(value)
    return {name: values for name, values in found.items() if len(values) == blocks}


def standard_error(values: Sequence[float]) -> float:
    """Give the standard error of a score from those that leave out one block each; blocks are independent.

    Example:
        >>> standard_error([0.5, 0.5, 0.5])
        0.0
    """
    blocks = np.asarray(values, dtype=np.float64)
    return float(np.sqrt((len(blocks) - 1) / len(blocks) * np.sum((blocks - blocks.mean()) ** 2)))
