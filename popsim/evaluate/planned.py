"""What a plan asks for: contrasts, with a verdict on what was expected of them, and regressions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from popsim.errors import TargetError
from popsim.evaluate.regressions import regress
from popsim.evaluate.resampling import Cell, Figure, as_numbers, cell_of, estimate
from popsim.evaluate.sample import Sample, answers_to, of_outcome
from popsim.evaluate.statistics import Values
from popsim.evaluate.verdicts import VERDICTS, verdict
from popsim.scenario import Asked, Contrast, Model
from popsim.scenario.analysis import ARM, GROUP

LEVEL = 0.95
_EQUIVALENCE = {"inside": "holds", "outside": "fails"}


class Wanted(NamedTuple):
    """A contrast or a model that a plan asks for, of one group and one vignette."""

    name: str
    group: str
    asked: Asked
    plan: str
    """``planned`` or ``exploratory``."""
    margin: float | None = None


Who = Sequence[pd.DataFrame]
"""The people of each source of a sample, a row per person."""
_WHERE = ["plan", "name", "group", "vignette", "outcome", "of"]
CONTRASTS = [*_WHERE, "contrast", "estimate", "se", "low", "high", "p", "expect", "margin", "verdict", "n"]


def contrast_rows(
    sample: Sample, wanted: Sequence[tuple[Wanted, Contrast]], who: Who, draws: int = 1000, seed: int = 0
) -> tuple[pd.DataFrame, list[str]]:
    """Take the contrasts of a plan, with intervals over whatever unit the sample draws again.

    Args:
        sample: The answers.
        wanted: The contrasts.
        who: Who the respondents are.
        draws: Resamples of the respondents.
        seed: Of the resampling.

    Returns:
        A row per contrast (`CONTRASTS`), and a sentence about each that cannot be taken.
    """
    figures, kept, notes = [], [], []
    for one, contrast in wanted:
        cells = list(_cells(sample, one, contrast, who))
        empty = [side for side, cell in cells if not len(cell.values)]
        if empty:
            notes.append(f"Contrast {one.name} cannot be taken: no readable answer of {empty[0]} in these runs.")
            continue
        signs = (1.0, -1.0)
        figures.append(Figure(tuple(zip(signs, (cell for _, cell in cells), strict=False))))
        kept.append((one, contrast, min(cell.people for _, cell in cells)))
    if not figures:
        return pd.DataFrame(columns=CONTRASTS), notes
    found = estimate(figures, sample.stratum, draws, seed)
    low, high = found.interval(LEVEL)
    rows = []
    for k, (one, contrast, n) in enumerate(kept):
        value, se, freedom = float(found.value[k]), float(found.se[k]), float(found.freedom[k])
        gap = value - contrast.against
        p = float(2 * stats.t.sf(abs(gap) / se, max(freedom, 1))) if se > 0 else np.nan
        said = "" if sample.fitted else _judged(contrast, one.margin, gap, se, n, freedom)
        figured = (str(contrast), value, se, float(low[k]), float(high[k]), p)
        margin = np.nan if one.margin is None else one.margin
        rows.append((*_where(one, contrast.of), *figured, contrast.expect, margin, said, n))
    return pd.DataFrame(rows, columns=CONTRASTS), notes


def _where(one: Wanted, of: str) -> tuple[str, ...]:
    return one.plan, one.name, one.group, one.asked.vignette, one.asked.name, of


def _judged(contrast: Contrast, margin: float | None, gap: float, se: float, n: int, freedom: float) -> str:
    """Say whether what was expected holds: by a 95 % interval, or by two one-sided tests where sameness is."""
    if not contrast.expect:
        return ""
    if contrast.expect == "same":
        said = verdict(gap, se, margin or np.nan, n, freedom)
        return _EQUIVALENCE.get(said, said)
    said = verdict(gap, se, 0.0, n, freedom)
    if said not in VERDICTS:
        return said
    reach = float(stats.t.ppf((1 + LEVEL) / 2, max(freedom, 1))) * se
    towards = gap if contrast.expect == "above" else -gap
    return "holds" if towards > reach else "fails" if -towards > reach else "undecided"


def _cells(sample: Sample, one: Wanted, contrast: Contrast, who: Who) -> Iterator[tuple[str, Cell]]:
    """Cut the answers that a contrast is about, with the name of each side."""
    by, values = next(iter(contrast.between.items()), ("", (contrast.arm or "all arms",)))
    for value in values:
        group = value if by == GROUP else one.group
        asked = _answers(sample, group, one.asked)
        arm = value if by == ARM else contrast.arm
        here = asked if arm is None else asked[asked["arm"].eq(arm)]
        if by and by not in (ARM, GROUP):
            said = attributes(sample, here, who, [by])[by].astype("str").to_numpy()
            here = here[said == value]
        frame, numbers = of_outcome(here, one.asked.found, contrast.of)
        numbers, frame = numbers[~np.isnan(numbers)], frame[~np.isnan(numbers)]
        unit, weight = frame["unit"].to_numpy(), as_numbers(frame["weight"])
        yield f"{by} {value}".strip(), cell_of(numbers, unit, weight, int(frame["person"].nunique()))


def _answers(sample: Sample, group: str, asked: Asked) -> pd.DataFrame:
    """Take the answers to an outcome; none where the sample has no such group or vignette."""
    if (group, asked.vignette) not in sample.vignettes:
        return sample.answers.iloc[:0]
    return answers_to(sample, group, asked.vignette, asked.name, asked.found)


def attributes(sample: Sample, answers: pd.DataFrame, who: Who, names: Sequence[str]) -> pd.DataFrame:
    """Give the attributes of those who gave answers, a row per answer.

    Args:
        sample: Where the answers were cut from.
        answers: Some of them, with their ``person``.
        who: The people of each source.
        names: Columns of people; one that a source lacks is missing there.
    """
    rows = sample.answers.drop_duplicates("person").set_index("person")[["source", "row"]].loc[answers["person"]]
    found = pd.DataFrame(index=answers.index, columns=list(names))
    for source, people in enumerate(who):
        mine = rows["source"].to_numpy() == source
        taken = people.reindex(columns=list(names)).iloc[rows["row"].to_numpy()[mine]].set_axis(answers.index[mine])
        found = taken if mine.all() else pd.concat([found[~mine], taken]).loc[answers.index]
    return found


MODELS = [*_WHERE, "arm", "term", "estimate", "se", "low", "high", "p", "n", "r2", "errors"]


def model_rows(sample: Sample, wanted: Sequence[tuple[Wanted, Model]], who: Who) -> tuple[pd.DataFrame, list[str]]:
    """Fit the regressions of a plan.

    Args:
        sample: The answers.
        wanted: The models.
        who: Who the respondents are.

    Returns:
        A row per model and term (`MODELS`), and a sentence about each that cannot be fitted.
    """
    tables: list[pd.DataFrame] = []
    problems: dict[str, list[str]] = {}
    for one, model in wanted:
        here = _answers(sample, one.group, one.asked)
        here = here if model.arm is None else here[here["arm"].eq(model.arm)]
        frame, numbers = of_outcome(here.reset_index(drop=True), one.asked.found, model.of)
        try:
            table = _fit(sample, model, frame, numbers, who)
        except TargetError as problem:
            problems.setdefault(str(problem), []).append(one.name)
            continue
        where = pd.DataFrame([(*_where(one, model.of), model.arm or "all")] * len(table), columns=[*_WHERE, "arm"])
        tables.append(where.join(table))
    notes = [f"Model {', '.join(dict.fromkeys(names))} cannot be fitted: {why}." for why, names in problems.items()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=MODELS), notes


def _fit(sample: Sample, model: Model, frame: pd.DataFrame, numbers: Values, who: Who) -> pd.DataFrame:
    """Fit one regression to the answers of people all of whose attributes are known."""
    named = dict.fromkeys([*model.attributes, *([model.cluster] if model.cluster else [])])
    terms = attributes(sample, frame, who, [name for name in named if name != ARM])
    terms = terms.assign(arm=frame["arm"]) if ARM in named else terms
    known = (terms.notna().all(axis=1) & ~np.isnan(numbers)).to_numpy()
    if not known.any():
        raise TargetError("no readable answer in these runs")
    cluster, groups = pd.factorize(terms.loc[known, model.cluster] if model.cluster else frame.loc[known, "person"])
    several = model.cluster is not None or len(groups) < len(cluster)
    return regress(
        numbers[known],
        terms.loc[known, list(model.attributes)].reset_index(drop=True),
        as_numbers(frame.loc[known, "weight"]),
        cluster.astype(np.int64) if several else None,
    )
