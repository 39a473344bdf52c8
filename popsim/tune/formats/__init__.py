"""Readers and writers of the files that others keep human answers in; none of these files comes with popsim."""

from popsim.tune.formats.alpaca import read_alpaca, write_alpaca
from popsim.tune.formats.cultures import read_cultures, write_cultures
from popsim.tune.formats.runs import read_run
from popsim.tune.formats.socsci import read_socsci, write_socsci
from popsim.tune.formats.subpop import read_subpop, write_subpop
from popsim.tune.formats.table import ColumnMap, read_csv, write_csv

__all__ = [
    "ColumnMap",
    "read_alpaca",
    "read_csv",
    "read_cultures",
    "read_run",
    "read_socsci",
    "read_subpop",
    "write_alpaca",
    "write_csv",
    "write_cultures",
    "write_socsci",
    "write_subpop",
]
