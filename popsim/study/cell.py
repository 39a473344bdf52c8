"""One point of a sweep in one replicate: its model, the replies it is owed, and its folder."""

import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
from scipy.sparse import csr_array

from popsim.model import PopulationModel, Readings, Respondent, Round, draw_graph, draw_people
from popsim.scenario import Scenario
from popsim.study.ask import Asked
from popsim.study.folder import write_graph, write_manifest, write_table
from popsim.study.tables import (
    answers_table,
    assignment_table,
    distributions_table,
    failures,
    heard_table,
    replies_table,
    states_table,
)

ThingT = TypeVar("ThingT")


@dataclass
class Shared:
    """People and graphs that several points of a sweep have in common, drawn and stored once."""

    made: dict[tuple[str, ...], tuple[Any, Path]] = field(default_factory=dict)

    def get(
        self, key: tuple[str, ...], path: Path, draw: Callable[[], ThingT], write: Callable[[ThingT], None]
    ) -> ThingT:
        """Draw and write a thing, or link the file of an equal one."""
        if key not in self.made:
            thing = draw()
            write(thing)
            self.made[key] = (thing, path)
            return thing
        known, first = self.made[key]
        path.unlink(missing_ok=True)
        try:
            os.link(first, path)
        except OSError:
            write(known)
        found: ThingT = known
        return found


@dataclass
class Cell:
    """A model being fielded.

    Attributes:
        round: What is being asked now.
        asked: The settled prompts of this round, by position.
        tables: What earlier rounds gave, by name.
    """

    replicate: int
    folder: Path
    model: PopulationModel
    waves: Generator[Round, Readings, None]
    round: Round
    manifest: dict[str, Any]
    asked: list[Asked | None]
    tables: dict[str, list[pd.DataFrame]] = field(default_factory=dict)

    def take(self, asked: Asked) -> None:
        """Keep a settled prompt until its round is complete."""
        self.asked[asked.position] = asked

    def next_round(self) -> bool:
        """Write the tables with this round and move the model to the next; says whether there is one."""
        settled = [asked for asked in self.asked if asked is not None]
        new = {
            "answers": answers_table(self.round, settled, self.replicate),
            "distributions": distributions_table(self.round, settled, self.replicate),
            "replies": replies_table(self.round, settled),
            "states": states_table(self.model, self.round.wave),
        }
        for name, table in new.items():
            self.tables.setdefault(name, []).append(table)
            write_table(self.folder, name, pd.concat(self.tables[name], ignore_index=True))
        write_table(self.folder, "heard", heard_table(self.model))
        try:
            self.round = self.waves.send([asked.reading for asked in settled])
        except StopIteration:
            return False
        self.asked = [None] * len(self.round)
        return True

    def finish(self, engine_counts: dict[str, int | None], closing: dict[str, Any]) -> None:
        """Mark the folder complete."""
        answers = pd.concat(self.tables["answers"], ignore_index=True)
        replies = pd.concat(self.tables["replies"], ignore_index=True)
        tokens = {name: int(replies[name].sum()) for name in ("prompt_tokens", "completion_tokens")}
        counted = {"prompts": len(replies), **engine_counts, **tokens}
        self.manifest |= {"counts": counted, "failures": failures(answers), **closing, "state": "complete"}
        write_manifest(self.folder, self.manifest)


def start(
    scenario: Scenario,
    folder: Path,
    reads: Literal["text", "facts"],
    respondent: type[Respondent],
    shared: Shared,
    manifest: dict[str, Any],
    replicate: int = 0,
) -> Cell:
    """Draw or share people and graph, write what is known before the first answer, and ask for the first round."""
    who = scenario.model_dump_json(include={"population", "people", "priors", "size", "seed"})
    people = shared.get(
        ("people", who),
        folder / "people.parquet",
        lambda: draw_people(scenario),
        lambda table: write_table(folder, "people", table.rename_axis("person").reset_index()),
    )
    graph: csr_array = shared.get(
        ("follows", who, scenario.network.model_dump_json()),
        folder / "follows.npz",
        lambda: draw_graph(scenario, people),
        lambda made: write_graph(folder, made),
    )
    model = PopulationModel(scenario, respondent=respondent, reads=reads, people=people, graph=graph)
    write_table(folder, "assignment", assignment_table(model))
    waves = model.waves()
    first = next(waves)
    return Cell(replicate, folder, model, waves, first, manifest, [None] * len(first))
