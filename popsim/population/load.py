"""Reading a population file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from popsim.errors import PopulationError
from popsim.files import find_file, read_based, read_yaml, validate
from popsim.population.fit import fit_population
from popsim.population.respondents import bind_table
from popsim.population.sources import located, read_table
from popsim.population.spec import PopulationSpec, Table, check_parts

TableT = TypeVar("TableT", bound=Table)


def load_population(name: str | Path, beside: Path | None = None) -> PopulationSpec:
    """Read a population from its file, and check that its margins fit together.

    Args:
        name: A path, or the name of a shipped population.
        beside: The folder of the scenario that names it.

    Raises:
        PopulationError: The file, a path in it, or a value is wrong, or margins contradict each other.

    Example:
        >>> load_population("us_adults_2018").unit
        'adults'
    """
    path = find_file(str(name), "populations", PopulationError, beside)
    spec = validate(
        PopulationSpec,
        read_based(path, "populations", PopulationError, partial(_read, path.parent)),
        str(path),
        PopulationError,
    )
    if spec.from_table:
        return bind_table(spec, path)
    try:
        spec = bind_files(spec, path.parent)
        fit_population(spec)
    except (PopulationError, ValueError) as problem:
        raise PopulationError(f"{path}: {problem}") from None
    return spec


def bind_files(spec: PopulationSpec, folder: Path) -> PopulationSpec:
    """Read the tables that stand in files of their own, and tie seeds to theirs.

    Args:
        spec: A spec with steps.
        folder: The folder that the files are named from.

    Raises:
        PopulationError: A file is missing, cannot be read, or a column or a value in it is wrong.
        ValueError: A table does not fit the attributes.
    """
    steps = []
    for number, step in enumerate(spec.steps):
        changes: dict[str, Any] = {}
        for key in ("start", "margins"):
            tables = [
                _bound(one, folder, f"steps.{number}.{key}.{i}", spec) for i, one in enumerate(getattr(step, key))
            ]
            changes[key] = tuple(tables)
        if step.convert:
            changes["convert"] = _bound(step.convert, folder, f"steps.{number}.convert", spec)
        if step.seed:
            with _place(f"steps.{number}.seed"):
                changes["seed"] = located(step.seed, folder)
                changes["seed"].cells(step.adds, step.given, spec.attributes)
        steps.append(step.model_copy(update=changes))
    bound = spec.model_copy(update={"steps": tuple(steps)})
    check_parts(bound, bound.attributes)
    return bound


def _bound(table: TableT, folder: Path, where: str, spec: PopulationSpec) -> TableT:
    if table.file is None:
        return table
    if table.table:
        raise PopulationError(f"{where}: give either table or file")
    with _place(f"{where}.file"):
        source = located(table.file, folder)
        known = {name: [*table.groups.get(name, {}), *spec.attributes.get(name, ())] for name in table.of}
        return table.model_copy(update={"file": source, "table": read_table(source, known)})


def _read(folder: Path, path: Path) -> dict[str, Any]:
    """Read a population file and name the tables it reads as seen from a folder."""
    data: dict[str, Any] = _moved(read_yaml(path, PopulationError), os.path.relpath(path.parent, folder))
    return data


def _moved(data: Any, folder: str) -> Any:
    if isinstance(data, dict):
        moved = {key: _moved(value, folder) for key, value in data.items()}
        if isinstance(data.get("file"), str):
            moved["file"] = os.path.normpath(os.path.join(folder, data["file"]))  # noqa: PTH118
        return moved
    return [_moved(value, folder) for value in data] if isinstance(data, list) else data


@contextmanager
def _place(where: str) -> Iterator[None]:
    """Put the place in the population file before a complaint."""
    try:
        yield
    except PopulationError as problem:
        raise PopulationError(f"{where}: {problem}") from None
