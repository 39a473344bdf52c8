"""A run handed to somebody else: its manifest and journal give the tables again, without a model."""

import shutil
from pathlib import Path

import pytest
from engines_for_tests import Seeded, Stubborn
from pandas.testing import assert_frame_equal

import popsim
from popsim.engines import load_engine
from popsim.errors import EngineError

TABLES = ("answers", "replies", "distributions", "people", "states", "heard", "assignment")


def two_waves(**overrides):
    news = [{"name": "spill", "text": "A spill.", "source": "radio", "reach": 0.3, "passed_on": 0.5}]
    network = {"kind": "follow", "mean_degree": 4}
    changes = {"size": 40, "news": news, "network": network, "waves": [0, 2], "attempts": 2}
    return popsim.load_scenario("oil_price_fall", changes | overrides)


def handed_on(folder, to):
    Path(to).mkdir(parents=True)
    for name in ("manifest.json", "journal.sqlite"):
        shutil.copy(Path(folder) / name, to)
    return to


def same_tables(one, other):
    for name in TABLES:
        assert_frame_equal(getattr(one, name), getattr(other, name))


def test_manifest_and_journal_alone_give_the_same_tables():
    done = popsim.run(two_waves(), "mine", engine=Stubborn())
    assert done.manifest["failures"]["by_status"]["unreadable"]
    folder = handed_on("mine", "elsewhere/theirs")
    again = popsim.run(two_waves(engine=f"replay:{folder}"), "again")
    same_tables(popsim.load_run("mine"), again)
    assert Path("again/answers.parquet").read_bytes() == Path("mine/answers.parquet").read_bytes()
    assert again.manifest["engine"]["fingerprint"] == "stubborn/1"


def test_a_replay_of_another_scenario_fails_where_nothing_was_stored():
    popsim.run(two_waves(), "mine", engine=Seeded())
    other = popsim.run(two_waves(seed=99), "other", engine=load_engine("replay:mine"))
    assert other.manifest["failures"]["share"] == 1
    assert set(other.answers["status"]) == {"engine_error"}


def test_a_run_inside_a_sweep_is_replayed_from_the_journal_of_the_sweep():
    Path("study.yaml").write_text(
        "{name: s, title: S, population: us_adults_2018, size: 10, questionnaire: oil_price, arms: {fall: {}}, "
        "engine: 'engines_for_tests:Seeded', sweep: {people.confidence: [weak, strong]}, replicates: 2}"
    )
    popsim.sweep(list(popsim.sweep_points("study.yaml")), 2, "sweep")
    handed_on("sweep", "theirs")
    inside = Path("theirs/point001-replicate1")
    inside.mkdir()
    shutil.copy("sweep/point001-replicate1/manifest.json", inside)
    scenario = popsim.load_run(inside).scenario
    again = popsim.run(scenario, "again", engine=load_engine(f"replay:{inside}"))
    alone = popsim.run(scenario, "alone", engine=Seeded())
    same_tables(again, alone)
    whole = popsim.load_run("sweep/point001-replicate1").answers
    assert_frame_equal(again.answers, whole.assign(replicate=0))


def test_a_run_of_an_engine_that_reads_facts_has_nothing_to_replay():
    popsim.run(two_waves(engine="baseline"), "mine")
    with pytest.raises(EngineError, match=r"no journal\.sqlite there.*run baseline/1 again"):
        load_engine("replay:mine")
