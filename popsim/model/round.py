"""A round of prompts: each is rendered when it is asked for, and its reply is read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from popsim import streams
from popsim.engines import Field, Prompt, Readout, Reply, Sampling, Shape, Spelling
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

if TYPE_CHECKING:
    from popsim.model.model import PopulationModel

_BYTES, _LOOSE = 3, 256
"""Bytes that a token of a free reply stands for on average, at the least; tokens for a loose form, such as a fence."""


class Round(Sequence[Prompt]):
    """The prompts of one round of one wave, each rendered when it is asked for.

    Prompt ``i`` belongs to person ``i // draws`` and is that person's draw ``i % draws``.
    """

    def __init__(self, model: "PopulationModel", wave: int, number: int = 0) -> None:
        scenario = model.scenario
        self.model, self.wave, self.number = model, wave, number
        self.person = np.repeat(np.arange(len(model.people)), scenario.draws)
        self.draw = np.tile(np.arange(scenario.draws), len(model.people))
        self.arm, self.version = model.arm[self.person], model.version[self.person]
        self._seeds = self._seed(slice(None), 0)
        self._questions = tuple(shown.questions for shown in model.versions)
        self._forms = tuple(_form(scenario, questions) for questions in self._questions)
        self._readouts = tuple(_readout(scenario, shown) for shown in model.versions)
        self._modules = scenario.modules.on
        self._prepared = _prepare(model) if model.reads == "text" else ()
        self._vignettes = tuple(
            tuple(vignette.model_dump() for vignette in shown.vignettes) for shown in model.versions
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
        version = int(self.version[i])
        heard = respondent.heard() if "social" in self._modules else ()
        earlier = self._earlier(i) if scenario.remember and "priors" in self._modules else {}
        seed = self.seed(i, attempt)
        if self.model.reads == "text":
            words = respondent.words()
            text = self._prepared[version].render(words, respondent.persona(), heard, self._told(version, earlier))
            sampling, shape = self._forms[version]
            adapter, readout = scenario.engine.adapter, self._readouts[version]
            return Prompt((("user", text),), sampling, seed, shape=shape, adapter=adapter, readout=readout)
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
        }
        return Prompt((), seed=seed, facts=facts)

    def _earlier(self, i: int) -> dict[str, float]:
        """Give the readable numbers and choices that a person answered in the wave before, by question."""
        if not self.wave:
            return {}
        rows = self.model.readings[self.wave - 1][i].answers
        return {row.question: row.value for row in rows if row.status == "ok" and row.value == row.value}

    def _told(self, version: int, earlier: Mapping[str, float]) -> dict[str, str]:
        """Write earlier answers as a prompt tells them, by the words before each blank."""
        questions = {question.name: question for question in self._questions[version]}
        told = {}
        for name, value in earlier.items():
            question = questions[name]
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
        """Give a prompt's seed, a function of run, person, wave, round, draw and attempt alone."""
        return int(self._seed(i, attempt) if attempt else self._seeds[i])

    def _seed(self, i: int | slice, attempt: int) -> NDArray[np.uint64]:
        counters = (self.model.scenario.seed, self.person[i], self.wave, self.number, self.draw[i], attempt)
        return np.asarray(streams.hashed(streams.stream("prompt"), *counters) >> np.uint64(1))

    def read(self, i: int, reply: Reply) -> Reading:
        """Read the reply to a prompt."""
        questions, kind = self._questions[self.version[i]], self.model.scenario.readout.kind
        if kind != "generate":
            return read_readout(reply.text, measured_questions(questions, kind), finish=reply.finish)
        return read_reply(
            reply.text,
            questions,
            reasoning=self.model.scenario.prompt.reasoning,
            finish=reply.finish,
            error=reply.error,
        )


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


def _prepare(model: "PopulationModel") -> tuple[Prepared, ...]:
    """Prepare the part of the prompt that all who get one version of the questionnaire share, for each version."""
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
            weighing=settings.weighing,
            letters=scenario.readout.kind == "choice",
        )
        for shown in model.versions
    )
