"""The file that decides the training of a LoRA adapter: base model, data, losses and optimisation, stage by stage."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from popsim.errors import TuneError
from popsim.files import Frozen, merge, read_yaml, validate
from popsim.scenario import Share
from popsim.survey.questions import Name, Text
from popsim.tune.asking import Steering
from popsim.tune.config import find_training
from popsim.tune.data import DataFile
from popsim.tune.splits import By

Scale = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
DISTRIBUTIONS = frozenset({"first_token_kl", "first_token_js", "first_token_ce", "first_token_wasserstein"})


class LoraSettings(Frozen):
    """The adapter."""

    rank: Count = 8
    alpha: Scale = 16
    dropout: Share = 0.0
    modules: tuple[Text, ...] | Literal["all"] = "all"
    """Which linear layers; ``all`` but the output layer."""


class LossSettings(Frozen):
    """What is minimised; formulas and sources are in `popsim.tune.losses`."""

    kind: Literal[
        "answer",
        "first_token_kl",
        "first_token_js",
        "first_token_ce",
        "first_token_wasserstein",
        "number",
        "preference",
    ]
    per_option: bool = False
    """first_token_kl: divide by the number of options, as the released code of Cao et al. does."""
    weight: Scale | None = None
    """number: how many times the distance penalty counts beside the cross-entropy."""
    slope: Scale | None = None
    """number: penalty per unit of the scale's range."""
    width: float = Field(default=0, ge=0)
    """number: distance without penalty, as a share of the scale's range."""
    beta: Scale | None = None
    """preference: how far the model may move."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind == "number") != (self.weight is not None and self.slope is not None):
            raise ValueError("weight and slope go with loss number, and it needs both")
        if (self.kind == "preference") != (self.beta is not None):
            raise ValueError("beta goes with loss preference, and it needs one")
        if self.per_option and self.kind != "first_token_kl":
            raise ValueError("per_option goes with loss first_token_kl")
        return self


class Stage(Frozen):
    """One pass of training; the next stage goes on from its adapter."""

    name: Name
    data: DataFile
    part: float = Field(default=1, gt=0, le=1)
    """Share of the persons (of groups: of their distributions) in data that is learned from, drawn by the seed; smaller
    parts lie within larger ones: for learning curves."""
    valid: DataFile | None = None
    """Chooses the best epoch; the last is kept without."""
    apart: tuple[By, ...] = ()
    """What data and valid must not share, each by itself; a leak ends the tune."""
    facts: tuple[Text, ...] = ()
    """For ``apart: [group]`` of persons' answers: the facts that make a group."""
    loss: LossSettings
    steering: Steering = "portray"
    """How a group is named in the prompt; see `popsim.tune.asking.ask_group`."""
    shots: int = Field(default=0, ge=0)
    """Other answers of the same person that stand in the prompt."""
    reasoning: bool = False
    """Learn recall and reasoning (the file's rationale) before the answer."""
    merge: bool = False
    """Learn rows with the same tokens as one that counts as often, and put those with one prompt into one batch,
    where the prompt is computed once: several times as quick where people share prompts."""
    epochs: Count = 1
    batch: Count = 16
    at_once: Count = 8
    """Rows that are computed together; their gradients are added up to a batch."""
    learning_rate: Scale = 1e-4
    schedule: Literal["constant", "linear", "cosine", "step"] = "cosine"
    gamma: Scale = 0.85
    """step: the rate is multiplied by it after every epoch."""
    warm_up: Share = 0.0
    """Share of the steps."""
    weight_decay: float = Field(default=0, ge=0)
    clip: Scale = 1.0
    checkpoint: Count = 100
    """Steps between checkpoints; there is one after every epoch as well."""
    max_tokens: Count = 2048
    """Longer rows are left out and counted."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.merge and self.loss.kind in DISTRIBUTIONS:
            raise ValueError(f"merge goes with losses on answers of persons, not {self.loss.kind}")
        return self


class AdapterConfig(Frozen):
    """A LoRA adapter on a Hugging Face model, complete."""

    kind: Literal["adapter"]
    name: Name
    title: Text
    base: str = Field(min_length=1)
    """Folder or hub name of the model."""
    start: str = ""
    """The folder of an adapter on the same model to go on from."""
    bits: Literal[4] | None = None
    """Keep the base in 4 bits (QLoRA), through bitsandbytes on a GPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    seed: int = Field(default=0, ge=0, lt=2**63)
    lora: LoraSettings = LoraSettings()
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _stages_differ(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages: names must differ, not {', '.join(names)}")
        return self


def is_adapter(name: str | Path) -> bool:
    """Tell whether a training file is about an adapter.

    Args:
        name: A path, or the name of a shipped training.

    Raises:
        TuneError: There is no such file.

    Example:
        >>> is_adapter("nano"), is_adapter("first_token_kl")
        (False, True)
    """
    return _read(find_training(name))[0].get("kind") == "adapter"


def load_adapter_config(name: str | Path) -> AdapterConfig:
    """Read a training file of an adapter; what it does not say stands in the one it is ``based_on``.

    Shipped ones hold the published settings and name no data: ``base`` and each stage's ``data`` are a user's.
    A file in ``data`` or ``valid`` is looked for beside the training file first.

    Args:
        name: A path.

    Raises:
        TuneError: There is no such file, or something in it is wrong.
    """
    path = find_training(name)
    data, origin = _read(path)
    if "base" not in data:
        stages = ", ".join(str(one["name"]) for one in data.get("stages", []))
        raise TuneError(
            f"{name}: names no base model and no data; write a file with based_on: {path.stem}, base: MODEL, and under "
            f"stages ({stages}) the data of each: {{file: FILE, format: FORMAT}}"
        )
    config = validate(AdapterConfig, data, str(path), TuneError)
    return config.model_copy(update={"stages": tuple(_beside(stage, origin) for stage in config.stages)})


def _read(path: Path, seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], Path]:
    data = read_yaml(path, TuneError)
    below = data.pop("based_on", None)
    if below is None:
        return data, path.parent
    if path in seen:
        raise TuneError(f"{path}: based_on goes in a circle")
    base, _ = _read(find_training(path.parent / below if (path.parent / below).is_file() else below), (*seen, path))
    try:
        return merge(base, data), path.parent
    except ValueError as problem:
        raise TuneError(f"{path}: {problem}") from None


def _beside(stage: Stage, folder: Path) -> Stage:
    valid = stage.valid.beside(folder) if stage.valid else None
    return stage.model_copy(update={"data": stage.data.beside(folder), "valid": valid})
