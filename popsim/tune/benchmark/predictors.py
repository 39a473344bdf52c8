"""What stands beside a model's score: the predictions of baselines that have no language model, and controls.

All of them predict the same records in the same form, so one function scores them all. A baseline that learns falls
back on the uniform guess where it knows nothing of a question.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import pandas as pd

from popsim import streams
from popsim.evaluate.alignment import Cells
from popsim.evaluate.tabular import group_average, nearest_questions, predict_numbers, predict_options
from popsim.tune.benchmark.parts import question_of
from popsim.tune.benchmark.replies import Predicted
from popsim.tune.records import Answer, Item, Shares, numbers_of

Learner = Literal["svr", "boosting", "catboost"]
_STEPS = 101
NO_LEARNER = "SVR and gradient boosting are left out: scikit-learn is missing; run: pip install 'popsim[evaluate]'"
NO_KNOWN = "Baselines that learn are left out: give part, split or known"


def baselines(rows: Sequence[Any], known: Sequence[Any], seed: int) -> tuple[dict[str, list[Predicted]], list[str]]:
    """Predict records without a language model.

    Args:
        rows: What is to be predicted, all answers of persons or all shares of groups.
        known: What may be learned from, of the same kind.
        seed: Of guesses and learners.

    Returns:
        The predictions of each baseline, and what is to be said of those that are missing.
    """
    guess = uniform(rows, seed)
    found: dict[str, list[Predicted]] = {}
    text = isinstance(rows[0], Answer) and isinstance(rows[0].value, str) and not rows[0].item.options
    if not text:
        found["uniform"] = guess
    if (again := people_again(rows, seed)) is not None:
        found["people again"] = again
    if not known:
        return found, [NO_KNOWN]
    if isinstance(rows[0], Shares):
        return found | _of_groups(rows, known), [] if find_spec("sklearn") else [NO_LEARNER]
    found["pooled"] = pooled(rows, known, guess)
    facts = any(one.facts or one.condition for one in known)
    if text or not facts:
        return found, []
    if not find_spec("sklearn"):
        return found, [NO_LEARNER]
    learners: list[Learner] = ["boosting"] if rows[0].item.options else ["boosting", "svr"]
    if find_spec("catboost") and not rows[0].item.options:
        learners.append("catboost")
    return found | {name: learned(rows, known, guess, name, seed) for name in learners}, []


def uniform(rows: Sequence[Any], seed: int) -> list[Predicted]:
    """Guess: every option, or every number of the scale, is as likely; a value is drawn.

    A number without a scale is guessed within the range of people's answers to the question. Texts are not guessed.

    Example:
        >>> uniform([Answer("7", Item("q", "?", options=("yes", "no")), "no")], 0)[0].shares
        (0.5, 0.5)
    """
    rng = streams.rng(seed, "benchmark.uniform")
    ends = _observed(rows)
    found = []
    for row in rows:
        if row.item.options:
            k = len(row.item.options)
            found.append(Predicted(row.item.options[rng.integers(k)], shares=(1 / k,) * k))
        elif isinstance(row.value, float):
            low, high = ends[question_of(row)]
            points = numbers_of(row.item) or tuple(np.linspace(low, high, _STEPS).tolist())
            found.append(Predicted(points[rng.integers(len(points))], "ok", (1 / len(points),) * len(points), points))
        else:
            found.append(Predicted(None, "unreadable"))
    return found


def people_again(rows: Sequence[Any], seed: int) -> list[Predicted] | None:
    """Ask people again: each answer is that of a random person of the same question and condition.

    It is the floor that sampling leaves to any distribution (the bootstrap of Socrates), and what knowing the cell
    without the person is worth. Of shares as many people are drawn as answered; None where nobody says how many.

    Example:
        >>> people_again([Answer("7", Item("q", "?", options=("yes", "no")), "no")], 0)[0].value
        'no'
    """
    rng = streams.rng(seed, "benchmark.again")
    if isinstance(rows[0], Shares):
        if not all(row.people for row in rows):
            return None
        drawn = [rng.multinomial(row.people, row.shares) / row.people for row in rows]
        return [_of_shares(row.item, shares) for row, shares in zip(rows, drawn, strict=True)]
    cells: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows:
        cells[_cell(row)].append(row)
    others = [cells[_cell(row)][rng.integers(len(cells[_cell(row)]))] for row in rows]
    return [Predicted(other.value, reason=other.reasoning) for other in others]


def exchanged(rows: Sequence[Any], predicted: Sequence[Predicted], seed: int) -> list[Predicted] | None:
    """Give each person (or group) what was predicted for another one in the same question and condition: a control.

    It is what the model says when it is told of somebody else. One that is alone in a cell keeps its prediction.

    Returns:
        None where nobody has another.

    Example:
        >>> item = Item("q", "?", options=("yes", "no"))
        >>> rows = [Answer("7", item, "no"), Answer("8", item, "yes")]
        >>> [one.value for one in exchanged(rows, [Predicted("no"), Predicted("yes")], 0)]
        ['yes', 'no']
    """
    cells: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for at, row in enumerate(rows):
        cells[_cell(row)][row.group if isinstance(row, Shares) else row.person].append(at)
    if all(len(who) == 1 for who in cells.values()):
        return None
    rng, found = streams.rng(seed, "benchmark.exchanged"), list(predicted)
    for who in cells.values():
        ring = [list(who)[at] for at in rng.permutation(len(who))]
        for one, other in zip(ring, ring[1:] + ring[:1], strict=True):
            for i, at in enumerate(who[one]):
                found[at] = predicted[who[other][i % len(who[other])]]
    return found


def pooled(rows: Sequence[Answer], known: Sequence[Answer], guess: Sequence[Predicted]) -> list[Predicted]:
    """Predict what all known people answered to the question: their shares, and their most common or median answer.

    Example:
        >>> item = Item("q", "?", options=("yes", "no"))
        >>> known = [Answer("8", item, "yes"), Answer("9", item, "yes"), Answer("1", item, "no")]
        >>> pooled([Answer("7", item, "no")], known, [Predicted(None)])[0].value
        'yes'
    """
    said: dict[str, list[Any]] = defaultdict(list)
    for one in known:
        said[_name(one)].append(one.value)
    made: dict[str, Predicted] = {}
    found = []
    for row, fallback in zip(rows, guess, strict=True):
        key = _name(row)
        if key in said and key not in made:
            made[key] = _summed(row.item, said[key])
        found.append(made.get(key, fallback))
    return found


def learned(
    rows: Sequence[Answer], known: Sequence[Answer], guess: Sequence[Predicted], learner: Learner, seed: int
) -> list[Predicted]:
    """Predict from the facts about persons and the condition, question by question; numbers are kept to their scale.

    Args:
        rows: To predict.
        known: To learn from.
        guess: What is predicted for questions of which nothing is known.
        learner: As in `popsim.evaluate.tabular.predict_numbers`; options are always predicted by boosting.
        seed: Of the learner.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        places[question_of(row)].append(at)
    lessons: dict[str, list[Answer]] = defaultdict(list)
    for one in known:
        lessons[question_of(one)].append(one)
    found, ends = list(guess), _observed(known)
    for key, here in places.items():
        if not (lesson := lessons.get(key)):
            continue
        facts, wanted = _facts(lesson, [rows[at] for at in here])
        item = rows[here[0]].item
        if item.options:
            shares = predict_options(facts, [str(one.value) for one in lesson], wanted, item.options, seed)
            for at, row in zip(here, shares, strict=True):
                found[at] = _of_shares(item, row)
            continue
        answers = np.array([one.value for one in lesson], dtype=np.float64)
        values = predict_numbers(facts, answers, wanted, learner, seed)
        for at, value in zip(here, np.clip(values, *ends[key]).tolist(), strict=True):
            found[at] = Predicted(value)
    return found


