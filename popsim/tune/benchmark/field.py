"""Fielding a benchmark: its records go to an engine in one batch, the replies to a journal, predictions to a folder.

The folder is written as a Run folder is (manifest first, a journal of every reply, tables whole, ``complete`` last), so
a killed benchmark goes on where it stopped. It is no Run: nobody was drawn from a population, and each question was put
in the words of the file.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from popsim.engines import Engine, open_engine, require
from popsim.engines.cache import opened
from popsim.engines.journal import Journal
from popsim.engines.journaled import Journaled
from popsim.errors import EngineError, RunError
from popsim.scenario.settings import EngineSettings
from popsim.study.ask import ProgressCallback
from popsim.study.cell import about, now
from popsim.study.folder import (
    JOURNAL,
    MANIFEST,
    claim,
    earlier_starts,
    load_run,
    locked,
    versions,
    write_manifest,
    write_table,
)
from popsim.tune.benchmark.answers import Answered, ask_records
from popsim.tune.benchmark.config import BenchmarkConfig
from popsim.tune.benchmark.judge import judge_replies
from popsim.tune.benchmark.numbers import temperature_table
from popsim.tune.benchmark.parts import Parts, read_parts
from popsim.tune.benchmark.prompts import form_of
from popsim.tune.benchmark.scores import table
from popsim.tune.benchmark.tables import (
    Verdicts,
    blocks_table,
    distributions_table,
    figures_of,
    judged_figures,
    predictions_table,
)
from popsim.tune.data import DataFile


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that has been answered.

    Attributes:
        manifest: What was asked of whom, and how many answers could be read.
        scores: A row per score, a column for the model, each baseline and each control.
        blocks: The model's scores with a block of persons, or of cells, left out.
        temperatures: Of numbers that were scored: KL against RMSE by temperature; else empty.
        folder: Where all of it lies.
    """

    manifest: Mapping[str, Any]
    scores: pd.DataFrame
    blocks: pd.DataFrame
    temperatures: pd.DataFrame
    folder: Path


def field(
    config: BenchmarkConfig,
    out: str | Path,
    *,
    engine: Engine | None = None,
    judge: Engine | None = None,
    progress: ProgressCallback | None = None,
    cache: str | Path | None = None,
) -> Benchmark:
    """Ask an engine about held-out records and score what it predicts; called again on its folder it continues.

    Args:
        config: The benchmark.
        out: The folder.
        engine: Who answers; made from ``config.engine`` unless given.
        judge: Who scores interviews; made from ``config.judge`` unless given.
        progress: Told after every reply.
        cache: A file of replies that runs share.

    Raises:
        TuneError: A file cannot be read, does not fit the task, or leaks.
        RunError: The folder belongs to something else.
        EngineError: An engine lacks what is asked of it, or answers nothing.
    """
    folder, parts = Path(out), read_parts(config)
    for one in parts.held_out:
        form_of(one, config, (), prefill=True)  # what cannot be put into words is refused before anybody is asked
    with ExitStack() as stack:
        engine = engine or stack.enter_context(_opened(config.engine))
        if config.judge and judge is None:
            judge = engine if config.judge == config.engine else stack.enter_context(_opened(config.judge))
        _check_engine(config, engine, judge)
        who = _identity(config, engine, judge)
        stack.enter_context(locked(folder))
        if claim(folder, who) != "complete":
            manifest: dict[str, Any] = {"state": "running", "identity": who, "started": now(), "engine": about(engine)}
            manifest |= {"starts": [*earlier_starts(folder), manifest["started"]], "learned": records_learned(config)}
            write_manifest(folder, manifest)
            lent = stack.enter_context(opened(cache))
            journal = stack.enter_context(Journal(folder / JOURNAL))
            started, asking = time.monotonic(), Journaled(engine, journal, lent)
            answered = ask_records(config, parts.held_out, asking, progress)
            verdicts = _judged(answered, config, Journaled(judge, journal, lent)) if judge else {}
            manifest |= _write_tables(folder, config, parts, answered, verdicts)
            manifest["counts"] |= {name: getattr(asking, name) for name in ("asked", "from_journal", "from_cache")}
            manifest |= {"seconds": round(time.monotonic() - started, 3), "versions": versions(), "state": "complete"}
            write_manifest(folder, manifest)
    return load_benchmark_folder(folder)


def load_benchmark_folder(folder: str | Path) -> Benchmark:
    """Open the folder of a benchmark that has been answered.

    Args:
        folder: The folder.

    Raises:
        RunError: It is none, or is not complete.
    """
    manifest = load_run(folder).manifest
    if "benchmark" not in manifest.get("identity", {}) or manifest["state"] != "complete":
        raise RunError(
            f"{folder}: is no benchmark that has been answered (state {manifest.get('state')!r}); the popsim compare "
            "that began it goes on from there"
        )
    path = Path(folder)
    swept = path / "temperatures.parquet"
    scores, blocks = (pd.read_parquet(path / f"{name}.parquet") for name in ("scores", "blocks"))
    return Benchmark(manifest, scores, blocks, pd.read_parquet(swept) if swept.is_file() else pd.DataFrame(), path)


