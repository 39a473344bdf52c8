"""The journal: every reply that came, kept in one SQLite file as it comes, and asked for once only."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Literal, Self, get_args, overload

from popsim.engines.wire import Ability, Engine, Prompt, Reply
from popsim.errors import EngineError

SCHEMA_VERSION = 1
_APPLICATION_ID = int.from_bytes(b"pops")
_BULK = 500
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS replies (
    key BLOB NOT NULL UNIQUE,
    text NOT NULL,
    finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL
);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_ADVICE = {
    sqlite3.SQLITE_FULL: "what was stored is kept: free some space and run the same command again",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; put a copy in its place, or move it away to ask everything again",
    sqlite3.SQLITE_NOTADB: "the file is not a journal; move it away and run the same command again",
    sqlite3.SQLITE_BUSY: "another process holds it; wait until that one has ended",
    sqlite3.SQLITE_CANTOPEN: "its folder must exist and be writable",
    sqlite3.SQLITE_READONLY: "the file and its folder must be writable",
    sqlite3.SQLITE_IOERR: "check the disk and its free space, then run the same command again",
}
_encode = json.JSONEncoder(separators=(",", ":")).encode


def prompt_key(fingerprint: str, prompt: Prompt) -> bytes:
    """Name a question to an engine: the same text, sampling and seed is the same question.

    Args:
        fingerprint: Of the engine that is asked.
        prompt: The prompt; its seed counts only where the reply is drawn by chance, its facts never do.

    Returns:
        The 32 bytes of the SHA-256 of the canonical JSON ``[fingerprint, messages, sampling, seed]``, followed by
        ``[prefill, shape, choices, adapter]`` where the prompt has any of these, and by the digest of its readout
        where it has one.

    Example:
        >>> prompt = Prompt((("user", "How are you?"),), seed=1)
        >>> prompt_key("tiny", prompt).hex()[:12]
        '83245bbba6c5'
    """
    sampling = prompt.sampling
    if sampling.model:
        drawn: tuple[object, ...] = ("model", sampling.max_tokens)
    else:
        drawn = (float(sampling.temperature), float(sampling.top_p), sampling.top_k, sampling.max_tokens)
    by_chance = prompt.readout.drawn if prompt.readout else not (sampling.greedy or prompt.choices)
    seed = prompt.seed if by_chance else None
    shape = prompt.shape and (prompt.shape.grammar, prompt.shape.schema)
    rest = (prompt.prefill, shape, prompt.choices, prompt.adapter)
    more = ([rest] if any(rest) else []) + ([prompt.readout.digest] if prompt.readout else [])
    named = (fingerprint, prompt.messages, drawn, seed, *more)
    return hashlib.sha256(_encode(named).encode()).digest()


class Journal:
    """One SQLite file of replies, written by one process.

    A reply is committed before `put` returns, so whatever ends the process later, it is there; a file that was closed
    properly is one plain file that can be copied. Nothing in it is ever changed or deleted.

    Args:
        path: The file; it is made unless ``readonly``.
        readonly: Whether to open it for reading alone.

    Attributes:
        mode: ``wal`` (write-ahead log), or ``delete`` on a file system that does not allow it, where writing is slower.

    Raises:
        EngineError: The file cannot be opened, is no journal, or was written by a newer popsim.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        ...     journal.put(b"key", Reply("4.00%"))
        ...     journal.get_many([b"key", b"other"])
        {b'key': Reply(text='4.00%', finish='stop', prompt_tokens=0, completion_tokens=0, error='')}
    """

    def __init__(self, path: Path | str, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self.mode: Literal["wal", "delete"] = "delete"
        self._readonly = readonly
        with self._one_line():
            uri = f"{self.path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
            self._database = sqlite3.connect(uri, uri=True, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def put(self, key: bytes, reply: Reply) -> None:
        """Store a reply for good; the first one under a key stays.

        Raises:
            EngineError: The disk is full, or the file cannot be written.
        """
        row = (key, _to_sql(reply.text), reply.finish, reply.prompt_tokens, reply.completion_tokens)
        with self._one_line():
            self._database.execute("INSERT INTO replies VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING", row)

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        """Look up replies; keys that are not stored are absent from what is returned.

        Raises:
            EngineError: The file cannot be read.
        """
        found = {}
        with self._one_line():
            for start in range(0, len(keys), _BULK):
                chunk = keys[start : start + _BULK]
                marks = ",".join("?" * len(chunk))
                for key, text, *rest in self._database.execute(f"SELECT * FROM replies WHERE key IN ({marks})", chunk):
                    found[key] = Reply(_from_sql(text), *rest)
        return found

    def close(self) -> None:
        """Close the file; a write-ahead log is folded into it unless another process reads it now."""
        if not self._readonly:
            with suppress(sqlite3.Error):
                self._database.execute("PRAGMA busy_timeout = 0")
                self._database.execute("PRAGMA journal_mode = DELETE")
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        """Check whose file this is, make the table in a new one, and choose how commits are written."""
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION_ID and (self._readonly or tables):
            raise EngineError(f"journal {self.path}: is not a popsim journal; name another file")
        if version > SCHEMA_VERSION:
            raise EngineError(
                f"journal {self.path}: has schema {version}, this popsim reads up to {SCHEMA_VERSION}; upgrade popsim"
            )
        if self._readonly:
            return
        if _wal_works(self.path.parent):
            self._database.execute("PRAGMA journal_mode = WAL")
            self.mode = "wal"
        self._database.execute(f"PRAGMA synchronous = {'NORMAL' if self.mode == 'wal' else 'FULL'}")
        self._database.executescript(_SCHEMA)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Say in one line what SQLite could not do and what helps."""
        try:
            yield
        except sqlite3.Error as problem:
            code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
            advice = _ADVICE.get(code, "nothing stored was changed; run the same command again")
            raise EngineError(f"journal {self.path}: {problem}; {advice}") from None


