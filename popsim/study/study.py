"""Run and sweep: models advance in lock step, their prompts go to the engine together, the answers to folders."""

import hashlib
import itertools
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from popsim.engines import Engine, open_engine
from popsim.engines.baseline import Baseline, uncalibrated
from popsim.engines.cache import Cache, opened
from popsim.engines.journal import Journal
from popsim.engines.journaled import Journaled
from popsim.errors import EngineError, PopsimError, RunError
from popsim.model import Respondent
from popsim.scenario import EngineSettings, Point, Scenario, scenario_hash, single
from popsim.study.ask import ProgressCallback, ask
from popsim.study.cell import Cell, Shared, about, identity, now, start
from popsim.study.folder import (
    JOURNAL,
    Run,
    claim,
    earlier_starts,
    load_run,
    locked,
    versions,
    write_manifest,
    write_methods,
    write_plan,
    write_table,
)
from popsim.study.frozen import Record
from popsim.study.needs import by_engine, engine_key, equipped
from popsim.study.plans import keep_plan, plan_record
from popsim.study.tables import failures, points_table


def run(
    scenario: Scenario,
    out: str | Path | None = None,
    *,
    engine: Engine | None = None,
    respondent: type[Respondent] = Respondent,
    progress: ProgressCallback | None = None,
    cache: str | Path | None = None,
    freeze: bool = False,
) -> Run:
    """Field a study and write its Run folder; called again on the same folder it continues where it stopped.

    Args:
        scenario: The study; what it says under ``sweep`` is not read.
        out: The folder; ``runs/NAME-HASH`` unless given, so that the same study finds its folder again.
        engine: Who answers; made from ``scenario.engine`` unless given.
        respondent: The class of the agents.
        progress: Told after every reply.
        cache: A file of replies that runs share, made where it is missing; see `popsim.engines.cache`.
        freeze: Whether the scenario's plan is frozen before anybody is asked; see `popsim.study.plans`.

    Raises:
        RunError: The folder belongs to another study or process, was started without the plan being frozen, or more
            answers failed than the scenario allows.
        ScenarioError: There is no plan to freeze.
        EngineError: The engine cannot do what the scenario asks of it, or fails.

    Example:
        >>> import tempfile
        >>> from popsim.scenario import load_scenario
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     len(run(load_scenario("oil_price_fall", {"size": 10, "engine": "baseline"}), folder).people)
        10
    """
    scenario = single(scenario)
    if engine is None:
        with _opened(scenario.engine) as engine:
            return run(
                scenario, out, engine=engine, respondent=respondent, progress=progress, cache=cache, freeze=freeze
            )
    engine = equipped(engine, [scenario])
    who, record = identity(scenario, engine, respondent), plan_record([scenario], freeze=freeze)
    folder = Path(out) if out is not None else default_folder(scenario, who)
    with opened(cache if engine.reads == "text" else None) as lent, locked(folder):
        state = claim(folder, who)
        plan = keep_plan(folder, record, freeze)
        if state != "complete":
            shared = Shared()
            cell = start(scenario, folder, engine, respondent, shared)
            cell.manifest["plan"] = plan
            cell.write_start(shared)
            write_plan(folder, plan)
            with _asking(engine, folder, lent) as asking:
                _field([cell], asking, progress)
    return _checked(load_run(folder), scenario)


def sweep(
    points: Sequence[Point],
    replicates: int,
    out: str | Path,
    *,
    respondent: type[Respondent] = Respondent,
    progress: ProgressCallback | None = None,
    cache: str | Path | None = None,
    freeze: bool = False,
) -> pd.DataFrame:
    """Field every point of a sweep in every replicate, pooled into shared engine calls.

    Args:
        points: From `popsim.scenario.sweep_points`.
        replicates: How often each point is repeated; replicate ``r`` has the same seeds at every point.
        out: The folder; it gets one Run folder per point and replicate, and ``answers.parquet`` and
            ``points.parquet`` on top. What failed is a row of the latter, and the same sweep tries it again.
        respondent: The class of the agents.
        progress: Told after every reply.
        cache: A file of replies that runs share, made where it is missing; see `popsim.engines.cache`.
        freeze: Whether the scenario's plan is frozen before anybody is asked; one plan for all points.

    Returns:
        All answers, with a column per swept path.

    Raises:
        RunError: The folder belongs to another study or process, or more answers of a point failed than it allows.
        EngineError: An engine cannot do what a point asks of it, or fails.
    """
    record = plan_record([point.scenario for point in points], replicates, freeze=freeze)
    settle = partial(keep_plan, record=record, freeze=freeze)
    with ExitStack() as stack:
        engines = {
            key: equipped(stack.enter_context(_opened(scenarios[0].engine)), scenarios)
            for key, scenarios in by_engine(points).items()
        }
        with opened(cache if any(engine.reads == "text" for engine in engines.values()) else None) as lent:
            asking = partial(_asking, folder=Path(out), cache=lent)
            _sweep(points, replicates, Path(out), engines, respondent, asking, progress, settle)
    _check_points(points, Path(out))
    return pd.read_parquet(Path(out) / "answers.parquet")


