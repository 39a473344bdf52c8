"""The tables of a population file: a header row, then rows of levels followed by numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popsim.slots import did_you_mean

Cell = str | int | float
Levels = Mapping[str, Sequence[str]]
Groups = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True, eq=False)
class Grid:
    """Numbers over groups of levels of some attributes.

    Attributes:
        of: The attributes, one per axis of ``values``.
        labels: The names of the groups along each axis.
        maps: Attribute -> one integer per level: the group that it belongs to, or -1.
        values: The numbers.
    """

    of: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    maps: Mapping[str, NDArray[np.int64]]
    values: NDArray[np.float64]

    def index(self, codes: Mapping[str, NDArray[np.integer]]) -> NDArray[np.int64]:
        """Find the cell of ``values.ravel()`` for each person or cell given by level codes; -1 where there is none."""
        index = np.zeros(len(codes[self.of[0]]), dtype=np.int64)
        outside = np.zeros(len(index), dtype=bool)
        for attribute, labels in zip(self.of, self.labels, strict=True):
            group = self.maps[attribute][codes[attribute]]
            outside |= group < 0
            index = index * len(labels) + group
        index[outside] = -1
        return index

    def names(self) -> list[str]:
        """Name the cells in the order of ``values.ravel()``."""
        names = [""]
        for labels in self.labels:
            names = [f"{name}, {label}" if name else label for name in names for label in labels]
        return names


def unknown(what: str, value: object, allowed: Sequence[str]) -> str:
    """Say that a name is not known, what it may have meant and what is allowed."""
    return f"unknown {what} {value!r}{did_you_mean(str(value), allowed)} Allowed: {', '.join(allowed)}"


def read_grid(of: Sequence[str], table: Sequence[Sequence[Cell]], groups: Groups, attributes: Levels) -> Grid:
    """Read a table into an array.

    The header holds the names of the leading attributes and then the levels (or groups) of the last one; each row holds
    one level (or group) of every leading attribute and then the numbers. Rows stand in any order.

    Args:
        of: The attributes of the table, in the order of its columns.
        table: Header and rows.
        groups: Attribute -> name of a group -> its levels; the other levels stand for themselves.
        attributes: Attribute -> its levels.

    Raises:
        ValueError: Something does not fit; the message begins with a path below the table's place in the file.

    Example:
        >>> grid = read_grid(["sex", "age"], [["sex", "young", "old"], ["f", 1, 2], ["m", 3, 4]], {},
        ...                  {"sex": ["m", "f"], "age": ["young", "old"]})
        >>> grid.values.tolist(), grid.labels
        ([[3.0, 4.0], [1.0, 2.0]], (('m', 'f'), ('young', 'old')))
    """
    for place, attribute in enumerate(of):
        if attribute not in attributes:
            raise ValueError(f"of.{place}: {unknown('attribute', attribute, list(attributes))}")
    if len(set(of)) < len(of):
        raise ValueError(f"of: an attribute stands twice in {list(of)}")
    for attribute in groups:
        if attribute not in of:
            raise ValueError(f"groups: {unknown('attribute', attribute, list(of))}")
    lead, header = len(of) - 1, [str(cell) for cell in table[0]]
    if header[:lead] != list(of[:-1]):
        raise ValueError(f"table.0: must begin with {', '.join(of[:-1])}, not {', '.join(header[:lead])}")
    last = header[lead:]
    named = [[str(row[axis]) for row in table[1:] if len(row) > axis] for axis in range(lead)] + [last]
    maps, labels = {}, []
    for axis, attribute in enumerate(of):
        where = "table.0" if axis == lead else f"table column {axis + 1}"
        maps[attribute], names = _groups(
            attribute, named[axis], groups.get(attribute, {}), attributes[attribute], where
        )
        labels.append(names)
    if len(set(last)) < len(last):
        raise ValueError(f"table.0: a level stands twice in {last}")
    values = np.full([len(names) for names in labels], np.nan)
    for number, row in enumerate(table[1:], start=1):
        if len(row) != len(header):
            raise ValueError(f"table.{number}: has {len(row)} cells; the header has {len(header)}")
        at = tuple(labels[axis].index(str(row[axis])) for axis in range(lead))
        for name, cell in zip(last, row[lead:], strict=True):
            if isinstance(cell, str | bool) or not np.isfinite(cell) or cell < 0:
                raise ValueError(f"table.{number}: {name}: a number of at least 0 is needed, not {cell!r}")
            target = (*at, labels[lead].index(name))
            if not np.isnan(values[target]):
                raise ValueError(f"table.{number}: {', '.join(map(str, row[:lead])) or 'the row'} stands twice")
            values[target] = cell
    if np.isnan(values).any():
        missing = [labels[axis][i] for axis, i in enumerate(np.argwhere(np.isnan(values))[0])]
        raise ValueError(f"table: there is no row for {', '.join(missing[:-1]) or missing[-1]}")
    return Grid(tuple(of), tuple(labels), maps, values)


def _groups(
    attribute: str, named: Sequence[str], groups: Mapping[str, Sequence[str]], levels: Sequence[str], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Match the names along one axis to levels; every level must be covered once."""
    level_groups = {level: level for level in levels}
    for group, members in groups.items():
        for member in members:
            if member not in levels:
                raise ValueError(f"groups.{attribute}.{group}: {unknown('level', member, levels)}")
            if level_groups[member] in groups:
                raise ValueError(f"groups.{attribute}: level {member!r} stands in two groups")
            level_groups[member] = group
    allowed = tuple(dict.fromkeys(level_groups.values()))
    for name in named:
        if name not in allowed:
            raise ValueError(f"{where}: {unknown(f'level of {attribute}', name, allowed)}")
    names = tuple(name for name in allowed if name in set(named))
    position = {name: i for i, name in enumerate(names)}
    return np.array([position.get(level_groups[level], -1) for level in levels], dtype=np.int64), names
