"""The cache: replies that runs of any folder share, in one file, and what is thrown out of it."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from popsim.engines.journal import TABLES, Journal, wal_works
from popsim.engines.wire import Reply
from popsim.errors import EngineError

_DAY = 86_400
_ROW = 150
_USES = """
CREATE TABLE IF NOT EXISTS engines (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS uses (key BLOB PRIMARY KEY, engine INTEGER NOT NULL, day INTEGER NOT NULL) WITHOUT ROWID;
"""
_MARK = """
INSERT INTO uses SELECT ?, id, ? FROM engines WHERE fingerprint = ?
ON CONFLICT (key) DO UPDATE SET day = excluded.day
"""
_CONTENTS = """
SELECT fingerprint, count(*), sum(length(text)), max(day) FROM replies JOIN uses USING (key)
JOIN engines ON engines.id = uses.engine GROUP BY fingerprint ORDER BY fingerprint
"""
_OLDEST_FIRST = """
SELECT key, length(CAST(text AS BLOB)) + ? FROM replies LEFT JOIN uses USING (key) ORDER BY day, replies.rowid
"""
_log = logging.getLogger(__name__)


class Content(NamedTuple):
    """What a cache holds of one engine; ``last_used`` is in seconds since 1970, to the day."""

    engine: str
    replies: int
    characters: int
    last_used: float


class Cache(Journal):
    """A journal that several processes share: all may read at any time, and one writes while the others wait.

    It also keeps which engine gave a reply, and the day of its last use. A cache that fails is switched off with one
    line in the log, and the run goes on without it.

    Args:
        path: The file; it is made unless ``readonly``.
        readonly: Whether to open it for reading alone.

    Raises:
        EngineError: The file cannot be opened, is no cache, or was written by a newer popsim.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Cache(Path(folder) / "cache.sqlite") as cache:
        ...     cache.keep("tiny", {b"key": Reply("4.00%")})
        ...     cache.find("tiny", [b"key", b"other"])[b"key"].text, [content.replies for content in cache.contents()]
        ('4.00%', [1])
    """

    _kind = "cache"
    _tables = TABLES + _USES
    _patience = 60.0

    def __init__(self, path: Path | str, *, readonly: bool = False) -> None:
        super().__init__(path, readonly=readonly)
        self._off = False

    def find(self, fingerprint: str, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        """Look up replies, and note that they were of use today.

        Args:
            fingerprint: Of the engine that is to be asked for what is not found.
            keys: From `popsim.engines.journal.prompt_key`.
        """
        found: dict[bytes, Reply] = {}
        if self._off:
            return found
        with self._off_if_it_fails():
            found = self.get_many(keys)
            marks = ",".join("?" * len(found))
            rows = self._read(f"SELECT key FROM uses WHERE day = ? AND key IN ({marks})", (_today(), *found))
            noted = {key for (key,) in rows}
            if noted < found.keys():
                with self._writing():
                    self._mark(fingerprint, [key for key in found if key not in noted])
        return found

    def keep(self, fingerprint: str, replies: Mapping[bytes, Reply]) -> None:
        """Store what an engine answered; the first reply under a key stays.

        Args:
            fingerprint: Of the engine.
            replies: By key.
        """
        if self._off:
            return
        with self._off_if_it_fails(), self._writing():
            self._insert(replies)
            self._mark(fingerprint, list(replies))

    def contents(self) -> list[Content]:
        """Say what is stored, engine by engine.

        Raises:
            EngineError: The file cannot be read.
        """
        rows = self._read(_CONTENTS)
        return [Content(engine, replies, characters, day * _DAY) for engine, replies, characters, day in rows]

    def prune(self, *, older_than: float | None = None, max_size: int | None = None) -> int:
        """Throw out what has not been used for long, while other processes go on reading and writing.

        Args:
            older_than: Days since the last use after which a reply goes.
            max_size: Bytes that the file may have; the replies whose last use is longest ago go first.

        Returns:
            How many replies went.

        Raises:
            EngineError: The file cannot be written.
        """
        gone = 0
        if older_than is not None:
            before = _today() - older_than
            gone += self._drop([key for (key,) in self._read("SELECT key FROM uses WHERE day < ?", (before,))])
        while max_size is not None and self.size() > max_size:
            rows = self._read(_OLDEST_FIRST, (_ROW,))
            too_much = sum(weight for _, weight in rows) * (1 - max_size / self.size())
            dropped = []
            for key, weight in rows:
                if too_much > 0:
                    dropped.append(key)
                    too_much -= weight
            if not dropped:
                break
            gone += self._drop(dropped)
        return gone

    def size(self) -> int:
        """Give the size of the file in bytes, as it is once the write-ahead log has been folded in."""
        ((size,),) = self._read("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(size)

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        self._database.close()

    def _check(self, application: int, version: int, names: set[str]) -> None:
        super()._check(application, version, names)
        if "replies" in names and "uses" not in names:
            raise EngineError(f"cache {self.path}: is the journal of a run, not a cache; name another file")

    def _mark(self, fingerprint: str, keys: Sequence[bytes]) -> None:
        execute = self._database.execute
        execute("INSERT INTO engines (fingerprint) VALUES (?) ON CONFLICT (fingerprint) DO NOTHING", (fingerprint,))
        self._database.executemany(_MARK, ((key, _today(), fingerprint) for key in keys))

    def _drop(self, keys: Sequence[bytes]) -> int:
        """Delete replies and give their space back; readers see the old state until they ask again."""
        with self._writing():
            for table in ("replies", "held", "uses"):
                self._database.executemany(f"DELETE FROM {table} WHERE key = ?", ((key,) for key in keys))
        with self._one_line():
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return len(keys)

    @contextmanager
    def _off_if_it_fails(self) -> Iterator[None]:
        """Let the run go on without a cache that fails."""
        try:
            yield
        except EngineError as problem:
            self._off = True
            _log.warning("popsim: %s; the run goes on without it", problem)


@contextmanager
def opened(path: Path | str | None) -> Iterator[Cache | None]:
    """Open the cache of a run; none where none is named, and none on a file system that cannot lock.

    Args:
        path: The file; it and its folder are made where they are missing.

    Raises:
        EngineError: The file is no cache or cannot be opened.
    """
    if path is None:
        yield None
        return
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise EngineError(f"cache {path}: its folder cannot be made: {problem.strerror}; name another file") from None
    if not wal_works(folder):
        _log.warning("popsim: cache %s: off: its file system is full or cannot lock; name a file on a local disk", path)
        yield None
        return
    with Cache(path) as cache:
        yield cache


def _today() -> int:
    return int(time.time() // _DAY)
