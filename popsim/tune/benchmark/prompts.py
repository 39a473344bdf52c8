"""The prompts of a benchmark: what each record is asked, in the words that a tune learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from popsim import streams
from popsim.engines import Prompt, Prompts
from popsim.errors import TuneError
from popsim.tune.asking import Asked, ask_group, ask_person, other_answers
from popsim.tune.benchmark.config import BenchmarkConfig
from popsim.tune.formats.alpaca import listed_options, relist_options
from popsim.tune.records import Answer, Shares, numbers_of

_LETTER_ALONE = "Reply with the letter of one option and nothing else."


class Form(NamedTuple):
    """What a record is asked, and how its answer is told.

    Attributes:
        text: The user's turn.
        prefill: What the reply begins with.
        options: The option, or the number, that each letter stands for; empty where words or a number are written.
        scored: Whether these letters are scored, one token each, or an answer is written.
    """

    text: str
    prefill: str
    options: Mapping[str, str] = {}
    scored: bool = False


def form_of(record: Answer | Shares, config: BenchmarkConfig, shots: Sequence[Answer], *, prefill: bool) -> Form:
    """Put a record into words.

    Args:
        record: The record.
        config: The benchmark.
        shots: Other answers of the same person.
        prefill: Whether the engine can go on from the beginning of a reply.

    Raises:
        TuneError: There are more options than letters, or numbers that cannot be scored.
    """
    if isinstance(record, Shares):
        asked = ask_group(record, config.steering)
    else:
        asked = ask_person(record, shots, reasoning=config.reasoning)
    own, scored = record.prompt, config.method == "choice"
    if isinstance(record, Shares) and own and scored:
        raise TuneError(f"group {record.group}: its prompt asks for shares in words; write readout: generate")
    if record.item.options:
        options = listed_options(own) if own else dict(zip(record.item.letters, record.item.options, strict=True))
        if scored and not options:
            raise TuneError(f"question {record.item.name}: its prompt lists no letters; write readout: generate")
        text, begun = (asked.text, asked.prefill) if scored else _written(asked, own, prefill=prefill)
        return Form(text, begun, options, scored)
    if scored:
        numbers = tuple(f"{number:g}" for number in numbers_of(record.item))
        if not numbers:
            raise TuneError(f"question {record.item.name}: has no scale to score; write readout: generate")
        return Form(asked.text, "", dict(zip(numbers, numbers, strict=True)), scored)
    return Form(asked.text, "")


def _written(asked: Asked, own: str, *, prefill: bool) -> tuple[str, str]:
    """Give the turn and the beginning of a reply that is written."""
    if own or not asked.prefill or prefill:
        return asked.text, asked.prefill
    return f"{asked.text}\n{_LETTER_ALONE}", ""


class RecordPrompts(Prompts):
    """The prompts of records, draw after draw, rendered when asked for.

    Args:
        records: What is asked.
        config: The benchmark.
        prefill: Whether the engine can go on from the beginning of a reply.
    """

    def __init__(self, records: Sequence[Any], config: BenchmarkConfig, *, prefill: bool) -> None:
        self.draws = config.draws
        self._records = records
        self._config, self._prefill = config, prefill
        self._shots: list[tuple[Answer, ...]] = [()] * len(records)
        if config.shots and config.task != "shares":
            self._shots = other_answers(records, config.shots, config.seed)
        self._stream = streams.stream(f"benchmark.{config.seed}")

    def __len__(self) -> int:
        """Count records times draws."""
        return len(self._records) * self.draws

    def form(self, position: int) -> Form:
        """Put the record of a position into words."""
        at = position // self.draws
        return form_of(self._records[at], self._config, self._shots[at], prefill=self._prefill)

    def prompt(self, i: int) -> Prompt:
        """Render one prompt."""
        form = self.form(i)
        record, draw = divmod(i, self.draws)
        return Prompt(
            (("user", form.text),),
            self._config.sampling.wire(1024),
            int(streams.hashed(self._stream, record, draw) >> np.uint64(1)),
            prefill=form.prefill,
            choices=tuple(form.options) if form.scored else (),
            adapter=self._config.engine.adapter,
        )


def shuffled(record: Any, seed: int) -> Any:
    """Give a record with its options in another order, in the prompt of its own where it has one.

    Args:
        record: With options.
        seed: Of the order, which is never the same as before.

    Example:
        >>> from popsim.tune.records import Item
        >>> shuffled(Answer("7", Item("q", "?", options=("yes", "no")), "no"), 0).item.options
        ('no', 'yes')
    """
    listed = listed_options(getattr(record, "prompt", ""))
    old = tuple(listed.values()) or record.item.options
    who = record.person if isinstance(record, Answer) else record.group
    rng = streams.rng(seed, f"benchmark.options.{who}.{record.study}.{record.item.name}")
    order = rng.permutation(len(old)).tolist()
    if order == list(range(len(old))):
        order = order[1:] + order[:1]
    new = [old[at] for at in order]
    if listed:
        return replace(record, prompt=relist_options(record.prompt, dict(zip(listed, new, strict=True))))
    where = [record.item.options.index(option) for option in new]
    places = tuple(record.item.places[at] for at in where) if record.item.places else ()
    item = replace(record.item, options=tuple(new), places=places)
    if isinstance(record, Answer):
        return replace(record, item=item)
    return replace(record, item=item, shares=tuple(record.shares[at] for at in where))
