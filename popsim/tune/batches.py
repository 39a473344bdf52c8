"""Records as token ids, and the loss of a batch of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from popsim.engines.local.texts import Texts
from popsim.errors import TuneError
from popsim.tune import losses
from popsim.tune.adapter_config import DISTRIBUTIONS, LossSettings, Stage
from popsim.tune.asking import Asked, ask_group, ask_person, other_answers, target_text
from popsim.tune.formats.alpaca import output_line
from popsim.tune.forward import answer_logits
from popsim.tune.letters import letter_tokens, number_tokens
from popsim.tune.losses import IGNORED
from popsim.tune.pairings import preference_pairs
from popsim.tune.records import Answer, Shares, numbers_of

_TAIL = 64


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt with what is to be learned from it.

    Attributes:
        prompt: Token ids up to where the answer begins.
        answer: Token ids of the answer with its end; empty for shares.
        rejected: Token ids of another person's answer.
        options: The ids that each option, or each number of the scale, may be.
        shares: Human shares of the options.
        places: Of the options; NaN: none.
        number: The true number, as a share of the scale's range from its lower end.
        digits: For numbers of several tokens: position in the answer, digit, worth as a share of the range.
        count: How many records it stands for.
        base: Log-probability of answer and rejected under the model before the stage, for preferences.
    """

    prompt: list[int]
    answer: list[int]
    rejected: list[int] = field(default_factory=list)
    options: list[list[int]] = field(default_factory=list)
    shares: tuple[float, ...] = ()
    places: tuple[float, ...] = ()
    number: float = 0.0
    digits: tuple[tuple[int, int, float], ...] = ()
    count: int = 1
    base: tuple[float, float] = (0.0, 0.0)


def merge_alike(rows: Sequence[Row]) -> list[Row]:
    """Make one row of those with the same tokens, which counts as often: what an epoch minimises stays the same.

    Example:
        >>> [row.count for row in merge_alike([Row([1], [2]), Row([1], [3]), Row([1], [2])])]
        [2, 1]
    """
    found: dict[tuple[tuple[int, ...], ...], Row] = {}
    for row in rows:
        key = (tuple(row.prompt), tuple(row.answer), tuple(row.rejected))
        found[key] = replace(found[key], count=found[key].count + row.count) if key in found else row
    return list(found.values())


