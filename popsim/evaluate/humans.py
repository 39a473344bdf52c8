"""A table of human answers beside simulated ones: its own targets, and distances between whole distributions."""

from collections.abc import Callable, Sequence

import numpy as np

from popsim import streams
from popsim.errors import TargetError
from popsim.evaluate.distances import energy, histogram, ks, wasserstein
from popsim.evaluate.lines import LINES, category_distances
from popsim.evaluate.resampling import Cell, Figure, estimate
from popsim.evaluate.rows import HumanRows, human_cells
from popsim.evaluate.sample import Sample, arm_cell, missing
from popsim.evaluate.statistics import Values, direction
from popsim.evaluate.targets import DIRECTIONS, Target, TargetFile
from popsim.survey import Vignette
from popsim.survey.questions import option_labels

_FLOOR_DRAWS = 100
_POINTS = 401

Weighted = tuple[Values, Values]
Measure = Callable[[Weighted, Weighted], dict[str, float]]


def with_rows(file: TargetFile, sample: Sample) -> TargetFile:
    """Add to a file the figures of its table of rows: means, trimmed SDs and shares by arm, with their errors.

    Args:
        file: The targets.
        sample: What they will be held against; its vignette says what answers there can be.

    Raises:
        TargetError: The table cannot be read as described, or the sample has no such vignette.
    """
    rows = file.rows
    if rows is None:
        return file
    vignette = _vignette(rows, sample)
    added = []
    for (outcome, arm), cell in human_cells(rows, vignette).items():
        named = _figures(cell, _options(vignette, outcome), outcome in vignette.changes)
        found = estimate([figure for _, _, figure in named], np.zeros(cell.people, dtype=np.int64))
        for (statistic, of, _), value, se in zip(named, found.value, found.se, strict=True):
            if se > 0:
                common = _common(rows, outcome, arm, cell.people, outcome in vignette.changes)
                shown = {"statistic": statistic, "of": of, "value": float(value), "se": float(se)}
                added.append(Target.model_validate({**common, **shown}))
    return file.model_copy(update={"targets": (*file.targets, *added)})


def row_distances(sample: Sample, file: TargetFile) -> list[tuple[object, ...]]:
    """Take the distances between human and simulated answers of each outcome and arm, with reference lines.

    Args:
        sample: Simulated answers.
        file: Targets with a table of rows; without one there is nothing to take.

    Returns:
        Rows of label, file, vignette, outcome, group, arm, distance, simulated and the reference lines.
    """
    rows = file.rows
    if rows is None:
        return []
    vignette = _vignette(rows, sample)
    cells = human_cells(rows, vignette)
    found: list[tuple[object, ...]] = []
    for (outcome, arm), human in cells.items():
        change = outcome in vignette.changes
        target = Target.model_validate(
            {**_common(rows, outcome, arm, max(human.people, 2), change), "statistic": "mean", "value": 0.0, "se": 1.0}
        )
        options = _options(vignette, outcome)
        if options:
            target = target.model_copy(update={"statistic": "share", "of": options[0]})
        if missing(sample, target):
            continue
        simulated = _simulated(sample, target, arm, options)
        measure = _measure(rows, outcome, len(options))
        together = [(cell.values, cell.weight) for (name, _), cell in cells.items() if name == outcome]
        lines = _lines(vignette, outcome, together)
        ours = (human.values, human.weight)
        found_lines = {name: measure(ours, line) for name, line in lines.items()}
        found_lines["floor"] = _floor(human, len(simulated[0]), measure)
        for name, distance in measure(ours, simulated).items():
            beside = (found_lines.get(line, {}).get(name, np.nan) for line in LINES)
            found.append((sample.label, file.name, vignette.name, outcome, rows.group, arm, name, distance, *beside))
    return found


def _vignette(rows: HumanRows, sample: Sample) -> Vignette:
    known = [name for group, name in sample.vignettes if group == rows.group]
    if rows.vignette not in known:
        raise TargetError(
            f"rows.vignette ({rows.file}): the runs have no vignette {rows.vignette!r} of group {rows.group!r}; there: "
            f"{', '.join(known) or 'none'}"
        )
    return sample.vignettes[rows.group, rows.vignette]


def _options(vignette: Vignette, outcome: str) -> tuple[str, ...]:
    asked = {question.name: question for question in vignette.questions}
    return option_labels(asked[outcome]) if outcome in asked and outcome not in vignette.changes else ()


