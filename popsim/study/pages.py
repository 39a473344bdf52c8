"""Reports: what a Run folder or a sweep folder holds, finished or not, gathered for `popsim.report`."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from popsim.engines import Reply
from popsim.errors import PopsimError
from popsim.evaluate import Comparison, changes_by_person
from popsim.evaluate.marks import PLANNED
from popsim.files import write_whole
from popsim.model import PopulationModel, Respondent, Round
from popsim.population import margin_report
from popsim.report.findings import chance
from popsim.report.material import Material, Shown
from popsim.scenario import Scenario
from popsim.study.auditing import examine, uncertain
from popsim.study.comparing import compare
from popsim.study.folder import Run, load_run
from popsim.study.learning import learning
from popsim.study.planned import planned

PAGE = "report.html"
_TABLES = ("answers", "replies", "people", "assignment", "heard", "states", "distributions", "readouts")
_EXPECTED = _TABLES[:-1]
_WEIGHED = ("answers", "distributions")
_OWN = f"{Respondent.__module__}:{Respondent.__qualname__}"


def report(folder: str | Path, figures: str | Path | None = None) -> Path:
    """Write the page of a run or a sweep into its folder; one that is not finished is shown as far as it is.

    Args:
        folder: A Run folder or a sweep folder.
        figures: Where every picture is drawn as SVG, PNG and PDF too; nowhere unless given.

    Returns:
        The page.

    Raises:
        RunError: It is no such folder.
    """
    from popsim.report.figures import save_figures
    from popsim.report.page import page

    material = gather(load_run(folder))
    to = Path(folder) / PAGE
    html = page(material)
    write_whole(to, lambda path: path.write_text(html, encoding="utf-8"))
    if figures is not None:
        save_figures(material, Path(figures))
    return to


def gather(run: Run) -> Material:
    """Collect what a page shows of a Run folder, or of a sweep folder."""
    if "points" in run.manifest["identity"]:
        return _gather_sweep(run)
    tables = {name: table for name in _TABLES if (table := _read(run.path, name)) is not None}
    scenario = run.scenario
    people = tables.get("people", pd.DataFrame())
    tables |= {name: _weigh(tables[name], people) for name in _WEIGHED if name in tables}
    compared = _compare(run)
    return Material(
        manifest=run.manifest,
        scenario=scenario,
        tables=tables,
        changes=_changes(scenario, tables),
        comparison=_comparison(compared),
        findings=_findings(run, compared),
        **_planned(run),
        learning=learning(run) if run.manifest["state"] == "complete" else pd.DataFrame(),
        margins=margin_report(scenario.population, people) if len(people) else people,
        prompt=_shown(run, tables) if {"people", "assignment"} <= set(tables) else None,
        missing=_missing(run, tables),
    )


def _read(folder: Path, name: str) -> pd.DataFrame | None:
    path = folder / f"{name}.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def _weigh(table: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Put the weight of each person beside what they said; 1 where people have none."""
    weight = table["person"].map(people.set_index("person")["weight"]) if "weight" in people else 1.0
    return table.assign(weight=weight)


def _missing(run: Run, tables: dict[str, pd.DataFrame]) -> list[str]:
    """Say what a folder that is not complete lacks."""
    if run.manifest["state"] == "complete":
        return []
    said = [
        f"This run is {run.manifest['state']}, not complete: the same popsim run command goes on from where it stopped."
    ]
    waves, done = len(run.scenario.waves), tables["states"]["wave"].nunique() if "states" in tables else 0
    if done < waves:
        said.append(
            f"Of {waves} wave{'s' * (waves > 1)} {done} {'are' if done != 1 else 'is'} answered and in the tables."
        )
    if absent := [f"{name}.parquet" for name in _EXPECTED if name not in tables]:
        said.append(f"Not written yet: {', '.join(absent)}.")
    return said


