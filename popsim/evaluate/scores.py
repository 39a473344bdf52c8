"""Scores of answers against answers, person by person: what a prediction of categories or numbers is worth.

An answer that could not be read is None. It counts as wrong and is told apart in `Scored.unreadable`; it is never a
class of its own, so it adds nothing to the classes that F1 is averaged over.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popsim.errors import TargetError

Values = NDArray[np.float64]
_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[一-鿿]")


@dataclass(frozen=True)
class Scored:
    """How well categories were predicted.

    Attributes:
        n: Answers that were to be predicted.
        unreadable: How many predictions could not be read.
        accuracy: Share predicted exactly; unreadable ones are wrong.
        macro_f1: Mean F1 over the classes that people gave.
        weighted_f1: The same, each class weighted by how often people gave it.
    """

    n: int
    unreadable: int
    accuracy: float
    macro_f1: float
    weighted_f1: float


def score_classes(truth: Sequence[str], predicted: Sequence[str | None]) -> Scored:
    """Score predicted categories.

    F1 of a class is 2 hits / (times predicted + times true).

    Args:
        truth: What each person answered.
        predicted: What was predicted; None where it could not be read.

    Raises:
        TargetError: The two are not paired.

    Example:
        >>> score_classes(["a", "a", "a", "b"], ["a", None, "b", "b"]).macro_f1
        0.5833333333333333
    """
    _paired(truth, predicted)
    classes = sorted(set(truth))
    hits = Counter(t for t, p in zip(truth, predicted, strict=True) if t == p)
    true, said = Counter(truth), Counter(predicted)
    f1 = [2 * hits[one] / (true[one] + said[one]) for one in classes]
    weights = [true[one] / len(truth) for one in classes]
    return Scored(
        len(truth),
        sum(p is None for p in predicted),
        sum(hits.values()) / len(truth),
        float(np.mean(f1)),
        float(np.dot(f1, weights)),
    )


def jaccard(first: str, second: str) -> float:
    """Share of the words of two texts that stand in both; each Chinese character is a word.

    AlignSurvey cuts Chinese by a dictionary (jieba) instead, so its figures differ.

    Example:
        >>> jaccard("Prices rise fast", "prices fall fast")
        0.5
    """
    one, other = _words(first), _words(second)
    return len(one & other) / len(one | other) if one | other else 1.0


def closeness(truth: Values, predicted: Values, low: float, high: float) -> Values:
    """1 - |prediction - truth| / (high - low) of each answer; 0 where the prediction is NaN (unreadable).

    Args:
        truth: (n,) what each person answered.
        predicted: (n,) what was predicted.
        low: The lowest point of the scale.
        high: The highest.

    Raises:
        TargetError: The two are not paired, or an answer lies outside the scale.

    Example:
        >>> closeness(np.array([1.0, 7.0]), np.array([1.0, 4.0]), 1, 7).tolist()
        [1.0, 0.5]
    """
    _paired(truth, predicted)
    check_scale(truth, low, high)
    check_scale(predicted[~np.isnan(predicted)], low, high)
    return np.nan_to_num(1 - np.abs(predicted - truth) / (high - low), nan=0.0)


def response_accuracy(truth: Values, predicted: Values, low: float, high: float) -> float:
    """Mean closeness of predictions (Socrates, individual accuracy).

    Args and Raises: As for `closeness`.

    Example:
        >>> response_accuracy(np.array([1.0, 7.0]), np.array([1.0, 4.0]), 1, 7)
        0.75
    """
    return float(closeness(truth, predicted, low, high).mean())


def parity_difference(accuracy: Sequence[float], groups: Sequence[str]) -> float:
    """Demographic parity difference: the mean accuracy of the best group less that of the worst.

    The paper of Socrates names the figure and gives no formula; this is the usual one.

    Args:
        accuracy: Of each answer, from 0 to 1.
        groups: Of each answer, the group of the person within one attribute.

    Raises:
        TargetError: They are not paired, or there is only one group.

    Example:
        >>> parity_difference([1, 0, 1, 1], ["f", "f", "m", "m"])
        0.5
    """
    means = by_group(accuracy, groups)
    if len(means) < 2:
        raise TargetError(f"parity difference: needs two groups or more, not only {next(iter(means))!r}")
    return max(means.values()) - min(means.values())


def by_group(accuracy: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    """Mean accuracy of each group.

    Raises:
        TargetError: They are not paired.

    Example:
        >>> by_group([1, 0, 1], ["f", "f", "m"])
        {'f': 0.5, 'm': 1.0}
    """
    _paired(accuracy, groups)
    values, names = np.asarray(accuracy, dtype=np.float64), np.asarray(groups)
    return {str(name): float(values[names == name].mean()) for name in np.unique(names)}


def condition_sensitivity(human: Mapping[tuple[str, str], float], model: Mapping[tuple[str, str], float]) -> float:
    """Correlation of human and model means over conditions, after each outcome's own mean is taken away.

    So it says whether answers move with the condition as people's do, not whether their level is known. 0 where the
    model does not move at all.

    Args:
        human: Mean by (outcome, condition).
        model: The same for the model.

    Raises:
        TargetError: The two have other cells, or no outcome has two conditions between which people differ.

    Example:
        >>> human = {("x", "a"): 1.0, ("x", "b"): 2.0, ("y", "a"): 9.0, ("y", "b"): 7.0}
        >>> condition_sensitivity(human, {cell: 3 * mean + 1 for cell, mean in human.items()})
        1.0
    """
    if human.keys() != model.keys():
        odd = sorted(human.keys() ^ model.keys())[0]
        raise TargetError(f"condition sensitivity: only one side has outcome {odd[0]!r} in condition {odd[1]!r}")
    cells = sorted(human)
    outcomes = np.array([outcome for outcome, _ in cells])
    moves = np.array([[human[cell], model[cell]] for cell in cells], dtype=np.float64)
    for outcome in np.unique(outcomes):
        moves[outcomes == outcome] -= moves[outcomes == outcome].mean(axis=0)
    size = np.sqrt((moves**2).sum(axis=0))
    if not size[0] > 0:
        raise TargetError("condition sensitivity: people answer alike in all conditions of every outcome; leave it out")
    return float(np.round(moves[:, 0] @ moves[:, 1] / size.prod(), 12)) if size[1] > 0 else 0.0


def check_scale(values: Values, low: float, high: float) -> None:
    """Refuse answers outside their scale.

    Raises:
        TargetError: There is one, or the scale has no length.

    Example:
        >>> check_scale(np.array([98.0]), 1, 7)
        Traceback (most recent call last):
        popsim.errors.TargetError: answer 98 lies outside the scale 1 to 7; leave out missing codes first
    """
    if not low < high:
        raise TargetError(f"a scale must ascend, not go from {low:g} to {high:g}")
    outside = values[~((values >= low) & (values <= high))]
    if outside.size:
        raise TargetError(
            f"answer {outside[0]:g} lies outside the scale {low:g} to {high:g}; leave out missing codes first"
        )


def _paired(first: Sequence[object] | Values, second: Sequence[object] | Values) -> None:
    if len(first) != len(second) or len(first) == 0:
        raise TargetError(f"a score needs one prediction for each answer, not {len(second)} for {len(first)}")


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_HAN.sub(lambda one: f" {one[0]} ", text.casefold())))
