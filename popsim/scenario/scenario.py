"""The scenario file: everything that decides a study, as one frozen object."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from popsim import streams
from popsim.engines import Sampling
from popsim.engines.presets import with_preset
from popsim.errors import PopsimError, ScenarioError
from popsim.files import Frozen, find_file, read_text, read_yaml, validate
from popsim.network import NetworkSpec, NoNetwork
from popsim.population import CONFIDENCE_LEVELS, PopulationSpec, load_population
from popsim.scenario.information import BeliefSettings, News, PostSettings, Share, check_news, check_posts
from popsim.survey.questionnaire import Parameter, Questionnaire, load_questionnaire, set_arm
from popsim.survey.questions import Name, Text
from popsim.survey.readout import ReadoutSettings, check_readout
from popsim.sweeps import Design, Range, check_design, combinations, put


class Arm(Frozen):
    """One treatment of the experiment."""

    share: float = Field(default=1.0, gt=0)
    """Relative share of respondents; shares are scaled to sum to 1."""
    parameters: dict[Name, Parameter] = {}
    """Values of ``{{slots}}`` in this arm, before those of the questionnaire."""


class Modules(Frozen):
    """Parts of a respondent that the prompt shows; switching one off is an ablation."""

    personal: bool = True
    priors: bool = True
    confidence: bool = True
    social: bool = True

    @property
    def on(self) -> frozenset[str]:
        """The names of those that are switched on."""
        return frozenset(name for name, on in self.model_dump().items() if on)


class PeopleSettings(Frozen):
    """What is set for everybody instead of being drawn."""

    confidence: Literal["drawn", *CONFIDENCE_LEVELS] = "drawn"  # type: ignore[valid-type]
    confidence_shift: int = Field(default=0, ge=-4, le=4)
    """Levels by which everybody's drawn confidence is raised, or lowered if negative; it ends at the ends."""

    @model_validator(mode="after")
    def _one_way(self) -> "PeopleSettings":
        if self.confidence != "drawn" and self.confidence_shift:
            raise ValueError(f"confidence_shift moves what is drawn, and confidence is {self.confidence!r}; leave one")
        return self


class PriorsSettings(Frozen):
    """Prior expectations: how they are drawn and how the prompt states them."""

    scope: Literal["unconditional", "scenario_2"] = "unconditional"
    """``scenario_2`` ties them to the second scenario, as the model card does; that gives the answer's sign away."""
    period: str | None = None
    """A period of the population's table of expectations; its default unless given."""
    in_power: str | None = None
    """The party in power; the population's default unless given."""
    party_tilt: float | None = None
    """Log-odds by which the party in power's followers are more optimistic; the population's default unless given."""

    @property
    def overrides(self) -> dict[str, str | float]:
        """What differs from the population file."""
        return self.model_dump(exclude_none=True, exclude={"scope"})


class PromptSettings(Frozen):
    """How a prompt is worded."""

    layout: str = "survey_v1"
    template: str | None = None
    """Text of the user's own template, read from the file that the scenario names."""
    reasoning: bool = True
    """Ask for recall and reasoning before the answer, or for the JSON object alone."""
    weighing: bool = True
    """Whether the instructions say how confidence weighs prior expectations against what was heard."""
    as_of: date | None = None
    """A date that the prompt states as today."""


class SamplingSettings(Frozen):
    """How tokens are drawn, the same on every engine; the bare word ``model`` leaves it to the model's own settings."""

    source: Literal["scenario", "model"] = "scenario"
    """Whose temperature, top-p and top-k count: ``model`` takes those of the model's generation_config."""
    temperature: float = Field(default=1.0, ge=0, le=10)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    """Bounds the reply; worked out from the questionnaire unless given (`popsim.survey.longest_reply`)."""
    structured: bool = False
    """Hold each reply to the grammar of a readable one. It moves what the model would have said outside that grammar
    into it, so the answers are no longer a plain draw from the model."""

    @model_validator(mode="after")
    def _one_source(self) -> "SamplingSettings":
        given = self.model_dump(include={"temperature", "top_p", "top_k"}, exclude_defaults=True)
        if self.source == "model" and given:
            raise ValueError(f"source 'model' leaves {', '.join(given)} to the model; take it out")
        return self

    def wire(self, longest: int) -> Sampling:
        """Give the same as an engine takes it, for replies of at most so many tokens."""
        drawn = (self.temperature, self.top_p, self.top_k)
        return Sampling(*drawn, self.max_tokens or longest, model=self.source == "model")


class EngineSettings(Frozen):
    """Who answers; a bare string in the file is its ``spec``."""

    spec: Text = "nano"
    """``NAME[:MODEL][@URL]``; see ``popsim engines``."""
    preset: str = ""
    """A shipped name, or a path: fills in what this file leaves open of spec, options and sampling."""
    model: str = ""
    """Where the weights for the preset are: a folder or a hub name."""
    options: dict[str, str | int | float | bool | dict[str, str]] = {}
    """Settings of this engine."""
    adapter: str = ""
    """The LoRA adapter that answers, by a name that the engine's options give; the model itself unless given."""
    workers: int = Field(default=1, ge=1, exclude=True)
    """How many Ray workers load the engine. They do not change an answer and are no part of a run's identity."""
    ray_address: str = Field(default="", exclude=True)
    """The Ray cluster that they run on, ``HOST:PORT`` or ``auto``; this machine unless given."""


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
    arms: dict[Name, Arm] = Field(min_length=1)
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

    @field_validator("engine", mode="before")
    @classmethod
    def _bare_spec(cls, engine: Any) -> Any:
        return {"spec": engine} if isinstance(engine, str) else engine

    @field_validator("sampling", mode="before")
    @classmethod
    def _bare_source(cls, sampling: Any) -> Any:
        return {"source": sampling} if isinstance(sampling, str) else sampling

    @field_validator("readout", "design", mode="before")
    @classmethod
    def _bare_kind(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given

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
    def _information_fits(self) -> "Scenario":
        check_news(self.news, self.beliefs, last_wave=self.waves[-1], placebo=self.placebo_news)
        texts = [question.name for question in self.questionnaire.questions if question.kind == "text"]
        if self.share_opinions:
            check_posts(self.share_opinions, texts)
        return self

    def __repr__(self) -> str:
        """Say in one line what is asked of whom."""
        arms, questions = ", ".join(self.arms), len(self.questionnaire.questions)
        return f"<Scenario {self.name}: {self.size} of {self.population.name}, {questions} questions, arms {arms}>"

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
        overrides: Values that replace those of the file, by dotted path, for example ``{"size": 100}``.

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
    for dotted, value in (overrides or {}).items():
        put(data, base.model_dump(), dotted, value, f"{path}: overrides")
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
            whole[key] = load(whole[key], path.parent)
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
