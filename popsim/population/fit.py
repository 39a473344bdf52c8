"""From a population file to conditional distributions that meet its margins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from popsim.errors import PopulationError
from popsim.population.draw import serpentine
from popsim.population.margins import FittedMargin, fit_margins, name_cell
from popsim.population.rake import Control, Raked, rake, sum_by
from popsim.population.seeds import CellTable, Seed, SeedAccount, conditional, key_of, positions, sampling_zeros
from popsim.population.spec import PopulationSpec, Step

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = dict[str, Ints]

MOST_BYTES = 8e9
"""The largest table that is made for one step."""


@dataclass(frozen=True, eq=False)
class FittedStep:
    """A step ready to draw from.

    Attributes:
        adds: The attributes that it adds.
        given: The attributes that it depends on.
        codes: Attribute -> its level in each outcome.
        chances: Rows of parents (on a serpentine line) by outcomes; rows of parents who occur sum to 1.
        raked: The account of the fit.
        margins: Its margins.
        seed: What it took from microdata.
    """

    adds: tuple[str, ...]
    given: tuple[str, ...]
    codes: Codes
    chances: Floats
    raked: Raked
    margins: tuple[FittedMargin, ...]
    seed: SeedAccount | None


@dataclass(frozen=True, eq=False)
class Unit:
    """How many people belong to one household (or another unit), by some attributes; and how many units there are."""

    of: tuple[str, ...]
    people: Floats
    total: float

    def people_in(self, codes: Mapping[str, Ints]) -> Floats:
        """Give the number of people in the unit of each person or cell."""
        people: Floats = self.people[tuple(codes[attribute] for attribute in self.of)]
        return people


@dataclass(frozen=True, eq=False)
class Fit:
    """All steps of a population, fitted."""

    steps: tuple[FittedStep, ...]
    units: Mapping[str, Unit]

    @property
    def worst(self) -> Raked:
        """The fit of the step with the largest error."""
        return max((step.raked for step in self.steps), key=lambda raked: (not raked.converged, raked.worst_error))


@dataclass
class _People:
    """The people fitted so far: cells of a sparse table, with shares that sum to 1."""

    codes: Codes
    weights: Floats
    units: dict[str, Unit] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)

    def collapse(self, attributes: Sequence[str], sizes: Mapping[str, int]) -> tuple[Codes, Floats, Ints]:
        """Sum over all other attributes; the last value gives the new cell of each old one."""
        key = key_of(self.codes, attributes, sizes, len(self.weights))
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        codes = {attribute: self.codes[attribute][first] for attribute in attributes}
        cell = inverse.astype(np.int64)
        return codes, sum_by(cell, self.weights, len(first)), cell


def fit_population(spec: PopulationSpec) -> Fit:
    """Fit every step of a population by raking, each one given those before.

    A step's cells are the people fitted so far, by the attributes it depends on, times the levels it adds. They start
    from the product of its start tables and are raked to the people so far and to its margins. A step whose margins
    count another unit, and which has no conversion of its own, is fitted among those units: people count for one over
    the number of people in their unit.

    Args:
        spec: A population with steps.

    Raises:
        PopulationError: Margins contradict each other, need a structural zero, or count units that cannot be compared.

    Example:
        >>> from popsim.population import load_population
        >>> fit_population(load_population("us_adults_2018")).worst.converged
        True
    """
    parts = {"name", "title", "unit", "attributes", "not_applicable", "impossible", "steps"}
    return _fit(_Content(spec.model_dump_json(include=parts), spec))


@dataclass(frozen=True)
class _Content:
    """What a fit depends on: two specs with the same text are fitted once; files are found through the spec."""

    text: str
    spec: PopulationSpec = field(compare=False)


@lru_cache(maxsize=4)
def _fit(content: _Content) -> Fit:
    """Fit the steps of a spec."""
    spec = content.spec
    people = _People({}, np.ones(1))
    steps = []
    for number, step in enumerate(spec.steps):
        later = {name for after in spec.steps[number + 1 :] for name in after.given}
        try:
            steps.append(_fit_step(spec, step, people, later))
        except (PopulationError, ValueError) as problem:
            raise PopulationError(f"steps.{number}: {problem}") from None
    return Fit(tuple(steps), people.units)


def _fit_step(spec: PopulationSpec, step: Step, people: _People, later: set[str]) -> FittedStep:
    """Fit one step and add its attributes to the people so far, as far as later steps need them."""
    sizes = {name: len(levels) for name, levels in spec.attributes.items()}
    given, weights, parent_of = people.collapse(step.given, sizes)
    unit = _unit_of(spec, step, people)
    if unit != spec.unit and not step.convert:
        if missing := set(people.units[unit].of) - set(step.given):
            raise PopulationError(f"given: margins in {unit} also need {', '.join(sorted(missing))}")
        weights = weights / people.units[unit].people_in(given)
        weights /= weights.sum()
    n_parents = len(weights)
    seed = step.seed.cells(step.adds, step.given, spec.attributes) if step.seed else None
    added = _outcomes(step, seed, n_parents, sizes)
    n_outcomes = len(added[step.adds[0]])
    parent = np.repeat(np.arange(n_parents), n_outcomes)
    cells = {name: codes[parent] for name, codes in given.items()}
    cells |= {name: np.tile(codes, n_parents) for name, codes in added.items()}
    possible = possible_cells(spec, cells)
    start = _start(spec, step, cells, possible)
    margins = fit_margins(spec, step, people.totals, (given, weights), cells, start > 0)
    names = [name_cell(spec, step.given, given, i) for i in range(n_parents)]
    controls = [Control(f"the {unit} so far", parent, weights, names)]
    if step.convert:
        controls.append(_convert(spec, step, people, (given, weights), cells, margins))
    else:
        controls += [m.control(spec, cells) for m in margins]
    account = None
    if step.seed and seed:
        start, account = _seeded(spec, step.seed, seed, start, controls, (given, weights), added)
    raked = rake(start, controls)
    if account and seed and not step.given:
        account = replace(account, effective_n_fitted=_effective_n(seed, raked.weights, added, sizes))
    chances = (raked.weights.reshape(n_parents, n_outcomes) / weights[:, None]).clip(0)
    chances /= chances.sum(axis=1, keepdims=True)
    _expand(people, added, chances, parent_of, later | {name for u in people.units.values() for name in u.of}, sizes)
    line = serpentine(list(given.values()), [sizes[name] for name in step.given]) if step.given else np.zeros(1, int)
    on_line = np.zeros((int(np.prod([sizes[name] for name in step.given], dtype=np.int64)), n_outcomes))
    order = np.argsort(serpentine([added[name] for name in step.adds], [sizes[name] for name in step.adds]))
    on_line[line] = chances[:, order]
    return FittedStep(
        step.adds,
        step.given,
        {name: codes[order] for name, codes in added.items()},
        on_line,
        raked,
        tuple(margins),
        account,
    )


def _outcomes(step: Step, seed: CellTable | None, n_parents: int, sizes: Mapping[str, int]) -> Codes:
    """List what a step can add: all combinations of levels, or in list form those that microdata has."""
    if seed and step.seed and not step.given and not step.seed.repair:
        return {name: seed.codes[name] for name in step.adds}
    shape = [sizes[name] for name in step.adds]
    parents = max(n_parents, math.prod(sizes[name] for name in step.given))
    cells = parents * math.prod(shape)
    size = cells * 8 * (len(step.adds) + len(step.given) + len(step.margins) + len(step.start) + 6)
    if size > MOST_BYTES:
        way = "leave out repair, so that only cells with a record are made" if step.seed else "give it a seed"
        raise PopulationError(
            f"adds: the table of {', '.join((*step.given, *step.adds))} has {cells:,} cells and would take about "
            f"{size / 1e9:.0f} GB of memory (at most {MOST_BYTES / 1e9:.0f}); draw them in several steps, or {way}"
        )
    return dict(zip(step.adds, np.indices(shape).reshape(len(shape), -1), strict=True))


def _seeded(
    spec: PopulationSpec,
    step_seed: Seed,
    seed: CellTable,
    start: Floats,
    controls: Sequence[Control],
    parents: tuple[Codes, Floats],
    added: Codes,
) -> tuple[Floats, SeedAccount]:
    """Start from microdata, and repair what nobody in the sample is as far as the file asks for it."""
    given, weights = parents
    sizes = {name: len(levels) for name, levels in spec.attributes.items()}
    possible = possible_cells(spec, seed.codes)
    if not possible.any():
        raise PopulationError(f"seed: all {seed.records.sum():.0f} records are in cells that are declared impossible")
    chances, sets, used = conditional(seed, given, len(weights), added, sizes, step_seed.at_least)
    seeded = (chances * weights[:, None]).ravel() * (start > 0)
    listed = not given and not step_seed.repair
    zeros = sampling_zeros(seeded, None if listed else start > 0, controls)
    if zeros and not step_seed.repair:
        raise PopulationError(
            f"seed: no record in {zeros[0]}, where people must be ({len(zeros)} such cells); add records, or write "
            "repair: 0.05 under seed to mix in that share of the fit without a seed"
        )
    if step_seed.repair:
        plain = rake((start > 0).astype(float), controls).weights
        seeded = (1 - step_seed.repair) * seeded / seeded.sum() + step_seed.repair * plain / plain.sum()
    by_set = sum_by(used, weights, len(sets)) / weights.sum()
    account = SeedAccount(
        records=int(seed.records.sum()),
        left_out=seed.left_out,
        impossible=int(seed.records[~possible].sum()),
        effective_n=seed.effective_n(seed.weights),
        effective_n_fitted=float("nan"),
        sampling_zeros=tuple(zeros),
        backed_off={", ".join(names): float(share) for names, share in zip(sets, by_set, strict=True)} if given else {},
    )
    return seeded * start, account


def _effective_n(seed: CellTable, fitted: Floats, added: Codes, sizes: Mapping[str, int]) -> float:
    at = positions(seed, added, sizes)
    return seed.effective_n(np.where(at >= 0, fitted[at], 0.0))


def _unit_of(spec: PopulationSpec, step: Step, people: _People) -> str:
    """Find the one unit that a step is fitted in; mixing units is an error."""
    if step.convert:
        other = [m.name for m in step.margins if m.unit != step.convert.unit]
        if other:
            raise PopulationError(f"{other[0]} does not count {step.convert.unit}, the unit of convert")
        return spec.unit
    units = list(dict.fromkeys(margin.unit for margin in step.margins)) or [spec.unit]
    if len(units) > 1:
        raise PopulationError(f"margins count {' and '.join(units)}; the margins of a step must count one unit")
    if units[0] != spec.unit and units[0] not in people.units:
        raise PopulationError(f"margins count {units[0]}, the people are {spec.unit}; add a convert block")
    return units[0]


def _start(spec: PopulationSpec, step: Step, cells: Codes, possible: NDArray[np.bool_]) -> Floats:
    """Multiply the start tables, and set what is declared impossible to zero; other zeros under margins are refused."""
    start = np.ones(len(cells[step.adds[0]]))
    for number, table in enumerate(step.start):
        grid = table.grid(spec.attributes)
        index = grid.index(cells)
        chances = grid.values.ravel()
        uncovered = np.flatnonzero(possible & (index < 0))
        if len(uncovered):
            raise PopulationError(
                f"start.{number}: says nothing about {name_cell(spec, table.of, cells, uncovered[0])}"
            )
        undeclared = np.flatnonzero(possible & (chances[index] == 0))
        if step.margins and len(undeclared):
            where = name_cell(spec, table.of, cells, undeclared[0])
            raise PopulationError(f"start.{number}: {where} is zero; declare it under impossible or give it a number")
        start *= chances[index]
    return start * possible


def possible_cells(spec: PopulationSpec, cells: Mapping[str, Ints]) -> NDArray[np.bool_]:
    """Tell which cells, or people, are not declared impossible; rules on attributes that are absent say nothing."""
    possible = np.ones(len(next(iter(cells.values()))), dtype=bool)
    for rule in spec.impossible:
        if set(rule) <= set(cells):
            excluded = np.ones(len(possible), dtype=bool)
            for attribute, levels in rule.items():
                chosen = (levels,) if isinstance(levels, str) else levels
                excluded &= np.isin(cells[attribute], [spec.attributes[attribute].index(level) for level in chosen])
            possible &= ~excluded
    return possible


def _convert(
    spec: PopulationSpec,
    step: Step,
    people: _People,
    parents: tuple[Codes, Floats],
    cells: Codes,
    margins: Sequence[FittedMargin],
) -> Control:
    """Fit the tables of another unit among themselves and turn the result into one control on people.

    The joint table of the units is raked from equal weights to all of the step's margins. Each cell is multiplied by
    the number of people per unit, whose level is set within each cell of ``match`` so that it holds the people there.
    """
    convert = step.convert
    assert convert is not None
    of = [name for name in spec.attributes if any(name in m.grid.of for m in margins)]
    if missing := {*convert.of, *convert.match} - set(of):
        raise PopulationError(f"convert: no margin in {convert.unit} has {', '.join(sorted(missing))}")
    if wrong := set(convert.match) - set(step.given):
        raise PopulationError(f"convert.match: {', '.join(sorted(wrong))} is not among given")
    shape = [len(spec.attributes[name]) for name in of]
    codes = dict(zip(of, np.indices(shape).reshape(len(of), -1), strict=True))
    joint = rake(
        possible_cells(spec, codes).astype(float),
        [m.control(spec, codes) for m in margins],
    )
    if not joint.converged:
        raise PopulationError(f"convert: the tables in {convert.unit} cannot be met together ({joint.worst_control})")
    grid = convert.grid(spec.attributes)
    relative = grid.values.ravel()[grid.index(codes)]
    if (relative <= 0).any():
        raise PopulationError(f"convert: {spec.unit} per {convert.unit} must be above 0 everywhere")
    sizes = {name: len(spec.attributes[name]) for name in of}
    match = _People(codes, joint.weights * relative)
    there, held, cell = match.collapse(convert.match, sizes)
    given, weights = parents
    wanted = np.zeros([sizes[name] for name in convert.match])
    np.add.at(wanted, tuple(given[name] for name in convert.match), weights)
    level = wanted[tuple(there[name] for name in convert.match)] / held
    each = relative * level[cell]
    total = people.totals[convert.unit]
    people.units[convert.unit] = Unit(
        tuple(of), (each * people.totals.get(spec.unit, total) / total).reshape(shape), total
    )
    index = np.ravel_multi_index(tuple(cells[name] for name in of), shape)
    return Control(f"{convert.unit} as {spec.unit}", index.astype(np.int64), joint.weights * each)


def _expand(
    people: _People, added: Codes, chances: Floats, parent_of: Ints, keep: set[str], sizes: Mapping[str, int]
) -> None:
    """Split the people so far by the outcomes of a step, keeping only the attributes that are still needed."""
    if keep & set(added):
        weights = people.weights[:, None] * chances[parent_of]
        cell, outcome = np.nonzero(weights)
        people.codes = {name: codes[cell] for name, codes in people.codes.items()}
        people.codes |= {name: codes[outcome] for name, codes in added.items()}
        people.weights = weights[cell, outcome]
    kept = [name for name in people.codes if name in keep]
    codes, people.weights, _ = people.collapse(kept, sizes)
    people.codes = codes
