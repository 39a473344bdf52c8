"""Alpaca JSON as AlignSurvey (2025) uses it: ``instruction``, ``input``, ``output`` and who answered what.

Its four tasks differ in what the output is. Where the instruction lists lettered options (task 4) the answer is one of
them; where the output is JSON with ``predict`` (task 3) it is a stance; where the row names a ``field`` (task 1) it is
an attribute of the speaker; else it is free text (task 2). The instruction is kept as the prompt, to the letter.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from popsim import streams
from popsim.errors import TuneError
from popsim.tune.formats.rows import json_rows, need, write_json
from popsim.tune.records import Answer, Item, make_answer

STANCES = ("positive", "neutral", "negative")
_OPTION = re.compile(r"^\s*\(?([A-Z])[.)、:：]\s*(\S.*?)\s*$", re.MULTILINE)
_LETTER = re.compile(r"^\s*\(?([A-Z])(?:[.)、:：\s].*)?$", re.DOTALL)
_FACT = re.compile(r"^(?:your |您的|你的)\s*([^:：\n]+)[:：]\s*(.+)$", re.MULTILINE | re.IGNORECASE)
_FENCE = re.compile(r"^```\w*\s*|\s*```$")


def read_alpaca(path: str | Path, study: str = "") -> list[Answer]:
    """Read answers; one that cannot be read keeps its row with status ``unreadable``.

    Args:
        path: The file.
        study: Names the file's source.

    Raises:
        TuneError: A row lacks instruction or output.
    """
    found = []
    for i, (where, row) in enumerate(json_rows(Path(path)), 1):
        prompt = "\n".join(filter(None, (str(need(row, "instruction", where)), str(row.get("input") or ""))))
        output = str(need(row, "output", where))
        named = (row[key] for key in ("respondent_id", "person_id", "id") if row.get(key) not in (None, ""))
        person = str(next(named, i))
        facts = {name: value.strip() for name, value in _FACT.findall(prompt)}
        found.append(_read(row, prompt, output, Answer(person, _text(row), None, facts=facts, study=study), where))
    return found


def _text(row: dict[str, Any]) -> Item:
    named = (row[key] for key in ("question_index", "field", "question") if row.get(key) not in (None, ""))
    name = str(next(named, "reply"))
    return Item(name, str(row.get("question") or ""))


def _read(row: dict[str, Any], prompt: str, output: str, one: Answer, where: str) -> Answer:
    known: dict[str, Any] = {"facts": one.facts, "study": one.study, "prompt": prompt}
    name, text = one.item.name, one.item.text
    options = listed_options(prompt)
    if options:
        item = Item(name, text, tuple(options.values()))
        letter, words = _LETTER.match(output), {option.casefold(): option for option in item.options}
        chosen = options.get(letter[1]) if letter else words.get(output.strip().casefold())
        if chosen is None:
            return Answer(one.person, item, None, "unreadable", **known)
        return make_answer(one.person, item, chosen, where, **known)
    if stance := _stance(output):
        predicted, reason = stance
        known["reasoning"] = reason
        item = Item(name, text, STANCES)
        if predicted not in STANCES:
            return Answer(one.person, item, None, "unreadable", **known)
        return make_answer(one.person, item, predicted, where, **known)
    return Answer(one.person, one.item, output, **known) if output else Answer(one.person, one.item, None, "missing")


def listed_options(prompt: str) -> dict[str, str]:
    r"""Find the lettered options that a prompt lists, by letter; none where there are not two.

    Example:
        >>> listed_options("Well?\nA. no\nB. yes")
        {'A': 'no', 'B': 'yes'}
    """
    found = dict(_OPTION.findall(prompt))
    return {letter: found[letter] for letter in sorted(found)} if len(found) > 1 else {}


def relist_options(prompt: str, options: Mapping[str, str]) -> str:
    r"""Put other options behind the letters of a prompt.

    Example:
        >>> relist_options("Well?\nA. no\nB. yes", {"A": "yes", "B": "no"})
        'Well?\nA. yes\nB. no'
    """

    def line(found: re.Match[str]) -> str:
        start, end = found.start(2) - found.start(), found.end(2) - found.start()
        return f"{found[0][:start]}{options[found[1]]}{found[0][end:]}"

    return _OPTION.sub(line, prompt)


def _stance(output: str) -> tuple[str, str] | None:
    try:
        data = json.loads(_FENCE.sub("", output.strip()))
    except ValueError:
        return None
    if not isinstance(data, dict) or "predict" not in data:
        return None
    return str(data["predict"]).strip().lower(), str(data.get("reason") or "")


def write_alpaca(path: str | Path, answers: Iterable[Answer], seed: int | None = None) -> None:
    """Write answers; the options of an item without a prompt of its own can be put in another order for each answer.

    Args:
        path: The file.
        answers: Those without status ``ok`` are left out: there is nothing to learn from them.
        seed: Of the order of the options; the questionnaire's unless given.

    Raises:
        TuneError: A question has more than 26 options.
    """
    rows = []
    for one in answers:
        if one.status != "ok":
            continue
        letters = one.item.letters
        order = range(len(letters))
        if seed is not None:
            order = streams.rng(seed, f"tune.options.{one.person}.{one.item.name}").permutation(len(letters)).tolist()
        options = [one.item.options[at] for at in order]
        instruction = one.prompt or _instruction(one, options)
        rows.append(
            {
                "instruction": instruction,
                "input": "",
                "output": output_line(one, instruction),
                "respondent_id": one.person,
                "question_index": one.item.name,
                "question": one.item.text,
                "answer": one.value,
            }
        )
    write_json(Path(path), rows)


def _instruction(one: Answer, options: list[str]) -> str:
    lines = ["Answer this survey question as the person described here would.", ""]
    lines += [f"Your {name}: {value}" for name, value in one.facts.items()]
    lines += ["", one.item.text, *(f"{x}. {text}" for x, text in zip(one.item.letters, options, strict=True))]
    return "\n".join([*lines, "Answer directly." if options else ""]).rstrip()


def output_line(one: Answer, prompt: str) -> str:
    r"""Write an answer as the ``output`` of its prompt: the option's line, the stance as JSON, or the text.

    Args:
        one: With status ``ok``.
        prompt: The instruction, which may list lettered options.

    Raises:
        TuneError: The options listed lack the answer.

    Example:
        >>> output_line(Answer("7", Item("q", "?", options=("yes", "no")), "no"), "Well?\nA. no\nB. yes")
        'A. no'
    """
    options = listed_options(prompt)
    if not one.item.options:
        return f"{one.value:g}" if isinstance(one.value, float) else str(one.value)
    if one.item.options == STANCES and not options:
        return json.dumps({"predict": one.value, "reason": one.reasoning}, ensure_ascii=False)
    letter = next((x for x, text in options.items() if text == one.value), None)
    if letter is None:
        raise TuneError(f"person {one.person}: the prompt of {one.item.name} does not list the answer {one.value!r}")
    return f"{letter}. {one.value}"