def _changes(scenario: Scenario, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Take the changes that the questionnaire carries human moments of; measured ones with their probabilities."""
    answers, measured = tables.get("answers", pd.DataFrame()), tables.get("distributions", pd.DataFrame())
    parts = []
    for vignette in scenario.questionnaire.vignettes if len(answers) else ():
        for outcome, change in (vignette.reference.changes if vignette.reference else {}).items():
            if scenario.readout.kind == "generate":
                found = changes_by_person(answers, change).reset_index().rename(columns={"change": "value"})
                found = found.assign(probability=1.0)
            else:
                found = measured[measured["vignette"].eq(vignette.name) & measured["question"].eq(outcome)]
            parts.append(found.assign(vignette=vignette.name, outcome=outcome))
    columns = ["vignette", "outcome", "replicate", "arm", "wave", "person", "value", "probability", "weight"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


_COMPARED = [
    "vignette",
    "outcome",
    "arm",
    "statistic",
    "human",
    "human_se",
    "simulated",
    "low",
    "high",
    "gap",
    "verdict",
    "plan",
]


def _compare(run: Run) -> Comparison | None:
    """Set a complete run beside the human figures that its scenario names, where it names any that apply."""
    if not run.scenario.targets or run.manifest["state"] != "complete":
        return None
    try:
        return compare(run)
    except PopsimError:
        return None


def _comparison(compared: Comparison | None) -> pd.DataFrame:
    """Lay out the figures of a comparison."""
    if compared is None or compared.targets.empty:
        return pd.DataFrame()
    found = compared.targets
    named = found.assign(
        plan=found["plan"].where(found["plan"].eq(PLANNED), ""),
        arm=found["arm"].astype("str").replace({"pooled_reversed": "pooled", "contrast": "both"}),
        statistic=(found["statistic"].astype("str") + " " + found["of"].astype("str"))
        .str.replace("_", " ")
        .str.strip(),
    )
    shown = [name for name in _COMPARED if named[name].notna().any() and named[name].ne("").any()]
    return named[[*shown, "n", "z"]]


def _planned(run: Run) -> dict[str, Any]:
    """Compute what the plan of a complete run asks for, without columns that say the same everywhere.

    Raises:
        RunError: The frozen plan was changed.
    """
    record = run.plan
    if record is None or run.manifest["state"] != "complete":
        return {}
    try:
        found = planned(run, wave=record["analysis"]["wave"])
    except PopsimError:
        return {}
    tables = {}
    for name, table in {"contrasts": found.contrasts, "models": found.models}.items():
        p = {name: table[name].map(chance) for name in ("p", "holm_p") if name in table}
        shown = table.assign(plan=table["plan"].where(table["plan"].eq(PLANNED), ""), **p)
        same = [c for c in ("column", "group", "vignette") if shown[c].nunique() <= 1]
        empty = [c for c in shown if shown[c].isna().all() or shown[c].eq("").all()]
        tables[name] = shown.drop(columns=[c for c in shown if c in {*same, *empty}])
    return {"planned": tables, "notes": found.notes}


def _findings(run: Run, compared: Comparison | None) -> dict[str, pd.DataFrame]:
    """Audit a complete run of answers, and take along what a comparison says beside its figures."""
    beside = ("effects", "contrasts", "distances", "joint")
    found = {name: getattr(compared, name) for name in beside} if compared is not None else {}
    if run.manifest["state"] != "complete" or run.scenario.readout.kind != "generate":
        return found
    try:
        audited = examine(run)
    except PopsimError as problem:
        return found | {"warnings": pd.DataFrame({"warning": [f"These answers could not be audited: {problem}"]})}
    names = ("ratios", "parts", "warnings", "failures", "channels", "subgroups", "held")
    return found | {name: getattr(audited, name) for name in names} | {"bounds": uncertain(audited.bounds)}


def _shown(run: Run, tables: dict[str, pd.DataFrame]) -> Shown:
    """Render again the last prompt of one person: of the first who had heard most."""
    heard = tables.get("heard")
    row = int(np.bincount(heard["person"]).argmax()) if heard is not None and len(heard) else 0
    replies = tables.get("replies", pd.DataFrame(columns=["person", "wave", "round", "text", "prompt_sha"]))
    asked, at = _last_asked(run, tables["people"], replies, row)
    messages = asked.prompt(at).messages
    text = "\n".join(said for _, said in messages)
    mine = replies[replies["person"].eq(row) & replies["wave"].eq(asked.wave) & replies["round"].eq(asked.number)]
    reply = str(mine["text"].iloc[0] or "") if len(mine) else ""
    sent = "\n".join(f"{role}: {said}" for role, said in messages)
    arm = asked.model.arms[int(asked.arm[at])]
    return Shown(text, row, arm, asked.wave, _remark(run, mine, sent), reply)


def _last_asked(run: Run, people: pd.DataFrame, replies: pd.DataFrame, row: int) -> tuple[Round, int]:
    """Go through a run's waves again with its stored replies, to the last prompt that a person was sent."""
    scenario = run.scenario
    model = PopulationModel(scenario, people=people.set_index("person").rename_axis(None), graph=run.follows)
    rounds = model.waves()
    asked = next(rounds)
    last = asked, int(np.flatnonzero(asked.person == row)[0])
    while True:
        mine = np.flatnonzero(asked.person == row)
        last = (asked, int(mine[0])) if len(mine) else last
        stored = replies[replies["wave"].eq(asked.wave) & replies["round"].eq(asked.number)]
        if len(stored) < len(asked):
            return last
        texts = stored["text"].fillna("") if scenario.hangs_on_replies else ()
        try:
            asked = rounds.send([asked.read(i, Reply(text)) for i, text in enumerate(texts)])
        except StopIteration:
            return last


def _remark(run: Run, mine: pd.DataFrame, sent: str) -> str:
    """Say how the prompt shown relates to the one that was sent."""
    if run.manifest["engine"]["reads"] == "facts":
        return "This engine read the facts behind this prompt, not its words; a language model would have been sent it."
    if mine.empty:
        return "Rendered from the folder's tables; its reply is not in them yet."
    sha = hashlib.sha256(sent.encode("utf-8", "surrogatepass")).hexdigest()
    if mine["prompt_sha"].iloc[0] == sha:
        return "This is the text that was sent, to the letter: its SHA-256 is the one in replies.parquet."
    own = run.manifest["identity"]["respondent"]
    why = f"respondents were of the class {own}" if own != _OWN else "another version of popsim may word it otherwise"
    return f"Not to the letter what was sent: {why}."


def _gather_sweep(run: Run) -> Material:
    """Collect a sweep: all answers with a column per swept path, and the points that are missing."""
    points = run.manifest["identity"]["points"]
    paths = list(points[0]["values"])
    cells = list(_cells(run.path, points, int(run.manifest["identity"]["replicates"])))
    points_done = _read(run.path, "points")
    failed = pd.DataFrame() if points_done is None else points_done[points_done["state"].eq("failed")]
    broken = set(zip(failed["point"], failed["replicate"], strict=True)) if len(failed) else set()
    parts = [one for number, replicate, one in cells if one is not None and (number, replicate) not in broken]
    answers = pd.concat(parts) if parts else pd.DataFrame()
    absent = [f"point {number}, replicate {replicate}" for number, replicate, one in cells if one is None]
    said = []
    if run.manifest["state"] != "complete":
        said.append(
            f"This sweep is {run.manifest['state']}: the same popsim sweep command goes on from where it stopped."
        )
    if absent:
        listed = ", ".join(absent[:12]) + (f" and {len(absent) - 12} more" if len(absent) > 12 else "")
        said.append(f"No answers yet from {len(absent)} of {len(cells)} runs: {listed}.")
    for error, part in failed.groupby("error", sort=False) if len(failed) else ():
        which = ", ".join(map(str, dict.fromkeys(part["point"])))
        said.append(f"Failed: {len(part)} runs, of point {which}: {error}")
    scenario, first = run.scenario, _first_run(run.path)
    tables = {"answers": answers} if len(answers) else {}
    people = None if first is None else _read(first.path, "people")
    return Material(
        manifest=run.manifest,
        scenario=scenario,
        tables=tables,
        changes=_swept_changes(scenario, answers, paths),
        **_planned(run),
        margins=margin_report(scenario.population, people) if people is not None else pd.DataFrame(),
        prompt=None if first is None else gather(first).prompt,
        paths=paths,
        missing=said,
    )


def _first_run(folder: Path) -> Run | None:
    """Open the first point's first replicate, once it has people."""
    first = folder / "point000-replicate0"
    return load_run(first) if (first / "assignment.parquet").is_file() else None


def _swept_changes(scenario: Scenario, answers: pd.DataFrame, paths: list[str]) -> pd.DataFrame:
    """Take the changes at each point, with a column per swept path."""
    if answers.empty or scenario.readout.kind != "generate":
        return pd.DataFrame()
    parts = []
    for key, part in answers.groupby(paths, sort=False, observed=True):
        found = _changes(scenario, {"answers": part})
        values: dict[str, Any] = dict(zip(paths, key, strict=True))
        parts.append(found.assign(**values))
    return pd.concat(parts, ignore_index=True)


def _cells(folder: Path, points: Sequence[Any], replicates: int) -> Iterator[tuple[int, int, pd.DataFrame | None]]:
    """Give the answers of each point and replicate with the weights of its own people, none where there are none."""
    for number, point in enumerate(points):
        values = {path: str(v) if isinstance(v, dict | list) else v for path, v in point["values"].items()}
        for replicate in range(replicates):
            cell = folder / f"point{number:03d}-replicate{replicate}"
            answers, people = (_read(cell, name) for name in ("answers", "people"))
            people = pd.DataFrame() if people is None else people
            yield number, replicate, None if answers is None else _weigh(answers, people).assign(**values)
