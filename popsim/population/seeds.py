"""Microdata as the start of a fit: records summed to cells, and p(x | parents) that backs off where records are few."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from popsim.errors import PopulationError
from popsim.population.rake import Control, sum_by, unsupported
from popsim.population.sources import DataFile, level_codes_of, numbers_of, read_frame
from popsim.population.traits import Status, Text

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = dict[str, Ints]


class Seed(DataFile):
    """Microdata that a step starts from: who goes with whom, before the margins say how many there are."""

    weight: Text | None = None
    """The column with weights; equal weights without."""
    at_least: Annotated[int, Field(ge=1)] = 1
    """With given: p(adds | given) is read from at least so many records; with fewer, the last of given is left out,
    then the one before, and so on."""
    repair: float = Field(default=0.0, ge=0, lt=1)
    """The share of the fit without a seed that is mixed in, so that what nobody in the sample is can be drawn."""
    source: str = ""
    status: Status
    note: str = ""
    _cells: "CellTable | None" = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _has_source(self) -> "Seed":
        if self.status != "assumption" and not self.source:
            raise ValueError(f"a seed with status {self.status} needs a source")
        return self

    def cells(self, adds: Sequence[str], given: Sequence[str], attributes: Mapping[str, Sequence[str]]) -> "CellTable":
        """Read the records and sum them to cells of the attributes of a step; those of given may be absent.

        Raises:
            PopulationError: The file, a column or a value is wrong.
        """
        if self._cells is None:
            self._cells = _read_cells(self, adds, given, attributes)
        return self._cells


@dataclass(frozen=True, eq=False)
class CellTable:
    """Records, or people, summed to cells.

    Attributes:
        codes: Attribute -> its level in each cell.
        weights: The sum of the weights of the records in each cell.
        squares: The sum of their squares.
        records: The number of records.
        left_out: How many records were left out by recoding, or for a weight of 0.
    """

    codes: Codes
    weights: Floats
    squares: Floats
    records: Floats
    left_out: int

    def effective_n(self, fitted: Floats) -> float:
        """Give Kish's effective number of records when cells get new weights, records in proportion to their own."""
        factor = np.divide(fitted, self.weights, out=np.zeros_like(fitted), where=self.weights > 0)
        squares = float((factor**2 * self.squares).sum())
        return float(fitted.sum()) ** 2 / squares if squares > 0 else 0.0


@dataclass(frozen=True)
class SeedAccount:
    """What a step took from its seed.

    Attributes:
        records: The number of records that were used.
        left_out: How many were left out by recoding, or for a weight of 0.
        impossible: How many lie in cells that are declared impossible and count for nothing.
        effective_n: Effective number of records before the fit, from their weights.
        effective_n_fitted: The same after the fit; NaN for a conditional draw.
        sampling_zeros: Cells of margins with people and without a record, repaired by mixing.
        backed_off: Attributes that p(x | parents) was read given -> share of people for whom it was.
    """

    records: int
    left_out: int
    impossible: int
    effective_n: float
    effective_n_fitted: float
    sampling_zeros: tuple[str, ...]
    backed_off: dict[str, float]


def _read_cells(
    seed: Seed, adds: Sequence[str], given: Sequence[str], attributes: Mapping[str, Sequence[str]]
) -> CellTable:
    frame = read_frame(seed.path)
    has = [name for name in given if name in seed.columns or name in frame]
    wanted = {name: attributes[name] for name in (*has, *adds)}
    weights = numbers_of(frame, seed.weight) if seed.weight else np.ones(len(frame))
    codes = level_codes_of(frame, seed.columns, wanted, weights)
    cells = cell_table(codes, {name: len(levels) for name, levels in wanted.items()}, weights)
    if not len(cells.weights):
        raise PopulationError(f"{seed.file}: no record is left; recode leaves out all {len(frame)}")
    return cells


