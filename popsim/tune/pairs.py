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
from popsim.model.pages import pages_of
from popsim.network import FollowNetwork, NoNetwork
from popsim.population import Words, sample_people
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
_BARE: dict[str, Any] = {
    "waves": (0,),
    "network": NoNetwork(kind="none"),
    "news": (),
    "beliefs": {},
    "remember": False,
    "share_opinions": None,
}
"""A scenario in which nobody hears anything and nothing is asked twice."""
_CELL_HELD_OUT = 8
_REACH = 0.67
_DEGREE = 3.0
_RECOMBINED = 0.5
"""Share of cells in which the people of a table are recombined; those held out always are."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and what the teacher answers to it.

    Attributes:
        messages: The conversation as an engine reads it, (role, text).
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

    messages: tuple[tuple[str, str], ...]
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
            Experts, whose layout has other parts, are asked everything all the same.

    Returns:
        A pair per person: about ``settings.cell`` for training, about eight for validation.

    Raises:
        PopsimError: A scenario is unknown.
    """
    rng = streams.rng(settings.seed, f"tune.{part}.{number}")
    names = list(settings.scenarios)
    shares = np.array(list(settings.scenarios.values()))
    name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    scenario = _vary(name, settings, rng)
    brief = brief and scenario.prompt.layout != "experts"
    if brief:
        prompt = scenario.prompt.model_copy(update={"template": _BRIEF, "reasoning": True})
        scenario = scenario.model_copy(update={**_BARE, "presentation": "one_prompt", "prompt": prompt})
    people = _people(scenario, settings, part, rng)
    paged = scenario.presentation == "pages"
    whole = brief or paged or part != "train" or not _ends_in_words(scenario.questionnaire.questions)
    broken = not whole and bool(rng.random() < settings.broken)
    times = 1 if paged else settings.broken_answers if broken else settings.answers
    scenario = scenario.model_copy(update={"size": len(people), "network": small_network(scenario, len(people))})
    return [_pair(name, *one, broken=broken, brief=brief) for one in _field(scenario, people, times)]


def _field(
    scenario: Scenario, people: pd.DataFrame, times: int
) -> Iterator[tuple[Round, int, Sequence[Prompt], Sequence[str]]]:
    """Put every wave, page by page, to the teacher.

    Args:
        scenario: What people are shown.
        people: Who is asked.
        times: Answers to each prompt; only with one answer do the pages of a conversation fit each other.

    Yields:
        The round and the place of a prompt in it, what the teacher was told each time, and what it answered.
    """
    models = [PopulationModel(scenario, people=people, reads=reads) for reads in ("text", "facts")]
    waves = [model.waves() for model in models]
    rounds = [next(each) for each in waves]
    while True:
        asked, told = rounds
        prompts = [told.prompt(i, k) for i in range(len(told)) for k in range(times)]
        replies = answer_all(Baseline(), prompts)
        for i in range(len(asked)):
            mine = slice(i * times, (i + 1) * times)
            yield asked, i, prompts[mine], [reply.text for reply in replies[mine]]
        read = [[one.read(i, reply) for i, reply in enumerate(replies[::times])] for one in rounds]
        try:
            rounds = [each.send(readings) for each, readings in zip(waves, read, strict=True)]
        except StopIteration:
            return


def _pair(
    name: str, asked: Round, i: int, prompts: Sequence[Prompt], texts: Sequence[str], *, broken: bool, brief: bool
) -> Pair:
    """Set a prompt beside the teacher's answers."""
    questions = asked.questions[asked.version[i]]
    texts = [_cut(text, brief) for text in texts]
    if broken:
        texts = [_in_words_of(texts[0], text) for text in texts]
    return Pair(
        messages=asked.prompt(i).messages,
        answers=tuple(texts),
        ends=tuple(_end(text, questions) for text in texts) if broken else (),
        seed=prompts[0].seed,
        group=f"{name}.{asked.model.arms[int(asked.arm[i])]}",
        questions=questions,
        reasoning=asked.model.scenario.prompt.reasoning,
        facts=prompts[0].facts,
    )


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


def _ends_in_words(questions: Sequence[Question]) -> bool:
    """Say whether nothing but words is asked from the first open question on: no more is lost where answers break."""
    kinds = [question.kind for question in questions]
    return "text" not in kinds or set(kinds[kinds.index("text") :]) == {"text"}


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
def _scenario(name: str, questionnaire: str | None = None) -> Scenario:
    return load_scenario(name, {"questionnaire": questionnaire} if questionnaire else {})


