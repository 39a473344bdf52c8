"""Who gets into which arm: in blocks, and everybody in every arm."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import popsim
from popsim.errors import PopsimError
from popsim.model import assign_in_blocks


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=120),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(0, 10**6),
)
def test_every_block_and_all_people_get_the_shares_as_nearly_as_whole_people_allow(blocks, weights, seed):
    block, shares = np.unique(blocks, return_inverse=True)[1], np.array(weights) / sum(weights)
    arm, again = (assign_in_blocks(np.random.default_rng(seed), block, shares) for _ in range(2))
    assert (arm == again).all()
    for one in set(block.tolist()):
        counts = np.bincount(arm[block == one], minlength=len(shares))
        assert (np.abs(counts - shares * counts.sum()) < 1 + 1e-9).all()
    assert (np.abs(np.bincount(arm, minlength=len(shares)) - shares * len(arm)) < 1 + 1e-9).all()


def test_within_a_block_everybody_is_as_likely_as_anybody_to_get_an_arm():
    block, shares = np.array([0, 0, 0, 1, 1, 1, 1, 2]), np.array([0.25, 0.75])
    rng = np.random.default_rng(1)
    first = np.mean([assign_in_blocks(rng, block, shares) == 0 for _ in range(8000)], axis=0)
    assert first == pytest.approx(0.25, abs=0.03)


def test_blocked_arms_are_saved_balanced_and_drawn_from_the_seed():
    overrides = {"size": 401, "engine": "baseline"}
    run = popsim.run(popsim.load_scenario("oil_price_pages", overrides), "run")
    saved = pd.read_parquet("run/assignment.parquet").merge(run.people, on="person")
    sizes = saved.groupby(["sex", "age_band", "arm"], observed=True).size().unstack(fill_value=0)
    assert len(sizes) > 10
    assert (sizes["fall"] - sizes["rise"]).abs().max() == 1
    assert abs(int((sizes["fall"] - sizes["rise"]).sum())) == 1
    assert saved.set_index("person")["arm"].astype(str).to_dict() == dict(
        run.answers.drop_duplicates("person").set_index("person")["arm"].astype(str)
    )
    other = popsim.run(popsim.load_scenario("oil_price_pages", overrides | {"seed": 2}), "other")
    again = popsim.run(popsim.load_scenario("oil_price_pages", overrides | {"draws": 2}), "again")
    assert run.assignment.equals(again.assignment)
    assert not run.assignment["arm"].equals(other.assignment["arm"])


def test_crossed_puts_the_same_people_into_every_arm_in_sittings_of_their_own():
    run = popsim.run(popsim.load_scenario("oil_price_crossed", {"size": 60, "engine": "baseline", "draws": 2}), "run")
    answers = run.answers
    assert len(run.people) == 60
    assert answers.groupby(["person", "arm", "draw", "question"], observed=True).size().eq(1).all()
    assert len(answers) == 60 * 2 * 2 * 5
    assert run.assignment.groupby("person")["arm"].agg(set).map(sorted).tolist() == [["fall", "rise"]] * 60
    level = answers[answers["question"].eq("inflation_1")].pivot(
        index=["person", "draw"], columns="arm", values="value"
    )
    assert (level["fall"] != level["rise"]).mean() > 0.3
    found = popsim.compare(run, draws=100)
    assert set(found.targets["n"]) == {60}


def test_the_interval_of_a_crossed_effect_is_that_of_the_differences_within_persons():
    run = popsim.run(popsim.load_scenario("oil_price_crossed", {"size": 400, "engine": "baseline"}), "run")
    one = run.answers.pivot(index=["person", "arm"], columns="question", values="value").reset_index()
    change = (one["inflation_2"] - one["inflation_1"]).groupby([one["person"], one["arm"]], observed=True).first()
    within = change.unstack()["rise"] - change.unstack()["fall"]
    found = popsim.compare(run, draws=1500).effects
    row = found[found["outcome"].eq("inflation")].iloc[0]
    assert row["simulated"] == pytest.approx(within.mean(), abs=1e-9)
    assert row["simulated_se"] == pytest.approx(within.std() / 20, rel=0.1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"assignment": {"by": ["sexx"]}}, r"assignment\.by: people have no 'sexx'; did you mean sex\?"),
        ({"assignment": {"kind": "crossed", "by": ["sex"]}}, r"assignment: by: crossed puts everybody into every arm"),
        ({"assignment": "cross"}, r"assignment\.kind: .*'random' or 'crossed'"),
        ({"assignment": "crossed", "share_opinions": 0.5}, r"everybody answers once in every arm.*share_opinions"),
        ({"assignment": "crossed", "arms.rise": {"share": 2}}, r"everybody into every arm; take share out of the arms"),
    ],
)
def test_an_assignment_that_cannot_be_is_refused_in_one_line(overrides, message):
    with pytest.raises(PopsimError, match=message) as caught:
        popsim.run(popsim.load_scenario("oil_price_crossed", {"size": 20, "engine": "baseline"} | overrides), "run")
    assert "\n" not in str(caught.value)
