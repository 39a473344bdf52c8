"""The figures behind the pictures: each function takes tables of a Run folder and gives a small frame."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from popsim.population import CONFIDENCE_LEVELS

LEVEL = 0.95
"""Of every interval."""
MOST_BINS = 40
_STEPS = (1.0, 2.0, 2.5, 5.0)
_PERSON = ["replicate", "person"]


def mean_interval(values: ArrayLike) -> dict[str, float]:
    """Give mean, Student's t interval, standard deviation and count of independent values.

    Example:
        >>> {name: round(x, 2) for name, x in mean_interval([1.0, 2.0, 3.0]).items()}
        {'mean': 2.0, 'low': -0.48, 'high': 4.48, 'sd': 1.0, 'n': 3}
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    mean, sd = (float(x.mean()) if n else np.nan), (float(x.std(ddof=1)) if n > 1 else np.nan)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / n**0.5 if n > 1 else np.nan
    return {"mean": mean, "low": mean - half, "high": mean + half, "sd": sd, "n": n}


def share_interval(count: int, n: int) -> dict[str, float]:
    """Give a share with Wilson's interval.

    Example:
        >>> {name: round(x, 3) for name, x in share_interval(0, 10).items()}
        {'share': 0.0, 'low': 0.0, 'high': 0.278, 'n': 10}
    """
    if not n:
        return {"share": np.nan, "low": np.nan, "high": np.nan, "n": 0}
    found = stats.binomtest(count, n).proportion_ci(LEVEL, method="wilson")
    return {"share": count / n, "low": float(found.low), "high": float(found.high), "n": n}


def means(answers: pd.DataFrame, questions: Iterable[str], value: str = "value") -> pd.DataFrame:
    """Give the mean of each numeric question by arm and wave, with an interval over persons.

    The draws of a person are averaged first, so that asking somebody ten times does not count as ten people.

    Returns:
        Columns ``question, arm, wave, mean, low, high, sd, n``.
    """
    ok = answers[answers["status"].eq("ok") & answers["question"].isin(list(questions))]
    by = ["question", "arm", "wave"]
    persons = ok.groupby([*by, *_PERSON], sort=False, observed=True)[value].mean().reset_index()
    rows = [
        {**dict(zip(by, key, strict=True)), **mean_interval(part[value])}
        for key, part in persons.groupby(by, sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "sd", "n"])


def option_shares(answers: pd.DataFrame, question: Any) -> pd.DataFrame:
    """Give the share of each option of a choice or multiple question by arm, with Wilson's interval.

    Returns:
        Columns ``arm, wave, option, share, low, high, n``; every option has a row, chosen or not.
    """
    here = answers[answers["question"].eq(question.name) & answers["status"].eq("ok")]
    rows = []
    for (arm, wave), part in here.groupby(["arm", "wave"], sort=False, observed=True):
        multiple = question.kind == "multiple"
        n = len(part) // len(question.options) if multiple else len(part)
        chosen = part.loc[part["value"].ne(0), "label"] if multiple else part["label"]
        counts = chosen.value_counts()
        rows += [
            {"arm": arm, "wave": wave, "option": o, **share_interval(int(counts.get(o, 0)), n)}
            for o in question.options
        ]
    return pd.DataFrame(rows, columns=["arm", "wave", "option", "share", "low", "high", "n"])


def bin_shares(distributions: pd.DataFrame, question: Any) -> pd.DataFrame:
    """Give the mean probability of each bin of a density question by arm.

    Returns:
        Columns ``arm, wave, option, share, low, high, n``, the option being the bin's label.
    """
    here = distributions[distributions["question"].eq(question.name)]
    rows = []
    for (arm, wave, place), part in here.groupby(["arm", "wave", "value"], sort=True, observed=True):
        found = mean_interval(part["probability"])
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
    )
    rows = [
        {"question": question, "confidence": level, "news": news, **mean_interval(part["moved"])}
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
