"""One point of a sweep in one replicate: its model, the replies it is owed, and its folder."""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from popsim.engines import Engine
from popsim.model import PopulationModel, Readings, Respondent, Round, draw_graph, draw_people
from popsim.network import summarise
from popsim.prompts import load_layout
from popsim.scenario import Scenario, to_plain
from popsim.study.ask import Asked
from popsim.study.folder import earlier_starts, versions, write_graph, write_manifest, write_methods, write_table
from popsim.study.growing import Growing
from popsim.study.tables import (
    answers_table,
    assignment_table,
    distributions_table,
    failures,
    heard_table,
    readouts_table,
    replies_table,
    states_table,
    tally,
)
from popsim.survey import Reading

TOKENS = ("prompt_tokens", "completion_tokens")


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
        settled: How many of its prompts are settled.
        readings: What was read of them, as far as the model goes on with it.
        tables: The files that grow round by round, by name.
        counts: Prompts and tokens so far.
        statuses: Answers so far, by status and arm.
    """

    folder: Path
    replicate: int
    manifest: dict[str, Any]
    model: PopulationModel
    waves: Generator[Round, Readings, None]
    round: Round
    settled: int = 0
    readings: list[Reading] = field(default_factory=list)
    tables: dict[str, Growing] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)

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

    def take(self, settled: Sequence[Asked]) -> None:
        """Put settled prompts into the tables, which show them when the last ones of the round have come.

        Args:
            settled: The next ones in the order of the round.
        """
        answers, replies = answers_table(self.round, settled, self.replicate), replies_table(self.round, settled)
        new = {
            "answers": answers,
            "distributions": distributions_table(self.round, settled, self.replicate),
            "replies": replies,
        }
        if self.model.scenario.readout.kind != "generate":
            new["readouts"] = readouts_table(self.round, settled, self.replicate)
        for name, rows in new.items():
            self._table(name).add(rows)
        self.statuses += tally(answers)
        self.counts += Counter(prompts=len(replies), **{name: int(replies[name].sum()) for name in TOKENS})
        self.settled += len(settled)
        if self.model.scenario.hangs_on_replies:
            self.readings += [one.reading._replace(recall="", reasoning="", distributions=()) for one in settled]
        if self.settled == len(self.round):
            for name in new:
                self._table(name).keep()

    def next_round(self) -> bool:
        """Write what has happened up to this round and move the model to the next; says whether there is one."""
        if self.round.number == 0:
            states = self._table("states")
            states.add(states_table(self.model, self.round.wave))
            states.keep()
        write_table(self.folder, "heard", heard_table(self.model))
        readings, self.readings, self.settled = self.readings, [], 0
        try:
            self.round = self.waves.send(readings)
        except StopIteration:
            return False
        return True

    def drop(self) -> None:
        """Take away what was written of a round that is not complete."""
        for table in self.tables.values():
            table.drop()

    def _table(self, name: str) -> Growing:
        return self.tables.setdefault(name, Growing(self.folder, name))

    def finish(self, engine_counts: dict[str, int | None], closing: dict[str, Any]) -> None:
        """Mark the folder complete."""
        tokens = {name: self.counts[name] for name in TOKENS}
        counted = {"prompts": self.counts["prompts"], **engine_counts, **tokens}
        self.manifest |= {"counts": counted, "failures": failures(self.statuses), **closing, "state": "complete"}
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
