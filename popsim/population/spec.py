"""The population file: attributes, published margins with their sources, and how a person is put into words."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from popsim.files import Frozen
from popsim.population.seeds import Seed
from popsim.population.sources import TableFile
from popsim.population.tables import Cell, Grid, read_grid, unknown
from popsim.population.traits import CONFIDENCE_LEVELS, Confidence, Level, Name, Number, Priors, Status, Text
from popsim.slots import slots_of, unknown_slot


class Table(Frozen):
    """Numbers over some attributes, written as a header row and rows of levels and numbers, or read from a file."""

    of: tuple[Name, ...] = Field(min_length=1)
    """The attributes; the levels of the last one stand in the header."""
    table: tuple[tuple[Cell, ...], ...] = Field(default=(), min_length=2)
    file: TableFile | None = None
    """Instead of table; the table is filled in when the file is read."""
    groups: dict[Name, dict[Text, tuple[Text, ...]]] = {}
    """Attribute -> a level of the table that is coarser than the attribute's -> the levels it holds."""
    source: str = ""
    """Publication and table number."""
    status: Status
    note: str = ""

    @model_validator(mode="after")
    def _has_source(self) -> "Table":
        if self.status != "assumption" and not self.source:
            raise ValueError(f"a table with status {self.status} needs a source")
        if not self.table and self.file is None:
            raise ValueError("give either table or file")
        return self

    @property
    def unread(self) -> bool:
        """Whether the numbers are still in their file."""
        return self.file is not None and not self.table

    def grid(self, attributes: Mapping[str, tuple[str, ...]]) -> Grid:
        """Read the numbers into an array."""
        if self.file is not None and self.unread:
            raise ValueError(f"file: {self.file.file} was not read; name a population by its own file to have it read")
        return read_grid(self.of, self.table, self.groups, attributes)


class Margin(Table):
    """A published table that the people have to meet."""

    name: Text
    year: int | str
    unit: Text
    """What is counted, for example adults or households."""
    measure: Literal["counts", "shares", "row_shares"] = "counts"
    """Counts; shares of the whole (with ``where``: of those it is confined to); or shares within each row. The sizes of
    rows, and of those that shares are confined to, are taken from the people so far."""
    where: dict[Name, Text] = {}
    """Attribute -> the level that the table is confined to."""
    rescale: bool = False
    """Scale the table to the total of the margins before it, or shares to 1; the fit report says by how much."""
    n: int | tuple[Annotated[int, Field(gt=0)], ...] | None = None
    """Sample size behind the table, or behind each row, as far as it is known; it gives the sampling error."""
    yields_to: str | None = None
    """A margin of the same step that this one is adjusted to, as little as possible, on the attributes they share."""

    @field_validator("n")
    @classmethod
    def _n_per_row(cls, n: int | tuple[int, ...] | None, info: ValidationInfo) -> int | tuple[int, ...] | None:
        rows = len(info.data.get("table", ())) - 1
        if isinstance(n, tuple) and rows < 0:
            raise ValueError("give one number for a table in a file")
        if isinstance(n, tuple) and len(n) != rows:
            raise ValueError(f"give one number, or one for each of the {rows} rows, not {len(n)}")
        if isinstance(n, int) and n < 1:
            raise ValueError(f"a sample size of at least 1 is needed, not {n}")
        return n

    @model_validator(mode="after")
    def _rows(self) -> "Margin":
        if self.measure == "row_shares" and len(self.of) == 1:
            raise ValueError("row_shares needs at least two attributes; a table of one attribute has shares")
        if self.rescale and self.where and self.measure == "counts":
            raise ValueError("rescale: a margin with where takes its size from the people if it has measure: shares")
        return self


class Conversion(Table):
    """How the tables of a step, which count another unit, are turned into people.

    The numbers say how many people belong to one unit. Only their ratios within a cell of ``match`` matter: the level
    is set so that the units published for that cell hold exactly the people who are there.
    """

    unit: Text
    match: tuple[Name, ...] = Field(min_length=1)


class Step(Frozen):
    """Attributes that are drawn together, given some that were drawn before."""

    adds: tuple[Name, ...] = Field(min_length=1)
    given: tuple[Name, ...] = ()
    start: tuple[Table, ...] = ()
    """Relative chances before the fit; their product is used. Without margins this is the conditional distribution."""
    seed: Seed | None = None
    """Microdata to start from: the joint distribution of adds, or p(adds | given)."""
    margins: tuple[Margin, ...] = ()
    convert: Conversion | None = None


