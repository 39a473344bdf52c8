"""What a sweep shows: the mean at each point, and contrasts, interactions and slopes from paired replicates."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.report.summaries import mean_interval
from popsim.weighted import moments

_COMPARED = ["arm", "question", "contrast", "mean", "low", "high", "sd", "n"]
_SPARE = 2
"""So many points more than terms are needed for a plane through them to say anything."""


class Plane(NamedTuple):
    """A plane through the means of one outcome at scattered points, by least squares in each replicate.

    Attributes:
        arm: The arm.
        question: The outcome.
        points: (k) the swept values.
        terms: (k, c) from `terms`.
        means: (r, k) of each replicate at each point; a point that lacks a replicate is left out.
        slopes: (r, 1 + c) the height where all terms are 0, then what each term adds.
    """

    arm: str
    question: str
    points: pd.DataFrame
    terms: pd.DataFrame
    means: NDArray[np.float64]
    slopes: NDArray[np.float64]

    @property
    def numeric(self) -> list[str]:
        """The paths of numbers."""
        return [str(path) for path, column in self.points.items() if _is_number(column)]

    @property
    def explained(self) -> float:
        """The share of the variance between points that the plane explains (R²), mean over replicates; NaN of none."""
        fitted = self.slopes[:, :1] + self.slopes[:, 1:] @ self.terms.to_numpy().T
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(1 - ((self.means - fitted).var(axis=1) / self.means.var(axis=1)).mean())


def levels(answers: pd.DataFrame, path: str) -> list[object]:
    """List the values of a swept path in the order of the points: from the lowest up where they are numbers."""
    found = list(dict.fromkeys(answers[path]))
    return sorted(found) if pd.api.types.is_numeric_dtype(answers[path]) else found


def cells(answers: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Give the mean answer of each replicate at each point, by arm and question, over all waves' last.

    Args:
        answers: With the ``weight`` of each person.
        paths: The swept columns.

    Returns:
        The paths, ``arm, question, replicate, mean``.
    """
    ok = answers[answers["status"].eq("ok") & answers["value"].notna() & answers["wave"].eq(answers["wave"].max())]
    by = [*paths, "arm", "question", "replicate"]
    rows = [
        {**dict(zip(by, key, strict=True)), "mean": moments(part["value"], part["weight"])[0]}
        for key, part in ok.groupby(by, sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=[*by, "mean"])


def surface(cell_means: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Give the mean over replicates at each combination of some swept values, with a t interval over replicates.

    Other swept paths are averaged over, replicate by replicate.

    Returns:
        The paths, ``arm, question, mean, low, high, sd, n``; ``n`` counts replicates.
    """
    by = [*paths, "arm", "question"]
    each = cell_means.groupby([*by, "replicate"], sort=False, observed=True)["mean"].mean().reset_index()
    rows = [
        {**dict(zip(by, key, strict=True)), **mean_interval(part["mean"])}
        for key, part in each.groupby(by, sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "sd", "n"])


def is_grid(cell_means: pd.DataFrame, paths: Sequence[str]) -> bool:
    """Say whether every combination of the scanned values is a point."""
    found = len(cell_means[list(paths)].drop_duplicates())
    return found == math.prod(cell_means[path].nunique() for path in paths)


def terms(points: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Write swept values as the terms of a plane, each named by the contrast that it stands for.

    Args:
        points: A row per point.
        paths: The swept columns.

    Returns:
        Per path of numbers one column, from 0 at the lowest to 1 at the highest; per path of others a column of 0 and 1
        for each value but the first.

    Example:
        >>> terms(pd.DataFrame({"reach": [0.2, 0.4, 0.6], "who": ["a", "b", "a"]}), ["reach", "who"]).round(2)
           reach: 0.6 less 0.2  who: b less a
        0                  0.0            0.0
        1                  0.5            1.0
        2                  1.0            0.0
    """
    found = {}
    for path in paths:
        known, column = levels(points, path), points[path]
        if _is_number(column):
            low, high = column.min(), column.max()
            found[f"{path}: {high:.4g} less {low:.4g}"] = (column - low) / (high - low)
        else:
            found |= {f"{path}: {one} less {known[0]}": (column == one).astype(float) for one in known[1:]}
    return pd.DataFrame(found)


def _is_number(column: "pd.Series[Any]") -> bool:
    plain = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return bool(plain) and column.nunique() > 1


def is_scattered(cell_means: pd.DataFrame, paths: Sequence[str]) -> bool:
    """Say whether the points are enough, and differ enough, for a plane through them."""
    found = terms(cell_means[list(paths)].drop_duplicates(), paths).to_numpy()
    columns = np.column_stack([np.ones(len(found)), found])
    count = columns.shape[1]
    return len(found) >= count + _SPARE and bool(np.linalg.matrix_rank(columns) == count)


def planes(cell_means: pd.DataFrame, paths: Sequence[str]) -> Iterator[Plane]:
    """Fit a plane for each arm and question that has points enough (`is_scattered`)."""
    for (arm, question), part in cell_means.groupby(["arm", "question"], sort=False, observed=True):
        place = part.groupby(list(paths), sort=False, observed=True).ngroup()
        means = part.pivot_table(index="replicate", columns=place, values="mean").dropna(axis=1)
        points = part.loc[~place.duplicated(), list(paths)].iloc[means.columns].reset_index(drop=True)
        if is_scattered(points, paths):
            columns = terms(points, paths)
            ones = np.column_stack([np.ones(len(columns)), columns])
            fitted = np.linalg.lstsq(ones, means.to_numpy().T, rcond=None)[0].T
            yield Plane(str(arm), str(question), points, columns, means.to_numpy(), fitted)


def slopes(cell_means: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Give what each swept path does over its whole range along a plane through all points, the others held.

    For designs that spread their points (Latin hypercubes, Sobol sequences). The plane is fitted within each replicate,
    whose points share people and draws; intervals come from the differences between replicates. Source: regression
    coefficients as measures of sensitivity, Saltelli et al. 2008, Global Sensitivity Analysis: The Primer, ch. 1.2.5.

    Returns:
        Columns ``arm, question, contrast, mean, low, high, sd, n, R²``; the last is `Plane.explained`.
    """
    rows = [
        {"arm": plane.arm, "question": plane.question, "contrast": name, **mean_interval(slope), "R²": plane.explained}
        for plane in planes(cell_means, paths)
        for name, slope in zip(plane.terms, plane.slopes.T[1:], strict=True)
    ]
    return pd.DataFrame(rows, columns=[*_COMPARED, "R²"])


def along(plane: Plane, path: str) -> pd.DataFrame:
    """Give the mean at each point as it would be with the other paths at their average: a partial residual plot.

    Args:
        plane: A plane.
        path: One of its paths, of numbers.

    Returns:
        ``x, mean, line`` over replicates, by x: the mean, less what the plane says of the others, and the plane.
    """
    rest = [i for i, name in enumerate(plane.terms) if not str(name).startswith(f"{path}: ")]
    height, slope = plane.slopes[:, 0].mean(), plane.slopes[:, 1:].mean(axis=0)
    off = (plane.terms - plane.terms.mean()).to_numpy()[:, rest] @ slope[rest]
    line = height + plane.terms.to_numpy() @ slope - off
    found = pd.DataFrame({"x": plane.points[path], "mean": plane.means.mean(axis=0) - off, "line": line})
    return found.sort_values("x", ignore_index=True)


def named_points(frame: pd.DataFrame, paths: Sequence[str]) -> list[str]:
    """Name each row's point by what differs from the first one."""
    first = frame[list(paths)].iloc[0]
    rows = frame[list(paths)].itertuples(index=False)
    differing = ([(p, v) for p, v, other in zip(paths, row, first, strict=True) if v != other] for row in rows)
    return [", ".join(f"{path} {_short(value)}" for path, value in values) or "the first point" for values in differing]


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def from_first(cell_means: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Give how far each point lies from the first one, for designs that are no grid; within replicates as well.

    Returns:
        Columns ``arm, question, contrast, mean, low, high, sd, n``.
    """
    rows = []
    named = cell_means.assign(point=named_points(cell_means, paths))
    for (arm, question), part in named.groupby(["arm", "question"], sort=False, observed=True):
        wide = part.pivot_table(index="replicate", columns="point", values="mean", sort=False)
        for point in wide.columns[1:]:
            change = mean_interval((wide[point] - wide.iloc[:, 0]).dropna())
            rows.append({"arm": arm, "question": question, "contrast": f"{point} less the first point", **change})
    return pd.DataFrame(rows, columns=_COMPARED)


def compare(cell_means: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Compare the points of a design: `contrasts` of a grid, `slopes` of scattered points, else `from_first`."""
    if is_grid(cell_means, paths):
        return contrasts(cell_means, paths)
    return (slopes if is_scattered(cell_means, paths) else from_first)(cell_means, paths)


def contrasts(cell_means: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Give what going from the first to the last value of a path does, and how two paths interact.

    All points of a replicate share people and draws, so a contrast is taken within a replicate; its interval comes
    from the differences between replicates. An interaction is the effect of the second path at the last value of the
    first less that at its first value.

    Returns:
        Columns ``arm, question, contrast, mean, low, high, sd, n``.

    Example:
        >>> frame = pd.DataFrame({"reach": [0.0, 1.0] * 2, "arm": "a", "question": "q", "replicate": [0, 0, 1, 1]})
        >>> contrasts(frame.assign(mean=[1.0, 3.0, 2.0, 5.0]), ["reach"])["mean"].tolist()
        [2.5]
    """
    rows = []
    for (arm, question), part in cell_means.groupby(["arm", "question"], sort=False, observed=True):
        for path in paths:
            ends = [v for v in (levels(part, path)[0], levels(part, path)[-1])]
            by_level = part.groupby(["replicate", path], sort=False, observed=True)["mean"].mean().unstack(path)
            change = (by_level[ends[1]] - by_level[ends[0]]).dropna()
            name = f"{path}: {ends[1]} less {ends[0]}"
            rows.append({"arm": arm, "question": question, "contrast": name, **mean_interval(change)})
        for first, second in itertools.combinations(paths, 2):
            wide = (
                part.groupby(["replicate", first, second], sort=False, observed=True)["mean"]
                .mean()
                .unstack([first, second])
            )
            a, b = levels(part, first), levels(part, second)
            corners = [(a[-1], b[-1]), (a[-1], b[0]), (a[0], b[-1]), (a[0], b[0])]
            if len(a) > 1 and len(b) > 1 and all(corner in wide for corner in corners):
                both, one, other, none = (wide[corner] for corner in corners)
                change = (both - one - other + none).dropna()
                name = f"interaction of {first} and {second}"
                rows.append({"arm": arm, "question": question, "contrast": name, **mean_interval(change)})
    return pd.DataFrame(rows, columns=_COMPARED)
