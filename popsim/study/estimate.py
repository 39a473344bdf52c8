"""What a study would cost: prompts, distinct ones, tokens and time, before it is paid."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from popsim.engines import Engine, Prompt, Reply, answer_all, load_engine, split_spec
from popsim.engines.cache import Cache, opened
from popsim.engines.journal import prompt_key
from popsim.model import PopulationModel, Respondent, Round
from popsim.scenario import Point
from popsim.study.ask import BLOCK, Pooled, blocks
from popsim.study.cell import Shared, build
from popsim.study.needs import by_engine, equipped

PROBE = 16
"""Prompts that are really asked, to see how long one takes."""
_TOKENIZED = 64
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Estimate:
    """What the runs of one engine would cost, first attempts alone.

    Attributes:
        engine: Its spec.
        runs: Points times replicates.
        prompts: Prompts of all waves; every page of a conversation is one, and counts as shown to all.
        distinct: Different questions among those whose text is known: first pages, of all waves where nothing is in the
            news, else of the first.
        unknown: Prompts of later waves, whose text the news decides, and of later pages, whose text the replies before
            them decide: how many are distinct is not known. Their tokens are counted without those replies.
        prompt_tokens: Tokens of the distinct prompts and of the unknown ones.
        counted: How tokens were counted.
        most_reply_tokens: Tokens that the replies can have at most.
        probed: Prompts that were really asked.
        failed: What the engine said of the first of those that it could not answer.
        reply_tokens: Tokens of the replies as the probe would have it; ``None`` where it cannot tell.
        seconds: Time, as the probe would have it; batches larger than the probe are mostly faster. ``None`` without
            a probe, and where it failed.
    """

    engine: str
    runs: int
    prompts: int
    distinct: int
    unknown: int
    prompt_tokens: int
    counted: str
    most_reply_tokens: int
    probed: int = 0
    failed: str = ""
    reply_tokens: int | None = None
    seconds: float | None = None


def estimate(
    points: Sequence[Point], replicates: int = 1, *, probe: int = PROBE, cache: str | Path | None = None
) -> list[Estimate]:
    """Count what a study or a sweep would ask, and try a few prompts; no Run folder is written.

    Args:
        points: From `popsim.scenario.sweep_points`; one for a study.
        replicates: How often each point is repeated.
        probe: Prompts that each engine is really asked; with 0 no engine but ``baseline`` is loaded.
        cache: Where the replies of the probe are kept for the runs to come; nowhere unless given.

    Returns:
        One estimate for each engine that the points name.

    Raises:
        EngineError: An engine cannot be loaded, or cannot do what a point asks of it.

    Example:
        >>> from popsim.scenario import sweep_points
        >>> (found,) = estimate(list(sweep_points("oil_price_fall", {"size": 30, "engine": "nano:small"})), probe=0)
        >>> found.prompts, found.distinct, found.counted
        (30, 30, 'estimated, 4 characters a token')
    """
    found, shared = [], Shared()
    for scenarios in by_engine(points).values():
        settings = scenarios[0].engine
        engine = None
        if probe or settings.spec == "baseline":
            engine = equipped(load_engine(settings.spec, **settings.options), scenarios)
        reads = engine.reads if engine is not None else "text"
        models = [
            build(scenario.replicate(number), reads, Respondent, shared)
            for scenario in scenarios
            for number in range(replicates)
        ]
        count = _Count(engine.fingerprint if engine is not None else settings.spec)
        rounds = [next(model.waves()) for model in models]
        for model, first in zip(models, rounds, strict=True):
            count.add(model, first)
        tried = _Probe()
        if engine is not None and probe:
            tried = _try(engine, rounds, probe, cache if reads == "text" else None)
        found.append(_put_together(settings.spec, count, tried))
    return found


@dataclass
class _Count:
    """What has been counted so far."""

    fingerprint: str
    runs: int = 0
    prompts: int = 0
    unknown: int = 0
    characters: int = 0
    most: int = 0
    keys: set[bytes] = field(default_factory=set)
    some: list[str] = field(default_factory=list)

    def add(self, model: PopulationModel, first: Round) -> None:
        """Count the prompts of all waves of a model; without news its later waves ask in the words of the first."""
        self.runs += 1
        waves = len(model.scenario.waves)
        changes = (bool(model.items) or model.scenario.remember) and waves > 1
        rounds = model.unanswered()
        self.prompts += waves * sum(map(len, rounds))
        if model.reads == "facts":
            return
        later = waves - 1 if changes else 0
        for page, asked in enumerate(rounds):
            for wave in range(waves - later):
                shown = first if wave == page == 0 else model.unanswered(wave)[page] if wave else asked
                for prompt in shown:
                    self._look_at(prompt, later, known=page == 0)

    def _look_at(self, prompt: Prompt, later: int, *, known: bool) -> None:
        """Count a prompt unless it has been counted, and those that will stand in its place in later waves."""
        times = later
        if known:
            key = prompt_key(self.fingerprint, prompt)
            times += key not in self.keys
            self.keys.add(key)
        else:
            times += 1
        self.unknown += later + (not known)
        self.characters += times * _length(prompt)
        self.most += times * prompt.sampling.max_tokens
        if len(self.some) < _TOKENIZED:
            self.some.append("\n".join(text for _, text in prompt.messages) + prompt.prefill)


@dataclass(frozen=True)
class _Probe:
    """A few prompts that were really asked: the first alone, as an engine sets itself up for it, then the rest."""

    prompts: Sequence[Prompt] = ()
    replies: Sequence[Reply] = ()
    first: float = 0.0
    rest: float = 0.0

    def seconds(self, asked: int) -> float | None:
        """Scale to so many prompts."""
        if not self.replies or any(reply.finish == "error" for reply in self.replies):
            return None
        others = len(self.replies) - 1
        return self.first + (self.rest / others if others else self.first) * (asked - 1)


def _try(engine: Engine, rounds: Sequence[Round], probe: int, cache: str | Path | None) -> _Probe:
    """Ask some prompts from all over the study, and keep the replies where there is a cache."""
    step = max(1, sum(map(len, rounds)) // probe)
    prompts = list(Pooled(rounds, list(islice(chain.from_iterable(blocks(rounds, BLOCK)), 0, step * probe, step))))
    started = time.monotonic()
    replies = answer_all(engine, prompts[:1])
    first = time.monotonic() - started
    replies += answer_all(engine, prompts[1:])
    rest = time.monotonic() - started - first
    with opened(cache) as shared:
        if shared is not None:
            _keep(shared, engine.fingerprint, prompts, replies)
    return _Probe(prompts, replies, first, rest)


def _keep(cache: Cache, fingerprint: str, prompts: Sequence[Prompt], replies: Sequence[Reply]) -> None:
    answered = [(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True) if reply.finish != "error"]
    cache.keep(fingerprint, {prompt_key(fingerprint, prompt): reply for prompt, reply in answered})


def _put_together(spec: str, count: _Count, tried: _Probe) -> Estimate:
    """Scale what the probe saw to everything that would be asked."""
    asked = len(count.keys) + count.unknown or count.prompts
    rate, counted = _tokens_per_character(spec, count, tried)
    good = [reply for reply in tried.replies if reply.finish != "error"]
    written = sum(reply.completion_tokens for reply in good)
    return Estimate(
        engine=spec,
        runs=count.runs,
        prompts=count.prompts,
        distinct=len(count.keys) if count.keys else count.prompts,
        unknown=count.unknown,
        prompt_tokens=round(rate * count.characters),
        counted=counted,
        most_reply_tokens=count.most,
        probed=len(tried.replies),
        failed=next((reply.error for reply in tried.replies if reply.finish == "error"), ""),
        reply_tokens=round(written / len(good) * asked) if written else None,
        seconds=tried.seconds(asked),
    )


def _tokens_per_character(spec: str, count: _Count, tried: _Probe) -> tuple[float, str]:
    """Find out how long a token is: from the engine, from its tokenizer, or by rule of thumb."""
    if not count.characters:
        return 0.0, "none, this engine reads no text"
    told = [pair for pair in zip(tried.prompts, tried.replies, strict=True) if pair[1].prompt_tokens]
    if told:
        tokens = sum(reply.prompt_tokens for _, reply in told)
        return tokens / sum(_length(prompt) for prompt, _ in told), f"counted by the engine on {len(told)} prompts"
    file = Path(split_spec(spec)[1] or "/nowhere") / "tokenizer.json"
    if file.is_file():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(file))
        tokens = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in count.some)
        return tokens / sum(map(len, count.some)), f"counted by the engine's tokenizer on {len(count.some)} prompts"
    return 1 / _CHARACTERS_PER_TOKEN, f"estimated, {_CHARACTERS_PER_TOKEN} characters a token"


def _length(prompt: Prompt) -> int:
    return sum(len(text) for _, text in prompt.messages) + len(prompt.prefill)
