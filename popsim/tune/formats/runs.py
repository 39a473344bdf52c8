"""Answers in a Run folder of popsim's own: simulated ones, to compare with or to distil."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd

from popsim.study import load_run
from popsim.survey.questions import ChoiceQuestion, NumberQuestion, ScaleQuestion
from popsim.tune.records import Answer, Item, Status, make_answer

_NOT_FACTS = frozenset({"weight", "person"})
_MISSING = frozenset({"missing", "dont_know", "refused"})


def read_run(path: str | Path) -> list[Answer]:
    """Read the answers to number, scale and choice questions of a run.

    Failed answers keep their rows: ``missing``, ``dont_know`` and ``refused`` as missing, the others as unreadable.
    The arm is the condition, the scenario the study, and a question is named ``vignette.question``.

    Args:
        path: The Run folder.

    Raises:
        RunError: It is none.
    """
    run = load_run(path)
    people, answers, name = run.people, run.answers, run.scenario.name
    items = {
        (str(arm), vignette.name, question.name): _item(f"{vignette.name}.{question.name}", question)
        for arm in run.scenario.arms
        for vignette in run.scenario.shown(arm).vignettes
        for question in vignette.questions
    }
    facts = _facts(people)
    found = []
    for row in answers.itertuples(index=False):
        item = items.get((str(row.arm), str(row.vignette), str(row.question)))
        if item is None:
            continue
        who = f"{row.replicate}/{row.person}"
        known: dict[str, Any] = {"facts": facts[int(cast(int, row.person))], "study": name, "condition": str(row.arm)}
        if row.status != "ok":
            status: Status = "missing" if row.status in _MISSING else "unreadable"
            found.append(Answer(who, item, None, status, **known))
            continue
        value = str(row.label) if item.options else float(cast(float, row.value))
        found.append(make_answer(who, item, value, f"{path}, person {who}", **known))
    return found


def _facts(people: pd.DataFrame) -> list[Mapping[str, str]]:
    columns = [name for name in people.columns if name not in _NOT_FACTS]
    rows = people[columns].astype(str).to_dict("records")
    return [{str(name): str(value) for name, value in row.items()} for row in rows]


def _item(name: str, question: object) -> Item | None:
    if isinstance(question, ChoiceQuestion):
        return Item(name, question.text, tuple(question.options))
    if isinstance(question, ScaleQuestion):
        return Item(name, question.text, low=question.minimum, high=question.maximum)
    if isinstance(question, NumberQuestion):
        step = 10.0**-question.decimals
        return Item(name, question.text, low=question.minimum, high=question.maximum, step=step)
    return None
