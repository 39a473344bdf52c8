"""People drawn from a population: a table with a row per person."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from popsim.errors import PopulationError
from popsim.population.balance import Aim
from popsim.population.draw import (
    Ints,
    check_size,
    draw_cells,
    draw_cells_at_random,
    draw_given,
    draw_given_at_random,
    serpentine,
)
from popsim.population.fit import Fit, FittedStep, fit_population
from popsim.population.latent import draw_confidence, draw_priors, prior_settings
from popsim.population.rake import effective_size
from popsim.population.respondents import draw_respondents
from popsim.population.spec import PopulationSpec
from popsim.population.values import categorical, draw_number, work_out
from popsim.streams import rng

BALANCED_FROM = 100_000
"""People from which on a draw is balanced on its margins; of fewer, rare cells would lose people over all draws."""


def sample_people(
    spec: PopulationSpec, size: int, seed: int = 0, priors: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Draw whole people from a population.

    Attributes are drawn step by step, each given those before, by serpentine systematic sampling: one random start per
    step, so that the people meet every margin about as well as whole people can (or, with ``draw: multinomial``,
    everybody independently). Exact numbers, levels, confidence and
    prior expectations follow. A population with ``from_table`` gives its own respondents instead.

    Args:
        spec: The population.
        size: The number of people.
        seed: Zero or positive; the same seed gives the same people.
        priors: Replaces ``period``, ``in_power`` or ``party_tilt`` of the population's priors.

    Returns:
        A frame with a row per person: categorical columns, whole numbers (nullable where they may not apply) and
        ``weight``. ``attrs["fit"]`` holds ``converged``, ``iterations``, ``worst_control`` and ``worst_error`` (as a
        share) of the step that fits worst, and is empty for a table of respondents; ``attrs["priors"]`` holds what the
        priors were drawn with; ``attrs["weights"]`` the number of people, and their effective number and design effect.

    Raises:
        PopulationError: The size, the seed, a prior or something in the spec is wrong.

    Example:
        >>> from popsim.population import load_population
        >>> people = sample_people(load_population("us_adults_2018"), 100, seed=1)
        >>> len(people), people.attrs["fit"]["converged"]
        (100, True)
    """
    check_size(size, seed)
    settings = prior_settings(spec.priors, priors)
    account: dict[str, Any] = {}
    if spec.from_table:
        people = draw_respondents(spec.from_table, int(size), rng(seed, "population.rows"))
    else:
        fit = fit_population(spec)
        worst = fit.worst
        account = {
            "converged": worst.converged,
            "iterations": max(step.raked.iterations for step in fit.steps),
            "worst_control": worst.worst_control,
            "worst_error": worst.worst_error,
        }
        people = _draw_steps(spec, fit, int(size), seed)
    for name, number in spec.numbers.items():
        people[name] = draw_number(number, people, rng(seed, f"population.{name}"))
    for name, level in spec.levels.items():
        people[name] = work_out(name, level, people)
    if spec.confidence:
        people["confidence"] = draw_confidence(spec.confidence, people, rng(seed, "population.confidence"))
    if spec.priors:
        if spec.priors.in_power:
            parties = list(spec.priors.sides)
            people["in_power"] = pd.Categorical([settings["in_power"]] * len(people), categories=parties)
        for name, drawn in draw_priors(spec.priors, settings, people, rng(seed, "population.priors")).items():
            people[name] = drawn
    people["weight"] = people.pop("weight")
    effective = effective_size(people["weight"].to_numpy(float))
    weights = {"n": len(people), "effective_n": effective, "design_effect": len(people) / effective}
    people.attrs = {"fit": account, "priors": settings, "weights": weights}
    return people


