"""Readouts: whole distributions of answers, measured in a model's probabilities instead of sampled as text.

Fields are read one after the other, each given those before it. The first is exact. From it particles are drawn, the
next field is read given each of them, and its distribution is the mean over the particles; and so on. Changes between
fields come from the same particles. After reasoning all of this is conditional on the reasoning, so it is averaged over
several of them; how far the particles and the reasonings disagree is reported with every distribution.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from popsim import streams
from popsim.engines.particles import Particles
from popsim.engines.walk import Grid, Walked, walk
from popsim.engines.wire import Ability, Engine, Prompt, Readout, Reply, Speller, answer_all, require
from popsim.errors import EngineError

_AT_ONCE = 2048
"""Prompts, or particles of prompts where there are several, that are measured together."""
_MANY = 8
"""So many prompts that fail next to each other end the run."""
_ANSWER = "<final_answer>"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

_NEEDS: dict[str, tuple[Ability, ...]] = {"number": ("next",), "choice": ("choice", "prefill")}


def measured(engine: Engine, kinds: Iterable[str]) -> Engine:
    """Give an engine that answers readouts: the engine itself where it does so or none is asked for, or `Measured`.

    Args:
        engine: Any engine.
        kinds: ``generate``, ``number`` or ``choice``, as the scenarios say.

    Raises:
        EngineError: The engine lacks what a kind of readout needs.

    Example:
        >>> from popsim.engines import load_engine
        >>> measured(load_engine("baseline"), ["generate"]).fingerprint == load_engine("baseline").fingerprint
        True
    """
    wanted = sorted(set(kinds) - {"generate"})
    if not wanted or "readout" in engine.abilities:
        return engine
    for kind in wanted:
        require(engine, f"readout: {kind}", *_NEEDS[kind])
    return Measured(engine)


class Measured:
    """An engine whose probabilities answer the prompts that have a readout; the others it answers as before.

    The text of a reply is one JSON object: ``distributions``, one for each field and each change with the values and
    their probabilities, the mass left out, and its errors; and ``reasonings``, the texts that came before. It counts as
    tokens written those of the reasonings and every beginning that the model was asked to go on from.

    Args:
        engine: The engine; with the ability ``next`` it measures numbers, with ``choice`` and ``prefill`` letters.

    Example:
        >>> from popsim.engines.wire import Field, Spelling
        >>> class Coin:
        ...     fingerprint, reads, abilities, reproducible, notice = "coin", "text", frozenset({"next"}), "exact", ""
        ...     def spelling(self):
        ...         return ["0", "1", '"', "?"]
        ...     def next_logprobs(self, asked, tokens):
        ...         return np.log(np.full((len(asked), len(tokens)), 0.25))
        >>> bit = Field("v.bit", '{"bit": "', (Spelling("0", '"', 0.0), Spelling("1", '"', 1.0)))
        >>> [reply] = answer_all(Measured(Coin()), [Prompt((), readout=Readout("number", (bit,)))])
        >>> [found] = json.loads(reply.text)["distributions"]
        >>> found["values"], found["probabilities"], found["left_out"]
        ([0.0, 1.0], [0.0625, 0.0625], 0.875)
    """

    def __init__(self, engine: Engine) -> None:
        self.fingerprint = engine.fingerprint
        self.reads: Literal["text", "facts"] = engine.reads
        self.abilities: frozenset[Ability] = engine.abilities | {"readout"}
        self.reproducible: Literal["exact", "best_effort"] = engine.reproducible
        self.notice = engine.notice
        self._engine = engine
        self._grids: dict[tuple[str, int], Grid] = {}

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield the replies, those with a readout as each group of them has been measured.

        Raises:
            EngineError: The engine can measure none of many prompts.
        """
        for start in range(0, len(prompts), _AT_ONCE):
            alike: dict[str, list[tuple[int, Prompt]]] = {}
            for position in range(start, min(start + _AT_ONCE, len(prompts))):
                prompt = prompts[position]
                alike.setdefault(prompt.readout.digest if prompt.readout else "", []).append((position, prompt))
            for group in alike.values():
                positions, asked = [position for position, _ in group], [prompt for _, prompt in group]
                readout = asked[0].readout
                if readout is None:
                    yield from ((positions[i], reply) for i, reply in self._engine.answer(asked))
                    continue
                size = max(1, _AT_ONCE // int(np.prod(readout.shape)))
                for first in range(0, len(group), size):
                    replies = self._measure(readout, asked[first : first + size])
                    yield from zip(positions[first : first + size], replies, strict=True)

    def _measure(self, readout: Readout, prompts: Sequence[Prompt]) -> list[Reply]:
        """Measure prompts together, and where that fails each half of them, down to those that fail.

        One prompt that cannot be read is an error of its own; many in a row are an engine that has failed.
        """
        try:
            return self._read_out(readout, prompts)
        except EngineError as problem:
            if len(prompts) == 1:
                return [Reply("", finish="error", error=str(problem))]
        half = len(prompts) // 2
        replies = self._measure(readout, prompts[:half]) + self._measure(readout, prompts[half:])
        if len(replies) >= _MANY and all(reply.finish == "error" for reply in replies):
            raise EngineError(replies[0].error)
        return replies

    def _read_out(self, readout: Readout, prompts: Sequence[Prompt]) -> list[Reply]:
        """Read one field after the other."""
        thoughts = [_Thoughts([], [""], 0, 0)] * len(prompts)
        if readout.reasonings:
            thoughts = _think(self._engine, readout.reasonings, prompts)
        particles = Particles(readout, [prompt.seed for prompt in prompts], [one.openings for one in thoughts])
        written = np.array([one.completion_tokens for one in thoughts])
        for place in range(len(readout.fields)):
            whose, prefixes = particles.distinct(place)
            plain = [
                replace(prompts[i], prefill=prompts[i].prefill + prefix, shape=None, readout=None)
                for i, prefix in zip(whose, prefixes, strict=True)
            ]
            walked = self._field(readout, place, plain)
            np.add.at(written, whose, walked.read)
            particles.take(place, walked)
        return [
            Reply(
                _encode({"distributions": found, "reasonings": one.texts}), "stop", one.prompt_tokens, int(written[i])
            )
            for i, (found, one) in enumerate(zip(particles.found, thoughts, strict=True))
        ]

    def _field(self, readout: Readout, place: int, prompts: Sequence[Prompt]) -> Walked:
        """Measure one field after each of some beginnings."""
        field = readout.fields[place]
        if not prompts:
            return Walked(np.zeros((0, len(field.spellings))), np.zeros(0), np.zeros(0, dtype=np.int64))
        if readout.kind == "choice":
            return score(self._engine, prompts, [spelling.text for spelling in field.spellings])
        speller = cast(Speller, self._engine)
        key = readout.digest, place
        if key not in self._grids:
            self._grids[key] = Grid(field.spellings, speller.spelling())
        return walk(speller, prompts, self._grids[key], readout.floor)


def score(engine: Engine, prompts: Sequence[Prompt], letters: Sequence[str]) -> Walked:
    """Score letters as the next token, scaled to sum to 1; what they leave out of all tokens is told beside.

    Args:
        engine: One with the ability ``choice``.
        prompts: Prompts whose prefill ends where a letter stands.
        letters: The options.

    Raises:
        EngineError: A prompt cannot be read.
    """
    replies = answer_all(engine, [replace(prompt, choices=tuple(letters)) for prompt in prompts])
    for reply in replies:
        if reply.finish == "error":
            raise EngineError(reply.error)
    masses = np.array([json.loads(reply.text) for reply in replies], dtype=np.float64)
    totals = masses.sum(axis=1, keepdims=True)
    shares = np.divide(masses, totals, out=np.zeros_like(masses), where=totals > 0)
    return Walked(shares, np.maximum(1 - totals[:, 0], 0.0), np.ones(len(prompts), dtype=np.int64))


class _Thoughts(NamedTuple):
    """What one prompt was answered before its first field.

    Attributes:
        texts: Each recall and reasoning.
        openings: What the reply begins with after each; None where it never comes to its answer.
    """

    texts: list[str]
    openings: list[str | None]
    prompt_tokens: int
    completion_tokens: int


def _think(engine: Engine, reasonings: int, prompts: Sequence[Prompt]) -> list[_Thoughts]:
    """Let every prompt be answered some times, and cut each reply where its answer begins."""
    seeds = _seeds([prompt.seed for prompt in prompts], reasonings)
    asked = [
        replace(prompt, seed=seed, readout=None) for prompt, row in zip(prompts, seeds, strict=True) for seed in row
    ]
    replies = answer_all(engine, asked)
    thoughts = []
    for start in range(0, len(replies), reasonings):
        mine = replies[start : start + reasonings]
        for reply in mine:
            if reply.finish == "error":
                raise EngineError(reply.error)
        parts = [reply.text.partition(_ANSWER) for reply in mine]
        tokens: list[Any] = [sum(reply.prompt_tokens for reply in mine), sum(reply.completion_tokens for reply in mine)]
        openings = [f"{before}{tag}\n" if tag else None for before, tag, _ in parts]
        thoughts.append(_Thoughts([before for before, _, _ in parts], openings, *tokens))
    return thoughts


def _seeds(seeds: Sequence[int], reasonings: int) -> list[list[int]]:
    """Give each reasoning of each prompt a seed of its own."""
    words: NDArray[np.uint64] = streams.hashed(
        streams.stream("reasoning"), np.array(seeds, dtype=np.uint64)[:, None], np.arange(reasonings)
    )
    plain: list[list[int]] = (words >> np.uint64(1)).tolist()
    return plain
