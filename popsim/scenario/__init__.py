"""The scenario file: everything that decides a study, as one frozen object."""

from popsim.scenario.analysis import Analysis, Asked, Contrast, Exclusions, Model, Statistic, find_outcomes
from popsim.scenario.information import EVERYBODY, BeliefSettings, News, PostSettings, Share, Signal
from popsim.scenario.scenario import (
    Point,
    Scenario,
    load_scenario,
    scenario_hash,
    single,
    sweep_points,
    to_plain,
)
from popsim.scenario.settings import (
    Arm,
    AssignmentSettings,
    EngineSettings,
    Modules,
    PriorsSettings,
    PromptSettings,
    SamplingSettings,
)

__all__ = [
    "EVERYBODY",
    "Analysis",
    "Arm",
    "Asked",
    "AssignmentSettings",
    "BeliefSettings",
    "Contrast",
    "EngineSettings",
    "Exclusions",
    "Model",
    "Modules",
    "News",
    "Point",
    "PostSettings",
    "PriorsSettings",
    "PromptSettings",
    "SamplingSettings",
    "Scenario",
    "Share",
    "Signal",
    "Statistic",
    "find_outcomes",
    "load_scenario",
    "scenario_hash",
    "single",
    "sweep_points",
    "to_plain",
]