def default_folder(config: BenchmarkConfig) -> Path:
    """Name the folder of a benchmark by its content, as that of a run is.

    Args:
        config: The benchmark.
    """
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    return Path("runs") / f"{config.name}-{digest[:8]}"


def records_learned(config: BenchmarkConfig) -> int | None:
    """Count the records that the answering adapter was tuned on, in its last stage, as its folder's log has it.

    Args:
        config: The benchmark.

    Returns:
        0 without an adapter; None where the adapter's folder was not written by ``popsim tune``.
    """
    if not config.engine.adapter:
        return 0
    adapters = config.engine.options.get("adapters")
    folder = adapters.get(config.engine.adapter) if isinstance(adapters, Mapping) else None
    log = Path(str(folder)) / "log.jsonl"
    if folder is None or not log.is_file():
        return None
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return int(last.get("records", last["rows"]))


def _judged(answered: Answered, config: BenchmarkConfig, judge: Engine) -> dict[str, Verdicts]:
    """Let the judge rate the replies of the model, of people, and those that the model gave for somebody else."""
    replies = answered.replies(config.seed)
    asked = [(given, said) for these in replies.values() for given, said in zip(answered.given, these, strict=True)]
    verdicts = judge_replies(judge, asked, config.judge.adapter if config.judge else "")
    size = len(answered.given)
    return {name: verdicts[i * size : (i + 1) * size] for i, name in enumerate(replies)}


def _write_tables(
    folder: Path, config: BenchmarkConfig, parts: Parts, answered: Answered, verdicts: Mapping[str, Verdicts]
) -> dict[str, Any]:
    """Write predictions and scores; gives what the manifest says of them."""
    model = answered.predicted["model"]
    if verdicts:
        figures, blocks, notes = *judged_figures(answered.rows, verdicts, config.seed), list[str]()
    else:
        figures, blocks, notes = figures_of(config, answered, parts.known)
    write_table(folder, "predictions", predictions_table(answered.rows, model, verdicts.get("model"), answered.draws))
    shares = distributions_table(answered.rows, model, answered.draws)
    if len(shares):
        write_table(folder, "distributions", shares)
    write_table(folder, "scores", table(figures))
    write_table(folder, "blocks", blocks_table(blocks))
    if config.task == "numbers" and len(swept := temperature_table(answered.rows, model, config.seed)):
        write_table(folder, "temperatures", swept)
    counts = {
        "records": len(parts.held_out),
        "known": len(parts.known),
        "left_out": parts.left_out,
        "statuses": {who: dict(Counter(one.status for one in said)) for who, said in answered.predicted.items()},
        "verdicts": {who: {"read": sum(map(bool, one)), "asked": len(one)} for who, one in verdicts.items()},
    }
    return {"counts": counts, "notes": notes}


def _opened(settings: EngineSettings) -> AbstractContextManager[Engine]:
    return open_engine(settings.spec, settings.options, settings.workers, settings.ray_address)


def _check_engine(config: BenchmarkConfig, engine: Engine, judge: Engine | None) -> None:
    """Refuse to begin what an engine cannot carry out."""
    for who in (engine, *([judge] if judge else [])):
        if who.reads != "text":
            raise EngineError(f"engine {who.fingerprint}: reads facts, and records are text; choose a language model")
    if config.method == "choice":
        require(engine, "readout: choice", "choice")
        if config.task != "numbers":
            require(engine, "readout: choice, whose replies begin with a sentence", "prefill")
    if config.engine.adapter:
        require(engine, "engine.adapter", "adapter")
    if judge and config.judge and config.judge.adapter:
        require(judge, "judge.adapter", "adapter")


def _identity(config: BenchmarkConfig, engine: Engine, judge: Engine | None) -> dict[str, Any]:
    """Give everything that decides answers and scores; a file counts by its content, wherever it lies."""
    plain = config.model_dump(mode="json")
    files = {}
    for key, data in (("data", config.data), ("known", config.known)):
        if data:
            plain[key]["file"] = Path(data.file).name
            files[key] = _digest(data)
    who = {"popsim": versions()["popsim"], "engine": engine.fingerprint, "benchmark": plain, "files": files}
    return who | ({"judge": judge.fingerprint} if judge else {})


def _digest(data: DataFile) -> str:
    path = Path(data.file)
    with (path / MANIFEST if path.is_dir() else path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
