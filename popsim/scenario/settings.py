"""The smaller parts of a scenario: arms and who gets into which, what a prompt shows, who answers and how."""

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from popsim.engines import Sampling
from popsim.files import Frozen
from popsim.population import CONFIDENCE_LEVELS
from popsim.survey.questionnaire import Parameter
from popsim.survey.questions import Name, Text


class Arm(Frozen):
    """One treatment of the experiment."""

    share: float = Field(default=1.0, gt=0)
    """Relative share of respondents; shares are scaled to sum to 1."""
    parameters: dict[Name, Parameter] = {}
    """Values of ``{{slots}}`` in this arm, before those of the questionnaire."""


class AssignmentSettings(Frozen):
    """Who gets into which arm; a bare word in the file is its ``kind``."""

    kind: Literal["random", "crossed"] = "random"
    """``crossed`` puts everybody into every arm, in a sitting of its own that knows nothing of the others."""
    by: tuple[Name, ...] = ()
    """Attributes of people: within every combination of their values the arms get their shares."""

    @model_validator(mode="after")
    def _one_way(self) -> "AssignmentSettings":
        if self.kind == "crossed" and self.by:
            raise ValueError("by: crossed puts everybody into every arm, so there is nothing to balance; take it out")
        return self


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
