"""A study altered so that whoever reads it answers otherwise, and whoever remembers it does not."""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, NamedTuple

import yaml

from popsim import streams
from popsim.model import Respondent
from popsim.population import Words
from popsim.scenario import Modules, Scenario
from popsim.survey import Questionnaire

Expected = Literal["", "vanishes", "turns", "stays"]
_TEXTS = {"title", "text", "introduction", "topic", "task", "label", "cause", "heading", "options"}


class Stranger(Respondent):
    """A respondent with the persona of somebody else."""

    @property
    def other(self) -> int:
        """The row whose persona is told."""
        return _strangers(self.model.scenario.seed, len(self.model.people))[self.row]

    @property
    def person(self) -> dict[str, Any]:
        """The other's row."""
        return self.model.words.person(self.other)

    def words(self) -> Mapping[str, str]:
        """Give the other's words."""
        words: Words = self.model.words
        return words.of(self.other)


@lru_cache(maxsize=8)
def _strangers(seed: int, n: int) -> tuple[int, ...]:
    """Give whose persona each respondent has."""
    return tuple(streams.rng(seed, "strangers").permutation(n).tolist())


class Version(NamedTuple):
    """One version of a study."""

    name: str
    scenario: Scenario
    expected: Expected
    """What the response of somebody who reads the text does; nothing is expected of some."""
    respondent: type[Respondent] = Respondent


@lru_cache(maxsize=1)
def settings() -> Mapping[str, Any]:
    """Read what is altered, and how."""
    found: Mapping[str, Any] = yaml.safe_load(
        resources.files("popsim.study").joinpath("probe.yaml").read_text(encoding="utf-8")
    )
    return found


def alterations(scenario: Scenario) -> Iterator[Version]:
    """Give the study as it is, and every alteration that is possible.

    Altered questionnaires carry no human moments, since nobody was asked them.

    Args:
        scenario: The study.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> [version.name for version in alterations(load_scenario("oil_price_fall"))][:4]
        ['original', 'no persona', 'shuffled personas', 'placebo date']
    """
    yield Version("original", scenario, "")
    yield Version("no persona", scenario.model_copy(update={"modules": _NOBODY}), "")
    yield Version("shuffled personas", scenario, "stays", Stranger)
    later = date.fromisoformat(str(settings()["placebo_date"]))
    dated = scenario.prompt.model_copy(update={"as_of": later})
    if scenario.prompt.template is None:
        yield Version("placebo date", scenario.model_copy(update={"prompt": dated}), "stays")
    yield Version("renamed region", _with(scenario, _renamed), "stays")
    if any(vignette.name in settings()["numbers"] for vignette in scenario.questionnaire.vignettes):
        yield Version("altered numbers", _with(scenario, _next_to_nothing), "vanishes")
    if all(len(vignette.arms) == 2 for vignette in scenario.questionnaire.vignettes):
        yield Version("reversed cause", _with(scenario, _reversed), "turns")


_NOBODY = Modules(personal=False, priors=False, confidence=False, social=False)


def _with(scenario: Scenario, alter: Any) -> Scenario:
    """Alter the questionnaire of a study."""
    plain = scenario.questionnaire.model_dump(mode="json")
    for vignette in plain["vignettes"]:
        vignette |= {"reference": None, "references": {}}
        for question in (question for page in vignette["pages"] for question in page["questions"]):
            question |= {"reference": None, "references": {}}
    altered = Questionnaire.model_validate(alter(plain))
    return scenario.model_copy(update={"questionnaire": altered, "targets": ()})


def _next_to_nothing(plain: dict[str, Any]) -> dict[str, Any]:
    """Make every shock too small to matter."""
    for vignette in plain["vignettes"]:
        change = settings()["numbers"].get(vignette["name"], {})
        known = set(vignette["parameters"])
        vignette["parameters"] |= {name: to for name, to in change.get("parameters", {}).items() if name in known}
        for arm, values in change.get("arms", {}).items():
            if arm in vignette["arms"]:
                vignette["arms"][arm] |= values
    return plain


def _reversed(plain: dict[str, Any]) -> dict[str, Any]:
    """Tell each arm the story of the other one, under its own heading."""
    for vignette in plain["vignettes"]:
        first, second = vignette["arms"]
        stories = vignette["arms"]
        vignette["arms"] = {
            arm: {**stories[other], **{k: v for k, v in stories[arm].items() if k == "heading"}}
            for arm, other in ((first, second), (second, first))
        }
    return plain


def _renamed(plain: Any, key: str = "") -> Any:
    """Move the study to a country that does not exist."""
    if isinstance(plain, dict):
        return {name: _renamed(node, name) for name, node in plain.items()}
    if isinstance(plain, list):
        return [_renamed(node, key) for node in plain]
    if not isinstance(plain, str) or key not in _TEXTS:
        return plain
    names: dict[str, str] = settings()["names"]
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in sorted(names, key=len, reverse=True)))
    return pattern.sub(lambda found: names[found.group()], plain)
