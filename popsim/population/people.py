"""People drawn from a population: a table with a row per person."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from popsim.errors import PopulationError
from popsim.population.draw import (
    check_size,
    draw_cells,
    draw_cells_at_random,
    draw_given,
    draw_given_at_random,
    serpentine,
)
from popsim.population.fit import Fit, fit_population
from popsim.population.latent import draw_confidence, draw_priors, prior_settings
from popsim.population.rake import effective_size
from popsim.population.respondents import draw_respondents
from popsim.population.spec import PopulationSpec
from popsim.population.values import categorical, draw_number, work_out
from popsim.streams import rng


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
    systematic = spec.draw == "systematic"
    narrow = {name: np.int8 if len(levels) <= 127 else np.int32 for name, levels in spec.attributes.items()}
    for step in fit.steps:
        random = rng(seed, f"population.{'+'.join(step.adds)}")
        if step.given:
            sizes = [len(spec.attributes[name]) for name in step.given]
            parent = serpentine([codes[name] for name in step.given], sizes)
            outcome = (draw_given if systematic else draw_given_at_random)(step.chances, parent, random)
        else:
            outcome = (draw_cells if systematic else draw_cells_at_random)(step.chances[0], size, random)
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