def _of_groups(rows: Sequence[Shares], known: Sequence[Shares]) -> dict[str, list[Predicted]]:
    """Predict shares from those of other groups and of other questions."""
    cells: Cells = {(one.group, question_of(one)): np.array(one.shares) for one in known}
    wanted = {(row.group, question_of(row)): len(row.shares) for row in rows}
    texts = {question_of(one): one.item.text for one in (*known, *rows)}
    made: dict[str, Callable[[], Any]] = {"group average": lambda: group_average(cells, wanted)}
    if find_spec("sklearn"):
        made["nearest question"] = lambda: nearest_questions(cells, texts, wanted)
    found = {}
    for name, make in made.items():
        shares = make()
        found[name] = [_of_shares(row.item, shares[row.group, question_of(row)]) for row in rows]
    return found


def _of_shares(item: Item, shares: Any) -> Predicted:
    return Predicted(item.options[int(np.argmax(shares))], "ok", tuple(float(share) for share in shares))


def _summed(item: Item, values: Sequence[Any]) -> Predicted:
    """Put what many answered into one prediction."""
    counts = Counter(values)
    if item.options:
        return _of_shares(item, [counts[option] / len(values) for option in item.options])
    if isinstance(values[0], str):
        return Predicted(counts.most_common(1)[0][0])
    points = tuple(sorted(counts))
    shares = tuple(counts[point] / len(values) for point in points)
    return Predicted(float(np.median(values)), "ok", shares, points)


def _cell(row: Answer | Shares) -> tuple[str, str]:
    return row.condition if isinstance(row, Answer) else "", _name(row)


def _name(row: Answer | Shares) -> str:
    """Name a question; of answers in words, whose prompts all differ, it is the name alone."""
    words = isinstance(row, Answer) and isinstance(row.value, str) and not row.item.options
    return row.item.name if words else question_of(row)


def _observed(rows: Sequence[Any]) -> dict[str, tuple[float, float]]:
    """Give the scale of each numeric question: as declared, else the range of people's answers."""
    found: dict[str, tuple[float, float]] = {}
    for row in rows:
        if isinstance(row, Shares) or not isinstance(row.value, float):
            continue
        key = question_of(row)
        if row.item.low is not None and row.item.high is not None:
            found[key] = row.item.low, row.item.high
        else:
            low, high = found.get(key, (row.value, row.value))
            found[key] = min(low, row.value), max(high, row.value)
    return found


def _facts(lesson: Sequence[Answer], wanted: Sequence[Answer]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make columns of facts and conditions; a fact whose values are all numbers is one."""
    both = [{**one.facts, "condition shown": one.condition} for one in (*lesson, *wanted)]
    table = pd.DataFrame(both).fillna("").astype(str)
    for name in table.columns:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.notna().all():
            table[name] = numbers
    return table.iloc[: len(lesson)], table.iloc[len(lesson) :]
