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

PATIENCE = 50
"""Rounds after which a fit that has not converged looks for controls that contradict each other."""


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
        tolerance: What was asked for, or what the controls themselves disagree by, if that is more.
        effective_n: How many equal weights tell as much as these (Kish 1965).
        divergence: Information divergence of the fit from the start (Kullback and Leibler), in nats.
        rescaled: The factor by which the totals of a control were multiplied, by name, where it is not 1.
    """

    weights: Floats
    converged: bool
    iterations: int
    worst_control: str
    worst_cell: str
    worst_error: float
    errors: dict[str, float]
    tolerance: float
    effective_n: float
    divergence: float
    rescaled: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Live:
    """A control on the weights that are not zero.

    Attributes:
        control: The control.
        index: Its index, raised by one, so that 0 stands for none.
        target: Its totals, rescaled.
    """

    control: Control
    index: NDArray[np.intp]
    target: Floats

    def sums(self, weights: Floats) -> Floats:
        """Sum the weights by cell, those that count nowhere first."""
        return np.bincount(self.index, weights, len(self.target) + 1).astype(np.float64, copy=False)


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
    order = np.argsort(axes)
    index = np.arange(totals.size, dtype=np.int64).reshape(wanted).transpose(order)
    lengths = [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
    return Control(name, np.broadcast_to(index.reshape(lengths), tuple(shape)), totals.ravel())


def rake(
    weights: ArrayLike,
    controls: Sequence[Control],
    tolerance: float = 1e-9,
    max_iterations: int = 2000,
    rescale: bool = False,
) -> Raked:
    """Rake weights to controls by iterative proportional fitting (Deming and Stephan 1940).

    The result is, among all weights that meet the controls, the one with the least information divergence from the
    start. It stops on error and not on change; a fit that does not converge is returned as such. Only weights that are
    not zero are worked on, so a sparse table costs what its filled cells cost.

    Args:
        weights: Start weights of cells or records, of any shape and memory order, none negative.
        controls: What has to be met; each control's index has the shape of the weights.
        tolerance: Largest absolute error that counts as met, as a share of the total.
        max_iterations: Rounds over all controls.
        rescale: Scale totals that disagree to those of the first control that covers every weight.

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
    alive = np.flatnonzero(start.ravel() > 0)
    places = np.unravel_index(alive, start.shape) if len(alive) * 4 < start.size else None
    live, total, rescaled = _common_total([_live(control, start.shape, alive, places) for control in controls], rescale)
    _check_support(live)
    q = start.ravel()[alive]
    w = q * (total / q.sum())
    errors, iterations, tolerance = _iterate(w, live, total, tolerance, max_iterations)
    worst = int(np.argmax([e.max() for e in errors]))
    fitted = np.zeros(start.size)
    fitted[alive] = w
    return Raked(
        weights=fitted.reshape(start.shape),
        converged=bool(errors[worst].max() <= tolerance),
        iterations=iterations,
        worst_control=live[worst].control.name,
        worst_cell=live[worst].control.cell(int(np.argmax(errors[worst]))),
        worst_error=float(errors[worst].max()),
        errors={one.control.name: float(e.max()) for one, e in zip(live, errors, strict=True)},
        tolerance=tolerance,
        effective_n=effective_size(w),
        divergence=divergence(w, q),
        rescaled=rescaled,
    )


def effective_size(weights: ArrayLike) -> float:
    """Give the number of equal weights that tell as much as these (Kish 1965); the design effect is their ratio.

    Example:
        >>> effective_size([1, 1, 1, 1]), effective_size([1, 1, 2])
        (4.0, 2.6666666666666665)
    """
    w = np.asarray(weights, dtype=np.float64)
    squares = float((w * w).sum())
    return float(w.sum()) ** 2 / squares if squares > 0 else 0.0


def divergence(fitted: ArrayLike, start: ArrayLike) -> float:
    """Give the information divergence of one set of weights from another, both as shares, in nats.

    Example:
        >>> divergence([1, 3], [2, 6]), round(divergence([1, 0], [1, 1]), 4)
        (0.0, 0.6931)
    """
    p, q = np.asarray(fitted, dtype=np.float64).ravel(), np.asarray(start, dtype=np.float64).ravel()
    kept = p > 0
    p, q = p[kept] / p.sum(), q[kept] / q.sum()
    with np.errstate(divide="ignore"):
        return max(0.0, float((p * np.log(p / q)).sum()))


