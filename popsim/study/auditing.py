"""What runs are worth beyond their distance to human figures: spread, failures, open answers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from popsim.evaluate import Sample, TargetFile, load_targets
from popsim.evaluate.audit import audit, places
from popsim.evaluate.causes import Settings, channel_warnings, spread_warnings
from popsim.evaluate.coder import LANGUAGES, channel_table
from popsim.evaluate.comparison import CONTROL
from popsim.evaluate.failures import MANY, failure_rates, mean_bounds
from popsim.evaluate.regressions import design, regress
from popsim.evaluate.rows import human_answers
from popsim.evaluate.subgroups import subgroups
from popsim.evaluate.verdicts import holm
from popsim.study.ask import LEGAL
from popsim.study.comparing import columns_of, runs_of, sample_of
from popsim.study.folder import Run
from popsim.survey import Change, Vignette

_MOST_GROUPS = 8
_KEYS = ["person", "draw"]
_HALF = 0.5
_OF_A_PROMPT = ("person", "arm", "group", "first_failed", "failed", "outside")


@dataclass(frozen=True)
class Findings:
    """What was found of runs, each table with a ``column`` for the runs of one model, prompt and temperature."""

    ratios: pd.DataFrame
    """Spread beside that of people (`popsim.evaluate.audit.Audit`)."""
    parts: pd.DataFrame
    """Where spread comes from, and how many answers are the same."""
    warnings: pd.DataFrame
    """``column, warning``: what to look at, the likely cause, what to try."""
    failures: pd.DataFrame
    """Failures by arm and by subgroup, with Holm's p over all subgroups as ``holm_p``."""
    bounds: pd.DataFrame
    """Every mean with the share of missing answers and its worst-case bounds."""
    channels: pd.DataFrame
    """What open answers draw on, beside human shares."""
    subgroups: pd.DataFrame
    """Spread and gaps of subgroups, where a file has rows with attributes (`popsim.evaluate.subgroups`)."""
    held: pd.DataFrame
    """Replies that were held to a form, by arm, and how probable it was that the model would have left it."""


def examine(*runs: Run, targets: Sequence[str | Path] = (), wave: int = 0) -> Findings:
    """Audit runs.

    Args:
        runs: Complete runs, or sweeps.
        targets: Files of human figures; those that the scenarios name unless given.
        wave: Which fielding of the questionnaire.

    Raises:
        PopsimError: A run is not complete or a file of targets cannot be read.

    Example:
        >>> import tempfile
        >>> from popsim.scenario import load_scenario
        >>> from popsim.study import run
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = examine(run(load_scenario("oil_price_fall", {"size": 40, "engine": "baseline"}), folder))
        >>> int(found.failures["failed"].sum()), found.warnings["warning"].tolist()
        (0, [])
    """
    whole = [one for run in runs for one in runs_of(run)]
    names = [str(name) for name in targets] or list(dict.fromkeys(n for one in whole for n in one.scenario.targets))
    files = [load_targets(name) for name in names]
    audits, warned, failed, bounded, channels, groups, held = [], [], [], [], [], [], []
    for label, lot in columns_of(whole).items():
        asked = pd.concat([_asked(run, wave, source) for source, run in enumerate(lot)], ignore_index=True)
        sample = sample_of(label, lot, wave)
        found = audit(sample, files)
        groups += [table.assign(column=label) for table in _subgroup_tables(sample, lot, files)]
        audits.append(found)
        warned += [(label, warning) for warning in spread_warnings(found, _settings(lot[0], asked))]
        failed.append(_failures(asked).assign(column=label))
        held.append(_held(asked).assign(column=label))
        bounded.append(_bounds(lot, wave).assign(column=label))
        coded = list(_channels(lot, wave))
        channels += [table.assign(column=label) for table in coded]
        warned += [(label, warning) for table in coded for warning in channel_warnings(table)]
    return Findings(
        ratios=_stacked([one.ratios for one in audits]),
        parts=_stacked([one.parts for one in audits]),
        warnings=pd.DataFrame(warned, columns=["column", "warning"]),
        failures=_stacked(failed),
        bounds=_stacked(bounded),
        channels=_stacked(channels),
        subgroups=_stacked(groups),
        held=_stacked(held),
    )


def uncertain(bounds: pd.DataFrame) -> pd.DataFrame:
    """Keep the means of which so many answers are missing that their bounds have to be read beside them."""
    return bounds[bounds["missing"] > MANY] if len(bounds) else bounds


