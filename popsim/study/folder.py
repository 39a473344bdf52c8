"""The Run folder: what is written where, in which order, and how it is read again."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.sparse import csr_array, load_npz, save_npz

from popsim.errors import RunError
from popsim.files import write_whole
from popsim.report.methods import methods
from popsim.scenario import Analysis, Scenario
from popsim.study.frozen import PLAN, Record, canonical, check_frozen, frozen_part

MANIFEST = "manifest.json"
JOURNAL = "journal.sqlite"
METHODS = "methods.md"
MOST_BESIDE = 50
"""Studies in the same folder that ``methods.md`` tells of, the newest."""


class Run:
    """A Run folder; its tables are read when they are asked for.

    Args:
        path: The folder.

    Raises:
        RunError: There is no manifest.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / MANIFEST).is_file():
            raise RunError(f"{self.path}: is not a Run folder: it has no {MANIFEST}; popsim run makes one")

    def __repr__(self) -> str:
        """Name the run, its state and its size in one line."""
        manifest, scenario = self.manifest, self.manifest["identity"]["scenario"]
        engine = manifest["identity"]["engine"]
        said = [f"{scenario['size']} respondents", f"engine {engine if isinstance(engine, str) else ', '.join(engine)}"]
        if "points" in manifest["identity"]:
            said.append(
                f"{len(manifest['identity']['points'])} points x {manifest['identity']['replicates']} replicates"
            )
        if failures := manifest.get("failures"):
            said.append(f"{failures['failed']} of {failures['answers']} answers failed")
        return f"<Run {scenario['name']}, {manifest['state']}: {', '.join(said)}; {self.path}>"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was run, with what, and what came of it."""
        found: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        return found

    @cached_property
    def scenario(self) -> Scenario:
        """The study as it was run, with the plan that was kept of it."""
        if "scenario" not in self.manifest["identity"]:
            raise RunError(
                f"{self.path}: is the folder of a benchmark, not of a run; popsim compare {self.path} reads it"
            )
        plan = self.manifest.get("plan")
        analysis = Analysis.model_validate(plan["analysis"]) if plan else None
        whole = Scenario.model_validate(self.manifest["identity"]["scenario"])
        return whole.model_copy(update={"analysis": analysis})

    @cached_property
    def plan(self) -> Record | None:
        """What was planned to be computed, frozen or not; of a run inside a sweep that of the sweep.

        Raises:
            RunError: It was frozen, and is no longer what it was.
        """
        above = self.path.absolute().parent
        holder = above if "points" in _manifest(above / MANIFEST).get("identity", {}) else self.path
        record: Record | None = json.loads((holder / MANIFEST).read_text(encoding="utf-8")).get("plan")
        if record and record["frozen"]:
            check_frozen(holder, record)
        return record

    def _table(self, name: str) -> pd.DataFrame:
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            raise RunError(f"{self.path}: has no {path.name}; its state is {self.manifest['state']!r}")
        return pd.read_parquet(path)

    @property
    def answers(self) -> pd.DataFrame:
        """A row per answer."""
        return self._table("answers")

    @property
    def distributions(self) -> pd.DataFrame:
        """A row per value of an answer that is a distribution."""
        return self._table("distributions")

    @property
    def readouts(self) -> pd.DataFrame:
        """A row per measured distribution: its moments and quantiles, the mass left out, and its errors."""
        return self._table("readouts")

    @property
    def replies(self) -> pd.DataFrame:
        """A row per prompt."""
        return self._table("replies")

    @property
    def people(self) -> pd.DataFrame:
        """A row per respondent."""
        return self._table("people")

    @property
    def states(self) -> pd.DataFrame:
        """A row per respondent and wave."""
        return self._table("states")

    @property
    def heard(self) -> pd.DataFrame:
        """A row per respondent and item heard."""
        return self._table("heard")

    @property
    def assignment(self) -> pd.DataFrame:
        """A row per respondent: the arm."""
        return self._table("assignment")

    def plot(self, name: str, width: int = 340) -> Any:
        """Draw one of the pictures of this run's page as an Altair chart.

        Args:
            name: For example ``answers-inflation_2``, ``compare``, ``spread``; a wrong one is answered with the list.
            width: In pixels; 340 is a paper's single column, 718 both.

        Raises:
            RunError: There is no such picture of this run.
        """
        from popsim.report.figures import plot
        from popsim.study.pages import gather

        return plot(gather(self), name, width)

    @property
    def follows(self) -> csr_array:
        """The follow graph."""
        return csr_array(load_npz(self.path / "follows.npz"))


def load_run(path: str | Path) -> Run:
    """Open a Run folder.

    Args:
        path: The folder.

    Raises:
        RunError: It is none.

    Example:
        >>> load_run("nowhere")
        Traceback (most recent call last):
        popsim.errors.RunError: nowhere: is not a Run folder: it has no manifest.json; popsim run makes one
    """
    return Run(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; a killed process lets go of it.

    A folder in which nothing was written is taken away again.

    Raises:
        RunError: Another process holds it, or it cannot be written.
    """
    lock = folder / "lock"
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as problem:
        raise RunError(f"{folder}: cannot be written: {problem.strerror}; choose another --out") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise RunError(
            f"{folder}: another popsim is writing this folder; wait for it or choose another --out"
        ) from None
    try:
        yield
    finally:
        if [path.name for path in folder.iterdir()] == ["lock"]:
            lock.unlink()
            if new:
                folder.rmdir()
        os.close(handle)