def _common(rows: HumanRows, outcome: str, arm: str, n: int, change: bool) -> dict[str, object]:
    """Give what all figures of one cell of the table share."""
    return {
        "vignette": rows.vignette,
        "outcome": outcome,
        "group": rows.group,
        "pooling": arm,
        "n": n,
        "wave": rows.wave,
        "form": "levels" if change else "direct",
        "population": rows.population,
        "weighted": bool(rows.weight),
        "family": "rows",
        "published": rows.published,
        "source": rows.source,
        "obtained": "computed",
    }


def _figures(cell: Cell, options: Sequence[str], change: bool) -> list[tuple[str, str, Figure]]:
    """List the figures of one cell by statistic and direction or option."""

    def marked(marks: Values) -> Figure:
        return Figure(((1.0, cell._replace(values=marks)),))

    if options:
        return [
            ("share", option, marked((cell.values == place).astype(np.float64))) for place, option in enumerate(options)
        ]
    shares = [("share", of, marked(direction(cell.values, of))) for of in DIRECTIONS] if change else []
    return [("mean", "", marked(cell.values)), ("trimmed_sd", "", Figure(((1.0, cell),), 0.05)), *shares]


def _simulated(sample: Sample, target: Target, arm: str, options: Sequence[str]) -> Weighted:
    """Give the simulated answers of an arm, of a choice as the options' places."""
    if not options:
        cell = arm_cell(sample, target, arm)
        return cell.values, cell.weight
    marks = [arm_cell(sample, target.model_copy(update={"of": option}), arm) for option in options]
    places = np.sum([place * cell.values for place, cell in enumerate(marks)], axis=0)
    return np.asarray(places, dtype=np.float64), marks[0].weight


def _measure(rows: HumanRows, outcome: str, options: int) -> Measure:
    """Choose the distances of an outcome: by category for options, else of samples, and of bins where declared."""
    where = rows.outcomes[outcome]

    def by_option(human: Weighted, other: Weighted) -> dict[str, float]:
        ends = [place - 0.5 for place in range(options + 1)]
        p, q = (histogram(values, ends, weights) for values, weights in (human, other))
        return category_distances(p, q, ordered=False)

    def of_samples(human: Weighted, other: Weighted) -> dict[str, float]:
        (x, w), (y, v) = human, other
        found = {"Wasserstein-1": wasserstein(x, y, w, v), "KS": ks(x, y, w, v), "energy": energy(x, y, w, v)}
        if len(where.bins) < 2:
            return found
        p, q = (histogram(values, where.bins, weights, where.smoothing) for values, weights in (human, other))
        return found | {f"{name}, bins": gap for name, gap in category_distances(p, q, ordered=True).items()}

    return by_option if options else of_samples


def _lines(vignette: Vignette, outcome: str, together: Sequence[Weighted]) -> dict[str, Weighted]:
    """Draw the reference lines of an outcome: uniform answers, no change, and humans of all arms together."""
    changes, options = vignette.changes, _options(vignette, outcome)
    lines: dict[str, Weighted] = {}
    if len(together) > 1:
        values, weights = zip(*together, strict=True)
        lines["pooled_margin"] = np.concatenate(values), np.concatenate(weights)
    if options:
        places = np.arange(len(options), dtype=np.float64)
        return {**lines, "uniform": (places, np.ones(len(places)))}
    asked = {question.name: question for question in vignette.questions}
    question = asked[changes[outcome].shock if outcome in changes else outcome]
    low, high = float(question.minimum), float(question.maximum)  # type: ignore[union-attr]
    if outcome not in changes:
        points = np.linspace(low, high, _POINTS)
        return {**lines, "uniform": (points, np.ones(_POINTS))}
    points = np.linspace(low - high, high - low, _POINTS)
    # Two answers given anywhere on the scale differ like this.
    likely = 1 - np.abs(points) / (high - low) * (1 - 1e-9)
    return {**lines, "uniform": (points, likely), "no_change": (np.zeros(1), np.ones(1))}


def _floor(human: Cell, answers: int, measure: Measure) -> dict[str, float]:
    """Give the mean distance between two resamples of the humans, one of their size and one of the simulated size."""
    random = streams.rng(0, "floor")

    def again(size: int) -> Weighted:
        persons = max(1, round(size * human.people / len(human.values)))
        counts = np.bincount(random.integers(0, human.people, persons), minlength=human.people)
        weights = counts[human.unit] * human.weight
        kept = weights > 0
        return human.values[kept], weights[kept]

    drawn = [measure(again(len(human.values)), again(answers)) for _ in range(_FLOOR_DRAWS)]
    return {name: float(np.mean([one[name] for one in drawn])) for name in drawn[0]}