def _wording(name: str, rng: np.random.Generator) -> Scenario:
    """Load a scenario, with one of the questionnaires that it sweeps over, if it does."""
    scenario = _scenario(name)
    swept = scenario.sweep.get("questionnaire")
    return _scenario(name, str(swept[int(rng.integers(len(swept)))])) if isinstance(swept, tuple) else scenario


def _vary(name: str, settings: DrawSettings, rng: np.random.Generator) -> Scenario:
    """Choose what this cell is shown of a scenario."""
    scenario = _wording(name, rng)
    modules = Modules(**{name: bool(rng.random() >= settings.module_off) for name in Modules.model_fields})
    prompt = {"reasoning": bool(rng.random() >= settings.reasoning_off)}
    prompt["weighing"] = bool(rng.random() >= settings.weighing_off)
    other = {"layout": "shared_first"} if rng.random() < settings.shared_first else {}
    scope = "scenario_2" if rng.random() < settings.scope_2 else "unconditional"
    as_shipped = bool(scenario.news) and rng.random() < settings.as_shipped
    news = _own_news(scenario, rng) if as_shipped else _BARE | {"news": _news(name, settings, rng)}
    return scenario.model_copy(
        update={
            "seed": int(rng.integers(2**62)),
            "modules": modules,
            "prompt": scenario.prompt.model_copy(
                update=prompt | (other if scenario.prompt.layout == "survey_v1" else {})
            ),
            "priors": scenario.priors.model_copy(update={"scope": scope}),
            **news,
        }
    )


def _own_news(scenario: Scenario, rng: np.random.Generator) -> dict[str, Any]:
    """Keep the news of a scenario with moved signals."""
    news = []
    for item in scenario.news:
        if item.signal:
            value = round(item.signal.value + float(rng.uniform(-2, 2)) * item.signal.sd, 1)
            item = item.model_copy(update={"signal": item.signal.model_copy(update={"value": value})})
        news.append(item)
    return {"news": tuple(news)}


def small_network(scenario: Scenario, people: int) -> FollowNetwork | NoNetwork:
    """Give a network that so few people can have, where the scenario has one that people follow each other in."""
    degree = min(_DEGREE, people - 1)
    if isinstance(scenario.network, FollowNetwork) and degree > 0:
        return FollowNetwork(kind="follow", mean_degree=degree)
    return NoNetwork(kind="none")


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
    """Draw people of one part, some with a confidence and some with priors that are uniform over what they can be."""
    size = SET_ASIDE * _CELL_HELD_OUT if part == "held_out" else max(1, settings.cell // _sittings(scenario))
    people = sample_people(scenario.population, size, scenario.seed, scenario.priors.overrides)
    if scenario.population.from_table and (part == "held_out" or rng.random() < _RECOMBINED):
        people = _recombine(people, rng)
    words = Words(scenario.population, scenario.questionnaire.language, people)
    aside = np.array([is_held_out(words.describe(words.of(row))) for row in range(len(people))])
    kept = people[aside if part == "held_out" else ~aside].reset_index(drop=True)
    if "confidence" in kept:
        kept["confidence"] = _evened(kept["confidence"], settings.uniform_confidence, rng)
    priors = scenario.population.priors
    evened = {name: _evened(kept[name], settings.uniform_priors, rng) for name in (priors.columns if priors else ())}
    return kept.assign(**evened)


def _evened(column: pd.Series, share: float, rng: np.random.Generator) -> pd.Series:
    """Draw a share of a column anew, each of its categories alike."""
    anew = rng.random(len(column)) < share
    drawn = pd.Series(rng.choice(column.cat.categories, len(column)), index=column.index)
    return column.mask(anew, drawn.astype(column.dtype))


def _recombine(people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Make new people out of a table's few, each with a trait from here and a trait from there."""
    return pd.DataFrame({name: column.take(rng.permutation(len(people))).array for name, column in people.items()})


def _sittings(scenario: Scenario) -> int:
    """Count the prompts that each person is sent."""
    return len(scenario.waves) * (len(pages_of(scenario.questionnaire)) if scenario.presentation == "pages" else 1)
