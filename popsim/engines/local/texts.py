"""Messages in a model's own format, and the control tokens that a text from outside must not speak."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

_FROZEN_DATE = date(2025, 1, 1)


def render(tokenizer: Any, messages: Sequence[tuple[str, str]], *, reply: bool = True) -> str:
    """Put messages into the model's own format, on a date that does not move."""
    turns = [{"role": role, "content": text} for role, text in messages]
    text: str = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=reply, strftime_now=_FROZEN_DATE.strftime
    )
    return text


def control_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Match the special tokens of a model, which a text from outside must not hold."""
    special = [re.escape(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(special) or r"(?!)")
