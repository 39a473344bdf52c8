"""The journal: every reply that came, kept in one SQLite file as it comes, and asked for once only."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Literal, Self

from popsim.engines.wire import Prompt, Reply
from popsim.errors import EngineError

SCHEMA_VERSION = 1
_APPLICATION_ID = int.from_bytes(b"pops")
_BULK = 500
TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB NOT NULL UNIQUE,
    text NOT NULL,
    finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS held (key BLOB PRIMARY KEY, outside REAL NOT NULL) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO replies VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
_INSERT_HELD = "INSERT INTO held VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
_SELECT = "SELECT replies.*, NULL FROM replies"
_SELECT_HELD = "SELECT replies.*, outside FROM replies LEFT JOIN held USING (key)"
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

    _kind = "journal"
    _tables = TABLES
    _patience = 5.0

    def __init__(self, path: Path | str, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self.mode: Literal["wal", "delete"] = "delete"
        self._readonly = readonly
        with self._one_line():
            uri = f"{self.path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
            self._database = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=self._patience)
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
        if reply.outside is not None:
            self.put_many({key: reply})
            return
        with self._one_line():
            self._database.execute(_INSERT, _row(key, reply))

    def put_many(self, replies: Mapping[bytes, Reply]) -> None:
        """Store several replies at once: all of them or, where that fails, none.

        Raises:
            EngineError: The disk is full, or the file cannot be written.
        """
        with self._writing():
            self._insert(replies)

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
                rows = self._database.execute(f"{self._select} WHERE replies.key IN ({marks})", chunk)
                for key, text, finish, read, written, outside in rows:
                    found[key] = Reply(_from_sql(text), finish, read, written, outside=outside)
        return found

    def close(self) -> None:
        """Close the file; a write-ahead log is folded into it unless another process uses it now."""
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

    def _insert(self, replies: Mapping[bytes, Reply]) -> None:
        self._database.executemany(_INSERT, (_row(key, reply) for key, reply in replies.items()))
        held = [(key, reply.outside) for key, reply in replies.items() if reply.outside is not None]
        self._database.executemany(_INSERT_HELD, held)

    def _read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._one_line():
            return self._database.execute(query, values).fetchall()

    def _prepare(self) -> None:
        """Check whose file this is, make the table in a new one, and choose how commits are written."""
        self._database.execute("BEGIN")
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        names = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self._database.execute("COMMIT")
        self._check(application, version, names)
        self._select = _SELECT_HELD if "held" in names or not self._readonly else _SELECT
        if self._readonly:
            return
        if wal_works(self.path.parent):
            self._switch_to_wal()
        self._database.execute(f"PRAGMA synchronous = {'NORMAL' if self.mode == 'wal' else 'FULL'}")
        self._database.executescript(
            f"BEGIN IMMEDIATE; {self._tables} PRAGMA application_id = {_APPLICATION_ID}; "
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )

    def _switch_to_wal(self) -> None:
        """Begin a write-ahead log; SQLite does not wait by itself where another process does the same right now."""
        deadline = time.monotonic() + self._patience
        while self.mode != "wal":
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                self.mode = "wal"
            except sqlite3.OperationalError as problem:
                if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _check(self, application: int, version: int, names: set[str]) -> None:
        """Refuse a file of somebody else's, or of a later time."""
        if application != _APPLICATION_ID and (self._readonly or names):
            raise EngineError(f"{self._kind} {self.path}: is not a popsim {self._kind}; name another file")
        if version > SCHEMA_VERSION:
            raise EngineError(
                f"{self._kind} {self.path}: has schema {version}, this popsim reads up to {SCHEMA_VERSION}; "
                "upgrade popsim"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make several changes one; what fails in the middle leaves none of them."""
        with self._one_line():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Say in one line what SQLite could not do and what helps."""
        try:
            yield
        except sqlite3.Error as problem:
            code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
            advice = _ADVICE.get(code, "nothing stored was changed; run the same command again")
            raise EngineError(f"{self._kind} {self.path}: {problem}; {advice}") from None


def _row(key: bytes, reply: Reply) -> tuple[object, ...]:
    return key, _to_sql(reply.text), reply.finish, reply.prompt_tokens, reply.completion_tokens


def _to_sql(text: str) -> str | bytes:
    """Keep text readable in the file, and half a surrogate pair, which SQLite refuses, as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _from_sql(stored: str | bytes) -> str:
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogatepass")


def wal_works(folder: Path) -> bool:
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


def in_bulk(fingerprint: str, prompts: Sequence[Prompt]) -> Iterator[tuple[range, list[bytes]]]:
    """Go through all prompts, some hundred positions and their keys at a time."""
    for start in range(0, len(prompts), _BULK):
        positions = range(start, min(start + _BULK, len(prompts)))
        yield positions, [prompt_key(fingerprint, prompts[position]) for position in positions]
