"""Doctests are collected from all of popsim but the parts whose extra is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("ray") else ["popsim/engines/workers"]
