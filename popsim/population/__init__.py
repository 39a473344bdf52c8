"""Populations: published margins in, a table of people out, with an account of the fit."""

from popsim.population.load import load_population
from popsim.population.people import sample_people
from popsim.population.persona import Words
from popsim.population.rake import Control, Raked, effective_size, margin, rake
from popsim.population.report import fit_report, margin_report
from popsim.population.respondents import people_levels
from popsim.population.spec import PopulationSpec
from popsim.population.traits import CONFIDENCE_LEVELS

__all__ = [
    "CONFIDENCE_LEVELS",
    "Control",
    "PopulationSpec",
    "Raked",
    "Words",
    "effective_size",
    "fit_report",
    "load_population",
    "margin",
    "margin_report",
    "people_levels",
    "rake",
    "sample_people",
]
