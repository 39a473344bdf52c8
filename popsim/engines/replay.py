"""replay: an earlier run answers again, word for word."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from popsim.engines.journal import Journal, in_bulk
from popsim.engines.wire import Ability, Prompt, Reply
from popsim.errors import EngineError


class Replay:
    """Answers from the journal of an earlier Run or sweep folder, or of a run inside a sweep, without a model.

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
        self._journal = Journal(self._find_journal(), readonly=True)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield the stored reply of each prompt, in order."""
        missing = Reply("", finish="error", error=f"not stored in {self._folder}: another text, sampling or seed")
        for positions, keys in in_bulk(self.fingerprint, prompts):
            known = self._journal.get_many(keys)
            for position, key in zip(positions, keys, strict=True):
                yield position, known.get(key, missing)

    def _find_journal(self) -> Path:
        """Find the folder's journal; a run inside a sweep has that of the sweep's folder above it."""
        for folder in (self._folder, self._folder.absolute().parent):
            if (folder / "journal.sqlite").is_file() and (folder / "manifest.json").is_file():
                return folder / "journal.sqlite"
        raise EngineError(
            f"replay:{self._folder}: no journal.sqlite there, nor in a sweep's folder above it; an engine that reads "
            f"facts keeps none: run {self.fingerprint} again instead"
        )


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
