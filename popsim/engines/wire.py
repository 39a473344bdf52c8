"""What passes between a study and an engine: a Prompt goes in, a Reply comes back."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from popsim.errors import EngineError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; the same on every engine unless a scenario says otherwise.

    ``temperature`` 0 is greedy decoding; ``top_k`` 0 means no limit; ``max_tokens`` bounds the reply. With ``model``
    the model's own generation_config decides in place of the first three; else it is never consulted.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 2000
    model: bool = False

    @property
    def greedy(self) -> bool:
        """Whether the seed has no say in the reply."""
        return self.temperature == 0 and not self.model


@dataclass(frozen=True, slots=True)
class Shape:
    """The form that a reply is held to while it is written; one object serves all prompts with the same questions.

    Attributes:
        grammar: The whole reply as a grammar in GBNF, starting at ``root``.
        schema: The same as a JSON schema, for servers that know no grammar: an object with the answers, or with
            ``recall``, ``reasoning`` and ``final_answer`` where the reply has three parts.
    """

    grammar: str
    schema: str


class Spelling(NamedTuple):
    """One way to write a value: the value ends where the text that closes it begins."""

    text: str
    close: str
    value: float | str
    """A number, or a status such as ``dont_know``; several spellings may have the same."""


@dataclass(frozen=True, slots=True)
class Field:
    """A value in a reply.

    Attributes:
        name: ``VIGNETTE.QUESTION``.
        lead: What stands in the reply between the value before, as it was closed, and this one.
        spellings: Every way to write every value that is allowed.
    """

    name: str
    lead: str
    spellings: tuple[Spelling, ...]


@dataclass(frozen=True)
class Readout:
    """What is read out of a model's probabilities in place of a reply; one object serves all prompts alike.

    Attributes:
        kind: ``number`` walks over the tokens that spell a value, ``choice`` scores letters, one token each.
        fields: In the order in which they stand in the reply; each is read given those before it.
        changes: Differences to work out from the joint distribution, as (name, shock, baseline) of fields.
        reasonings: How many recalls and reasonings are written first, to be averaged over; 0 for none.
        particles: Values of a field that are drawn, over all reasonings at least, to read the next field given them.
        floor: Beginnings of a value that are less probable than this are left out.
    """

    kind: Literal["number", "choice"]
    fields: tuple[Field, ...]
    changes: tuple[tuple[str, str, str], ...] = ()
    reasonings: int = 0
    particles: int = 64
    floor: float = 1e-4

    @property
    def drawn(self) -> bool:
        """Whether chance has a say in it."""
        return self.reasonings > 0 or len(self.fields) > 1

    @property
    def shape(self) -> tuple[int, int]:
        """The reasonings, at least 1, and the particles of each, 1 where no field follows another."""
        reasonings = max(1, self.reasonings)
        return reasonings, -(-self.particles // reasonings) if len(self.fields) > 1 else 1

    @cached_property
    def digest(self) -> str:
        """Name it by its content."""
        content = (self.kind, self.fields, self.changes, self.reasonings, self.particles, self.floor)
        return hashlib.sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to an engine.

    Attributes:
        messages: The conversation so far as (role, text) pairs, roles ``system``, ``user`` and ``assistant``; empty
            for an engine that reads facts.
        sampling: How the reply is drawn.
        prefill: What the reply begins with: the model writes on from there, and the reply's text leaves it out.
        shape: The form that the reply is held to, where it is.
        choices: Options, each with a first token of its own, such as letters. With choices nothing is written: the
            reply's text is a JSON list of the probability of each at the next token, over the whole vocabulary and at
            temperature 1, summed over its spelling with and without a space; their sum is the mass on the options.
        adapter: The LoRA adapter that answers; the model itself when empty.
        seed: A 63-bit seed that belongs to this prompt and not to its place in a batch.
        facts: The plain facts that the text was rendered from, for an engine that reads facts instead of text.
        readout: What is read out of probabilities in place of a reply (`popsim.engines.readout`).
    """

    messages: tuple[tuple[str, str], ...]
    sampling: Sampling = Sampling()
    seed: int = 0
    prefill: str = ""
    shape: Shape | None = None
    choices: tuple[str, ...] = ()
    adapter: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    readout: Readout | None = None


class Prompts(Sequence[Prompt]):
    """Prompts that are rendered when they are asked for; a subclass knows how many there are and renders each.

    Example:
        >>> class Greetings(Prompts):
        ...     def __len__(self):
        ...         return 3
        ...     def prompt(self, i):
        ...         return Prompt((("user", "Hello " * (i + 1)),))
        >>> [len(one.messages[0][1]) for one in Greetings()[-2:]]
        [12, 18]
    """

    @abstractmethod
    def prompt(self, i: int) -> Prompt:
        """Render the prompt at a place from 0."""

    @overload
    def __getitem__(self, i: int) -> Prompt: ...
    @overload
    def __getitem__(self, i: slice) -> list[Prompt]: ...
    def __getitem__(self, i: int | slice) -> Prompt | list[Prompt]:
        """Render one prompt, or several."""
        place = range(len(self))[i]
        return self.prompt(place) if isinstance(place, int) else [self.prompt(one) for one in place]

    def __iter__(self) -> Iterator[Prompt]:
        """Render the prompts one after the other."""
        return map(self.prompt, range(len(self)))


