"""How well a model's distributions match those of groups of people, by the conventions of the published benchmarks.

Several papers use one name for different arithmetic; each function here says whose it is. A figure means nothing
without the uniform guess, the pooled marginal and the split-half floor beside it (`reference_figures`).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from popsim.errors import TargetError
from popsim.evaluate.distances import js_distance, kl, ordinal_emd, rmse, wasserstein
from popsim.evaluate.scores import check_scale

Values = NDArray[np.float64]
Cells = Mapping[tuple[str, str], Values]
"""Shares of the options by (group, question)."""
_HOTTEST = float(np.log(20))


def one_minus_js(p: Values, q: Values) -> float:
    """1 - Jensen-Shannon distance in nats, from 0.167 to 1 ("1-JSD" of Cao et al. 2025).

    Args:
        p: (k,) human shares.
        q: (k,) model shares.

    Raises:
        TargetError: One of them is no distribution.

    Example:
        >>> round(one_minus_js(np.array([1.0, 0]), np.array([0, 1.0])), 3)
        0.167
    """
    return 1 - js_distance(p, q)


def sorted_share_distance(p: Values, q: Values) -> float:
    """Mean gap between sorted shares: what Cao et al.'s code calls EMD. Blind to which option holds the mass.

    Only to replicate their tables; never a headline (take `ordinal_emd` or `total_variation`).

    Example:
        >>> sorted_share_distance(np.array([1.0, 0]), np.array([0, 1.0]))
        0.0
    """
    return wasserstein(p, q)


def placed_emd(p: Values, q: Values, places: Sequence[float | None]) -> float:
    """Ordinal earth mover's distance from 0 to 1, options in any order and some without a place (SubPOP, OpinionQA).

    Options without a place are left out and the rest scaled to sum to 1.

    Args:
        p: (k,) human shares.
        q: (k,) model shares.
        places: (k,) where each option stands; None: nowhere. Options with one place count as one.

    Raises:
        TargetError: Fewer than two places, or no mass on options that have one.

    Example:
        >>> round(placed_emd(np.array([0.1, 0.5, 0.4]), np.array([0.2, 0.3, 0.5]), [1, 2, 1.5]), 4)
        0.15
    """
    at = np.array([np.nan if place is None else place for place in places], dtype=np.float64)
    has = ~np.isnan(at)
    if len(at) != len(p) or len(np.unique(at[has])) < 2:
        raise TargetError(f"ordinal EMD: these options have no order ({list(places)}); take total variation instead")
    spots, where = np.unique(at[has], return_inverse=True)
    merged = [np.bincount(where, one[has], len(spots)) for one in (np.asarray(p), np.asarray(q))]
    if min(one.sum() for one in merged) <= 0:
        raise TargetError("ordinal EMD: all answers are options without a place")
    return ordinal_emd(merged[0] / merged[0].sum(), merged[1] / merged[1].sum(), ordered=True, positions=spots.tolist())


def mode_accuracy(human: Cells, model: Cells) -> float:
    """Share of cells whose most frequent option is the model's too; of equals the first counts.

    Raises:
        TargetError: The two have other cells.

    Example:
        >>> cell = ("Kenya", "q")
        >>> mode_accuracy({cell: np.array([0.2, 0.8])}, {cell: np.array([0.4, 0.6])})
        1.0
    """
    return mean_over(lambda p, q: float(np.argmax(p) == np.argmax(q)), human, model)


def mean_over(measure: Callable[[Values, Values], float], human: Cells, model: Cells) -> float:
    """Mean of a measure of two distributions over the cells.

    Raises:
        TargetError: The two have other cells, or none.

    Example:
        >>> from popsim.evaluate.distances import total_variation
        >>> cell = ("Kenya", "q")
        >>> mean_over(total_variation, {cell: np.array([0.25, 0.75])}, {cell: np.array([0.5, 0.5])})
        0.25
    """
    if human.keys() != model.keys() or not human:
        odd = sorted(human.keys() ^ model.keys())
        what = f"only one side has {odd[0][0]!r} on {odd[0][1]!r}" if odd else "there is none"
        raise TargetError(f"both sides need the same groups and questions: {what}")
    return float(np.mean([measure(human[cell], model[cell]) for cell in human]))


def group_diversity(cells: Cells, measure: Callable[[Values, Values], float] = one_minus_js) -> float:
    """Mean over questions of the mean likeness between all pairs of groups: 1 where all groups answer alike.

    Compared with the same figure of people: a model that is more alike knows too little of its groups.

    Args:
        cells: Shares by group and question.
        measure: Likeness of two distributions.

    Raises:
        TargetError: No question was answered by two groups.

    Example:
        >>> group_diversity({("a", "q"): np.array([0.5, 0.5]), ("b", "q"): np.array([0.5, 0.5])})
        1.0
    """
    questions: dict[str, list[Values]] = {}
    for (_, question), shares in cells.items():
        questions.setdefault(question, []).append(shares)
    means = [np.mean([measure(p, q) for p, q in combinations(rows, 2)]) for rows in questions.values() if len(rows) > 1]
    if not means:
        raise TargetError("group diversity: needs a question that two groups answered")
    return float(np.mean(means))


def scaled_wasserstein(
    human: Values,
    model: Values,
    scale: Literal["declared", "observed"],
    ends: tuple[float, float] | None = None,
    weights: Values | None = None,
) -> float:
    """Wasserstein-1 of two samples of answers, as a share of a range.

    ``declared``: of the question's scale. ``observed``: of the range of the human answers in the cell, which is what
    reproduces the published figures of Socrates and is larger. Both sides are divided by the same range.

    Args:
        human: (n,) answers of people in a cell.
        model: (m,) simulated answers.
        scale: Which range.
        ends: The scale, for ``declared``.
        weights: (m,) of the simulated answers, where they are a distribution; equal unless given.

    Raises:
        TargetError: People all answered alike, no scale is given, or an answer lies outside it.

    Example:
        >>> human, model = np.array([2.0, 4.0]), np.array([3.0, 5.0])
        >>> scaled_wasserstein(human, model, "observed"), scaled_wasserstein(human, model, "declared", (1, 5))
        (0.5, 0.25)
    """
    if scale == "declared":
        if ends is None:
            raise TargetError("Wasserstein of the declared range: the question states no scale; take the observed one")
        for answers in (human, model):
            check_scale(answers, *ends)
        low, high = ends
    else:
        low, high = (float(human.min()), float(human.max())) if human.size else (0.0, 0.0)
        if low == high:
            raise TargetError(
                f"Wasserstein of the observed range: all {human.size} people answered {low:g}; leave it out"
            )
    return wasserstein(human, model, None, weights) / (high - low)


def temperature_scaled(shares: Values, temperature: float) -> Values:
    """Shares of a model at another temperature: proportional to share ** (1 / temperature).

    Args:
        shares: (..., k) at temperature 1.
        temperature: Above 0.

    Raises:
        TargetError: The temperature is not positive.

    Example:
        >>> temperature_scaled(np.array([0.2, 0.8]), 0.5).round(4).tolist()
        [0.0588, 0.9412]
    """
    if not temperature > 0:
        raise TargetError(f"temperature must be above 0, not {temperature:g}; take the most probable option for 0")
    with np.errstate(divide="ignore"):
        logs = np.log(shares) / temperature
    weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def fit_temperature(human: Cells, model: Cells) -> float:
    """Find the temperature at which a model's distributions are nearest to people's: least mean KL(human || model).

    Fit it on cells kept for validation and use it, through `temperature_scaled`, on others. It repairs answers that are
    all too sure or all too unsure, and moves no answer before another. The mean is convex in 1 / temperature, which is
    searched from 1/20 to 20. Source: Guo et al. 2017 (arXiv 1706.04599); on survey answers: Meister et al. 2024
    (arXiv 2411.05403).

    Args:
        human: Shares by group and question.
        model: The model's shares of the same cells, at temperature 1.

    Raises:
        TargetError: The two have other cells.

    Example:
        >>> cell = ("Kenya", "q")
        >>> sure = {cell: temperature_scaled(np.array([0.2, 0.8]), 0.5)}
        >>> round(fit_temperature({cell: np.array([0.2, 0.8])}, sure), 3)
        2.0
    """
    if human.keys() != model.keys() or not human:
        raise TargetError("temperature: both sides need the same groups and questions, and one at least")
    logs = {cell: np.log(np.maximum(shares, np.finfo(np.float64).tiny)) for cell, shares in model.items()}

    def cost(scale: float) -> float:
        return -float(np.mean([human[cell] @ log_softmax(logs[cell] / np.exp(scale)) for cell in human]))

    return float(
        np.exp(minimize_scalar(cost, bounds=(-_HOTTEST, _HOTTEST), method="bounded", options={"xatol": 1e-4}).x)
    )


class Swept(NamedTuple):
    """One temperature of a sweep.

    Attributes:
        temperature: Of the model.
        kl: KL(human || model) of the pooled answers, in nats.
        rmse: Root of the expected squared error of a drawn answer, over persons.
        frontier: Whether no other temperature has both figures lower.
    """

    temperature: float
    kl: float
    rmse: float
    frontier: bool


def sweep_temperatures(
    truth: Values, shares: Values, values: Values, temperatures: Sequence[float], smoothing: float = 0.5
) -> list[Swept]:
    """KL of the population against RMSE of persons at several temperatures (after Namikoshi et al. 2024).

    Nobody says which direction, bins and smoothing the paper used; here KL goes from people to model, over the
    answers in ``values``, both histograms smoothed by ``smoothing`` answers in each. Expectations are exact: nothing
    is sampled, so a colder model has a lower RMSE only where its most probable answers are good.

    Args:
        truth: (n,) what each person answered; all among ``values``.
        shares: (n, k) probability of each answer for each person, at temperature 1.
        values: (k,) the answers.
        temperatures: All above 0.
        smoothing: Answers that are added to each bin of both sides.

    Raises:
        TargetError: An answer is not among the values, or a temperature not positive.

    Example:
        >>> truth, shares = np.array([0.0, 1.0]), np.array([[0.8, 0.2], [0.2, 0.8]])
        >>> [one] = sweep_temperatures(truth, shares, np.array([0.0, 1.0]), [1.0])
        >>> one.kl, round(one.rmse, 4)
        (0.0, 0.4472)
    """
    if outside := sorted(set(truth.tolist()) - set(values.tolist())):
        raise TargetError(f"temperature sweep: answer {outside[0]:g} is not among the values")
    counts = np.array([(truth == value).sum() for value in values], dtype=np.float64) + smoothing
    figures = []
    for temperature in temperatures:
        model = temperature_scaled(shares, temperature)
        pooled = model.sum(axis=0) + smoothing
        error = np.sqrt(np.mean((model * (values[None, :] - truth[:, None]) ** 2).sum(axis=1)))
        figures.append((temperature, kl(counts / counts.sum(), pooled / pooled.sum()), float(error)))
    return [
        Swept(t, k, e, not any(k2 <= k and e2 <= e and (k2, e2) != (k, e) for _, k2, e2 in figures))
        for t, k, e in figures
    ]


def point_rmse(truth: Values, shares: Values, values: Values) -> float:
    """RMSE of the most probable answers: the sweep at temperature 0.

    Args: As for `sweep_temperatures`.

    Example:
        >>> point_rmse(np.array([0.0, 1.0]), np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0.0, 1.0])) == 0.5**0.5
        True
    """
    return rmse(truth, values[shares.argmax(axis=1)])


def reference_figures(
    measure: Callable[[Values, Values], float], human: Cells, halves: tuple[Cells, Cells] | None = None
) -> dict[str, float]:
    """What stands beside every score: uniform guess, pooled marginal of the question, and the split-half floor.

    Args:
        measure: Of two distributions.
        human: Shares by group and question.
        halves: The same of two random halves of the people, where they are known.

    Example:
        >>> from popsim.evaluate.distances import total_variation
        >>> human = {("a", "q"): np.array([1.0, 0.0]), ("b", "q"): np.array([0.5, 0.5])}
        >>> reference_figures(total_variation, human)
        {'uniform': 0.25, 'pooled': 0.25}
    """
    questions: dict[str, list[Values]] = {}
    for (_, question), shares in human.items():
        questions.setdefault(question, []).append(shares)
    uniform = {cell: np.full(len(shares), 1 / len(shares)) for cell, shares in human.items()}
    pooled = {cell: np.mean(questions[cell[1]], axis=0) for cell in human}
    found = {"uniform": mean_over(measure, human, uniform), "pooled": mean_over(measure, human, pooled)}
    return {**found, "split_half": mean_over(measure, *halves)} if halves else found
