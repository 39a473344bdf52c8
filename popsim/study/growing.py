"""Tables that are too large to hold: a Parquet file that grows block by block and is shown whole."""

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from popsim.study.folder import writing


class Growing:
    """One Parquet file of a folder, to which rows are added block by block.

    What is added stands in a hidden file beside it until it is kept, which puts it under what was kept before. So a
    kill leaves the file as it was last kept, and whoever writes the folder next writes over the hidden one.

    Args:
        folder: The folder, held by this process alone.
        name: The table.

    Raises:
        RunError: It cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Growing(Path(folder), "answers")
        ...     for value in (1, 2):
        ...         table.add(pd.DataFrame({"value": [value]}))
        ...     table.keep()
        ...     pd.read_parquet(Path(folder) / "answers.parquet")["value"].tolist()
        [1, 2]
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path, self._hidden = folder / f"{name}.parquet", folder / f".{name}.parquet"
        self._file: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None
        self._kept = False

    def add(self, rows: pd.DataFrame) -> None:
        """Put rows under those that are there, of the same columns."""
        block = pa.Table.from_pandas(rows, preserve_index=False)
        with writing(self._path):
            if self._writer is None:
                self._file = self._hidden.open("wb")
                self._writer = pq.ParquetWriter(self._file, block.schema, compression="zstd")
                if self._kept:
                    self._copy(self._writer)
            self._writer.write_table(block)

    def _copy(self, writer: pq.ParquetWriter) -> None:
        with pq.ParquetFile(self._path) as kept:
            for group in range(kept.num_row_groups):
                writer.write_table(kept.read_row_group(group).cast(writer.schema))

    def keep(self) -> None:
        """Show what was added."""
        if self._writer is None or self._file is None:
            return
        with writing(self._path):
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._hidden.replace(self._path)
        self._file = self._writer = None
        self._kept = True

    def drop(self) -> None:
        """Take away what was added and not kept."""
        if self._file is None:
            return
        with suppress(OSError, pa.ArrowException):
            if self._writer:
                self._writer.close()
        with suppress(OSError):
            self._file.close()
        self._hidden.unlink(missing_ok=True)
        self._file = self._writer = None
