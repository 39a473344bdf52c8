"""The form of a readable reply, worked out from the questions: as a grammar, as a JSON schema, and its length.

The grammar (GBNF, the dialect of llama.cpp and xgrammar) admits only replies that `popsim.survey.read_reply` reads as
``ok``, ``dont_know`` or ``refused``: numbers on the grid of the question, with exactly its decimals; options as they
are written, those of a multiple question in the order shown; texts of bounded length without a quotation mark, a tag
or a line end; probabilities of bins in steps of five that sum to 100. Recall and reasoning are bounded in bytes
as well, for a model may need a token for every byte of a script that it hardly knows.
"""

import json
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from popsim.survey.questions import (
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    Question,
    ScaleQuestion,
    TextQuestion,
    option_labels,
)

PART_LENGTH = 1200
"""Most characters of recall and of reasoning; a fourth of that where none of them is ASCII."""
TEXT_LENGTH = 400
"""Most characters of a text answer, where its question does not allow fewer."""
_STEP = 5
_PLAIN = r"[\n\x20-;=?-_a-~]"
_WIDE = r"[^\x00-\x9f\ud800-\udfff]"
_RUNS = PART_LENGTH // 4 - 1
_BYTES = 4
"""Most bytes of a character in UTF-8."""
_STRING = r'[^"\\<>`\x00-\x1f\x7f-\x9f\ud800-\udfff]'
_FIRST = r'[^"\\<>`\x00-\x20\x7f-\xa0\u1680\u2000-\u206f\u3000\ud800-\udfff]'

Rules = dict[str, str]


def reply_grammar(questions: Sequence[Question], *, reasoning: bool = True) -> str:
    r"""Write the grammar of a reply, starting at ``root``.

    Args:
        questions: What is asked, slots filled, in order.
        reasoning: Whether recall and reasoning stand before the answer.

    Example:
        >>> rate = NumberQuestion(kind="number", name="rate", text="?", minimum=0, maximum=10, decimals=1, unit="%")
        >>> print(reply_grammar([rate], reasoning=False))
        root ::= "{" "\"rate\": " a0 "}"
        a0 ::= "\"" ("10.0" | [0-9] "." [0-9]) "%\""
    """
    rules: Rules = {}
    fields = []
    for i, question in enumerate(questions):
        name = f"a{i}"
        value = _with_ways_out(question, _VALUES[question.kind](question, name, rules))
        fields.append(f"{_literal(f'{_json(question.json_key)}: ')} {name}")
        rules[name] = value
    answer = " ".join(['"{"', ' ", " '.join(fields), '"}"'])
    root = answer
    if reasoning:
        tags = [f"<{tag}>\n" for tag in ("recall", "reasoning", "final_answer")]
        ends = [f"\n</{tag}>\n" for tag in ("recall", "reasoning")] + ["\n</final_answer>"]
        parts = ["part", "part", "answer"]
        part = f"run{{1,{_RUNS}}} {_PLAIN}{{0,3}}"
        run = f"{_PLAIN}{{4}} | {_PLAIN}{{0,3}} {_WIDE}"
        rules = {"part": part, "run": run, "answer": answer} | rules
        root = " ".join(
            f"{_literal(tag)} {name} {_literal(end)}" for tag, name, end in zip(tags, parts, ends, strict=True)
        )
    return "\n".join(f"{name} ::= {rule}" for name, rule in {"root": root, **rules}.items())


def reply_schema(questions: Sequence[Question], *, reasoning: bool = True) -> dict[str, Any]:
    """Give the JSON schema of a reply, for servers that take no grammar.

    Args:
        questions: What is asked, slots filled, in order.
        reasoning: Whether the object also holds ``recall`` and ``reasoning``, with the answers in ``final_answer``.

    Example:
        >>> age = NumberQuestion(kind="number", name="age", text="?", minimum=18, maximum=99)
        >>> reply_schema([age], reasoning=False)["properties"]["age"]
        {'type': 'string', 'pattern': '^([2-9][0-9]|1[8-9])$'}
    """
    answers = _object({question.json_key: _schema(question) for question in questions})
    if not reasoning:
        return answers
    part = {"type": "string", "minLength": 1, "maxLength": PART_LENGTH}
    return _object({"recall": part, "reasoning": part, "final_answer": answers})


def longest_reply(questions: Sequence[Question], *, reasoning: bool = True) -> int:
    """Bound the length of a reply that keeps to the grammar, in bytes of UTF-8; it takes no more tokens than that.

    Args:
        questions: What is asked.
        reasoning: Whether recall and reasoning stand before the answer.

    Example:
        >>> age = NumberQuestion(kind="number", name="age", text="?", minimum=18, maximum=99)
        >>> longest_reply([age], reasoning=False)
        15
    """
    part = _RUNS * (3 + _BYTES) + 3
    tags = 2 * (part + 30) + 40 if reasoning else 2
    return tags + sum(_size(question.json_key) + 4 + _longest(question) for question in questions)


