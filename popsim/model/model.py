"""The Mesa model: respondents who hear things, and waves of prompts that somebody else answers.

The clock: step 0 is the state before anything has moved; news of step 0 has been heard by those it reaches directly.
``step()`` moves information by one step and asks nobody. ``waves()`` calls it between waves and yields a `Round` of
prompts, which is to be asked before the generator is resumed. Within a wave nobody sees another's answer.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal

import mesa
import pandas as pd
from scipy.sparse import csr_array

from popsim.engines import Prompt, Reply
from popsim.model.draw import draw_graph, draw_people, seat_people
from popsim.model.information import attention, seen_posts, start_state, step_on, write_posts
from popsim.model.pages import Conversations, Unanswered
from popsim.model.round import Round, load_words
from popsim.network import NEVER, feed, followers
from popsim.population import Words
from popsim.prompts import load_layout
from popsim.scenario import Scenario
from popsim.slots import fill
from popsim.survey import Orders, Reading, assign_versions, draw_orders, versions

Readings = Sequence[Reading]


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
        """List what the person has heard, newest first, with ``text``, ``source`` and ``step``."""
        return self.model.feed_of(self.row)


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
        self.arms = tuple(scenario.arms)
        self.seat, self.arm = seat_people(scenario, self.people)
        self.questionnaires = tuple(scenario.shown(arm) for arm in self.arms)
        shown = [versions(questionnaire) for questionnaire in self.questionnaires]
        self.versions = tuple(version for of_arm in shown for version in of_arm)
        self.version = self.arm * len(shown[0]) + assign_versions(scenario.rng("versions"), self.arm, len(shown[0]))
        self.orders = draw_orders(self.questionnaires[0], scenario.seed, len(self.people))
        self.words = Words(scenario.population, scenario.questionnaire.language, self.people)
        self.items, self._passed_on, self._post = _told(scenario)
        self.state = start_state(scenario, self.people)
        self.readings: list[Readings] = []
        """Of each wave so far; empty where nothing hangs on them, since a million people's would fill the memory."""
        self._followers = followers(self.graph)
        self._open = _posted_questions(scenario)
        self._steps_itself = respondent.step is not mesa.Agent.step
        self._answer = answer
        respondent.create_agents(self, len(self.people))
        self.respondents: list[Respondent] = list(self.agents)
        self._move(0)
        if answer:
            self._field_due()

    def step(self) -> None:
        """Move information by one step, from the followed to their followers, and bring out the news of this step."""
        self._move(self.steps)
        if self._steps_itself:
            self.agents.do("step")
        if self._answer:
            self._field_due()

    def waves(self) -> Generator[Round, Readings, None]:
        """Yield each round of prompts; send back what was read from its replies, in the order of the prompts.

        Nothing need be sent back where nothing that is asked later hangs on it (`Scenario.hangs_on_replies`).
        A wave is one round, or with ``presentation: pages`` one for each page that anybody is shown.
        """
        for wave, at in enumerate(self.scenario.waves):
            while self.steps < at:
                self.step()
            yield from self._field(wave)

    def unanswered(self, wave: int = 0) -> tuple[Round, ...]:
        """Give the rounds of a wave as if nobody replied and every page were shown, to look at or to count."""
        if self.scenario.presentation == "one_prompt":
            return (Round(self, wave),)
        talks = Unanswered(self, load_words(self))
        return tuple(Round(self, wave, number, talks) for number in range(max(map(len, talks.pages))))

    def orders_of(self, person: int) -> Orders:
        """Give the order in which a person is shown the options of each question that shuffles them."""
        return tuple((name, tuple(order[person].tolist())) for name, order in self.orders.items())

    def _field(self, wave: int) -> Generator[Round, Readings, None]:
        """Put the questionnaire: in one round, or in one for each page that anybody is shown."""
        if self.scenario.presentation == "one_prompt":
            self._take((yield Round(self, wave)))
            return
        talks = Conversations(self, load_words(self))
        for number in range(max(map(len, talks.pages))):
            asked = Round(self, wave, number, talks)
            if len(asked):
                talks.take(number, asked.sitting, (yield asked))
        self._take(talks.readings())

    def _field_due(self) -> None:
        wave = len(self.readings)
        if self._answer and wave < len(self.scenario.waves) and self.scenario.waves[wave] == self.steps:
            rounds = self._field(wave)
            asked: Round | None = next(rounds)
            while asked is not None:
                readings = [asked.read(i, reply) for i, reply in enumerate(self._answer(asked))]
                try:
                    asked = rounds.send(readings)
                except StopIteration:
                    asked = None

    def feed_of(self, person: int) -> tuple[dict[str, Any], ...]:
        """List what a person has heard: the newest first, and of these what came over the strongest tie.

        Args:
            person: The row.

        Returns:
            As many items as the scenario's ``feed_limit`` allows, each with ``text``, ``source``, ``step``, ``signal``
            and ``told_by``, the person it came from.
        """
        state, opinions, heard = self.state, self.scenario.share_opinions, []
        for k, step in enumerate(state.heard_at[person].tolist()):
            if step != NEVER:
                teller = int(state.told_by[person, k])
                said = self.items[k] if teller == NEVER else self._passed_on[k]
                heard.append({**said, "step": step, "told_by": teller})
        for posts in state.posts:
            if opinions and posts.step < self.steps:
                _, authors = seen_posts(posts, opinions.seen, self.graph, person, person + 1)
                heard += [
                    {**self._post, "text": posts.texts[a], "step": posts.step + 1, "told_by": a}
                    for a in authors.tolist()
                ]
        ties = [attention(self.graph, person, one["told_by"]) if one["told_by"] != NEVER else 0.0 for one in heard]
        return tuple(heard[i] for i in feed([one["step"] for one in heard], ties, self.scenario.feed_limit))

    def _move(self, step: int) -> None:
        step_on(self.scenario, self.state, self.people, self.graph, self._followers, step)

    def _take(self, readings: Readings) -> None:
        """Keep what was read in a wave; some of it becomes posts."""
        wave, draws = len(self.readings), self.scenario.draws
        self.readings.append(readings if self._answer or self.scenario.remember else ())
        if self.scenario.share_opinions:
            said = zip(self.seat.tolist(), readings[::draws], strict=True)
            wrote = {person: text for person, one in said if (text := _written(one, self._open))}
            self.state.posts.append(write_posts(self.scenario, wave, wrote, len(self.people)))


