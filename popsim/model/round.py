"""A round of prompts: each is rendered when it is asked for, and its reply is read."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from popsim import streams
from popsim.engines import Field, Prompt, Prompts, Readout, Reply, Sampling, Shape, Spelling
from popsim.model.pages import Conversations, cut, questions_of
from popsim.prompts import Layout, Prepared, load_layout, load_template, prepare
from popsim.scenario import Scenario
from popsim.survey import (
    Orders,
    Question,
    Questionnaire,
    Reading,
    in_order,
    longest_reply,
    measured_changes,
    measured_questions,
    read_readout,
    read_reply,
    reply_grammar,
    reply_schema,
    spellings,
)

if TYPE_CHECKING:
    from popsim.model.model import PopulationModel

_KEPT = 1024
_BYTES, _LOOSE = 3, 256
"""Bytes that a token of a free reply stands for on average, at the least; tokens for a loose form, such as a fence."""


class Round(Prompts):
    """The prompts of one round of one wave, each rendered when it is asked for.

    Args:
        model: Whose respondents are asked.
        wave: The wave.
        number: The page, where the questionnaire is put page by page.
        talks: The conversations that the round goes on with; without them everything stands in one prompt.

    Attributes:
        sitting: The place of each prompt among all sittings of the wave, which ``model.readings`` is in the order of.
        person: Who is asked, with ``draw``, ``arm`` and ``version`` of the questionnaire.
        before: How many questions each was asked in earlier rounds.
        questions: What is asked, by version.
        answered: Those that a reading has answers to, by version: all, or with a readout those that it measures.
    """

    def __init__(
        self, model: "PopulationModel", wave: int, number: int = 0, talks: Conversations | None = None
    ) -> None:
        scenario, draws = model.scenario, model.scenario.draws
        self.model, self.wave, self.number, self._talks = model, wave, number, talks
        self.sitting = np.arange(len(model.seat) * draws) if talks is None else talks.reach(number)
        self.before = np.zeros(len(self.sitting), np.int64) if talks is None else talks.before(self.sitting)
        seat = self.sitting // draws
        self.person, self.draw = model.seat[seat], self.sitting % draws
        self.arm, self.version = model.arm[seat], model.version[seat]
        self._seeds = self._seed(slice(None), 0)
        paged = talks is not None
        self.questions = tuple(questions_of(shown, number) if paged else shown.questions for shown in model.versions)
        kind = scenario.readout.kind
        self.answered = tuple(
            questions if kind == "generate" else tuple(measured_questions(questions, kind))
            for questions in self.questions
        )
        self._forms = tuple(_form(scenario, questions) if questions else None for questions in self.questions)
        self._names = tuple(tuple(question.name for question in questions) for questions in self.questions)
        self._every = tuple({question.name: question for question in shown.questions} for shown in model.versions)
        self._modules = scenario.modules.on
        self._layout = load_words(model)
        self._prepared = lru_cache(maxsize=_KEPT)(self._prepare)
        self._readout = lru_cache(maxsize=_KEPT)(self._find_readout)
        self._vignettes = (
            tuple(tuple(vignette.model_dump() for vignette in shown.vignettes) for shown in model.versions)
            if model.reads == "facts"
            else ()
        )

    def __len__(self) -> int:
        """Count the prompts."""
        return len(self.person)

    def prompt(self, i: int, attempt: int = 0) -> Prompt:
        """Render one prompt; a further attempt has the same text and another seed."""
        scenario, respondent = self.model.scenario, self.model.respondents[self.person[i]]
        version, orders = int(self.version[i]), self.model.orders_of(int(self.person[i]))
        heard = respondent.heard() if "social" in self._modules else ()
        earlier = self._earlier(i) if scenario.remember and "priors" in self._modules else {}
        seed, form = self.seed(i, attempt), self._forms[version]
        if self.model.reads == "text" and form:
            words, told = respondent.words(), self._told(version, earlier)
            text = self._prepared(version, orders).render(words, respondent.persona(), heard, told)
            messages: tuple[tuple[str, str], ...] = (("user", text),)
            if self._talks:
                messages = self._talks.messages(int(self.sitting[i]), self.number, text, orders)
            readout = self._readout(version, orders)
            return Prompt(messages, form[0], seed, shape=form[1], adapter=scenario.engine.adapter, readout=readout)
        facts = {
            "person": respondent.person,
            "persona": respondent.persona(),
            "modules": self._modules,
            "language": scenario.questionnaire.language,
            "reasoning": scenario.prompt.reasoning,
            "heard": heard,
            "earlier": earlier,
            "group": scenario.group,
            "arm": self.model.arms[self.arm[i]],
            "vignettes": self._vignettes[version],
            "asked": self._names[version],
            "orders": dict(orders),
        }
        return Prompt((), seed=seed, facts=facts)

    def _prepare(self, version: int, orders: Orders) -> Prepared:
        """Prepare what all share who get one version in one order; of a conversation its first turn."""
        scenario, shown, layout = self.model.scenario, self.model.versions[version], self._layout
        if self._talks:
            shown, layout = cut(shown, *self._talks.pages[version][0]), layout.paged
        return prepare(
            layout,
            in_order(shown, orders),
            modules=self._modules,
            scope=scenario.priors.scope,
            as_of=scenario.prompt.as_of,
            reasoning=scenario.prompt.reasoning,
            weighing=scenario.prompt.weighing,
            letters=scenario.readout.kind == "choice",
        )

    def _find_readout(self, version: int, orders: Orders) -> Readout | None:
        return _readout(self.model.scenario, self.model.versions[version], orders)

    def condition(self, i: int) -> str:
        """Say on which earlier answers the page of a prompt hangs; empty where it is shown to all."""
        pages = self._talks.pages[self.version[i]] if self._talks else ()
        return pages[self.number][1].hangs_on() if pages else ""

    def _earlier(self, i: int) -> dict[str, float]:
        """Give the readable numbers and choices that a person answered in the wave before, by question."""
        if not self.wave:
            return {}
        rows = self.model.readings[self.wave - 1][self.sitting[i]].answers
        return {row.question: row.value for row in rows if row.status == "ok" and row.value == row.value}

    def _told(self, version: int, earlier: Mapping[str, float]) -> dict[str, str]:
        """Write earlier answers as a prompt tells them, by the words before each blank."""
        told = {}
        for name, value in earlier.items():
            question = self._every[version][name]
            if question.kind == "number":
                told[question.label or question.json_key] = f"{value:.{question.decimals}f}{question.unit}"
            elif question.kind == "choice":
                told[question.label or question.json_key] = question.options[int(value)]
        return told

    @property
    def attempts(self) -> int:
        """How often at most a prompt is asked; a readout gives the same again."""
        scenario = self.model.scenario
        return scenario.attempts if scenario.readout.kind == "generate" else 1

    def seed(self, i: int, attempt: int = 0) -> int:
        """Give a prompt's seed, a function of run, person, wave, round, draw and attempt, and of the arm if crossed.

        Who answers from facts has one seed for all pages, so that the answers of a person hang together as in one
        prompt.
        """
        return int(self._seed(i, attempt) if attempt else self._seeds[i])

    def _seed(self, i: int | slice, attempt: int) -> NDArray[np.uint64]:
        scenario = self.model.scenario
        number = self.number if self.model.reads == "text" else 0
        counters = [scenario.seed, self.person[i], self.wave, number, self.draw[i], attempt]
        if scenario.assignment.kind == "crossed":
            counters.append(self.arm[i])
        return np.asarray(streams.hashed(streams.stream("prompt"), *counters) >> np.uint64(1))

    def read(self, i: int, reply: Reply) -> Reading:
        """Read the reply to a prompt."""
        scenario, questions = self.model.scenario, self.answered[self.version[i]]
        if scenario.readout.kind != "generate":
            return read_readout(reply.text, questions, finish=reply.finish)
        reasoning = scenario.prompt.reasoning
        reading = read_reply(reply.text, questions, reasoning=reasoning, finish=reply.finish, error=reply.error)
        return reading._replace(text=reply.text) if self._talks and self.model.reads == "text" else reading


def _form(scenario: Scenario, questions: Sequence[Question]) -> tuple[Sampling, Shape | None]:
    """Work out how long a reply may be, and the form that it is held to where the scenario asks for that."""
    reasoning = scenario.prompt.reasoning
    longest = longest_reply(questions, reasoning=reasoning)
    if not scenario.sampling.structured:
        return scenario.sampling.wire(longest // _BYTES + _LOOSE), None
    schema = json.dumps(reply_schema(questions, reasoning=reasoning), ensure_ascii=False)
    return scenario.sampling.wire(longest), Shape(reply_grammar(questions, reasoning=reasoning), schema)


def _readout(scenario: Scenario, shown: Questionnaire, orders: Orders) -> Readout | None:
    """Say what is read out of probabilities, where the scenario asks for that.

    A letter stands for the option in its place; the value that it is worth is the option's place in the questionnaire.
    """
    settings = scenario.readout
    if settings.kind == "generate":
        return None
    place = {question.name: f"{one.name}.{question.name}" for one in shown.vignettes for question in one.questions}
    letters = settings.kind == "choice"
    fields: list[Field] = []
    of = dict(orders)
    for question in measured_questions(in_order(shown, orders).questions, settings.kind):
        before, opening = ", " if fields else "{", '"(' if letters else '"'
        lead = f"{before}{json.dumps(question.json_key, ensure_ascii=False)}: {opening}"
        order = of.get(question.name)
        spelled = tuple(
            Spelling(text, close, float(order[int(value)]) if order and not isinstance(value, str) else value)
            for text, close, value in spellings(question, letters=letters)
        )
        fields.append(Field(place[question.name], lead, spelled))
    changes = tuple(
        (f"{vignette}.{name}", place[change.shock], place[change.baseline])
        for vignette, name, change in measured_changes(shown, settings.kind)
    )
    drawn = (settings.reasonings, settings.particles)
    return Readout(settings.kind, tuple(fields), changes, *drawn, settings.floor)


def load_words(model: "PopulationModel") -> Layout:
    """Load the layout of a model's scenario, with the user's own template where there is one."""
    scenario = model.scenario
    layout = load_layout(scenario.prompt.layout, scenario.questionnaire.language)
    if scenario.prompt.template is None:
        return layout
    where = f"scenario {scenario.name}: prompt.template"
    return load_template(scenario.prompt.template, layout, model.words.columns, where)
