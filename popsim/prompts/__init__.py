"""Prompts: a person, what they have heard and the questions, put into words by a layout."""

from popsim.prompts.layout import Layout, load_layout, load_template, slot_names
from popsim.prompts.render import Prepared, next_page, prepare, quoted

__all__ = ["Layout", "Prepared", "load_layout", "load_template", "next_page", "prepare", "quoted", "slot_names"]
