"""popsim: how would this population answer this survey?

Each public name is loaded from its module when it is first used, so that ``import popsim`` stays light.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "PopsimError": "popsim.errors",
    "PopulationModel": "popsim.model",
    "Prompt": "popsim.engines",
    "Reply": "popsim.engines",
    "Respondent": "popsim.model",
    "Run": "popsim.study",
    "Scenario": "popsim.scenario",
    "build_network": "popsim.network",
    "compare": "popsim.study",
    "load_engine": "popsim.engines",
    "load_population": "popsim.population",
    "load_questionnaire": "popsim.survey",
    "load_run": "popsim.study",
    "load_scenario": "popsim.scenario",
    "load_targets": "popsim.evaluate",
    "margin_report": "popsim.population",
    "rake": "popsim.population",
    "read_reply": "popsim.survey",
    "run": "popsim.study",
    "sample_people": "popsim.population",
    "sweep": "popsim.study",
    "sweep_points": "popsim.scenario",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module 'popsim' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
