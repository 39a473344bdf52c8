"""Alpaca JSON as AlignSurvey (2025) uses it: ``instruction``, ``input``, ``output`` and who answered what.

Its four tasks differ in what the output is. Where the instruction lists lettered options (task 4) the answer is one of
them; where the output is JSON with ``predict`` (task 3) it is a stance, in English or in Chinese; where the row names a
``field`` (task 1) it is an attribute of the speaker; else it is free text (task 2). Tasks 3 and 4 have files about
groups too, whose output states a share of each option. The instruction is kept as the prompt, to the letter.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from popsim import streams
from popsim.errors import TuneError
from popsim.tune.formats.rows import json_rows, need, write_json
from popsim.tune.records import Answer, Item, Shares, make_answer, make_shares, same_unit
from popsim.tune.stated import FENCE, Stated, option_named, stated_lines, stated_numbers, stated_values

STANCES = ("positive", "neutral", "negative")
STANCE_WORDS = (STANCES, ("积极", "中立", "消极"))
"""The stances from the best to the worst, in each language."""
_OPTION = re.compile(r"^\s*\(?([A-Z])[.)、:：](?!.*[:：]\s*[^\s:：]{0,8}\s*[%％]\s*$)\s*(\S.*?)\s*$", re.MULTILINE)
"""A line that lists an option, and not one that shows how its share is to be stated, such as ``A. good: xx%``."""
_LETTER = re.compile(r"^\s*\(?([A-Z])(?:[.)、:：\s].*)?$", re.DOTALL)
_OWN = re.compile(r"^(?:your |您的|你的)\s*", re.IGNORECASE)
_FACT = re.compile(r"([^:：]+?)\s*[:：]\s*(.*)")
_BACKGROUND = re.compile(r".*(?:background|背景)[^:：]*[:：]\s*", re.IGNORECASE)
_NEAR = 5
"""Percent behind labels that no instruction lists are shares where they sum to 100 within this."""


def read_alpaca(path: str | Path, study: str = "") -> list[Answer] | list[Shares]:
    """Read answers of persons, or shares of groups; an answer that cannot be read keeps its row, ``unreadable``.

    An output states shares where it is nothing but labels with numbers, with percent signs or two labels at least, and
    the labels are options that the instruction lists, or stances, or, where it lists none, all have percent signs. An
    option that is not named has 0. The group is what the row names under ``group``, else its facts, else its id.

    Args:
        path: The file.
        study: Names the file's source.

    Raises:
        TuneError: A row lacks instruction or output, states shares that sum to neither 1 nor 100, or asks a group a
            question a second time; or the file holds persons and groups, or shares and percent.
    """
    answers: list[Answer] = []
    groups: dict[tuple[str, ...], tuple[str, Shares]] = {}
    raw: list[tuple[str, list[float]]] = []
    for i, (where, row) in enumerate(json_rows(Path(path)), 1):
        prompt = "\n".join(filter(str.strip, (str(need(row, "instruction", where)), str(row.get("input") or ""))))
        output = str(need(row, "output", where))
        named = (row[key] for key in ("respondent_id", "person_id", "id") if row.get(key) not in (None, ""))
        one = Answer(str(next(named, i)), _text(row), None, facts=facts_of(prompt), study=study, prompt=prompt)
        if stated := _stated(output, prompt):
            shares, values = _group(row, stated, one, where)
            raw.append((where, values))
            key = (shares.group, shares.item.text, *sorted(shares.item.options))
            if key in groups:
                name = shares.item.name
                raise TuneError(f"{where}: {shares.group} answers {name} a second time, after {groups[key][0]}")
            groups[key] = where, shares
        else:
            answers.append(_read(output, one, where))
        if answers and groups:
            what = "shares of a group" if stated else "a person's answer"
            raise TuneError(f"{where}: holds {what}, rows before it do not; put persons and groups into two files")
    same_unit(raw)
    return [shares for _, shares in groups.values()] if groups else answers


def _text(row: dict[str, Any]) -> Item:
    named = (row[key] for key in ("question_index", "field", "question") if row.get(key) not in (None, ""))
    return Item(str(next(named, "reply")), str(row.get("question") or ""))


def facts_of(prompt: str) -> dict[str, str]:
    r"""Find what a prompt says of the person: lines "your age: 44", and all such lines below a line "background:".

    Example:
        >>> facts_of("Answer.\nYour background:\nyour age: 44\nregion: north\nyour race: \n\nQuestion: well?")
        {'age': '44', 'region': 'north'}
    """
    found: dict[str, str] = {}
    inside = False
    for line in prompt.splitlines():
        heading = _BACKGROUND.fullmatch(line)
        inside = bool(heading) or (inside and bool(line.strip()))
        fact = None if heading or not (inside or _OWN.match(line)) else _FACT.fullmatch(_OWN.sub("", line))
        if fact and fact[2].strip():
            found.setdefault(fact[1].strip(), fact[2].strip())
    return found


def _stated(output: str, prompt: str) -> Stated:
    """Give the numbers of an output that states shares; none where it says something else."""
    stated, letters = stated_numbers(output), listed_options(prompt)
    signs = [sign for _, _, sign in stated]
    options = _options_of(stated, letters)
    if letters or options in STANCE_WORDS:
        named = all(option_named(label, options, letters) for label, _, _ in stated)
        return stated if (any(signs) and all(signs)) or (len(stated) > 1 and named) else []
    whole = abs(sum(number for _, number, _ in stated) - 100) <= _NEAR
    return stated if len(stated) > 1 and all(signs) and whole else []


def _options_of(stated: Stated, letters: Mapping[str, str]) -> tuple[str, ...]:
    """Give the options of which shares are stated: those that are listed, else stances, else what is named."""
    names = tuple(label for label, _, _ in stated)
    stances = next((words for words in STANCE_WORDS if {name.lower() for name in names} <= set(words)), names)
    return tuple(letters.values()) or (stances if names else ())


def _group(row: dict[str, Any], stated: Stated, one: Answer, where: str) -> tuple[Shares, list[float]]:
    letters = listed_options(one.prompt)
    item = Item(one.item.name, one.item.text or one.prompt, _options_of(stated, letters))
    values = stated_values(stated, item.options, letters)
    if values is None:
        odd = next((label for label, _, _ in stated if not option_named(label, item.options, letters)), "")
        what = f"a share for {odd!r}, which is no option" if odd else "the share of an option twice"
        raise TuneError(f"{where}: states {what}; options: {', '.join(item.options)}")
    facts = "; ".join(f"{name}: {words}" for name, words in one.facts.items())
    group = str(row.get("group") or facts or one.person)
    return make_shares(group, item, values, where, study=one.study, prompt=one.prompt), values


def _read(output: str, one: Answer, where: str) -> Answer:
    known: dict[str, Any] = {"facts": one.facts, "study": one.study, "prompt": one.prompt}
    name, text = one.item.name, one.item.text
    options = listed_options(one.prompt)
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
        options_of = next((words for words in STANCE_WORDS if predicted in words), None)
        if options_of is None:
            return Answer(one.person, Item(name, text, STANCES), None, "unreadable", **known)
        return make_answer(one.person, Item(name, text, options_of), predicted, where, **known)
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
        data = json.loads(FENCE.sub("", output.strip()))
    except ValueError:
        return None
    if not isinstance(data, dict) or "predict" not in data:
        return None
    return str(data["predict"]).strip().lower(), str(data.get("reason") or "")


def write_alpaca(path: str | Path, records: Iterable[Answer] | Iterable[Shares], seed: int | None = None) -> None:
    """Write answers or shares; the options of an item without its own prompt can be put in another order each time.

    Args:
        path: The file.
        records: Answers without status ``ok`` are left out: there is nothing to learn from them.
        seed: Of the order of the options; the questionnaire's unless given.

    Raises:
        TuneError: A question has more than 26 options.
    """
    write_json(Path(path), [_row(one, seed) for one in records if isinstance(one, Shares) or one.status == "ok"])


def _row(one: Answer | Shares, seed: int | None) -> dict[str, Any]:
    key, who = ("group", one.group) if isinstance(one, Shares) else ("respondent_id", one.person)
    letters = one.item.letters
    order: Sequence[int] = range(len(letters))
    if seed is not None:
        order = streams.rng(seed, f"tune.options.{who}.{one.item.name}").permutation(len(letters)).tolist()
    instruction = one.prompt or _instruction(one, [one.item.options[at] for at in order])
    row = {
        "instruction": instruction,
        "input": "",
        "output": output_line(one, instruction),
        key: who,
        "question_index": one.item.name,
        "question": one.item.text,
    }
    return row if isinstance(one, Shares) else row | {"answer": one.value}


def _instruction(one: Answer | Shares, options: list[str]) -> str:
    if isinstance(one, Shares):
        lines = [f"Say how many percent of this group choose each option: {one.group}."]
        last = "Answer with a line for each option."
    else:
        lines = ["Answer this survey question as the person described here would.", ""]
        lines += [f"Your {name}: {value}" for name, value in one.facts.items()]
        last = "Answer directly." if options else ""
    lines += ["", one.item.text, *(f"{x}. {text}" for x, text in zip(one.item.letters, options, strict=True)), last]
    return "\n".join(lines).rstrip()


def output_line(one: Answer | Shares, prompt: str) -> str:
    r"""Write the ``output`` of a prompt: the option's line, the stance as JSON, the text, or a line of each share.

    Args:
        one: Shares, or an answer with status ``ok``.
        prompt: The instruction, which may list lettered options.

    Raises:
        TuneError: The options listed lack the answer.

    Example:
        >>> output_line(Answer("7", Item("q", "?", options=("yes", "no")), "no"), "Well?\nA. no\nB. yes")
        'A. no'
    """
    options = listed_options(prompt)
    if isinstance(one, Shares):
        return stated_lines(one, options)
    if not one.item.options:
        return f"{one.value:g}" if isinstance(one.value, float) else str(one.value)
    if one.item.options in STANCE_WORDS and not options:
        return json.dumps({"predict": one.value, "reason": one.reasoning}, ensure_ascii=False)
    letter = next((x for x, text in options.items() if text == one.value), None)
    if letter is None:
        raise TuneError(f"person {one.person}: the prompt of {one.item.name} does not list the answer {one.value!r}")
    return f"{letter}. {one.value}"
