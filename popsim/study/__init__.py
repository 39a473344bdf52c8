"""Studies: from a scenario to a folder of tables."""

from popsim.study.ask import Progress
from popsim.study.comparing import compare
from popsim.study.estimate import Estimate, estimate
from popsim.study.folder import Run, load_run
from popsim.study.probe import Probe, probe
from popsim.study.study import run, sweep

__all__ = ["Estimate", "Probe", "Progress", "Run", "compare", "estimate", "load_run", "probe", "run", "sweep"]
