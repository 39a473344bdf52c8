"""Raking in list form: weights of cells or records, multiplied until every control adds up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from popsim.errors import PopulationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONSISTENT = 1e-6
"""Largest gap between two totals that should be equal, as a share: one person in a million."""


@dataclass(frozen=True)
class Control:
    """Totals that sums of weights have to meet.

    Attributes:
        name: Names the control in messages.
        index: One integer per weight: the cell of ``target`` that it counts in, or -1 for none.
        target: The totals, one per cell.
        cells: Names of the cells, for messages; their numbers without.
    """

    name: str
    index: NDArray[np.integer]
    target: Floats
    cells: Sequence[str] = ()

    def cell(self, number: int) -> str:
        """Name one cell."""
        return f"{self.name}, {self.cells[number]}" if self.cells else f"{self.name}, cell {number}"


@dataclass(frozen=True)
class Raked:
    """A fit, with an account of it.

    Attributes:
        weights: As many as were given, in the same shape.
        converged: Whether every control is met to the tolerance.
        iterations: Rounds over all controls.
        worst_control: The control with the largest error.
        worst_cell: The name of that control and cell.
        worst_error: The largest absolute error as a share of the total.
        errors: The largest absolute error of each control, by name, as a share of the total.
    """

    weights: Floats
    converged: bool
    iterations: int
    worst_control: str
    worst_cell: str
    worst_error: float
    errors: dict[str, float]


def margin(name: str, shape: Sequence[int], axes: Sequence[int], target: ArrayLike) -> Control:
    """Make the control of an n-dimensional table from a margin over some of its axes, in any order.

    Args:
        name: Names the control in messages.
        shape: The shape of the table of weights.
        axes: The axes of the table that ``target`` is a margin over; ``target``'s first axis is ``axes[0]``.
        target: The totals.

    Raises:
        PopulationError: The target's shape is not that of the named axes.

    Example:
        >>> control = margin("b x a", (2, 3), (1, 0), [[1, 4], [2, 5], [3, 6]])
        >>> control.target[control.index].tolist()
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    totals = np.asarray(target, dtype=np.float64)
    wanted = tuple(shape[axis] for axis in axes)
    if totals.shape != wanted or len(set(axes)) < len(axes):
        raise PopulationError(f"{name}: target has shape {totals.shape}; axes {tuple(axes)} need {wanted}, each once")
    codes = np.indices(tuple(shape), sparse=True)
    index = np.zeros(tuple(shape), dtype=np.int64)
    for axis in axes:
        index = index * shape[axis] + codes[axis]
    return Control(name, index, totals.ravel())


def rake(weights: ArrayLike, controls: Sequence[Control], tolerance: float = 1e-9, max_iterations: int = 2000) -> Raked:
    """Rake weights to controls by iterative proportional fitting (Deming and Stephan 1940).

    The result is, among all weights that meet the controls, the one with the least information divergence from the
    start. It stops on error and not on change; a fit that does not converge is returned as such.

    Args:
        weights: Start weights of cells or records, of any shape and memory order, none negative.
        controls: What has to be met; each control's index has the shape of the weights.
        tolerance: Largest absolute error that counts as met, as a share of the total.
        max_iterations: Rounds over all controls.

    Raises:
        PopulationError: Totals disagree, overlapping controls contradict each other, or a positive target has no
            cell that could meet it.

    Example:
        >>> sex, age = margin("sex", (2, 2), (0,), [49, 51]), margin("age", (2, 2), (1,), [30, 70])
        >>> fit = rake([[1, 1], [1, 1]], [sex, age])
        >>> fit.converged, fit.weights.round(1).tolist()
        (True, [[14.7, 34.3], [15.3, 35.7]])
    """
    start = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(start).all() or (start < 0).any() or not start.sum() > 0:
        raise PopulationError("rake: weights must be finite, none negative and not all zero")
    if not controls:
        raise PopulationError("rake: no control; at least one is needed")
    total = _check_targets(start, controls)
    alive = np.flatnonzero(start.ravel())
    live = [replace(c, index=np.asarray(c.index).ravel()[alive].astype(np.intp)) for c in controls]
    _check_support(live)
    _check_overlaps(live, total)
    w = start.ravel()[alive].copy()
    w *= total / w.sum()
    iterations = 0
    errors = _errors(w, live, total)
    while max(e.max() for e in errors) > tolerance and iterations < max_iterations:
        for control in live:
            sums = sum_by(control.index, w, len(control.target))
            factors = np.divide(control.target, sums, out=np.zeros_like(sums), where=sums > 0)
            w *= np.append(factors, 1.0)[control.index]
        iterations += 1
        errors = _errors(w, live, total)
    worst = int(np.argmax([e.max() for e in errors]))
    fitted = np.zeros(start.size)
    fitted[alive] = w
    return Raked(
        weights=fitted.reshape(start.shape),
        converged=bool(errors[worst].max() <= tolerance),
        iterations=iterations,
        worst_control=live[worst].name,
        worst_cell=live[worst].cell(int(np.argmax(errors[worst]))),
        worst_error=float(errors[worst].max()),
        errors={control.name: float(e.max()) for control, e in zip(live, errors, strict=True)},
    )


