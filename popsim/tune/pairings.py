"""Preference pairs: a person's own answer against another's different answer to the same question."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from popsim import streams
from popsim.tune.records import Answer


class Preference(NamedTuple):
    """One pair, for the prompt of the person who gave the chosen answer.

    Attributes:
        chosen: The person's own answer.
        rejected: The value of another person's answer in the same cell.
    """

    chosen: Answer
    rejected: str | float


def preference_pairs(answers: Sequence[Answer], seed: int = 0) -> list[Preference]:
    """Pair each answer with another person's different one in the same study, condition and question.

    Source: Socrates (arXiv 2509.05830), which builds such pairs on the fly. An answer without another in its cell has
    no pair. Which of the others is taken is drawn, so frequent answers are rejected more often.

    Args:
        answers: Of persons; those without status ``ok`` take no part.
        seed: Of the draw.

    Example:
        >>> from popsim.tune.records import Item
        >>> q = Item("q", "?", options=("a", "b"))
        >>> people = [Answer("1", q, "a"), Answer("2", q, "b"), Answer("3", q, "b")]
        >>> [pair.rejected for pair in preference_pairs(people)]
        ['b', 'a', 'a']
    """
    cells: defaultdict[tuple[str, str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.status == "ok":
            cells[answer.study, answer.condition, answer.item.name].append(answer)
    found = []
    for answer in answers:
        if answer.status != "ok" or answer.value is None:
            continue
        cell = cells[answer.study, answer.condition, answer.item.name]
        others = [one.value for one in cell if one.person != answer.person and one.value != answer.value]
        if not others:
            continue
        key = f"tune.pair.{seed}.{answer.study}.{answer.condition}.{answer.item.name}.{answer.person}"
        at = int(float(streams.uniform(streams.stream(key))) * len(others))
        rejected = others[at]
        assert rejected is not None
        found.append(Preference(answer, rejected))
    return found
