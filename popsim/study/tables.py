"""The tables of a Run folder, each made by column from settled prompts or from a model."""

import hashlib
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.model import PopulationModel, Round
from popsim.scenario import Point, Scenario
from popsim.study.ask import LEGAL, Asked
from popsim.survey import QUANTILES, STATUSES, Questionnaire, Status, moments, quantiles

_MEASURED = (
    ("left_out", np.float64),
    ("dont_know", np.float64),
    ("refused", np.float64),
    ("reasonings", np.int32),
    ("reasoning_error", np.float64),
    ("particles", np.int32),
    ("particle_error", np.float64),
)
_CODE = {status: code for code, status in enumerate(STATUSES)}


def answers_table(asked: Round, settled: Sequence[Asked], replicate: int) -> pd.DataFrame:
    """Make the answers of a round: a row per answer, and a row per option of a multiple question."""
    scenario, where = asked.model.scenario, _positions(settled)
    rows = [row for one in settled for row in one.reading.answers]
    per_prompt = len(rows) // len(settled)
    questions = [row.question for row in settled[0].reading.answers]
    vignette, position = _places(asked.model.questionnaires[0])
    labels = [row.label or None for row in rows]
    statuses = np.fromiter((_CODE[row.status] for row in rows), np.int8, len(rows))
    each = {"person": asked.person[where], "draw": asked.draw[where], "arm": asked.arm[where]}
    long = {name: np.repeat(values, per_prompt) for name, values in each.items()}
    return pd.DataFrame(
        {
            "replicate": replicate,
            "person": long["person"],
            "wave": asked.wave,
            "group": _coded(np.zeros(len(rows), np.int8), [scenario.group]),
            "arm": _coded(long["arm"], list(asked.model.arms)),
            "vignette": _tiled([vignette[name] for name in questions], len(settled)),
            "position": np.tile([position[name] for name in questions], len(settled)),
            "question": _tiled(questions, len(settled)),
            "draw": long["draw"],
            "value": np.fromiter((row.value for row in rows), np.float64, len(rows)),
            "label": pd.array(labels, dtype="str"),
            "status": _coded(statuses, STATUSES),
        }
    )


def distributions_table(asked: Round, settled: Sequence[Asked], replicate: int) -> pd.DataFrame:
    """Make the answers that are distributions: a row per value with some probability, which is up to 1.

    ``value`` is the number, the option's index of a choice, or the bin's index of a density question; of a change that
    was measured, ``question`` is its name.
    """
    vignette, _ = _places(asked.model.questionnaires[0])
    found = [
        *(
            (one.position, vignette[row.question], row.question, range(len(row.probabilities)), row.probabilities, 100)
            for one in settled
            for row in one.reading.answers
            if row.probabilities
        ),
        *(
            (one.position, found.vignette, found.question, found.values, found.probabilities, 1)
            for one in settled
            for found in one.reading.distributions
        ),
    ]
    sizes = [len(values) for *_, values, _, _ in found]
    where = np.array([position for position, *_ in found], dtype=np.intp)
    return pd.DataFrame(
        {
            "replicate": replicate,
            "person": np.repeat(asked.person[where], sizes),
            "wave": asked.wave,
            "vignette": [name for _, name, _, values, *_ in found for _ in values],
            "question": [name for _, _, name, values, *_ in found for _ in values],
            "draw": np.repeat(asked.draw[where], sizes),
            "value": np.array([value for *_, values, _, _ in found for value in values], dtype=np.float64),
            "probability": np.array([p / whole for *_, shares, whole in found for p in shares], dtype=np.float64),
        }
    )


def readouts_table(asked: Round, settled: Sequence[Asked], replicate: int) -> pd.DataFrame:
    """Make the summaries of what was measured: a row per distribution, as `popsim.survey.Distribution` describes it.

    Mean, SD and quantiles are those of the probabilities scaled to sum to 1; those of a choice are missing.
    """
    rows = [(one.position, found) for one in settled for found in one.reading.distributions]
    where = np.array([position for position, _ in rows], dtype=np.intp)
    found = [one for _, one in rows]
    choices = {q.name for q in asked.model.questionnaires[0].questions if q.kind == "choice"}
    numbers = [((), ()) if one.question in choices else (one.values, one.probabilities) for one in found]
    spread = np.array([moments(*one) for one in numbers]).reshape(-1, 2)
    points = np.array([quantiles(*one) for one in numbers]).reshape(-1, len(QUANTILES))
    return pd.DataFrame(
        {
            "replicate": replicate,
            "person": asked.person[where],
            "wave": asked.wave,
            "vignette": pd.array([one.vignette for one in found], dtype="str"),
            "question": pd.array([one.question for one in found], dtype="str"),
            "draw": asked.draw[where],
            "mean": spread[:, 0],
            "sd": spread[:, 1],
            **{f"q{round(100 * share):02d}": points[:, k] for k, share in enumerate(QUANTILES)},
            **{name: np.array([getattr(one, name) for one in found], dtype=kind) for name, kind in _MEASURED},
        }
    )


def replies_table(asked: Round, settled: Sequence[Asked]) -> pd.DataFrame:
    """Make the replies of a round: a row per prompt, with its last attempt."""
    where = _positions(settled)
    return pd.DataFrame(
        {
            "person": asked.person[where],
            "wave": asked.wave,
            "round": asked.number,
            "draw": asked.draw[where],
            "attempt": np.array([one.attempt for one in settled], dtype=np.int16),
            "recall": pd.array([one.reading.recall for one in settled], dtype="str"),
            "reasoning": pd.array([one.reading.reasoning for one in settled], dtype="str"),
            "text": pd.array([one.reply.text for one in settled], dtype="str"),
            "error": pd.array([one.reply.error or None for one in settled], dtype="str"),
            "prompt_tokens": np.array([one.reply.prompt_tokens for one in settled], dtype=np.int32),
            "completion_tokens": np.array([one.reply.completion_tokens for one in settled], dtype=np.int32),
            "status": _statuses([one.reading.status for one in settled]),
            "first_status": _statuses([one.first_status for one in settled]),
            "prompt_sha": pd.array(_shas(asked, settled), dtype="str"),
        }
    )


