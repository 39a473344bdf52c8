"""What the plans of runs ask for, computed: contrasts and models, each marked planned or exploratory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from popsim.evaluate.marks import EXPLORATORY, PLANNED
from popsim.evaluate.planned import CONTRASTS, MODELS, Wanted, contrast_rows, model_rows
from popsim.evaluate.verdicts import holm
from popsim.scenario import Analysis, Contrast, Model
from popsim.study.comparing import check_answers, columns_of, runs_of, sample_of
from popsim.study.folder import Run
from popsim.study.frozen import Record
from popsim.study.marks import asked_of, planned_alike
from popsim.study.plans import analysis_of

SpecT = TypeVar("SpecT", Contrast, Model)


@dataclass(frozen=True)
class Planned:
    """What came of plans."""

    contrasts: pd.DataFrame
    """A row per contrast and column of runs (`popsim.evaluate.planned.CONTRASTS`), with Holm's p over those planned."""
    models: pd.DataFrame
    """A row per model, term and column of runs (`popsim.evaluate.planned.MODELS`)."""
    notes: tuple[str, ...]
    """What was left out, and what could not be computed."""
    records: tuple[Record | None, ...]
    """The plan of each run, as its folder keeps it."""


def planned(*runs: Run, wave: int = 0, draws: int = 1000) -> Planned:
    """Compute what the plans of runs ask for; what was added to a frozen plan later is exploratory.

    Args:
        runs: Complete runs, or sweeps, whose runs are all taken.
        wave: Which fielding of the questionnaire.
        draws: Resamples behind the intervals.

    Raises:
        RunError: A run is not complete, or a frozen plan was changed.

    Example:
        >>> import tempfile
        >>> from popsim.scenario import load_scenario
        >>> from popsim.study import run
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = run(load_scenario("oil_price_fall", {"size": 50, "engine": "baseline"}), folder, freeze=True)
        ...     found = planned(done, draws=50)
        >>> found.contrasts[["name", "plan"]].iloc[0].tolist()
        ['inflation_falls', 'planned']
    """
    whole = [one for run in runs for one in runs_of(run)]
    contrasts, models, notes = [], [], []
    for label, lot in columns_of(whole).items():
        for latest in (False, True):
            asked = list(_wanted(lot, wave, lambda plan: plan.contrasts, latest))
            explained = list(_wanted(lot, wave, lambda plan: plan.models, latest))
            if not asked and not explained and (latest or not any(run.plan for run in lot)):
                continue
            for run in lot:
                check_answers(run, wave)
            sample, who = sample_of(label, lot, wave, latest=latest), [run.people for run in lot]
            taken, missed = contrast_rows(sample, asked, who, draws)
            fitted, unfitted = model_rows(sample, explained, who)
            contrasts.append(taken.assign(column=label))
            models.append(fitted.assign(column=label))
            notes += [*missed, *unfitted]
            if sample.excluded:
                notes.insert(0, _left_out(label, sample.excluded, latest))
    return Planned(
        _with_holm(_stacked(contrasts, CONTRASTS)),
        _stacked(models, MODELS),
        tuple(dict.fromkeys(notes)),
        tuple(run.plan for run in whole),
    )


def _wanted(
    runs: Sequence[Run], wave: int, part: Callable[[Analysis], Mapping[str, SpecT]], latest: bool
) -> Iterator[tuple[Wanted, SpecT]]:
    """List what the plans of runs ask for, each once; ``latest`` only what they did not ask for when frozen."""
    seen = []
    for run in runs:
        record, group = run.plan, run.scenario.group
        plan, frozen = analysis_of(record, latest=latest), analysis_of(record)
        if plan is None or frozen is None or (latest and not record["frozen"]):  # type: ignore[index]
            continue
        for name, spec in part(plan).items():
            alike = part(frozen).get(name) == spec and frozen.exclude == plan.exclude
            if latest and alike:
                continue
            is_planned = not latest and planned_alike(runs, wave, group, name, spec)
            for asked in asked_of(run, spec.outcome):
                if (group, name, asked.vignette, spec) in seen:
                    continue
                seen.append((group, name, asked.vignette, spec))
                margin = None if spec.of and asked.is_number else plan.margin(asked.vignette, asked.name)
                yield Wanted(name, group, asked, PLANNED if is_planned else EXPLORATORY, margin), spec


def _left_out(label: str, excluded: Mapping[str, int], latest: bool) -> str:
    listed = "; ".join(f"{count:,} {reason}" for reason, count in excluded.items())
    return f"Left out by the plan{' as edited' if latest else ''}, {label}: {listed}."


def _with_holm(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Adjust the p of contrasts for being many, those planned apart from the others."""
    adjusted = contrasts.groupby(["column", "plan"], sort=False)["p"].transform(lambda p: holm(p.to_numpy(np.float64)))
    at = list(contrasts).index("p") + 1
    contrasts.insert(at, "holm_p", adjusted.astype(np.float64))
    return contrasts


def _stacked(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    every = ["column", *columns]
    return pd.concat(filled, ignore_index=True)[every] if filled else pd.DataFrame(columns=every)