@dataclass(frozen=True, slots=True)
class Reply:
    """What an engine answered.

    Attributes:
        text: The text as it came, readable or not.
        finish: Why it ended: ``stop`` by itself, ``length`` at max_tokens, ``error`` when the engine failed.
        prompt_tokens: Tokens read, 0 where the engine does not count.
        completion_tokens: Tokens written, 0 where the engine does not count.
        error: What failed, empty unless ``finish`` is ``error``.
        outside: Of a reply that was held to a shape, where the engine can tell: how probable it was that the model,
            left free, would have left the shape somewhere along this reply. No part of what makes two replies equal.
    """

    text: str
    finish: Literal["stop", "length", "error"] = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""
    outside: float | None = field(default=None, compare=False, repr=False)


NOTICE = (
    "These answers were written by a language model: a simulation, "
    "which is no evidence about people before it has been compared with what people answered."
)
"""What the answers of a language model are worth, as engines that run one say it."""

Ability = Literal["seed", "prefill", "grammar", "choice", "next", "adapter", "readout"]
"""What an engine may be able to do: draw by a prompt's seed, go on from a prefill, hold a reply to a shape, score
choices, give the probabilities of single tokens (`Speller`), answer through an adapter, answer a readout."""


class Engine(Protocol):
    """Anything that answers prompts.

    Attributes:
        fingerprint: Names model, revision and everything else that decides an answer; part of every journal key.
        reads: ``text`` (rendered messages) or ``facts`` (no text is rendered for it).
        abilities: What it can do beyond answering in free text; a study that needs another ability does not begin.
        reproducible: ``exact`` when the same prompt and seed always give the same text, else ``best_effort``.
        notice: One sentence that says what its answers are worth, printed with every result.
    """

    fingerprint: str
    reads: Literal["text", "facts"]
    abilities: frozenset[Ability]
    reproducible: Literal["exact", "best_effort"]
    notice: str

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield each reply as soon as it is ready, in any order, with the position of its prompt."""
        ...


def require(engine: Engine, setting: str, *abilities: Ability) -> None:
    """Refuse a setting that an engine cannot follow.

    Args:
        engine: Who answers.
        setting: What needs the abilities, as its reader wrote it.
        abilities: All that it takes.

    Raises:
        EngineError: The engine lacks one; the message names the setting, the engine and what it can do.

    Example:
        >>> from popsim.engines import load_engine
        >>> require(load_engine("baseline"), "readout: number", "next")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        popsim.errors.EngineError: readout: number: engine baseline/1 lacks the ability 'next' that this needs ...
    """
    if lacks := sorted(set(abilities) - engine.abilities):
        has = ", ".join(sorted(engine.abilities)) or "none"
        raise EngineError(
            f"{setting}: engine {engine.fingerprint} lacks the ability {' and '.join(map(repr, lacks))} that this "
            f"needs (it has: {has}); choose another engine, or take the setting out"
        )


class Speller(Engine, Protocol):
    """An engine with the ability ``next``: its vocabulary can be read, and the probability of any next token."""

    def spelling(self) -> Sequence[str]:
        """Give the text of every token, by its id; empty for control tokens and for pieces of a character."""
        ...

    def next_logprobs(
        self, asked: Sequence[tuple[Prompt, tuple[int, ...]]], tokens: Sequence[int]
    ) -> NDArray[np.float64]:
        """Give the log-probability of tokens as the next, at temperature 1 and over the whole vocabulary.

        Args:
            asked: Prompts, read up to the end of their prefill, each with the ids of tokens that follow.
            tokens: The ids that are wanted.

        Returns:
            Shape (asked, tokens); minus infinity where a server or engine does not tell.

        Raises:
            EngineError: A prompt cannot be read.
        """
        ...


def answer_all(engine: Engine, prompts: Sequence[Prompt]) -> list[Reply]:
    """Ask every prompt and return the replies in the order of the prompts.

    Args:
        engine: Any engine.
        prompts: The prompts, rendered when the engine asks for them.

    Raises:
        EngineError: The engine ended without answering a prompt.

    Example:
        >>> from popsim.engines import load_engine
        >>> answer_all(load_engine("baseline"), [])
        []
    """
    replies: list[Reply | None] = [None] * len(prompts)
    for position, reply in engine.answer(prompts):
        replies[position] = reply
    missing = [position for position, reply in enumerate(replies) if reply is None]
    if missing:
        raise EngineError(f"engine {engine.fingerprint}: no reply to prompt {missing[0]} ({len(missing)} without one)")
    return [reply for reply in replies if reply is not None]