def number_texts(question: NumberQuestion | ScaleQuestion) -> list[str]:
    """List every number that a question allows, as a reply writes it, from the lowest to the highest.

    Args:
        question: A number or a scale.

    Example:
        >>> number_texts(NumberQuestion(kind="number", name="n", text="?", minimum=-0.5, maximum=0.5, decimals=1))[:3]
        ['-0.5', '-0.4', '-0.3']
    """
    low, high, places = _grid(question)
    return [_written(point, places) for point in range(low, high + 1)]


def _grid(question: NumberQuestion | ScaleQuestion) -> tuple[int, int, int]:
    """Give the ends of a question's range in units of its last decimal place, and the places."""
    places = question.decimals if isinstance(question, NumberQuestion) else 0
    low, high = (Decimal(repr(float(end))).scaleb(places) for end in (question.minimum, question.maximum))
    return math.ceil(low), math.floor(high), places


def _written(point: int, places: int) -> str:
    digits = str(abs(point)).zfill(places + 1)
    whole = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{whole}" if point < 0 else whole


def _number(question: NumberQuestion, name: str, rules: Rules) -> str:
    return f'"\\"" ({" | ".join(_numbers(question, _gbnf))}) {_literal(_json(question.unit)[1:])}'


def _scale(question: ScaleQuestion, name: str, rules: Rules) -> str:
    return f'"\\"" ({" | ".join(_numbers(question, _gbnf))}) "\\""'


def _choice(question: ChoiceQuestion, name: str, rules: Rules) -> str:
    return _either(question.options)


def _multiple(question: MultipleQuestion, name: str, rules: Rules) -> str:
    """Write any legal number of options in their order: one rule for each option and count of those before it."""
    options, most, least = question.options, question.most, question.at_least
    for i in reversed(range(len(options))):
        for count in range(min(i, most) + 1):
            ways = []
            if count + len(options) - i - 1 >= least:
                ways.append(f"{name}-{i + 1}-{count}" if i + 1 < len(options) else '""')
            if count < most:
                after = f" {name}-{i + 1}-{count + 1}" if i + 1 < len(options) else ""
                said = _literal((", " if count else "") + _json(options[i]))
                if count + 1 + len(options) - i - 1 >= least:
                    ways.append(said + after)
            if ways:
                rules[f"{name}-{i}-{count}"] = " | ".join(ways)
    return f'"[" {name}-0-0 "]"'


def _density(question: DensityQuestion, name: str, rules: Rules) -> str:
    """Write the probability of each bin: one rule for each bin and what is left of 100 before it."""
    labels = option_labels(question)
    for i, label in enumerate(labels):
        key = _literal((", " if i else "") + _json(label) + ': "')
        last = i + 1 == len(labels)
        for left in range(0, 101, _STEP) if i else [100]:
            given = [left] if last else range(0, left + 1, _STEP)
            ends = (f'"{share}%\\""' + ("" if last else f" {name}-{i + 1}-{left - share}") for share in given)
            rules[f"{name}-{i}-{left}"] = f"{key} ({' | '.join(ends)})"
    return f'"{{" {name}-0-100 "}}"'


def _text(question: TextQuestion, name: str, rules: Rules) -> str:
    return f'"\\"" {_FIRST} {_STRING}{{0,{min(question.max_characters, TEXT_LENGTH) - 1}}} "\\""'


_VALUES: dict[str, Callable[[Any, str, Rules], str]] = {
    "number": _number,
    "scale": _scale,
    "choice": _choice,
    "multiple": _multiple,
    "density": _density,
    "text": _text,
}


def _with_ways_out(question: Question, value: str) -> str:
    words = [words for words in (question.dont_know, question.refusal) if words is not None]
    return f"{value} | {_either(words)}" if words else value


