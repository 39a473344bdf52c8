"""What no table gives person by person: confidence and prior expectations."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from popsim.errors import PopulationError
from popsim.population.draw import draw_given
from popsim.population.rake import Control, rake
from popsim.population.tables import unknown
from popsim.population.traits import CONFIDENCE_LEVELS, Confidence, Period, Priors
from popsim.population.values import categorical


def draw_confidence(confidence: Confidence, people: pd.DataFrame, random: np.random.Generator) -> pd.Categorical:
    """Give each person one of five levels of confidence.

    A latent log uncertainty (gradients by attribute, each relative to its mean, plus normal noise) is ranked over the
    people and cut so that the levels have the shares asked for; the most uncertain are the least confident.

    Args:
        confidence: Shares, gradients and noise.
        people: With the columns of the gradients and ``weight``.
        random: One normal number per person is drawn from it.
    """
    uncertainty = confidence.noise * random.standard_normal(len(people))
    for attribute, gradient in confidence.gradients.items():
        column = people[attribute].cat
        logs = np.log([gradient.values.get(level, np.nan) for level in column.categories])
        own = np.append(logs, np.nan)[column.codes]
        uncertainty += gradient.shrink * np.nan_to_num(own - np.nanmean(own))
    order = np.argsort(-uncertainty, kind="stable")
    weights = people["weight"].to_numpy()[order]
    place = (np.cumsum(weights) - weights / 2) / weights.sum()
    codes = np.empty(len(people), dtype=np.int8)
    codes[order] = np.searchsorted(np.cumsum(list(confidence.shares.values()))[:-1], place, "right")
    return categorical(codes, CONFIDENCE_LEVELS, ordered=True)


def prior_settings(priors: Priors | None, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """Put overrides in the place of a population's own period, party in power and party tilt.

    Raises:
        PopulationError: An override is unknown, or its value is not one of the population's.

    Example:
        >>> from popsim.population import load_population
        >>> prior_settings(load_population("us_adults_2018").priors, {"party_tilt": 0})
        {'period': '2019Q1', 'in_power': 'Republican', 'party_tilt': 0.0}
    """
    if priors is None:
        if overrides:
            raise PopulationError(f"priors.{next(iter(overrides))}: this population has no priors; leave it out")
        return {}
    settings: dict[str, Any] = {key: getattr(priors, key) for key in ("period", "in_power", "party_tilt")}
    for key, value in (overrides or {}).items():
        if key not in settings:
            raise PopulationError(f"priors: {unknown('key', key, list(settings))}")
        allowed = {"period": list(priors.periods), "in_power": list(priors.sides)}.get(key)
        if allowed is not None and value not in allowed:
            raise PopulationError(f"priors.{key}: {unknown(key, value, allowed)}")
        if allowed is None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value)
        ):
            raise PopulationError(f"priors.{key}: a number is needed, not {value!r}")
        settings[key] = float(value) if allowed is None else value
    return settings


def prior_shares(period: Period) -> dict[str, np.ndarray]:
    """Give each column's shares of a period, those who did not know spread over the answers in proportion."""
    return {column: np.array(shares) / sum(shares) for column, shares in period.shares.items()}


def draw_priors(
    priors: Priors, settings: Mapping[str, Any], people: pd.DataFrame, random: np.random.Generator
) -> dict[str, pd.Categorical]:
    """Draw all columns of prior expectations jointly.

    The joint table starts from the association between the columns and the tilt of each party, and is raked so that the
    period's totals hold over all people, and over those who lean to no party in or out of power.

    Args:
        priors: The file's table and parameters.
        settings: From `prior_settings`.
        people: With the column that ``by`` names.
        random: Used as `popsim.population.draw.draw_given` does.

    Returns:
        Column -> a level per person, ordered from pessimistic to optimistic.
    """
    groups = people[priors.by].cat if priors.by else None
    group = groups.codes.to_numpy().astype(np.int64) + 1 if groups is not None else np.zeros(len(people), np.int64)
    levels = ["", *groups.categories] if groups is not None else [""]
    leans = {level: 0.5 if party == settings["in_power"] else -0.5 for party, level in priors.sides.items()}
    side = np.array([leans.get(level, 0.0) for level in levels])
    shape = [len(names) for names in priors.columns.values()]
    codes = np.indices(shape).reshape(len(shape), -1)
    scores = codes - (np.array(shape)[:, None] - 1) / 2
    pull = settings["party_tilt"] * side[:, None] * scores.sum(axis=0)
    pull = pull + priors.association * sum(scores[i] * scores[j] for i, j in combinations(range(len(shape)), 2))
    sizes = np.bincount(group, minlength=len(levels)).astype(float)
    start = np.exp(pull - pull.max()) * (sizes > 0)[:, None]
    everywhere = np.broadcast_to(np.arange(len(levels))[:, None], start.shape)
    controls = [Control("the people", everywhere, sizes)]
    neutral = np.array([level not in leans for level in levels])
    masses = np.array([sizes[~neutral].sum(), sizes[neutral].sum()])
    for code, (column, shares) in zip(codes, prior_shares(priors.periods[settings["period"]]).items(), strict=True):
        index = neutral[:, None] * len(shares) + code[None, :]
        controls.append(Control(column, index, (masses[:, None] * shares).ravel()))
    fit = rake(start, controls)
    if not fit.converged:
        raise PopulationError(f"priors: no table meets {fit.worst_control}; make party_tilt or association smaller")
    chances = fit.weights / np.where(sizes > 0, sizes, 1)[:, None]
    drawn = draw_given(chances, group, random)
    return {
        column: categorical(codes[i][drawn].astype(np.int8), names, ordered=True)
        for i, (column, names) in enumerate(priors.columns.items())
    }
