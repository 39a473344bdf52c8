"""The learning rates of a run: of its answers and of the rule that moves beliefs, message by message."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from popsim.evaluate.learning import COLUMNS, learning_rates
from popsim.population import CONFIDENCE_LEVELS
from popsim.scenario import News, Scenario
from popsim.study.folder import Run

_WHERE = ["item", "signal", "of", "weighing"]


def learning(*runs: Run) -> pd.DataFrame:
    """Estimate how far respondents moved towards the messages that were shown to them at random.

    For each item with ``assigned`` and a signal, the wave before it is the prior and the first one after it the
    posterior: of the answers to the question that is named like the signal's variable and has its unit (the mean of a
    person's draws), and of the beliefs about that variable. Who was shown the item counts as treated, whatever reached
    others over the network.

    Args:
        runs: Complete runs, for example with and without the instruction that says how confidence weighs.

    Returns:
        Columns ``item``, ``signal``, ``of`` (``answers`` or ``rule``), ``weighing`` (whether that instruction stood in
        the prompt) and those of `popsim.evaluate.learning.learning_rates`; no row where nothing was shown at random.
    """
    parts = [part for run in runs for part in _of_run(run)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*_WHERE, *COLUMNS])


def _of_run(run: Run) -> Iterator[pd.DataFrame]:
    scenario = run.scenario
    for item in scenario.news:
        waves = _around(scenario, item)
        if not item.assigned or item.signal is None or waves is None:
            continue
        people = run.people
        shown = (
            run.assignment.drop_duplicates("person")
            .set_index("person")[f"shown_{item.name}"]
            .reindex(people["person"])
            .to_numpy()
        )
        who = {
            "shown": shown,
            "confidence": people.get("confidence", ""),
            "weight": people.get("weight", 1.0),
        }
        found = {"answers": _answers(run, item), "rule": _beliefs(run, item)}
        for of, values in found.items():
            if values is None:
                continue
            before, after = (values[wave].reindex(people["person"]).to_numpy(np.float64) for wave in waves)
            rates = learning_rates(
                pd.DataFrame({**who, "prior": before, "posterior": after}), item.signal.value, CONFIDENCE_LEVELS
            )
            where = [item.name, f"{item.signal.value:g}{item.signal.unit}", of, scenario.prompt.weighing]
            yield pd.concat([pd.DataFrame([where] * len(rates), columns=_WHERE), rates], axis=1)


def _around(scenario: Scenario, item: News) -> tuple[int, int] | None:
    """Find the last wave before an item comes out and the first one after, if there are both."""
    for (wave, before), (later, after) in pairwise(enumerate(scenario.waves)):
        if before < item.step <= after:
            return wave, later
    return None


def _answers(run: Run, item: News) -> pd.DataFrame | None:
    """Lay out the answers about an item's variable: a row per person, a column per wave."""
    assert item.signal is not None
    units = {q.name: q.unit for q in run.scenario.questionnaire.questions if q.kind == "number"}
    if units.get(item.signal.variable) != item.signal.unit:
        return None
    answers = run.answers
    numbers = answers[answers["question"].eq(item.signal.variable) & answers["status"].eq("ok")]
    return numbers.pivot_table(index="person", columns="wave", values="value", aggfunc="mean").reindex(
        columns=range(len(run.scenario.waves))
    )


def _beliefs(run: Run, item: News) -> pd.DataFrame | None:
    """Lay out the beliefs about an item's variable in the same way."""
    assert item.signal is not None
    if item.signal.variable not in run.scenario.beliefs:
        return None
    return run.states.pivot(index="person", columns="wave", values=f"{item.signal.variable}_mean")