def assignment_table(model: PopulationModel) -> pd.DataFrame:
    """Make the assignment: a row per respondent with group and arm."""
    return pd.DataFrame(
        {
            "person": np.arange(len(model.people)),
            "group": model.scenario.group,
            "arm": _coded(model.arm, list(model.arms)),
        }
    )


def heard_table(model: PopulationModel) -> pd.DataFrame:
    """Make what was heard so far: a row per respondent and item; ``told_by`` is missing where it came directly."""
    person, item = np.nonzero(model.state.heard_at >= 0)
    told_by = pd.Series(model.state.told_by[person, item], dtype="Int64")
    names = [news.name for news in model.scenario.news]
    return pd.DataFrame(
        {
            "person": person,
            "item": _coded(item, names),
            "step": model.state.heard_at[person, item],
            "told_by": told_by.mask(told_by < 0),
        }
    )


def states_table(model: PopulationModel, wave: int) -> pd.DataFrame:
    """Make the state at a wave: a row per respondent with the number of items heard."""
    return pd.DataFrame(
        {
            "person": np.arange(len(model.people)),
            "wave": wave,
            "step": model.scenario.waves[wave],
            "items_heard": (model.state.heard_at >= 0).sum(axis=1),
        }
    )


def failures(answers: pd.DataFrame) -> dict[str, Any]:
    """Count failed answers by status and arm."""
    failed = answers[~answers["status"].isin(LEGAL)]
    by_status: dict[str, dict[str, int]] = {}
    for row in failed.groupby(["status", "arm"], observed=True).size().reset_index(name="count").itertuples():
        by_status.setdefault(str(row.status), {})[str(row.arm)] = int(str(row.count))
    total = len(answers)
    return {
        "answers": total,
        "failed": len(failed),
        "share": len(failed) / total if total else 0.0,
        "by_status": by_status,
    }


def points_table(
    points: Sequence[Point],
    replicates: int,
    complete: Container[tuple[int, int]],
    failed: Mapping[tuple[int, int], Exception],
) -> pd.DataFrame:
    """Make the points of a sweep: a row per point and replicate, with what was scanned and what came of it."""
    return pd.DataFrame(
        {
            "point": point.number,
            "replicate": replicate,
            **{path: str(v) if isinstance(v, dict | list) else v for path, v in point.values.items()},
            "state": "complete" if (point.number, replicate) in complete else "failed",
            "error": str(failed.get((point.number, replicate), "")),
        }
        for point in points
        for replicate in range(replicates)
    )


def summary(answers: pd.DataFrame, scenario: Scenario) -> pd.DataFrame:
    """Summarise readable answers by arm: mean, SD and count of numbers, and the share of each option.

    Returns:
        Columns ``arm, question, option, mean, sd, n``; for an option ``mean`` is its share of the ``n`` answers.
    """
    columns = ["arm", "question", "option", "mean", "sd", "n"]
    ok = answers[answers["status"].eq("ok")]
    rows: list[dict[str, object]] = []
    for arm in scenario.arms:
        for question in scenario.shown(arm).questions:
            here = ok[ok["arm"].eq(arm) & ok["question"].eq(question.name)]
            who = {"arm": arm, "question": question.name}
            if question.kind in ("number", "scale") and len(here):
                rows.append({**who, "mean": here["value"].mean(), "sd": here["value"].std(), "n": len(here)})
            elif question.kind in ("choice", "multiple") and len(here):
                multiple = question.kind == "multiple"
                n = len(here) // (len(question.options) if multiple else 1)
                chosen = here.loc[here["value"].ne(0), "label"] if multiple else here["label"]
                rows += [{**who, "option": o, "mean": chosen.eq(o).sum() / n, "n": n} for o in question.options]
    return pd.DataFrame(rows, columns=columns)


def _positions(settled: Sequence[Asked]) -> NDArray[np.intp]:
    return np.fromiter((one.position for one in settled), np.intp, len(settled))


def _places(questionnaire: Questionnaire) -> tuple[dict[str, str], dict[str, int]]:
    """Say in which vignette, and at which place of the questionnaire, each question stands."""
    vignette = {q.name: v.name for v in questionnaire.vignettes for q in v.questions}
    return vignette, {name: place for place, name in enumerate(vignette)}


def _coded(codes: Sequence[int] | NDArray[Any], categories: Sequence[str]) -> Any:
    return pd.Categorical.from_codes(np.asarray(codes, dtype=np.int64), pd.Index(list(categories), dtype="str"))


def _tiled(names: Sequence[str], times: int) -> Any:
    categories = list(dict.fromkeys(names))
    return _coded(np.tile([categories.index(name) for name in names], times), categories)


def _statuses(statuses: Sequence[Status]) -> Any:
    return _coded([_CODE[status] for status in statuses], STATUSES)


def _shas(asked: Round, settled: Sequence[Asked]) -> list[str | None]:
    """Name the text of each prompt by its SHA-256; an engine that reads facts was sent none."""
    if asked.model.reads == "facts":
        return [None] * len(settled)
    texts = ("\n".join(f"{role}: {text}" for role, text in asked[one.position].messages) for one in settled)
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