def regressions(*runs: Run, wave: int = 0) -> pd.DataFrame:
    """Regress the answers of each outcome and arm on who respondents are.

    Attributes are taken in the order of their number of levels, as long as none is a combination of those before it.
    Errors are clustered by person where each was asked several times, else robust.

    Args:
        runs: Complete runs, or sweeps; each is regressed by itself.
        wave: Which fielding of the questionnaire.

    Returns:
        Columns ``run, group, vignette, outcome, arm`` and those of `popsim.evaluate.regress`.
    """
    tables = []
    for run in (one for lot in runs for one in runs_of(lot)):
        people = run.people
        terms = _independent(people)
        sample = sample_of(str(run.path), [run], wave)
        rows = sample.answers.drop_duplicates("person").set_index("person")["row"]
        for place, _, frame in places(sample):
            who = people.loc[rows.loc[frame["person"]], terms].reset_index(drop=True)
            several = frame["draw"].nunique() > 1
            if len(frame) > 2 * design(who).shape[1]:
                cluster = frame["person"].to_numpy(np.int64) if several else None
                found = regress(frame["value"].to_numpy(np.float64), who, frame["weight"].to_numpy(np.float64), cluster)
                tables.append(pd.DataFrame([{"run": str(run.path), **place._asdict()}] * len(found)).join(found))
    return _stacked(tables)


def _independent(people: pd.DataFrame) -> list[str]:
    """Choose attributes none of which is a combination of those before it, the ones with few levels first."""
    kept: list[str] = []
    for name in sorted(_subgroups(people), key=lambda name: people[name].nunique()):
        terms = design(people[[*kept, name]]).to_numpy(np.float64)
        if np.linalg.matrix_rank(terms) == terms.shape[1]:
            kept.append(name)
    return kept


def _stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=["column"])


def _subgroup_tables(sample: Sample, runs: Sequence[Run], files: Sequence[TargetFile]) -> Iterator[pd.DataFrame]:
    """Compare subgroups wherever human rows say who answered."""
    people = runs[0].people
    same = all(run.people.equals(people) for run in runs[1:])
    for file in files if same else ():
        by = [name for name in file.rows.attributes if name in people] if file.rows else []
        if not by or file.rows is None:
            continue
        human = human_answers(file.rows, sample.vignettes[file.rows.group, file.rows.vignette])
        rows = sample.answers.drop_duplicates("person").set_index("person")["row"]
        for place, _, frame in places(sample):
            if (place.group, place.vignette) == (file.rows.group, file.rows.vignette) and place[2:] in human:
                who = people[by].iloc[rows.loc[frame["person"]].to_numpy()].reset_index(drop=True)
                mine = pd.concat([frame[["value", "person", "weight"]].reset_index(drop=True), who], axis=1)
                yield subgroups(mine, human[place.outcome, place.arm], by).assign(**place._asdict())


def _settings(run: Run, asked: pd.DataFrame) -> Settings:
    scenario = run.scenario
    off = tuple(name for name, on in scenario.modules.model_dump().items() if not on and name != "social")
    sampling = scenario.sampling
    return Settings(sampling.temperature, off, sampling.structured, float(asked["failed"].mean()))


def _asked(run: Run, wave: int, source: int) -> pd.DataFrame:
    """Give a row per prompt: whose it was, their subgroups, and whether it failed."""
    replies = run.replies
    replies = replies[replies["wave"].eq(wave)]
    people, person = run.people, replies["person"].to_numpy()
    groups = {name: people[name].astype("str").to_numpy()[person] for name in _subgroups(people)}
    return pd.DataFrame(
        {
            "person": person + source * len(people),
            "group": run.scenario.group,
            "arm": run.assignment.set_index("person")["arm"].astype("str").reindex(person).to_numpy(),
            "first_failed": ~replies["first_status"].isin(LEGAL).to_numpy(),
            "failed": ~replies["status"].isin(LEGAL).to_numpy(),
            "outside": replies["outside"].to_numpy() if "outside" in replies else np.nan,
            **groups,
        }
    )


def _held(asked: pd.DataFrame) -> pd.DataFrame:
    """Take how probable it was, by arm, that replies held to a form would have left it."""
    known = asked[asked["outside"].notna()]
    rows = [
        (str(arm), len(here), float(here["outside"].mean()), float(here["outside"].gt(_HALF).mean()))
        for arm, here in known.groupby("arm", sort=False)
    ]
    return pd.DataFrame(rows, columns=["arm", "replies", "outside", "mostly_outside"])


def _subgroups(people: pd.DataFrame) -> list[str]:
    """Name the columns that split people into a few groups."""
    named = people.select_dtypes("category")
    return [str(name) for name in named if 2 <= named[name].nunique() <= _MOST_GROUPS and name not in _OF_A_PROMPT]


def _failures(asked: pd.DataFrame) -> pd.DataFrame:
    """Take failures by arm, and by subgroup with the tests adjusted for being many."""
    splits = [str(name) for name in asked if name not in _OF_A_PROMPT]
    rates: pd.DataFrame = pd.concat([failure_rates(asked), failure_rates(asked, splits)], ignore_index=True)
    tests = rates[rates["by"].ne("arm")].drop_duplicates("by").set_index("by")[["first_p", "p"]].min(axis=1)
    adjusted = dict(zip(tests.index, holm(tests.to_numpy(np.float64)), strict=True))
    return rates.assign(holm_p=rates["by"].map(adjusted))