class FromTable(Frozen):
    """A user's own respondents."""

    file: Text
    """CSV or Parquet, beside the population file."""
    weight: Name | None = None
    """The column with weights; equal weights without."""
    sha256: str = ""
    """Of the file's bytes; filled in when it is read, so that another table is another population."""
    _path: Path | None = PrivateAttr(default=None)


class PopulationSpec(Frozen):
    """A population: either margins and the steps in which attributes are drawn, or a table of respondents."""

    name: Name
    title: Text
    unit: Text = "people"
    """What one row of the people stands for."""
    note: str = ""
    attributes: dict[Name, tuple[Text, ...]] = {}
    """Attribute -> its levels, in their natural order if they have one."""
    not_applicable: dict[Name, Text] = {}
    """Attribute -> the level that means it does not apply; it is missing in the people."""
    impossible: tuple[dict[Name, Text | tuple[Text, ...]], ...] = ()
    """Structural zeros: combinations of levels that nobody has."""
    steps: tuple[Step, ...] = ()
    from_table: FromTable | None = None
    draw: Literal["systematic", "multinomial"] = "systematic"
    """How attributes are drawn: each margin as exact as whole people allow, or every person independently, for studies
    of variance."""
    numbers: dict[Name, Number] = {}
    levels: dict[Name, Level] = {}
    confidence: Confidence | None = None
    priors: Priors | None = None
    persona: dict[Text, Text] = {}
    """Language -> the description of a person, with ``{{column}}`` slots."""
    words: dict[Text, dict[Name, dict[Text, str]]] = {}
    """Language -> column -> level -> how it is said; may hold slots of other columns."""

    @model_validator(mode="after")
    def _consistent(self) -> "PopulationSpec":
        if bool(self.steps) == (self.from_table is not None):
            raise ValueError("give either steps (with attributes and margins) or from_table")
        for language in self.words:
            if language not in self.persona:
                raise ValueError(f"words.{language}: {unknown('language', language, list(self.persona))}")
        if self.from_table is None:
            check_parts(self, self.attributes)
        return self

    @property
    def derived(self) -> list[str]:
        """The columns that are worked out from attributes or from a table's own columns."""
        names = [*self.numbers, *self.levels]
        if self.confidence:
            names.append("confidence")
        if self.priors:
            names += [*self.priors.columns, *(["in_power"] if self.priors.in_power else [])]
        return [*names, "weight"]


def check_parts(spec: PopulationSpec, attributes: Mapping[str, tuple[str, ...]]) -> None:
    """Check every name in a spec against the attributes (or the columns of its table) and their levels.

    Args:
        spec: The spec.
        attributes: Attribute -> its levels; a column of numbers has none.

    Raises:
        ValueError: A name is unknown; the message begins with the path in the file.
    """
    columns = [*attributes, *spec.derived]
    for attribute, level in spec.not_applicable.items():
        _check_level(f"not_applicable.{attribute}", attribute, [level], attributes)
    for number, rule in enumerate(spec.impossible):
        for attribute, levels in rule.items():
            chosen = (levels,) if isinstance(levels, str) else levels
            _check_level(f"impossible.{number}.{attribute}", attribute, chosen, attributes)
    _check_steps(spec)
    for column, number_spec in spec.numbers.items():
        _check_level(f"numbers.{column}.of", number_spec.of, number_spec.bounds, attributes)
        bands = set(attributes[number_spec.of]) - {spec.not_applicable.get(number_spec.of)}
        if bands - set(number_spec.bounds):
            raise ValueError(
                f"numbers.{column}.bounds: {sorted(map(str, bands - set(number_spec.bounds)))[0]} is missing"
            )
        for attribute, floors in number_spec.at_least.items():
            _check_level(f"numbers.{column}.at_least.{attribute}", attribute, floors, attributes)
    for column, level_spec in spec.levels.items():
        if level_spec.members:
            named = [level for levels in level_spec.members.values() for level in levels]
            _check_level(f"levels.{column}.members", level_spec.of, named, attributes)
            for level in attributes[level_spec.of]:
                if named.count(level) != 1 and level != spec.not_applicable.get(level_spec.of):
                    raise ValueError(
                        f"levels.{column}.members: {level!r} must stand there once, not {named.count(level)} times"
                    )
        elif level_spec.of not in columns:
            raise ValueError(f"levels.{column}.of: {unknown('column', level_spec.of, columns)}")
    if spec.confidence:
        for attribute, gradient in spec.confidence.gradients.items():
            _check_level(f"confidence.gradients.{attribute}", attribute, gradient.values, attributes)
    if spec.priors and spec.priors.by:
        _check_level("priors.sides", spec.priors.by, spec.priors.sides.values(), attributes)
    _check_words(spec, attributes, columns)


