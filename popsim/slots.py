"""Texts with ``{{slots}}``: the one template syntax of personas, vignettes and prompt layouts.

Double braces leave JSON, dollar signs and per cent signs alone. Filling is a plain replacement: what is put into a slot
is data and is never searched for slots again.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

_SLOT = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\}\}")


@lru_cache(maxsize=4096)
def split(text: str) -> tuple[str, ...]:
    """Cut a text at its slots: literal text and slot name in turn.

    Example:
        >>> split("${{price}} a barrel")
        ('$', 'price', ' a barrel')
    """
    return tuple(_SLOT.split(text))


def slots_of(text: str) -> frozenset[str]:
    """Name the slots of a text.

    Example:
        >>> sorted(slots_of("{{age}} years, {{ sex }}, {not one}"))
        ['age', 'sex']
    """
    return frozenset(split(text)[1::2])


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values into the slots of a text.

    Args:
        text: The text with ``{{slots}}``.
        values: A string for every slot of the text.

    Raises:
        KeyError: A slot has no value; check texts from users with `unknown_slot` first.

    Example:
        >>> fill("${{price}} a barrel", {"price": "54"})
        '$54 a barrel'
    """
    pieces = split(text)
    if len(pieces) == 1:
        return text
    return "".join(values[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def unknown_slot(text: str, known: Iterable[str]) -> str:
    """Describe the first slot of a text that is not known, or return an empty string.

    Example:
        >>> unknown_slot("{{agee}}", ["age", "sex"])
        'unknown slot {{agee}}; did you mean {{age}}? Known slots: age, sex'
    """
    names = sorted(set(known))
    for slot in sorted(slots_of(text)):
        if slot not in names:
            return f"unknown slot {{{{{slot}}}}}{did_you_mean(slot, names, '{{', '}}')} Known slots: {', '.join(names)}"
    return ""


def did_you_mean(word: str, known: Iterable[str], before: str = "", after: str = "") -> str:
    """Suggest the nearest known word, as the middle of an error message.

    Example:
        >>> did_you_mean("seeed", ["seed", "size"])
        '; did you mean seed?'
        >>> did_you_mean("xyz", ["seed", "size"])
        '.'
    """
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {before}{near[0]}{after}?" if near else "."


def strings_in(node: Any) -> Iterator[str]:
    """Walk every string below a node of plain data, keys included.

    Example:
        >>> list(strings_in({"a": ["b", 1]}))
        ['a', 'b']
    """
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from strings_in(key)
            yield from strings_in(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from strings_in(item)


def fill_in(node: Any, values: Mapping[str, str]) -> Any:
    """Fill every string below a node of plain data, keys included; lists become tuples.

    Example:
        >>> fill_in({"text": ["{{a}}"]}, {"a": "b"})
        {'text': ('b',)}
    """
    if isinstance(node, str):
        return fill(node, values)
    if isinstance(node, dict):
        return {fill_in(key, values): fill_in(value, values) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return tuple(fill_in(item, values) for item in node)
    return node
