"""What a page is made of, as plain data; `popsim.study.pages` gathers it from a folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from popsim.scenario import Scenario

NUMERIC = ("number", "scale")
LEGAL = frozenset({"ok", "dont_know", "refused"})
"""Statuses of answers that the question allows; the others failed."""


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
        tables: The tables of the folder by name; answers and distributions with the ``weight`` of their person.
        changes: Shock minus baseline by person: ``vignette, outcome, arm, wave, value, probability, weight``.
        comparison: Simulated beside human figures; any columns.
        findings: What `popsim compare` found beside that, and its audit: tables by name, none where it does not apply.
        learning: Weights on messages that were shown at random, by confidence.
        planned: What a plan asked for, computed: ``contrasts`` and ``models``; any columns.
        notes: What the plan left out, and what could not be computed, one sentence each.
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
    findings: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    learning: pd.DataFrame = field(default_factory=pd.DataFrame)
    planned: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    notes: Sequence[str] = ()
    margins: pd.DataFrame = field(default_factory=pd.DataFrame)
    prompt: Shown | None = None
    paths: Sequence[str] = ()
    missing: Sequence[str] = ()

    def table(self, name: str) -> pd.DataFrame:
        """Give a table, empty where the folder has none."""
        return self.tables.get(name, pd.DataFrame())

    def found(self, name: str) -> pd.DataFrame:
        """Give a table of what was found, empty where there is none."""
        return self.findings.get(name, pd.DataFrame())

    @property
    def questions(self) -> dict[str, Any]:
        """The questions by name, as the first arm sees them."""
        scenario = self.scenario
        return {question.name: question for question in scenario.shown(next(iter(scenario.arms))).questions}

    @property
    def numeric(self) -> dict[str, Any]:
        """Those whose answers are numbers that have a mean."""
        return {name: question for name, question in self.questions.items() if question.kind in NUMERIC}

    @property
    def referenced(self) -> Iterator[tuple[str, str, Any]]:
        """The changes that come with human moments: vignette, outcome, change."""
        for vignette in self.scenario.questionnaire.vignettes:
            for outcome, change in (vignette.reference.changes if vignette.reference else {}).items():
                yield vignette.name, outcome, change

    @property
    def responses(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """What a sweep's surfaces show: numeric answers, and changes as if they had been asked; with their labels."""
        answers, labels = self.table("answers"), {name: label(q) for name, q in self.numeric.items()}
        if answers.empty:
            return answers, labels
        numeric = answers[answers["question"].isin(list(labels))].astype({"question": str})
        if self.changes.empty:
            return numeric, labels
        changes = self.changes.assign(question="change-" + self.changes["outcome"], status="ok")
        labels |= {f"change-{outcome}": f"Change of {outcome}" for outcome in dict.fromkeys(changes["outcome"])}
        return pd.concat([changes, numeric]), labels

    def in_order(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Sort a frame by question, arm and wave, as the scenario has them."""
        place = {name: k for k, name in enumerate([*self.questions, *self.scenario.arms])}
        by = [name for name in ("question", "arm", "wave") if name in frame]

        def order(column: pd.Series) -> pd.Series:
            return column if column.name == "wave" else column.astype(str).map(place)

        return frame.sort_values(by, key=order, kind="stable")


def label(question: Any) -> str:
    """Name a question for a reader, with its unit."""
    unit = getattr(question, "unit", "")
    return f"{question.label or question.name}{', ' * bool(unit)}{unit}"
