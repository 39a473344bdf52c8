"""Before asking: what the journal of this run knows, then what the cache of earlier runs knows, each question once."""

from collections.abc import Iterator, Sequence
from typing import Literal

from popsim.engines.cache import Cache
from popsim.engines.journal import Journal, in_bulk
from popsim.engines.wire import Engine, Prompt, Prompts, Reply
from popsim.errors import EngineError


class _Picked(Prompts):
    """Some of the prompts."""

    def __init__(self, prompts: Sequence[Prompt], positions: Sequence[int]) -> None:
        self._prompts, self._positions = prompts, positions

    def __len__(self) -> int:
        return len(self._positions)

    def prompt(self, i: int) -> Prompt:
        return self._prompts[self._positions[i]]


class Journaled:
    """An engine that looks into a journal first, asks each question once and stores what comes back.

    Prompts with the same `prompt_key` are one question: all of them get its one reply. A reply whose ``finish`` is
    ``error`` is handed on but not stored. Texts are rendered one at a time and not kept. What the cache knows is
    copied into the journal, so that a Run folder stays complete by itself.

    Args:
        engine: The engine to ask; one that reads text.
        journal: Where replies are kept.
        cache: Replies that runs share, where there is one: read after the journal, and given what is newly answered.

    Attributes:
        asked: Prompts that were sent to the engine so far.
        from_journal: Prompts that the journal answered so far.
        from_cache: Prompts that the cache answered so far.
        duplicates: Prompts that share the reply of one that was asked; with the three above, all prompts.
        distinct: Different questions among all prompts, counted within each call of `answer`.

    Raises:
        EngineError: The engine reads facts, of which a key says nothing.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from popsim.engines import answer_all
        >>> class Echo:
        ...     fingerprint, reads, abilities, reproducible, notice = "echo", "text", frozenset(), "exact", ""
        ...     def answer(self, prompts):
        ...         yield from ((i, Reply(p.messages[-1][1])) for i, p in enumerate(prompts))
        >>> with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        ...     engine = Journaled(Echo(), journal)
        ...     replies = answer_all(engine, [Prompt((("user", word),)) for word in ("up", "up", "down")])
        ...     [reply.text for reply in replies], engine.asked, engine.duplicates
        (['up', 'up', 'down'], 2, 1)
    """

    def __init__(self, engine: Engine, journal: Journal, cache: Cache | None = None) -> None:
        if engine.reads != "text":
            raise EngineError(f"engine {engine.fingerprint}: reads facts, so it cannot be journaled; use it as it is")
        self.fingerprint = engine.fingerprint
        self.reads: Literal["text", "facts"] = "text"
        self.abilities = engine.abilities
        self.reproducible = engine.reproducible
        self.notice = engine.notice
        self.asked = self.from_journal = self.from_cache = self.duplicates = self.distinct = 0
        self._engine = engine
        self._journal = journal
        self._cache = cache

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield what is stored, then what the engine answers, each reply stored before it is handed on.

        Raises:
            EngineError: The journal cannot be read or written, or the engine fails.
        """
        waiting: dict[bytes, list[int]] = {}
        stored: set[bytes] = set()
        for positions, keys in in_bulk(self.fingerprint, prompts):
            known = self._journal.get_many(keys)
            lent = self._borrow([key for key in dict.fromkeys(keys) if key not in known])
            self.from_journal += sum(key in known for key in keys)
            self.from_cache += sum(key in lent for key in keys)
            known |= lent
            stored.update(known)
            for position, key in zip(positions, keys, strict=True):
                if key in known:
                    yield position, known[key]
                else:
                    waiting.setdefault(key, []).append(position)
        self.distinct += len(stored) + len(waiting)
        if waiting:
            yield from self._ask(prompts, waiting)

    def _borrow(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        """Copy what the cache knows into the journal."""
        if self._cache is None or not keys:
            return {}
        lent = self._cache.find(self.fingerprint, keys)
        if lent:
            self._journal.put_many(lent)
        return lent

    def _ask(self, prompts: Sequence[Prompt], waiting: dict[bytes, list[int]]) -> Iterator[tuple[int, Reply]]:
        keys, places = list(waiting), list(waiting.values())
        self.asked += len(keys)
        self.duplicates += sum(map(len, places)) - len(keys)
        for index, reply in self._engine.answer(_Picked(prompts, [positions[0] for positions in places])):
            if reply.finish != "error":
                self._journal.put(keys[index], reply)
                if self._cache is not None:
                    self._cache.keep(self.fingerprint, {keys[index]: reply})
            for position in places[index]:
                yield position, reply
