"""Intervals hold the truth as often as they say: simulated studies whose true figures are known."""

import numpy as np
import pytest

from popsim.evaluate.resampling import Figure, cell_of, estimate
from popsim.evaluate.statistics import trimmed_sd

STUDIES, PERSONS, DRAWS = 1000, 400, 250
SHARE_OF_FIRST, SAMPLED_OF_FIRST = 0.5, 0.75


def answers(rng, first, person, arm):
    """Heaped, skewed and heavy-tailed changes that depend on a person's kind, on the person and on the arm."""
    noise = rng.standard_t(5, len(first)) * np.where(first, 0.7, 0.3)
    return np.round(2 * (np.where(first, 0.2, -0.1) + 0.3 * arm + person + noise), 0) / 2


def study(rng, n, weighted, clustered):
    """Cells of two arms: other persons in each, or the same ones twice in both."""
    first = rng.random(n) < (SAMPLED_OF_FIRST if weighted else SHARE_OF_FIRST)
    person = 0.5 * rng.standard_normal(n)
    weight = np.where(first, SHARE_OF_FIRST / SAMPLED_OF_FIRST, (1 - SHARE_OF_FIRST) / (1 - SAMPLED_OF_FIRST))
    weight = weight if weighted else np.ones(n)
    half = n // 2
    who = [np.repeat(np.arange(n), 2)] * 2 if clustered else [np.arange(half), np.arange(half, n)]
    values = [answers(rng, first[unit], person[unit], arm) for arm, unit in enumerate(who)]
    cells = [cell_of(x, unit, weight[unit], len(set(unit))) for x, unit in zip(values, who, strict=True)]
    stratum = np.zeros(n, dtype=np.int64) if clustered else np.repeat([0, 1], half)
    return cells, stratum


def figures(cells):
    low, high = cells
    marked = low._replace(values=(low.values > 0).astype(float))
    return [
        Figure(((1.0, low),)),
        Figure(((1.0, low),), 0.05),
        Figure(((1.0, marked),)),
        Figure(((1.0, high), (-1.0, low))),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("clustered", [False, True], ids=["persons", "clustered"])
def test_intervals_cover_the_truth_in_95_of_100_studies(weighted, clustered):
    rng = np.random.default_rng([7, weighted, clustered])
    (low, high), _ = study(rng, 2_000_000, False, False)
    truth = [low.values.mean(), float(trimmed_sd(low.values)), (low.values > 0).mean(), 0.0]
    truth[3] = high.values.mean() - low.values.mean()
    held = np.zeros(4)
    for number in range(STUDIES):
        cells, stratum = study(rng, PERSONS, weighted, clustered)
        ends = estimate(figures(cells), stratum, DRAWS, seed=number).interval(0.95)
        held += (ends[0] <= truth) & (truth <= ends[1])
    assert ((held / STUDIES >= 0.93) & (held / STUDIES <= 0.97)).all(), held / STUDIES