def sum_by(index: NDArray[np.integer], weights: Floats, cells: int) -> Floats:
    """Sum weights by cell; those with index -1 count nowhere.

    Example:
        >>> sum_by(np.array([0, 1, -1, 1]), np.array([1.0, 2.0, 3.0, 4.0]), 2).tolist()
        [1.0, 6.0]
    """
    return np.bincount(index + 1, weights, cells + 1).astype(np.float64)[1:]


def _errors(w: Floats, controls: Sequence[Control], total: float) -> list[Floats]:
    """Give the absolute error of every cell of every control, as a share of the total."""
    return [np.abs(sum_by(c.index, w, len(c.target)) - c.target) / total for c in controls]


def _check_targets(start: Floats, controls: Sequence[Control]) -> float:
    """Check each control by itself and give the total of those that cover every weight."""
    totals: dict[str, float] = {}
    for control in controls:
        index, target = np.asarray(control.index), control.target
        if index.shape != start.shape:
            raise PopulationError(f"{control.name}: index has shape {index.shape}; the weights have {start.shape}")
        if not np.issubdtype(index.dtype, np.integer) or index.min() < -1 or index.max() >= len(target):
            raise PopulationError(f"{control.name}: index must hold integers from -1 to {len(target) - 1}")
        if not np.isfinite(target).all() or (target < 0).any() or not target.sum() > 0:
            raise PopulationError(f"{control.name}: targets must be finite, none negative and not all zero")
        if not (index[start > 0] == -1).any():
            totals[control.name] = float(target.sum())
    if not totals:
        raise PopulationError("rake: no control covers every weight, so the total is unknown; add one that does")
    first, total = next(iter(totals.items()))
    for name, other in totals.items():
        if abs(other - total) > CONSISTENT * total:
            raise PopulationError(
                f"totals disagree: {first} sums to {total:.10g}, {name} to {other:.10g} "
                f"(a gap of {abs(other - total):.6g}); all controls must describe the same people"
            )
    return total


def _check_support(controls: Sequence[Control]) -> None:
    """Find positive targets that no cell with a positive start could meet."""
    for control in controls:
        cells = sum_by(control.index, np.ones(len(control.index)), len(control.target))
        empty = np.flatnonzero((cells == 0) & (control.target > 0))
        if len(empty):
            raise PopulationError(
                f"{control.cell(int(empty[0]))}: must sum to {control.target[empty[0]]:.10g}, but every weight in it "
                f"is zero or declared impossible ({len(empty)} such cells); give it a positive start or a target of 0"
            )


def _check_overlaps(controls: Sequence[Control], total: float) -> None:
    """Compare every two controls on the finest sums that both of them fix.

    Cells of two controls that share a weight are linked; a connected component in which every weight is counted by both
    is a sum that both of them state. For margins of a table these are their shared sub-margins.
    """
    for i, one in enumerate(controls):
        for two in controls[i + 1 :]:
            n_one, n_two = len(one.target) + 1, len(two.target) + 1
            pairs = pd.unique((one.index + 1).astype(np.int64) * n_two + two.index + 1)
            left, right = np.divmod(pairs, n_two)
            links = coo_array((np.ones(len(pairs)), (left, right + n_one)), shape=(n_one + n_two,) * 2)
            n, part = connected_components(links, directed=False)
            sums_one = np.bincount(part[1:n_one], one.target, n)
            sums_two = np.bincount(part[n_one + 1 :], two.target, n)
            gaps = np.abs(sums_one - sums_two)
            gaps[[part[0], part[n_one]]] = 0.0
            worst = int(gaps.argmax())
            if gaps[worst] > CONSISTENT * total:
                where = one.cell(int(np.flatnonzero(part[1:n_one] == worst)[0]))
                raise PopulationError(
                    f"{one.name} and {two.name} contradict each other: a sum that both state (it holds {where}) is "
                    f"{sums_one[worst]:.10g} in the first and {sums_two[worst]:.10g} in the second "
                    f"(a gap of {gaps[worst]:.6g}); correct one of them"
                )
