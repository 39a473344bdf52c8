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
    """

    margin: Margin
    grid: Grid
    published: Floats
    target: Floats
    standard_error: Floats

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
        rows = _row_sizes(margin, grid, parents) if margin.measure == "row_shares" else np.ones(1)
        within = _within(margin, grid, totals)
        error = np.sqrt(within * (1 - within) / _sample_size(margin, grid)) * rows
        published = target = (within * rows).ravel()
        if margin.yields_to is not None:
            if margin.yields_to not in done:
                raise PopulationError(
                    f"margins.{number}.yields_to: no margin {margin.yields_to!r} stands before this one"
                )
            target = _reconcile(margin, grid, published, done[margin.yields_to])
        done[margin.name] = FittedMargin(margin, grid, published, target, error.ravel())
    return list(done.values())


def _within(margin: Margin, grid: Grid, totals: dict[str, float]) -> Floats:
    """Give a margin's shares of what it measures: of the row, or of the whole; remember the total of a unit."""
    whole = grid.values.sum()
    if margin.measure == "row_shares":
        sums = grid.values.sum(axis=-1, keepdims=True)
        _check_sums(margin.name, sums)
        shares: Floats = grid.values / sums
        return shares
    if margin.measure == "shares":
        _check_sums(margin.name, whole)
    elif margin.where:
        if margin.unit not in totals:
            raise PopulationError(
                f"{margin.name}: is confined by where; a margin of all {margin.unit} must come before it"
            )
        whole = totals[margin.unit]
    else:
        known = totals.setdefault(margin.unit, float(whole))
        if abs(known - whole) > CONSISTENT * known:
            raise PopulationError(
                f"{margin.name}: totals disagree: it sums to {whole:.10g} {margin.unit}, the margins before it to "
                f"{known:.10g} (a gap of {abs(known - whole):.6g})"
            )
    return np.asarray(grid.values / whole, dtype=np.float64)


def _row_sizes(margin: Margin, grid: Grid, parents: tuple[Codes, Floats]) -> Floats:
    """Give the share of people in each row of a margin."""
    given, weights = parents
    lead = Grid(grid.of[:-1], grid.labels[:-1], grid.maps, grid.values[..., 0])
    if missing := set(lead.of) - set(given):
        raise PopulationError(f"{margin.name}: row_shares of {', '.join(sorted(missing))}, which is not among given")
    return sum_by(lead.index(given), weights, lead.values.size).reshape(*lead.values.shape, 1)


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
        raise PopulationError(f"{name}: shares sum to {np.ravel(sums)[rounded.argmax()]:.6g}; 1 or 100 is needed")


def _reconcile(margin: Margin, grid: Grid, published: Floats, other: FittedMargin) -> Floats:
    """Adjust a margin to another one on the attributes of that one, keeping the size of its rows.

    The result is, among all tables with both sums, the one with the least information divergence from the published.
    """
    if not set(other.grid.of) <= set(grid.of):
        raise PopulationError(f"{margin.name}: cannot yield to {other.margin.name}, which has other attributes")
    at = np.indices(grid.values.shape).reshape(len(grid.of), -1)
    codes = {
        name: np.array([int(np.flatnonzero(grid.maps[name] == i)[0]) for i in range(len(labels))])[axis]
        for name, labels, axis in zip(grid.of, grid.labels, at, strict=True)
    }
    rows = np.arange(published.size) // grid.values.shape[-1]
    controls = [
        Control(f"rows of {margin.name}", rows, sum_by(rows, published, rows[-1] + 1)),
        Control(other.margin.name, other.grid.index(codes), other.target),
    ]
    return rake(published, controls, tolerance=1e-12).weights


def name_cell(spec: PopulationSpec, of: Sequence[str], cells: Codes, cell: int) -> str:
    """Name one of the cells by its levels of some attributes."""
    return ", ".join(f"{name} {spec.attributes[name][cells[name][cell]]}" for name in of)
