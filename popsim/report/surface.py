"""What a sweep shows: the mean at each point, contrasts and their interaction from paired replicates."""

import itertools
import math
from collections.abc import Sequence

import pandas as pd

from popsim.report.summaries import mean_interval
from popsim.weighted import moments


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


def named_points(frame: pd.DataFrame, paths: Sequence[str]) -> list[str]:
    """Name each row's point by what differs from the first one."""
    first = frame[list(paths)].iloc[0]
    rows = frame[list(paths)].itertuples(index=False)
    differing = ([(p, v) for p, v, other in zip(paths, row, first, strict=True) if v != other] for row in rows)
    return [", ".join(f"{path} {value}" for path, value in values) or "the first point" for values in differing]


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
    return pd.DataFrame(rows, columns=["arm", "question", "contrast", "mean", "low", "high", "sd", "n"])


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
    return pd.DataFrame(rows, columns=["arm", "question", "contrast", "mean", "low", "high", "sd", "n"])
