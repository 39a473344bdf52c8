"""The Mesa model: respondents who hear things, and waves of prompts that somebody else answers.

The clock: step 0 is the state before anything has moved; news of step 0 has been heard by those it reaches directly.
``step()`` moves information by one step and asks nobody. ``waves()`` calls it between waves and yields a `Round` of
prompts, which is to be asked before the generator is resumed. Within a wave nobody sees another's answer.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import mesa
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim import streams
from popsim.engines import Field, Prompt, Readout, Reply, Sampling, Shape, Spelling
from popsim.errors import ScenarioError
from popsim.network import build_network, feed, first_hearers, followers, spread_step
from popsim.population import Words, sample_people
from popsim.prompts import Prepared, load_layout, load_template, prepare
from popsim.scenario import Scenario
from popsim.survey import (
    Question,
    Questionnaire,
    Reading,
    longest_reply,
    measured_changes,
    measured_questions,
    read_readout,
    read_reply,
    reply_grammar,
    reply_schema,
    spellings,
)

_BYTES, _LOOSE = 3, 256
"""Bytes that a token of a free reply stands for on average, at the least; tokens for a loose form, such as a fence."""

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

    def waves(self) -> Generator["Round", Readings, None]:
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


class Round(Sequence[Prompt]):
    """The prompts of one round of one wave, each rendered when it is asked for.

    Prompt ``i`` belongs to person ``i // draws`` and is that person's draw ``i % draws``.
    """

    def __init__(self, model: PopulationModel, wave: int, number: int = 0) -> None:
        scenario = model.scenario
        self.model, self.wave, self.number = model, wave, number
        self.person = np.repeat(np.arange(len(model.people)), scenario.draws)
        self.draw = np.tile(np.arange(scenario.draws), len(model.people))
        self.arm = model.arm[self.person]
        self._seeds = self._seed(slice(None), 0)
        self._questions = tuple(shown.questions for shown in model.questionnaires)
        self._forms = tuple(_form(scenario, questions) for questions in self._questions)
        self._readouts = tuple(_readout(scenario, shown) for shown in model.questionnaires)
        self._modules = scenario.modules.on
        self._prepared = _prepare(model) if model.reads == "text" else ()
        self._vignettes = tuple(
            tuple(vignette.model_dump() for vignette in shown.vignettes) for shown in model.questionnaires
        )

    def __len__(self) -> int:
        """Count the prompts."""
        return len(self.person)

    @overload
    def __getitem__(self, i: int) -> Prompt: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Prompt]: ...
    def __getitem__(self, i: int | slice) -> Prompt | Sequence[Prompt]:
        """Render one prompt, or several."""
        if isinstance(i, slice):
            return [self.prompt(j) for j in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return self.prompt(i % len(self))

    def __iter__(self) -> Iterator[Prompt]:
        """Render the prompts one after the other."""
        return (self.prompt(i) for i in range(len(self)))

    def prompt(self, i: int, attempt: int = 0) -> Prompt:
        """Render one prompt; a further attempt has the same text and another seed."""
        scenario, respondent = self.model.scenario, self.model.respondents[self.person[i]]
        arm = int(self.arm[i])
        heard = respondent.heard() if self.model.items and "social" in self._modules else ()
        seed = self.seed(i, attempt)
        if self.model.reads == "text":
            words = respondent.words()
            text = self._prepared[arm].render(words, respondent.persona(), heard)
            sampling, shape = self._forms[arm]
            adapter, readout = scenario.engine.adapter, self._readouts[arm]
            return Prompt((("user", text),), sampling, seed, shape=shape, adapter=adapter, readout=readout)
        facts = {
            "person": respondent.person,
            "persona": respondent.persona(),
            "modules": self._modules,
            "language": scenario.questionnaire.language,
            "reasoning": scenario.prompt.reasoning,
            "heard": heard,
            "arm": self.model.arms[arm],
            "vignettes": self._vignettes[arm],
        }
        return Prompt((), seed=seed, facts=facts)

    @property
    def attempts(self) -> int:
        """How often at most a prompt is asked; a readout gives the same again."""
        scenario = self.model.scenario
        return scenario.attempts if scenario.readout.kind == "generate" else 1

    def seed(self, i: int, attempt: int = 0) -> int:
        """Give a prompt's seed, a function of run, person, wave, round, draw and attempt alone."""
        return int(self._seed(i, attempt) if attempt else self._seeds[i])

    def _seed(self, i: int | slice, attempt: int) -> NDArray[np.uint64]:
        counters = (self.model.scenario.seed, self.person[i], self.wave, self.number, self.draw[i], attempt)
        return np.asarray(streams.hashed(streams.stream("prompt"), *counters) >> np.uint64(1))

    def read(self, i: int, reply: Reply) -> Reading:
        """Read the reply to a prompt."""
        questions, kind = self._questions[self.arm[i]], self.model.scenario.readout.kind
        if kind != "generate":
            return read_readout(reply.text, measured_questions(questions, kind), finish=reply.finish)
        return read_reply(
            reply.text,
            questions,
            reasoning=self.model.scenario.prompt.reasoning,
            finish=reply.finish,
            error=reply.error,
        )


