"""The figures behind the pictures: each function takes tables of a Run folder and gives a small frame.

Answers and distributions carry the ``weight`` of their person, which counts in every figure.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from popsim.population import CONFIDENCE_LEVELS, effective_size
from popsim.weighted import moments

LEVEL = 0.95
"""Of every interval."""
MOST_BINS = 40
_STEPS = (1.0, 2.0, 2.5, 5.0)
_PERSON = ["replicate", "person"]


def mean_interval(values: ArrayLike, weights: ArrayLike | None = None) -> dict[str, float]:
    """Give mean, Student's t interval, standard deviation and count of independent values.

    The standard error is the linearised one of a weighted mean: the square root of n / (n - 1) times the sum of
    (weight (value - mean))², over the sum of the weights. The standard deviation is scaled as with n - 1. Where all
    weights are equal both are the plain ones.

    Args:
        values: (n,) values.
        weights: (n,) weights; equal unless given.

    Example:
        >>> {name: round(x, 2) for name, x in mean_interval([1.0, 2.0, 3.0]).items()}
        {'mean': 2.0, 'low': -0.48, 'high': 4.48, 'sd': 1.0, 'n': 3}
        >>> mean_interval([1.0, 2.0, 3.0], [1, 1, 2])["mean"]
        2.25
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    mean, variance = moments(x, w)
    if n < 2:
        return {"mean": mean, "low": np.nan, "high": np.nan, "sd": np.nan, "n": n}
    more = n / (n - 1)
    error = (more * ((w * (x - mean)) ** 2).sum()) ** 0.5 / w.sum()
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * error)
    return {"mean": mean, "low": mean - half, "high": mean + half, "sd": (more * variance) ** 0.5, "n": n}


def share_interval(count: float, n: int, effective: float | None = None) -> dict[str, float]:
    """Give a share with Wilson's interval.

    Args:
        count: How many of n; of weighted answers the sum of their weights, which sum to n over all.
        n: The number of answers.
        effective: The number of equal weights that tell as much (Kish 1965), which the interval is as wide as; n
            unless given.

    Example:
        >>> {name: round(x, 3) for name, x in share_interval(0, 10).items()}
        {'share': 0.0, 'low': 0.0, 'high': 0.278, 'n': 10}
        >>> {name: round(x, 3) for name, x in share_interval(2.5, 10, effective=6).items()}
        {'share': 0.25, 'low': 0.06, 'high': 0.635, 'n': 10}
    """
    m = float(n if effective is None else effective)
    if not m:
        return {"share": np.nan, "low": np.nan, "high": np.nan, "n": n}
    share, z = min(count / n, 1.0), float(stats.norm.ppf((1 + LEVEL) / 2))
    middle = (2 * m * share + z**2) / (2 * (m + z**2))
    half = z * (4 * m * share * (1 - share) + z**2) ** 0.5 / (2 * (m + z**2))
    return {
        "share": share,
        "low": min(max(middle - half, 0.0), share),
        "high": max(min(middle + half, 1.0), share),
        "n": n,
    }


