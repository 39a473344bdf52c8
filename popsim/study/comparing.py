"""Runs beside human figures: which runs are one study, who is drawn again, and which figures they name."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from popsim.errors import RunError
from popsim.evaluate import Comparison, Sample, load_targets
from popsim.evaluate import compare as compare_samples
from popsim.evaluate.density import fitted_answers, with_numbers
from popsim.scenario import Scenario
from popsim.study.folder import Run, load_run
from popsim.study.marks import kept_answers, marks_of
from popsim.survey import Vignette

FITTED = ("baseline", "nano")
"""Engines that were fitted to published figures."""

ANSWERING = {"engine", "sampling", "modules", "people", "network", "news", "readout", "draws", "feed_limit"}
ANSWERING |= {"placebo_news", "share_opinions", "remember", "presentation", "assignment"}
_OF_GROUP = {"population", "priors", "questionnaire", "prompt"}
_LONGEST = 24
_PEOPLE = {"population", "people", "priors", "size", "seed"}


def compare(*runs: Run, targets: Sequence[str | Path] = (), wave: int = 0, draws: int = 1000) -> Comparison:
    """Set the answers of runs beside human figures.

    Runs that answer alike (same model, prompt and temperature) are one column of the tables: their arms, vignettes,
    groups and replicates are put together. Others are columns of their own.

    Args:
        runs: Complete runs, or sweeps, whose runs are all taken.
        targets: Files of human figures, by path or shipped name. Every figure in them must apply. Without any, those
            that the scenarios name are taken, and figures that do not apply are left out and counted.
        wave: Which fielding of the questionnaire is compared.
        draws: Resamples behind the intervals.

    Raises:
        RunError: A run is not complete, was read out as means, or names no targets where none are given.
        TargetError: A target asks for what the runs lack, or for another form of the question.

    Example:
        >>> import tempfile
        >>> from popsim.scenario import load_scenario
        >>> from popsim.study import run
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = run(load_scenario("oil_price_fall", {"size": 50, "engine": "baseline"}), folder)
        ...     found = compare(done, draws=50)
        >>> found.targets["statistic"].unique().tolist(), found.fitted
        (['mean', 'trimmed_sd'], ('baseline',))
    """
    whole = [one for run in runs for one in runs_of(run)]
    for one in whole:
        check_answers(one, wave)
    names = [str(name) for name in targets] or list(
        dict.fromkeys(name for one in whole for name in one.scenario.targets)
    )
    if not names:
        raise RunError(f"{whole[0].path}: its scenario names no targets; write a file of them behind the runs")
    files = [load_targets(name) for name in names]
    samples = [sample_of(label, group, wave) for label, group in columns_of(whole).items()]
    return compare_samples(samples, files, strict=bool(targets), draws=draws)


def runs_of(run: Run) -> Iterator[Run]:
    """Give a run itself, or all runs of a sweep."""
    if "points" not in run.manifest["identity"]:
        yield run
        return
    for manifest in sorted(run.path.glob("*/manifest.json")):
        yield load_run(manifest.parent)


def check_answers(run: Run, wave: int) -> None:
    """Refuse a run that is not complete, was read out as means, or has no such wave."""
    if run.manifest["state"] != "complete":
        raise RunError(f"{run.path}: is {run.manifest['state']}, not complete; run the same command again to finish it")
    kind = run.scenario.readout.kind
    if kind != "generate":
        raise RunError(
            f"{run.path}: was read out by {kind}, so its answers are means, whose spread is not that of answers; "
            "use distributions.parquet"
        )
    if wave >= len(run.scenario.waves):
        raise RunError(f"{run.path}: has no wave {wave}; its waves are 0 to {len(run.scenario.waves) - 1}")


def columns_of(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Put together the runs that answer alike, and name each lot by what sets it apart."""
    lots: dict[tuple[str, int], list[Run]] = {}
    variants: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        alike = json.dumps([run.manifest["engine"]["fingerprint"], _part(run.scenario, ANSWERING)])
        known = variants.setdefault((alike, run.scenario.group), [])
        own = _part(run.scenario, _OF_GROUP)
        if own not in known:
            known.append(own)
        lots.setdefault((alike, known.index(own)), []).append(run)
    first = [lot[0] for lot in lots.values()]
    flat = [_flat({**json.loads(_part(one.scenario, ANSWERING | _OF_GROUP))}) for one in first]
    labels = [_label(one.scenario.engine.spec, mine, flat) for one, mine in zip(first, flat, strict=True)]
    numbered = [
        label if labels.count(label) == 1 else f"{label} #{1 + labels[:k].count(label)}"
        for k, label in enumerate(labels)
    ]
    return dict(zip(numbered, lots.values(), strict=True))


