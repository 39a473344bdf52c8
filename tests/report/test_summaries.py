import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from popsim.report.parts import number, tabulate
from popsim.report.summaries import MOST_BINS, bin_width, histogram, mean_interval, means, share_interval, spread
from popsim.report.surface import along, cells, compare, contrasts, is_scattered, planes, surface

PATHS = ["reach", "weight", "who"]
FINITE = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def test_intervals_agree_with_scipy_and_statsmodels():
    x = np.random.default_rng(1).normal(size=37)
    found, expected = mean_interval(x), stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    share = share_interval(7, 40)
    assert (share["low"], share["high"]) == pytest.approx(proportion_confint(7, 40, method="wilson"))


def test_ten_draws_of_a_person_count_as_one_person():
    one = pd.DataFrame({"replicate": 0, "person": [0, 1, 2], "question": "q", "arm": "a", "wave": 0, "status": "ok"})
    one = one.assign(weight=[1.0, 1.0, 4.0])
    once = one.assign(value=[1.0, 2.0, 6.0])
    often = pd.concat([once.assign(value=once["value"] + step) for step in np.linspace(-1, 1, 10)])
    pd.testing.assert_frame_equal(means(once, ["q"]), means(often, ["q"]))
    assert means(once, ["q"])["mean"].item() == pytest.approx(27 / 6)


@given(FINITE, st.sampled_from([0.0, 0.5, 1.0]))
def test_every_value_lies_in_one_of_few_bins_and_shares_sum_to_one(values, least):
    frame = pd.DataFrame({"arm": "a", "value": values, "weight": 1.0})
    found, width = histogram(frame, "arm", least), bin_width(np.array(values), least)
    assert width >= least
    assert found["share"].sum() == pytest.approx(1)
    assert (max(values) - min(values)) / width <= MOST_BINS * (1 + 1e-6)
    slack = 1e-6 * width + 1e-9 * max(map(abs, values))
    assert all(
        any(low - slack <= v <= high + slack for low, high in zip(found["low"], found["high"], strict=True))
        for v in values
    )


def test_round_numbers_lie_in_the_middle_of_their_bins():
    found = histogram(pd.DataFrame({"arm": "a", "value": [0.0, 4.0, 10.0], "weight": 1.0}), "arm")
    assert ((found["low"] + found["high"]) / 2).tolist() == pytest.approx([0, 4, 10])


def test_spread_counts_direct_and_passed_on_by_step():
    heard = pd.DataFrame(
        {"item": "n", "person": [0, 1, 2], "step": [0, 1, 3], "told_by": pd.array([None, 0, 1], "Int64")}
    )
    found = spread(heard, ["n"], 10, 3)
    assert found["share"].tolist() == [0.1, 0.2, 0.2, 0.3]
    assert found["direct"].tolist() == [0.1] * 4


def test_contrasts_are_taken_within_replicates_and_interactions_are_differences_of_differences():
    rows = [
        {"a": a, "b": b, "arm": "x", "question": "q", "replicate": r, "wave": 0, "status": "ok", "person": 0,
         "weight": 1.0, "value": 10 * r + 2 * a + 3 * b + 4 * a * b}
        for a in (0, 1) for b in (0, 1) for r in (0, 1, 2)
    ]  # fmt: skip
    means_of_cells = cells(pd.DataFrame(rows), ["a", "b"])
    found = contrasts(means_of_cells, ["a", "b"]).set_index("contrast")
    assert found["mean"].tolist() == pytest.approx([2 + 4 / 2, 3 + 4 / 2, 4])
    assert found["sd"].tolist() == pytest.approx([0, 0, 0])  # the replicates differ by 10, their contrasts do not
    flat = surface(means_of_cells, ["a"])
    assert flat["mean"].tolist() == pytest.approx([11.5, 15.5])
    assert flat["n"].tolist() == [3, 3]


def scattered(noise=0.0, points=12, replicates=3):
    """Means at points of a Latin hypercube: 2 for all of reach, -3 a unit of weight, 1 for b rather than a."""
    random = np.random.default_rng(4)
    spread = stats.qmc.LatinHypercube(2, rng=random).random(points)
    at = pd.DataFrame({"reach": spread[:, 0], "weight": 5 * spread[:, 1], "who": np.tile(["a", "b"], points // 2)})
    truth = 2 * at["reach"] - 3 * at["weight"] + at["who"].eq("b")
    parts = [
        at.assign(arm="x", question="q", replicate=r, mean=10 * r + truth + noise * random.normal(size=points))
        for r in range(replicates)
    ]
    return at, pd.concat(parts, ignore_index=True)


def test_slopes_of_scattered_points_are_found_again_whatever_lies_between_replicates():
    at, frame = scattered()
    found = compare(frame, PATHS)
    ranges = [np.ptp(at["reach"]), np.ptp(at["weight"])]
    assert found["mean"].tolist() == pytest.approx([2 * ranges[0], -3 * ranges[1], 1])
    assert found["sd"].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    assert found["R²"].tolist() == pytest.approx([1, 1, 1])
    assert found["contrast"][2] == "who: b less a"
    [plane] = planes(frame, PATHS)
    line = along(plane, "weight")
    assert np.diff(line["mean"]) / np.diff(line["x"]) == pytest.approx(-3)  # the other paths are taken out
    assert line["mean"].to_numpy() == pytest.approx(line["line"].to_numpy())
    assert line["mean"].mean() == pytest.approx(frame["mean"].mean())


def test_slopes_and_what_they_explain_agree_with_statsmodels():
    at, frame = scattered(noise=1.0)
    found = compare(frame, PATHS)
    fits = [smf.ols("mean ~ reach + weight + who", part).fit() for _, part in frame.groupby("replicate")]
    each = np.array([[fit.params["reach"] * np.ptp(at["reach"]), fit.params["who[T.b]"]] for fit in fits])
    assert found["mean"].to_numpy()[[0, 2]] == pytest.approx(each.mean(axis=0))
    assert found["low"][0] == pytest.approx(stats.ttest_1samp(each[:, 0], 0).confidence_interval(0.95).low)
    assert found["R²"][0] == pytest.approx(np.mean([fit.rsquared for fit in fits]))


@pytest.mark.filterwarnings("error")
def test_an_outcome_that_nothing_moves_has_slopes_of_nothing():
    _, frame = scattered()
    found = compare(frame.assign(mean=1.0), PATHS)
    assert found["mean"].tolist() == pytest.approx([0, 0, 0], abs=1e-12)


def test_a_point_without_one_replicate_is_left_out_and_few_points_are_compared_with_the_first():
    _, frame = scattered()
    [plane] = planes(frame.drop(index=[5]), PATHS)
    assert plane.means.shape == (3, 11)
    few = frame[frame["reach"].isin(frame["reach"][:5])]
    assert not is_scattered(few, PATHS)
    assert compare(few, PATHS)["contrast"].str.endswith("less the first point").all()
    ablation = pd.DataFrame({"a": [True, False, True, True, True], "b": [True, True, False, True, True]})
    assert not is_scattered(ablation, ["a", "b"])


def test_numbers_are_aligned_by_column_and_missing_ones_are_empty():
    table = tabulate(pd.DataFrame({"x": [0.5, -1.25, np.nan], "low": [1.0, 2.0, np.nan], "high": [2.5, 3.0, np.nan]}))
    assert [row.cells for row in table.rows] == [["0.50", "1.0 to 2.5"], ["−1.25", "2.0 to 3.0"], ["", ""]]
    assert number(-0.0001) == "0"
