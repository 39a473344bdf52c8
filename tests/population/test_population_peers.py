"""Cases in which other tools return a wrong table, never stop, or stop at weights."""

import numpy as np
import pytest

from popsim.errors import PopulationError
from popsim.population import PopulationSpec, margin, margin_report, rake, sample_people
from popsim.population.draw import draw_cells_at_random, draw_given, draw_given_at_random

SHAPE = (3, 4, 2, 5)


@pytest.fixture
def truth():
    return np.random.default_rng(5).gamma(0.8, size=SHAPE) * 1000


def collapse(table, axes):
    letters = "abcd"
    return np.einsum(f"{letters}->{''.join(letters[axis] for axis in axes)}", table)


def worst(fit, truth, chosen):
    return max(np.abs(collapse(fit.weights, axes) - collapse(truth, axes)).max() for axes in chosen) / truth.sum()


def test_targets_on_unsorted_axes_are_met(truth):
    chosen = [(3, 1), (2, 0), (1, 0), (3, 2, 0)]
    fit = rake(np.ones(SHAPE), [margin(str(axes), SHAPE, axes, collapse(truth, axes)) for axes in chosen])
    assert fit.converged
    assert worst(fit, truth, chosen) <= 1e-9
    assert fit.weights.sum() == pytest.approx(truth.sum())


def test_three_two_way_margins_that_overlap_are_met_together(truth):
    chosen = [(0, 1), (1, 2), (0, 2)]
    fit = rake(np.ones(SHAPE), [margin(str(axes), SHAPE, axes, collapse(truth, axes)) for axes in chosen])
    assert fit.converged
    assert worst(fit, truth, chosen) <= 1e-9
    assert set(fit.errors) == {str(axes) for axes in chosen}


def test_fortran_order_views_and_integers_give_the_same_table(truth):
    seed = np.random.default_rng(6).integers(1, 9, size=SHAPE)
    chosen = [(1, 3), (0, 2), (3, 0)]
    plain = rake(seed, [margin(str(axes), SHAPE, axes, collapse(truth, axes)) for axes in chosen])
    turned = [margin(str(axes), SHAPE, axes, np.asfortranarray(collapse(truth, axes[::-1])).T) for axes in chosen]
    for again in (np.asfortranarray(seed), seed.astype(float)[::-1][::-1], np.moveaxis(np.moveaxis(seed, 0, 3), 3, 0)):
        np.testing.assert_allclose(rake(again, turned).weights, plain.weights, rtol=1e-9)


def test_margins_off_by_one_person_are_named_and_can_be_rescaled():
    one, two = margin("sex", (2, 3), (0,), [500, 501]), margin("age", (2, 3), (1,), [300, 300, 400])
    with pytest.raises(PopulationError, match=r"totals disagree: sex sums to 1001, age to 1000 \(a gap of 1\)"):
        rake(np.ones((2, 3)), [one, two])
    fit = rake(np.ones((2, 3)), [one, two], rescale=True)
    assert fit.converged
    assert fit.iterations < 10
    assert fit.rescaled == {"age": pytest.approx(1.001)}
    np.testing.assert_allclose(fit.weights.sum(axis=1), [500, 501])
    np.testing.assert_allclose(fit.weights.sum(axis=0), np.array([300, 300, 400]) * 1.001)


def test_a_gap_of_rounding_between_overlapping_margins_ends_the_fit_and_is_told():
    """Two margins state the size of age 1 with a gap of one in ten million: neither is right, and no fit meets both."""
    table = np.random.default_rng(1).gamma(1.0, size=(2, 2, 2)) * 10_000_000
    table *= 10_000_000 / table.sum()
    one, two = table.sum(axis=2), table.sum(axis=0)
    two[0] *= 1 + 1 / two[0].sum()
    two[1] *= 1 - 1 / two[1].sum()
    fit = rake(
        np.ones((2, 2, 2)), [margin("sex x age", (2, 2, 2), (0, 1), one), margin("age x home", (2, 2, 2), (1, 2), two)]
    )
    assert fit.converged
    assert fit.tolerance == pytest.approx(2e-7, rel=0.01)
    assert 0 < fit.worst_error <= fit.tolerance
    assert fit.iterations < 100


