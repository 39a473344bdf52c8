"""The scenario file: everything that decides a study, as one frozen object."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from popsim import streams
from popsim.engines.presets import with_preset
from popsim.errors import PopsimError, ScenarioError
from popsim.files import Frozen, find_file, read_text, read_yaml, validate
from popsim.network import NetworkSpec, NoNetwork
from popsim.population import PopulationSpec, load_population, people_levels
from popsim.scenario.analysis import Analysis, Known, check_analysis, known_names
from popsim.scenario.information import BeliefSettings, News, PostSettings, Share, check_news, check_posts
from popsim.scenario.settings import (
    Arm,
    AssignmentSettings,
    EngineSettings,
    Modules,
    PeopleSettings,
    PriorsSettings,
    PromptSettings,
    SamplingSettings,
)
from popsim.survey.branches import branching
from popsim.survey.questionnaire import Questionnaire, load_questionnaire, set_arm
from popsim.survey.questions import Name, Text
from popsim.survey.readout import ReadoutSettings, check_readout
from popsim.sweeps import Design, Range, check_design, combinations, put

_BARE_WORDS = {"engine": "spec", "assignment": "kind", "sampling": "source", "readout": "kind", "design": "kind"}
"""Settings that a file may give as one word, and what that word stands for."""


class Scenario(Frozen):
    """One study, complete: population and questionnaire stand in it as they were read."""

    name: Name
    title: Text
    population: PopulationSpec
    size: int = Field(gt=0)
    """Number of respondents."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    group: Name = "respondents"
    """Names the kind of respondent in tables."""
    people: PeopleSettings = PeopleSettings()
    priors: PriorsSettings = PriorsSettings()
    network: NetworkSpec = NoNetwork(kind="none")
    news: tuple[News, ...] = ()
    placebo_news: bool = False
    """Every item says its placebo text instead and carries no signal."""
    beliefs: dict[Name, BeliefSettings] = {}
    """By variable: what people believe, which news and others move by rule. Answers do not depend on it."""
    share_opinions: PostSettings | None = None
    """What respondents wrote in a wave becomes posts that their followers may come across before the next."""
    remember: bool = False
    """In later waves the prompt tells respondents what they answered in the one before."""
    questionnaire: Questionnaire
    targets: tuple[Text, ...] = ()  # files of human figures for popsim compare, by path or shipped name
    presentation: Literal["one_prompt", "pages"] = "one_prompt"
    """The whole questionnaire in one prompt, or a conversation with one page a turn."""
    arms: dict[Name, Arm] = Field(min_length=1)
    assignment: AssignmentSettings = AssignmentSettings()
    waves: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    """Steps at which the questionnaire is fielded."""
    draws: int = Field(default=1, ge=1)
    """How often each person is asked, to tell spread within a person from spread between persons."""
    modules: Modules = Modules()
    prompt: PromptSettings = PromptSettings()
    sampling: SamplingSettings = SamplingSettings()
    engine: EngineSettings = EngineSettings()
    readout: ReadoutSettings = ReadoutSettings()
    attempts: int = Field(default=3, ge=1)
    """How often at most a prompt is asked whose reply cannot be read."""
    max_failures: Share = 1.0
    """Share of failed answers above which the run counts as failed."""
    feed_limit: int = Field(default=5, ge=1)
    """Most items that the prompt's social media section shows: the newest, and of these those of the strongest ties."""
    sweep: dict[str, tuple[Any, ...] | Range] = {}
    """Dotted path into this file -> values to scan."""
    design: Design = Design()
    """Which combinations of them are points; every one unless it says otherwise."""
    replicates: int = Field(default=1, ge=1)
    """How often a sweep repeats each point with other people and other draws."""
    analysis: Analysis | None = Field(default=None, exclude=True)
    """What is planned to be computed. No answer depends on it, so it is no part of a run's identity."""

    @field_validator(*_BARE_WORDS, mode="before")
    @classmethod
    def _bare_word(cls, given: Any, info: ValidationInfo) -> Any:
        return {_BARE_WORDS[str(info.field_name)]: given} if isinstance(given, str) else given

    @field_validator("share_opinions", mode="before")
    @classmethod
    def _bare_share(cls, opinions: Any) -> Any:
        return {"share": opinions} if isinstance(opinions, int | float) else opinions

    @field_validator("waves")
    @classmethod
    def _increasing(cls, waves: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in itertools.pairwise(waves)):
            raise ValueError(f"waves must increase, not {list(waves)}")
        return waves

    @field_validator("sweep")
    @classmethod
    def _has_values(cls, sweep: dict[str, tuple[Any, ...] | Range]) -> dict[str, tuple[Any, ...] | Range]:
        for path, values in sweep.items():
            if not values:
                raise ValueError(f"{path}: give at least one value to scan")
        return sweep

    @model_validator(mode="after")
    def _arms_fit(self) -> "Scenario":
        check_design(self.sweep, self.design)
        names = [item.name for item in self.news]
        if len(set(names)) < len(names):
            raise ValueError(f"news: a name stands twice in {names}")
        for arm in self.arms:
            check_readout(self.readout, self.shown(arm), reasoning=self.prompt.reasoning)
        return self

    @model_validator(mode="after")
    def _presented(self) -> "Scenario":
        where = branching(self.questionnaire)
        if self.presentation == "one_prompt" and where:
            raise ValueError(f"questionnaire {self.questionnaire.name}: {where} needs presentation: pages")
        if self.presentation == "pages" and self.readout.kind != "generate":
            raise ValueError(
                f"readout: {self.readout.kind}: nobody writes an answer that the next page could go on from; write "
                "presentation: one_prompt, or readout: generate"
            )
        if self.assignment.kind == "crossed":
            if self.share_opinions:
                raise ValueError("assignment: crossed: everybody answers once in every arm, so take out share_opinions")
            if len({arm.share for arm in self.arms.values()}) > 1:
                raise ValueError("assignment: crossed puts everybody into every arm; take share out of the arms")
        return self

    @model_validator(mode="after")
    def _information_fits(self) -> "Scenario":
        check_news(self.news, self.beliefs, last_wave=self.waves[-1], placebo=self.placebo_news)
        texts = [question.name for question in self.questionnaire.questions if question.kind == "text"]
        if self.share_opinions:
            check_posts(self.share_opinions, texts)
        return self

    @model_validator(mode="after")
    def _plan_fits(self) -> "Scenario":
        if self.analysis:
            vignettes = self.questionnaire.vignettes
            swept = self.sweep.get("questionnaire", ())
            known = Known(
                shown=[self.shown(arm) for arm in self.arms],
                arms=list(dict.fromkeys([*self.arms, *(arm for vignette in vignettes for arm in vignette.arms)])),
                groups=list(dict.fromkeys([self.group, *(name for v in vignettes for name in v.references)])),
                people=people_levels(self.population),
                wordings=[self.questionnaire.name, *(known_names(swept) if isinstance(swept, tuple) else ())],
                waves=len(self.waves),
            )
            check_analysis(self.analysis, known)
        return self

    def __repr__(self) -> str:
        """Say in one line what is asked of whom."""
        arms, questions = ", ".join(self.arms), len(self.questionnaire.questions)
        return f"<Scenario {self.name}: {self.size} of {self.population.name}, {questions} questions, arms {arms}>"

    @property
    def hangs_on_replies(self) -> bool:
        """Whether what is asked later hangs on what was replied before."""
        return self.remember or self.share_opinions is not None or self.presentation == "pages"

    def shown(self, arm: str) -> Questionnaire:
        """Give the questionnaire as one arm sees it."""
        return set_arm(self.questionnaire.of_group(self.group), arm, self.arms[arm].parameters)

    def rng(self, purpose: str) -> np.random.Generator:
        """Make the random generator of one purpose, for example ``"network"``."""
        return streams.rng(self.seed, purpose)

    def replicate(self, number: int) -> "Scenario":
        """Give the same scenario with the seed of a replicate; replicate 0 keeps the scenario's own."""
        if number == 0:
            return self
        seed = int(streams.hashed(self.seed, streams.stream("replicate"), number) >> np.uint64(1))
        return self.model_copy(update={"seed": seed})


