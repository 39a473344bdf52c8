"""Versions of a questionnaire: who gets which, and what the tables say of it."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from engines_for_tests import MadeUp
from hypothesis import given, settings
from hypothesis import strategies as st

import popsim
from popsim.engines import Reply
from popsim.model import PopulationModel
from popsim.survey import assign_versions


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=200), st.integers(1, 30), st.integers(0, 10**6))
def test_versions_are_balanced_within_each_arm_and_reproducible(arms, count, seed):
    arm = np.array(arms)
    version, again = (assign_versions(np.random.default_rng(seed), arm, count) for _ in range(2))
    assert (version == again).all()
    for one in set(arms):
        sizes = np.bincount(version[arm == one], minlength=count)
        assert len(sizes) == count
        assert sizes.max() - sizes.min() <= 1


class FirstCountsMore(MadeUp):
    """Answers 1 point higher to whatever vignette and question comes first: an order effect."""

    fingerprint = "first/1"

    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            form = prompt.messages[0][1]
            keys = re.findall(r'^  "(\w+)": "___%"', form, re.M)
            answers = {key: "4.00%" for key in keys}
            answers[keys[2]] = "5.00%"
            answers |= {key: "So." for key in re.findall(r'^  "(\w*considerations\w*)"', form, re.M)}
            yield position, Reply(json.dumps(answers))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    overrides = {"size": 480, "engine": "test_versions:FirstCountsMore", "prompt": {"reasoning": False}}
    return popsim.run(popsim.load_scenario("macro_vignettes", overrides), tmp_path_factory.mktemp("run") / "r")


def test_everybody_gets_two_vignettes_each_as_often_as_any_other(run):
    answers = run.answers
    assert answers["status"].eq("ok").all()
    shown = answers.groupby(["person", "arm"], observed=True)["vignette"].agg(lambda v: tuple(dict.fromkeys(v)))
    assert shown.map(len).eq(2).all()
    counts = shown.groupby("arm", observed=True).value_counts()
    assert len(counts) == 2 * 12
    assert counts.eq(20).all()
    saved = pd.read_parquet(run.path / "assignment.parquet")
    assert saved["vignettes"].tolist() == [" ".join(names) for names in shown]


def test_positions_are_those_of_the_prompt(run):
    for _, mine in run.answers.groupby("person"):
        assert mine["position"].tolist() == list(range(10))
    model = PopulationModel(run.scenario)
    asked = next(model.waves())
    for i in (0, 7, 100):
        mine = run.answers[run.answers["person"].eq(i)]
        keys = re.findall(r'^  "(\w+)": "(?:___%|...)"', asked[i].messages[0][1], re.M)
        by_name = {q.name: q.json_key for q in run.scenario.questionnaire.questions}
        assert [by_name[name] for name in mine.sort_values("position")["question"]] == keys


def test_an_order_effect_is_found_again_in_the_saved_positions(run):
    answers = run.answers
    after = answers[answers["question"].str.endswith("_2")]
    effect = after.groupby("position")["value"].mean()
    assert effect.to_dict() == {2: 5.0, 3: 4.0, 7: 4.0, 8: 4.0}
    # Whichever comes first, it is higher there: the effect does not hang on the question.
    first = after[after["position"].eq(2)].groupby("question", observed=True)["value"].agg(["mean", "size"])
    assert first["mean"].eq(5.0).all()
    assert len(first) == 8
    assert pd.Series(first["size"]).eq(60).all()
