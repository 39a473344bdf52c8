"""What of a file is held out and asked about, and what baselines may know."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from popsim.errors import TuneError
from popsim.tune.benchmark.config import BenchmarkConfig
from popsim.tune.data import read_records
from popsim.tune.formats.alpaca import STANCE_WORDS
from popsim.tune.records import Answer, Item, Shares
from popsim.tune.splits import By, check_leaks, key_of, split

Record = Answer | Shares
_WANTED = {
    "shares": "shares of groups (cultures, subpop)",
    "responses": "persons' answers to questions with options",
    "stances": f"the stances {', '.join(STANCE_WORDS[0])}",
    "numbers": "persons' numeric answers",
    "roles": "persons' answers in words",
    "interview": "persons' answers in words",
}


@dataclass(frozen=True)
class Parts:
    """The records of a benchmark.

    Attributes:
        held_out: What is asked about and scored; every record has an answer.
        known: What baselines may learn from.
        left_out: Held-out rows without an answer to score, by status: missing codes, and answers of people that could
            not be read.
    """

    held_out: list[Any]
    known: list[Any]
    left_out: dict[str, int]


def read_parts(config: BenchmarkConfig) -> Parts:
    """Read the files of a benchmark and hold out what is to be scored.

    Raises:
        TuneError: A file cannot be read or does not fit the task, the parts leak, or nothing is left to score.
    """
    records: list[Any] = list(read_records(config.data))
    known: list[Any] = list(read_records(config.known)) if config.known else []
    if config.part:
        names = sorted({one.split for one in records if isinstance(one, Shares)})
        known = [one for one in records if getattr(one, "split", "") != config.part]
        records = [one for one in records if getattr(one, "split", "") == config.part]
        if not records:
            raise TuneError(f"part: {config.data.file} has no {config.part!r}; it has {', '.join(names) or 'no parts'}")
    elif config.split:
        shares = {"known": 1 - config.split.held_out, "held out": config.split.held_out}
        parts = split(records, config.split.by, shares, config.split.seed, config.groups)
        records, known = parts["held out"], parts["known"]
    _check_apart(records, known, config)
    together = _in_order([*records, *known], config)
    held_out, known = together[: len(records)], [one for one in together[len(records) :] if _answered(one)]
    for one in held_out:
        _check_task(one, config)
    counts: Counter[str] = Counter(one.status for one in held_out if isinstance(one, Answer) and not _answered(one))
    held_out = [one for one in held_out if _answered(one)]
    if not held_out:
        raise TuneError(f"{config.data.file}: no answer is left to score")
    return Parts(held_out, known, dict(counts))


def question_of(record: Record) -> str:
    """Name the question of a record: the same words with the same options are the same question.

    Example:
        >>> item = Item("q", "Well?", options=("yes", "no"))
        >>> question_of(Answer("7", item, "no")) == question_of(Answer("8", replace(item, options=("no", "yes")), "no"))
        True
    """
    return _question_of(record.study, record.item)


@lru_cache(maxsize=65536)
def _question_of(study: str, item: Item) -> str:
    return "\0".join((study, key_of(Answer("", item, None), "question"), *sorted(item.options)))


def _answered(record: Record) -> bool:
    return isinstance(record, Shares) or record.status == "ok"


def _check_apart(records: Sequence[Any], known: Sequence[Any], config: BenchmarkConfig) -> None:
    """Refuse known answers that tell what is held out; a file's own rows never stand on both sides."""
    by: Sequence[By]
    for by in [(one,) for one in config.apart]:
        check_leaks({"known": known, "held out": records}, by, config.groups)


def _check_task(record: Record, config: BenchmarkConfig) -> None:
    """Refuse a record that the task cannot score."""
    item = record.item
    fits = {
        "shares": isinstance(record, Shares),
        "responses": isinstance(record, Answer) and bool(item.options),
        "stances": isinstance(record, Answer) and item.options in STANCE_WORDS,
        "numbers": isinstance(record, Answer) and not item.options and not isinstance(record.value, str),
        "roles": isinstance(record, Answer) and not item.options,
        "interview": isinstance(record, Answer) and not item.options,
    }[config.task]
    if not fits:
        has = f"options {', '.join(item.options)}" if item.options else "no options"
        kind = "shares of a group" if isinstance(record, Shares) else "a person's answer"
        raise TuneError(
            f"{config.data.file}: question {item.name}: is {kind}, with {has}; task {config.task} "
            f"scores {_WANTED[config.task]}: choose another task"
        )
    if config.groups and isinstance(record, Answer) and (lacks := [x for x in config.groups if x not in record.facts]):
        raise TuneError(
            f"groups: person {record.person} has no {lacks[0]!r}; known: {', '.join(record.facts) or 'nothing'}"
        )


def _in_order(records: Sequence[Any], config: BenchmarkConfig) -> list[Any]:
    """Give every question one order of options: the one that is declared, else the first in the file.

    Raises:
        TuneError: An order or a rule is of no question, or the options of an order are not those of the question.
    """
    names = {one.item.name for one in records}
    for key, named in (("orders", config.orders), ("rules", config.rules)):
        if unknown := sorted(set(named) - names):
            raise TuneError(f"{key}: no question is named {unknown[0]!r}; there are {', '.join(sorted(names)[:8])}")
    seen: dict[str, Item] = {}
    return [_reordered(one, seen, config) if one.item.options else one for one in records]


def _reordered(record: Any, seen: dict[str, Item], config: BenchmarkConfig) -> Any:
    item, key = record.item, question_of(record)
    if key not in seen:
        order = config.orders.get(item.name)
        if order and set(order) != set(item.options):
            odd = sorted(set(order) ^ set(item.options))
            raise TuneError(f"orders: question {item.name}: {odd[0]!r} is on one side only; list each option once")
        places = tuple(float(place) for place in range(len(order))) if order else item.places
        if item.options in STANCE_WORDS and not places:
            places = (0.0, 1.0, 2.0)
        seen[key] = replace(item, options=order or item.options, places=places)
    first = seen[key]
    if first.options == item.options:
        return replace(record, item=first)
    if isinstance(record, Answer):
        return replace(record, item=first)
    shares = dict(zip(item.options, record.shares, strict=True))
    return replace(record, item=first, shares=tuple(shares[option] for option in first.options))
