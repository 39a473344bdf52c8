"""Answers in experiments, in the shape of SocSci210 (Kolluri et al. 2025): JSONL.

A row has ``sample_id``, ``participant``, ``demographic``, ``stimuli``, ``prompt``, ``reasoning``, ``response``,
``condition_num``, ``task_num`` and ``study_id``. The scale stands in the prompt's words ``from 1 to 7``; in the real
file some responses are codes such as 98 on such a scale, which have to be declared.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from popsim.errors import TuneError
from popsim.tune.formats.rows import jsonl_rows, need, write_jsonl
from popsim.tune.records import Answer, Item, make_answer

_SCALE = re.compile(r"\b(?:from|between)\s+(-?\d+)\s+(?:to|and)\s+(-?\d+)\b")
_ASKED = "\nOnly return an integer from {low:.0f} to {high:.0f}."


def read_socsci(path: str | Path, missing: Sequence[float] = ()) -> list[Answer]:
    """Read the answers of participants.

    Args:
        path: The file.
        missing: Codes that stand for no answer.

    Raises:
        TuneError: A row has another shape, or an answer lies outside the scale that its prompt states.
    """
    found = []
    for where, row in jsonl_rows(Path(path)):
        text, study = str(need(row, "prompt", where)), str(need(row, "study_id", where))
        item = _item(f"{study}/{need(row, 'task_num', where)}", text, tuple(map(float, missing)))
        response = need(row, "response", where)
        if response is not None and (isinstance(response, bool) or not isinstance(response, int | float)):
            raise TuneError(f"{where}: response {response!r} is no number")
        found.append(
            make_answer(
                f"{study}/{need(row, 'participant', where)}",
                item,
                None if response is None else float(response),
                where,
                facts=_facts(row.get("demographic") or {}, where),
                study=study,
                condition=str(row.get("condition_num", "")),
                stimulus=str(row.get("stimuli") or ""),
                reasoning=str(row.get("reasoning") or ""),
            )
        )
    return found


@lru_cache(maxsize=4096)
def _item(name: str, text: str, missing: tuple[float, ...]) -> Item:
    scale = _SCALE.search(text)
    low, high = (float(scale[1]), float(scale[2])) if scale else (None, None)
    return Item(name, text, low=low, high=high, missing=missing)


def _facts(given: Any, where: str) -> dict[str, str]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            raise TuneError(f"{where}: demographic is neither an object nor JSON: {given[:60]!r}") from None
    if not isinstance(given, Mapping):
        raise TuneError(f"{where}: demographic holds a {type(given).__name__}; an object is needed")
    return {str(name): str(value) for name, value in given.items() if value is not None}


def write_socsci(path: str | Path, answers: Iterable[Answer]) -> None:
    """Write the answers of participants to numeric questions.

    Args:
        path: The file.
        answers: A missing one is written as null.

    Raises:
        TuneError: An answer is no number.
    """
    rows = []
    for i, one in enumerate(answers):
        if isinstance(one.value, str):
            raise TuneError(f"{path}: {one.item.name} of person {one.person} is text; this shape holds numbers only")
        text = one.item.text
        if one.item.low is not None and not _SCALE.search(text):
            text += _ASKED.format(low=one.item.low, high=one.item.high)
        rows.append(
            {
                "sample_id": i,
                "participant": one.person.removeprefix(f"{one.study}/"),
                "demographic": dict(one.facts),
                "stimuli": one.stimulus,
                "prompt": text,
                "reasoning": one.reasoning,
                "response": one.value,
                "condition_num": one.condition,
                "task_num": one.item.name.removeprefix(f"{one.study}/"),
                "study_id": one.study,
            }
        )
    write_jsonl(Path(path), rows)
