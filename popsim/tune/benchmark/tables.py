"""The tables of a benchmark: predictions beside the truth, and the scores of the model beside those of others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from popsim.tune.benchmark.answers import SHUFFLED, Answered
from popsim.tune.benchmark.blocks import leave_out, standard_error
from popsim.tune.benchmark.config import BenchmarkConfig
from popsim.tune.benchmark.judge import DIMENSIONS, Verdict
from popsim.tune.benchmark.parts import question_of
from popsim.tune.benchmark.predictors import baselines, exchanged
from popsim.tune.benchmark.replies import Predicted
from popsim.tune.benchmark.scores import Figures, diversity, score
from popsim.tune.records import Answer, Shares

Verdicts = Sequence[Verdict | None]
Measure = Callable[[Sequence[int]], Figures]
"""Gives the figures of some of the rows, by their places."""


def figures_of(
    config: BenchmarkConfig, answered: Answered, known: Sequence[Any]
) -> tuple[dict[str, Figures], dict[str, list[float]], list[str]]:
    """Score the model, the controls and the baselines.

    Args:
        config: The benchmark.
        answered: What the model predicts.
        known: What baselines may learn from.

    Returns:
        Figures by who predicted, those of the model with a block left out, and what is to be said of missing baselines.
        Where shares of groups are scored, all columns are of the cells that the model gave shares of.
    """
    model = answered.predicted["model"]
    kept = [at for at, one in enumerate(model) if one.shares or config.task != "shares"]
    rows = [answered.rows[at] for at in kept]
    if not rows:
        return {"model": {}}, {}, ["None of the model's answers could be read"]
    columns = {"model": [model[at] for at in kept]}
    if SHUFFLED in answered.predicted:
        columns[SHUFFLED] = [answered.predicted[SHUFFLED][at] for at in kept]
    if (others := exchanged(rows, columns["model"], config.seed)) is not None:
        columns["swapped groups" if config.task == "shares" else "shuffled personas"] = others
    more, notes = baselines(rows, known, config.seed)
    scored = {name: _scorer(rows, said, config) for name, said in {**columns, **more}.items()}
    figures, blocks = with_errors(rows, scored, config.seed)
    if config.task == "shares":
        figures["people"] = diversity({(row.group, question_of(row)): np.array(row.shares) for row in rows})
    return figures, blocks, [*notes, *_orders(rows, config), *_scaled(figures["model"])]


def _scorer(rows: Sequence[Any], predicted: Sequence[Predicted], config: BenchmarkConfig) -> Measure:
    return lambda kept: score([rows[at] for at in kept], [predicted[at] for at in kept], config)


def with_errors(
    rows: Sequence[Any], scored: Mapping[str, Measure], seed: int
) -> tuple[dict[str, Figures], dict[str, list[float]]]:
    """Take figures of all rows and their standard errors (`popsim.tune.benchmark.blocks.leave_out`).

    Args:
        rows: What was to be predicted.
        scored: By who predicted, what gives the figures of some of the rows; the model first.
        seed: Of who is in which block.

    Returns:
        Figures by who predicted, each followed by its standard errors, ``s.e.`` of the model and ``s.e. NAME`` of
        others; and the model's figures with each block left out.
    """
    figures: dict[str, Figures] = {}
    blocks: dict[str, list[float]] = {}
    for name, measure in scored.items():
        left = leave_out(rows, measure, seed)
        figures[name] = dict(measure(range(len(rows))))
        figures["s.e." if name == "model" else f"s.e. {name}"] = {one: standard_error(x) for one, x in left.items()}
        blocks = left if name == "model" else blocks
    return figures, blocks


def judged_figures(
    rows: Sequence[Any], verdicts: Mapping[str, Verdicts], seed: int
) -> tuple[dict[str, Figures], dict[str, list[float]]]:
    """Average verdicts, with standard errors that are clustered by the person who was interviewed.

    A reply is rated once, so what the judge would say another time is part of the error.

    Args:
        rows: The records that were replied to.
        verdicts: By whose replies were rated, one for each row; the model's first.
        seed: Of who is in which block.

    Example:
        >>> from popsim.tune.records import Item
        >>> rows = [Answer(str(i), Item("q", "?"), "so") for i in range(4)]
        >>> said = [{"naturalness": x, "style": x, "consistency": x} for x in (1.0, 3.0, 3.0, 5.0)]
        >>> figures, _ = judged_figures(rows, {"model": said}, 0)
        >>> figures["model"]["style"], round(figures["s.e."]["style"], 4)
        (3.0, 0.8165)
    """
    return with_errors(rows, {name: _averager(one) for name, one in verdicts.items()}, seed)


def _averager(verdicts: Verdicts) -> Measure:
    return lambda kept: of_verdicts([verdicts[at] for at in kept])


def _scaled(model: Figures) -> list[str]:
    """Say where little was left to scale."""
    mass = model.get("mass on the options", 1.0)
    if mass >= 0.5:
        return []
    return [
        f"The options have {mass:.2%} of the model's probability where one is asked for; shares are of that part, "
        "as they are meant to be after a tune on shares"
    ]


def _orders(rows: Sequence[Any], config: BenchmarkConfig) -> list[str]:
    """Say which questions have no ordinal score."""
    if config.task not in ("shares", "responses") or (config.task == "responses" and not config.groups):
        return []
    items = {question_of(row): row.item for row in rows}
    bare = [item.name for item in items.values() if not item.ordered]
    if not bare:
        return []
    return [
        f"No order is known for the options of {len(bare)} of {len(items)} questions, for example {bare[0]}: they have "
        "no ordinal EMD; orders in the benchmark's file gives them one"
    ]


def of_verdicts(verdicts: Verdicts) -> Figures:
    """Average the verdicts that could be read.

    Example:
        >>> of_verdicts([{"naturalness": 4.0, "style": 2.0, "consistency": 3.0}, None])["mean of the three"]
        3.0
    """
    read = [one for one in verdicts if one is not None]
    if not read:
        return {}
    means = {name: float(np.mean([one[name] for one in read])) for name in DIMENSIONS}
    return {**means, "mean of the three": float(np.mean(list(means.values())))}


def predictions_table(
    rows: Sequence[Any], predicted: Sequence[Predicted], verdicts: Verdicts | None, draws: int
) -> pd.DataFrame:
    """Lay predictions beside the truth: a row for each record and draw.

    Args:
        rows: The records, each as often as it was drawn.
        predicted: One prediction for each.
        verdicts: Of the judge, where there is one.
        draws: How often.
    """
    found = []
    for at, (row, one) in enumerate(zip(rows, predicted, strict=True)):
        person = isinstance(row, Answer)
        truth = row.value if person else row.item.options[int(np.argmax(row.shares))]
        found.append(
            {
                "record": at // draws,
                "draw": at % draws,
                "who": row.person if person else row.group,
                "study": row.study,
                "condition": row.condition if person else "",
                "question": row.item.name,
                "truth": _text(truth),
                "predicted": _text(one.value),
                "status": one.status,
                "left_out": one.left_out,
                "reply": one.text,
            }
        )
    table = pd.DataFrame(found)
    if verdicts is not None:
        for name in DIMENSIONS:
            table[name] = [float("nan") if one is None else one[name] for one in verdicts]
    return table


def blocks_table(blocks: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Lay out the model's scores with a block left out: a row for each score and block.

    Example:
        >>> blocks_table({"accuracy": [0.5, 0.25]}).to_dict("list")
        {'score': ['accuracy', 'accuracy'], 'block': [0, 1], 'value': [0.5, 0.25]}
    """
    rows = [(name, at, value) for name, values in blocks.items() for at, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["score", "block", "value"])


def distributions_table(rows: Sequence[Any], predicted: Sequence[Predicted], draws: int) -> pd.DataFrame:
    """Lay out the shares that were predicted: a row for each record, draw and option; people's own beside, of groups.

    Args:
        rows: The records.
        predicted: One prediction for each.
        draws: How many rows each record has.
    """
    found = [
        (at // draws, at % draws, value, share, row.shares[i] if isinstance(row, Shares) else np.nan)
        for at, (row, one) in enumerate(zip(rows, predicted, strict=True))
        for i, (value, share) in enumerate(zip(_values(row, one), one.shares, strict=False))
    ]
    return pd.DataFrame(found, columns=["record", "draw", "value", "predicted", "people"])


def _values(row: Answer | Shares, one: Predicted) -> list[str]:
    return [f"{point:g}" for point in one.points] or list(row.item.options)


def _text(value: str | float | None) -> str | None:
    return f"{value:g}" if isinstance(value, float) else value
