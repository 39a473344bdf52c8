"""Versions of a questionnaire: which of its vignettes a respondent gets, and in which order everything comes."""

from collections.abc import Iterator, Mapping
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from popsim.streams import stream, uniform
from popsim.survey.questionnaire import Page, Questionnaire, Vignette
from popsim.survey.questions import ChoiceQuestion, MultipleQuestion

Orders = tuple[tuple[str, tuple[int, ...]], ...]
"""For each question with shuffled options its name, and the positions of its options in the order shown."""


def versions(questionnaire: Questionnaire) -> tuple[Questionnaire, ...]:
    """List every version of a questionnaire, each of which is as likely as any other.

    Args:
        questionnaire: Its ``show`` and ``shuffle`` say what varies.

    Returns:
        Questionnaires with the vignettes that are shown, in their order; the questionnaire itself where nothing varies.

    Example:
        >>> from popsim.survey import load_questionnaire
        >>> len(versions(load_questionnaire("oil_price"))), len(versions(load_questionnaire("four_vignettes")))
        (1, 24)
    """
    return tuple(questionnaire.model_copy(update={"vignettes": shown}) for shown in _shown(questionnaire))


def assign_versions(rng: np.random.Generator, arm: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Assign versions at random, within each arm to as equal numbers as whole people allow.

    Args:
        rng: Where the assignment comes from.
        arm: (n,) the arm of each respondent.
        count: How many versions there are in an arm.

    Returns:
        (n,) the position of each respondent's version in `versions`.

    Example:
        >>> sorted(assign_versions(np.random.default_rng(0), np.array([0, 0, 1, 1]), 2).tolist())
        [0, 0, 1, 1]
    """
    version = np.zeros(len(arm), dtype=np.int64)
    for one in range(int(arm.max(initial=-1)) + 1):
        people = rng.permutation(np.flatnonzero(arm == one))
        version[people] = (np.arange(len(people)) + rng.integers(count)) % count
    return version


def draw_orders(questionnaire: Questionnaire, seed: int, n: int) -> dict[str, NDArray[np.int64]]:
    """Draw for each respondent the order in which they are shown the options of every question that shuffles them.

    Args:
        questionnaire: Its questions say which.
        seed: Of the run.
        n: Number of respondents.

    Returns:
        By question (n, options) positions of the options, in the order shown.

    Example:
        >>> from popsim.survey import load_questionnaire
        >>> draw_orders(load_questionnaire("oil_price"), 1, 10)
        {}
    """
    return {
        question.name: np.argsort(
            uniform(stream(f"{seed}/options/{question.name}"), np.arange(n)[:, None], np.arange(len(question.options))),
            axis=1,
        )
        for question in questionnaire.questions
        if isinstance(question, ChoiceQuestion | MultipleQuestion) and question.shuffle
    }


def in_order(questionnaire: Questionnaire, orders: Orders) -> Questionnaire:
    """Give a questionnaire with the options of some questions in another order.

    Args:
        questionnaire: Any.
        orders: By question; others stay as they are.
    """
    if not orders:
        return questionnaire
    of = dict(orders)
    vignettes = (
        vignette.model_copy(update={"pages": tuple(_ordered(page, of) for page in vignette.pages)})
        for vignette in questionnaire.vignettes
    )
    return questionnaire.model_copy(update={"vignettes": tuple(vignettes)})


def _ordered(page: Page, of: Mapping[str, tuple[int, ...]]) -> Page:
    questions = tuple(
        question.model_copy(update={"options": tuple(question.options[i] for i in of[question.name])})
        if isinstance(question, ChoiceQuestion | MultipleQuestion) and question.name in of
        else question
        for question in page.questions
    )
    return page.model_copy(update={"questions": questions})


def _shown(questionnaire: Questionnaire) -> Iterator[tuple[Vignette, ...]]:
    order = permutations if "vignettes" in questionnaire.shuffle else combinations
    for some in order(questionnaire.vignettes, questionnaire.show or len(questionnaire.vignettes)):
        yield some
        if "questions" in questionnaire.shuffle:
            yield tuple(_backwards(vignette) for vignette in some)


def _backwards(vignette: Vignette) -> Vignette:
    pages = (_turned(page) for page in vignette.pages)
    return vignette.model_copy(update={"pages": tuple(pages)})


def _turned(page: Page) -> Page:
    return page.model_copy(update={"questions": page.questions[::-1]})
