"""Replies held to a grammar while they are written, through xgrammar."""

from collections.abc import Collection, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from popsim.engines.wire import Shape
from popsim.errors import EngineError

INSTALLED = find_spec("xgrammar") is not None


class Grammars:
    """The grammars that one model has been asked to keep to, each compiled once.

    Args:
        tokenizer: Of transformers.
        vocabulary: How many logits the model gives.
        ends: Tokens that end a reply.
        special: Tokens that are no text, which no grammar admits.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Collection[int], special: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._ends = sorted(ends)
        self._special = special
        self._compiler: Any = None
        self._compiled: dict[str, Any] = {}

    def begin(self, shape: Shape, prefill: str = "") -> Any:
        """Make a matcher that follows one reply.

        Args:
            shape: What the whole reply is held to.
            prefill: What it begins with.

        Raises:
            EngineError: xgrammar is missing, or the grammar or the prefill does not fit.
        """
        if not INSTALLED:
            raise EngineError("a reply held to a grammar needs xgrammar; run: pip install 'popsim[local]'")
        if not self._ends:
            raise EngineError("the model has no token that ends a reply, so no grammar can hold it")
        import xgrammar

        compiled = self._compiled.get(shape.grammar)
        if compiled is None:
            try:
                compiled = self._compiled[shape.grammar] = self._make_compiler().compile_grammar(shape.grammar)
            except RuntimeError as problem:
                why = str(problem).strip().splitlines()[-1]
                raise EngineError(f"the grammar of the reply cannot be read: {why}") from None
        matcher = xgrammar.GrammarMatcher(compiled)
        if prefill and not matcher.accept_string(prefill):
            raise EngineError(f"the prefill {prefill[:40]!r} does not begin a reply of this grammar")
        return matcher

    def _make_compiler(self) -> Any:
        """Read the vocabulary into xgrammar, tokens that are no text left empty."""
        import xgrammar

        if self._compiler is None:
            size, ends = self._vocabulary, self._ends
            found = xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=size, stop_token_ids=ends)
            spelled = [""] * size
            for text, token in self._tokenizer.get_vocab().items():
                if token < size and token not in self._special:
                    spelled[token] = text
            info = xgrammar.TokenizerInfo(
                spelled,
                found.vocab_type,
                vocab_size=size,
                stop_token_ids=ends,
                add_prefix_space=found.add_prefix_space,
            )
            self._compiler = xgrammar.GrammarCompiler(info, max_threads=torch.get_num_threads())
        return self._compiler


def hold(logits: torch.Tensor, matchers: Sequence[Any | None]) -> torch.Tensor:
    """Set the logits of tokens that a row's grammar does not admit to minus infinity.

    Args:
        logits: Shape (rows, vocabulary).
        matchers: From `Grammars.begin`, None for a row that is free.
    """
    if not any(matchers):
        return logits
    import xgrammar

    allowed = xgrammar.allocate_token_bitmask(len(matchers), logits.shape[-1])
    for row, matcher in enumerate(matchers):
        if matcher is not None:
            matcher.fill_next_token_bitmask(allowed, row)
    with torch.inference_mode():
        held = logits.clone()
        xgrammar.apply_token_bitmask_inplace(held, allowed.to(held.device), backend="torch_native")
    return held


def mass_kept(free: torch.Tensor, held: torch.Tensor) -> list[float]:
    """Give the logarithm of the share of each row's probability, at temperature 1, that its grammar admits.

    Args:
        free: Logits as the model gave them, shape (rows, vocabulary).
        held: The same from `hold`.

    Example:
        >>> free = torch.tensor([[0.0, 0.0]])
        >>> torch.tensor(mass_kept(free, torch.tensor([[0.0, float("-inf")]]))).exp().tolist()
        [0.5]
    """
    masses: list[float] = (held.double().logsumexp(-1) - free.double().logsumexp(-1)).tolist()
    return masses