def person_means(values: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Average what each person said, so that asking somebody ten times does not count as ten people.

    Args:
        values: Columns ``replicate, person, value, weight``, of what was measured ``probability``, and others.
        by: Columns that tell apart what is averaged.

    Returns:
        ``by`` and ``replicate, person, value, weight``; the weight is the person's own.
    """
    probability = values.get("probability", 1.0)
    weighed = values.assign(value=values["value"] * probability, probability=probability)
    each = weighed.groupby([*by, *_PERSON], sort=False, observed=True)
    found = each.agg({"value": "sum", "probability": "sum", "weight": "first"}).reset_index()
    return found.assign(value=found["value"] / found["probability"]).drop(columns="probability")


def means(answers: pd.DataFrame, questions: Iterable[str]) -> pd.DataFrame:
    """Give the mean of each numeric question by arm and wave, with an interval over persons, who count by weight.

    Returns:
        Columns ``question, arm, wave, mean, low, high, sd, n``; ``n`` counts persons.
    """
    ok = answers[answers["status"].eq("ok") & answers["question"].isin(list(questions))]
    by = ["question", "arm", "wave"]
    rows = [
        {**dict(zip(by, key, strict=True)), **mean_interval(part["value"], part["weight"])}
        for key, part in person_means(ok, by).groupby(by, sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "sd", "n"])


def person_share(answers: pd.DataFrame, hit: "pd.Series[bool]") -> dict[str, float]:
    """Give the share of answers of some kind, people counting by weight, with Wilson's interval.

    Several answers of one person are alike, so they tell less than as many people's. The interval is that of the number
    of independent answers that would vary as much: share (1 - share) over the variance of the mean over persons (Kish's
    design effect; Dean and Pagano 2015 on intervals of this kind), at least the effective number of persons and at most
    that of answers.

    Args:
        answers: ``replicate, person, weight``, a row per answer.
        hit: (answers) whether each is of the kind.

    Returns:
        ``share, low, high, n``; ``n`` counts persons.

    Example:
        >>> frame = pd.DataFrame({"replicate": 0, "person": [0, 0, 1, 1], "weight": 1.0})
        >>> alike = person_share(frame, pd.Series([True, True, False, False]))
        >>> {name: round(x, 3) for name, x in alike.items()}
        {'share': 0.5, 'low': 0.095, 'high': 0.905, 'n': 2}
    """
    each = answers.assign(hit=hit).groupby(_PERSON, sort=False, observed=True)
    people = each.agg(hit=("hit", "mean"), weight=("weight", "first"))
    said, weight, n = people["hit"].to_numpy(np.float64), people["weight"].to_numpy(np.float64), len(people)
    share, persons = moments(said, weight)[0], effective_size(weight)
    variance = ((weight * (said - share)) ** 2).sum() / weight.sum() ** 2 * n / max(n - 1, 1)
    alone = share * (1 - share) / variance if variance > 0 else persons
    effective = min(max(alone, persons), effective_size(answers["weight"]))
    return share_interval(share * n, n, effective)


def option_shares(answers: pd.DataFrame, question: Any) -> pd.DataFrame:
    """Give the share of each option of a choice or multiple question by arm, as `person_share` does.

    Returns:
        Columns ``arm, wave, option, share, low, high, n``; every option has a row, chosen or not.
    """
    here = answers[answers["question"].eq(question.name) & answers["status"].eq("ok")]
    rows = []
    for (arm, wave), part in here.groupby(["arm", "wave"], sort=False, observed=True):
        for option in question.options:
            mine = part["label"].eq(option)
            asked, hit = (part[mine], part["value"].ne(0)) if question.kind == "multiple" else (part, mine)
            rows.append({"arm": arm, "wave": wave, "option": option, **person_share(asked, hit)})
    return pd.DataFrame(rows, columns=["arm", "wave", "option", "share", "low", "high", "n"])


def bin_shares(distributions: pd.DataFrame, question: Any) -> pd.DataFrame:
    """Give the mean probability of each bin of a density question by arm, over persons with their weights.

    Returns:
        Columns ``arm, wave, option, share, low, high, n``, the option being the bin's label.
    """
    here = distributions[distributions["question"].eq(question.name)]
    rows = []
    for (arm, wave, place), part in here.groupby(["arm", "wave", "value"], sort=True, observed=True):
        each = part.groupby(_PERSON, sort=False, observed=True).agg({"probability": "mean", "weight": "first"})
        found = mean_interval(each["probability"], each["weight"])
        label = question.bins[int(str(place).partition(".")[0])].label
        rows.append(
            {"arm": arm, "wave": wave, "option": label, "share": found["mean"]}
            | {name: found[name] for name in ("low", "high", "n")}
        )
    return pd.DataFrame(rows, columns=["arm", "wave", "option", "share", "low", "high", "n"])


def bin_width(values: NDArray[np.float64], least: float = 0.0) -> float:
    """Choose a round width that puts values into at most `MOST_BINS` bins.

    Args:
        values: Finite numbers.
        least: No narrower than this; the question's own grid.

    Example:
        >>> bin_width(np.array([0.0, 10.0]))
        0.25
        >>> bin_width(np.array([1.0, 5.0]), least=1)
        1.0
    """
    span = float(values.max() - values.min()) if len(values) else 1.0
    raw = max(span / MOST_BINS, least, 1e-9)
    power = 10.0 ** np.floor(np.log10(raw))
    return float(next(step * power for step in (*_STEPS, 10.0) if step * power >= raw * (1 - 1e-9)))


def histogram(values: pd.DataFrame, rows: str, least: float = 0.0) -> pd.DataFrame:
    """Count weighted values into bins around multiples of a round width, row by row.

    Args:
        values: Columns ``value, weight`` and the one that names the row.
        rows: That column.
        least: The narrowest bin.

    Returns:
        Columns ``row, low, high, share``; the shares of a row sum to 1.

    Example:
        >>> frame = pd.DataFrame({"arm": ["a", "a"], "value": [1.0, 2.0], "weight": [1.0, 3.0]})
        >>> histogram(frame, "arm", least=1)["share"].tolist()
        [0.25, 0.75]
    """
    width = bin_width(values["value"].to_numpy(np.float64), least)
    place = np.floor(values["value"].to_numpy(np.float64) / width + 0.5 + 1e-9)
    counted = (
        pd.DataFrame({"row": values[rows].astype(str), "place": place, "weight": values["weight"]})
        .groupby(["row", "place"], sort=False)["weight"]
        .sum()
        .reset_index()
    )
    total = counted.groupby("row")["weight"].transform("sum")
    return pd.DataFrame(
        {
            "row": counted["row"],
            "low": (counted["place"] - 0.5) * width,
            "high": (counted["place"] + 0.5) * width,
            "share": counted["weight"] / total,
        }
    )


def spread(heard: pd.DataFrame, items: Sequence[str], people: int, last: int) -> pd.DataFrame:
    """Give the share of people who have heard each item by each step, and of those who heard it directly.

    Returns:
        Columns ``item, step, share, direct``.
    """
    rows = []
    for item in items:
        mine = heard[heard["item"].eq(item)]
        for step in range(last + 1):
            so_far = mine[mine["step"] <= step]
            direct = int(so_far["told_by"].isna().sum())
            rows.append({"item": item, "step": step, "share": len(so_far) / people, "direct": direct / people})
    return pd.DataFrame(rows, columns=["item", "step", "share", "direct"])


def revisions(
    answers: pd.DataFrame, people: pd.DataFrame, states: pd.DataFrame, questions: Iterable[str]
) -> pd.DataFrame:
    """Give how far answers moved from the first wave to the last, by confidence and by who heard something new.

    People count by weight.

    Returns:
        Columns ``question, confidence, news, mean, low, high, sd, n``; nothing where people have no confidence or
        there is one wave.
    """
    columns = ["question", "confidence", "news", "mean", "low", "high", "sd", "n"]
    waves = sorted(answers["wave"].unique())
    if len(waves) < 2 or "confidence" not in people:
        return pd.DataFrame(columns=columns)
    ok = answers[answers["status"].eq("ok") & answers["question"].isin(list(questions))]
    by_person = ok.groupby(["question", "person", "wave"], observed=True)["value"].mean().unstack("wave")
    by_person = by_person.reindex(columns=waves)
    moved = (by_person[waves[-1]] - by_person[waves[0]]).dropna().rename("moved").reset_index()
    items = states.pivot_table(index="person", columns="wave", values="items_heard")
    new = (items[waves[-1]] > items[waves[0]]).map({True: "heard news", False: "heard none"})
    moved = moved.assign(
        confidence=moved["person"].map(people.set_index("person")["confidence"].astype(str)),
        news=moved["person"].map(new),
        weight=moved["person"].map(ok.groupby("person")["weight"].first()),
    )
    rows = [
        {"question": question, "confidence": level, "news": news, **mean_interval(part["moved"], part["weight"])}
        for (question, level, news), part in moved.groupby(["question", "confidence", "news"], sort=False)
    ]
    found = pd.DataFrame(rows, columns=columns)
    order = {level: place for place, level in enumerate(CONFIDENCE_LEVELS)}
    return found.sort_values(
        ["question", "confidence", "news"], key=lambda c: c.map(order) if c.name == "confidence" else c
    )


def status_counts(answers: pd.DataFrame) -> pd.DataFrame:
    """Count answers by arm and status, with the share of each status in its arm.

    Returns:
        Columns ``arm, status, count, share``; only statuses that occur.
    """
    counts = answers.groupby(["arm", "status"], observed=True, sort=False).size().rename("count").reset_index()
    counts = counts[counts["count"] > 0]
    return counts.assign(share=counts["count"] / counts.groupby("arm", observed=True)["count"].transform("sum"))
