"""Parts of the data for learning, choosing and testing, and a test that nothing of one part stands in another.

A row goes where the hash of its person (or question, condition, study, group) sends it, so it stays there when rows
are added. A random split of rows is not offered: rows of one study on both sides make any model look good.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from popsim.errors import TuneError
from popsim.streams import stream, uniform
from popsim.tune.records import Answer, Shares

Record = TypeVar("Record", Answer, Shares)
By = Literal["person", "question", "condition", "study", "group"]


def key_of(record: Answer | Shares, by: By, facts: Sequence[str] = ()) -> str:
    """Give what a record shares with others that must stay in the same part.

    A question counts as the same wherever its words are, whatever its name; a condition is one of its study.

    Args:
        record: An answer or a distribution.
        by: What.
        facts: Of an answer: the facts that make a group.

    Raises:
        TuneError: The record has no such thing.

    Example:
        >>> from popsim.tune.records import Item
        >>> key_of(Answer("7", Item("q", " Do you  Agree?"), "x"), "question")
        'do you agree?'
    """
    if by == "question":
        return " ".join(record.item.text.casefold().split()) or record.item.name
    if by == "study":
        return record.study
    if isinstance(record, Shares):
        if by == "group":
            return record.group
        raise TuneError(f"split: shares of {record.group} have no {by}; split by group, question or study")
    if by == "person":
        return record.person
    if by == "condition":
        return f"{record.study}/{record.condition}"
    if not facts:
        raise TuneError("split: by group needs facts, the names of what makes a group of people")
    if lacks := [name for name in facts if name not in record.facts]:
        raise TuneError(f"split: person {record.person} has no {lacks[0]!r}")
    return "; ".join(f"{name}: {record.facts[name]}" for name in facts)


def split(
    records: Sequence[Record], by: Sequence[By], parts: Mapping[str, float], seed: int = 0, facts: Sequence[str] = ()
) -> dict[str, list[Record]]:
    """Put every record into one part.

    Args:
        records: Answers or distributions.
        by: What stays together; with several, every combination of them, such as group and question.
        parts: The name of each part and its share; the shares sum to 1.
        seed: Another seed gives another split.
        facts: Of answers: the facts that make a group.

    Returns:
        The records of each part, in their order.

    Raises:
        TuneError: The shares do not sum to 1, or a part remains empty.

    Example:
        >>> from popsim.tune.records import Item
        >>> rows = [Answer(str(i % 50), Item("q", "?"), "x") for i in range(100)]
        >>> found = split(rows, ["person"], {"train": 0.8, "test": 0.2})
        >>> {one.person for one in found["train"]} & {one.person for one in found["test"]}
        set()
    """
    if not by or not parts or min(parts.values()) <= 0 or abs(math.fsum(parts.values()) - 1) > 1e-9:
        raise TuneError(f"split: needs something to split by, and positive shares that sum to 1, not {dict(parts)}")
    found: dict[str, list[Record]] = {name: [] for name in parts}
    places: dict[str, str] = {}
    for record in records:
        key = _key(record, by, facts)
        if key not in places:
            places[key] = _part(float(uniform(stream(f"tune.split.{seed}.{key}"))), parts)
        found[places[key]].append(record)
    if empty := [name for name, rows in found.items() if not rows]:
        raise TuneError(
            f"split: part {empty[0]!r} is empty; there are {len(places)} of {' x '.join(by)}: give it a larger share, "
            "or split by something finer"
        )
    return found


def _key(record: Answer | Shares, by: Sequence[By], facts: Sequence[str] = ()) -> str:
    return "\0".join(key_of(record, one, facts) for one in by)


def _part(at: float, parts: Mapping[str, float]) -> str:
    end = 0.0
    for name, share in parts.items():
        end += share
        if at < end:
            return name
    return name


def part(records: Sequence[Record], share: float, seed: int = 0) -> list[Record]:
    """Keep a share of the persons, or of the distributions of groups; a smaller part lies within a larger one.

    Args:
        records: Answers or distributions.
        share: Above 0, at most 1, where all are kept.
        seed: Another seed keeps others.

    Raises:
        TuneError: Nothing remains.

    Example:
        >>> from popsim.tune.records import Item
        >>> rows = [Answer(str(i), Item("q", "?"), "x") for i in range(1000)]
        >>> quarter, half = ({one.person for one in part(rows, share)} for share in (0.25, 0.5))
        >>> 200 < len(quarter) < 300, quarter <= half
        (True, True)
    """
    if share == 1:
        return list(records)

    def place(record: Record) -> float:
        key = _key(record, ("person",) if isinstance(record, Answer) else ("group", "question"))
        return float(uniform(stream(f"tune.part.{seed}.{key}")))

    found = [record for record in records if place(record) < share]
    if not found:
        raise TuneError(f"part: {share:g} of {len(records)} rows leaves none; give a larger share")
    return found


def check_leaks(parts: Mapping[str, Sequence[Record]], by: Sequence[By], facts: Sequence[str] = ()) -> None:
    """Fail where something that should stand in one part only stands in two.

    Args:
        parts: The records of each part.
        by: What must not be shared; with several, no combination of them.
        facts: Of answers: the facts that make a group.

    Raises:
        TuneError: The parts leak; the message counts how much and names one case.

    Example:
        >>> from popsim.tune.records import Item
        >>> row = Answer("7", Item("q", "?"), "x")
        >>> check_leaks({"train": [row], "test": [row]}, ["person"])
        Traceback (most recent call last):
        popsim.errors.TuneError: leak: 1 of 1 person in 'test' also in 'train', for example '7'; split by person
    """
    keys = {
        name: {"; ".join(key_of(record, one, facts) for one in by) for record in rows} for name, rows in parts.items()
    }
    names, what = list(keys), " x ".join(by)
    for i, later in enumerate(names):
        for earlier in names[:i]:
            if both := sorted(keys[later] & keys[earlier]):
                raise TuneError(
                    f"leak: {len(both)} of {len(keys[later])} {what} in {later!r} also in {earlier!r}, "
                    f"for example {both[0][:80]!r}; split by {what}"
                )
