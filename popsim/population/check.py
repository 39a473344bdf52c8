"""Drawn people against microdata: how far their tables, associations and combinations are from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.errors import PopulationError
from popsim.population.people import level_codes
from popsim.population.seeds import CellTable, cell_table, key_of
from popsim.population.sources import Column, level_codes_of, numbers_of, read_frame
from popsim.population.spec import PopulationSpec

Floats = NDArray[np.float64]
WAYS = (1, 2, 3)
MOST_LEVELS = 50
"""Columns of a table of respondents with more levels than this are not compared."""
Z_LIMIT = 1.96


@dataclass(frozen=True, eq=False)
class Compared:
    """Two sets of people, summed to cells of the same attributes.

    Attributes:
        people: The people who were drawn.
        truth: The people they are compared with.
        sizes: Attribute -> number of levels, for those that both have.
    """

    people: CellTable
    truth: CellTable
    sizes: dict[str, int]

    def tables(self, names: Sequence[str]) -> tuple[Floats, Floats]:
        """Give the shares of both in every cell of a table of some attributes."""
        n = int(np.prod([self.sizes[name] for name in names]))
        shares = []
        for cells in (self.people, self.truth):
            key = key_of(cells.codes, names, self.sizes, len(cells.weights))
            shares.append(np.bincount(key, cells.weights, n) / cells.weights.sum())
        return shares[0], shares[1]

    @property
    def sample_sizes(self) -> tuple[float, float]:
        """The effective numbers of both (Kish 1965)."""
        return self.people.effective_n(self.people.weights), self.truth.effective_n(self.truth.weights)


def compare_ways(pair: Compared) -> pd.DataFrame:
    """Compare all tables of one, two and three attributes.

    Args:
        pair: The people and what they are compared with.

    Returns:
        A row per number of attributes: how many ``tables``; the mean over them of ``srmse`` (root mean squared error of
        the cells over their mean), ``tae`` (total absolute error, as a share of the people) and ``tv`` (total
        variation, half of it); the largest SRMSE and its table; and the share of all cells with people in the truth
        whose error is beyond 1.96 standard errors of two independent samples of these sizes (``z_share``). People
        drawn systematically scatter less than that in the margins that they were fitted to.
    """
    n = 1 / sum(1 / size for size in pair.sample_sizes)
    rows = []
    for ways in WAYS:
        found, beyond, cells = [], 0, 0
        for names in combinations(pair.sizes, ways):
            p, q = pair.tables(names)
            gap = p - q
            inside = (q > 0) & (q < 1)
            z = gap[inside] / np.sqrt(q[inside] * (1 - q[inside]) / n)
            beyond, cells = beyond + int((np.abs(z) > Z_LIMIT).sum()), cells + len(z)
            found.append((float(np.sqrt(len(gap) * (gap**2).sum())), float(np.abs(gap).sum()), names))
        if found:
            srmse, tae = (float(np.mean([one[i] for one in found])) for i in (0, 1))
            most, _, names = max(found)
            row = {"ways": ways, "tables": len(found), "srmse": srmse, "worst": most, "worst_table": " x ".join(names)}
            rows.append({**row, "tae": tae, "tv": tae / 2, "z_share": beyond / max(cells, 1)})
    return pd.DataFrame(rows)


def cramers_v(table: Floats) -> float:
    """Give Cramer's V, the association in a two-way table of shares, from 0 to 1.

    Example:
        >>> cramers_v(np.array([[0.5, 0.0], [0.0, 0.5]])), cramers_v(np.array([[0.25, 0.25], [0.25, 0.25]]))
        (1.0, 0.0)
    """
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0)
    smaller = min((table.sum(axis=1) > 0).sum(), (table.sum(axis=0) > 0).sum()) - 1
    if smaller < 1:
        return 0.0
    gap = (table - expected) ** 2
    return float(np.sqrt(np.divide(gap, expected, out=np.zeros_like(gap), where=expected > 0).sum() / smaller))


def compare_associations(pair: Compared) -> pd.DataFrame:
    """Compare Cramer's V of every two attributes: columns ``one, two, people, truth, difference``."""
    rows = []
    for names in combinations(pair.sizes, 2):
        shape = [pair.sizes[name] for name in names]
        people, truth = (cramers_v(table.reshape(shape)) for table in pair.tables(names))
        rows.append({"one": names[0], "two": names[1], "people": people, "truth": truth, "difference": people - truth})
    return pd.DataFrame(rows, columns=["one", "two", "people", "truth", "difference"])