Said = dict[str, Any]


def _told(scenario: Scenario) -> tuple[list[Said], list[Said], Said]:
    """Word the items of a scenario: from their source and passed on; then what all posts have in common."""
    words = load_layout(scenario.prompt.layout, scenario.questionnaire.language).heard
    items = []
    for news in scenario.news:
        item = news.model_dump(include={"name", "text", "source", "signal"})
        if news.signal:
            item["text"] = item["text"].replace("{{value}}", f"{news.signal.value:g}")
        items.append({**item, "text": news.placebo, "signal": None} if scenario.placebo_news else item)
    passed_on = [{**item, "source": fill(words.passed_on, {"source": item["source"]})} for item in items]
    return items, passed_on, {"name": "post", "source": words.follower, "signal": None}


def _written(reading: Reading, questions: Sequence[str]) -> str:
    """Find what a person wrote in answer to the first of these questions that they answered."""
    return next((one.label for one in reading.answers if one.question in questions and one.status == "ok"), "")


def _posted_questions(scenario: Scenario) -> tuple[str, ...]:
    """Name the open questions whose answers may be posted."""
    posts = scenario.share_opinions
    if posts and posts.question:
        return (posts.question,)
    return tuple(question.name for question in scenario.questionnaire.questions if question.kind == "text")