def _bounds(runs: Iterable[Run], wave: int) -> pd.DataFrame:
    """Take every mean with its worst-case bounds; a change is missing where one of its two answers is."""
    cells: dict[tuple[str, str, str, str], list[tuple[pd.Series, pd.Series, tuple[float, float]]]] = {}
    for run in runs:
        answers, people = run.answers, run.people
        weight = people["weight"] if "weight" in people else pd.Series(1.0, people.index)
        here = answers[answers["wave"].eq(wave)]
        read = here.assign(value=here["value"].where(here["status"].eq("ok")))
        for vignette in run.scenario.questionnaire.of_group(run.scenario.group).vignettes:
            mine = read[read["vignette"].eq(vignette.name)]
            for arm, of_arm in mine.groupby("arm", observed=True, sort=False):
                for outcome, values, limits in _means(vignette, of_arm):
                    key = (run.scenario.group, vignette.name, outcome, str(arm))
                    cells.setdefault(key, []).append((values, weight.loc[values.index.get_level_values(0)], limits))
    rows = []
    for key, parts in cells.items():
        values = np.concatenate([part[0].to_numpy(np.float64) for part in parts])
        weights = np.concatenate([part[1].to_numpy(np.float64) for part in parts])
        rows.append((*key, len(values), *mean_bounds(values, *parts[0][2], weights)))
    columns = ["group", "vignette", "outcome", "arm", "asked", "missing", "mean", "low", "high"]
    means = pd.DataFrame(rows, columns=columns)
    return pd.concat([means, pd.DataFrame(list(_effects(means)), columns=columns)], ignore_index=True)


def _effects(means: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    """Bound the difference of each arm from the control arm, or from the first."""
    for key, arms in means.groupby(["group", "vignette", "outcome"], sort=False):
        rows: dict[str, dict[str, Any]] = {str(row["arm"]): row for row in arms.to_dict("records")}  # type: ignore[misc]
        base = rows.get(CONTROL) or next(iter(rows.values()))
        for arm, row in rows.items():
            if row is not base:
                ends = row["mean"] - base["mean"], row["low"] - base["high"], row["high"] - base["low"]
                missing = max(row["missing"], base["missing"])
                yield (*key, f"{arm} - {base['arm']}", row["asked"] + base["asked"], missing, *ends)


def _means(vignette: Vignette, answers: pd.DataFrame) -> Iterator[tuple[str, pd.Series, tuple[float, float]]]:
    """Give every outcome that has a mean: answers by person and draw, missing ones as NaN, and what they could be."""
    asked = {q.name: q for q in vignette.questions if q.kind in ("number", "scale")}
    changes: dict[str, Change] = dict(vignette.reference.changes) if vignette.reference else {}
    ends = {end for change in changes.values() for end in (change.shock, change.baseline)}
    one = {name: answers[answers["question"].eq(name)].set_index(_KEYS)["value"] for name in asked}
    for name, change in changes.items():
        shock, baseline = asked[change.shock], asked[change.baseline]
        limits = float(shock.minimum - baseline.maximum), float(shock.maximum - baseline.minimum)
        yield name, one[change.shock] - one[change.baseline], limits
    for name, question in asked.items():
        if name not in ends and len(one[name]):
            yield name, one[name], (float(question.minimum), float(question.maximum))


def _channels(runs: Iterable[Run], wave: int) -> Iterator[pd.DataFrame]:
    """Code the open answers to each vignette, all arms together."""
    texts: dict[tuple[str, str], list[tuple[pd.Series, pd.Series]]] = {}
    who: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for source, run in enumerate(runs):
        scenario, people = run.scenario, run.people
        if scenario.questionnaire.language not in LANGUAGES:
            continue
        open_questions = [q.name for q in scenario.questionnaire.questions if q.kind == "text"]
        answers = run.answers
        here = answers[answers["wave"].eq(wave) & answers["status"].eq("ok") & answers["question"].isin(open_questions)]
        weight = people["weight"] if "weight" in people else pd.Series(1.0, people.index)
        for vignette, said in here.groupby("vignette", observed=True, sort=False):
            part = said["label"].fillna(""), weight.loc[said["person"]]
            key = (scenario.group, str(vignette))
            texts.setdefault(key, []).append(part)
            who.setdefault(key, set()).update((source, person) for person in said["person"].unique())
    for (group, vignette), parts in texts.items():
        every: pd.Series[Any] = pd.concat([part[0] for part in parts], ignore_index=True)
        weights: pd.Series[Any] = pd.concat([part[1] for part in parts], ignore_index=True)
        yield channel_table(every, vignette, group, weights, len(who[group, vignette])).assign(
            group=group, vignette=vignette
        )
