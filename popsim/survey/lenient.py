"""The form of a reply: three tagged parts and a JSON object, found in a text that is only nearly well formed.

Values come out as they were written; what they mean is for `popsim.survey.reading` to say. Well-formed replies take the
standard decoder; anything else a small parser that also takes comments, trailing commas, other quotation marks,
full-width punctuation and values without quotes. Its work is bounded by the length of the text.
"""

import json
import re
import unicodedata
from collections.abc import Collection
from typing import Any, NamedTuple, TypeAlias

Raw: TypeAlias = "str | bool | list[Raw] | tuple[tuple[str, Raw], ...] | None"
Pairs: TypeAlias = tuple[tuple[str, Raw], ...]


class Bare(str):
    """A value that stood without quotes: a number as it was written, or a word."""

    __slots__ = ()


class Parts(NamedTuple):
    """The three parts of a reply.

    Attributes:
        recall: What stands in ``<recall>``, stripped.
        reasoning: What stands in ``<reasoning>``, stripped.
        answer: Where the answer is looked for.
        final: Whether it stands in ``<final_answer>``.
    """

    recall: str
    reasoning: str
    answer: str
    final: bool


# Full-width forms, spaces and dashes of one meaning. NFKC would also turn 10² into 102, so it is kept for labels.
_WIDTH = str.maketrans(
    {0xFF01 + i: 0x21 + i for i in range(94)}
    | {0x3000: " ", 0xFEFF: None, 0x200B: None}
    | dict.fromkeys(map(ord, "−‐‑‒–﹣"), "-")
    | dict.fromkeys(map(ord, "‘’"), "'")
    | dict.fromkeys(map(ord, "“”"), '"')
)


def narrow(text: str) -> str:
    """Write full-width characters, dashes and quotation marks in their ASCII form, as far as that changes no meaning.

    Example:
        >>> narrow("−４．０％")
        '-4.0%'
    """
    return text if text.isascii() else text.translate(_WIDTH)


def fold(label: str) -> str:
    """Bring labels to one form when they differ only in case, spaces, width, dashes or quotation marks.

    Example:
        >>> fold("Don’t  know") == fold("don't know")
        True
    """
    return "".join(unicodedata.normalize("NFKC", narrow(label)).casefold().split())


def fold_key(key: str) -> str:
    """Bring keys to one form when they differ only as in `fold` or in underscores and hyphens.

    Example:
        >>> fold_key("Inflation rate")
        'inflationrate'
    """
    return fold(key).replace("_", "").replace("-", "")


_TAGS = ("recall>", "/recall>", "reasoning>", "/reasoning>", "final_answer>", "/final_answer>")
_ANY_TAG = re.compile(r"[<＜]\s*+([/／]?)\s*+(recall|reasoning|final[ _-]?answer|think)\s*+[>＞]", re.IGNORECASE)


def split_reply(text: str) -> Parts:
    """Cut a reply into its parts, with tags missing, unclosed or written sloppily.

    The answer is the last ``<final_answer>`` that holds a brace; without such a tag, everything outside the other
    parts. What a model thinks aloud in ``<think>`` before it replies is no part of the reply.

    Args:
        text: The reply.

    Example:
        >>> split_reply("<recall>I am 56.</recall> {}")
        Parts(recall='I am 56.', reasoning='', answer='{}', final=False)
    """
    pieces = text.split("<", 7)[1:]
    if len(pieces) == 6 and all(map(str.startswith, pieces, _TAGS)):
        recall, reasoning, answer = [piece.partition(">")[2].strip() for piece in pieces[::2]]
        return Parts(recall, reasoning, answer, True)
    return _split_sloppy(text)


def _split_sloppy(text: str) -> Parts:
    first: dict[str, str] = {}
    finals: list[str] = []
    outside: list[str] = []
    name, at = "", 0
    for tag in _ANY_TAG.finditer(text):
        piece, at = text[at : tag.start()].strip(), tag.end()
        which = tag[2].lower()
        which = "final" if which.startswith("final") else which
        owner = name or (which if tag[1] else "")
        name = "" if tag[1] else which
        if tag[1] and which == "think":
            first, finals, outside = {}, [], []
        elif owner == "final":
            finals.append(piece)
        elif owner:
            first.setdefault(owner, piece)
        else:
            outside.append(piece)
    piece = text[at:].strip()
    if name == "final":
        finals.append(piece)
    elif name != "think":
        outside.append(piece)
        if name:
            first.setdefault(name, piece)
    held = [piece for piece in finals if "{" in piece or "｛" in piece] or finals[-1:]
    answer = held[-1] if held else "\n".join(piece for piece in outside if piece)
    return Parts(first.get("recall", ""), first.get("reasoning", ""), answer, bool(finals))


def _decoder() -> json.JSONDecoder:
    hooks: dict[str, Any] = dict.fromkeys(("parse_float", "parse_int", "parse_constant"), Bare)
    return json.JSONDecoder(object_pairs_hook=tuple, strict=False, **hooks)


_JSON = _decoder()
_START = re.compile(r"[{｛](?=\s*+(?:[\"'“”‘’＂}｝]|/[/*]|[^\W\d]\w*+\s*+[:：/]))")
_PATIENCE = 200_000
_COST_OF_A_FAILURE = 1000
_DEEPEST = 4


