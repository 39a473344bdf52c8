"""The leakage probe: does a model answer from what it reads, or from memory of the published result.

The study is fielded again with altered texts. Whose answers follow the text gives another answer when the shock is next
to nothing or turned around, and the same one under another date or another country's name. Beside that the model is
asked outright for the paper, its title and its table.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from popsim.engines import Engine, Prompt, Sampling, open_engine
from popsim.errors import ScenarioError
from popsim.evaluate import TargetFile, changes_by_person, load_targets
from popsim.evaluate.regressions import adjusted_r2
from popsim.evaluate.verdicts import FEWEST
from popsim.scenario import Scenario, single
from popsim.slots import fill
from popsim.streams import hashed, stream
from popsim.study.alterations import Expected, alterations, settings
from popsim.study.ask import ProgressCallback
from popsim.study.folder import Run
from popsim.study.study import run
from popsim.survey import Change

_RECALLS = 5
_FIGURES = 6
_NEAR = 0.03
_ONE_SIDED = 1.645
_NUMBER = re.compile(r"[-+−]?\d+(?:[.,]\d+)?")


@dataclass(frozen=True)
class Probe:
    """What a leakage probe found."""

    versions: pd.DataFrame
    """A row per version of the study, outcome and arm: mean change, what is left of the original response, verdict."""
    recall: pd.DataFrame
    """A row per question asked outright: what is published, what was said, share of hits."""
    targets: pd.DataFrame
    """A row per file of human figures: when it was published, against what the model may know."""
    leaks: tuple[str, ...]
    """Why the answers look recited; empty where they do not."""


def probe(
    scenario: Scenario,
    out: str | Path,
    *,
    engine: Engine | None = None,
    knowledge_cutoff: date | None = None,
    progress: ProgressCallback | None = None,
) -> Probe:
    """Probe whether a model answers a study from memory.

    Every version is a Run folder of its own, so that a probe goes on where it stopped.

    Args:
        scenario: The study; its questionnaire must declare changes.
        out: The folder.
        engine: Who answers; made from ``scenario.engine`` unless given.
        knowledge_cutoff: The last day of what the model was trained on, where its maker says so.
        progress: Told after every reply.

    Raises:
        ScenarioError: The questionnaire declares no change, so there is no response to follow.
        EngineError: The engine cannot do what the scenario asks of it, or fails.
    """
    scenario = single(scenario)
    if not _changes(scenario):
        raise ScenarioError(
            f"{scenario.name}: its vignettes declare no changes under reference, so nothing can be probed"
        )
    if engine is None:
        own = scenario.engine
        with open_engine(own.spec, own.options, own.workers, own.ray_address) as engine:
            return probe(scenario, out, engine=engine, knowledge_cutoff=knowledge_cutoff, progress=progress)
    files = [load_targets(name) for name in scenario.targets]
    tables = []
    for version in alterations(scenario):
        folder = Path(out) / version.name.replace(" ", "_")
        done = run(version.scenario, folder, engine=engine, respondent=version.respondent, progress=progress)
        tables.append(_responses(done, _changes(scenario)).assign(version=version.name, expected=version.expected))
    versions = _judged(pd.concat(tables, ignore_index=True), files)
    recalled = recall(engine, scenario, files)
    return Probe(versions, recalled, published(files, knowledge_cutoff), tuple(_leaks(versions, recalled)))


def published(files: Sequence[TargetFile], knowledge_cutoff: date | None) -> pd.DataFrame:
    """Set when human figures were published against what a model may know; those it cannot know come first.

    Args:
        files: Human figures.
        knowledge_cutoff: The last day of what the model was trained on; None where it is unknown.

    Example:
        >>> published([load_targets("aprw_households")], date(2021, 1, 1))["known"].tolist()
        ['after the cutoff']
    """
    rows = []
    for file in files:
        days = [target.published for target in file.targets] + ([file.rows.published] if file.rows else [])
        for day in sorted(set(days)):
            known = "unknown" if knowledge_cutoff is None else "after the cutoff"
            if knowledge_cutoff is not None and day <= knowledge_cutoff:
                known = "public before the cutoff"
            rows.append((file.name, day.isoformat(), days.count(day), known))
    table = pd.DataFrame(rows, columns=["file", "published", "figures", "known"])
    order = table["known"].map({"after the cutoff": 0, "unknown": 1, "public before the cutoff": 2})
    return table.assign(order=order).sort_values(["order", "published"], kind="stable").drop(columns="order")


def recall(engine: Engine, scenario: Scenario, files: Sequence[TargetFile], times: int = _RECALLS) -> pd.DataFrame:
    """Ask a model outright for the paper, its title and its figures, without any persona.

    Args:
        engine: Who is asked; one that reads facts has nothing to recall.
        scenario: The study.
        files: The human figures that it names.
        times: How often each question is asked.

    Returns:
        A row per question: ``what, expected, said`` (the most frequent reply), ``hits`` (share of replies).
    """
    columns = ["what", "expected", "said", "hits"]
    if engine.reads != "text" or ("seed" not in engine.abilities and not files):
        return pd.DataFrame(columns=columns)
    asked = [one for file in files for one in _recall_questions(scenario, file)]
    prompts = [
        Prompt((("user", text),), Sampling(max_tokens=200), int(hashed(stream("recall"), k, time) >> np.uint64(1)))
        for k, (_, _, text) in enumerate(asked)
        for time in range(times)
    ]
    replies = {position: " ".join(reply.text.split()) for position, reply in engine.answer(prompts)}
    rows = []
    for k, (what, expected, _) in enumerate(asked):
        said = [replies.get(k * times + time, "") for time in range(times)]
        hits = float(np.mean([_hit(expected, text) for text in said]))
        rows.append((what, str(expected), max(set(said), key=said.count)[:60], hits))
    return pd.DataFrame(rows, columns=columns)


def _recall_questions(scenario: Scenario, file: TargetFile) -> Iterator[tuple[str, str | float, str]]:
    """Give what to ask of one file: what it is about, what is right, and the question."""
    wording, authors = settings()["recall"], file.title.partition(" (")[0]
    words = {"about": scenario.title, "authors": authors, "title": settings()["titles"].get(file.name, "")}
    yield "authors", authors, fill(wording["paper"], words)
    if not words["title"]:
        return
    yield "title", words["title"], fill(wording["title"], words)
    shown = {vignette.name for vignette in scenario.questionnaire.vignettes}
    figures = [t for t in file.targets if t.statistic == "mean" and not t.arms and t.vignette in shown]
    for target in figures[:_FIGURES]:
        where = {"outcome": target.outcomes[0], "vignette": target.vignette, "arm": target.pooling}
        what = f"{where['outcome']}, {where['vignette']}, {where['arm']}"
        yield what, target.value, fill(wording["table"], {**words, **where, "group": target.group})


def _hit(expected: str | float, said: str) -> bool:
    """Whether a reply gives what is published: every surname, the title, or the number to two decimals."""
    if isinstance(expected, float):
        found = _NUMBER.search(said)
        number = float(found.group().replace("−", "-").replace(",", ".")) if found else np.nan
        return bool(abs(number - expected) <= 0.0051)
    wanted = re.split(r",\s*|\s+and\s+", expected) if "," in expected else [expected]
    return all(word.lower() in said.lower() for word in wanted)


def _changes(scenario: Scenario) -> dict[tuple[str, str], Change]:
    """List the changes of a study by vignette and outcome."""
    vignettes = scenario.questionnaire.of_group(scenario.group).vignettes
    return {(v.name, name): c for v in vignettes if v.reference for name, c in v.reference.changes.items()}


def _responses(done: Run, changes: dict[tuple[str, str], Change]) -> pd.DataFrame:
    """Take the mean change of each outcome and arm, and how much of it who they are explains."""
    answers, people = done.answers, done.people
    attributes = people.select_dtypes("category")
    rows = []
    for (vignette, outcome), change in changes.items():
        both = changes_by_person(answers[answers["vignette"].eq(vignette) & answers["wave"].eq(0)], change)
        for arm, here in both.groupby("arm", observed=True, sort=False):
            each = here.groupby("person")["change"].mean()
            se = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else np.nan
            fit = adjusted_r2(each.to_numpy(), attributes.loc[each.index])
            rows.append((vignette, outcome, str(arm), len(each), float(each.mean()), se, fit))
    return pd.DataFrame(rows, columns=["vignette", "outcome", "arm", "n", "mean", "se", "persona_r2"])


def _judged(versions: pd.DataFrame, files: Sequence[TargetFile]) -> pd.DataFrame:
    """Set each response beside the original one and the published one, and judge it."""
    where = ["vignette", "outcome", "arm"]
    original = versions[versions["version"].eq("original")].set_index(where)[["mean", "se"]]
    both = versions.join(original.add_prefix("original_"), on=where)
    known = {
        (t.vignette, t.outcome, t.pooling): t.value
        for f in files
        for t in f.targets
        if t.statistic == "mean" and not t.arms
    }
    both["published"] = [known.get(key, np.nan) for key in zip(*(both[name] for name in where), strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        clear = both["original_mean"].abs() > 2 * both["original_se"]
        both["left"] = (both["mean"] / both["original_mean"]).where(clear)
    both["verdict"] = [
        _sign(row)
        if row.version == "no persona"
        else _verdict(row.expected, row.n, (row.mean, row.se), (row.original_mean, row.original_se))
        for row in _rows(both)
    ]
    first = ["version", *where, "n", "mean", "se", "published", "left", "expected", "verdict", "persona_r2"]
    return both[first]


def _rows(table: pd.DataFrame) -> Iterator[Any]:
    """Walk the rows of a table."""
    return iter(table.itertuples())


def _sign(row: Any) -> str:
    """Say whether nobody in particular gives the sign that was published."""
    if row.published != row.published or not abs(row.mean) > 2 * row.se:
        return "no sign"
    return "sign as published" if np.sign(row.mean) == np.sign(row.published) else "other sign"


def _verdict(expected: Expected, n: int, altered: tuple[float, float], original: tuple[float, float]) -> str:
    """Judge one response: ``recited`` where more than half of the original one is shown to be left."""
    if not expected or n < FEWEST:
        return "" if not expected else f"not judged, n < {FEWEST}"
    if not abs(original[0]) > 2 * original[1]:
        return "no response to follow"
    sign = np.sign(original[0])
    over_half = sign * (altered[0] - 0.5 * original[0])
    error = float(np.hypot(altered[1], 0.5 * original[1]))
    if expected in ("vanishes", "turns"):
        return "recited" if over_half > _ONE_SIDED * error else "not recited"
    gap, own = abs(altered[0] - original[0]), float(np.hypot(altered[1], original[1]))
    return "moves with it" if gap > 2.58 * own and gap > _NEAR else "stays"


def _leaks(versions: pd.DataFrame, recalled: pd.DataFrame) -> Iterator[str]:
    """Say why answers look recited."""
    for (version, expected), these in versions[versions["verdict"].eq("recited")].groupby(
        ["version", "expected"], sort=False
    ):
        what = ", ".join(f"{row.outcome} ({row.arm}) {row.mean:+.2f}" for row in these.itertuples())
        should = "vanish" if expected == "vanishes" else "turn around"
        yield (
            f"{version}: the response should {should} and does not: {what}. The answers are recited, or do not depend "
            "on the text"
        )
    moved = versions[versions["verdict"].eq("moves with it") & versions["version"].eq("placebo date")]
    if len(moved):
        yield "placebo date: another date alone moves the answers, so they hang on when it is said to be"
    for row in recalled[recalled["hits"] >= 0.5].itertuples():
        yield f"asked outright, the model gives {row.what}: {row.expected} (in {row.hits:.0%} of replies)"
