"""Prompts: a person, what they have heard and the questions, put into words by a layout."""

from popsim.prompts.layout import Layout, load_layout, load_template, slot_names
from popsim.prompts.render import Prepared, prepare

__all__ = ["Layout", "Prepared", "load_layout", "load_template", "prepare", "slot_names"]