class Encoder:
    """Turns records into rows for one model.

    Args:
        tokenizer: Of transformers, with a chat template.
        vocabulary: How many tokens the model knows.
        end: The token that ends a reply.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, end: int) -> None:
        self._tokenizer, self._end = tokenizer, end
        self._texts = Texts(tokenizer, vocabulary)
        self._letters = lru_cache(4096)(lambda before, letters: letter_tokens(tokenizer, before, letters))
        self._numbers = lru_cache(4096)(lambda before, numbers: number_tokens(tokenizer, before, numbers))

    def rows(self, records: Sequence[Answer] | Sequence[Shares], stage: Stage, seed: int) -> tuple[list[Row], int]:
        """Give the rows of records that are not too long, and how many were left out, by length or without an answer.

        Raises:
            TuneError: Loss and records do not go together, or nothing remains.
        """
        kind = stage.loss.kind
        groups = [one for one in records if isinstance(one, Shares)]
        people = [one for one in records if isinstance(one, Answer) and one.status == "ok"]
        stated = [one for one in groups if one.prompt]
        if stated and kind != "answer":
            raise TuneError(
                f"stage {stage.name}: loss {kind} cannot learn shares that a prompt asks for in words "
                f"({stated[0].group}); take loss answer"
            )
        if (kind in DISTRIBUTIONS) != bool(groups) and not stated:
            what = "distributions of groups (cultures, subpop)" if kind in DISTRIBUTIONS else "answers of persons"
            raise TuneError(f"stage {stage.name}: loss {kind} learns from {what}; choose another loss or file")
        if stated:
            rows = [self._written(one) for one in stated]
        elif kind in DISTRIBUTIONS:
            rows = [self._group(one, stage) for one in groups]
        elif kind == "preference":
            rows = [self._pair(*pair) for pair in preference_pairs(people, seed)]
        else:
            shots = other_answers(people, stage.shots, seed)
            rows = [self._person(one, few, stage) for one, few in zip(people, shots, strict=True)]
        kept = [row for row in rows if len(row.prompt) + max(len(row.answer), len(row.rejected)) <= stage.max_tokens]
        if not kept:
            raise TuneError(f"stage {stage.name}: of {len(records)} records none can be learned from")
        left_out = len(records) - len(kept)
        return (merge_alike(kept) if stage.merge else kept), left_out

    def _group(self, one: Shares, stage: Stage) -> Row:
        ordered = stage.loss.kind == "first_token_wasserstein"
        if ordered and not one.item.ordered:
            raise TuneError(f"question {one.item.name}: options have no order; take loss first_token_kl")
        ids, text, asked = self._read(ask_group(one, stage.steering))
        places = tuple(float("nan") if place is None else place for place in one.item.places)
        if ordered and sum(share for share, place in zip(one.shares, places, strict=True) if place == place) <= 0:
            raise TuneError(f"question {one.item.name}: {one.group} answered only with options that have no place")
        options = self._letters(text[-_TAIL:], asked.letters)
        return Row(ids, [], options=options, shares=one.shares, places=places)

    def _written(self, one: Shares) -> Row:
        ids, text, _ = self._read(ask_group(one))
        return Row(ids, self._behind(text, output_line(one, one.prompt)))

    def _person(self, one: Answer, shots: Sequence[Answer], stage: Stage) -> Row:
        ids, text, _ = self._read(ask_person(one, shots, reasoning=stage.reasoning))
        answer = self._behind(text, target_text(one, reasoning=stage.reasoning))
        if stage.loss.kind != "number":
            return Row(ids, answer)
        grid = numbers_of(one.item)
        if not isinstance(one.value, float) or one.item.low is None or one.item.high is None:
            raise TuneError(f"question {one.item.name}: loss number needs a scale from low to high")
        span = one.item.high - one.item.low
        where = (one.value - one.item.low) / span
        tokens = self._numbers(text[-_TAIL:], grid) if grid else None
        if tokens:
            return Row(ids, answer, options=tokens, number=where)
        return Row(ids, answer, number=where, digits=self._digits(answer, span, one.item.name))

    def _pair(self, chosen: Answer, rejected: str | float) -> Row:
        ids, text, _ = self._read(ask_person(chosen))
        other = Answer(chosen.person, chosen.item, rejected, facts=chosen.facts, prompt=chosen.prompt)
        return Row(ids, self._behind(text, target_text(chosen)), rejected=self._behind(text, target_text(other)))

    def _digits(self, answer: list[int], span: float, name: str) -> tuple[tuple[int, int, float], ...]:
        pieces = [str(self._tokenizer.decode([token])).strip() for token in answer[:-1]]
        places = [
            (at, piece) for at, piece in enumerate(pieces) if len(piece) == 1 and piece.isascii() and piece.isdigit()
        ]
        text = "".join(pieces)
        if len(places) != sum(map(str.isdigit, text)):
            raise TuneError(f"question {name}: {text} is neither one token nor one token a digit; rescale the answers")
        whole = len(text.partition(".")[0].lstrip("-"))
        return tuple((at, int(piece), 10.0 ** (whole - 1 - i) / span) for i, (at, piece) in enumerate(places))

    def digit_tokens(self) -> list[list[int]]:
        """Give the ids of the digits 0 to 9 inside a number."""
        return letter_tokens(self._tokenizer, "1", "0123456789")

    def _read(self, asked: Asked) -> tuple[list[int], str, Asked]:
        text, ids = self._texts.read((("user", asked.text),), asked.prefill)
        return ids.tolist(), text, asked

    def _behind(self, text: str, answer: str) -> list[int]:
        before, whole = self._texts.plain(text[-_TAIL:]), self._texts.plain(text[-_TAIL:] + answer)
        stable = whole[: len(before)] == before
        return [*(whole[len(before) :] if stable else self._texts.plain(answer)), self._end]


def batch_loss(model: Any, rows: Sequence[Row], loss: LossSettings, digits: list[list[int]]) -> torch.Tensor:
    """Compute the loss of a batch, a mean over its rows (of `answer`: over its tokens).

    Args:
        model: With an adapter.
        rows: From `Encoder.rows`.
        loss: Which.
        digits: From `Encoder.digit_tokens`, for numbers of several tokens.
    """
    counts = torch.tensor([float(row.count) for row in rows], device=model.device)
    if loss.kind == "preference":
        assert loss.beta is not None
        chosen, rejected = log_probabilities(model, rows)
        base = chosen.new_tensor([row.base for row in rows])
        return losses.preference(chosen, rejected, base[:, 0], base[:, 1], loss.beta, counts)
    logits, labels = answer_logits(model, [(row.prompt, row.answer) for row in rows])
    if loss.kind in DISTRIBUTIONS:
        return _distribution_loss(logits[:, 0], rows, loss)
    found = losses.answer_cross_entropy(logits, labels, counts)
    if loss.kind == "number":
        assert loss.weight is not None
        found = found + loss.weight * losses.weighted_mean(_penalties(logits, rows, loss, digits), counts)
    return found


def _distribution_loss(first: torch.Tensor, rows: Sequence[Row], loss: LossSettings) -> torch.Tensor:
    logits = losses.option_logits(first, [row.options for row in rows])
    shares = _table([row.shares for row in rows], 0.0, logits)
    if loss.kind == "first_token_kl":
        return losses.first_token_kl(logits, shares, per_option=loss.per_option)
    if loss.kind == "first_token_js":
        return losses.first_token_js(logits, shares)
    if loss.kind == "first_token_ce":
        return losses.first_token_ce(logits, shares)
    return losses.first_token_wasserstein(logits, shares, _table([row.places for row in rows], np.nan, logits))


def _penalties(logits: torch.Tensor, rows: Sequence[Row], loss: LossSettings, digits: list[list[int]]) -> torch.Tensor:
    """The distance penalty of each row, distances as shares of the scale's range."""
    assert loss.slope is not None
    parts = []
    for i, row in enumerate(rows):
        if row.options:
            scored = losses.option_logits(logits[i, :1], [row.options])
            values = torch.linspace(0, 1, len(row.options), dtype=scored.dtype, device=scored.device)
            true = scored.new_tensor([row.number])
            parts.append(losses.number_penalty(scored, values, true, slope=loss.slope, width=loss.width))
            continue
        at = [place for place, _, _ in row.digits]
        scored = losses.option_logits(logits[i, at], [digits] * len(at))[None]
        true = torch.tensor([[digit for _, digit, _ in row.digits]], device=scored.device)
        worth = scored.new_tensor([[worth for _, _, worth in row.digits]])
        parts.append(losses.digit_penalty(scored, true, worth, slope=loss.slope, width=loss.width))
    return torch.stack(parts)


def log_probabilities(model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """Give the log-probabilities of each row's answer and of the rejected one, ends included.

    Args:
        model: With or without an adapter.
        rows: From `Encoder.rows`.

    Returns:
        (2, b).
    """
    pairs = [(row.prompt, row.answer) for row in rows] + [(row.prompt, row.rejected) for row in rows]
    logits, labels = answer_logits(model, pairs)
    picked = logits.log_softmax(-1).gather(-1, labels.clamp_min(0)[..., None])[..., 0]
    return (picked * (labels != IGNORED)).sum(1).reshape(2, len(rows))


def _table(rows: Sequence[Sequence[float]], filler: float, like: torch.Tensor) -> torch.Tensor:
    whole = np.full(tuple(like.shape), filler)
    for i, row in enumerate(rows):
        whole[i, : len(row)] = row
    return torch.as_tensor(whole, dtype=like.dtype, device=like.device)
