import json
import string

import numpy as np
import pytest
from spellers import Clerk, Markov

import popsim
from popsim.engines import load_engine
from popsim.study import estimate

KEYS = ["replicate", "person", "wave", "vignette", "question", "draw"]


class Lettered(Markov):
    """Scores letters."""

    fingerprint = "lettered/1"
    abilities = frozenset({"choice", "prefill"})

    def __init__(self):
        super().__init__([*string.ascii_uppercase, "?"])


def oil(**more):
    overrides = {"size": 6, "readout.kind": "number", "readout.particles": 4, "readout.floor": 1e-3}
    return popsim.load_scenario("oil_price_fall", {**overrides, "prompt.reasoning": False, **more})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readout")
    return popsim.run(oil(), folder / "run", engine=Clerk())


def test_distributions_and_what_they_leave_out_sum_to_one(done):
    told = done.distributions.groupby(KEYS, observed=True)["probability"].sum()
    readouts = done.readouts.set_index(KEYS)
    assert len(told) == len(readouts) == 6 * 6
    assert told.to_numpy() == pytest.approx(1 - readouts.loc[told.index, "left_out"].to_numpy(), abs=1e-9)
    assert 0 < readouts["left_out"].mean() < 0.5


def test_answers_are_the_means_of_their_distributions_and_changes_have_theirs(done):
    assert set(done.readouts["question"]) - set(done.answers["question"]) == {"unemployment", "inflation"}
    assert set(done.answers["status"]) == {"ok"}
    assert "considerations_2" not in set(done.answers["question"])
    means = done.readouts.set_index(["person", "question"])["mean"]
    for row in done.answers.itertuples():
        assert row.value == pytest.approx(means[row.person, row.question])
        points = done.distributions.query("person == @row.person and question == @row.question")
        assert np.average(points["value"], weights=points["probability"]) == pytest.approx(row.value)
        assert points["value"].between(-2, 10).all()
    quantiles = done.readouts[["q05", "q25", "q50", "q75", "q95"]].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()


def test_nobody_is_asked_twice_and_a_replay_gives_the_same_tables(done, tmp_path):
    assert done.manifest["counts"]["prompts"] == done.manifest["counts"]["asked"] == 6
    again = popsim.run(oil(), tmp_path / "again", engine=load_engine(f"replay:{done.path}"))
    for table in ("answers", "distributions", "readouts"):
        assert getattr(again, table).equals(getattr(done, table))


def test_reasonings_are_counted_and_their_error_told(tmp_path):
    scenario = oil(size=3, **{"prompt.reasoning": True, "readout.reasonings": 3, "readout.particles": 3})
    run = popsim.run(scenario, tmp_path / "run", engine=Clerk())
    assert set(run.readouts["reasonings"]) == {3}
    assert (run.readouts["reasoning_error"] > 0).all()
    assert len(json.loads(run.replies["text"][0])["reasonings"]) == 3


def test_an_engine_without_probabilities_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(popsim.PopsimError, match=r"^readout: number: engine baseline/1 lacks the ability 'next'"):
        popsim.run(oil(engine="baseline"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_engine_that_only_generates_may_stand_in_a_sweep_beside_one_that_is_measured(tmp_path):
    few = {"size": 3, "prompt.reasoning": False, "design": "paired"}
    sweep = {"engine": ["spellers:Clerk", "baseline"], "readout": ["number", "generate"]}
    points = list(popsim.sweep_points("oil_price_fall", {**few, "sweep": sweep}))
    answers = popsim.sweep(points, 1, tmp_path / "sweep")
    assert set(answers["engine"]) == {"spellers:Clerk", "baseline"}
    assert set(answers["status"]) == {"ok"}


def test_a_dry_run_measures_what_the_run_then_finds_in_the_cache(tmp_path):
    few = {"engine": "spellers:Clerk", "size": 3, "prompt.reasoning": False, "readout": "number"}
    (found,) = estimate(list(popsim.sweep_points("oil_price_fall", few)), cache=tmp_path / "cache.sqlite")
    run = popsim.run(popsim.load_scenario("oil_price_fall", few), tmp_path / "run", cache=tmp_path / "cache.sqlite")
    assert found.probed == run.manifest["counts"]["from_cache"] == 3
    assert set(run.answers["status"]) == {"ok"}


def test_means_are_not_compared_with_what_people_answered(done):
    with pytest.raises(popsim.PopsimError, match=r"use distributions\.parquet"):
        popsim.compare(done)


def test_letters_are_asked_for_and_scored(tmp_path):
    overrides = {"size": 5, "readout": "choice", "prompt.reasoning": False}
    scenario = popsim.load_scenario("learning_platform_cn", overrides)
    engine = Lettered()
    run = popsim.run(scenario, tmp_path / "run", engine=engine)
    asked = {question.name: question for question in scenario.questionnaire.questions if question.kind == "choice"}
    assert set(run.answers["question"]) == set(asked)
    sums = run.distributions.groupby(KEYS, observed=True)["probability"].sum()
    assert sums.to_numpy() == pytest.approx(1.0)
    ok = run.answers[run.answers["status"].eq("ok")]
    for row in ok.itertuples():
        assert row.label == asked[row.question].options[int(row.value)]
