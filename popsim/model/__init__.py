"""The Mesa model of a scenario, its respondents and its rounds of prompts."""

from popsim.model.draw import assign_arms, assign_in_blocks, draw_graph, draw_people, seat_people
from popsim.model.information import Posts, State, seen_posts, treated
from popsim.model.model import PopulationModel, Readings, Respondent
from popsim.model.round import Round

__all__ = [
    "PopulationModel",
    "Posts",
    "Readings",
    "Respondent",
    "Round",
    "State",
    "assign_arms",
    "assign_in_blocks",
    "draw_graph",
    "draw_people",
    "seat_people",
    "seen_posts",
    "treated",
]
