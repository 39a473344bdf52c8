"""The plan that a folder keeps: how it hashes, and whether it is still what was frozen."""

import hashlib
import json
from pathlib import Path
from typing import Any

from popsim.errors import RunError

PLAN = "plan.json"
Record = dict[str, Any]
"""What a manifest keeps of a plan: ``analysis``, ``study``, ``sha256``, ``frozen`` (when, or nothing), ``edits`` and
``latest``, the plan as it stood at the last start."""


def canonical(data: object) -> bytes:
    """Write plain data in the one way that hashes the same whatever the order of keys.

    Example:
        >>> canonical({"b": 1, "a": [1.5, "ä"]}).decode()
        '{"a":[1.5,"ä"],"b":1}'
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(data: object) -> str:
    """Give the SHA-256 of plain data in canonical JSON."""
    return hashlib.sha256(canonical(data)).hexdigest()


def frozen_part(record: Record) -> Record:
    """Give what of a record is hashed, which is what ``plan.json`` holds."""
    return {name: record[name] for name in ("analysis", "study")}


def check_frozen(folder: Path, record: Record) -> None:
    """Refuse a plan that was changed after it was frozen.

    Raises:
        RunError: The hash of ``plan.json``, or of the plan in the manifest, is another.
    """
    file = folder / PLAN
    found = {"the plan in manifest.json": digest(frozen_part(record))}
    found |= {PLAN: hashlib.sha256(file.read_bytes()).hexdigest()} if file.exists() else {}
    for name, sha in found.items():
        if sha != record["sha256"]:
            raise RunError(
                f"{folder}: {name} is not the plan that was frozen on {record['frozen']}: its SHA-256 is {sha[:12]}… "
                f"and was {record['sha256'][:12]}…; put back the file as it was"
            )
