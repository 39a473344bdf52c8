"""Conversations: a questionnaire put page by page, each page hanging on what was said before."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popsim.prompts import Layout, next_page, quoted
from popsim.survey import (
    Answer,
    Orders,
    Page,
    Question,
    Questionnaire,
    Reading,
    Vignette,
    fill_answers,
    in_order,
    join_readings,
    repeat,
)
from popsim.survey.branches import ANSWER, answer_slots

if TYPE_CHECKING:
    from popsim.model.model import PopulationModel

Message = tuple[str, str]
Said = tuple[tuple[str, str], ...]


class Turn(NamedTuple):
    """A page that a respondent was shown, and what they replied."""

    page: int
    reply: str


class Conversations:
    """The conversations of one wave; sitting ``i`` is draw ``i % draws`` of seat ``i // draws``.

    Args:
        model: Whose respondents are asked.
        layout: Words the turns.

    Attributes:
        pages: By version of the questionnaire its pages in order, each with the vignette that it belongs to.
    """

    def __init__(self, model: "PopulationModel", layout: Layout) -> None:
        self.pages = tuple(pages_of(shown) for shown in model.versions)
        self._model, self._layout = model, layout
        sittings = len(model.seat) * model.scenario.draws
        self._turns: list[list[Turn]] = [[] for _ in range(sittings)]
        self._readings: list[list[Reading]] = [[] for _ in range(sittings)]
        self._rows: list[dict[str, list[Answer]]] = [{} for _ in range(sittings)]
        self._questions = {q.name: q for shown in model.versions for q in shown.questions}
        self._asked = np.zeros(sittings, dtype=np.int64)
        self._text = lru_cache(maxsize=4096)(self._write)

    def reach(self, number: int) -> NDArray[np.intp]:
        """List the sittings that a page is shown in: those whose answers so far meet its conditions."""
        draws, version = self._model.scenario.draws, self._model.version
        return np.array(
            [i for i in range(len(self._turns)) if self._shows(i, self.pages[version[i // draws]], number)],
            dtype=np.intp,
        )

    def before(self, sittings: NDArray[np.intp]) -> NDArray[np.int64]:
        """Count the questions that have been asked in some sittings."""
        return np.asarray(self._asked[sittings])

    def take(self, number: int, sittings: NDArray[np.intp], readings: Sequence[Reading]) -> None:
        """Go on with what was read of the replies to a page."""
        for i, reading in zip(sittings.tolist(), readings, strict=True):
            self._turns[i].append(Turn(number, reading.text))
            self._readings[i].append(reading._replace(text=""))
            for row in reading.answers:
                self._rows[i].setdefault(row.question, []).append(row)
            self._asked[i] += len({row.question for row in reading.answers})

    def readings(self) -> list[Reading]:
        """Put the pages of each sitting together."""
        return [join_readings(readings) for readings in self._readings]

    def messages(self, i: int, number: int, first: str, orders: Orders) -> tuple[Message, ...]:
        """Give a conversation up to a page, which is asked now.

        Args:
            i: The sitting.
            number: The page.
            first: The first turn.
            orders: Of shuffled options.
        """
        said = [turn for turn in self._turns[i] if turn.page < number]
        shown = [*(turn.page for turn in said), number]
        messages = [("user", first)]
        for turn, page in zip(said, shown[1:], strict=True):
            # A page whose reply never came, or is blank, stands as not provided: templates refuse an empty turn.
            messages.append(("assistant", turn.reply if turn.reply.strip() else self._layout.not_provided))
            messages.append(("user", self._later(i, page, shown, orders)))
        return tuple(messages)

    def _later(self, i: int, number: int, shown: Sequence[int], orders: Orders) -> str:
        """Write a later page for one sitting; the vignette's title and introduction stand on its first page shown."""
        version = int(self._model.version[i // self._model.scenario.draws])
        pages = self.pages[version]
        vignette, page = pages[number]
        headed = any(pages[other][0].name == vignette.name for other in shown if other < number)
        said = tuple((name, self._repeated(i, name)) for name in sorted(answer_slots(page)))
        return self._text(version, number, headed, orders, said)

    def _write(self, version: int, number: int, headed: bool, orders: Orders, said: Said) -> str:
        vignette, page = self.pages[version][number]
        if headed:
            vignette = vignette.model_copy(update={"title": "", "introduction": ""})
        whole = self._model.versions[version].model_copy(update={"introduction": ""})
        shown = in_order(cut(whole, vignette, fill_answers(page, dict(said))), orders)
        return next_page(self._layout, shown, reasoning=self._model.scenario.prompt.reasoning)

    def _repeated(self, i: int, name: str) -> str:
        said = repeat(self._questions[name], self._rows[i].get(name, ()), self._layout.form.comma)
        return quoted(said) if said else self._layout.not_provided

    def _shows(self, i: int, pages: Sequence[tuple[Vignette, Page]], number: int) -> bool:
        return number < len(pages) and pages[number][1].is_shown(
            lambda one: one.met(self._questions[one.question], self._rows[i].get(one.question, ()))
        )


class Unanswered(Conversations):
    """Conversations in which nobody has replied: every page is shown, and answers stand as the slots they go into."""

    def __init__(self, model: "PopulationModel", layout: Layout) -> None:
        super().__init__(model, layout)
        draws = model.scenario.draws
        for i, turns in enumerate(self._turns):
            turns += [Turn(page, "…") for page in range(len(self.pages[model.version[i // draws]]))]

    def _shows(self, i: int, pages: Sequence[tuple[Vignette, Page]], number: int) -> bool:
        return number < len(pages)

    def _repeated(self, i: int, name: str) -> str:
        return f"{{{{{ANSWER}{name}}}}}"


def pages_of(questionnaire: Questionnaire) -> tuple[tuple[Vignette, Page], ...]:
    """List the pages of a questionnaire in order, each with the vignette that it belongs to."""
    return tuple((vignette, page) for vignette in questionnaire.vignettes for page in vignette.pages)


def cut(questionnaire: Questionnaire, vignette: Vignette, page: Page) -> Questionnaire:
    """Cut a questionnaire down to one page of one vignette."""
    alone = vignette.model_copy(update={"pages": (page,)})
    return questionnaire.model_copy(update={"vignettes": (alone,)})


def questions_of(questionnaire: Questionnaire, number: int) -> tuple[Question, ...]:
    """Give the questions of a page, none where there are fewer pages."""
    pages = pages_of(questionnaire)
    return pages[number][1].questions if number < len(pages) else ()
