"""Published tables as shares of the whole, ready to be raked to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popsim.errors import PopulationError
from popsim.population.rake import CONSISTENT, Control, rake, sum_by
from popsim.population.spec import Margin, PopulationSpec, Step
from popsim.population.tables import Grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = dict[str, Ints]

ROUNDING = 0.01
"""How far published shares may be from summing to one."""


@dataclass(frozen=True, eq=False)
class FittedMargin:
    """A margin as it was fitted.

    Attributes:
        margin: The margin of the file.
        grid: Its table.
        published: Shares of the whole as published (rows of ``row_shares`` weighted by the people in them), per cell.
        target: The shares that were fitted; they differ where the margin yields to another.
        standard_error: Of each share, from the sample size; NaN where that is not known.
        rescaled: The factor by which its numbers were multiplied to meet the total of the margins before it.
    """

    margin: Margin
    grid: Grid
    published: Floats
    target: Floats
    standard_error: Floats
    rescaled: float

    def control(self, spec: PopulationSpec, cells: Mapping[str, Ints]) -> Control:
        """Make the control on a table of cells."""
        return Control(self.margin.name, self.index(spec, cells), self.target, self.grid.names())

    def index(self, spec: PopulationSpec, codes: Mapping[str, Ints]) -> Ints:
        """Find the cell of the margin for each person or cell of a table; -1 outside what it is confined to."""
        return margin_index(self.margin, self.grid, spec, codes)


def margin_index(margin: Margin, grid: Grid, spec: PopulationSpec, codes: Mapping[str, Ints]) -> Ints:
    """Find the cell of a margin for each person or cell of a table; -1 outside what it is confined to."""
    index = grid.index(codes)
    for attribute, level in margin.where.items():
        index[codes[attribute] != spec.attributes[attribute].index(level)] = -1
    return index


def fit_margins(
    spec: PopulationSpec,
    step: Step,
    totals: dict[str, float],
    parents: tuple[Codes, Floats],
    cells: Codes,
    alive: NDArray[np.bool_],
) -> list[FittedMargin]:
    """Turn the tables of a step into shares of the whole."""
    done: dict[str, FittedMargin] = {}
    for number, margin in enumerate(step.margins):
        grid = margin.grid(spec.attributes)
        outside = margin_index(margin, grid, spec, cells) < 0
        for attribute, level in margin.where.items():
            outside &= cells[attribute] == spec.attributes[attribute].index(level)
        uncovered = np.flatnonzero(alive & outside)
        if len(uncovered):
            raise PopulationError(
                f"margins.{number}: {margin.name} says nothing about {name_cell(spec, margin.of, cells, uncovered[0])}"
            )
        rows = _row_sizes(spec, margin, grid, parents)
        within, factor = _within(margin, grid, totals)
        error = np.sqrt(within * (1 - within) / _sample_size(margin, grid)) * rows
        published = target = (within * rows).ravel()
        if margin.yields_to is not None:
            if margin.yields_to not in done:
                raise PopulationError(
                    f"margins.{number}.yields_to: no margin {margin.yields_to!r} stands before this one"
                )
            target = _reconcile(spec, margin, grid, published, done[margin.yields_to])
        done[margin.name] = FittedMargin(margin, grid, published, target, error.ravel(), factor)
    return list(done.values())


def _within(margin: Margin, grid: Grid, totals: dict[str, float]) -> tuple[Floats, float]:
    """Give a margin's shares of what it measures, and the factor it was rescaled by; remember the total of a unit.

    Of several rows the factor furthest from one is given.
    """
    whole, factor = float(grid.values.sum()), 1.0
    if margin.measure == "row_shares":
        sums = grid.values.sum(axis=-1, keepdims=True)
        if not margin.rescale:
            _check_sums(margin.name, sums)
        else:
            each = np.where(sums < 10, 1, 100) / sums
            factor = float(each.ravel()[np.abs(np.log(each)).argmax()])
        return np.asarray(grid.values / sums, dtype=np.float64), factor
    if margin.measure == "shares":
        factor = (1 if whole < 10 else 100) / whole
        if not margin.rescale:
            _check_sums(margin.name, np.asarray(whole))
    elif margin.where:
        if margin.unit not in totals:
            raise PopulationError(
                f"{margin.name}: is confined by where; a margin of all {margin.unit} must come before it"
            )
        whole = totals[margin.unit]
    else:
        known = totals.setdefault(margin.unit, whole)
        factor = known / whole
        if abs(known - whole) > CONSISTENT * known and not margin.rescale:
            raise PopulationError(
                f"{margin.name}: totals disagree: it sums to {whole:.10g} {margin.unit}, the margins before it to "
                f"{known:.10g} (a gap of {abs(known - whole):.6g}); correct one of them, or write rescale: true to "
                f"multiply it by {factor:.8g}"
            )
    return np.asarray(grid.values / whole, dtype=np.float64), factor if margin.rescale else 1.0


def _row_sizes(spec: PopulationSpec, margin: Margin, grid: Grid, parents: tuple[Codes, Floats]) -> Floats:
    """Give the share of people in each row of a margin, or among those that its shares are confined to."""
    given, weights = parents
    lead = grid.of[:-1] if margin.measure == "row_shares" else ()
    confined = margin.where if margin.measure != "counts" else {}
    if missing := {*lead, *confined} - set(given):
        raise PopulationError(
            f"{margin.name}: {margin.measure} of {', '.join(sorted(missing))}, which is not among given"
        )
    there = np.ones(len(weights), dtype=bool)
    for attribute, level in confined.items():
        there &= given[attribute] == spec.attributes[attribute].index(level)
    if not lead:
        return np.array([weights[there].sum() if confined else 1.0])
    rows = Grid(lead, grid.labels[:-1], grid.maps, grid.values[..., 0])
    index = np.where(there, rows.index(given), -1)
    return sum_by(index, weights, rows.values.size).reshape(*rows.values.shape, 1)


def _sample_size(margin: Margin, grid: Grid) -> Floats:
    """Give the sample size behind each row of a margin, NaN where it is not known."""
    sizes = np.full((*grid.values.shape[:-1], 1), np.nan)
    if isinstance(margin.n, tuple):
        for row, n in zip(margin.table[1:], margin.n, strict=True):
            sizes[tuple(labels.index(str(cell)) for labels, cell in zip(grid.labels[:-1], row, strict=False))] = n
    elif margin.n is not None:
        sizes[:] = margin.n
    return sizes


def _check_sums(name: str, sums: Floats) -> None:
    """Check that published shares sum to 1 or to 100, up to rounding."""
    rounded = np.minimum(np.abs(sums - 1), np.abs(sums / 100 - 1))
    if rounded.max() > ROUNDING:
        found = np.ravel(sums)[rounded.argmax()]
        raise PopulationError(
            f"{name}: shares sum to {found:.6g}; 1 or 100 is needed; correct them, or write rescale: true to multiply "
            f"them by {(1 if found < 10 else 100) / found:.6g}"
        )


def _reconcile(spec: PopulationSpec, margin: Margin, grid: Grid, published: Floats, other: FittedMargin) -> Floats:
    """Adjust a margin to another one on the attributes that both have, keeping the size of its rows.

    The result is, among all tables with both sums, the one with the least information divergence from the published.
    """
    shared = [name for name in other.grid.of if name in grid.of]
    extra = {name: level for name, level in other.margin.where.items() if margin.where.get(name) != level}
    if not shared or not set(extra) <= set(grid.of):
        raise PopulationError(f"{margin.name}: cannot yield to {other.margin.name}, which has other attributes")
    codes = {}
    for name, at in zip(grid.of, np.indices(grid.values.shape).reshape(len(grid.of), -1), strict=True):
        codes[name] = _first(grid, name)[at]
    for name in shared:
        _check_nested(margin, grid, other, name)
    axes = tuple(i for i, name in enumerate(other.grid.of) if name not in shared)
    wanted = other.target.reshape(other.grid.values.shape).sum(axis=axes)
    kept = [i for i, name in enumerate(other.grid.of) if name in shared]
    part = Grid(tuple(shared), tuple(other.grid.labels[i] for i in kept), other.grid.maps, wanted)
    index = part.index(codes)
    for name, level in extra.items():
        index[codes[name] != spec.attributes[name].index(level)] = -1
    rows = np.arange(published.size) // grid.values.shape[-1]
    controls = [
        Control(f"rows of {margin.name}", rows, sum_by(rows, published, rows[-1] + 1)),
        Control(other.margin.name, index, wanted.ravel(), part.names()),
    ]
    return rake(published, controls, tolerance=1e-12).weights


def _first(grid: Grid, name: str) -> Ints:
    """Give the first level of each group of an attribute."""
    groups = grid.labels[grid.of.index(name)]
    return np.array([int(np.flatnonzero(grid.maps[name] == i)[0]) for i in range(len(groups))])


def _check_nested(margin: Margin, grid: Grid, other: FittedMargin, name: str) -> None:
    """Check that each group of a margin lies within one group of the margin that it yields to."""
    for i, label in enumerate(grid.labels[grid.of.index(name)]):
        if len(set(other.grid.maps[name][grid.maps[name] == i])) > 1:
            raise PopulationError(
                f"{margin.name}: cannot yield to {other.margin.name}: {name} {label} lies in several of its groups"
            )


def name_cell(spec: PopulationSpec, of: Sequence[str], cells: Codes, cell: int) -> str:
    """Name one of the cells by its levels of some attributes."""
    return ", ".join(f"{name} {spec.attributes[name][cells[name][cell]]}" for name in of)
