"""Versions of a questionnaire: which of its vignettes a respondent gets, and in which order everything comes."""

from collections.abc import Iterator
from itertools import combinations, permutations

from popsim.survey.questionnaire import Page, Questionnaire, Vignette


def versions(questionnaire: Questionnaire) -> tuple[Questionnaire, ...]:
    """List every version of a questionnaire, each of which is as likely as any other.

    Args:
        questionnaire: Its ``show`` and ``shuffle`` say what varies.

    Returns:
        Questionnaires with the vignettes that are shown, in their order; the questionnaire itself where nothing varies.

    Example:
        >>> from popsim.survey import load_questionnaire
        >>> len(versions(load_questionnaire("oil_price"))), len(versions(load_questionnaire("macro_vignettes")))
        (1, 24)
    """
    return tuple(questionnaire.model_copy(update={"vignettes": shown}) for shown in _shown(questionnaire))


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