def _draw_steps(spec: PopulationSpec, fit: Fit, size: int, seed: int) -> pd.DataFrame:
    """Draw every attribute, step by step."""
    codes: dict[str, np.ndarray] = {}
    narrow = {name: np.int8 if len(levels) <= 127 else np.int32 for name, levels in spec.attributes.items()}
    for number, step in enumerate(fit.steps):
        random = rng(seed, f"population.{'+'.join(step.adds)}")
        row = serpentine([codes[name] for name in step.given], _sizes(spec, step.given)) if step.given else None
        later = {name for after in fit.steps[number + 1 :] for name in after.given}
        if spec.draw == "multinomial":
            outcome = (
                draw_cells_at_random(step.chances[0], size, random)
                if row is None
                else draw_given_at_random(step.chances, row, random)
            )
        elif row is None:
            outcome = draw_cells(step.chances[0], size, random, _aims(spec, fit, step, {}, size))
        elif size < BALANCED_FROM:
            outcome = draw_given(step.chances, row, random)
        else:
            finer = [name for name in codes if name in later and name not in step.given]
            parent, one = _along(row, [codes[name] for name in finer], _sizes(spec, finer))
            given = {name: codes[name][one] for name in step.given}
            outcome = draw_given(step.chances[row[one]], parent, random, _aims(spec, fit, step, given, size))
        codes |= {name: level.astype(narrow[name])[outcome] for name, level in step.codes.items()}
    columns: dict[str, Any] = {}
    for name, levels in spec.attributes.items():
        drawn, kept = codes[name], list(levels)
        if name in spec.not_applicable:
            absent = levels.index(spec.not_applicable[name])
            kept.pop(absent)
            drawn = np.where(drawn == absent, -1, drawn - (drawn > absent))
        columns[name] = categorical(drawn, kept)
    return pd.DataFrame(columns).assign(weight=1.0)


def _along(row: Ints, finer: Sequence[Ints], sizes: Sequence[int]) -> tuple[Ints, Ints]:
    """Put people in line by row and within it by what later steps hang on; gives their places, and one person in each.

    So what is drawn is spread evenly over what it will be crossed with.
    """
    key = row * math.prod(sizes) + (serpentine(finer, sizes) if finer else 0)
    place, line = pd.factorize(key, sort=True)
    one = np.empty(len(line), dtype=np.int64)
    one[place] = np.arange(len(row))
    return place, one


def _sizes(spec: PopulationSpec, names: Sequence[str]) -> list[int]:
    return [len(spec.attributes[name]) for name in names]


def _aims(spec: PopulationSpec, fit: Fit, step: FittedStep, given: Mapping[str, Ints], size: int) -> list[Aim]:
    """Give the margins that a draw is balanced on, over parents by outcomes; none where they cannot be met together."""
    if not step.raked.converged or size < BALANCED_FROM:
        return []
    parents, outcomes = len(next(iter(given.values()), [0])), step.chances.shape[1]
    cells = {name: np.repeat(codes, outcomes) for name, codes in given.items()}
    cells |= {name: np.tile(codes, parents) for name, codes in step.codes.items()}
    aims = []
    for margin in step.margins:
        unit = fit.units.get(margin.margin.unit)
        weight = 1 / unit.people_in(cells) if unit else np.ones(parents * outcomes)
        aims.append(Aim(margin.index(spec, cells), weight, margin.target))
    return aims


def level_codes(spec: PopulationSpec, people: pd.DataFrame) -> dict[str, np.ndarray]:
    """Give the level codes of every attribute, as the population file numbers them.

    Raises:
        PopulationError: A column is missing or holds a level that the file does not have.
    """
    codes = {}
    for name, levels in spec.attributes.items():
        if name not in people:
            raise PopulationError(f"people: column {name!r} is missing; were they drawn from {spec.name}?")
        found = pd.Index(levels).get_indexer(pd.Index(people[name]))
        if name in spec.not_applicable:
            found = np.where(people[name].isna(), levels.index(spec.not_applicable[name]), found)
        if (found < 0).any():
            odd = people[name].iloc[int(np.argmin(found))]
            raise PopulationError(f"people: column {name!r} holds {odd!r}; allowed: {', '.join(levels)}")
        codes[name] = found.astype(np.int64)
    return codes
