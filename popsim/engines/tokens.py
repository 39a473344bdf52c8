"""What engines that see tokens share: first tokens of choices, the vocabulary as text, a model's own sampling."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popsim.engines.wire import Reply, Sampling
from popsim.errors import EngineError

CLOSING = "</final_answer>"
"""A reply ends as soon as its text holds this."""
TAIL = 64
"""Characters before a choice that may decide how it is cut into tokens."""
_NEUTRAL: dict[str, Any] = {
    "min_p": 0,
    "top_h": 1,
    "typical_p": 1,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
    "num_beams": 1,
    "num_beam_groups": 1,
    "penalty_alpha": 0,
    "guidance_scale": 1,
    "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1,
    "bad_words_ids": [],
    "sequence_bias": {},
    "suppress_tokens": [],
    "begin_suppress_tokens": [],
    "exponential_decay_length_penalty": None,
    "watermarking_config": None,
}
_DRAWN: dict[str, Any] = {"do_sample": True, "temperature": 1, "top_p": 1, "top_k": 0, "repetition_penalty": 1}

Encode = Callable[[str], list[int]]
Decode = Callable[[list[int]], str]


def first_tokens(encode: Encode, decode: Decode, before: str, choices: Sequence[str]) -> list[list[int]]:
    """Find the tokens that each choice may begin with, with and without a space before it.

    A choice is cut into tokens where it stands, behind the text before it; where it would melt into that text, behind
    a line end. A spelling that begins with a space alone is left out, for it says nothing about the choice.

    Args:
        encode: Turns text into tokens, without adding any.
        decode: Turns tokens into text.
        before: What stands before the choice.
        choices: The options.

    Returns:
        The distinct tokens of each choice.

    Raises:
        EngineError: A choice has no token of its own.

    Example:
        >>> first_tokens(lambda text: list(text.encode()), lambda ids: bytes(ids).decode(), "Answer: (", ["A", "B"])
        [[65], [66]]
    """
    found = []
    for choice in choices:
        spelled = (_first(encode, before[-TAIL:], spelling) for spelling in (choice, f" {choice}"))
        tokens = sorted({token for token in spelled if token is not None and decode([token]).strip()})
        if not tokens:
            raise EngineError(f"choice {choice!r} begins with no token of its own after {before[-20:]!r}; use letters")
        pieces = [decode([token]).strip() for token in tokens]
        if len(choice) == 1 and choice.isascii() and pieces != [choice] * len(tokens):
            raise EngineError(
                f"choice {choice!r} is several tokens for this model, beginning with {pieces[0]!r}; take a model whose "
                "tokenizer keeps letters whole, or sample answers instead"
            )
        found.append(tokens)
    owners = Counter(token for tokens in found for token in tokens)
    for choice, tokens in zip(choices, found, strict=True):
        if shared := [token for token in tokens if owners[token] > 1]:
            others = [one for one, its in zip(choices, found, strict=True) if shared[0] in its and one != choice]
            raise EngineError(
                f"choices {choice!r} and {(others or [choice])[0]!r} begin with the same token {decode(shared[:1])!r}; "
                "use letters"
            )
    return found


def _first(encode: Encode, before: str, text: str) -> int | None:
    for context in (before, "\n"):
        known, whole = encode(context), encode(context + text)
        if len(whole) > len(known) and whole[: len(known)] == known:
            return whole[len(known)]
    return None


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Turn logits into log-probabilities over the whole vocabulary, the last axis.

    Example:
        >>> np.exp(log_softmax(np.zeros(4))).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    exact = logits.astype(np.float64)
    exact -= exact.max(-1, keepdims=True)
    logs: NDArray[np.float64] = exact - np.log(np.exp(exact).sum(-1, keepdims=True))
    return logs


def choice_reply(logits: NDArray[Any], firsts: Sequence[Sequence[int]], read: int) -> Reply:
    """Write the reply to a prompt with choices: the probability of each, as a JSON list.

    Args:
        logits: Of the next token, shape (vocabulary,).
        firsts: From `first_tokens`.
        read: Tokens of the prompt.

    Example:
        >>> choice_reply(np.log([0.5, 0.25, 0.25]), [[0], [1, 2]], 7).text
        '[0.5, 0.5]'
    """
    if not np.isfinite(logits.max()):
        return Reply("", finish="error", error="the model computed no finite probabilities")
    shares = np.exp(log_softmax(logits))
    return Reply(json.dumps([float(shares[list(tokens)].sum()) for tokens in firsts]), "stop", read, 0)


def token_texts(decode: Decode, size: int, control: Collection[int], anchor: int) -> list[str]:
    """Give the text of every token: empty for control tokens and for pieces of a character.

    Args:
        decode: Turns tokens into text, control tokens included.
        size: How many tokens the model knows.
        control: Tokens that are no text.
        anchor: Any token with text of its own; others are read behind it, since some tokenizers drop a first space.

    Example:
        >>> token_texts(lambda ids: "".join("ab "[i] for i in ids), 3, {1}, 0)
        ['a', '', ' ']
    """
    head = len(decode([anchor]))
    texts = ("" if token in control else decode([anchor, token])[head:] for token in range(size))
    return ["" if "\ufffd" in text else text for text in texts]


def own_sampling(sampling: Sampling, config: Mapping[str, Any]) -> tuple[Sampling, float]:
    """Work out how tokens are drawn: as the prompt says, or with ``model`` as the model's generation_config does.

    Args:
        sampling: Of the prompt.
        config: The generation_config; what is absent or null is neutral, and ``do_sample: false`` is greedy.

    Returns:
        The sampling to use, and the penalty on tokens that stand in the text already, 1 for none.

    Raises:
        EngineError: The generation_config asks for something that popsim does not compute.

    Example:
        >>> own_sampling(Sampling(model=True), {"temperature": 0.7, "top_k": 20, "repetition_penalty": 1.05})
        (Sampling(temperature=0.7, top_p=1.0, top_k=20, max_tokens=2000, model=False), 1.05)
        >>> own_sampling(Sampling(), {"top_k": 1})[0].top_k
        0
    """
    if not sampling.model:
        return sampling, 1.0
    for key, neutral in _NEUTRAL.items():
        if (value := config.get(key)) not in (None, neutral):
            raise EngineError(
                f"the model's generation_config sets {key} to {json.dumps(value)}, which popsim does not compute; "
                "say in the scenario how to sample"
            )
    temperature, top_p, top_k, penalty = (_number(config, key) for key in list(_DRAWN)[1:])
    if config.get("do_sample") is False:
        temperature = 0.0
    if not (temperature >= 0 and 0 < top_p <= 1 and top_k >= 0 and penalty > 0):
        shown = {key: config[key] for key in _DRAWN if config.get(key) is not None}
        raise EngineError(f"the model's generation_config cannot be followed: {json.dumps(shown)}")
    return replace(sampling, temperature=temperature, top_p=top_p, top_k=int(top_k), model=False), penalty


def _number(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise EngineError(f"the model's generation_config sets {key} to {json.dumps(value)}; a number is needed")
    return float(_DRAWN[key] if value is None else value)


def own_name(config: Mapping[str, Any]) -> str:
    """Name the settings of a generation_config that change how tokens are drawn; empty where none does.

    Example:
        >>> own_name({"eos_token_id": 2, "do_sample": True}), own_name({"top_k": 1})
        ('', ':own-d22e66c0')
    """
    known = _NEUTRAL | _DRAWN
    given = {key: config[key] for key in sorted(known) if config.get(key) not in (None, known[key])}
    return f":own-{hashlib.sha256(json.dumps(given).encode()).hexdigest()[:8]}" if given else ""
