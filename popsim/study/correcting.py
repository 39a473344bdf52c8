"""A few real answers beside the simulated ones of the very same people: what they are worth, figure by figure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from popsim.errors import TargetError
from popsim.evaluate import individual_fit, load_targets, overlap, overlap_warning
from popsim.evaluate.comparison import CONTROL
from popsim.evaluate.correction import refuse_aggregates
from popsim.evaluate.pairs import Pairs, corrected_effect, corrected_figures, mapped_answers, on_human_scale
from popsim.evaluate.rows import READ
from popsim.evaluate.targets import TargetFile
from popsim.study.comparing import check_answers
from popsim.study.folder import Run
from popsim.study.pairing import Cell, Options, Study

_LEAST = 20


@dataclass(frozen=True)
class Correction:
    """What a few human answers make of simulated ones."""

    overlap: pd.DataFrame
    """Covariates of the humans beside those of the population, of each arm (`popsim.evaluate.overlap`)."""
    figures: pd.DataFrame
    """``outcome, arm`` and the columns of `popsim.evaluate.pairs.corrected_figures`."""
    fit: pd.DataFrame
    """``outcome, arm, people`` and the columns of `popsim.evaluate.individual_fit`; empty without scikit-learn."""
    mapped: pd.DataFrame
    """Simulated answers before and after quantile mapping: a calibration, no guarantee."""
    warnings: tuple[str, ...]
    """What is wrong with humans and population; read it before the figures."""
    notes: tuple[str, ...]
    """Whose answers were left out."""


def correct(
    *runs: Run, humans: str | Path, population: Sequence[Run] = (), options: Options | None = None
) -> Correction:
    """Correct simulated answers by those of a few people who were simulated too (prediction-powered inference).

    Args:
        runs: Runs with a population ``from_table`` in which the humans stand. Runs that answer alike are put together;
            several models are those of a cross-fit, each tuned without some of the people.
        humans: A file with ``rows:`` of human answers.
        population: Runs of the population that the humans are a sample of, answered in the same way; the people of
            ``runs`` without a human answer unless given.
        options: What to correct, and how.

    Raises:
        TargetError: The file holds published figures, the humans are not those who were simulated, or too few are.
        RunError: A run is not complete, is no table of people, or the population was answered in another way.
    """
    chosen, file = options or Options(), _described(humans)
    assert file.rows is not None
    for run in (*runs, *population):
        check_answers(run, chosen.wave)
    study = Study.of(file.rows, runs, population, chosen)
    cells = [study.cell(outcome, arm) for outcome, arm in study.answers]
    warnings, compared = _compared(cells)
    figures, fits, mapped = [], [], []
    done: dict[str, dict[str, Pairs]] = {}
    for outcome, arm, exact, _ in cells:
        where = {"outcome": outcome, "arm": arm}
        pairs = on_human_scale(exact) if chosen.rescale else exact
        figures.append(corrected_figures(pairs, chosen.quantiles).assign(**where))
        if pairs.human.numeric:
            done.setdefault(outcome, {})[arm] = pairs
            mapped.append(mapped_answers(pairs).assign(**where))
            fits.append(_fit(exact).assign(**where))
    figures += list(_effects(done, runs[0]))
    return Correction(
        overlap=compared,
        figures=_put_together(figures),
        fit=_put_together(fits),
        mapped=_put_together(mapped),
        warnings=warnings,
        notes=tuple(f"{cell.outcome}, {cell.arm}: {line}" for cell in cells for line in cell.left_out),
    )


def _described(humans: str | Path) -> TargetFile:
    """Read the description of human rows."""
    if Path(humans).suffix in READ:
        raise TargetError(
            f"{humans}: is the table itself; give a .yaml file that says under rows: what its columns are"
        )
    file = load_targets(humans)
    refuse_aggregates([file])
    return file


def _compared(cells: Sequence[Cell]) -> tuple[tuple[str, ...], pd.DataFrame]:
    """Hold the covariates of the humans against those of the population, arm by arm."""
    found, warnings = [], []
    for arm, cell in {cell.arm: cell for cell in cells}.items():
        human, population = cell.pairs.human, cell.pairs.population
        if human.facts.shape[1] == 0:
            return (
                "The rows name no attributes, so nothing shows whether the humans are a sample of the population",
            ), (pd.DataFrame())
        table = overlap(human.facts, population.facts, human.weight, population.weight)
        weight = human.weight if np.ptp(human.weight) > 0 else None
        warnings += [f"{arm}: {said}"] if (said := overlap_warning(table, weight)) else []
        found.append(table.assign(arm=arm))
    return tuple(warnings), _put_together(found)


def _fit(pairs: Pairs) -> pd.DataFrame:
    """Say how well the twins foretell their own humans; without scikit-learn, or where they are all alike, nothing."""
    differ = (pairs.human.facts.nunique() > 1).any()
    if find_spec("sklearn") is None or not differ or len(pairs.human.values) < _LEAST:
        return pd.DataFrame()
    found = individual_fit(pairs.human.values, pairs.twin.values, pairs.human.facts)
    return found.assign(people=len(pairs.human.values))


def _effects(done: Mapping[str, Mapping[str, Pairs]], run: Run) -> Iterator[pd.DataFrame]:
    """Correct the effect of each arm against the control arm, or the first."""
    for outcome, by_arm in done.items():
        arms = [arm for arm in run.scenario.arms if arm in by_arm]
        base = CONTROL if CONTROL in arms else arms[0]
        for arm in (arm for arm in arms if arm != base):
            yield corrected_effect(by_arm[arm], by_arm[base]).assign(outcome=outcome, arm=f"{arm} - {base}")


def _put_together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Stack tables, where they belong first."""
    filled = [table for table in tables if len(table)]
    if not filled:
        return pd.DataFrame()
    whole = pd.concat(filled, ignore_index=True)
    first = [name for name in ("outcome", "arm", "people") if name in whole]
    return whole[[*first, *(name for name in whole if name not in first)]]
