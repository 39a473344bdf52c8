"""A user's file of human answers: which shape it has, where it lies, and its records."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from popsim.files import Frozen
from popsim.tune import formats
from popsim.tune.formats.table import ColumnMap
from popsim.tune.records import Answer, Shares

Format = Literal["alpaca", "socsci", "cultures", "subpop", "csv", "run"]


class DataFile(Frozen):
    """A user's file, beside the file that names it or anywhere."""

    file: str = Field(min_length=1)
    format: Format
    missing: tuple[float, ...] = ()
    """socsci: codes that stand for no answer."""
    columns: ColumnMap | None = None
    """csv: which column is what."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.format == "csv") != (self.columns is not None):
            raise ValueError("columns go with format csv, and with no other")
        if self.missing and self.format != "socsci":
            raise ValueError(f"missing goes with format socsci, not {self.format}")
        return self

    def beside(self, folder: Path) -> Self:
        """Give the same with the path of the file in a folder, where it lies there."""
        path = folder / self.file
        return self.model_copy(update={"file": str(path)}) if path.exists() else self


def read_records(data: DataFile) -> list[Answer] | list[Shares]:
    """Read a file of human answers.

    Raises:
        TuneError: It cannot be read.
    """
    path = Path(data.file)
    if data.format == "csv" and data.columns is not None:
        return formats.read_csv(path, data.columns)
    if data.format == "socsci":
        return formats.read_socsci(path, data.missing)
    if data.format == "cultures":
        return formats.read_cultures(path)
    if data.format == "subpop":
        return formats.read_subpop(path)
    return formats.read_run(path) if data.format == "run" else formats.read_alpaca(path)
