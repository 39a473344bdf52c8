"""The scores of predictions, task by task; formulas and sources are in `popsim.evaluate`.

One function, `score`, serves the model, the baselines and the controls alike. A prediction that could not be read is
wrong where single answers are scored, and left out where distributions are: it never is a class or an option.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.evaluate.alignment import (
    Cells,
    group_diversity,
    mean_over,
    mode_accuracy,
    one_minus_js,
    placed_emd,
    sorted_share_distance,
)
from popsim.evaluate.distances import total_variation
from popsim.evaluate.matching import match_rate, rule_of, set_likeness
from popsim.evaluate.scores import (
    by_group,
    jaccard,
    parity_difference,
    score_classes,
)
from popsim.tune.benchmark.config import BenchmarkConfig
from popsim.tune.benchmark.numbers import number_scores
from popsim.tune.benchmark.parts import question_of
from popsim.tune.benchmark.replies import Predicted
from popsim.tune.records import Answer, Item, Shares

Values = NDArray[np.float64]
Figures = dict[str, float]
Cell = tuple[str, str]
LIKENESS = "group likeness"
LOWER = ("EMD", "total variation", "Wasserstein", "KL", "RMSE", "parity difference", "sorted share distance")
"""Scores whose names hold one of these are the better the lower they are."""


def score(rows: Sequence[Any], predicted: Sequence[Predicted], config: BenchmarkConfig) -> Figures:
    """Score predictions.

    Args:
        rows: What was to be predicted.
        predicted: One prediction for each.
        config: The benchmark.

    Returns:
        Figures by name; a score that these data cannot have is absent.

    Example:
        >>> from popsim.tune.data import DataFile
        >>> file = DataFile(file="x", format="alpaca")
        >>> config = BenchmarkConfig(kind="benchmark", name="x", task="responses", data=file)
        >>> rows = [Answer(str(i), Item("q", "?", options=("yes", "no")), "no") for i in range(2)]
        >>> score(rows, [Predicted("no"), Predicted(None, "unreadable")], config)["accuracy"]
        0.5
    """
    if config.task == "shares":
        return _shares(rows, predicted)
    if config.task == "numbers":
        figures, accuracy = number_scores(rows, predicted)
        return figures | _by_level("accuracy", rows, accuracy, config.groups) | _mass(predicted)
    if config.task == "roles":
        return _roles(rows, predicted, config)
    return _options(rows, predicted, config) if config.task != "interview" else {}


def table(figures: Mapping[str, Figures]) -> pd.DataFrame:
    """Lay scores out: a row for each, a column for each who predicted.

    Args:
        figures: By who predicted, the model first.

    Example:
        >>> table({"model": {"accuracy": 0.5}, "uniform": {"accuracy": 0.25}}).to_dict("records")
        [{'score': 'accuracy', 'better': 'higher', 'model': 0.5, 'uniform': 0.25}]
    """
    names = dict.fromkeys(name for one in figures.values() for name in one)
    rows = [
        {
            "score": name,
            "better": _better(name),
            **{who: one.get(name, float("nan")) for who, one in figures.items()},
        }
        for name in names
    ]
    return pd.DataFrame(rows, columns=["score", "better", *figures])


def _better(name: str) -> str:
    if name == LIKENESS:
        return "as people"
    return "lower" if any(word in name for word in LOWER) else "higher"


def _shares(rows: Sequence[Shares], predicted: Sequence[Predicted]) -> Figures:
    human, model, items = {}, {}, {}
    for row, one in zip(rows, predicted, strict=True):
        if one.shares:
            cell = row.group, question_of(row)
            human[cell], model[cell], items[cell] = np.array(row.shares), np.array(one.shares), row.item
    if not human:
        return {}
    found = {
        "1 - JS distance": mean_over(one_minus_js, human, model),
        "total variation": mean_over(total_variation, human, model),
        **_ordinal("ordinal EMD", human, model, items),
        "mode accuracy": mode_accuracy(human, model),
        "sorted share distance": mean_over(sorted_share_distance, human, model),
    }
    return found | diversity(model) | _mass(predicted)


def diversity(cells: Cells) -> Figures:
    """Likeness of groups, where a question was put to two; to be read beside that of people.

    Example:
        >>> diversity({("a", "q"): np.array([0.5, 0.5]), ("b", "q"): np.array([0.5, 0.5])})
        {'group likeness': 1.0}
    """
    questions = [question for _, question in cells]
    return {LIKENESS: group_diversity(cells)} if len(set(questions)) < len(questions) else {}


def _ordinal(
    name: str, human: Mapping[Cell, Values], model: Mapping[Cell, Values], items: Mapping[Cell, Item]
) -> Figures:
    """Score cells whose options have an order; none where no options have."""
    ordered = [cell for cell in human if items[cell].ordered]
    if not ordered:
        return {}
    return {name: float(np.mean([placed_emd(human[cell], model[cell], items[cell].places) for cell in ordered]))}


def _mass(predicted: Sequence[Predicted]) -> Figures:
    """Say how much of the probability stands on what was asked, where letters were scored."""
    left_out = [one.left_out for one in predicted if one.status == "ok"]
    return {"mass on the options": 1 - float(np.mean(left_out))} if any(left_out) else {}


def _options(rows: Sequence[Answer], predicted: Sequence[Predicted], config: BenchmarkConfig) -> Figures:
    stances = config.task == "stances"
    prefix = ["" if stances else f"{question_of(row)}\0" for row in rows]
    truth = [f"{before}{row.value}" for before, row in zip(prefix, rows, strict=True)]
    said = [None if one.value is None else f"{x}{one.value}" for x, one in zip(prefix, predicted, strict=True)]
    scored = score_classes(truth, said)
    found = {"accuracy": scored.accuracy, "macro F1": scored.macro_f1, "weighted F1": scored.weighted_f1}
    if stances and any(one.reason for one in predicted):
        pairs = [(row.reasoning, one.reason) for row, one in zip(rows, predicted, strict=True) if row.reasoning]
        if pairs:
            found["Jaccard of reasons"] = float(np.mean([jaccard(*pair) if pair[1] else 0.0 for pair in pairs]))
    if config.groups:
        human, model, items = pooled_cells(rows, predicted, config.groups)
        if human:
            found |= _ordinal("group ordinal EMD", human, model, items)
            found["group total variation"] = mean_over(total_variation, human, model)
    hits = [float(t == s) for t, s in zip(truth, said, strict=True)]
    return found | _by_level("accuracy", rows, hits, config.groups) | _mass(predicted)


def pooled_cells(
    rows: Sequence[Answer], predicted: Sequence[Predicted], groups: Sequence[str]
) -> tuple[dict[Cell, Values], dict[Cell, Values], dict[Cell, Item]]:
    """Pool persons' answers, and what is predicted for them, into shares by group and question.

    Args:
        rows: Answers to questions with options.
        predicted: Of which those that could be read are pooled.
        groups: The facts that make a group.

    Returns:
        Shares of people, of predictions, and the question of each cell, where there is a prediction.

    Example:
        >>> row = Answer("7", Item("q", "?", options=("yes", "no")), "no", facts={"sex": "female"})
        >>> human, model, _ = pooled_cells([row, row], [Predicted("yes"), Predicted(None)], ["sex"])
        >>> [shares.tolist() for shares in (*human.values(), *model.values())]
        [[0.0, 1.0], [1.0, 0.0]]
    """
    human: dict[Cell, Values] = {}
    model: dict[Cell, Values] = {}
    items: dict[Cell, Item] = {}
    for row, one in zip(rows, predicted, strict=True):
        cell = "; ".join(row.facts[name] for name in groups), question_of(row)
        options = row.item.options
        for sums in (human, model):
            sums.setdefault(cell, np.zeros(len(options)))
        items[cell] = row.item
        human[cell][options.index(str(row.value))] += 1
        if one.shares:
            model[cell] += one.shares
        elif one.value is not None:
            model[cell][options.index(str(one.value))] += 1
    kept = [cell for cell, shares in model.items() if shares.sum() > 0]
    scaled = [{cell: sums[cell] / sums[cell].sum() for cell in kept} for sums in (human, model)]
    return scaled[0], scaled[1], {cell: items[cell] for cell in kept}


def _by_level(what: str, rows: Sequence[Answer], accuracy: Sequence[float], groups: Sequence[str]) -> Figures:
    """Tell the accuracy of each level of each fact, and the difference between the best and the worst."""
    found: Figures = {}
    for name in groups:
        levels = [row.facts[name] for row in rows]
        if len(set(levels)) > 1:
            found[f"parity difference, {name}"] = parity_difference(accuracy, levels)
            found |= {f"{what}, {name} {level}": value for level, value in by_group(accuracy, levels).items()}
    return found


def _roles(rows: Sequence[Answer], predicted: Sequence[Predicted], config: BenchmarkConfig) -> Figures:
    """Score attributes in words, each field by its rule; of sets that may overlap, how alike they are as well."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        places[row.item.name].append(at)
    truth, said = [str(row.value) for row in rows], [_word(one) for one in predicted]
    rules = [config.rules.get(row.item.name) or rule_of(row.item.name) for row in rows]
    found = {"exact match": match_rate(truth, said, rules)}
    for name, here in places.items() if len(places) > 1 else ():
        found[f"exact match, {name}"] = match_rate(
            [truth[i] for i in here], [said[i] for i in here], [rules[i] for i in here]
        )
    if sets := [i for i, rule in enumerate(rules) if rule == "overlap"]:
        found["Jaccard of sets"] = float(np.mean([set_likeness(truth[i], said[i]) for i in sets]))
    return found


def _word(one: Predicted) -> str | None:
    return None if one.value is None else str(one.value)