def compare_combinations(pair: Compared, seed: CellTable) -> dict[str, float | int]:
    """Count combinations that the seed lacks: those among the people, and those of the truth that came back.

    Returns:
        ``people_new``: share of the people with a combination that no record of the seed has; ``truth_new`` and
        ``recovered``: how many combinations of the truth the seed lacks, and how many of them the people have.
    """
    names = list(pair.sizes)
    people, truth, known = (
        key_of(cells.codes, names, pair.sizes, len(cells.weights)) for cells in (pair.people, pair.truth, seed)
    )
    new = pair.people.weights[~np.isin(people, known)].sum() / pair.people.weights.sum()
    missing = truth[~np.isin(truth, known)]
    return {
        "people_new": float(new),
        "truth_new": len(np.unique(missing)),
        "recovered": len(np.unique(missing[np.isin(missing, people)])),
    }


def people_cells(spec: PopulationSpec, people: pd.DataFrame, names: Sequence[str]) -> tuple[CellTable, dict[str, int]]:
    """Sum drawn people to cells of some attributes, or of categorical columns of a table of respondents."""
    weights = people["weight"].to_numpy(float)
    if spec.from_table:
        codes = {name: people[name].cat.codes.to_numpy().astype(np.int64) for name in names}
        sizes = {name: len(people[name].cat.categories) for name in names}
    else:
        every = level_codes(spec, people)
        codes = {name: every[name] for name in names}
        sizes = {name: len(spec.attributes[name]) for name in names}
    return cell_table(codes, sizes, weights), sizes


def read_truth(spec: PopulationSpec, people: pd.DataFrame, path: Path) -> CellTable:
    """Read held-out records: columns named as the attributes, or those that a seed of the population names.

    Args:
        spec: The population.
        people: Drawn from it.
        path: CSV or Parquet; a column ``weight``, or the one that a seed names, holds weights.

    Raises:
        PopulationError: The file has no attribute of the population, or a value is no level.
    """
    if not path.is_file():
        raise PopulationError(f"--truth {path}: no such file")
    frame = read_frame(path)
    seeds = [step.seed for step in spec.steps if step.seed]
    columns: dict[str, Column] = {}
    for seed in seeds:
        columns |= {name: one for name, one in seed.columns.items() if (one.column or name) in frame}
    for name in spec.attributes:
        if name not in columns and name in frame:
            absent = spec.not_applicable.get(name)
            columns[name] = Column(recode={"": absent} if absent else {})
    levels: Mapping[str, Sequence[str]] = spec.attributes
    if spec.from_table:
        levels = {
            str(name): [str(level) for level in people[name].cat.categories]
            for name in people
            if name in frame and isinstance(people[name].dtype, pd.CategoricalDtype)
        }
        levels = {name: names for name, names in levels.items() if len(names) <= MOST_LEVELS}
        columns = {name: Column() for name in levels}
    if not columns:
        raise PopulationError(f"--truth {path}: has no column of {spec.name}; columns: {', '.join(map(str, frame))}")
    names = ["weight", *(seed.weight for seed in seeds if seed.weight)]
    weight = next((name for name in names if name in frame), None)
    try:
        weights = numbers_of(frame, weight) if weight else np.ones(len(frame))
        codes = level_codes_of(frame, columns, {name: levels[name] for name in columns}, weights)
    except PopulationError as problem:
        raise PopulationError(f"--truth {path}: {problem}") from None
    cells = cell_table(codes, {name: len(levels[name]) for name in columns}, weights)
    if not len(cells.weights):
        raise PopulationError(f"--truth {path}: no record is left; all {len(frame)} are left out")
    return cells


def compare_people(
    spec: PopulationSpec, people: pd.DataFrame, truth: CellTable, seed: CellTable | None = None
) -> dict[str, Any]:
    """Compare drawn people with microdata on the attributes that both have.

    Args:
        spec: The population.
        people: Drawn from it.
        truth: Held-out records, or the seed itself.
        seed: Of the same attributes, to count combinations that it lacks.

    Returns:
        Plain data: ``attributes``, ``records``, ``effective_n``, ``ways``, ``associations`` and ``combinations``.
    """
    cells, sizes = people_cells(spec, people, list(truth.codes))
    pair = Compared(cells, truth, sizes)
    account: dict[str, Any] = {
        "attributes": list(sizes),
        "records": int(truth.records.sum()),
        "effective_n": pair.sample_sizes[1],
        "ways": compare_ways(pair).to_dict("records"),
        "associations": compare_associations(pair).to_dict("records"),
    }
    if seed is not None and set(sizes) <= set(seed.codes):
        account["combinations"] = compare_combinations(pair, seed)
    return account
