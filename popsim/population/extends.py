"""A population file that starts from another one and says only what differs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from popsim.errors import PopulationError
from popsim.files import find_file, read_yaml

DEPTH = 8


def read_population(path: Path, depth: int = 0) -> dict[str, Any]:
    """Read a population file, on top of the one that it extends.

    ``extends`` names a file or a shipped population. Every other key takes the place of the same key there; ``change``
    puts a value in the place of the one at a dotted path (``steps.5.margins.0.unit``); ``insert`` puts one before the
    item of a list at such a path. Paths count as the file that is extended does, for both.

    Args:
        path: The file.
        depth: How many files were followed to this one.

    Raises:
        PopulationError: A file is missing, files extend each other in a circle, or a path addresses nothing.
    """
    data = read_yaml(path, PopulationError)
    name, change, insert = (
        data.pop(key, default) for key, default in (("extends", None), ("change", {}), ("insert", {}))
    )
    if name is None:
        if change or insert:
            raise PopulationError(f"{path}: change and insert need extends, the population that they start from")
        return data
    if not isinstance(name, str) or not isinstance(change, dict) or not isinstance(insert, dict):
        raise PopulationError(f"{path}: extends is a name or a path; change and insert are mappings of paths to values")
    if depth == DEPTH:
        raise PopulationError(f"{path}: extends: {name}: more than {DEPTH} files extend each other; is it a circle?")
    below = find_file(name, "populations", PopulationError, path.parent)
    base: dict[str, Any] = _moved(read_population(below, depth + 1), os.path.relpath(below.parent, path.parent))
    places = [(str(dotted), value, False) for dotted, value in change.items()]
    places += [(str(dotted), insert[dotted], True) for dotted in sorted(insert, key=_order, reverse=True)]
    for dotted, value, new in places:
        _put(base, dotted, value, new, f"{path}: {'insert' if new else 'change'}")
    base.update(data)
    return base


def _order(dotted: object) -> list[tuple[int, str]]:
    """Sort paths by their numbers, so that what is inserted last in a list is inserted first and moves no other."""
    return [(int(step) if step.isdecimal() else -1, step) for step in str(dotted).split(".")]


def _put(base: dict[str, Any], dotted: str, value: Any, new: bool, where: str) -> None:
    """Set the value at a path, or insert it before the one that is there."""
    at: Any = base
    steps = dotted.split(".")
    for depth, step in enumerate(steps):
        known = [str(key) for key in at] if isinstance(at, Mapping) else []
        if isinstance(at, list):
            known = [str(i) for i in range(len(at))]
        last = depth == len(steps) - 1
        if step not in known and not (last and not new and isinstance(at, Mapping)):
            here = ".".join(steps[:depth]) or "the population"
            raise PopulationError(
                f"{where}.{dotted}: addresses nothing: {here} has no {step!r}; it has: {', '.join(known) or 'no parts'}"
            )
        key: Any = int(step) if isinstance(at, list) else step
        if not last:
            at = at[key]
        elif not new:
            at[key] = value
        elif isinstance(at, list):
            at.insert(key, value)
        else:
            raise PopulationError(f"{where}.{dotted}: only items of a list can be inserted; use change")


def _moved(data: Any, folder: str) -> Any:
    """Name the files of another population as seen from this one's folder."""
    if isinstance(data, dict):
        moved = {key: _moved(value, folder) for key, value in data.items()}
        if isinstance(data.get("file"), str):
            moved["file"] = os.path.normpath(os.path.join(folder, data["file"]))  # noqa: PTH118
        return moved
    return [_moved(value, folder) for value in data] if isinstance(data, list) else data