def sum_by(index: NDArray[np.integer], weights: Floats, cells: int) -> Floats:
    """Sum weights by cell; those with index -1 count nowhere.

    Example:
        >>> sum_by(np.array([0, 1, -1, 1]), np.array([1.0, 2.0, 3.0, 4.0]), 2).tolist()
        [1.0, 6.0]
    """
    return np.bincount(index + 1, weights, cells + 1).astype(np.float64)[1:]


def _iterate(
    w: Floats, live: Sequence[_Live], total: float, tolerance: float, max_iterations: int
) -> tuple[list[Floats], int, float]:
    """Meet the controls in turn until all are met; give their errors, the rounds, and the tolerance that was used."""
    iterations, round_ = 0, [_Step(one) for one in _needed(live, total)]
    errors: list[Floats] = []
    while iterations < max_iterations:
        worst = max(one.meet(w) for one in round_) / total
        iterations += 1
        if iterations == min(PATIENCE, max_iterations):
            tolerance = max(tolerance, 2 * _check_overlaps(live, total))
        errors = _errors(w, live, total) if worst <= 10 * tolerance else []
        if errors and max(e.max() for e in errors) <= tolerance:
            break
    return errors or _errors(w, live, total), iterations, tolerance


class _Step:
    """One control's turn in a round, with room for its factors."""

    def __init__(self, live: _Live) -> None:
        self.live = live
        self.factors = np.ones(len(live.target) + 1)

    def meet(self, w: Floats) -> float:
        """Multiply the weights in place so that they meet the control; give the largest error that it had before."""
        sums = self.live.sums(w)[1:]
        np.divide(self.live.target, sums, out=self.factors[1:], where=sums > 0)
        w *= self.factors.take(self.live.index)
        return float(np.abs(sums - self.live.target).max())


def _needed(live: Sequence[_Live], total: float) -> list[_Live]:
    """Leave out the controls that are met whenever a finer one is, for example a margin of a margin."""
    finer = [[other for other in live if len(other.target) > len(one.target)] for one in live]
    return [
        one for one, others in zip(live, finer, strict=True) if not any(_implies(two, one, total) for two in others)
    ]


