"""Messages in a model's own format and its tokens, where nothing from outside can give commands."""

import re
from collections.abc import Sequence
from datetime import date
from functools import cached_property, lru_cache, partial
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from popsim.engines.tokens import CLOSING, TAIL, first_tokens, token_texts
from popsim.errors import EngineError

_FROZEN_DATE = date(2025, 1, 1)
_GUARD = "\ufdd0"
"""Breaks up what looks like a control token until the template's own have been found; no text holds it."""
_SAMPLE = (("user", "How are you?"), ("assistant", " Well, 1 of 2.\n"), ("user", "Good."))


class Texts:
    """A tokenizer with its chat template, and what popsim asks of both.

    Args:
        tokenizer: Of transformers.
        vocabulary: How many tokens the model knows.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._control = control_tokens(tokenizer)
        self._brackets = {token for text, token in tokenizer.get_vocab().items() if ">" in text}
        self._firsts = lru_cache(1024)(partial(first_tokens, self.plain, self._spell))
        self.special = frozenset(id for id, token in tokenizer.added_tokens_decoder.items() if token.special)

    def read(self, messages: Sequence[tuple[str, str]], prefill: str = "") -> tuple[str, NDArray[np.int32]]:
        """Turn a prompt into the text and the tokens that the model reads.

        Args:
            messages: Pairs of role and text.
            prefill: What the reply begins with.

        Raises:
            EngineError: The chat template refuses the messages, or a text holds a control token that this tokenizer
                cannot read as plain text.
        """
        outside = [*(text for _, text in messages), prefill]
        found = next(filter(None, map(self._control.search, outside)), None)
        if found is None:
            text = self._render(messages) + prefill
            return text, np.array(self._encode(text), dtype=np.int32)
        guarded = [self._control.sub(lambda one: one[0][0] + _GUARD + one[0][1:], text) for text in outside]
        if not self._cuts_cleanly or any(map(self._control.search, guarded)):
            raise EngineError(f"the text holds {found[0]!r}, which this model reads as a command; reword it")
        roles = [role for role, _ in messages]
        text = self._render(list(zip(roles, guarded[:-1], strict=True))) + guarded[-1]
        return text.replace(_GUARD, ""), np.array(self._encode_pieces(text), dtype=np.int32)

    def firsts(self, before: str, choices: Sequence[str]) -> list[list[int]]:
        """Find the first tokens of choices that stand behind a text; see `first_tokens`."""
        return self._firsts(before[-TAIL:], tuple(choices))

    def plain(self, text: str) -> list[int]:
        """Turn a text into tokens, what looks like a control token included."""
        return self._encode(text, split_special_tokens=True)

    def write(self, written: Sequence[int], behind: Sequence[int] = ()) -> str:
        """Turn tokens that stand behind others into text, without control tokens."""
        head = self._decode(list(behind)) if behind else ""
        return self._decode([*behind, *written])[len(head) :]

    def closes(self, written: list[int]) -> bool:
        """Whether the last token completes the closing tag of the answer."""
        return written[-1] in self._brackets and CLOSING in self._decode(written[-len(CLOSING) :])

    @cached_property
    def spelling(self) -> list[str]:
        """The text of every token by its id; see `token_texts`."""
        return token_texts(self._spell, self._vocabulary, self.special, self.plain("x")[-1])

    @cached_property
    def _cuts_cleanly(self) -> bool:
        """Whether the pieces between control tokens, each read alone, give the tokens of the whole."""
        try:
            text = self._render(_SAMPLE)
        except EngineError:
            return False
        return self._encode_pieces(text) == self._encode(text)

    def _render(self, messages: Sequence[tuple[str, str]]) -> str:
        try:
            return render(self._tokenizer, messages)
        except (jinja2.TemplateError, ValueError) as problem:
            raise EngineError(f"the model's chat template refuses these messages: {problem}") from None

    def _encode(self, text: str, **options: bool) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False, **options)["input_ids"]
        return ids

    def _encode_pieces(self, text: str) -> list[int]:
        ids, at = [], 0
        for found in self._control.finditer(text):
            ids += self.plain(text[at : found.start()].replace(_GUARD, ""))
            ids.append(self._tokenizer.convert_tokens_to_ids(found[0]))
            at = found.end()
        return ids + self.plain(text[at:].replace(_GUARD, ""))

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _spell(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text


def render(tokenizer: Any, messages: Sequence[tuple[str, str]], *, reply: bool = True) -> str:
    """Put messages into the model's own format, on a date that does not move."""
    turns = [{"role": role, "content": text} for role, text in messages]
    text: str = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=reply, strftime_now=_FROZEN_DATE.strftime
    )
    return text


def control_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Match the special tokens of a model, which a text from outside must not speak."""
    special = [re.escape(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(sorted(special, key=len, reverse=True)) or r"(?!)")