def _to_sql(text: str) -> str | bytes:
    """Keep text readable in the file, and half a surrogate pair, which SQLite refuses, as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _from_sql(stored: str | bytes) -> str:
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")


def _wal_works(folder: Path) -> bool:
    """Try a write-ahead log, which needs locks and shared memory, on the file system of a folder."""
    try:
        with (
            TemporaryDirectory(prefix=".probe-", dir=folder) as scratch,
            closing(sqlite3.connect(f"{(Path(scratch) / 'wal').absolute().as_uri()}", uri=True)) as probe,
        ):
            (mode,) = probe.execute("PRAGMA journal_mode = WAL").fetchone()
            probe.execute("CREATE TABLE works (yes)")
            return bool(mode == "wal")
    except (sqlite3.Error, OSError):
        return False


class _Picked(Sequence[Prompt]):
    """Some of the prompts, each rendered when it is asked for."""

    def __init__(self, prompts: Sequence[Prompt], positions: Sequence[int]) -> None:
        self._prompts = prompts
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Prompt: ...
    @overload
    def __getitem__(self, index: slice) -> "_Picked": ...
    def __getitem__(self, index: int | slice) -> "Prompt | _Picked":
        if isinstance(index, slice):
            return _Picked(self._prompts, self._positions[index])
        return self._prompts[self._positions[index]]


class Journaled:
    """An engine that looks into a journal first, asks each question once and stores what comes back.

    Prompts with the same `prompt_key` are one question: all of them get its one reply. A reply whose ``finish`` is
    ``error`` is handed on but not stored. Texts are rendered one at a time and not kept.

    Args:
        engine: The engine to ask; one that reads text.
        journal: Where replies are kept.

    Attributes:
        asked: Prompts that were sent to the engine so far.
        from_journal: Prompts that the journal answered so far.
        duplicates: Prompts that share the reply of one that was asked; with the two above, all prompts.
        distinct: Different questions among all prompts, counted within each call of `answer`.

    Raises:
        EngineError: The engine reads facts, of which a key says nothing.

    Example:
        >>> import tempfile
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

    def __init__(self, engine: Engine, journal: Journal) -> None:
        if engine.reads != "text":
            raise EngineError(f"engine {engine.fingerprint}: reads facts, so it cannot be journaled; use it as it is")
        self.fingerprint = engine.fingerprint
        self.reads: Literal["text", "facts"] = "text"
        self.abilities = engine.abilities
        self.reproducible = engine.reproducible
        self.notice = engine.notice
        self.asked = self.from_journal = self.duplicates = self.distinct = 0
        self._engine = engine
        self._journal = journal

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield what is stored, then what the engine answers, each reply stored before it is handed on.

        Raises:
            EngineError: The journal cannot be read or written, or the engine fails.
        """
        waiting: dict[bytes, list[int]] = {}
        stored: set[bytes] = set()
        for positions, keys in _in_bulk(self.fingerprint, prompts):
            known = self._journal.get_many(keys)
            stored.update(known)
            for position, key in zip(positions, keys, strict=True):
                if key in known:
                    self.from_journal += 1
                    yield position, known[key]
                else:
                    waiting.setdefault(key, []).append(position)
        self.distinct += len(stored) + len(waiting)
        if waiting:
            yield from self._ask(prompts, waiting)

    def _ask(self, prompts: Sequence[Prompt], waiting: dict[bytes, list[int]]) -> Iterator[tuple[int, Reply]]:
        keys, places = list(waiting), list(waiting.values())
        self.asked += len(keys)
        self.duplicates += sum(map(len, places)) - len(keys)
        for index, reply in self._engine.answer(_Picked(prompts, [positions[0] for positions in places])):
            if reply.finish != "error":
                self._journal.put(keys[index], reply)
            for position in places[index]:
                yield position, reply


def _in_bulk(fingerprint: str, prompts: Sequence[Prompt]) -> Iterator[tuple[range, list[bytes]]]:
    """Go through all prompts, some hundred positions and their keys at a time."""
    for start in range(0, len(prompts), _BULK):
        positions = range(start, min(start + _BULK, len(prompts)))
        yield positions, [prompt_key(fingerprint, prompts[position]) for position in positions]


class Replay:
    """Answers from the journal of an earlier Run or sweep folder, without a model.

    Args:
        model: The folder.

    Attributes:
        fingerprint: Of the engine that answered then; a prompt that was not asked then comes back as an error.

    Raises:
        EngineError: The folder is no Run folder, keeps no journal, or its files cannot be read.
    """

    def __init__(self, model: str) -> None:
        folder = Path(model)
        engine = _engine_of(folder)
        self.fingerprint: str = engine["fingerprint"]
        self.reads: Literal["text", "facts"] = "text"
        self.abilities: frozenset[Ability] = frozenset(get_args(Ability)) - {"next"}
        self.reproducible: Literal["exact", "best_effort"] = engine["reproducible"]
        self.notice: str = engine["notice"]
        self._folder = folder
        if not (folder / "journal.sqlite").is_file():
            raise EngineError(
                f"replay:{folder}: no journal.sqlite there; a run inside a sweep shares the journal of the sweep's "
                f"folder, and an engine that reads facts keeps none: run {self.fingerprint} again instead"
            )
        self._journal = Journal(folder / "journal.sqlite", readonly=True)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield the stored reply of each prompt, in order."""
        missing = Reply("", finish="error", error=f"not stored in {self._folder}: another text, sampling or seed")
        for positions, keys in _in_bulk(self.fingerprint, prompts):
            known = self._journal.get_many(keys)
            for position, key in zip(positions, keys, strict=True):
                yield position, known.get(key, missing)


def _engine_of(folder: Path) -> dict[str, Any]:
    """Read what the manifest of a Run folder says of its engine."""
    path = folder / "manifest.json"
    if not folder.is_dir():
        raise EngineError(f"replay:{folder}: no such folder; give the path of a Run folder")
    try:
        engine = json.loads(path.read_text(encoding="utf-8"))["engine"]
        return {key: str(engine[key]) for key in ("fingerprint", "reproducible", "notice")}
    except FileNotFoundError:
        raise EngineError(f"replay:{folder}: no manifest.json there; give the path of a Run folder") from None
    except (OSError, ValueError, TypeError, KeyError) as problem:
        raise EngineError(
            f"{path}: does not describe one engine ({type(problem).__name__}: {problem}); give a run of a single engine"
        ) from None
