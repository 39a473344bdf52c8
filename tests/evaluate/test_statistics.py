import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from popsim.evaluate import direction_shares, joint_direction_shares, trimmed, trimmed_sd
from popsim.evaluate.statistics import bootstrap_se

values = arrays(float, st.integers(20, 200), elements=st.integers(-40, 40).map(lambda k: k / 4))


@given(values, st.sampled_from([0.0, 0.05, 0.1, 0.25]))
def test_trimming_agrees_with_scipy_also_on_heaped_answers(answers, share):
    assert np.array_equal(trimmed(answers, share), np.sort(stats.trimboth(np.sort(answers), share)))


@given(values, st.integers(-5, 5), st.sampled_from([-2.0, 0.5, 3.0]))
def test_a_trimmed_sd_is_scaled_and_not_shifted(answers, shift, factor):
    assert trimmed_sd(factor * answers + shift) == pytest.approx(abs(factor) * trimmed_sd(answers), abs=1e-9)


@given(values)
def test_shares_of_directions_sum_to_one_and_mirror(answers):
    shares, mirrored = direction_shares(answers), direction_shares(-answers)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["fall"] == mirrored["rise"]


@given(values)
def test_joint_shares_agree_with_a_count_by_hand(answers):
    other = np.roll(answers, 1)
    shares = joint_direction_shares(answers, other)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["fall_rise"] == np.mean([a < 0 < b for a, b in zip(answers, other, strict=True)])
    assert shares["other"] == np.mean([a == 0 or b == 0 for a, b in zip(answers, other, strict=True)])


def test_the_bootstrap_gives_the_standard_error_of_a_mean_and_of_a_normal_sd():
    answers = np.random.default_rng(1).normal(size=2000)
    rng = np.random.default_rng(2)
    assert bootstrap_se(answers, np.mean, rng, 400) == pytest.approx(1 / np.sqrt(2000), rel=0.15)
    assert bootstrap_se(answers, np.std, rng, 400) == pytest.approx(1 / np.sqrt(4000), rel=0.15)
