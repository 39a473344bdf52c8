"""Draws that are balanced on their margins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popsim.population import load_population, margin_report, sample_people
from popsim.population.balance import Aim, balance
from popsim.population.draw import draw_given, systematic


def tables(seed, parents, outcomes):
    """Chances with zeros, people in their parents, and two margins that cross the parents."""
    random = np.random.default_rng(seed)
    chances = random.gamma(0.6, size=(parents, outcomes)) * (random.random((parents, outcomes)) > 0.3)
    chances[np.arange(parents), random.integers(outcomes, size=parents)] += 0.1
    chances /= chances.sum(axis=1, keepdims=True)
    parent = np.repeat(np.arange(parents), random.integers(1, 50, parents))
    expected = np.bincount(parent)[:, None] * chances
    row, outcome = np.divmod(np.arange(chances.size), outcomes)
    keys = [row % group * outcomes + outcome for group in (2, 3)]
    aims = [Aim(key, np.ones(len(key)), np.bincount(key, expected.ravel()) / len(parent)) for key in keys]
    return chances, parent, expected, aims


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(2, 6))
def test_balancing_keeps_every_parent_and_every_cell_within_one(seed, parents, outcomes):
    chances, parent, expected, aims = tables(seed, parents, outcomes)
    drawn = draw_given(chances, parent, np.random.default_rng(seed))
    counts = np.bincount(parent * outcomes + drawn, minlength=chances.size).reshape(chances.shape)
    better = balance(counts, expected, aims, np.random.default_rng(seed))
    np.testing.assert_array_equal(better.sum(axis=1), counts.sum(axis=1))
    assert (better[chances == 0] == 0).all()
    moved = better != counts
    assert (np.abs(better - expected)[moved] < 1).all()


@pytest.mark.parametrize(("parents", "outcomes", "each"), [(1, 1001, 4), (300, 20, 4), (1500, 4, 0.5)])
def test_trading_leaves_the_expected_people_of_cells_as_they_are(parents, outcomes, each):
    """The product of two independent means of what a cell got too much is on average its bias, squared.

    Measured are 0.02 to 0.03 people a cell, and up to 0.06 where a margin is smaller; 0.1 is allowed, and the errors of
    the figures here are 0.02 at most. A bias of 0.3 in one cell of nine comes to 0.1.
    """
    random = np.random.default_rng(0)
    expected = random.gamma(0.8, size=(parents, outcomes)) * each / 0.8
    people = np.rint(expected.sum(axis=1)).clip(1)
    expected *= (people / expected.sum(axis=1))[:, None]
    row, outcome = np.divmod(np.arange(expected.size), outcomes)
    keys = [outcome % 13, outcome // 13 % 11, outcome // 143]
    if parents > 1:
        keys = [row % groups * outcomes + outcome for groups in (5, 7)]
    aims = [Aim(key, np.ones(len(key)), np.bincount(key, expected.ravel()) / people.sum()) for key in keys]
    surplus = np.zeros((2, *expected.shape))
    for draw in range(24):
        rounded = np.array([systematic(line, random.random()) for line in expected])
        surplus[draw % 2] += (balance(rounded, expected, aims, random) - expected) / 12
    assert np.mean(surplus[0] * surplus[1]) < 0.1**2


@pytest.mark.slow
def test_a_million_people_meet_each_margin_to_one_in_ten_thousand():
    spec = load_population("us_adults_2018")
    people = sample_people(spec, 1_000_000, seed=1)
    assert len(people) == 1_000_000
    error = margin_report(spec, people).groupby("margin")["error"].apply(lambda gap: gap.abs().sum())
    assert error.max() < 1e-4


def test_balanced_people_are_the_same_for_the_same_seed(monkeypatch):
    monkeypatch.setattr("popsim.population.people.BALANCED_FROM", 1)
    spec = load_population("us_adults_2018")
    assert sample_people(spec, 3000, seed=4).equals(sample_people(spec, 3000, seed=4))
