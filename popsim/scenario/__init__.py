"""The scenario file: everything that decides a study, as one frozen object."""

from popsim.scenario.information import EVERYBODY, BeliefSettings, News, PostSettings, Share, Signal
from popsim.scenario.scenario import (
    Arm,
    EngineSettings,
    Modules,
    Point,
    PriorsSettings,
    PromptSettings,
    SamplingSettings,
    Scenario,
    load_scenario,
    scenario_hash,
    single,
    sweep_points,
    to_plain,
)

__all__ = [
    "EVERYBODY",
    "Arm",
    "BeliefSettings",
    "EngineSettings",
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
    "load_scenario",
    "scenario_hash",
    "single",
    "sweep_points",
    "to_plain",
]