def _check_level(where: str, attribute: str, levels: Iterable[str], attributes: Mapping[str, tuple[str, ...]]) -> None:
    if attribute not in attributes:
        raise ValueError(f"{where}: {unknown('attribute', attribute, list(attributes))}")
    for level in levels:
        if level not in attributes[attribute]:
            raise ValueError(f"{where}: {unknown(f'level of {attribute}', level, attributes[attribute])}")


def _check_steps(spec: PopulationSpec) -> None:
    """Check that the steps add every attribute once, use only what is there, and that every table can be read."""
    drawn: list[str] = []
    titles = [margin.name for step in spec.steps for margin in step.margins]
    if twice := {title for title in titles if titles.count(title) > 1}:
        raise ValueError(f"steps: two margins are named {sorted(twice)[0]!r}")
    for number, step in enumerate(spec.steps):
        path = f"steps.{number}"
        for key, names, allowed in (("adds", step.adds, list(spec.attributes)), ("given", step.given, drawn)):
            for name in names:
                if name not in allowed:
                    raise ValueError(f"{path}.{key}: {unknown('attribute', name, allowed)}")
        if set(step.adds) & set(drawn):
            raise ValueError(f"{path}.adds: {sorted(set(step.adds) & set(drawn))[0]} was drawn by an earlier step")
        here = {name: spec.attributes[name] for name in (*step.given, *step.adds)}
        tables: list[tuple[str, Any]] = [(f"start.{i}", table) for i, table in enumerate(step.start)]
        tables += [(f"margins.{i}", margin) for i, margin in enumerate(step.margins)]
        tables += [("convert", step.convert)] if step.convert else []
        for key, table in tables:
            try:
                if not table.unread:
                    table.grid(here)
            except ValueError as problem:
                raise ValueError(f"{path}.{key}.{problem}") from None
        for i, margin in enumerate(step.margins):
            for attribute, level in margin.where.items():
                _check_level(f"{path}.margins.{i}.where", attribute, [level], here)
        drawn += step.adds
    for number, rule in enumerate(spec.impossible):
        if not any(set(rule) <= {*step.given, *step.adds} for step in spec.steps):
            raise ValueError(
                f"impossible.{number}: no step has all of {', '.join(rule)} among adds and given; add them"
            )
    never = [name for name in spec.attributes if name not in drawn and spec.steps]
    if never:
        raise ValueError(f"attributes.{never[0]}: no step adds it")


def _check_words(spec: PopulationSpec, attributes: Mapping[str, tuple[str, ...]], columns: list[str]) -> None:
    for language, text in spec.persona.items():
        problem = unknown_slot(text, columns)
        if problem:
            raise ValueError(f"persona.{language}: {problem}")
    known = levels_of(spec, attributes)
    for language, by_column in spec.words.items():
        for column, words in by_column.items():
            if column not in columns:
                raise ValueError(f"words.{language}.{column}: {unknown('column', column, columns)}")
            for level, text in words.items():
                if column in known and level not in known[column]:
                    raise ValueError(f"words.{language}.{column}: {unknown('level', level, known[column])}")
                problem = unknown_slot(text, columns)
                for slot in sorted(slots_of(text)):
                    if any(slots_of(said) for said in by_column.get(slot, {}).values()):
                        problem = (
                            problem or f"slot {{{{{slot}}}}} has words with slots of their own; use a plain column"
                        )
                if problem:
                    raise ValueError(f"words.{language}.{column}.{level}: {problem}")


def levels_of(spec: PopulationSpec, attributes: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """List the levels of every column that has levels.

    Example:
        >>> from popsim.population import load_population
        >>> spec = load_population("us_adults_2018")
        >>> levels_of(spec, spec.attributes)["income_level"]
        ('low', 'middle', 'high')
    """
    known = {column: levels for column, levels in attributes.items() if levels}
    known |= {column: level.words for column, level in spec.levels.items()}
    if spec.confidence:
        known["confidence"] = CONFIDENCE_LEVELS
    if spec.priors:
        known |= spec.priors.columns
        known |= {"in_power": tuple(spec.priors.sides)} if spec.priors.sides else {}
    return known
