"""Shares that are stated in words: a line for each option, such as ``A. good: 45%``, or a JSON object."""

import json
import re
from collections.abc import Mapping, Sequence

from popsim.errors import TuneError
from popsim.survey.lenient import fold
from popsim.tune.records import Shares, unit_of

Stated = list[tuple[str, float, bool]]
"""A label, its number, and whether a percent sign follows."""
_LINE = re.compile(r"[\s>*\-\"']*(\S.*?)[\s\"'*]*[:：=][\s\"'*]*(\d+(?:\.\d+)?)\s*([%％]?)[\s\"'*.。,，;；]*")
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([%％]?)\s*")
_LETTERED = re.compile(r"[(（]?([A-Z])\s*[.)）、:：]*\s*(.*)", re.DOTALL)
FENCE = re.compile(r"^```\w*\s*|\s*```$")
"""The fence that a model puts around JSON."""


def stated_numbers(text: str) -> Stated:
    r"""Read a text that holds nothing but labels with their numbers; empty where it holds anything else.

    Args:
        text: Lines ``label: number``, with or without a percent sign, on one line with commas between them, or a JSON
            object.

    Example:
        >>> stated_numbers("A. good: 45%\nB. bad: 55 %")
        [('A. good', 45.0, True), ('B. bad', 55.0, True)]
        >>> stated_numbers('{"good": 0.45, "bad": 0.55}'), stated_numbers("About 45%: many.")
        ([('good', 0.45, False), ('bad', 0.55, False)], [])
    """
    plain = FENCE.sub("", text.strip())
    if plain.startswith("{"):
        return _of_json(plain)
    lines = [line for line in plain.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = re.split(r"[,，;；]\s*(?=\S)", lines[0])
    found = [_LINE.fullmatch(line) for line in lines]
    return [(one[1], float(one[2]), bool(one[3])) for one in found if one] if all(found) else []


def _of_json(text: str) -> Stated:
    try:
        data = json.loads(text)
    except ValueError:
        return []
    found = [(str(label), _NUMBER.fullmatch(str(value))) for label, value in data.items()]
    return [(label, float(one[1]), bool(one[2])) for label, one in found if one] if all(x for _, x in found) else []


def option_named(label: str, options: Sequence[str], letters: Mapping[str, str]) -> str | None:
    """Find the option that a label names, by its words, its letter, or both where they agree.

    Args:
        label: As it was written.
        options: The options.
        letters: The option behind each letter, where the prompt lists them so.

    Example:
        >>> letters = {"A": "good", "B": "bad"}
        >>> [option_named(label, ("good", "bad"), letters) for label in ("B.bad", "(A)", "Good", "A. bad", "C")]
        ['bad', 'good', 'good', None, None]
    """
    words = {fold(option): option for option in options}
    if option := words.get(fold(label)):
        return option
    found = _LETTERED.fullmatch(label.strip())
    option = letters.get(found[1]) if found else None
    return option if found and option and (not found[2] or fold(found[2]) == fold(option)) else None


def stated_values(stated: Stated, options: Sequence[str], letters: Mapping[str, str]) -> list[float] | None:
    """Put stated numbers into the order of the options; one that is not named has 0.

    Args:
        stated: From `stated_numbers`.
        options: The options.
        letters: The option behind each letter.

    Returns:
        None where a label is no option, or an option is named twice.

    Example:
        >>> stated_values([("bad", 40.0, True), ("good", 60.0, True)], ("good", "fair", "bad"), {})
        [60.0, 0.0, 40.0]
    """
    found: dict[str, float] = {}
    for label, number, _ in stated:
        option = option_named(label, options, letters)
        if option is None or option in found:
            return None
        found[option] = number
    return [found.get(option, 0.0) for option in options] if found else None


def read_stated_shares(text: str, options: Sequence[str], letters: Mapping[str, str]) -> tuple[float, ...] | None:
    r"""Read the shares that a reply states; lines without a number are skipped.

    Args:
        text: The reply.
        options: The options.
        letters: The option behind each letter.

    Returns:
        Shares in the order of the options, scaled to sum to 1; None where a label is no option, an option is named
        twice, or the numbers sum to neither 1 nor 100 (within 5 percent).

    Example:
        >>> read_stated_shares("I would say:\nA: 75%\nB: 25%", ("good", "bad"), {"A": "good", "B": "bad"})
        (0.75, 0.25)
        >>> read_stated_shares("good: 75%", ("good", "bad"), {}) is None
        True
    """
    stated = stated_numbers(text) or stated_numbers("\n".join(filter(_LINE.fullmatch, text.splitlines())))
    values = stated_values(stated, options, letters)
    if values is None:
        return None
    try:
        unit_of(values, "stated")
    except TuneError:
        return None
    return tuple(value / sum(values) for value in values)


def stated_lines(one: Shares, letters: Mapping[str, str]) -> str:
    """Write shares as lines in percent, behind letters where the prompt lists them.

    Args:
        one: Shares of a group.
        letters: The option behind each letter; empty where the prompt lists none.

    Example:
        >>> from popsim.tune.records import Item
        >>> item = Item("q", "?", options=("good", "bad"))
        >>> print(stated_lines(Shares("all", item, (0.75, 0.25)), {"A": "good", "B": "bad"}))
        A. good: 75%
        B. bad: 25%
    """
    share = dict(zip(one.item.options, one.shares, strict=True))
    if not letters:
        return "\n".join(f"{option}: {100 * share[option]:g}%" for option in one.item.options)
    return "\n".join(f"{letter}. {option}: {100 * share[option]:g}%" for letter, option in letters.items())
