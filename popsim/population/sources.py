"""Files of a user's own, CSV or Parquet: published tables and microdata, their columns turned into levels."""

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from popsim.errors import PopulationError
from popsim.files import Frozen
from popsim.population.tables import Cell, unknown
from popsim.population.traits import Name, Text, check_limits
from popsim.weighted import band_starts

Floats = NDArray[np.float64]
SUFFIXES = (".csv", ".csv.gz", ".parquet")


def _as_text(value: Any) -> Any:
    """Take a code that YAML reads as a number for the text that a file holds."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Code = Annotated[str, BeforeValidator(_as_text)]


class Column(Frozen):
    """How a column of a file tells the level of an attribute."""

    column: Text | None = None
    """Its name in the file; the attribute's own unless given."""
    recode: dict[Code, Text | None] = {}
    """What stands in the file -> the level; null leaves those rows out. Other values are levels themselves."""
    lowest: dict[Text, float] = {}
    """For numbers: level -> the lowest number that it is used for, rising. Rows below all of them are left out."""
    quantiles: dict[Text, Annotated[float, Field(ge=0, lt=1)]] = {}
    """For numbers: level -> the (weighted) share of rows that lie below it, rising from 0."""

    @model_validator(mode="after")
    def _one_way(self) -> "Column":
        if self.lowest and self.quantiles:
            raise ValueError("give either lowest or quantiles")
        check_limits(self.lowest, self.quantiles)
        return self


class DataFile(Frozen):
    """A file beside the population file."""

    file: Text
    """CSV (also .csv.gz, lines that begin with # on top are skipped) or Parquet, beside the population file."""
    columns: dict[Name, Column] = {}
    """Attribute -> how its column is read; without an entry it has the attribute's name and holds its levels."""
    sha256: str = ""
    """Of the file's bytes; filled in when it is read, so that another file is another population."""
    _path: Path | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._path or Path(self.file)


class TableFile(DataFile):
    """A published table in a file."""

    numbers: Text | None = None
    """Long form: the column with the numbers, a row per cell. Wide form, without it: a column per level of the last
    attribute, named as the level."""
    sum_over: tuple[Text, ...] = ()
    """Long form: columns of the file that the table is summed over."""


FileT = TypeVar("FileT", bound=DataFile)


def located(source: FileT, folder: Path) -> FileT:
    """Tie a file to the folder of the population file and note its hash.

    Raises:
        PopulationError: There is no such file, or it is not the one that was meant.
    """
    where = folder / source.file
    if not where.is_file():
        raise PopulationError(f"file: {where}: no such file")
    digest = hashlib.sha256(where.read_bytes()).hexdigest()
    if source.sha256 not in ("", digest):
        raise PopulationError(f"sha256: {where} has changed: its hash is {digest}")
    bound = source.model_copy(update={"sha256": digest})
    bound._path = where
    return bound


