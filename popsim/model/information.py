"""What moves in a run: who has heard what, what they believe, and what they posted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim import streams
from popsim.errors import ScenarioError
from popsim.network import (
    NEVER,
    Beliefs,
    Item,
    Signal,
    agreement,
    assigned,
    attribute_weight,
    bounded_confidence,
    degroot,
    first_hearers,
    friedkin_johnsen,
    hear,
    most_followed,
    never_heard,
    prior_beliefs,
    share_probability,
    spread_items,
    stubbornness,
    tellings,
)
from popsim.network.follow import column
from popsim.population import CONFIDENCE_LEVELS
from popsim.scenario import BeliefSettings, News, Scenario

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
People = NDArray[np.intp]
_WRITES, _SEES = 0, 1


class Posts(NamedTuple):
    """What people posted after a wave.

    Attributes:
        step: The step of the wave; followers come across the posts from the next step on.
        key: Names the wave in the run, for the draw of who comes across what.
        wrote: (people,) who posted.
        texts: What they posted, by person.
    """

    step: int
    key: int
    wrote: Flags
    texts: dict[int, str]


@dataclass
class State:
    """All that moves during a run.

    Attributes:
        heard_at: (people, items) step at which a person first heard an item, -1 where not yet.
        told_by: (people, items) the person it came from, -1 where it came from its source directly.
        told: (people, items) how many tellings of it they heard, where a belief counts every telling.
        first: Beliefs before anything was heard, by variable.
        alone: What people would believe from news alone, by variable.
        beliefs: Beliefs now, by variable.
        posts: Of each wave so far.
        chances: (people,) chance that each passes an item on, by item, where it depends on their confidence alone.
    """

    heard_at: Ints
    told_by: Ints
    told: Ints | None = None
    first: dict[str, Beliefs] = field(default_factory=dict)
    alone: dict[str, Beliefs] = field(default_factory=dict)
    beliefs: dict[str, Beliefs] = field(default_factory=dict)
    posts: list[Posts] = field(default_factory=list)
    chances: dict[str, Floats] = field(default_factory=dict)


def start_state(scenario: Scenario, people: pd.DataFrame) -> State:
    """Make the state before anything has moved: nobody has heard anything, and beliefs are drawn.

    Args:
        scenario: The study.
        people: Its respondents, n rows.

    Raises:
        PopsimError: Beliefs name an attribute that the people do not have, or leave out one of its values.
    """
    n, k = len(people), len(scenario.news)
    first = {name: _draw_beliefs(scenario, name, settings, people) for name, settings in scenario.beliefs.items()}
    counts = any(settings.every_telling for settings in scenario.beliefs.values())
    told = np.zeros((n, k), np.int32) if counts else None
    return State(never_heard(n, k), never_heard(n, k), told, first, dict(first), dict(first))


def step_on(
    scenario: Scenario, state: State, people: pd.DataFrame, graph: csr_array, followers: csr_array, step: int
) -> None:
    """Move information by one step: from the followed to their followers, then the news of this step, then beliefs.

    Args:
        scenario: The study.
        state: Changed in place.
        people: n rows.
        graph: Who follows whom.
        followers: The same turned round, from `popsim.network.followers`.
        step: The step to make; step 0 only brings out its news.
    """
    for k, news in enumerate(scenario.news):
        if step and news.spreads:
            _pass_on(state, k, _item(scenario, state, people, news), followers, step)
        if news.step == step:
            direct = _hears_first(scenario, news, people, followers) & (state.heard_at[:, k] == NEVER)
            state.heard_at[direct, k] = step
            if state.told is not None:
                state.told[direct, k] += 1
    for variable, settings in scenario.beliefs.items():
        _believe(scenario, state, variable, settings, graph, step)


def treated(scenario: Scenario, news: News, n: int) -> Flags:
    """Say who is shown an item by experiment: (n,) flags.

    Args:
        scenario: Gives the seed.
        news: The item.
        n: Number of people.
    """
    return assigned(_key(scenario, news), n, news.assigned or 0.0)


def write_posts(scenario: Scenario, wave: int, answers: Mapping[int, str], n: int) -> Posts:
    """Draw who posts what they wrote in a wave.

    Args:
        scenario: With ``share_opinions``.
        wave: The wave that was just answered.
        answers: What people wrote, by person.
        n: Number of people.
    """
    settings = scenario.share_opinions
    key = streams.stream(f"{scenario.seed}/posts/{wave}")
    writes = streams.uniform(key, _WRITES, np.arange(n)) < (settings.share if settings else 0.0)
    texts = {i: text for i, text in answers.items() if writes[i] and text.strip()}
    wrote = np.zeros(n, dtype=np.bool_)
    wrote[list(texts)] = True
    return Posts(scenario.waves[wave], key, wrote, texts)


def seen_posts(posts: Posts, seen: float, graph: csr_array, first: int, last: int) -> tuple[People, People]:
    """List who came across whose post of one wave.

    Args:
        posts: Of the wave.
        seen: Probability that a given follower comes across a post.
        graph: Who follows whom.
        first: The first reader that is asked about.
        last: One past the last reader.

    Returns:
        (k,) readers, ascending, and (k,) authors.
    """
    ends = graph.indptr[first : last + 1]
    author = graph.indices[ends[0] : ends[-1]].astype(np.intp)
    reader = np.repeat(np.arange(first, last), np.diff(ends))
    wrote = posts.wrote[author]
    drawn = streams.uniform(posts.key, _SEES, author[wrote] << 32 | reader[wrote]) < seen
    return reader[wrote][drawn], author[wrote][drawn]


def attention(graph: csr_array, person: int, followed: int) -> float:
    """Give the attention that a person gives to one whom they follow, 0 where they do not.

    Args:
        graph: Who follows whom, with sorted indices.
        person: Who follows.
        followed: Who is followed.

    Example:
        >>> attention(csr_array(np.array([[0, 0.5], [0, 0]])), 0, 1)
        0.5
    """
    start, end = graph.indptr[person], graph.indptr[person + 1]
    place = start + int(np.searchsorted(graph.indices[start:end], followed))
    return float(graph.data[place]) if place < end and graph.indices[place] == followed else 0.0


def _key(scenario: Scenario, news: News) -> int:
    return int(streams.hashed(scenario.seed, streams.stream(f"news.{news.name}")) >> np.uint64(1))


def _item(scenario: Scenario, state: State, people: pd.DataFrame, news: News) -> Item:
    """Say how an item moves in this step."""
    chance: float | Floats = news.passed_on
    if news.by_agreement:
        chance = _chance(state, people, news)
    elif news.by_confidence:
        if news.name not in state.chances:
            state.chances[news.name] = _chance(state, people, news)
        chance = state.chances[news.name]
    return Item(_key(scenario, news), chance, news.rule, news.step, news.life)


def _chance(state: State, people: pd.DataFrame, news: News) -> Floats:
    """Give the chance that each person passes an item on, by how sure they are and how far they agree."""
    agrees, signal = np.zeros(len(people)), _signal(news)
    if news.by_agreement and signal is not None:
        agrees = agreement(state.beliefs[signal.variable], signal)
    odds = {"by_confidence": news.by_confidence, "by_agreement": news.by_agreement}
    return share_probability(news.passed_on, _level(people) / (len(CONFIDENCE_LEVELS) - 1), agrees, **odds)


def _pass_on(state: State, k: int, item: Item, followers: csr_array, step: int) -> None:
    heard_at, told_by = state.heard_at[:, k : k + 1], state.told_by[:, k : k + 1]
    lives = item.life is None or step <= item.start + item.life
    if state.told is not None and lives and step > item.start:
        frontier = np.flatnonzero(heard_at[:, 0] == step - 1)
        state.told[:, k] += tellings(followers, frontier, item.key, item.probability).astype(np.int32)
    spread_items(followers, [item], step, heard_at, told_by)


def _hears_first(scenario: Scenario, news: News, people: pd.DataFrame, followers: csr_array) -> Flags:
    """Draw who hears an item from its source, or is shown it by experiment."""
    if news.first == "most_followed":
        direct = most_followed(followers, news.reach)
    else:
        weight = attribute_weight(people, news.odds) if news.odds else None
        direct = first_hearers(_key(scenario, news), len(people), news.reach, weight)
    return direct if news.assigned is None else direct | treated(scenario, news, len(people))


def _believe(
    scenario: Scenario, state: State, variable: str, settings: BeliefSettings, graph: csr_array, step: int
) -> None:
    """Move what people believe about one variable: by all that they have heard, and by those they follow."""
    before, opinions = state.beliefs[variable], settings.opinions
    alone = _informed(scenario, state, variable, settings)
    if opinions is None or step == 0:
        now = alone
    elif opinions.rule == "friedkin_johnsen":
        now = friedkin_johnsen(before, graph, alone, stubbornness(alone, opinions.sd**-2.0))
    else:
        newly = replace(before, mean=before.mean + alone.mean - state.alone[variable].mean)
        if opinions.rule == "degroot":
            now = degroot(newly, graph, opinions.own)
        else:
            now = bounded_confidence(newly, graph, opinions.within * alone.spread)
    state.alone[variable], state.beliefs[variable] = alone, replace(now, precision=alone.precision)


def _informed(scenario: Scenario, state: State, variable: str, settings: BeliefSettings) -> Beliefs:
    """Give what people believe after all the signals that they have heard since the start."""
    said = [(k, signal) for k, news in enumerate(scenario.news) if (signal := _signal(news))]
    about = [(k, signal) for k, signal in said if signal.variable == variable]
    if not about or scenario.placebo_news:
        return state.first[variable]
    columns = [k for k, _ in about]
    times = np.stack([state.heard_at[:, k] != NEVER for k in columns]).T
    if state.told is not None and settings.every_telling:
        times = np.maximum(state.told[:, columns], times)
    return hear(state.first[variable], [signal for _, signal in about], times, once=not settings.every_telling)


def _signal(news: News) -> Signal | None:
    said = news.signal
    return Signal(said.variable, said.unit, said.value, said.sd, news.source) if said else None


def _draw_beliefs(scenario: Scenario, name: str, settings: BeliefSettings, people: pd.DataFrame) -> Beliefs:
    where = f"beliefs.{name}"
    groups = list(settings.quantiles)
    code: NDArray[np.int64] = np.zeros(len(people), np.int64)
    if settings.by is not None:
        values = column(people, settings.by, where).astype(str)
        odd = sorted(set(values) - set(groups))
        if odd:
            raise ScenarioError(
                f"{where}.quantiles: {odd[0]!r}, a value of {settings.by}, has none; give quantiles to "
                f"{', '.join(sorted(set(values)))}"
            )
        code = values.map({value: k for k, value in enumerate(groups)}).to_numpy().astype(np.int64)
    sd: float | Floats
    if isinstance(settings.sd, dict):
        if "confidence" not in people:
            raise ScenarioError(f"{where}.sd: this population has no confidence levels; give one number")
        sd = np.array([settings.sd[level] for level in CONFIDENCE_LEVELS])[_level(people)]
    else:
        sd = settings.sd
    draw = streams.uniform(streams.stream(f"{scenario.seed}/{where}"), np.arange(len(people)))
    return prior_beliefs(name, settings.unit, list(settings.quantiles.values()), code, sd, draw)


def _level(people: pd.DataFrame) -> NDArray[np.int64]:
    """(n,) level of confidence, 0 to 4; the middle one where people have none."""
    if "confidence" not in people:
        return np.full(len(people), len(CONFIDENCE_LEVELS) // 2)
    return people["confidence"].cat.codes.to_numpy().astype(np.int64)
