"""Rows of JSON and JSONL files, each with where it stands."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from popsim.errors import TuneError
from popsim.files import read_text, write_whole

Row = tuple[str, dict[str, Any]]


def json_rows(path: Path) -> list[Row]:
    """Read a JSON list of objects.

    Raises:
        TuneError: It is no such list.
    """
    try:
        rows = json.loads(read_text(path, TuneError))
    except ValueError as problem:
        raise TuneError(f"{path}: not readable as JSON: {problem}") from None
    if not isinstance(rows, list):
        raise TuneError(f"{path}: holds a {type(rows).__name__}; a list of objects is needed")
    return [_checked(f"{path}, row {i}", row) for i, row in enumerate(rows, 1)]


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Read a file with one JSON object a line, line by line.

    Raises:
        TuneError: There is no such file, or a line is no object.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for i, line in enumerate(lines, 1):
                if line.strip():
                    yield _checked(f"{path}, line {i}", json.loads(line))
    except FileNotFoundError:
        raise TuneError(f"{path}: no such file") from None
    except ValueError as problem:
        raise TuneError(f"{path}: not readable as JSONL: {problem}") from None


def _checked(where: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise TuneError(f"{where}: holds a {type(row).__name__}; an object is needed")
    return where, row


def need(row: Mapping[str, Any], key: str, where: str) -> Any:
    """Give a value that a row must have.

    Raises:
        TuneError: The row lacks it.
    """
    if key not in row:
        raise TuneError(f"{where}: lacks {key!r}; it has {', '.join(map(str, row)) or 'nothing'}")
    return row[key]


def write_json(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON list."""
    text = json.dumps(list(rows), ensure_ascii=False, indent=1)
    write_whole(path, lambda to: to.write_text(text + "\n", encoding="utf-8"))


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    write_whole(path, lambda to: to.write_text("".join(lines), encoding="utf-8"))
