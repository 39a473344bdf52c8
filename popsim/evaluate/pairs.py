"""Human answers, their simulated twins and a simulated population: every figure of an outcome, three ways.

A figure stands as the humans alone give it, as the simulated population gives it, and corrected
(`popsim.evaluate.correction`); beside them is what quantile mapping would say, a calibration without a guarantee.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from popsim import weighted
from popsim.evaluate.correction import (
    Corrected,
    Labelled,
    calibrated,
    correct_effect,
    correct_mean,
    correct_ols,
    correct_quantile,
    quantile_map,
)
from popsim.evaluate.regressions import design
from popsim.evaluate.statistics import Values

QUANTILES = (0.25, 0.5, 0.75)
COLUMNS = ["statistic", "of", *Corrected._fields, "mapped"]
_FEWEST = 10


@dataclass(frozen=True)
class Side:
    """Answers to one outcome in one arm, a row per person."""

    values: Values
    """(n,) answers; of simulated people the mean of their draws. Of a choice they have no meaning."""
    marks: Mapping[str, Values]
    """(n,) share of the draws in each direction or with each option."""
    weight: Values
    """(n,) weights."""
    facts: pd.DataFrame
    """(n rows) covariates, the same columns on all sides."""
    numeric: bool = True
    """Whether ``values`` are numbers that have a mean."""


@dataclass(frozen=True)
class Pairs:
    """One outcome in one arm: humans, the same people simulated, and a simulated population."""

    human: Side
    twin: Side
    population: Side
    strata: Sequence[str] = field(default_factory=tuple)
    """Covariates within whose levels quantiles are mapped."""

    def labelled(self, mark: str | None = None) -> Labelled:
        """Give the three sides to a correction: the answers, or how often they are marked."""
        sides = (self.human, self.twin, self.population)
        human, twin, population = (side.values if mark is None else side.marks[mark] for side in sides)
        return Labelled(human, twin, population, self.human.weight, self.population.weight)


def corrected_figures(pairs: Pairs, quantiles: Sequence[float] = QUANTILES) -> pd.DataFrame:
    """Correct the mean, the shares, the quantiles and the regression on covariates of one outcome in one arm.

    Args:
        pairs: Humans, twins and population.
        quantiles: Which ones.

    Returns:
        A row per figure: ``statistic, of``, what `popsim.evaluate.Corrected` holds, and ``mapped``: the mean, share or
        quantile of the simulated population after quantile mapping.

    Raises:
        TargetError: There are too few answers.

    Example:
        >>> random = np.random.default_rng(0)
        >>> truth = random.normal(size=700)
        >>> def side(values):
        ...     return Side(values, {}, np.ones(len(values)), pd.DataFrame(index=range(len(values))))
        >>> pairs = Pairs(side(truth[:100]), side(truth[:100] + 1), side(truth[100:] + 1))
        >>> found = corrected_figures(pairs).set_index("statistic").loc["mean"]
        >>> bool(found["low"] < 0 < found["high"] and found["worth"] > 300)
        True
    """
    rows: list[tuple[object, ...]] = []
    numeric = pairs.human.numeric
    mapped = _mapped(pairs) if numeric else np.empty(0)
    weight = pairs.population.weight
    if numeric:
        rows.append(("mean", "", *correct_mean(pairs.labelled()), float(np.average(mapped, weights=weight))))
    for mark in pairs.human.marks:
        turned = np.sign(mapped) == {"fall": -1, "same": 0, "rise": 1}[mark] if numeric else np.full(1, np.nan)
        share = float(np.average(turned, weights=weight)) if numeric else np.nan
        rows.append(("share", mark, *correct_mean(pairs.labelled(mark)), share))
    for share in quantiles if numeric else ():
        found = correct_quantile(pairs.labelled(), share)
        rows.append(("quantile", f"{share:g}", *found, float(weighted.quantiles(mapped, weight, [share])[0])))
    rows += [("coefficient", term, *one, np.nan) for term, one in _coefficients(pairs)] if numeric else []
    return pd.DataFrame(rows, columns=COLUMNS)


def corrected_effect(treated: Pairs, others: Pairs) -> pd.DataFrame:
    """Correct the difference between the means of two arms.

    People who stand in both arms count as different ones, which makes the interval too wide rather than too narrow.

    Args:
        treated: One arm.
        others: The other.

    Returns:
        One row as in `corrected_figures`.
    """
    both = Pairs(
        _stacked(treated.human, others.human),
        _stacked(treated.twin, others.twin),
        _stacked(treated.population, others.population),
    )
    human, population = (
        np.repeat([1.0, 0.0], [len(one.values), len(other.values)])
        for one, other in ((treated.human, others.human), (treated.population, others.population))
    )
    found = correct_effect(both.labelled(), human, population)
    return pd.DataFrame([("effect", "", *found, np.nan)], columns=COLUMNS)


def on_human_scale(pairs: Pairs, seed: int = 0) -> Pairs:
    """Move simulated answers onto the human scale by a line that is fitted across folds, so that none sees itself."""
    if not pairs.human.numeric:
        return pairs
    twin, population = calibrated(pairs.human.values, pairs.twin.values, pairs.population.values, seed=seed)
    return replace(
        pairs,
        twin=replace(pairs.twin, values=twin),
        population=replace(pairs.population, values=population),
    )


def mapped_answers(pairs: Pairs) -> pd.DataFrame:
    """Give the simulated answers of the population before and after quantile mapping, with the covariates."""
    values = pairs.population.values
    return pairs.population.facts.reset_index(drop=True).assign(simulated=values, mapped=_mapped(pairs))


def _coefficients(pairs: Pairs) -> Iterator[tuple[str, Corrected]]:
    """Regress on the covariates, as far as the humans tell them apart."""
    facts = pd.concat([pairs.human.facts, pairs.population.facts], ignore_index=True)
    if facts.shape[1] == 0:
        return
    people = len(pairs.human.values)
    every = design(facts)
    kept = _independent(every.iloc[:people])
    if people <= 2 * len(kept):
        return
    terms = every[kept].to_numpy(np.float64)
    yield from zip(kept, correct_ols(pairs.labelled(), terms[:people], terms[people:]), strict=True)


def _independent(terms: pd.DataFrame) -> list[str]:
    """Keep the terms that are no combination of those before them."""
    kept: list[str] = []
    for name in terms:
        if np.linalg.matrix_rank(terms[[*kept, name]].to_numpy(np.float64)) > len(kept):
            kept.append(str(name))
    return kept


def _mapped(pairs: Pairs) -> Values:
    """Map quantiles within the strata; one with fewer than ten humans takes the quantiles of all."""
    values = pairs.population.values
    mapped = quantile_map(values, pairs.human.values)
    by = list(pairs.strata)
    if not by:
        return mapped
    ours = pairs.human.facts[by].astype("str").agg(" ".join, axis=1).to_numpy()
    theirs = pairs.population.facts[by].astype("str").agg(" ".join, axis=1).to_numpy()
    for level in np.unique(theirs):
        if (ours == level).sum() >= _FEWEST:
            mapped[theirs == level] = quantile_map(values[theirs == level], pairs.human.values[ours == level])
    return mapped


def _stacked(one: Side, other: Side) -> Side:
    """Put the people of two arms under each other."""
    facts = pd.concat([one.facts, other.facts], ignore_index=True)
    values, weight = np.concatenate([one.values, other.values]), np.concatenate([one.weight, other.weight])
    return Side(values, {}, weight, facts, one.numeric)
