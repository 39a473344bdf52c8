"""One point of a sweep in one replicate: its model, the replies it is owed, and its folder."""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from popsim.engines import Engine
from popsim.model import PopulationModel, Readings, Respondent, Round, draw_graph, draw_people
from popsim.network import summarise
from popsim.prompts import load_layout
from popsim.scenario import Scenario, to_plain
from popsim.study.ask import Asked
from popsim.study.folder import earlier_starts, versions, write_graph, write_manifest, write_methods, write_table
from popsim.study.tables import (
    answers_table,
    assignment_table,
    distributions_table,
    failures,
    heard_table,
    readouts_table,
    replies_table,
    states_table,
)


@dataclass
class Shared:
    """People and graphs that several points of a sweep have in common: drawn once, and stored once by hard links."""

    drawn: dict[str, Any] = field(default_factory=dict)
    written: dict[str, Path] = field(default_factory=dict)

    def draw(self, key: str, draw: Callable[[], Any]) -> Any:
        """Draw a thing, or give the one that was drawn under this key."""
        if key not in self.drawn:
            self.drawn[key] = draw()
        return self.drawn[key]

    def write(self, key: str, path: Path, write: Callable[[], None]) -> None:
        """Write a thing's file, or link to the file that was written under this key."""
        if key in self.written:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.hardlink_to(self.written[key])
                return
        write()
        self.written[key] = path


@dataclass(eq=False)
class Cell:
    """A model being fielded.

    Attributes:
        round: What is being asked now.
        asked: The settled prompts of this round, by position.
        tables: What earlier rounds gave, by name.
    """

    folder: Path
    replicate: int
    manifest: dict[str, Any]
    model: PopulationModel
    waves: Generator[Round, Readings, None]
    round: Round
    asked: list[Asked | None] = field(default_factory=list)
    tables: dict[str, list[pd.DataFrame]] = field(default_factory=dict)

    def write_start(self, shared: Shared) -> None:
        """Write what is known before the first answer, the manifest first."""
        folder, model = self.folder, self.model
        self.manifest["starts"] = [*earlier_starts(folder), self.manifest["started"]]
        write_manifest(folder, self.manifest)
        people = model.people.rename_axis("person").reset_index()
        who, graph = _keys(model.scenario)
        shared.write(who, folder / "people.parquet", lambda: write_table(folder, "people", people))
        shared.write(graph, folder / "follows.npz", lambda: write_graph(folder, model.graph))
        write_table(folder, "assignment", assignment_table(model))

    def take(self, asked: Asked) -> None:
        """Keep a settled prompt until its round is complete."""
        self.asked = self.asked or [None] * len(self.round)
        self.asked[asked.position] = asked

    def next_round(self) -> bool:
        """Write the tables with this round and move the model to the next; says whether there is one."""
        settled = [asked for asked in self.asked if asked is not None]
        self.asked = []
        new = {
            "answers": answers_table(self.round, settled, self.replicate),
            "distributions": distributions_table(self.round, settled, self.replicate),
            "replies": replies_table(self.round, settled),
        }
        if self.round.number == 0:
            new["states"] = states_table(self.model, self.round.wave)
        if self.model.scenario.readout.kind != "generate":
            new["readouts"] = readouts_table(self.round, settled, self.replicate)
        for name, table in new.items():
            self.tables.setdefault(name, []).append(table)
            write_table(self.folder, name, pd.concat(self.tables[name], ignore_index=True))
        write_table(self.folder, "heard", heard_table(self.model))
        try:
            self.round = self.waves.send([asked.reading for asked in settled])
        except StopIteration:
            return False
        return True

    def finish(self, engine_counts: dict[str, int | None], closing: dict[str, Any]) -> None:
        """Mark the folder complete."""
        answers = pd.concat(self.tables["answers"], ignore_index=True)
        replies = pd.concat(self.tables["replies"], ignore_index=True)
        tokens = {name: int(replies[name].sum()) for name in ("prompt_tokens", "completion_tokens")}
        counted = {"prompts": len(replies), **engine_counts, **tokens}
        self.manifest |= {"counts": counted, "failures": failures(answers), **closing, "state": "complete"}
        write_manifest(self.folder, self.manifest)
        write_methods(self.folder, self.manifest)


def start(
    scenario: Scenario,
    folder: Path,
    engine: Engine,
    respondent: type[Respondent],
    shared: Shared,
    replicate: int = 0,
) -> Cell:
    """Draw people and graph, make the model and its first round; nothing is written yet."""
    model = build(scenario, engine.reads, respondent, shared)
    waves = model.waves()
    _, graph = _keys(scenario)
    manifest = {
        "state": "running",
        "identity": identity(scenario, engine, respondent),
        "started": now(),
        "engine": about(engine),
        "sampling": {"source": scenario.sampling.source, "structured": scenario.sampling.structured},
        "replicate": replicate,
        "network": shared.draw(f"figures of {graph}", lambda: _network_figures(model)),
        "template": load_layout(scenario.prompt.layout, scenario.questionnaire.language).text,
    }
    return Cell(folder, replicate, manifest, model, waves, next(waves))


def build(
    scenario: Scenario, reads: Literal["text", "facts"], respondent: type[Respondent], shared: Shared
) -> PopulationModel:
    """Make the model of a scenario, with people and graph that others may have drawn before."""
    who, graph = _keys(scenario)
    people = shared.draw(who, lambda: draw_people(scenario))
    follows = shared.draw(graph, lambda: draw_graph(scenario, people))
    return PopulationModel(scenario, respondent=respondent, reads=reads, people=people, graph=follows)


def _network_figures(model: PopulationModel) -> dict[str, float]:
    """Describe the graph that was drawn; empty where nobody follows anybody."""
    network = model.scenario.network
    if network.kind == "none":
        return {}
    mixed = network.homophily if network.kind == "follow" else ()
    attributes = [network.attribute] if network.kind == "block" else list(mixed)
    return summarise(model.graph, model.people, attributes)


def identity(scenario: Scenario, engine: Engine, respondent: type[Respondent]) -> dict[str, Any]:
    """Give everything that decides the answers, as plain data."""
    return {
        "popsim": versions()["popsim"],
        "engine": engine.fingerprint,
        "respondent": f"{respondent.__module__}:{respondent.__qualname__}",
        "scenario": to_plain(scenario),
    }


def about(engine: Engine) -> dict[str, Any]:
    """Give what a manifest says of an engine."""
    said = {name: getattr(engine, name) for name in ("fingerprint", "reads", "reproducible", "notice")}
    return {**said, "abilities": sorted(engine.abilities)}


def now() -> str:
    """Give the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _keys(scenario: Scenario) -> tuple[str, str]:
    """Name the people and the graph of a scenario by what they are drawn from."""
    who = scenario.model_dump_json(include={"population", "people", "priors", "size", "seed"})
    return f"people {who}", f"follows {scenario.network.model_dump_json()} {who}"
