"""Studies: from a scenario to a folder of tables."""

from popsim.study.ask import Progress
from popsim.study.folder import Run, load_run
from popsim.study.study import compare, run, sweep

__all__ = ["Progress", "Run", "compare", "load_run", "run", "sweep"]
