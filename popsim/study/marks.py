"""What the plans of runs that are put together have planned in common, and what each of them leaves out."""

from collections.abc import Iterable, Sequence

import pandas as pd

from popsim.evaluate.exclusions import exclude
from popsim.evaluate.marks import Effect, Figured, Marks
from popsim.scenario import Analysis, Asked, Contrast, Exclusions, Model, find_outcomes
from popsim.scenario.analysis import ARM, GROUP, OWN
from popsim.study.folder import Run
from popsim.study.plans import analysis_of


def frozen_analysis(run: Run, wave: int) -> Analysis | None:
    """Give the plan that was frozen before a run, if this fielding, its layout and its wording are part of it."""
    record = run.plan
    plan = analysis_of(record) if record and record["frozen"] else None
    if plan is None or plan.wave != wave:
        return None
    prompt = run.scenario.prompt
    layout = OWN if prompt.template else prompt.layout
    known = plan.templates or (layout,), plan.wordings or (run.scenario.questionnaire.name,)
    return plan if layout in known[0] and run.scenario.questionnaire.name in known[1] else None


def marks_of(runs: Sequence[Run], wave: int) -> Marks:
    """Mark what was planned before all runs that it rests on; margins are those of the plans, frozen or not."""
    plans = [frozen_analysis(run, wave) for run in runs]
    asked = [(run, plan, analysis_of(run.plan)) for run, plan in zip(runs, plans, strict=True)]
    cells = dict.fromkeys((run.scenario.group, arm) for run in runs for arm in run.scenario.arms)
    figures: set[Figured] = set()
    margins: dict[Figured, float] = {}
    for group, arm in cells:
        mine = [(run, frozen, said) for run, frozen, said in asked if _has(run, group, {arm})]
        figures |= set.intersection(*(set(_figures(run, frozen, arm)) for run, frozen, _ in mine))
        known = [dict(_margins(run, said, arm)) for run, _, said in mine]
        margins |= {key: min(one[key] for one in known) for key in known[0] if all(key in one for one in known)}
    return Marks(frozenset(figures), frozenset(_effects(runs, wave)), margins)


def planned_alike(runs: Sequence[Run], wave: int, group: str, name: str, spec: Contrast | Model) -> bool:
    """Say whether a contrast or a model was frozen, word for word, before all runs that it rests on.

    Args:
        runs: That are put together.
        wave: Which fielding.
        group: Of the run whose plan it is.
        name: Of the contrast or model.
        spec: What it is.
    """
    between = dict(spec.between) if isinstance(spec, Contrast) else {}
    groups = set(between.get(GROUP, (group,)))
    arms = set(between.get(ARM, (spec.arm,) if spec.arm else ()))
    rests_on = [run for run in runs if any(_has(run, one, arms) for one in groups)]
    plans = [frozen_analysis(run, wave) for run in rests_on]
    kind = "contrasts" if isinstance(spec, Contrast) else "models"
    return bool(plans) and all(plan is not None and getattr(plan, kind).get(name) == spec for plan in plans)


def asked_of(run: Run, name: str) -> list[Asked]:
    """Find what an outcome of a plan means in a run."""
    return find_outcomes(name, run.scenario.questionnaire.of_group(run.scenario.group))


def kept_answers(
    run: Run, answers: pd.DataFrame, wave: int, latest: bool = False
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Leave out what the plan of a run says.

    Args:
        run: The run.
        answers: Its answers to one fielding.
        wave: Which.
        latest: Go by what the scenario said last, and not by what was frozen.

    Returns:
        The answers that stay, and how many were left out by reason.
    """
    plan = analysis_of(run.plan, latest=latest)
    if plan is None or plan.exclude == Exclusions():
        return answers, {}
    recalled = None
    if plan.exclude.recall and run.scenario.prompt.reasoning and run.manifest["engine"]["reads"] == "text":
        replies = run.replies
        said = replies[replies["wave"].eq(wave)].assign(recalled=lambda f: f["recall"].fillna("").ne(""))
        recalled = said.groupby(["person", "draw"])["recalled"].any()
    return exclude(answers, plan.exclude, run.scenario.questionnaire.of_group(run.scenario.group), recalled)


def _has(run: Run, group: str, arms: set[str]) -> bool:
    return run.scenario.group == group and (not arms or not arms.isdisjoint(run.scenario.arms))


def _figures(run: Run, plan: Analysis | None, arm: str) -> Iterable[Figured]:
    for asked in (asked for name in plan.outcomes for asked in asked_of(run, name)) if plan else ():
        for statistic in plan.statistics if plan else ():
            yield run.scenario.group, arm, asked.vignette, asked.name, statistic


def _margins(run: Run, plan: Analysis | None, arm: str) -> Iterable[tuple[Figured, float]]:
    for asked in (asked for name in plan.margins for asked in asked_of(run, name)) if plan else ():
        margin = plan.margin(asked.vignette, asked.name) if plan else None
        if margin is not None:
            statistic = "mean" if asked.is_number else "share"
            yield (run.scenario.group, arm, asked.vignette, asked.name, statistic), margin


def _effects(runs: Sequence[Run], wave: int) -> Iterable[Effect]:
    for run in runs:
        plan = frozen_analysis(run, wave)
        for name, contrast in plan.contrasts.items() if plan else ():
            whole = ARM in contrast.between and not contrast.of
            if whole and planned_alike(runs, wave, run.scenario.group, name, contrast):
                for asked in asked_of(run, contrast.outcome):
                    yield run.scenario.group, asked.vignette, asked.name, frozenset(contrast.between[ARM])