def draw_people(scenario: Scenario) -> pd.DataFrame:
    """Draw the respondents of a scenario.

    Returns:
        A frame with a row per person; see `popsim.population.sample_people`.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> len(draw_people(load_scenario("oil_price_fall", {"size": 10})))
        10
    """
    people = sample_people(scenario.population, scenario.size, scenario.seed, scenario.priors.overrides)
    settings = scenario.people
    if settings.confidence == "drawn" and not settings.confidence_shift:
        return people
    if "confidence" not in people:
        raise ScenarioError("people.confidence: this population has no confidence levels; leave it 'drawn'")
    levels = people["confidence"].cat.categories
    codes = people["confidence"].cat.codes.to_numpy(np.intp) + settings.confidence_shift
    if settings.confidence != "drawn":
        codes = np.full(len(people), levels.get_loc(settings.confidence))
    moved = pd.Categorical.from_codes(codes.clip(0, len(levels) - 1), levels, ordered=True)
    return people.assign(confidence=moved)


def draw_graph(scenario: Scenario, people: pd.DataFrame) -> csr_array:
    """Draw the follow graph of a scenario: row ``i`` holds the attention of person ``i`` to those they follow.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> scenario = load_scenario("oil_price_fall", {"size": 10})
        >>> draw_graph(scenario, draw_people(scenario)).shape
        (10, 10)
    """
    return build_network(scenario.network, people, scenario.rng("network"))


def assign_arms(scenario: Scenario) -> NDArray[np.int64]:
    """Assign respondents to arms at random, with group sizes as near to the shares as whole people allow.

    Returns:
        For each person the position of the arm in ``scenario.arms``.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> assign_arms(load_scenario("oil_price_fall", {"size": 3})).tolist()
        [0, 0, 0]
    """
    shares = np.array([arm.share for arm in scenario.arms.values()])
    edges = np.cumsum(shares) / shares.sum()
    rng = scenario.rng("assignment")
    places = (np.arange(scenario.size) + rng.random()) / scenario.size
    arms = np.searchsorted(edges[:-1], places, side="right")
    return np.asarray(rng.permutation(arms), dtype=np.int64)


def _form(scenario: Scenario, questions: Sequence[Question]) -> tuple[Sampling, Shape | None]:
    """Work out how long a reply may be, and the form that it is held to where the scenario asks for that."""
    reasoning = scenario.prompt.reasoning
    longest = longest_reply(questions, reasoning=reasoning)
    if not scenario.sampling.structured:
        return scenario.sampling.wire(longest // _BYTES + _LOOSE), None
    schema = json.dumps(reply_schema(questions, reasoning=reasoning), ensure_ascii=False)
    return scenario.sampling.wire(longest), Shape(reply_grammar(questions, reasoning=reasoning), schema)


def _readout(scenario: Scenario, shown: Questionnaire) -> Readout | None:
    """Say what is read out of probabilities, where the scenario asks for that."""
    settings = scenario.readout
    if settings.kind == "generate":
        return None
    place = {question.name: f"{one.name}.{question.name}" for one in shown.vignettes for question in one.questions}
    letters = settings.kind == "choice"
    fields: list[Field] = []
    for question in measured_questions(shown.questions, settings.kind):
        before, opening = ", " if fields else "{", '"(' if letters else '"'
        lead = f"{before}{json.dumps(question.json_key, ensure_ascii=False)}: {opening}"
        spelled = tuple(Spelling(*one) for one in spellings(question, letters=letters))
        fields.append(Field(place[question.name], lead, spelled))
    changes = tuple(
        (f"{vignette}.{name}", place[change.shock], place[change.baseline])
        for vignette, name, change in measured_changes(shown, settings.kind)
    )
    drawn = (settings.reasonings, settings.particles)
    return Readout(settings.kind, tuple(fields), changes, *drawn, settings.floor)


def _prepare(model: PopulationModel) -> tuple[Prepared, ...]:
    """Prepare the part of the prompt that all respondents of an arm share, for each arm."""
    scenario = model.scenario
    settings, language = scenario.prompt, scenario.questionnaire.language
    layout = load_layout(settings.layout, language)
    if settings.template is not None:
        layout = load_template(
            settings.template, layout, model.words.columns, f"scenario {scenario.name}: prompt.template"
        )
    return tuple(
        prepare(
            layout,
            shown,
            modules=scenario.modules.on,
            scope=scenario.priors.scope,
            as_of=settings.as_of,
            reasoning=settings.reasoning,
            letters=scenario.readout.kind == "choice",
        )
        for shown in model.questionnaires
    )
