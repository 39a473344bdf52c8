"""The tokens that an option's letter or a number may be, found where it stands in the prompt.

The place of a token in an encoded text is never counted on: with a tokenizer that puts a token before every text,
"the second token of A)" is the letter, and with another it is the bracket. Instead the prompt is encoded with and
without the letter behind it, which is right for both (`popsim.engines.tokens.first_tokens`).
"""

from collections.abc import Sequence
from typing import Any

from popsim.engines.tokens import first_tokens
from popsim.errors import EngineError, TuneError


def letter_tokens(tokenizer: Any, before: str, letters: Sequence[str]) -> list[list[int]]:
    """Find the token ids of option letters behind a text, with and without a space before them.

    Args:
        tokenizer: Of transformers.
        before: The prompt up to where the letter stands.
        letters: The letters.

    Returns:
        The ids of each letter.

    Raises:
        TuneError: A letter is several tokens, or two begin with the same.
    """

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    try:
        found = first_tokens(encode, decode, before, letters)
    except EngineError as problem:
        raise TuneError(f"options: {problem}") from None
    for letter, ids in zip(letters, found, strict=True):
        if wrong := [decode([token]) for token in ids if decode([token]).strip() != letter]:
            raise TuneError(
                f"options: {letter!r} is several tokens for this tokenizer, beginning with {wrong[0]!r}; "
                "take a model whose tokenizer keeps letters whole"
            )
    return found


def number_tokens(tokenizer: Any, before: str, numbers: Sequence[float]) -> list[list[int]] | None:
    """Find the token ids of numbers behind a text, or None where one of them is several tokens.

    Args:
        tokenizer: Of transformers.
        before: The prompt up to where the number stands.
        numbers: All that may be answered.
    """
    try:
        return letter_tokens(tokenizer, before, [f"{number:g}" for number in numbers])
    except TuneError:
        return None