def find_object(text: str, keys: Collection[str]) -> Pairs | None:
    """Find the last JSON object of a text that has at least one of the keys.

    Where none has, the last object of any kind is returned. The search gives up after reading about four times the
    length of the text.

    Args:
        text: Where to look.
        keys: The keys of the questions.

    Returns:
        The object as (key, value) pairs in their order, or None.

    Example:
        >>> find_object("Sure: {'a': 4.00%, /* a guess */ }", ["a"])
        (('a', '4.00%'),)
    """
    start = text.find("{")
    if start >= 0:
        try:
            found, end = _JSON.raw_decode(text, start)
        except (ValueError, RecursionError):
            pass
        else:
            if text.find("{", end) < 0 and any(key in keys for key, _ in found):
                return found  # type: ignore[no-any-return]
    return _find_sloppy(text, frozenset(fold_key(key) for key in keys))


def _find_sloppy(text: str, folded: frozenset[str]) -> Pairs | None:
    last: Pairs | None = None
    other: Pairs | None = None
    at, patience = 0, _PATIENCE + 4 * len(text)
    while patience > 0 and (start := _START.search(text, at)):
        at = start.end()
        try:
            pairs, end = _object(text, at, 1)
        except _Malformed as problem:
            patience -= problem.at - at + _COST_OF_A_FAILURE
            continue
        if any(fold_key(key) in folded for key, _ in pairs):
            last, at = pairs, end
        else:
            other = pairs
            patience -= end - at + _COST_OF_A_FAILURE
    return other if last is None else last


class _Malformed(Exception):
    """No object starts here; ``at`` is how far the text was read."""

    def __init__(self, at: int) -> None:
        self.at = at


_SPACE = re.compile(r"(?:[\s\ufeff\u200b]++|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z))*+")
_WORD = re.compile(r"[^\W\d]\w*+")
_PLAIN = r"/(?![/*])|[^,，{}\[\]｛｝［］\"“”\n/]"
_ITEM = re.compile(rf"(?:{_PLAIN})++")
_MEMBER = re.compile(rf"(?:(?<=\d)[,，](?=\d{{3}}(?!\d))|{_PLAIN})++")
_WORDS: dict[str, bool | None] = {"null": None, "true": True, "false": False}


def _quoted(closing: str) -> re.Pattern[str]:
    """Match from behind an opening mark to the first closing one that structure follows."""
    structure = r"\s*+(?:[,:}\]，：｝］]|/[/*])"
    return re.compile(rf"((?:[^{closing}\\]|\\.|[{closing}](?!{structure}))*+)[{closing}]", re.DOTALL)


_MARKS = {
    opening: _quoted(closing)
    for openings, closing in (('"', '"'), ("'", "'"), ("“”", '“”"'), ("‘’", "‘’'"), ("＂", "＂"))
    for opening in openings
}


def _is(text: str, at: int, characters: str) -> bool:
    return at < len(text) and text[at] in characters


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _object(text: str, at: int, depth: int) -> tuple[Pairs, int]:
    """Read the members of an object from behind its opening brace."""
    pairs: list[tuple[str, Raw]] = []
    while True:
        at = _skip(text, at)
        if _is(text, at, "}｝"):
            return tuple(pairs), at + 1
        key, at = _key(text, at)
        at = _skip(text, at)
        if not _is(text, at, ":："):
            raise _Malformed(at)
        value, at = _value(text, _skip(text, at + 1), depth, _MEMBER)
        pairs.append((key, value))
        at = _skip(text, at)
        if _is(text, at, ",，"):
            at += 1
        elif not _is(text, at, "}｝"):
            raise _Malformed(at)


def _array(text: str, at: int, depth: int) -> tuple[list[Raw], int]:
    """Read the items of an array from behind its opening bracket."""
    items: list[Raw] = []
    while True:
        at = _skip(text, at)
        if _is(text, at, "]］"):
            return items, at + 1
        item, at = _value(text, at, depth, _ITEM)
        items.append(item)
        at = _skip(text, at)
        if _is(text, at, ",，"):
            at += 1
        elif not _is(text, at, "]］"):
            raise _Malformed(at)


def _key(text: str, at: int) -> tuple[str, int]:
    if at < len(text) and text[at] in _MARKS:
        return _string(text, at)
    word = _WORD.match(text, at)
    if not word:
        raise _Malformed(at)
    return word[0], word.end()


def _value(text: str, at: int, depth: int, bare: re.Pattern[str]) -> tuple[Raw, int]:
    if at >= len(text) or depth >= _DEEPEST:
        raise _Malformed(at)
    if text[at] in _MARKS:
        return _string(text, at)
    if text[at] in "{｛":
        return _object(text, at + 1, depth + 1)
    if text[at] in "[［":
        return _array(text, at + 1, depth + 1)
    token = bare.match(text, at)
    if not token:
        raise _Malformed(at)
    word = token[0].strip()
    return (_WORDS[word] if word in _WORDS else Bare(word)), token.end()


def _string(text: str, at: int) -> tuple[str, int]:
    body = _MARKS[text[at]].match(text, at + 1)
    if not body:
        raise _Malformed(len(text))
    return (_ESCAPE.sub(_unescaped, body[1]) if "\\" in body[1] else body[1]), body.end()


_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})++|\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1] is None:
        return str(json.loads(f'"{escape[0]}"'))
    return _ESCAPED.get(escape[1], escape[1])
