"""How well drawn people meet the margins of their population."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from popsim.population.check import compare_people, read_truth
from popsim.population.fit import fit_population, possible_cells
from popsim.population.latent import prior_settings, prior_shares
from popsim.population.margins import FittedMargin
from popsim.population.people import level_codes
from popsim.population.rake import effective_size, sum_by
from popsim.population.spec import PopulationSpec

COLUMNS = (
    "margin", "cell", "source", "year", "unit", "published", "target", "achieved", "error", "sampling_error"
)  # fmt: skip


def margin_report(spec: PopulationSpec, people: pd.DataFrame) -> pd.DataFrame:
    """Compare drawn people with every margin of their population.

    All figures are shares of the whole (0 to 1). A margin that counts another unit, such as households, is compared in
    that unit: each person counts for one over the people in their unit.

    Args:
        spec: The population.
        people: From `sample_people`, perhaps read back from a file.

    Returns:
        A row per cell: ``margin, cell, source, year, unit, published, target, achieved, error, sampling_error``. The
        target differs from the published share where a margin yields to another or where people without an answer are
        spread over the answers; ``error`` is achieved less target; ``sampling_error`` is the source's own standard
        error (simple random sampling of its size), NaN where its size is not known.

    Example:
        >>> from popsim.population import load_population, sample_people
        >>> spec = load_population("us_adults_2018")
        >>> report = margin_report(spec, sample_people(spec, 20_000))
        >>> bool(report["error"].abs().max() < 0.002)
        True
    """
    parts = [] if spec.from_table else list(_fitted(spec, people))
    parts += list(_assumed(spec, people))
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
    table["error"] = table["achieved"] - table["target"]
    return table[list(COLUMNS)]


def fit_report(spec: PopulationSpec, people: pd.DataFrame, truth: Path | None = None) -> dict[str, Any]:
    """Give the whole account of a fit and a draw as plain data, to be saved beside the people.

    Args:
        spec: The population.
        people: From `sample_people`.
        truth: A file of held-out records; without it the people are compared with the seed, where there is one.

    Returns:
        ``population``, ``draw``, ``people`` (number, effective number and design effect of their weights), ``fit`` (of
        the step that fits worst), ``steps`` (each with its fit and what it took from microdata), ``margins`` (rows of
        `margin_report`), ``structural_zeros_created``, and ``against`` (see `popsim.population.check`).

    Raises:
        PopulationError: The held-out file is missing or does not fit the population.

    Example:
        >>> from popsim.population import load_population, sample_people
        >>> spec = load_population("us_adults_2018")
        >>> report = fit_report(spec, sample_people(spec, 500))
        >>> report["structural_zeros_created"], report["people"]["design_effect"]
        (0, 1.0)
    """
    effective = effective_size(people["weight"].to_numpy(float))
    account: dict[str, Any] = {
        "population": spec.name,
        "draw": "table" if spec.from_table else spec.draw,
        "people": {"n": len(people), "effective_n": effective, "design_effect": len(people) / effective},
        "fit": dict(people.attrs.get("fit", {})),
        "steps": [],
        "margins": margin_report(spec, people).to_dict("records"),
        "structural_zeros_created": 0,
    }
    seed = None
    if not spec.from_table:
        account["steps"] = _steps(spec)
        account["structural_zeros_created"] = int((~possible_cells(spec, level_codes(spec, people))).sum())
        seed = next((s.seed.cells(s.adds, s.given, spec.attributes) for s in spec.steps if s.seed), None)
    if truth is not None:
        account["against"] = {"file": str(truth), **compare_people(spec, people, read_truth(spec, people, truth), seed)}
    elif seed is not None:
        account["against"] = {"file": "the seed", **compare_people(spec, people, seed, seed)}
    return account


def check_population(spec: PopulationSpec) -> str:
    """Say in one line whether the margins of a population can be met together.

    Example:
        >>> from popsim.population import load_population
        >>> check_population(load_population("us_adults_2018"))
        'population, good'
    """
    if spec.from_table:
        return "population, good"
    worst = fit_population(spec).worst
    if worst.converged:
        return "population, good"
    return (
        f"population; its margins CANNOT BE MET TOGETHER: after {worst.iterations} rounds {worst.worst_cell} is still "
        f"off by {worst.worst_error:.2g} of all"
    )


def _steps(spec: PopulationSpec) -> list[dict[str, Any]]:
    """Give the account of each step's fit."""
    steps = []
    for step in fit_population(spec).steps:
        raked = step.raked
        row: dict[str, Any] = {"adds": list(step.adds), "given": list(step.given)}
        row |= {key: getattr(raked, key) for key in ("converged", "iterations", "worst_cell", "worst_error")}
        row |= {"tolerance": raked.tolerance, "divergence": raked.divergence}
        row["rescaled"] = {m.margin.name: m.rescaled for m in step.margins if m.rescaled != 1}
        row["seed"] = asdict(step.seed) if step.seed else None
        steps.append(row)
    return steps


def _fitted(spec: PopulationSpec, people: pd.DataFrame) -> Iterator[dict[str, Any]]:
    fit = fit_population(spec)
    codes = level_codes(spec, people)
    weights = people["weight"].to_numpy(float)
    for step in fit.steps:
        for fitted in step.margins:
            unit = fit.units.get(fitted.margin.unit)
            counts = weights / unit.people_in(codes) if unit else weights
            index = fitted.index(spec, codes)
            achieved = sum_by(index, counts, len(fitted.target)) / counts.sum()
            yield _rows(fitted, achieved)


def _rows(fitted: FittedMargin, achieved: np.ndarray) -> dict[str, Any]:
    margin = fitted.margin
    return {
        "margin": margin.name,
        "cell": fitted.grid.names(),
        "source": margin.source,
        "year": str(margin.year),
        "unit": margin.unit,
        "published": fitted.published,
        "target": fitted.target,
        "achieved": achieved,
        "sampling_error": fitted.standard_error,
    }


def _assumed(spec: PopulationSpec, people: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Give the rows of confidence and priors."""
    weights = people["weight"].to_numpy(float)
    common = {"unit": spec.unit, "sampling_error": np.nan}
    if spec.confidence:
        shares = np.array(list(spec.confidence.shares.values()))
        yield {
            **common,
            "margin": "confidence",
            "cell": list(spec.confidence.shares),
            "source": spec.confidence.status,
            "year": "",
            "published": np.nan,
            "target": shares,
            "achieved": _shares(people["confidence"], list(spec.confidence.shares), weights),
        }
    if spec.priors:
        settings = people.attrs.get("priors") or prior_settings(spec.priors, None)
        period = spec.priors.periods[settings["period"]]
        for column, shares in prior_shares(period).items():
            levels = list(spec.priors.columns[column])
            yield {
                **common,
                "margin": column,
                "cell": levels,
                "source": spec.priors.source,
                "year": settings["period"],
                "published": np.array(period.shares[column]) / 100,
                "target": shares,
                "achieved": _shares(people[column], levels, weights),
            }


def _shares(column: pd.Series, levels: list[str], weights: np.ndarray) -> np.ndarray:
    codes = pd.Index(levels).get_indexer(pd.Index(column))
    return np.asarray(sum_by(codes, weights, len(levels)) / weights.sum())