def _schema(question: Question) -> dict[str, Any]:
    """Give the schema of one answer."""
    string = {"type": "string"}
    words = [words for words in (question.dont_know, question.refusal) if words is not None]
    if isinstance(question, NumberQuestion | ScaleQuestion):
        unit = question.unit if isinstance(question, NumberQuestion) else ""
        if _json(unit) != f'"{unit}"':  # servers disagree on whether a pattern is about the text or its JSON
            unit = ""
        value: dict[str, Any] = string | {"pattern": f"^({'|'.join(_numbers(question, _regex))}){_escaped(unit)}$"}
    elif isinstance(question, ChoiceQuestion):
        return string | {"enum": [*question.options, *words]}
    elif isinstance(question, MultipleQuestion):
        items = string | {"enum": list(question.options)}
        value = {"type": "array", "items": items, "minItems": question.at_least, "maxItems": question.most}
        value |= {"uniqueItems": True}
    elif isinstance(question, DensityQuestion):
        share = string | {"pattern": "^(100|[1-9]?[0-9])%$"}
        value = _object(dict.fromkeys(option_labels(question), share))
    else:
        value = string | {"minLength": 1, "maxLength": min(question.max_characters, TEXT_LENGTH)}
    return {"anyOf": [value, string | {"enum": words}]} if words else value


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _longest(question: Question) -> int:
    """Bound the bytes of one answer."""
    words = max((_size(words) for words in (question.dont_know, question.refusal) if words is not None), default=0)
    labels = [_size(label) + 4 for label in option_labels(question)]
    if isinstance(question, NumberQuestion | ScaleQuestion):
        low, high, places = _grid(question)
        unit = question.unit if isinstance(question, NumberQuestion) else ""
        long = max(len(_written(low, places)), len(_written(high, places))) + _size(unit)
    elif isinstance(question, ChoiceQuestion):
        long = max(labels)
    elif isinstance(question, MultipleQuestion):
        long = 2 + sum(labels)
    elif isinstance(question, DensityQuestion):
        long = 2 + sum(labels) + 8 * len(labels)
    else:
        long = 2 + _BYTES * min(question.max_characters, TEXT_LENGTH)
    return max(long, words)


Piece = tuple[str, str]
"""A run of digits that may be any between two: its lowest and its highest."""


def _numbers(question: NumberQuestion | ScaleQuestion, write: Callable[[str, list[Piece], int], str]) -> list[str]:
    """Write a range of numbers as alternatives, each a sign and digits that are free of each other."""
    low, high, places = _grid(question)
    ways = []
    for sign, first, last in (("", max(low, 0), high), ("-", max(-high, 1), -low)):
        for size in range(len(str(max(last, 0))), 0, -1):
            size = max(size, places + 1)
            least, most = max(first, 0 if size == places + 1 else 10 ** (size - 1)), min(last, 10**size - 1)
            if least <= most:
                ways += [write(sign, way, places) for way in _digits(str(least).zfill(size), str(most))]
            if size == places + 1:
                break
    return list(dict.fromkeys(ways))


def _digits(low: str, high: str) -> list[list[Piece]]:
    """Cover the numbers between two of equal length: alternatives of one (lowest, highest) digit per place."""
    high = high.zfill(len(low))
    if not low:
        return [[]]
    if low[0] == high[0]:
        return [[(low[0], high[0]), *rest] for rest in _digits(low[1:], high[1:])]
    zeros, nines = "0" * (len(low) - 1), "9" * (len(low) - 1)
    first, last = int(low[0]), int(high[0])
    ways = []
    if high[1:] != nines:
        ways += [[(high[0], high[0]), *rest] for rest in _digits(zeros, high[1:])]
        last -= 1
    below: list[list[Piece]] = []
    if low[1:] != zeros:
        below = [[(low[0], low[0]), *rest] for rest in _digits(low[1:], nines)]
        first += 1
    if first <= last:
        ways.append([(str(first), str(last)), *[("0", "9")] * len(zeros)])
    return ways + below


def _gbnf(sign: str, way: list[Piece], places: int) -> str:
    pieces = [low if low == high else f"[{low}-{high}]" for low, high in way]
    if places:
        pieces.insert(-places, ".")
    words: list[str] = [sign] if sign else []
    for piece in pieces:
        if words and not piece.startswith("[") and not words[-1].startswith("["):
            words[-1] += piece
        else:
            words.append(piece)
    return " ".join(word if word.startswith("[") else f'"{word}"' for word in words)


def _regex(sign: str, way: list[Piece], places: int) -> str:
    pieces = [low if low == high else f"[{low}-{high}]" for low, high in way]
    if places:
        pieces.insert(-places, r"\.")
    return sign + "".join(pieces)


def _either(labels: Sequence[str]) -> str:
    return " | ".join(_literal(_json(label)) for label in labels)


def _literal(text: str) -> str:
    """Write a text as a literal of the grammar."""
    return json.dumps(text, ensure_ascii=False)


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\.^$*+?{}[]|()/" else c for c in text)


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _size(text: str) -> int:
    """Count the bytes of a text in JSON, with its quotation marks."""
    return len(_json(text).encode("utf-8", "surrogatepass"))
