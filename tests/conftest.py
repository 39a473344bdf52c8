"""Every test works in its own folder, and torch keeps to one thread: two processes share two cores."""

import os
import sys

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command line in this process; gives exit status, standard output and standard error."""
    from popsim import cli

    def popsim(*arguments):
        monkeypatch.setattr(sys, "argv", ["popsim", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as done:
            status = int(done.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return popsim