def _sweep(
    points: Sequence[Point],
    replicates: int,
    folder: Path,
    engines: Mapping[str, Engine],
    respondent: type[Respondent],
    asking: Callable[[Engine], AbstractContextManager[Engine]],
    progress: ProgressCallback | None,
    settle: Callable[[Path], Record | None],
) -> None:
    """Field every point in every replicate, unless the folder is complete."""
    first = points[0].scenario
    what = {
        **identity(first, engines[engine_key(first)], respondent),
        "engine": sorted(engine.fingerprint for engine in engines.values()),
        "points": [{"values": _plain(point.values), "sha": scenario_hash(point.scenario)} for point in points],
        "replicates": replicates,
    }
    with locked(folder):
        state = claim(folder, what)
        plan = settle(folder)
        if state != "complete":
            shared, started = Shared(), time.monotonic()
            cells, failed = _start_cells(points, replicates, folder, engines, respondent, shared)
            manifest: dict[str, Any] = {"state": "running", "identity": what, "started": now(), "plan": plan}
            manifest["starts"] = [*earlier_starts(folder), manifest["started"]]
            if len(engines) == 1:
                manifest["engine"] = about(engines[engine_key(first)])
            else:
                manifest["engines"] = [about(engine) for engine in engines.values()]
            write_manifest(folder, manifest)
            write_plan(folder, plan)
            for cell in cells.values():
                cell.manifest["plan"] = plan
                cell.write_start(shared)
            manifest["counts"], gone = _field_by_engine(cells, engines, asking, progress)
            failed |= gone
            cells = {key: cell for key, cell in cells.items() if key not in failed}
            write_table(folder, "answers", _swept_answers(points, cells))
            unanswered = {key: cell.manifest["failures"]["share"] for key, cell in cells.items()}
            write_table(folder, "points", points_table(points, replicates, unanswered, failed))
            people = next(iter(cells.values())).manifest
            manifest |= {name: people[name] for name in ("population_fit", "weights", "template")}
            counted = sum((cell.statuses for cell in cells.values()), Counter())
            manifest |= {"tokens": _tokens(cells.values()), "failures": failures(counted)}
            manifest |= {
                "state": "incomplete" if failed else "complete",
                "seconds": round(time.monotonic() - started, 3),
                "versions": versions(),
            }
            write_manifest(folder, manifest)
            write_methods(folder, manifest)


def _start_cells(
    points: Sequence[Point],
    replicates: int,
    folder: Path,
    engines: Mapping[str, Engine],
    respondent: type[Respondent],
    shared: Shared,
) -> tuple[dict[tuple[int, int], Cell], dict[tuple[int, int], PopsimError]]:
    """Make the model of every point and replicate; gives those that could be made, and why the others could not.

    Raises:
        PopsimError: None could be made.
    """
    cells: dict[tuple[int, int], Cell] = {}
    failed: dict[tuple[int, int], PopsimError] = {}
    for point, number in itertools.product(points, range(replicates)):
        scenario, engine = point.scenario.replicate(number), engines[engine_key(point.scenario)]
        where = folder / f"point{point.number:03d}-replicate{number}"
        try:
            cells[point.number, number] = start(scenario, where, engine, respondent, shared, number)
        except PopsimError as problem:
            failed[point.number, number] = problem
    if not cells:
        raise next(iter(failed.values()))
    return cells, failed


