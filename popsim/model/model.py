"""The Mesa model: respondents who hear things, and waves of prompts that somebody else answers.

The clock: step 0 is the state before anything has moved; news of step 0 has been heard by those it reaches directly.
``step()`` moves information by one step and asks nobody. ``waves()`` calls it between waves and yields a `Round` of
prompts, which is to be asked before the generator is resumed. Within a wave nobody sees another's answer.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import mesa
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim import streams
from popsim.engines import Prompt, Reply
from popsim.model.draw import assign_arms, draw_graph, draw_people
from popsim.model.round import Round
from popsim.network import feed, first_hearers, followers, spread_step
from popsim.population import Words
from popsim.scenario import Scenario
from popsim.survey import Reading

Readings = Sequence[Reading]


@dataclass
class State:
    """All that moves during a run.

    Attributes:
        heard_at: (people, items) step at which a person first heard an item, -1 where not yet.
        told_by: (people, items) the person it came from, -1 where it came from its source directly.
    """

    heard_at: NDArray[np.int32]
    told_by: NDArray[np.int32]


class Respondent(mesa.Agent):
    """One person of the population: reads through to the model's tables and holds nothing itself.

    Subclass it to change what a person says of themselves or hears, and pass the class to `PopulationModel`.
    """

    model: "PopulationModel"

    def __init__(self, model: "PopulationModel") -> None:
        super().__init__(model)
        self.row: int = self.unique_id - 1

    @property
    def person(self) -> dict[str, Any]:
        """The person's row as plain values."""
        return self.model.words.person(self.row)

    def words(self) -> Mapping[str, str]:
        """Give the words that fill the slots of a prompt, by column."""
        return self.model.words.of(self.row)

    def persona(self) -> str:
        """Describe the person to the language model, in the second person."""
        return self.model.words.describe(self.words())

    def heard(self) -> tuple[dict[str, Any], ...]:
        """List what the person has heard, newest first."""
        model = self.model
        items = feed(model.state.heard_at, self.row, model.scenario.feed_limit)
        return tuple({**model.items[i], "step": int(model.state.heard_at[self.row, i])} for i in items)


class PopulationModel(mesa.Model):
    """A population that news travels through and that can be surveyed.

    Args:
        scenario: The study.
        respondent: The class of the agents.
        reads: Whether prompts carry rendered ``text`` or only the ``facts`` behind it, as the engine asks.
        people: Respondents drawn before, for example shared by the points of a sweep; drawn here unless given.
        graph: Their follow graph, likewise.
        answer: Answers a round of prompts; with it ``step()`` also fields the waves that fall due, so that a plain
            Mesa loop or SolaraViz runs a whole study.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> model = PopulationModel(load_scenario("oil_price_fall", {"size": 20}))
        >>> len(model.agents), len(next(model.waves()))
        (20, 20)
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        respondent: type[Respondent] = Respondent,
        reads: Literal["text", "facts"] = "text",
        people: pd.DataFrame | None = None,
        graph: csr_array | None = None,
        answer: Callable[[Sequence[Prompt]], Sequence[Reply]] | None = None,
    ) -> None:
        super().__init__(rng=scenario.seed)
        self.scenario = scenario
        self.reads = reads
        self.people = draw_people(scenario) if people is None else people
        self.graph = draw_graph(scenario, self.people) if graph is None else graph
        self.arm = assign_arms(scenario)
        self.arms = tuple(scenario.arms)
        self.questionnaires = tuple(scenario.shown(arm) for arm in self.arms)
        self.words = Words(scenario.population, scenario.questionnaire.language, self.people)
        self.items = tuple(item.model_dump() for item in scenario.news)
        n, k = len(self.people), len(self.items)
        self.state = State(np.full((n, k), -1, np.int32), np.full((n, k), -1, np.int32))
        self.readings: list[Readings] = []
        self._followers = followers(self.graph) if k else None
        self._steps_itself = respondent.step is not mesa.Agent.step
        self._answer = answer
        respondent.create_agents(self, n)
        self.respondents: list[Respondent] = list(self.agents)
        self._hear(0)
        if answer:
            self._field_due()

    def step(self) -> None:
        """Move information by one step, from the followed to their followers, and bring out the news of this step."""
        self._hear(self.steps)
        if self._steps_itself:
            self.agents.do("step")
        if self._answer:
            self._field_due()

    def waves(self) -> Generator[Round, Readings, None]:
        """Yield each round of prompts; send back what was read from its replies, in the order of the prompts."""
        for wave, at in enumerate(self.scenario.waves):
            while self.steps < at:
                self.step()
            self.readings.append((yield Round(self, wave)))

    def _field_due(self) -> None:
        wave = len(self.readings)
        if self._answer and wave < len(self.scenario.waves) and self.scenario.waves[wave] == self.steps:
            asked = Round(self, wave)
            replies = self._answer(asked)
            self.readings.append([asked.read(i, reply) for i, reply in enumerate(replies)])

    def _hear(self, step: int) -> None:
        heard_at, told_by = self.state.heard_at, self.state.told_by
        for k, item in enumerate(self.scenario.news):
            key = int(streams.hashed(self.scenario.seed, streams.stream(f"news.{item.name}")) >> np.uint64(1))
            if self._followers is not None and item.passed_on > 0:
                frontier = np.flatnonzero(heard_at[:, k] == step - 1) if step else np.empty(0, np.intp)
                reached, tellers = spread_step(self._followers, frontier, heard_at[:, k] >= 0, key, item.passed_on)
                heard_at[reached, k], told_by[reached, k] = step, tellers
            if item.step == step:
                direct = first_hearers(key, len(heard_at), item.reach) & (heard_at[:, k] < 0)
                heard_at[direct, k] = step
