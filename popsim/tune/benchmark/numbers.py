"""The scores of predicted numbers: distributions by cell, persons one by one, conditions, and temperature."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.evaluate.alignment import point_rmse, scaled_wasserstein, sweep_temperatures
from popsim.evaluate.distances import kl, rmse
from popsim.evaluate.scores import closeness, condition_sensitivity
from popsim.tune.benchmark.blocks import leave_out, standard_error
from popsim.tune.benchmark.parts import question_of
from popsim.tune.benchmark.replies import Predicted
from popsim.tune.records import Answer, numbers_of

Values = NDArray[np.float64]
Scale = Literal["observed", "declared"]
TEMPERATURES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SWEPT = (0.0, *TEMPERATURES)
_SMOOTHING = 0.5
"""Answers that are added to each number of the scale before a KL divergence is taken, on both sides."""


def number_scores(rows: Sequence[Answer], predicted: Sequence[Predicted]) -> tuple[dict[str, float], list[float]]:
    """Score predicted numbers.

    Args:
        rows: What people answered.
        predicted: One prediction for each.

    Returns:
        Figures by name, and the accuracy of each prediction. Cells count alike within a study, and studies count alike;
        of KL and RMSE, questions count by their answers.

    Example:
        >>> from popsim.tune.records import Item
        >>> item = Item("q", "?", low=1, high=5)
        >>> rows = [Answer("7", item, 2.0), Answer("8", item, 4.0)]
        >>> number_scores(rows, [Predicted(3.0), Predicted(5.0)])[0]["Wasserstein, declared range"]
        0.25
    """
    cells: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        cells[row.study, question_of(row), row.condition].append(at)
    found: dict[str, float] = {}
    scales: tuple[Scale, ...] = ("observed", "declared")
    for scale in scales:
        distances: dict[str, list[float]] = defaultdict(list)
        for (study, _, _), here in cells.items():
            distance = _distance([rows[i] for i in here], [predicted[i] for i in here], scale)
            if distance is not None:
                distances[study].append(distance)
        if distances:
            means = [float(np.mean(of_study)) for of_study in distances.values()]
            found[f"Wasserstein, {scale} range"] = float(np.mean(means))
    accuracy = _closeness(rows, predicted)
    found["individual accuracy"] = float(np.mean(accuracy))
    return found | _beliefs(rows, predicted) | _sensitivity(rows, predicted, cells), accuracy


def _by_question(rows: Sequence[Answer]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        found[question_of(row)].append(at)
    return found


def _beliefs(rows: Sequence[Answer], predicted: Sequence[Predicted]) -> dict[str, float]:
    """Give KL of the population (from people, over the numbers of the scale) and RMSE of persons, as a share of it."""
    kls, errors, weights = [], [], []
    for here in _by_question(rows).values():
        read = [i for i in here if predicted[i].value is not None]
        grid = np.array(numbers_of(rows[here[0]].item))
        if not read or not grid.size:
            continue
        truth = np.array([rows[i].value for i in read], dtype=np.float64)
        human, model = (np.full(len(grid), _SMOOTHING) for _ in range(2))
        np.add.at(human, _nearest(grid, truth), 1.0)
        for i in read:
            points = np.array(predicted[i].points or [predicted[i].value], dtype=np.float64)
            np.add.at(model, _nearest(grid, points), predicted[i].shares or 1.0)
        kls.append(kl(human / human.sum(), model / model.sum()))
        errors.append(rmse(truth, np.array([predicted[i].value for i in read], dtype=np.float64)) / np.ptp(grid))
        weights.append(len(read))
    if not kls:
        return {}
    names = ("KL of the population", "RMSE of persons, share of the scale")
    return {name: float(np.average(one, weights=weights)) for name, one in zip(names, (kls, errors), strict=True)}


def _nearest(grid: Values, values: Values) -> NDArray[np.intp]:
    return np.asarray(np.abs(values[:, None] - grid[None, :]).argmin(axis=1))


def temperature_table(rows: Sequence[Answer], predicted: Sequence[Predicted], seed: int = 0) -> pd.DataFrame:
    """Set KL of the population against RMSE of persons at several temperatures (Namikoshi et al. 2024).

    Only of questions whose numbers were scored: what is drawn at another temperature follows from the shares at 1.

    Args:
        rows: What people answered.
        predicted: One prediction for each.
        seed: Of the blocks of persons behind the standard errors.

    Returns:
        ``temperature`` (0: the most probable number), ``kl``, ``rmse`` (as a share of the scale), the standard errors
        of both, clustered by person (`popsim.tune.benchmark.blocks.leave_out`), and ``frontier``: whether no other
        temperature is better in both. Empty where nothing was scored.

    Example:
        >>> from popsim.tune.records import Item
        >>> rows = [Answer("7", Item("q", "?", low=0, high=1), 1.0)]
        >>> table = temperature_table(rows, [Predicted(1.0, "ok", (0.2, 0.8), (0.0, 1.0))])
        >>> table["rmse"].round(3).tolist()[:2]
        [0.0, 0.062]
    """
    found = _swept(rows, predicted)
    columns = ["temperature", "kl", "s.e. kl", "rmse", "s.e. rmse", "frontier"]
    if not found:
        return pd.DataFrame(columns=columns)
    left = leave_out(rows, lambda kept: _swept([rows[at] for at in kept], [predicted[at] for at in kept]), seed)
    errors = {name: standard_error(values) for name, values in left.items()}
    mean = np.array([[found[f"{name} {at:g}"] for name in ("kl", "rmse")] for at in SWEPT])
    table = pd.DataFrame({"temperature": SWEPT, "kl": mean[:, 0], "rmse": mean[:, 1]})
    for name in ("kl", "rmse"):
        table[f"s.e. {name}"] = [errors.get(f"{name} {at:g}", np.nan) for at in SWEPT]
    beaten = [bool(((mean <= one).all(axis=1) & (mean < one).any(axis=1)).any()) for one in mean]
    return table.assign(frontier=[not one for one in beaten])[columns]


def _swept(rows: Sequence[Answer], predicted: Sequence[Predicted]) -> dict[str, float]:
    """Give KL and RMSE at each temperature, a mean over questions by their answers; none where nothing was scored."""
    swept: list[Values] = []
    weights: list[int] = []
    for here in _by_question(rows).values():
        read = [i for i in here if predicted[i].points]
        if not read:
            continue
        values = np.array(predicted[read[0]].points)
        truth = np.array([rows[i].value for i in read], dtype=np.float64)
        shares = np.array([predicted[i].shares for i in read])
        modes = np.eye(len(values))[shares.argmax(axis=1)]
        [greedy] = sweep_temperatures(truth, modes, values, [1.0])
        figures = [(greedy.kl, point_rmse(truth, shares, values))]
        figures += [(one.kl, one.rmse) for one in sweep_temperatures(truth, shares, values, TEMPERATURES)]
        swept.append(np.array(figures) / [1.0, np.ptp(values)])
        weights.append(len(read))
    if not swept:
        return {}
    mean = np.average(swept, axis=0, weights=weights)
    pairs = zip(SWEPT, mean.tolist(), strict=True)
    return {f"{name} {at:g}": value for at, both in pairs for name, value in zip(("kl", "rmse"), both, strict=True)}


def _distance(rows: Sequence[Answer], predicted: Sequence[Predicted], scale: Scale) -> float | None:
    """Give the distance of a cell; None where it has none: no prediction, no scale, or people who all answer alike."""
    human = np.array([row.value for row in rows], dtype=np.float64)
    points = [np.array(one.points or [one.value], dtype=np.float64) for one in predicted if one.value is not None]
    shares = [np.array(one.shares or [1.0]) for one in predicted if one.value is not None]
    item = rows[0].item
    ends = None if item.low is None or item.high is None else (item.low, item.high)
    if not points or (scale == "declared" and ends is None) or (scale == "observed" and human.min() == human.max()):
        return None
    values, weights = np.concatenate(points), np.concatenate(shares)
    return scaled_wasserstein(human, values[weights > 0], scale, ends, weights[weights > 0])


def _closeness(rows: Sequence[Answer], predicted: Sequence[Predicted]) -> list[float]:
    """Give the closeness of each prediction, as a share of the scale, or of people's range where none is declared."""
    found = np.zeros(len(rows))
    for here in _by_question(rows).values():
        item, truth = rows[here[0]].item, np.array([rows[i].value for i in here], dtype=np.float64)
        said = np.array([np.nan if predicted[i].value is None else predicted[i].value for i in here], dtype=np.float64)
        low, high = float(truth.min()), float(truth.max())
        if item.low is not None and item.high is not None:
            low, high = item.low, item.high
        elif low == high:
            low, high = low - 0.5, high + 0.5
        found[here] = closeness(truth, np.clip(said, low, high), low, high)
    return found.tolist()


def _sensitivity(
    rows: Sequence[Answer], predicted: Sequence[Predicted], cells: Mapping[tuple[str, str, str], Sequence[int]]
) -> dict[str, float]:
    """Say whether means move with the condition as people's do, where a question was asked in several."""
    human: dict[tuple[str, str], float] = {}
    model: dict[tuple[str, str], float] = {}
    for (_, question, condition), here in cells.items():
        means = [_mean(predicted[i]) for i in here if predicted[i].value is not None]
        if means:
            human[question, condition] = float(np.mean([float(rows[i].value) for i in here]))  # type: ignore[arg-type]
            model[question, condition] = float(np.mean(means))
    outcomes: dict[str, list[float]] = defaultdict(list)
    for (question, _), mean in human.items():
        outcomes[question].append(mean)
    if not any(max(means) > min(means) for means in outcomes.values()):
        return {}
    return {"condition sensitivity": condition_sensitivity(human, model)}


def _mean(one: Predicted) -> float:
    return float(np.dot(one.points, one.shares)) if one.points else float(one.value)  # type: ignore[arg-type]