def cell_table(codes: Mapping[str, Ints], sizes: Mapping[str, int], weights: Floats) -> CellTable:
    """Sum rows to cells; rows with a code of -1 or a weight of 0 are left out.

    Example:
        >>> cells = cell_table({"a": np.array([0, 1, 1, -1])}, {"a": 2}, np.array([1.0, 2.0, 2.0, 9.0]))
        >>> cells.weights.tolist(), cells.records.tolist(), cells.left_out
        ([1.0, 4.0], [1.0, 2.0], 1)
    """
    kept = weights > 0
    for code in codes.values():
        kept = kept & (code >= 0)
    w = weights[kept]
    key = key_of({name: code[kept] for name, code in codes.items()}, list(codes), sizes, len(w))
    _, first, cell = np.unique(key, return_index=True, return_inverse=True)
    n = len(first)
    at = {name: code[kept][first] for name, code in codes.items()}
    squares, records = sum_by(cell, w * w, n), sum_by(cell, np.ones(len(w)), n)
    return CellTable(at, sum_by(cell, w, n), squares, records, int(len(weights) - kept.sum()))


def conditional(
    cells: CellTable, given: Codes, n_parents: int, added: Codes, sizes: Mapping[str, int], at_least: int
) -> tuple[Floats, list[tuple[str, ...]], Ints]:
    """Estimate p(outcome | parent) from cells of microdata, from fewer attributes of the parent where records are few.

    Args:
        cells: The microdata.
        given: The parents: attribute -> level, the one that is left out first last.
        n_parents: How many there are; with nothing given, one.
        added: The outcomes: attribute -> level.
        sizes: Attribute -> number of levels.
        at_least: Records that a set of parents' attributes needs.

    Returns:
        Parents by outcomes, rows summing to 1; the sets of attributes that were used; and which one for each parent.

    Raises:
        PopulationError: No record has one of the outcomes.
    """
    outcome = positions(cells, added, sizes)
    n_outcomes = len(next(iter(added.values())))
    kept = outcome >= 0
    if not kept.any():
        raise PopulationError(f"seed: no record has a possible combination of {', '.join(added)}")
    weights, records, outcome = cells.weights[kept], cells.records[kept], outcome[kept]
    chances = np.zeros((n_parents, n_outcomes))
    used = np.full(n_parents, -1)
    known = [name for name in given if name in cells.codes]
    sets = [tuple(known[:k]) for k in range(len(known), -1, -1)]
    for number, names in enumerate(sets):
        values, row = np.unique(key_of(given, names, sizes, n_parents), return_inverse=True)
        at, there = _find(values, key_of(cells.codes, names, sizes, len(kept))[kept])
        index, shape = at[there] * n_outcomes + outcome[there], (len(values), n_outcomes)
        table = sum_by(index, weights[there], len(values) * n_outcomes).reshape(shape)
        count = sum_by(at[there], records[there], len(values))
        enough = (count >= (at_least if names else 0))[row] & (used < 0)
        chances[enough] = (table / table.sum(axis=1, keepdims=True).clip(1e-300))[row[enough]]
        used[enough] = number
    return chances, sets, used


def positions(cells: CellTable, added: Codes, sizes: Mapping[str, int]) -> Ints:
    """Find the outcome of each cell of microdata; -1 where it is none of them."""
    names = list(added)
    outcomes = key_of(added, names, sizes, len(added[names[0]]))
    order = np.argsort(outcomes)
    at, there = _find(outcomes[order], key_of(cells.codes, names, sizes, len(cells.weights)))
    return np.where(there, order[at], -1)


def _find(values: Ints, keys: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Find keys among sorted values: their places, and whether they are there."""
    at = np.searchsorted(values, keys).clip(0, len(values) - 1)
    return at, values[at] == keys


def key_of(codes: Mapping[str, Ints], names: Sequence[str], sizes: Mapping[str, int], n: int) -> Ints:
    """Number the combinations of some attributes.

    Raises:
        PopulationError: There are too many for whole numbers of 64 bits.
    """
    if math.prod(sizes[name] for name in names) > 2**62:
        raise PopulationError(f"{', '.join(names)}: too many combinations to number; draw them in several steps")
    key = np.zeros(n, dtype=np.int64)
    for name in names:
        key = key * sizes[name] + codes[name]
    return key


def sampling_zeros(start: Floats, possible: NDArray[np.bool_] | None, controls: Sequence[Control]) -> list[str]:
    """Name the cells of controls that hold people but no record, although somebody could be there.

    Args:
        start: The weights of the records in each cell.
        possible: Whether somebody could be in a cell; None where only cells with records are listed.
        controls: What has to be met.
    """
    found = []
    for control in controls:
        index = np.asarray(control.index).ravel()
        hopeless = set() if possible is None else set(unsupported(control, index[possible]).tolist())
        found += [control.cell(int(c)) for c in unsupported(control, index[start > 0]) if int(c) not in hopeless]
    return found