def default_folder(scenario: Scenario, identity: object) -> Path:
    """Name the folder of a study by its content."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Path("runs") / f"{scenario.name}-{digest[:8]}"


def _opened(settings: EngineSettings) -> AbstractContextManager[Engine]:
    """Open the engine of a scenario, on workers where it says so."""
    return open_engine(settings.spec, settings.options, settings.workers, settings.ray_address)


def _field_by_engine(
    cells: Mapping[tuple[int, int], Cell],
    engines: Mapping[str, Engine],
    asking: Callable[[Engine], AbstractContextManager[Engine]],
    progress: ProgressCallback | None,
) -> tuple[dict[str, dict[str, Any]], dict[tuple[int, int], PopsimError]]:
    """Field the cells of one engine after the other; where one breaks down the others still have their turn.

    Returns:
        The counts by engine, and why cells failed.

    Raises:
        EngineError: Every engine broke down; the same sweep goes on from here.
    """
    counts: dict[str, dict[str, Any]] = {}
    failed: dict[tuple[int, int], PopsimError] = {}
    for key, engine in engines.items():
        mine = {where: cell for where, cell in cells.items() if engine_key(cell.model.scenario) == key}
        with asking(engine) as asked:
            try:
                calls = _field(list(mine.values()), asked, progress)
            except EngineError as problem:
                failed |= dict.fromkeys(mine, problem)
                continue
            prompts = sum(cell.manifest["counts"]["prompts"] for cell in mine.values())
            counts[engine.fingerprint] = {"prompts": prompts, **_engine_counts(asked), "engine_calls": calls}
    if len(failed) == len(cells):
        raise next(iter(failed.values()))
    return counts, failed


def _field(cells: Sequence[Cell], engine: Engine, progress: ProgressCallback | None) -> list[int]:
    """Advance all cells wave by wave; whatever they ask in the same round goes to the engine together.

    Returns:
        How often the engine was called in each wave (on pages: for each page of it): once for each block of prompts
        (`popsim.study.ask.BLOCK`), and once more for every further attempt at unreadable replies.
    """
    started = time.monotonic()
    calls: list[int] = []
    active = list(cells)
    try:
        while active:
            calls.append(ask([cell.round for cell in active], engine, [cell.take for cell in active], progress))
            still = [cell for cell in active if cell.next_round()]
            for cell in active:
                if cell not in still:
                    counts = _engine_counts(engine) if len(cells) == 1 else {}
                    cell.finish(counts, _closing(cell, engine, time.monotonic() - started))
            active = still
    finally:
        for cell in active:
            cell.drop()
    return calls


def _closing(cell: Cell, engine: Engine, seconds: float) -> dict[str, Any]:
    """Say in a cell's manifest how it went."""
    model = cell.model
    drawn_by_default = {
        name
        for arm, shown in zip(model.arms, model.questionnaires, strict=True)
        for name in uncalibrated(tuple(vignette.model_dump() for vignette in shown.vignettes), arm)
    }
    return {
        "uncalibrated": sorted(drawn_by_default) if isinstance(engine, Baseline) else [],
        "population_fit": model.people.attrs.get("fit", {}),
        "weights": model.people.attrs.get("weights", {}),
        "priors_scope": model.scenario.priors.scope,
        "seconds": round(seconds, 3),
        "versions": {**versions(), "python": platform.python_version()},
    }


@contextmanager
def _asking(engine: Engine, folder: Path, cache: Cache | None) -> Iterator[Engine]:
    """Put journal and cache before an engine that reads text; facts cost nothing to answer again."""
    if engine.reads == "facts":
        yield engine
        return
    with Journal(folder / JOURNAL) as journal:
        yield Journaled(engine, journal, cache)


def _engine_counts(engine: Engine) -> dict[str, int | None]:
    names = ("asked", "from_journal", "from_cache", "distinct")
    return {name: getattr(engine, name, None) for name in names}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def _swept_answers(points: Sequence[Point], cells: Mapping[tuple[int, int], Cell]) -> pd.DataFrame:
    """Put the answers of all cells under each other, with a column per swept path."""
    parts = []
    for (number, _), cell in cells.items():
        values = {path: str(v) if isinstance(v, dict | list) else v for path, v in points[number].values.items()}
        parts.append(load_run(cell.folder).answers.assign(**values))
    return pd.concat(parts)


def _tokens(cells: Iterable[Cell]) -> dict[str, int]:
    """Add up the tokens of all cells."""
    names = ("prompt_tokens", "completion_tokens")
    return {name: sum(cell.manifest["counts"][name] for cell in cells) for name in names}


def _checked(done: Run, scenario: Scenario) -> Run:
    share = done.manifest["failures"]["share"]
    if share > scenario.max_failures:
        raise RunError(
            f"{done.path}: {share:.1%} of the answers failed, and the scenario allows {scenario.max_failures:.1%}; "
            "the tables are complete, manifest.json counts the failures by arm"
        )
    return done


def _check_points(points: Sequence[Point], folder: Path) -> None:
    """Refuse a sweep in which more answers of some point failed than its scenario allows."""
    table = pd.read_parquet(folder / "points.parquet")
    allowed = table["point"].map({point.number: point.scenario.max_failures for point in points})
    over = table["answers_failed"].gt(allowed)
    if over.any():
        worst = int(np.nanargmax(table["answers_failed"] - allowed))
        point, replicate, share = (table[name].iloc[worst] for name in ("point", "replicate", "answers_failed"))
        raise RunError(
            f"{folder}: more answers failed than max_failures allows in {over.sum()} of {len(table)} points and "
            f"replicates; of point {point}, replicate {replicate}, {share:.1%} failed and "
            f"{allowed.iloc[worst]:.1%} may; the tables are complete, answers_failed in points.parquet has every share"
        )