def claim(folder: Path, identity: Mapping[str, Any]) -> str:
    """Check that a folder is new or belongs to this very study.

    Args:
        folder: The folder, held by `locked`.
        identity: Plain data that decides the answers.

    Returns:
        ``new``, or the state of the study that is there.

    Raises:
        RunError: The folder holds something else; the message names what differs.
    """
    manifest = folder / MANIFEST
    if not manifest.exists():
        strangers = sorted(p.name for p in folder.iterdir() if p.name != "lock" and not p.name.startswith("."))
        if strangers:
            raise RunError(f"{folder}: is not empty ({strangers[0]}) and not a Run folder; choose another --out")
        return "new"
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        there, state = found["identity"], str(found["state"])
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{manifest}: is not a manifest of popsim; choose another --out") from None
    difference = first_difference(there, identity)
    if difference:
        path, old, new = difference
        raise RunError(
            f"{folder}: was made by another study: {path} is {_short(old)} there and {_short(new)} here; "
            "choose another --out"
        )
    return state


def first_difference(old: Any, new: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Find the first place where two pieces of plain data differ.

    Example:
        >>> first_difference({"a": {"b": 1}}, {"a": {"b": 2}})
        ('a.b', 1, 2)
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(k for k in new if k not in old)]:
            found = first_difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
        return None
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (left, right) in enumerate(zip(old, new, strict=True)):
            found = first_difference(left, right, f"{path}.{i}")
            if found:
                return found
        return None
    return None if old == new else (path, old, new)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest whole."""
    text = json.dumps(manifest, ensure_ascii=False, indent=1)
    _write(folder / MANIFEST, lambda to: to.write_text(text + "\n", encoding="utf-8"))


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write one Parquet file whole."""
    _write(folder / f"{name}.parquet", lambda to: table.to_parquet(to, index=False, compression="zstd"))


def write_plan(folder: Path, record: Record | None) -> None:
    """Write ``plan.json`` of a frozen plan, once; the manifest that names its hash is there already."""
    if record and record["frozen"] and not (folder / PLAN).exists():
        _write(folder / PLAN, lambda to: to.write_bytes(canonical(frozen_part(record))))


def write_graph(folder: Path, graph: csr_array) -> None:
    """Write the follow graph whole."""

    def save(to: Path) -> None:
        with to.open("wb") as file:
            save_npz(file, graph)

    _write(folder / "follows.npz", save)


def earlier_starts(folder: Path) -> list[str]:
    """List when the study that a folder holds was started before; nothing where it holds none yet."""
    manifest = folder / MANIFEST
    found: list[str] = json.loads(manifest.read_text(encoding="utf-8")).get("starts", []) if manifest.is_file() else []
    return found


def write_methods(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``methods.md`` from the manifest, and from those of the studies that lie beside it."""
    above = folder.absolute().parent
    in_sweep = (above / MANIFEST).is_file()
    paths = [] if in_sweep else [path for path in above.glob(f"*/{MANIFEST}") if path.parent != folder.absolute()]
    newest = sorted(paths, key=_changed)[-MOST_BESIDE:]
    text = methods(manifest, [found for path in newest if (found := _manifest(path))], len(paths) - len(newest))
    _write(folder / METHODS, lambda to: to.write_text(text, encoding="utf-8"))


def _changed(path: Path) -> float:
    """Say when a file was changed; one that has gone away meanwhile is old."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _manifest(path: Path) -> dict[str, Any]:
    """Read a manifest that may be another program's; nothing then."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = (
            {"name", "size", "seed"} <= set(found["identity"]["scenario"])
            and "engine" in found["identity"]
            and "state" in found
        )
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if whole else {}


def _write(path: Path, write: Callable[[Path], object]) -> None:
    with writing(path):
        write_whole(path, write)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line why a file of a folder cannot be written.

    Raises:
        RunError: It cannot.
    """
    try:
        yield
    except OSError as problem:
        raise RunError(
            f"{path}: cannot be written: {problem.strerror or problem}; what was answered is stored: free some space "
            "and run the same command again"
        ) from None


def versions() -> dict[str, str]:
    """Name the versions that matter to a result.

    Example:
        >>> "popsim" in versions()
        True
    """
    return {name: version(name) for name in ("popsim", "mesa", "numpy", "scipy", "pandas", "pyarrow", "pydantic")}
