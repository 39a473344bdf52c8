"""What passes between a study and an engine: a Prompt goes in, a Reply comes back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from popsim.errors import EngineError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; the same on every engine unless a scenario says otherwise.

    A model's own generation_config is never consulted. ``temperature`` 0 is greedy decoding; ``top_k`` 0 means no
    limit; ``max_tokens`` bounds the reply.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 2000

    @property
    def greedy(self) -> bool:
        """Whether the seed has no say in the reply."""
        return self.temperature == 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to an engine.

    Attributes:
        messages: The conversation so far as (role, text) pairs, roles ``system``, ``user`` and ``assistant``; empty
            for an engine that reads facts.
        sampling: How the reply is drawn.
        seed: A 63-bit seed that belongs to this prompt and not to its place in a batch.
        facts: The plain facts that the text was rendered from, for an engine that reads facts instead of text.
    """

    messages: tuple[tuple[str, str], ...]
    sampling: Sampling = Sampling()
    seed: int = 0
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What an engine answered.

    Attributes:
        text: The text as it came, readable or not.
        finish: Why it ended: ``stop`` by itself, ``length`` at max_tokens, ``error`` when the engine failed.
        prompt_tokens: Tokens read, 0 where the engine does not count.
        completion_tokens: Tokens written, 0 where the engine does not count.
        error: What failed, empty unless ``finish`` is ``error``.
    """

    text: str
    finish: Literal["stop", "length", "error"] = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""


class Engine(Protocol):
    """Anything that answers prompts.

    Attributes:
        fingerprint: Names model, revision and everything else that decides an answer; part of every journal key.
        reads: ``text`` (rendered messages) or ``facts`` (no text is rendered for it).
        reproducible: ``exact`` when the same prompt and seed always give the same text, else ``best_effort``.
        notice: One sentence that says what its answers are worth, printed with every result.
    """

    fingerprint: str
    reads: Literal["text", "facts"]
    reproducible: Literal["exact", "best_effort"]
    notice: str

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield each reply as soon as it is ready, in any order, with the position of its prompt."""
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
