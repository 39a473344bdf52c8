"""The tables of a Run folder, each made by column from settled prompts or from a model."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.evaluate.sample import changes_by_person
from popsim.model import PopulationModel, Round, seen_posts, treated
from popsim.network import NEVER
from popsim.scenario import Point, Scenario
from popsim.study.ask import Asked
from popsim.survey import FAILURES, STATUSES, Question, Status
from popsim.weighted import moments, quantiles

_MEASURED = (
    ("left_out", np.float64),
    ("dont_know", np.float64),
    ("refused", np.float64),
    ("reasonings", np.int32),
    ("reasoning_error", np.float64),
    ("particles", np.int32),
    ("particle_error", np.float64),
)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Those that the table of readouts has."""
_CODE = {status: code for code, status in enumerate(STATUSES)}


def answers_table(asked: Round, settled: Sequence[Asked], replicate: int) -> pd.DataFrame:
    """Make the answers of a round: a row per answer, and a row per option of a multiple question."""
    scenario, where = asked.model.scenario, _positions(settled)
    rows = [row for one in settled for row in one.reading.answers]
    counts = np.fromiter((len(one.reading.answers) for one in settled), np.intp, len(settled))
    labels = [row.label or None for row in rows]
    statuses = np.fromiter((_CODE[row.status] for row in rows), np.int8, len(rows))
    each = {"person": asked.person[where], "draw": asked.draw[where], "arm": asked.arm[where]}
    long = {name: np.repeat(values, counts) for name, values in each.items()}
    question, position, places = _asked_where(asked, settled)
    position = position + np.repeat(asked.before[where], counts)
    return pd.DataFrame(
        {
            "replicate": replicate,
            "person": long["person"],
            "wave": asked.wave,
            "group": _coded(np.zeros(len(rows), np.int8), [scenario.group]),
            "arm": _coded(long["arm"], list(asked.model.arms)),
            "vignette": _vignettes(question, places),
            "position": position,
            "question": _coded(question, list(places)),
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
    vignette = _places(asked)
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
            "arm": _coded(np.repeat(asked.arm[where], sizes), list(asked.model.arms)),
            "vignette": pd.array([name for _, name, _, values, *_ in found for _ in values], dtype="str"),
            "question": pd.array([name for _, _, name, values, *_ in found for _ in values], dtype="str"),
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
    points = np.array([quantiles(*one, QUANTILES) for one in numbers]).reshape(-1, len(QUANTILES))
    return pd.DataFrame(
        {
            "replicate": replicate,
            "person": asked.person[where],
            "wave": asked.wave,
            "arm": _coded(asked.arm[where], list(asked.model.arms)),
            "vignette": pd.array([one.vignette for one in found], dtype="str"),
            "question": pd.array([one.question for one in found], dtype="str"),
            "draw": asked.draw[where],
            "mean": spread[:, 0],
            "sd": np.sqrt(spread[:, 1]),
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
            "outside": np.array([one.reply.outside for one in settled], dtype=np.float64),
            "status": _statuses([one.reading.status for one in settled]),
            "first_status": _statuses([one.first_status for one in settled]),
            "prompt_sha": pd.array(_shas(asked, settled), dtype="str"),
        }
    )


def assignment_table(model: PopulationModel) -> pd.DataFrame:
    """Make the assignment: a row per respondent with group, arm, and the vignettes that are shown, in their order.

    Where arms are crossed there is a row per respondent and arm. For every item of news that is shown by experiment
    ``shown_ITEM`` says to whom; for every question that shuffles its options ``order_QUESTION`` lists their positions
    in the order shown.
    """
    orders = [" ".join(vignette.name for vignette in version.vignettes) for version in model.versions]
    names = list(dict.fromkeys(orders))
    codes = np.array([names.index(name) for name in orders])
    people = len(model.people)
    own = {f"shown_{news.name}": treated(model.scenario, news, people) for news in model.scenario.news if news.assigned}
    shuffled = {
        f"order_{name}": np.array([" ".join(map(str, row)) for row in order.tolist()])
        for name, order in model.orders.items()
    }
    return pd.DataFrame(
        {
            "person": model.seat,
            "group": model.scenario.group,
            "arm": _coded(model.arm, list(model.arms)),
            "vignettes": _coded(codes[model.version], names),
            **{name: values[model.seat] for name, values in own.items()},
            **{name: pd.array(values[model.seat], dtype="str") for name, values in shuffled.items()},
        }
    )


def heard_table(model: PopulationModel) -> pd.DataFrame:
    """Make what was heard so far: a row per respondent and item, or post of a wave that they came across.

    ``told_by`` is the person it came from, missing where it came directly; the item of a post is ``post_WAVE``.
    """
    state, opinions, n = model.state, model.scenario.share_opinions, len(model.people)
    person, item = np.nonzero(state.heard_at != NEVER)
    names = [news.name for news in model.scenario.news]
    parts: list[tuple[NDArray[Any], ...]] = [(person, item, state.heard_at[person, item], state.told_by[person, item])]
    for wave, posts in enumerate(state.posts):
        if opinions and posts.step < model.steps:
            reader, author = seen_posts(posts, opinions.seen, model.graph, 0, n)
            parts.append((reader, np.full(len(reader), len(names)), np.full(len(reader), posts.step + 1), author))
            names.append(f"post_{wave}")
    person, item, step, told_by = (np.concatenate(column) for column in zip(*parts, strict=True))
    teller = pd.Series(told_by, dtype="Int64")
    return pd.DataFrame(
        {
            "person": person,
            "item": _coded(item, names),
            "step": step.astype(np.int32),
            "told_by": teller.mask(teller < 0),
        }
    )


def states_table(model: PopulationModel, wave: int) -> pd.DataFrame:
    """Make the state at a wave: a row per respondent with items heard, and mean and SD of each belief."""
    beliefs = model.state.beliefs
    return pd.DataFrame(
        {
            "person": np.arange(len(model.people)),
            "wave": wave,
            "step": model.scenario.waves[wave],
            "items_heard": (model.state.heard_at != NEVER).sum(axis=1),
            **{f"{name}_mean": belief.mean for name, belief in beliefs.items()},
            **{f"{name}_sd": belief.spread for name, belief in beliefs.items()},
        }
    )


def tally(answers: pd.DataFrame) -> Counter[tuple[str, str]]:
    """Count answers by status and arm."""
    counts = answers.groupby(["status", "arm"], observed=True).size().reset_index(name="count")
    return Counter({(str(row.status), str(row.arm)): int(str(row.count)) for row in counts.itertuples()})


def failures(counts: Counter[tuple[str, str]]) -> dict[str, Any]:
    """Say how many answers failed, by status and arm.

    Example:
        >>> failures(Counter({("ok", "rise"): 3, ("missing", "rise"): 1}))
        {'answers': 4, 'failed': 1, 'share': 0.25, 'by_status': {'missing': {'rise': 1}}}
    """
    by_status = {
        status: {arm: n for (one, arm), n in counts.items() if one == status}
        for status in FAILURES
        if any(one == status for one, _ in counts)
    }
    total, failed = counts.total(), sum(sum(by_arm.values()) for by_arm in by_status.values())
    return {"answers": total, "failed": failed, "share": failed / total if total else 0.0, "by_status": by_status}


def points_table(
    points: Sequence[Point],
    replicates: int,
    unanswered: Mapping[tuple[int, int], float],
    failed: Mapping[tuple[int, int], Exception],
) -> pd.DataFrame:
    """Make the points of a sweep: a row per point and replicate, with what was scanned and what came of it.

    Args:
        points: The points.
        replicates: How often each was repeated.
        unanswered: Of those that are complete, by point and replicate: the share of their answers that failed.
        failed: What came in the way of the others.
    """
    return pd.DataFrame(
        {
            "point": point.number,
            "replicate": replicate,
            **{path: str(v) if isinstance(v, dict | list) else v for path, v in point.values.items()},
            "state": "complete" if (point.number, replicate) in unanswered else "failed",
            "answers_failed": unanswered.get((point.number, replicate)),
            "error": str(failed.get((point.number, replicate), "")),
        }
        for point in points
        for replicate in range(replicates)
    )


def summary(answers: pd.DataFrame, people: pd.DataFrame, scenario: Scenario) -> pd.DataFrame:
    """Summarise readable answers by arm and wave: mean, SD and count of numbers, and the share of each option.

    Outcomes that the questionnaire derives have rows like numbers, after the questions of their vignette.

    Args:
        answers: The answers table of a run.
        people: Its people; their weights count.
        scenario: The study.

    Returns:
        Columns ``arm, wave, question, option, mean, sd, n``; for an option ``mean`` is its share of the ``n`` answers.
    """
    columns = ["arm", "wave", "question", "option", "mean", "sd", "n"]
    ok = answers[answers["status"].eq("ok")]
    weights = people["weight"].to_numpy(np.float64) if "weight" in people else np.ones(len(people))
    ok = ok.assign(weight=weights[ok["person"]])
    rows: list[dict[str, object]] = []
    for arm, wave in product(scenario.arms, range(len(scenario.waves))):
        here = ok[ok["arm"].eq(arm) & ok["wave"].eq(wave)]
        for vignette in scenario.shown(arm).vignettes:
            found = [row for question in vignette.questions for row in _summed(here, question)]
            for name, one in vignette.derived.items():
                changes = changes_by_person(here, one)
                found += _numbers(name, changes["change"], weights[changes["person"]])
            rows += [{"arm": arm, "wave": wave, **row} for row in found]
    return pd.DataFrame(rows, columns=columns)


def _summed(answers: pd.DataFrame, question: Question) -> list[dict[str, object]]:
    here = answers[answers["question"].eq(question.name)]
    if question.kind in ("number", "scale"):
        return _numbers(question.name, here["value"], here["weight"])
    if question.kind not in ("choice", "multiple") or here.empty:
        return []
    times = len(question.options) if question.kind == "multiple" else 1
    chosen = here[here["value"].ne(0)] if question.kind == "multiple" else here
    shares = chosen.groupby("label", observed=True)["weight"].sum() / here["weight"].sum() * times
    return [
        {"question": question.name, "option": one, "mean": shares.get(one, 0.0), "n": len(here) // times}
        for one in question.options
    ]


def _numbers(name: str, values: pd.Series, weights: "pd.Series | NDArray[np.float64]") -> list[dict[str, object]]:
    """Weighted mean, and SD scaled as with n - 1 where all weights are equal."""
    n = len(values)
    if not n:
        return []
    mean, variance = moments(values, weights)
    return [{"question": name, "mean": mean, "sd": (variance * n / (n - 1)) ** 0.5 if n > 1 else np.nan, "n": n}]


def _positions(settled: Sequence[Asked]) -> NDArray[np.intp]:
    return np.fromiter((one.position for one in settled), np.intp, len(settled))


def _places(asked: Round) -> dict[str, str]:
    """Say in which vignette each question stands that is answered, in the order of the questionnaire; on pages all."""
    places = {q.name: v.name for v in asked.model.questionnaires[0].vignettes for q in v.questions}
    if asked.model.scenario.presentation == "pages":
        return places
    used = {question.name for version in np.unique(asked.version) for question in asked.answered[version]}
    return {name: vignette for name, vignette in places.items() if name in used}


def _asked_where(asked: Round, settled: Sequence[Asked]) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, str]]:
    """Say for each row of answers its question and the question's place in what the respondent was shown this time.

    Returns:
        Per row the question as a position in the third value, and its place; and question -> vignette of those asked.
    """
    version = asked.version[_positions(settled)]
    places = _places(asked)
    code = {name: i for i, name in enumerate(places)}
    first = {int(number): settled[at] for number, at in zip(*np.unique(version, return_index=True), strict=True)}
    names = {number: [row.question for row in one.reading.answers] for number, one in first.items()}
    order = {number: [question.name for question in asked.questions[number]] for number in names}
    of_version = {
        number: np.array([[code[name], order[number].index(name)] for name in some], dtype=np.int64).reshape(-1, 2)
        for number, some in names.items()
    }
    question, position = np.concatenate([of_version[number] for number in version.tolist()]).T
    return question, position, places


def _vignettes(question: NDArray[np.int64], places: dict[str, str]) -> Any:
    names = list(dict.fromkeys(places.values()))
    return _coded(np.array([names.index(vignette) for vignette in places.values()])[question], names)


def _coded(codes: Sequence[int] | NDArray[Any], categories: Sequence[str]) -> Any:
    return pd.Categorical.from_codes(np.asarray(codes, dtype=np.int64), pd.Index(list(categories), dtype="str"))


def _statuses(statuses: Sequence[Status]) -> Any:
    return _coded([_CODE[status] for status in statuses], STATUSES)


def _shas(asked: Round, settled: Sequence[Asked]) -> list[str | None]:
    """Name the text of each prompt by its SHA-256; an engine that reads facts was sent none."""
    if asked.model.reads == "facts":
        return [None] * len(settled)
    texts = ("\n".join(f"{role}: {text}" for role, text in asked[one.position].messages) for one in settled)
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