def _part(scenario: Scenario, fields: set[str]) -> str:
    return scenario.model_dump_json(include=fields)


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    """List the single values of plain data by dotted path."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else None
    if items is None:
        return {path: node}
    found: dict[str, Any] = {}
    for key, value in items:
        found |= _flat(value, f"{path}.{key}" if path else str(key))
    return found


def _label(spec: str, mine: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """Name a column by its engine, and by the first settings in which the columns of that engine differ."""
    same = [one for one in others if one.get("engine.spec") == spec]
    differs = [path for path in mine if any(one.get(path) != mine[path] for one in same) and path != "engine.spec"]
    names = [path for path in differs if path.endswith(".name")]
    shown = [path for path in names or differs if len(str(mine[path])) <= _LONGEST][:2]
    return ", ".join([spec, *(f"{path.removesuffix('.name').rpartition('.')[2]} {mine[path]}" for path in shown)])


def sample_of(label: str, runs: Sequence[Run], wave: int, *, latest: bool = False) -> Sample:
    """Put the readable answers of runs together and say which of them are drawn again together.

    The same people in two runs (one population, seed and size) are the same persons.

    Args:
        label: Names the column.
        runs: That answer alike.
        wave: Which fielding of the questionnaire.
        latest: Leave out what the scenarios said last, and not what was frozen.
    """
    drawn = [_part(run.scenario, _PEOPLE) for run in runs]
    taken = [_answers(run, wave, latest) for run in runs]
    answers = pd.concat(
        [kept.assign(source=drawn.index(people)) for (kept, _), people in zip(taken, drawn, strict=True)],
        ignore_index=True,
    )
    excluded = sum((Counter(counts) for _, counts in taken), Counter[str]())
    if answers.duplicated(["source", "row", "group", "arm", "question", "draw", "label"]).any():
        paths = ", ".join(str(run.path) for run in runs)
        raise RunError(f"{paths}: the same person answers twice in the same arm; give each run once")
    travels = any(_opinions_travel(run.scenario) for run in runs)
    who = pd.MultiIndex.from_frame(answers[["source"] if travels else ["source", "row"]])
    answers["unit"], units = pd.factorize(who)
    answers["person"] = pd.factorize(pd.MultiIndex.from_frame(answers[["source", "row"]]))[0]
    stratum = np.zeros(len(units), dtype=np.int64) if travels else _strata(answers, len(units))
    vignettes: dict[tuple[str, str], Vignette] = {}
    for run in runs:
        for vignette in run.scenario.questionnaire.of_group(run.scenario.group).vignettes:
            vignettes.setdefault((run.scenario.group, vignette.name), with_numbers(vignette))
    fitted = any(run.manifest["engine"]["fingerprint"].startswith(FITTED) for run in runs)
    unit: Literal["person", "replicate"] = "replicate" if travels else "person"
    return Sample(label, fitted, answers, vignettes, stratum, unit, marks_of(runs, wave), excluded)


def _answers(run: Run, wave: int, latest: bool) -> tuple[pd.DataFrame, dict[str, int]]:
    """Take the readable answers of a run to one fielding, each with the row and the weight of its person.

    Returns:
        The answers, and how many the run's plan leaves out by reason.
    """
    answers, people = run.answers, run.people
    weight = people["weight"].to_numpy(np.float64) if "weight" in people else np.ones(len(people))
    if not (weight > 0).all():
        at = int(np.flatnonzero(~(weight > 0))[0])
        raise RunError(f"{run.path}: person {at} has weight {weight[at]:g}; weights must be positive to be compared")
    asked, counts = kept_answers(run, answers[answers["wave"].eq(wave)], wave, latest)
    here = asked[asked["status"].eq("ok")]
    row = here["person"].to_numpy()
    columns = ["group", "arm", "vignette", "question", "label"]
    found = here[["person", "draw", "value"]].assign(
        **{name: here[name].astype("str") for name in columns},
        row=row,
        weight=weight[row],
    )
    densities = [one for one in run.scenario.questionnaire.questions if one.kind == "density"]
    if densities:
        shares = run.distributions[run.distributions["wave"].eq(wave)]
        found = pd.concat([found, *(fitted_answers(found, shares, one) for one in densities)], ignore_index=True)
    return found.drop(columns="person"), counts


def _opinions_travel(scenario: Scenario) -> bool:
    """Whether one respondent's answer may depend on another's."""
    spreads = any(item.spreads for item in scenario.news) or scenario.share_opinions is not None
    return scenario.network.kind != "none" and spreads


def _strata(answers: pd.DataFrame, units: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Draw persons again among those who were in the same group and arms."""
    places = answers[["unit", "group", "arm"]].drop_duplicates()
    cell = pd.factorize(pd.MultiIndex.from_frame(places[["group", "arm"]]))[0]
    order = np.lexsort((cell, places["unit"].to_numpy()))
    joined = pd.Series(cell[order].astype(str)).groupby(places["unit"].to_numpy()[order]).agg(" ".join)
    return pd.factorize(joined.reindex(range(units)))[0].astype(np.int64)