def test_a_zero_slice_of_the_seed_under_a_positive_target_is_found_before_the_fit():
    seed = np.ones((2, 3))
    seed[:, 2] = 0
    controls = [margin("sex", (2, 3), (0,), [5, 5]), margin("age", (2, 3), (1,), [4, 4, 2])]
    with pytest.raises(PopulationError, match="age, cell 2: must sum to 2, but every weight in it is zero"):
        rake(seed, controls)


def test_effective_size_and_divergence_say_how_far_a_fit_went():
    start = np.ones(4)
    groups = np.array([0, 0, 1, 1])
    fit = rake(start, [margin("half", (4,), (0,), [3, 3, 1, 1])])
    assert fit.effective_n == pytest.approx(8**2 / 20)
    p = np.array([3, 3, 1, 1]) / 8
    assert fit.divergence == pytest.approx((p * np.log(p / 0.25)).sum())
    same = rake(start, [margin("half", (4,), (0,), [2, 2, 2, 2])])
    assert (same.effective_n, same.divergence) == (pytest.approx(4), pytest.approx(0))
    assert groups.sum() == 2


def test_multinomial_draws_scatter_as_independent_people_and_systematic_ones_hardly():
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    counts = np.array(
        [np.bincount(draw_cells_at_random(weights, 100, np.random.default_rng(s)), minlength=4) for s in range(800)]
    )
    p = weights / 10
    np.testing.assert_allclose(counts.mean(axis=0), 100 * p, atol=4 * np.sqrt(25 / 800))
    np.testing.assert_allclose(counts.var(axis=0), 100 * p * (1 - p), rtol=0.25)
    chances, parent = np.array([[0.2, 0.0, 0.8], [0.5, 0.5, 0.0]]), np.repeat([0, 1], 50)
    ones = np.array(
        [
            [(draw(chances, parent, np.random.default_rng(s)) == 0).sum() for s in range(400)]
            for draw in (draw_given_at_random, draw_given)
        ]
    )
    np.testing.assert_allclose(ones.mean(axis=1), 35, atol=1)
    assert ones[0].var() == pytest.approx(50 * 0.16 + 50 * 0.25, rel=0.3)
    assert ones[1].var() < 1
    drawn = draw_given_at_random(chances, parent, np.random.default_rng(1))
    assert not ((parent == 0) & (drawn == 1)).any()
    assert not ((parent == 1) & (drawn == 2)).any()


def test_a_population_may_be_drawn_multinomially():
    def spec(draw):
        levels = [f"l{i}" for i in range(40)]
        margins = [
            {
                "name": "a",
                "of": ["a"],
                "table": [levels, list(range(1, 41))],
                "unit": "people",
                "year": 1,
                "status": "assumption",
            }
        ]
        return PopulationSpec.model_validate(
            {
                "name": "s",
                "title": "S",
                "attributes": {"a": levels},
                "steps": [{"adds": ["a"], "margins": margins}],
                "draw": draw,
            }
        )

    gaps = {}
    for draw in ("systematic", "multinomial"):
        people = sample_people(spec(draw), 1000, seed=3)
        assert len(people) == 1000
        gaps[draw] = margin_report(spec(draw), people)["error"].abs().sum()
    assert gaps["systematic"] < 0.02 < gaps["multinomial"]


def test_attributes_with_more_than_127_levels_keep_their_levels():
    levels = [f"l{i}" for i in range(300)]
    step = {
        "adds": ["a"],
        "margins": [
            {
                "name": "a",
                "of": ["a"],
                "table": [levels, [1] * 300],
                "unit": "people",
                "year": 1,
                "status": "assumption",
            }
        ],
    }
    spec = PopulationSpec.model_validate({"name": "s", "title": "S", "attributes": {"a": levels}, "steps": [step]})
    assert sample_people(spec, 300)["a"].value_counts().eq(1).all()