def read_frame(path: Path, as_text: bool = True) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Args:
        path: The file.
        as_text: Keep what stands in a CSV file as it is; otherwise numbers are read and empty cells are missing.

    Raises:
        PopulationError: The file has another form, cannot be read, or has no rows.
    """
    if not path.name.endswith(SUFFIXES):
        raise PopulationError(f"{path}: ends in {path.suffix or 'nothing'!r}; allowed: {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8") as lines:
                notes = sum(1 for _ in takewhile(lambda line: line.startswith("#"), lines))
            kind: Any = str if as_text else None
            frame = pd.read_csv(
                path,
                skiprows=notes,
                skipinitialspace=as_text,
                dtype=kind,
                keep_default_na=False,
                na_values=[] if as_text else [""],
            )
    except (OSError, ValueError, EOFError) as problem:
        raise PopulationError(f"{path}: cannot be read: {str(problem).splitlines()[0]}") from None
    if frame.empty:
        raise PopulationError(f"{path}: has no rows; at least one is needed")
    return frame


def numbers_of(frame: pd.DataFrame, column: str) -> Floats:
    """Give a column of a file as numbers of at least 0, for weights and counts.

    Raises:
        PopulationError: There is no such column, or a row holds something else; the first such row is named.
    """
    values = pd.to_numeric(_column(frame, column), errors="coerce").to_numpy(float)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        held = frame[column].iloc[wrong[0]]
        raise PopulationError(
            f"column {column!r}, row {wrong[0] + 1}: a number of at least 0 is needed, not {str(held)!r} "
            f"({len(wrong)} such rows)"
        )
    return values


def _column(frame: pd.DataFrame, column: str) -> pd.Series:
    if column not in frame:
        raise PopulationError(unknown("column", column, [str(name) for name in frame.columns]))
    return frame[column]


def _texts(column: pd.Series) -> pd.Series:
    """Write values as a CSV file would: whole numbers without a point, missing ones as an empty text."""
    if pd.api.types.is_float_dtype(column.dtype) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype("str").where(column.notna(), "")


def labels(frame: pd.DataFrame, attribute: str, column: Column, weights: Floats | None = None) -> pd.Series:
    """Give the level of an attribute for each row of a file, missing where the row is left out.

    Args:
        frame: The file.
        attribute: The attribute.
        column: How its column is read.
        weights: One per row, for quantiles.

    Raises:
        PopulationError: There is no such column, or a value that should be a number is none.

    Example:
        >>> rows = pd.DataFrame({"AGEP": ["12", "30", "70"]})
        >>> labels(rows, "age", Column(column="AGEP", lowest={"young": 18, "old": 65})).isna().tolist()
        [True, False, False]
    """
    texts = _texts(_column(frame, column.column or attribute))
    codes, values = pd.factorize(texts)
    said: list[str | float | None] = [column.recode.get(str(value), np.nan) for value in values]
    limits = column.lowest or column.quantiles
    open_ = np.array([isinstance(one, float) for one in said])
    if not limits:
        named = [str(value) if free else one for value, free, one in zip(values, open_, said, strict=True)]
        return pd.Series(np.array(named, dtype=object)[codes])
    numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(float)
    bad = np.flatnonzero(open_ & ~np.isfinite(numbers))
    if len(bad):
        raise PopulationError(
            f"columns.{attribute}: column {column.column or attribute!r} holds {str(values[bad[0]])!r}, which is no "
            "number; recode it (to null to leave those rows out)"
        )
    steps = np.array(list(limits.values()))
    if column.quantiles:
        each = np.bincount(codes, weights, len(values)) * open_
        steps = band_starts(numbers, each, steps)
    level = np.searchsorted(steps, np.where(open_, numbers, -np.inf), "right") - 1
    names = [None, *limits]
    banded = [names[at + 1] if free else one for at, free, one in zip(level, open_, said, strict=True)]
    return pd.Series(np.array(banded, dtype=object)[codes])


def read_table(source: TableFile, known: Mapping[str, Sequence[str]]) -> tuple[tuple[Cell, ...], ...]:
    """Read a published table from a file, as a header and rows.

    Args:
        source: The file.
        known: The attributes of the table, in order, and the levels and groups that each may have; in the wide form
            those of the last one stand in the header.

    Raises:
        PopulationError: A column is missing, a level is unknown, a cell holds no number or has no row, or rows stand
            twice.
    """
    frame, of = read_frame(source.path), list(known)
    columns = {name: source.columns.get(name, Column()) for name in of}
    long = (_from_wide if source.numbers is None else _from_long)(source, frame, columns)
    for name, levels in known.items():
        for level in long[name].dropna().unique():
            if level not in levels:
                raise PopulationError(f"{source.file}: {unknown(f'level of {name}', level, levels)}")
    sums: pd.Series = long.dropna().groupby(list(of), sort=False)[NUMBER].sum()
    if sums.empty:
        raise PopulationError(f"{source.file}: recode leaves no row")
    wide = sums.unstack(sort=False) if len(of) > 1 else sums.to_frame().T
    header = (*of[:-1], *(str(level) for level in wide.columns))
    keys = [key if isinstance(key, tuple) else (key,) for key in wide.index] if len(of) > 1 else [()]
    for key, cells in zip(keys, wide.isna().to_numpy(), strict=True):
        if cells.any():
            cell = (*key, wide.columns[int(cells.argmax())])
            raise PopulationError(f"{source.file}: there is no row for {', '.join(map(str, cell))}")
    return (header, *((*key, *cells) for key, cells in zip(keys, wide.to_numpy(float).tolist(), strict=True)))


NUMBER = ""
"""The column with the numbers, which no attribute can be called."""


def _from_wide(source: TableFile, frame: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Stack a table that has a column for each level of the last attribute."""
    *lead, last = columns
    taken = {columns[name].column or name for name in lead}
    levels = pd.DataFrame({name: labels(frame, name, columns[name]) for name in lead}, index=frame.index)
    parts = []
    for head in map(str, frame.columns):
        level = columns[last].recode.get(head, head)
        if head not in taken and level is not None:
            parts.append(levels.assign(**{last: level}).assign(**{NUMBER: numbers_of(frame, head)}))
    if not parts:
        raise PopulationError(f"{source.file}: no column is left for {last}")
    return pd.concat(parts)


def _from_long(source: TableFile, frame: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Take a table that has a row for each cell; cells that stand twice are refused, for one may be their total."""
    raw = [column.column or name for name, column in columns.items()]
    for name in (*raw, *source.sum_over):
        _column(frame, name)
    twice = np.flatnonzero(frame.duplicated([*raw, *source.sum_over]))
    if len(twice):
        cell = ", ".join(frame[raw].iloc[twice[0]].astype("str"))
        raise PopulationError(
            f"{source.file}: row {twice[0] + 1} ({cell}) stands twice; name the columns that the table is summed over "
            "under sum_over"
        )
    levels = pd.DataFrame({name: labels(frame, name, column) for name, column in columns.items()})
    return levels.assign(**{NUMBER: numbers_of(frame, source.numbers or NUMBER)})


def level_codes_of(
    frame: pd.DataFrame,
    columns: Mapping[str, Column],
    attributes: Mapping[str, Sequence[str]],
    weights: Floats,
) -> dict[str, NDArray[np.int64]]:
    """Code rows of microdata by the levels of some attributes; -1 where a row is left out.

    Raises:
        PopulationError: A row holds something that is no level.
    """
    codes = {}
    for name, levels in attributes.items():
        column = columns.get(name, Column())
        said = labels(frame, name, column, weights)
        found = pd.Index(list(levels)).get_indexer(pd.Index(said))
        odd = np.flatnonzero((found < 0) & said.notna().to_numpy())
        if len(odd):
            raise PopulationError(
                f"columns.{name}: {unknown(f'level of {name}', said.iloc[odd[0]], levels)} ({len(odd)} rows); recode "
                "it (to null to leave those rows out)"
            )
        codes[name] = found.astype(np.int64)
    return codes