def _implies(fine: _Live, coarse: _Live, total: float) -> bool:
    """Whether the cells of one control are parts of the cells of another, and their targets add up to its."""
    part = np.zeros(len(fine.target) + 1, dtype=np.intp)
    for step in (max(1, len(fine.index) // 256), 1):
        index, cell = fine.index[::step], coarse.index[::step]
        part[index] = cell
        if (part[index] != cell).any():
            return False
    sums = np.bincount(part[1:], fine.target, len(coarse.target) + 1)
    return float(np.abs(sums[1:] - coarse.target).max()) <= 1e-12 * total


def _errors(w: Floats, live: Sequence[_Live], total: float) -> list[Floats]:
    """Give the absolute error of every cell of every control, as a share of the total."""
    return [np.abs(one.sums(w)[1:] - one.target) / total for one in live]


def _live(
    control: Control, shape: tuple[int, ...], alive: NDArray[np.intp], places: tuple[NDArray[np.intp], ...] | None
) -> _Live:
    """Check a control by itself and confine it to the weights that are not zero.

    Args:
        control: The control.
        shape: The shape of the weights.
        alive: Which of them are not zero.
        places: The same along each axis, where they are few: then an index need not be laid out in full.
    """
    index, target = np.asarray(control.index), np.asarray(control.target, dtype=np.float64)
    if index.shape != shape:
        raise PopulationError(f"{control.name}: index has shape {index.shape}; the weights have {shape}")
    if places is None:
        kept = index.ravel()[alive]
    else:
        moves = [stride != 0 or length == 1 for stride, length in zip(index.strides, shape, strict=True)]
        layer = index[tuple(slice(None) if move else 0 for move in moves)]
        kept = layer[tuple(place for place, move in zip(places, moves, strict=True) if move)]
    if not np.issubdtype(index.dtype, np.integer) or kept.min() < -1 or kept.max() >= len(target):
        raise PopulationError(f"{control.name}: index must hold integers from -1 to {len(target) - 1}")
    if not np.isfinite(target).all() or (target < 0).any() or not target.sum() > 0:
        raise PopulationError(f"{control.name}: targets must be finite, none negative and not all zero")
    return _Live(control, kept.astype(np.intp) + 1, target)


def _common_total(live: Sequence[_Live], rescale: bool) -> tuple[list[_Live], float, dict[str, float]]:
    """Bring the controls that cover every weight to one total; what rounding leaves between them is no error."""
    whole = [bool(one.index.min() > 0) for one in live]
    if not any(whole):
        raise PopulationError("rake: no control covers every weight, so the total is unknown; add one that does")
    first = live[whole.index(True)]
    total, scaled, factors = float(first.target.sum()), [], {}
    for one, covers in zip(live, whole, strict=True):
        own = float(one.target.sum())
        if covers and abs(own - total) > CONSISTENT * total:
            if not rescale:
                raise PopulationError(
                    f"totals disagree: {first.control.name} sums to {total:.10g}, {one.control.name} to {own:.10g} "
                    f"(a gap of {abs(own - total):.6g}); all controls must describe the same people; correct one, or "
                    f"rescale (the second by {total / own:.8g})"
                )
            factors[one.control.name] = total / own
        scaled.append(replace(one, target=one.target * (total / own)) if covers else one)
    return scaled, total, factors


def _check_support(live: Sequence[_Live]) -> None:
    """Find positive targets that no cell with a positive start could meet."""
    for one in live:
        empty = unsupported(one.control, one.index - 1)
        if len(empty):
            raise PopulationError(
                f"{one.control.cell(int(empty[0]))}: must sum to {one.target[empty[0]]:.10g}, but every weight in it "
                f"is zero or declared impossible ({len(empty)} such cells); give it a positive start or a target of 0"
            )


def unsupported(control: Control, index: NDArray[np.integer]) -> NDArray[np.intp]:
    """Find the cells of a control with a positive target that none of some weights counts in.

    Example:
        >>> unsupported(Control("a", np.zeros(2, int), np.array([1.0, 2.0])), np.array([0, 0])).tolist()
        [1]
    """
    counts = np.bincount(index + 1, minlength=len(control.target) + 1)[1:]
    return np.flatnonzero((counts == 0) & (control.target > 0))


def _check_overlaps(live: Sequence[_Live], total: float) -> float:
    """Compare every two controls on the finest sums that both of them fix, and give the largest gap as a share.

    Cells of two controls that share a weight are linked; a connected component in which every weight is counted by both
    is a sum that both of them state. For margins of a table these are their shared sub-margins.
    """
    largest = 0.0
    for i, one in enumerate(live):
        for two in live[i + 1 :]:
            n_one, n_two = len(one.target) + 1, len(two.target) + 1
            pairs = pd.unique(one.index.astype(np.int64) * n_two + two.index)
            left, right = np.divmod(pairs, n_two)
            links = coo_array((np.ones(len(pairs)), (left, right + n_one)), shape=(n_one + n_two,) * 2)
            n, part = connected_components(links, directed=False)
            sums_one = np.bincount(part[1:n_one], one.target, n)
            sums_two = np.bincount(part[n_one + 1 :], two.target, n)
            gaps = np.abs(sums_one - sums_two)
            gaps[[part[0], part[n_one]]] = 0.0
            worst = int(gaps.argmax())
            largest = max(largest, float(gaps[worst]) / total)
            if gaps[worst] > CONSISTENT * total:
                where = one.control.cell(int(np.flatnonzero(part[1:n_one] == worst)[0]))
                raise PopulationError(
                    f"{one.control.name} and {two.control.name} contradict each other: a sum that both state (it holds "
                    f"{where}) is {sums_one[worst]:.10g} in the first and {sums_two[worst]:.10g} in the second "
                    f"(a gap of {gaps[worst]:.6g}); correct one of them"
                )
    return largest
