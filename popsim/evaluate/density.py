"""Probabilities of bins turned into a mean, a median and an interquartile range for each respondent.

The fit is that of Engelberg, Manski and Williams (2009), which the Survey of Consumer Expectations (SCE) uses as well:
a generalised beta distribution where three bins or more are used, an isosceles triangle where one bin is, or two beside
each other. The national figure of the SCE is the weighted median over respondents (`popsim.weighted.quantiles`).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import betainc, betaincinv, expit

from popsim.errors import SurveyError
from popsim.survey import DensityQuestion, NumberQuestion, Page, Vignette

Ends = tuple[float | None, float | None]
REACH = 38.0
"""The farthest that an open bin is taken to reach from zero, where the question is about percent a year."""
_KEYS = ["replicate", "person", "wave", "arm", "draw"]


class DensityFit(NamedTuple):
    """What one respondent's probabilities say, in the unit of the bins."""

    mean: float
    median: float
    iqr: float


@lru_cache(maxsize=65536)
def fit_density(bins: tuple[Ends, ...], shares: tuple[float, ...], reach: float = REACH) -> DensityFit:
    """Fit a distribution to the probabilities that one respondent put on bins.

    Where the outermost bin that is used is open, the end of the beta distribution is fitted too, up to ``reach``; a
    triangle takes an open bin to be as wide as its neighbour.

    Args:
        bins: (low, high) of each bin, rising, without gaps; None for an open end.
        shares: The probability of each, in any unit.
        reach: How far from zero an open bin may reach.

    Raises:
        SurveyError: The shares do not fit the bins, or none is positive.

    Example:
        >>> fit_density(((0, 2), (2, 4), (4, 6)), (0, 100, 0)).mean
        3.0
        >>> [round(x, 2) for x in fit_density(((0, 2), (2, 4), (4, 6)), (25, 50, 25))]
        [3.0, 3.0, 2.0]
    """
    p = np.asarray(shares, dtype=np.float64)
    if len(bins) != len(p) or len(p) < 2 or not (p >= 0).all() or not p.sum() > 0:
        raise SurveyError(f"density: {len(bins)} bins with shares {list(shares)}; needs a share of 0 or more for each")
    used = np.flatnonzero(p)
    first, last = int(used[0]), int(used[-1])
    p = p[first : last + 1] / p.sum()
    inner = [float(high) for _, high in bins[first:last] if high is not None]
    low, high = bins[first][0], bins[last][1]
    if last - first > 1:
        return _fit_beta(np.array(inner), np.cumsum(p)[:-1], low, high, reach)
    low = _beside(bins[first], bins[first + 1] if first + 1 < len(bins) else bins[first - 1])[0]
    high = _beside(bins[last], bins[last - 1] if last else bins[last + 1])[1]
    return _fit_triangle(low, high, inner, p)


def _beside(ends: Ends, neighbour: Ends) -> tuple[float, float]:
    """Close an open bin at the width of its neighbour."""
    (low, high), (left, right) = ends, neighbour
    width = right - left if left is not None and right is not None else 1.0
    if low is None:
        low = (high if high is not None else 0.0) - width
    return low, low + width if high is None else high


def _fit_triangle(low: float, high: float, inner: Sequence[float], p: NDArray[np.float64]) -> DensityFit:
    """Lay an isosceles triangle over one bin, or over two so that both keep their probabilities.

    Over two, it begins at the outer end of the more probable bin and ends within the other, ``reach_in`` beyond the
    limit between them; the tail beyond the limit holds 2 (reach_in / base)^2. Where the other bin is too narrow for
    that, the triangle begins at its outer end instead.
    """
    if inner:
        limit, tail = inner[0], float(min(p))
        root = np.sqrt(tail / 2)
        wide, narrow = (limit - low, high - limit) if p[0] >= p[1] else (high - limit, limit - low)
        reach_in = min(wide * root / (1 - root), narrow)
        base = reach_in / root
        if p[0] >= p[1]:
            low, high = limit + reach_in - base, limit + reach_in
        else:
            low, high = limit - reach_in, limit - reach_in + base
    middle, base = (low + high) / 2, high - low
    return DensityFit(float(middle), float(middle), float(base * (1 - 2 * np.sqrt(1 / 8))))


