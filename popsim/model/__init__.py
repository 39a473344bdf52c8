"""The Mesa model of a scenario, its respondents and its rounds of prompts."""

from popsim.model.draw import assign_arms, draw_graph, draw_people
from popsim.model.model import PopulationModel, Readings, Respondent, State
from popsim.model.round import Round

__all__ = [
    "PopulationModel",
    "Readings",
    "Respondent",
    "Round",
    "State",
    "assign_arms",
    "draw_graph",
    "draw_people",
]
