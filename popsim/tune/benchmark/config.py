"""The file of a benchmark: whose answers are to be predicted, by whom, and what stands beside the score."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from popsim.errors import TuneError
from popsim.evaluate.matching import Rule
from popsim.files import Frozen, read_yaml, validate
from popsim.scenario.settings import EngineSettings, SamplingSettings
from popsim.survey.questions import Name, Text
from popsim.tune.asking import Steering
from popsim.tune.data import DataFile
from popsim.tune.splits import By

Task = Literal["shares", "responses", "stances", "numbers", "roles", "interview"]
Method = Literal["choice", "generate"]
_METHODS: dict[Task, Method] = {"shares": "choice", "responses": "choice"}


class SplitSettings(Frozen):
    """Which rows of the file are held out."""

    by: tuple[By, ...] = Field(min_length=1)
    """What stays together: rows of one person, question, condition, study or group; with several, of every
    combination of them."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share that is asked about and scored; the rest is known to the baselines."""
    seed: int = Field(default=0, ge=0)


class BenchmarkConfig(Frozen):
    """One file of human answers, asked of one engine and scored."""

    kind: Literal["benchmark"]
    name: Name
    task: Task
    """shares: how groups answered; responses: a person's option; stances: positive, neutral or negative, with a reason;
    numbers: answers in experiments; roles: an attribute in words; interview: free replies, scored by a judge."""
    data: DataFile
    part: str = ""
    """Only rows that the file itself puts into this part (``data_type`` of cultures); the others are known."""
    split: SplitSettings | None = None
    known: DataFile | None = None
    """Other answers, which the baselines may learn from; nobody is asked about them."""
    apart: tuple[By, ...] = ()
    """What data and known must not share, each by itself; a leak ends the benchmark."""
    groups: tuple[Text, ...] = ()
    """Facts about persons: their answers are pooled by all of them together, and accuracy is told for each level."""
    orders: dict[str, tuple[Text, ...]] = {}
    """The options of a question from the lowest to the highest, where the file has no places."""
    rules: dict[str, Rule] = {}
    """roles: how a field is scored, by its name; AlignSurvey's own fields by its rules, others exactly."""
    steering: Steering = "portray"
    shots: int = Field(default=0, ge=0)
    """Other answers of the same person that stand in the prompt."""
    reasoning: bool = False
    """Ask for recall and reasoning before the answer."""
    readout: Method | None = None
    """``choice`` scores letters (or numbers of one token), ``generate`` reads what is written; of shares it counts
    draws. By default ``choice`` for shares and responses."""
    draws: int = Field(default=1, ge=1)
    """generate: how often each question is asked."""
    sampling: SamplingSettings = SamplingSettings()
    """How replies are drawn, at temperature 1 unless it says otherwise, of at most 1024 tokens."""
    shuffle_options: bool = True
    """Ask everything a second time with the options in another order, as a control."""
    engine: EngineSettings = EngineSettings()
    judge: EngineSettings | None = None
    """interview: who scores the replies."""
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("engine", "judge", mode="before")
    @classmethod
    def _bare_word(cls, given: Any) -> Any:
        return {"spec": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sum((bool(self.part), self.split is not None, self.known is not None)) > 1:
            raise ValueError("part, split and known are three ways to hold rows out; give one")
        if self.apart and not (self.part or self.split or self.known):
            raise ValueError("apart says what is held out must not share with known answers; give part, split or known")
        if self.method == "choice" and (self.task in ("stances", "roles", "interview") or self.reasoning):
            raise ValueError("readout: choice reads no words; stances, roles, interview and reasoning need generate")
        if self.method == "choice" and self.draws > 1:
            raise ValueError("draws go with readout: generate; choice measures all at once")
        if self.engine.preset or (self.judge and self.judge.preset):
            raise ValueError("engine.preset is for popsim's own prompts; write spec, options and sampling")
        if self.sampling.structured:
            raise ValueError("sampling.structured goes with questionnaires, and here is none; take it out")
        if self.rules and self.task != "roles":
            raise ValueError(f"rules go with task roles, not {self.task}")
        if (self.task == "interview") != (self.judge is not None):
            raise ValueError("judge goes with task interview, and it needs one: judge: ENGINE, or --judge ENGINE")
        return self

    @property
    def method(self) -> Method:
        """How answers are read."""
        return self.readout or _METHODS.get(self.task, "generate")


def is_benchmark(name: str | Path) -> bool:
    """Tell whether a file is a benchmark.

    Args:
        name: A path to anything.

    Example:
        >>> is_benchmark("oil_price_fall")
        False
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    return read_yaml(path, TuneError).get("kind") == "benchmark"


def load_benchmark(name: str | Path, engine: str | None = None, judge: str | None = None) -> BenchmarkConfig:
    """Read the file of a benchmark; its files of answers are looked for beside it first.

    Args:
        name: A path.
        engine: Who answers, instead of the file's engine.
        judge: Who scores interviews, instead of the file's.

    Raises:
        TuneError: There is no such file, or something in it is wrong.
    """
    path = Path(name)
    data = read_yaml(path, TuneError)
    data |= {key: {"spec": spec} for key, spec in (("engine", engine), ("judge", judge)) if spec is not None}
    config = validate(BenchmarkConfig, data, str(path), TuneError)
    known = config.known.beside(path.parent) if config.known else None
    return config.model_copy(update={"data": config.data.beside(path.parent), "known": known})