def _fit_beta(
    inner: NDArray[np.float64], below: NDArray[np.float64], low: float | None, high: float | None, reach: float
) -> DensityFit:
    """Fit a beta distribution with one mode to cumulative probabilities, by least squares."""
    left, right = (inner[0] if low is None else low), (inner[-1] if high is None else high)
    room = max(reach + left, 0.0) if low is None else 0.0, max(reach - right, 0.0) if high is None else 0.0

    def shape(x: NDArray[np.float64]) -> tuple[float, float, float, float]:
        ends = left - room[0] * expit(x[2]), right + room[1] * expit(x[3])
        return 1 + np.exp(x[0]), 1 + np.exp(x[1]), *ends

    def misfit(x: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, start, end = shape(x)
        return np.asarray(betainc(a, b, np.clip((inner - start) / (end - start), 0, 1)) - below)

    start = np.array([0.0, 0.0, -2.0, -2.0])
    found = least_squares(misfit, start, bounds=([-9, -9, -6, -6], [6, 6, 6, 6]), x_scale=1.0)
    a, b, begin, end = shape(found.x)
    q = begin + (end - begin) * betaincinv(a, b, np.array([0.25, 0.5, 0.75]))
    return DensityFit(float(begin + (end - begin) * a / (a + b)), float(q[1]), float(q[2] - q[0]))


def density_table(distributions: pd.DataFrame, question: DensityQuestion, reach: float = REACH) -> pd.DataFrame:
    """Fit the answers to a density question in a run's table of distributions.

    Args:
        distributions: The table of a run (``distributions.parquet``).
        question: The question; others in the table are left aside.
        reach: How far from zero an open bin may reach.

    Returns:
        A row per answer: replicate, person, wave, arm, draw, mean, median, iqr.

    Raises:
        SurveyError: The table has no answer to this question.
    """
    here = distributions[distributions["question"].eq(question.name)]
    if here.empty:
        raise SurveyError(f"density: the table has no answer to question {question.name}")
    bins: tuple[Ends, ...] = tuple((one.low, one.high) for one in question.bins)
    wide = here.pivot(index=_KEYS, columns="value", values="probability").reindex(columns=range(len(bins)))
    fits = [fit_density(bins, tuple(row), reach) for row in wide.fillna(0.0).to_numpy().tolist()]
    return pd.DataFrame(fits, columns=list(DensityFit._fields), index=wide.index).reset_index()


def with_numbers(vignette: Vignette) -> Vignette:
    """Add the numbers that are taken of each density question of a vignette, as if they had been asked.

    They are named like the question with ``_mean`` and ``_iqr`` behind it: what a respondent expects, and how uncertain
    they are.

    Example:
        >>> from popsim.survey import load_questionnaire
        >>> vignette = with_numbers(load_questionnaire("inflation_density").vignettes[0])
        >>> [question.name for question in vignette.questions]
        ['inflation_density', 'inflation_density_mean', 'inflation_density_iqr']
    """
    added = tuple(
        NumberQuestion(kind="number", name=f"{one.name}_{what}", text=one.text, minimum=low, maximum=REACH, decimals=6)
        for one in vignette.questions
        if one.kind == "density"
        for what, low in (("mean", -REACH), ("iqr", 0.0))
    )
    return vignette.model_copy(update={"pages": (*vignette.pages, Page(questions=added))}) if added else vignette


def fitted_answers(answers: pd.DataFrame, distributions: pd.DataFrame, question: DensityQuestion) -> pd.DataFrame:
    """Give the numbers of `with_numbers` as answers.

    Args:
        answers: Of one run to one fielding, with ``person, arm, draw, question, value``.
        distributions: The run's table of the same fielding.
        question: The question.

    Returns:
        Two rows for each answer to it, with the columns of the answers.
    """
    mine = answers[answers["question"].eq(question.name)]
    if mine.empty:
        return mine
    keys = ["person", "arm", "draw"]
    fits = density_table(distributions, question)[[*keys, "mean", "iqr"]]
    both = mine.merge(fits.assign(arm=fits["arm"].astype("str")), on=keys, validate="one_to_one")
    parts = [both.assign(question=f"{question.name}_{what}", value=both[what]) for what in ("mean", "iqr")]
    return pd.concat(parts, ignore_index=True)[list(answers.columns)]
