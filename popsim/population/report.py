"""How well drawn people meet the margins of their population."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from popsim.population.fit import fit_population
from popsim.population.latent import prior_settings, prior_shares
from popsim.population.margins import FittedMargin
from popsim.population.people import level_codes
from popsim.population.rake import sum_by
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
