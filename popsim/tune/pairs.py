"""Pairs of prompt and answer: simulated people are shown a variation of a scenario, and ``baseline`` answers for them.

Cell number c of a part is a function of (seed, part, c) alone, so there is no end to the data, and a training that was
interrupted finds its place again by counting.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from popsim import streams
from popsim.engines import Prompt, answer_all
from popsim.engines.baseline import Baseline
from popsim.model import PopulationModel, Round
from popsim.network import NoNetwork
from popsim.population import CONFIDENCE_LEVELS, Words, sample_people
from popsim.population.values import categorical
from popsim.scenario import Modules, News, Scenario, Signal, load_scenario
from popsim.slots import fill
from popsim.survey import Question
from popsim.tune.config import DrawSettings, NewsKind

Part = Literal["train", "held_out"]
SET_ASIDE = 32
"""One person in so many is held out."""
_REASONED = "\n</reasoning>"
_SENTENCE_END = re.compile(r"\. |。")
_BRIEF = "{{role}}\n\n{{persona}}\n\n{{priors}}\n\n{{social}}"
_CELL_HELD_OUT = 8
_REACH = 0.67
_RECOMBINED = 0.5
"""Share of cells in which the people of a table are recombined; those held out always are."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and what the teacher answers to it.

    Attributes:
        prompt: The text as an engine reads it.
        answers: Answers of one person: independent; or, where they break off, in the words of the first up to the
            sentence that says where things go.
        ends: Where each breaks off, in characters: before the first question that is answered in words. Empty where
            they are whole.
        seed: The seed of the first.
        group: Scenario and arm.
        questions: What was asked.
        reasoning: Whether recall and reasoning were asked for.
        facts: What the teacher was told.
    """

    prompt: str
    answers: tuple[str, ...]
    ends: tuple[int, ...]
    seed: int
    group: str
    questions: tuple[Question, ...]
    reasoning: bool
    facts: Mapping[str, Any]


def is_held_out(persona: str) -> bool:
    """Say whether people of this description are kept for validation and never trained on.

    Example:
        >>> is_held_out("You are 40 years old.")
        False
    """
    return streams.stream(persona) % SET_ASIDE == 0


def draw_cell(settings: DrawSettings, part: Part, number: int, *, brief: bool = False) -> list[Pair]:
    """Draw people who share one variation of a scenario, and let the teacher answer for them.

    Args:
        settings: What is drawn.
        part: Whether the people are for training or for validation.
        number: Which cell, from 0.
        brief: Leave the questionnaire out and end the answers after the recall: an exercise in reading who one is.

    Returns:
        A pair per person: about ``settings.cell`` for training, about eight for validation.

    Raises:
        PopsimError: A scenario is unknown.
    """
    rng = streams.rng(settings.seed, f"tune.{part}.{number}")
    names = list(settings.scenarios)
    shares = np.array(list(settings.scenarios.values()))
    name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    scenario = _vary(_scenario(name), settings, rng)
    if brief:
        prompt = scenario.prompt.model_copy(update={"template": _BRIEF, "reasoning": True})
        scenario = scenario.model_copy(update={"prompt": prompt})
    people = _people(scenario, settings, part, rng)
    broken = not brief and part == "train" and bool(rng.random() < settings.broken)
    draws = settings.broken_answers if broken else settings.answers
    scenario = scenario.model_copy(update={"size": len(people), "draws": draws})
    asked, told = (_round(scenario, people, reads) for reads in ("text", "facts"))
    prompts: list[Prompt] = list(told)
    replies = answer_all(Baseline(), prompts)
    pairs = []
    for first in range(0, len(prompts), draws):
        arm = int(asked.arm[first])
        questions = asked.model.questionnaires[arm].questions
        texts = [_cut(reply.text, brief) for reply in replies[first : first + draws]]
        if broken:
            texts = [_in_words_of(texts[0], text) for text in texts]
        pairs.append(
            Pair(
                prompt=asked.prompt(first).messages[0][1],
                answers=tuple(texts),
                ends=tuple(_end(text, questions) for text in texts) if broken else (),
                seed=prompts[first].seed,
                group=f"{name}.{asked.model.arms[arm]}",
                questions=questions,
                reasoning=scenario.prompt.reasoning,
                facts=prompts[first].facts,
            )
        )
    return pairs


def draw_pairs(settings: DrawSettings, part: Part, count: int) -> list[Pair]:
    """Draw the first pairs of a part.

    Args:
        settings: What is drawn.
        part: For training or for validation.
        count: How many.

    Example:
        >>> settings = DrawSettings(scenarios={"oil_price_fall": 1}, cell=4, answers=2)
        >>> [len(pair.answers) for pair in draw_pairs(settings, "train", 3)]
        [2, 2, 2]
    """
    pairs: list[Pair] = []
    for cell in _cells(settings, part):
        pairs += cell
        if len(pairs) >= count:
            return pairs[:count]
    raise AssertionError("there is no end to cells")


def _cut(text: str, brief: bool) -> str:
    recall, end, _ = text.partition("</recall>")
    return recall + end if brief else text


def _in_words_of(first: str, other: str) -> str:
    """Put an answer in the words of the first up to the last sentence of the reasoning."""
    return first[: _verdict(first)] + other[_verdict(other) :]


def _end(answer: str, questions: Sequence[Question]) -> int:
    """Find where the first question that is answered in words begins."""
    keys = [f', "{question.key or question.name}": ' for question in questions if question.kind == "text"]
    return min((answer.find(key) for key in keys if key in answer), default=len(answer))


def _verdict(answer: str) -> int:
    """Find where the last sentence of the reasoning begins; 0 where there is no reasoning."""
    reasoning, _, _ = answer.rpartition(_REASONED)
    return max((found.end() for found in _SENTENCE_END.finditer(reasoning)), default=0)


def _cells(settings: DrawSettings, part: Part) -> Iterator[list[Pair]]:
    number = 0
    while True:
        yield draw_cell(settings, part, number)
        number += 1


@lru_cache
def _scenario(name: str) -> Scenario:
    return load_scenario(name).model_copy(update={"waves": (0,), "network": NoNetwork(kind="none"), "news": ()})


def _vary(scenario: Scenario, settings: DrawSettings, rng: np.random.Generator) -> Scenario:
    """Choose what this cell is shown."""
    modules = Modules(**{name: bool(rng.random() >= settings.module_off) for name in Modules.model_fields})
    reasoning = bool(rng.random() >= settings.reasoning_off)
    scope = "scenario_2" if rng.random() < settings.scope_2 else "unconditional"
    return scenario.model_copy(
        update={
            "seed": int(rng.integers(2**62)),
            "modules": modules,
            "prompt": scenario.prompt.model_copy(update={"reasoning": reasoning}),
            "priors": scenario.priors.model_copy(update={"scope": scope}),
            "news": _news(scenario.name, settings, rng),
        }
    )


def _news(scenario: str, settings: DrawSettings, rng: np.random.Generator) -> tuple[News, ...]:
    """Write the news of a cell: none, one item or two."""
    kinds = [kind for kind in settings.news if scenario in kind.scenarios]
    if not kinds or rng.random() >= settings.hears:
        return ()
    chosen = [kinds[int(rng.integers(len(kinds)))] for _ in range(int(rng.integers(1, 3)))]
    return tuple(_item(f"item_{i}", kind, rng) for i, kind in enumerate(chosen))


def _item(name: str, kind: NewsKind, rng: np.random.Generator) -> News:
    source = kind.sources[int(rng.integers(len(kind.sources)))]
    text = kind.texts[int(rng.integers(len(kind.texts)))]
    signal = None
    if kind.figure:
        figure = kind.figure
        value = round(float(rng.uniform(figure.low, figure.high)), figure.decimals)
        text = fill(text, {"value": f"{value:.{figure.decimals}f}"})
        signal = Signal(variable=figure.variable, value=value, sd=figure.sd, unit=figure.unit)
    return News(name=name, text=text, source=source, reach=_REACH, signal=signal)


def _people(scenario: Scenario, settings: DrawSettings, part: Part, rng: np.random.Generator) -> pd.DataFrame:
    """Draw people of one part, some with a confidence that is uniform over the levels."""
    size = SET_ASIDE * _CELL_HELD_OUT if part == "held_out" else settings.cell
    people = sample_people(scenario.population, size, scenario.seed, scenario.priors.overrides)
    if scenario.population.from_table and (part == "held_out" or rng.random() < _RECOMBINED):
        people = _recombine(people, rng)
    words = Words(scenario.population, scenario.questionnaire.language, people)
    aside = np.array([is_held_out(words.describe(words.of(row))) for row in range(len(people))])
    kept = people[aside if part == "held_out" else ~aside].reset_index(drop=True)
    if "confidence" in kept:
        codes = kept["confidence"].cat.codes.to_numpy().astype(np.int64)
        uniform = rng.random(len(kept)) < settings.uniform_confidence
        codes[uniform] = rng.integers(len(CONFIDENCE_LEVELS), size=int(uniform.sum()))
        kept["confidence"] = categorical(codes, CONFIDENCE_LEVELS, ordered=True)
    return kept


def _recombine(people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Make new people out of a table's few, each with a trait from here and a trait from there."""
    return pd.DataFrame({name: column.take(rng.permutation(len(people))).array for name, column in people.items()})


def _round(scenario: Scenario, people: pd.DataFrame, reads: Literal["text", "facts"]) -> Round:
    return Round(PopulationModel(scenario, people=people, reads=reads), 0)
