"""A plan of the analysis in a Run folder: frozen before the first answer, and every later edit of it listed.

``plan.json`` is written once and never again: canonical JSON of the plan and of the study that it is for, whose SHA-256
is what ``sha256sum plan.json`` prints. The manifest keeps that hash, the time, the plan, and the edits since.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from popsim.errors import RunError, ScenarioError
from popsim.prompts import load_layout
from popsim.scenario import Analysis, Scenario, scenario_hash
from popsim.scenario.analysis import OWN
from popsim.study.cell import now
from popsim.study.folder import MANIFEST, write_manifest, write_methods
from popsim.study.frozen import Record, check_frozen, digest


def plan_record(scenarios: Sequence[Scenario], replicates: int = 1, *, freeze: bool = False) -> Record | None:
    """Give the record of a plan that is not frozen; nothing where the scenario plans nothing.

    Args:
        scenarios: The study; of a sweep every point.
        replicates: How often each point is repeated.
        freeze: Whether it is going to be frozen.

    Raises:
        ScenarioError: The plan names a layout that there is not, or there is nothing to freeze.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> record = plan_record([load_scenario("oil_price_fall", {"size": 10})])
        >>> record["frozen"], len(record["sha256"]), record["analysis"]["outcomes"]
        (None, 64, ['inflation', 'unemployment'])
    """
    first = scenarios[0]
    if freeze and any(one.engine.spec.startswith("replay:") for one in scenarios):
        raise ScenarioError(f"{first.name}: --freeze: {first.engine.spec} gives answers that are older than the plan")
    if first.analysis is None:
        if freeze:
            raise ScenarioError(
                f"{first.name}: --freeze: there is no plan to freeze; write under analysis: what will be computed"
            )
        return None
    for template in first.analysis.templates:
        if template != OWN:
            load_layout(template, first.questionnaire.language)
    study = digest({"scenarios": [scenario_hash(one) for one in scenarios], "replicates": replicates})
    plan = {"analysis": first.analysis.model_dump(mode="json"), "study": study}
    return {**plan, "sha256": digest(plan), "frozen": None, "edits": [], "latest": plan["analysis"]}


def keep_plan(folder: Path, record: Record | None, freeze: bool) -> Record | None:
    """Decide on the plan of a study that is about to be started, or was before.

    A frozen plan stays; where the scenario's differs from it, and from what was listed last, the edit is listed.

    Args:
        folder: Claimed, and held by `locked`.
        record: The scenario's plan, from `plan_record`.
        freeze: Whether it is to be frozen.

    Returns:
        What the manifest is to say of it; a manifest that is there already says it now.

    Raises:
        RunError: The study was started before it was frozen, or ``plan.json`` is not what was frozen.
    """
    manifest = _manifest(folder)
    if manifest is None:
        return {**record, "frozen": now()} if record and freeze else record
    before: Record | None = manifest.get("plan")
    if not before or not before["frozen"]:
        if freeze:
            raise RunError(
                f"{folder}: was started on {manifest.get('started', '?')} without --freeze, so its answers may be "
                "older than the plan; choose another --out"
            )
        kept = record
    else:
        check_frozen(folder, before)
        kept = _edited(before, record["analysis"] if record else None)
    if kept != before:
        manifest = {**manifest, "plan": kept}
        write_manifest(folder, manifest)
        if manifest["state"] == "complete":
            write_methods(folder, manifest)
    return kept


def analysis_of(record: Record | None, *, latest: bool = False) -> Analysis | None:
    """Read the plan of a record: what was frozen, or what the scenario said last."""
    said = record["latest" if latest else "analysis"] if record else None
    return Analysis.model_validate(said) if said else None


def changes(old: Any, new: Any, path: str = "") -> list[list[Any]]:
    """List every place where two plans differ: path, old and new value; nothing stands for what is not there.

    Example:
        >>> changes({"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": [1]}, "d": 3})
        [['a.b', 1, 2], ['d', None, 3]]
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*old, *new])
        return [
            one for key in keys for one in changes(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if old == new else [[path or "analysis", old, new]]


def _edited(record: Record, analysis: Mapping[str, Any] | None) -> Record:
    """List the difference to the frozen plan, unless it is what was listed last."""
    found = changes(record["analysis"], analysis)
    last = record["edits"][-1]["changes"] if record["edits"] else []
    if found == last:
        return record
    return {**record, "edits": [*record["edits"], {"when": now(), "changes": found}], "latest": analysis}


def _manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