class Point(NamedTuple):
    """One combination of a sweep's values."""

    number: int
    values: dict[str, Any]
    scenario: Scenario


def load_scenario(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Read a scenario with its population and its questionnaire.

    Args:
        name: A path, or the name of a shipped scenario.
        overrides: Values that replace those of the file, by dotted path, for example ``{"size": 100}``. Another
            questionnaire or population needs another plan, or ``{"analysis": None}``.

    Raises:
        PopsimError: The file, a path in it, or a value is wrong.

    Example:
        >>> load_scenario("oil_price_fall", {"size": 10}).size
        10
    """
    return _read(name, overrides)[2]


def sweep_points(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Iterator[Point]:
    """Read a scenario and give every point of its sweep, each checked as a whole scenario.

    Args:
        name: A path, or the name of a shipped scenario.
        overrides: Values that replace those of the file, by dotted path.

    Returns:
        The points; one without values where nothing is swept. Their scenarios have no sweep of their own.

    Raises:
        PopsimError: A path addresses nothing, or a value is wrong at one point; the message names the point.

    Example:
        >>> [point.values for point in sweep_points("oil_price_fall")]
        [{}]
    """
    path, data, base = _read(name, overrides)
    swept = {dotted.partition(".")[0] for dotted in base.sweep}
    read = {key: getattr(base, key) for key in ("population", "questionnaire") if key not in swept}
    known = base.model_dump()
    for number, point in enumerate(combinations(base.sweep, base.design, base.seed)):
        changed = deepcopy(data) | read
        for dotted, value in point.items():
            put(changed, known, dotted, value, f"{path}: sweep")
        try:
            yield Point(number, point, single(_resolve(changed, path)))
        except PopsimError as problem:
            raise type(problem)(f"{problem} (at sweep point {point})") from None


def single(scenario: Scenario) -> Scenario:
    """Leave out what only a sweep reads, so that a point and a run of the same values are the same scenario."""
    return scenario.model_copy(update={"sweep": {}, "design": Design(), "replicates": 1})


def _read(name: str | Path, overrides: Mapping[str, Any] | None) -> tuple[Path, dict[str, Any], Scenario]:
    """Read a scenario file with overrides: its path, its plain data and the whole."""
    path = find_file(str(name), "scenarios", ScenarioError)
    data = read_yaml(path, ScenarioError)
    base = _resolve(data, path)
    known = {**base.model_dump(), "analysis": None}
    for dotted, value in (overrides or {}).items():
        put(data, known, dotted, value, f"{path}: overrides")
    return path, data, _resolve(data, path) if overrides else base


def scenario_hash(scenario: Scenario) -> str:
    """Name a scenario by its content.

    Example:
        >>> len(scenario_hash(load_scenario("oil_price_fall")))
        64
    """
    return hashlib.sha256(scenario.model_dump_json().encode()).hexdigest()


def _resolve(data: Mapping[str, Any], path: Path) -> Scenario:
    """Read what a scenario names, and check the whole."""
    whole = with_preset(data, path)
    for key, load in (("population", load_population), ("questionnaire", load_questionnaire)):
        if isinstance(whole.get(key), str):
            try:
                whole[key] = load(whole[key], path.parent)
            except PopsimError as problem:
                raise type(problem)(f"{path}: {key}: {problem}") from None
    network = whole.get("network")
    if isinstance(network, Mapping) and network.get("kind") == "file" and isinstance(network.get("path"), str):
        found = _beside(network["path"], path, "network.path")
        whole["network"] = {**network, "path": str(found), "sha256": hashlib.sha256(found.read_bytes()).hexdigest()}
    prompt = whole.get("prompt")
    if isinstance(prompt, Mapping) and isinstance(prompt.get("template"), str):
        template = read_text(_beside(prompt["template"], path, "prompt.template"), ScenarioError)
        whole["prompt"] = {**prompt, "template": template}
    return validate(Scenario, whole, str(path), ScenarioError)


def _beside(name: str, path: Path, where: str) -> Path:
    """Find a file that a scenario names: beside it, or from the working directory."""
    for folder in (path.parent, Path()):
        if (folder / name).is_file():
            return folder / name
    raise ScenarioError(f"{path}: {where}: {name}: no such file")


def to_plain(scenario: Scenario) -> dict[str, Any]:
    """Give a scenario as plain JSON data, for the manifest.

    Example:
        >>> to_plain(load_scenario("oil_price_fall"))["name"]
        'oil_price_fall'
    """
    plain: dict[str, Any] = json.loads(scenario.model_dump_json())
    return plain
