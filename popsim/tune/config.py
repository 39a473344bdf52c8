"""The file that decides a training: what is drawn, the tokenizer, the model and the optimisation."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from popsim.errors import TuneError
from popsim.files import Frozen, read_yaml, validate
from popsim.scenario import Share
from popsim.slots import did_you_mean
from popsim.survey.questions import Name, Text

Scale = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Figure(Frozen):
    """The number in a piece of news, drawn anew for each group of people who hear it."""

    variable: Name
    """The change or question that it is about."""
    unit: Text
    low: float
    high: float
    decimals: int = Field(default=1, ge=0, le=4)
    sd: Scale

    @model_validator(mode="after")
    def _ordered(self) -> "Figure":
        if self.high < self.low:
            raise ValueError(f"high ({self.high:g}) is below low ({self.low:g})")
        return self


class NewsKind(Frozen):
    """News of one kind: any of its sources may say any of its texts."""

    scenarios: tuple[str, ...] = Field(min_length=1)
    """Where it may be heard."""
    sources: tuple[Text, ...] = Field(min_length=1)
    texts: tuple[Text, ...] = Field(min_length=1)
    """May hold the slot ``{{value}}``."""
    figure: Figure | None = None

    @model_validator(mode="after")
    def _figure_is_said(self) -> "NewsKind":
        for text in self.texts:
            if ("{{value}}" in text) != (self.figure is not None):
                raise ValueError(f"{{{{value}}}} stands in a text exactly where there is a figure; see {text[:40]!r}")
        return self


class DrawSettings(Frozen):
    """Who is drawn, what they are shown and how often they answer."""

    scenarios: dict[str, Scale] = Field(min_length=1)
    """Scenario, shipped or a file -> relative share."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    cell: Count = 24
    """People who share one variation of a scenario: its modules, its wording and its news."""
    answers: Count = 2
    """Answers of the teacher to each prompt, all learned from one reading of it."""
    broken: Share = 0.0
    """Share of cells whose answers share their words and break off before open answers: how the figures of one person
    spread is learned from these at a small part of the cost of whole answers. Where anything else is asked behind an
    open question, answers are whole."""
    broken_answers: Count = 16
    """Answers to each prompt of such a cell."""
    held_out: Count = 96
    """People for validation. One person in 32 is set aside, by what is said about them."""
    uniform_confidence: Share = 0.5
    """Share of people whose confidence is any of the five levels with equal probability, instead of as drawn."""
    uniform_priors: Share = 0.5
    """Share of people each of whose prior expectations is any of its answers with equal probability: of those of US
    adults one is given by six in seven, and what the others do would hardly be learned."""
    module_off: Share = 0.08
    """Probability that a module is off, for each module."""
    reasoning_off: Share = 0.08
    scope_2: Share = 0.3
    """Probability that priors are tied to the second scenario."""
    hears: Share = 0.5
    """Probability that there is news, one or two items, each of which reaches about two people in three."""
    news: tuple[NewsKind, ...] = ()
    as_shipped: Share = 0.5
    """Probability that a scenario with waves, a network or news of its own keeps them; the signals of such news are
    moved by up to two of their standard deviations."""
    shared_first: Share = 0.15
    """Probability of the other layout of a prompt, in which what all respondents share comes first."""
    weighing_off: Share = 0.05
    """Probability that the instruction on confidence is left out."""


class TokenizerSettings(Frozen):
    """The vocabulary."""

    vocabulary: int = Field(default=5120, ge=512, le=65536)
    pairs: Count = 4000
    """Prompts, with their answers, that it is learned from."""


class ModelSettings(Frozen):
    """A Llama: rotary positions, RMSNorm, SwiGLU, input and output embeddings tied."""

    hidden: int = Field(default=128, ge=8)
    layers: Count = 4
    heads: Count = 4
    kv_heads: Count = 4
    intermediate: Count = 384
    context: int = Field(default=2048, ge=64)

    @model_validator(mode="after")
    def _divides(self) -> "ModelSettings":
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of twice heads ({self.heads})")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class TrainSettings(Frozen):
    """The optimisation: warm-up, then linear decay to nothing at the end of the steps or minutes."""

    steps: Count | None = None
    minutes: Scale | None = None
    """Wall-clock time, validation included; counted on when a training is taken up again."""
    prompts: Count = 8
    """Prompts in a batch; each brings ``draw.answers`` answers."""
    cells: Count = 32
    """Cells that are drawn at once, mixed and sorted into batches of like length."""
    matrix_rate: Scale = 1e-2
    """Learning rate of the matrices, which Muon moves."""
    learning_rate: Scale = 3e-3
    """Learning rate of embeddings and norms, which AdamW moves."""
    brief: Share = 0.2
    """Share of the training at its beginning in which only persona and recall are shown: copying is learned first."""
    figures: Scale = 1.0
    """How many times a digit of an answer counts in the loss. Few of an answer's tokens are figures, and they alone
    show who answers and what was heard."""
    warm_up: Count = 50
    """Steps."""
    weight_decay: float = Field(default=0.05, ge=0)
    clip: Scale = 1.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    """In which matrices are multiplied; weights are kept in float32. Many processors are very slow at bfloat16."""
    threads: Count = 2
    """Of each process."""
    processes: Count = 1
    """Each reads its own batches, and they average the gradients: many small steps gain more from these than from
    threads."""
    checkpoint: Count = 100
    """Steps between checkpoints."""
    evaluate: Count = 400
    """Steps between validations, each of which also writes the model; there is none while training is brief."""
    replies: int = Field(default=32, ge=0)
    """Held-out prompts that are answered at temperature 1 at each validation."""

    @model_validator(mode="after")
    def _one_end(self) -> "TrainSettings":
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")
        return self


class TuneConfig(Frozen):
    """A training from scratch, complete."""

    name: Name
    title: Text
    start: str | None = None
    """The folder of a model by an earlier training, which this one goes on from; its vocabulary grows."""
    draw: DrawSettings
    tokenizer: TokenizerSettings = TokenizerSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings

    @model_validator(mode="after")
    def _news_is_heard(self) -> "TuneConfig":
        for kind in self.draw.news:
            for scenario in kind.scenarios:
                if scenario not in self.draw.scenarios:
                    raise ValueError(f"draw.news: {scenario!r} is not among draw.scenarios")
        return self


def load_tune_config(name: str | Path) -> TuneConfig:
    """Read a training file.

    Args:
        name: A path, or the name of a shipped training.

    Raises:
        TuneError: There is no such file, or something in it is wrong.

    Example:
        >>> load_tune_config("nano").name
        'nano'
    """
    path = find_training(name)
    return validate(TuneConfig, read_yaml(path, TuneError), str(path), TuneError)


def find_training(name: str | Path) -> Path:
    """Find a training file by its path, or by its name alone when it is shipped.

    Raises:
        TuneError: There is none.

    Example:
        >>> find_training("nano").name
        'nano.yaml'
    """
    here = Path(__file__).parent
    path = Path(name)
    known = {path.stem: path for path in [*sorted(here.glob("*.yaml")), *sorted((here / "presets").glob("*.yaml"))]}
    if not path.is_file():
        if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
            raise TuneError(f"{path}: no such file")
        if str(name) not in known:
            near = did_you_mean(str(name), known)
            raise TuneError(f"{name}: neither a .yaml file nor shipped{near} Shipped: {', '.join(known)}")
        path = known[str(name)]
    return path
