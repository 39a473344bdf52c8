"""Raking and drawing on small random problems, against references and invariants."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from popsim.errors import PopulationError
from popsim.population import Control, margin, rake
from popsim.population.draw import draw_cells, draw_given, serpentine, systematic

TOLERANCE = 1e-8


@st.composite
def problems(draw):
    """A small table, some of whose cells are structural zeros, and margins taken from another table like it."""
    shape = tuple(draw(st.lists(st.integers(2, 4), min_size=2, max_size=4)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    alive = random.random(shape) > draw(st.sampled_from([0.0, 0.1, 0.3]))
    assume(alive.any())
    truth = random.gamma(0.7, size=shape) * alive * 1000
    start = random.gamma(2.0, size=shape) * alive
    axes = st.permutations(range(len(shape))).flatmap(lambda p: st.integers(1, 2).map(lambda k: tuple(p[:k])))
    chosen = draw(st.lists(axes, min_size=1, max_size=4))
    assume(truth.sum() > 0)
    return start, truth, chosen


def collapse(table, axes):
    """Sum a table over all other axes, by the book."""
    letters = "abcdefg"[: table.ndim]
    return np.einsum(f"{letters}->{''.join(letters[axis] for axis in axes)}", table)


def controls_of(truth, chosen):
    return [margin(f"{i}:{axes}", truth.shape, axes, collapse(truth, axes)) for i, axes in enumerate(chosen)]


@settings(max_examples=150, deadline=None)
@given(problems())
def test_a_converged_fit_meets_every_margin_and_keeps_every_zero(problem):
    start, truth, chosen = problem
    fit = rake(start, controls_of(truth, chosen), TOLERANCE, max_iterations=20000)
    worst = max(np.abs(collapse(fit.weights, axes) - collapse(truth, axes)).max() for axes in chosen) / truth.sum()
    assert fit.worst_error == pytest.approx(worst, abs=1e-12)
    assert fit.converged == (worst <= TOLERANCE)
    assert ((fit.weights > 0) <= (start > 0)).all()
    assert fit.weights.sum() == pytest.approx(truth.sum(), rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(problems(), st.randoms())
def test_axis_order_and_memory_order_do_not_matter(problem, random):
    start, truth, chosen = problem
    fit = rake(start, controls_of(truth, chosen), TOLERANCE, max_iterations=300)
    axes = list(range(start.ndim))
    random.shuffle(axes)
    moved = [tuple(axes.index(axis) for axis in reversed(one)) for one in chosen]
    turned = np.asfortranarray(start.transpose(axes))
    controls = [
        margin(f"{i}:{one}", turned.shape, there, np.asfortranarray(collapse(truth, one[::-1])))
        for i, (one, there) in enumerate(zip(chosen, moved, strict=True))
    ]
    again = rake(turned, controls, TOLERANCE, max_iterations=300)
    np.testing.assert_allclose(again.weights.transpose(np.argsort(axes)), fit.weights, rtol=1e-6, atol=1e-9)


def test_the_fit_is_the_one_with_the_least_divergence_from_the_start():
    random = np.random.default_rng(4)
    start, truth = random.gamma(1.0, size=(3, 4)), random.gamma(1.0, size=(3, 4))
    fit = rake(start, controls_of(truth, [(0,), (1,)]), 1e-12)

    def dual(multipliers):
        rows, columns = multipliers[:3, None], multipliers[None, 3:]
        value = (start * np.exp(rows + columns)).sum() - (truth * (rows + columns)).sum()
        gap = start * np.exp(rows + columns) - truth
        return value, np.concatenate([gap.sum(axis=1), gap.sum(axis=0)])

    best = minimize(dual, np.zeros(7), jac=True, method="BFGS", options={"gtol": 1e-10})
    expected = start * np.exp(best.x[:3, None] + best.x[None, 3:])
    np.testing.assert_allclose(fit.weights, expected, rtol=1e-5)


def test_a_fit_that_cannot_converge_says_so_and_names_the_control():
    start = [[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
    rows, columns = margin("rows", (3, 3), (0,), [1, 1, 4]), margin("columns", (3, 3), (1,), [4, 1, 1])
    fit = rake(start, [rows, columns], max_iterations=50)
    assert not fit.converged
    assert fit.iterations == 50
    assert fit.worst_control in ("rows", "columns")
    assert fit.worst_cell.startswith(fit.worst_control)
    assert fit.worst_error > 1e-3


def test_margins_that_differ_by_one_person_in_ten_million_still_fit():
    one = margin("one", (2, 2), (0,), [4_000_000, 6_000_000])
    two = margin("two", (2, 2), (1,), [5_000_001, 5_000_000])
    fit = rake(np.ones((2, 2)), [one, two], tolerance=1e-6)
    assert fit.converged


@pytest.mark.parametrize(
    ("start", "targets", "words"),
    [
        pytest.param([[1, 1], [1, 1]], {(0,): [4, 6], (1,): [5, 6]}, ["totals disagree", "10", "11"], id="totals"),
        pytest.param(
            np.ones((2, 2, 2)),
            {(0, 1): [[1, 2], [3, 4]], (0, 2): [[2, 2], [3, 3]]},
            ["(0, 1) and (0, 2) contradict", "a gap of 1"],
            id="shared-sub-margin",
        ),
        pytest.param([[0, 0], [1, 1]], {(0,): [4, 6]}, ["(0,), cell 0: must sum to 4"], id="zero-under-a-target"),
        pytest.param([[1, 1], [1, 1]], {(0,): [-4, 14]}, ["(0,): targets must be", "negative"], id="negative"),
        pytest.param([[1, -1], [1, 1]], {(0,): [4, 6]}, ["weights must be"], id="negative-weight"),
    ],
)
def test_impossible_targets_are_named_before_the_fit(start, targets, words):
    shape = np.shape(start)
    with pytest.raises(PopulationError) as problem:
        rake(start, [margin(str(axes), shape, axes, target) for axes, target in targets.items()])
    for word in words:
        assert word in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_control_need_not_cover_everybody():
    index = np.array([0, 1, -1, -1])
    fit = rake(
        np.ones(4), [Control("all", np.zeros(4, int), np.array([10.0])), Control("some", index, np.array([1.0, 3]))]
    )
    np.testing.assert_allclose(fit.weights, [1, 3, 3, 3])


@settings(deadline=None)
@given(st.lists(st.integers(2, 5), min_size=1, max_size=4))
def test_neighbours_on_the_serpentine_line_differ_in_one_category(sizes):
    codes = np.indices(sizes).reshape(len(sizes), -1)
    line = codes[:, np.argsort(serpentine(list(codes), sizes))]
    assert (np.abs(np.diff(line, axis=1)).sum(axis=0) == 1).all()


@settings(deadline=None)
@given(st.lists(st.floats(0, 50), min_size=1, max_size=60), st.integers(1, 3000), st.integers(0, 2**32))
def test_systematic_draw_is_within_one_of_expected_on_every_stretch(weights, size, seed):
    weights = np.array(weights)
    assume(weights.sum() > 1e-3)
    people = draw_cells(weights, size, np.random.default_rng(seed))
    assert len(people) == size
    counts = np.bincount(people, minlength=len(weights))
    expected = weights * size / weights.sum()
    assert (np.abs(np.cumsum(counts) - np.cumsum(expected)) < 1 + 1e-6).all()
    assert (np.abs(counts - expected) < 1 + 1e-6).all()
    assert (counts[weights == 0] == 0).all()


@pytest.mark.parametrize("start", [0.0, 0.3, 0.999999])
def test_systematic_counts_are_exact_in_number_at_any_start(start):
    assert systematic(np.full(7, 10 / 7), start).sum() == 10


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 2000), st.integers(0, 2**32))
def test_conditional_draw_rounds_well_per_cell_and_in_total(rows, outcomes, size, seed):
    random = np.random.default_rng(seed)
    chances = random.gamma(0.6, size=(rows, outcomes)) * (random.random((rows, outcomes)) > 0.3)
    chances[np.arange(rows), random.integers(outcomes, size=rows)] += 0.1
    chances /= chances.sum(axis=1, keepdims=True)
    parent = random.integers(rows, size=size)
    drawn = draw_given(chances, parent, random)
    counts = np.bincount(parent * outcomes + drawn, minlength=rows * outcomes).reshape(rows, outcomes)
    expected = np.bincount(parent, minlength=rows)[:, None] * chances
    assert (counts[chances == 0] == 0).all()
    assert (np.abs(counts - expected) < 3).all()
    assert abs(counts[:, 0].sum() - expected[:, 0].sum()) < 1 + 1e-6


def test_conditional_draw_follows_the_chances_without_bias():
    chances = np.random.default_rng(2).dirichlet(np.ones(4), size=3)
    parent = np.repeat(np.arange(3), [1, 2, 4])
    drawn = np.array([draw_given(chances, parent, np.random.default_rng(seed)) for seed in range(4000)])
    shares = np.array([(drawn == outcome).mean(axis=0) for outcome in range(4)]).T
    assert np.abs(shares - chances[parent]).max() < 5 * np.sqrt(0.25 / 4000)
