"""What a page is made of, as plain data; `popsim.study.pages` gathers it from a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from popsim.scenario import Scenario


@dataclass(frozen=True)
class Shown:
    """One prompt as it was sent, or as it would have been.

    Attributes:
        text: The whole prompt.
        person: Whose it is.
        arm: In which arm.
        wave: At which wave.
        remark: What a reader has to know about it.
        reply: What came back, as it came; empty where nothing has yet.
    """

    text: str
    person: int
    arm: str
    wave: int
    remark: str
    reply: str = ""


@dataclass(frozen=True)
class Material:
    """A run or a sweep, ready to be shown; a table that is not there yet is an empty frame.

    Attributes:
        manifest: As it stands in the folder.
        scenario: The study; of a sweep, its first point.
        tables: The tables of the folder by name.
        changes: Shock minus baseline by person: ``vignette, outcome, arm, wave, value, weight``.
        comparison: Simulated beside human figures; any columns.
        margins: How well the people meet their population's margins.
        prompt: The prompt of one person.
        paths: What was swept; empty for a single run.
        missing: What is not there, one sentence each.
    """

    manifest: Mapping[str, Any]
    scenario: Scenario
    tables: Mapping[str, pd.DataFrame]
    changes: pd.DataFrame = field(default_factory=pd.DataFrame)
    comparison: pd.DataFrame = field(default_factory=pd.DataFrame)
    margins: pd.DataFrame = field(default_factory=pd.DataFrame)
    prompt: Shown | None = None
    paths: Sequence[str] = ()
    missing: Sequence[str] = ()

    def table(self, name: str) -> pd.DataFrame:
        """Give a table, empty where the folder has none."""
        return self.tables.get(name, pd.DataFrame())
