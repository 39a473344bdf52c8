"""Pictures of answered benchmarks: errors over a temperature sweep, and scores over the amount of data learned from."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from popsim.report import charts
from popsim.report.blocks import Figure, Named

KL, RMSE = "KL of the population", "RMSE of persons, share of the scale"
_BASELINES = ("uniform", "people again", "pooled", "boosting", "svr", "catboost")
_OF_LEVELS = ("accuracy, ", "exact match, ", "parity difference, ")
_REACH = 2.09
"""Standard errors in half of an interval: Student's t, one degree of freedom less than the 20 blocks behind them."""


class Answered(NamedTuple):
    """What is drawn of one benchmark.

    Attributes:
        name: Of the model, as the reader knows it.
        scores: A row per ``score`` with a column for the ``model``, each baseline, and standard errors.
        temperatures: ``temperature, kl, rmse, frontier``; empty where none was swept.
        learned: How many records the adapter that answered was tuned on; None where nobody knows.
    """

    name: str
    scores: pd.DataFrame
    temperatures: pd.DataFrame
    learned: int | None


def benchmark_figures(answered: Sequence[Answered]) -> dict[str, Figure]:
    """Name every picture that answered benchmarks have the data for.

    Args:
        answered: Of the same data; baselines of the sweep are those of the first.

    Returns:
        ``frontier`` where temperatures were swept, and a ``learning-curve-SCORE`` for each score where two of them or
        more learned from different amounts of data.

    Example:
        >>> scores = pd.DataFrame({"score": ["accuracy"], "model": [0.5], "s.e.": [0.1], "uniform": [0.3]})
        >>> some = [Answered(str(n), scores, pd.DataFrame(), n) for n in (0, 100)]
        >>> list(benchmark_figures(some))
        ['learning-curve-accuracy']
    """
    return {name: figure for part in (_frontier, _curves) for name, figure in part(answered)}


def _frontier(answered: Sequence[Answered]) -> Named:
    swept = [one.temperatures.assign(group=one.name) for one in answered if len(one.temperatures)]
    if not swept:
        return
    data = pd.concat(swept, ignore_index=True)
    known = answered[0].scores.set_index("score")
    names = [name for name in _BASELINES if name in known]
    beside = known.reindex([RMSE, KL])[names].T.set_axis(["x", "y"], axis=1).rename_axis("label").reset_index()
    labels = [f"{temperature:g}" for temperature in data["temperature"]]
    points = data.rename(columns={"rmse": "x", "kl": "y"}).assign(label=labels)
    points = points[["group", "label", "x", "y", "frontier"]]
    note = (
        "Numbers at the points are temperatures; filled and joined are those that no other beats in both. Crosses: "
        "baselines, which have no temperature."
    )
    words = "KL of the population against RMSE of persons by temperature: " + "; ".join(
        f"{one.group} {one.label}: {one.x:.3f}, {one.y:.3f}" for one in points.itertuples()
    )
    titles = ("RMSE of persons, share of the scale", "KL of the population")
    draw = partial(charts.frontier, points, beside.dropna(), titles, words)
    yield "frontier", Figure("benchmark", "KL against RMSE by temperature", note, data, draw)


def _curves(answered: Sequence[Answered]) -> Named:
    """Draw each score over the records learned from, with baselines that saw as many where their file says so."""
    known = sorted((one for one in answered if one.learned is not None), key=lambda one: one.learned or 0)
    if len({one.learned for one in known}) < 2:
        return
    scores = [str(score) for score in known[0].scores["score"] if not str(score).startswith(_OF_LEVELS)]
    for score in scores:
        rows = [row for one in known for row in _points(one, score)]
        data = pd.DataFrame(rows, columns=["learned", "group", "mean", "low", "high"])
        if data.loc[data["group"].eq("model"), "learned"].nunique() < 2:
            continue
        frame = data.rename(columns={"learned": "x"}).astype({"x": str})
        words = f"{score} of the model and of baselines over the records learned from"
        draw = partial(charts.lines, frame, ("records learned from", score), words)
        note = (
            "The model before and after tuning on so many records, with 95 % intervals over persons; baselines beside."
        )
        name = "".join(sign if sign.isalnum() else " " for sign in score.lower())
        yield f"learning-curve-{'-'.join(name.split())}", Figure("benchmark", score, note, data, draw)


def _points(one: Answered, score: str) -> list[tuple[int | None, str, float, float, float]]:
    found = one.scores.set_index("score").reindex([score]).iloc[0]
    error = _REACH * float(found.get("s.e.", np.nan))
    points = [(one.learned, "model", found["model"], found["model"] - error, found["model"] + error)]
    points += [(one.learned, name, found[name], found[name], found[name]) for name in _BASELINES if name in found]
    return [point for point in points if point[2] == point[2]]
