import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from engines_for_tests import Seeded, Silent, Stubborn
from pandas.testing import assert_frame_equal

import popsim
from popsim.engines import load_engine
from popsim.errors import EngineError, RunError, ScenarioError
from popsim.scenario import scenario_hash
from popsim.study.ask import Pooled, blocks

COLUMNS = {
    "answers": "replicate person wave group arm vignette position question draw value label status",
    "distributions": "replicate person wave arm vignette question draw value probability",
    "replies": "person wave round draw attempt recall reasoning text error prompt_tokens completion_tokens outside "
    "status first_status prompt_sha",
    "heard": "person item step told_by",
    "states": "person wave step items_heard",
    "assignment": "person group arm vignettes",
}
TABLES = [*COLUMNS, "people"]


def oil(**overrides):
    return popsim.load_scenario("oil_price_fall", {"size": 20, "engine": "baseline", **overrides})


@pytest.fixture
def study_file(tmp_path):
    """A study in two waves with news and both arms."""
    path = tmp_path / "study.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "two_waves",
                "title": "Two waves",
                "population": "us_adults_2018",
                "size": 30,
                "seed": 5,
                "questionnaire": "oil_price",
                "arms": {"fall": {"share": 2}, "rise": {}},
                "network": {"kind": "follow", "mean_degree": 4},
                "news": [{"name": "spill", "text": "A spill.", "source": "radio", "reach": 0.3, "passed_on": 0.5}],
                "waves": [0, 2],
                "engine": "baseline",
                "sweep": {"people.confidence": ["weak", "moderate", "strong"], "news.0.reach": [0.1, 0.9]},
                "replicates": 2,
            }
        )
    )
    return path


def same_tables(one, other):
    for name in TABLES:
        assert_frame_equal(getattr(one, name), getattr(other, name))
    assert (one.follows != other.follows).nnz == 0


def test_a_run_writes_every_file_with_its_columns(study_file):
    run = popsim.run(popsim.load_scenario(study_file), "out")
    for name, columns in COLUMNS.items():
        assert list(getattr(run, name).columns) == columns.split()
    assert len(run.answers) == 30 * 5 * 2
    assert len(run.people) == 30
    assert run.follows.shape == (30, 30)
    assert run.manifest["state"] == "complete"
    assert run.manifest["counts"]["prompts"] == 60
    assert run.assignment["arm"].value_counts().to_dict() == {"fall": 20, "rise": 10}


def test_the_same_seed_gives_the_same_tables_and_another_does_not(study_file):
    first, again, other = (
        popsim.run(popsim.load_scenario(study_file, {"seed": seed}), out)
        for seed, out in ((5, "a"), (5, "b"), (6, "c"))
    )
    same_tables(first, again)
    assert not first.answers["value"].equals(other.answers["value"])


def test_news_spreads_between_waves_and_only_to_followers(study_file):
    run = popsim.run(popsim.load_scenario(study_file), "out")
    heard = run.heard
    told = heard[heard["told_by"].notna()]
    assert len(told) > 0
    step_of = heard.set_index("person")["step"]
    for row in told.itertuples():
        assert run.follows[row.person, row.told_by] > 0
        assert step_of[row.told_by] == row.step - 1
    by_wave = run.states.groupby("wave")["items_heard"].sum()
    assert by_wave[0] == (heard["step"] == 0).sum() < by_wave[1] == (heard["step"] <= 2).sum()


def test_an_unreadable_reply_is_asked_again_with_another_seed():
    engine = Stubborn()
    run = popsim.run(oil(), "out", engine=engine)
    again = run.replies[run.replies["attempt"] > 0]
    assert 0 < len(again) < 20
    assert set(again["first_status"]) == {"unreadable"}
    assert set(run.replies.loc[run.replies["attempt"] == 0, "first_status"]) == {"ok"}
    assert len({prompt.seed for prompt in engine.seen}) == len(engine.seen)
    assert len(engine.seen) == 20 + int(run.replies["attempt"].sum())


def test_what_stays_unreadable_is_kept_as_rows_and_counted_by_arm():
    engine = Silent()
    run = popsim.run(oil(), "out", engine=engine)
    assert len(engine.seen) == 20 * 3
    assert set(run.answers["status"]) == {"unreadable"}
    assert run.answers["value"].isna().all()
    assert run.manifest["failures"] == {
        "answers": 100,
        "failed": 100,
        "share": 1.0,
        "by_status": {"unreadable": {"fall": 100}},
    }


def test_too_many_failures_fail_the_run_but_keep_its_tables():
    with pytest.raises(RunError, match=r"100.0% of the answers failed.*allows 5.0%"):
        popsim.run(oil(max_failures=0.05), "out", engine=Silent())
    assert len(popsim.load_run("out").answers) == 100


def test_too_many_failures_at_a_point_fail_the_sweep_but_keep_its_tables(study_file):
    scenario = yaml.safe_load(study_file.read_text())
    scenario |= {"engine": "engines_for_tests:Silent", "sweep": {"max_failures": [0.05, 1.0]}}
    study_file.write_text(yaml.safe_dump(scenario))
    for _ in range(2):
        with pytest.raises(RunError, match=r"in 2 of 4 points.*of point 0, replicate 0, 100.0% failed and 5.0% may"):
            popsim.sweep(list(popsim.sweep_points(study_file)), 2, "swept")
        assert pd.read_parquet("swept/points.parquet")["answers_failed"].tolist() == [1.0] * 4
    assert pd.read_parquet("swept/answers.parquet")["status"].eq("unreadable").all()


def test_an_engine_that_forgets_a_prompt_is_found_out():
    class Forgets(Seeded):
        def answer(self, prompts):
            yield from (pair for pair in super().answer(prompts) if pair[0] != 4)

    with pytest.raises(EngineError, match="without a reply to 1 of 20 prompts"):
        popsim.run(oil(), "out", engine=Forgets())
    assert popsim.run(oil(), "whole", engine=Seeded()).manifest["state"] == "complete"


def test_a_finished_run_asks_nobody():
    popsim.run(oil(), "out", engine=Seeded())
    engine = Seeded()
    popsim.run(oil(), "out", engine=engine)
    assert engine.seen == []


def test_an_interrupted_run_goes_on_without_asking_stored_prompts_again(study_file):
    class Dies(Seeded):
        def answer(self, prompts):
            for k, pair in enumerate(super().answer(prompts)):
                if k == 13:
                    raise KeyboardInterrupt
                yield pair

    scenario = popsim.load_scenario(study_file)
    dying = Dies()
    with pytest.raises(KeyboardInterrupt):
        popsim.run(scenario, "out", engine=dying)
    assert popsim.load_run("out").manifest["state"] == "running"
    engine = Seeded()
    run = popsim.run(scenario, "out", engine=engine)
    stored = {prompt.seed for prompt in dying.seen[:13]}
    assert stored.isdisjoint({prompt.seed for prompt in engine.seen})
    assert run.manifest["counts"]["from_journal"] == 13
    same_tables(run, popsim.run(scenario, "unbroken", engine=Seeded()))


def test_replay_gives_the_tables_without_the_engine(study_file):
    scenario = popsim.load_scenario(study_file)
    original = popsim.run(scenario, "out", engine=Stubborn())
    replayed = popsim.run(scenario, "again", engine=load_engine("replay:out"))
    same_tables(original, replayed)


def test_the_number_of_workers_is_no_part_of_a_study():
    few, many = (oil(engine={"spec": "engines_for_tests:Seeded", "workers": workers}) for workers in (1, 3))
    assert many.engine.workers == 3
    assert scenario_hash(few) == scenario_hash(many)
    popsim.run(few, "out")
    assert popsim.run(many, "out", engine=Seeded()).manifest["counts"]["asked"] == 20
    with pytest.raises(ScenarioError, match=r"engine\.workers: .*greater than or equal to 1, not 0"):
        oil(engine={"spec": "baseline", "workers": 0})


def test_a_folder_of_another_study_is_refused_and_the_difference_named():
    popsim.run(oil(), "out", engine=Seeded())
    before = {path: path.read_bytes() for path in popsim.load_run("out").path.iterdir()}
    with pytest.raises(RunError, match=r"scenario\.size is 20 there and 21 here"):
        popsim.run(oil(size=21), "out", engine=Seeded())
    with pytest.raises(RunError, match=r"engine is \"seeded/1\" there and \"silent/1\" here"):
        popsim.run(oil(), "out", engine=Silent())
    assert before == {path: path.read_bytes() for path in popsim.load_run("out").path.iterdir()}


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").write_text("precious")
    with pytest.raises(RunError, match=r"not empty \(thesis.docx\)"):
        popsim.run(oil(), "out", engine=Seeded())


def test_two_processes_cannot_write_one_folder(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", "import time; from pathlib import Path; from popsim.study.folder import locked\n"
         "with locked(Path('out')): print('held', flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="another popsim is writing this folder"):
            popsim.run(oil(), "out", engine=Seeded())
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert popsim.run(oil(), "out", engine=Seeded()).manifest["state"] == "complete"


def test_a_pooled_sweep_gives_the_rows_of_its_points_run_one_by_one(study_file):
    points = list(popsim.sweep_points(study_file))
    assert len(points) == 6
    pooled = popsim.sweep(points, 2, "sweep")
    parts = []
    for point in points:
        for replicate in range(2):
            run = popsim.run(point.scenario.replicate(replicate), f"single/{point.number}-{replicate}")
            parts.append(run.answers.assign(replicate=replicate, **point.values))
    single = pd.concat(parts, ignore_index=True)
    assert_frame_equal(pooled, single, check_dtype=False, check_categorical=False)
    assert len(pooled) == 6 * 2 * 30 * 5 * 2


def test_a_sweep_shares_people_asks_each_distinct_prompt_once_and_says_so(study_file):
    scenario = yaml.safe_load(study_file.read_text())
    scenario |= {
        "engine": "engines_for_tests:Seeded",
        "sweep": {"attempts": [2, 3], "people.confidence": ["weak", "strong"]},
    }
    scenario["replicates"] = 1
    study_file.write_text(yaml.safe_dump(scenario))
    points = list(popsim.sweep_points(study_file))
    popsim.sweep(points, 1, "sweep")
    manifest = json.loads(Path("sweep/manifest.json").read_text())
    counts = manifest["counts"]["seeded/1"]
    # The number of attempts changes no prompt, so half of the prompts are asked once for two points.
    assert counts == {
        "prompts": 240,
        "asked": 120,
        "from_journal": 0,
        "from_cache": 0,
        "distinct": 120,
        "engine_calls": [1, 1],
    }
    folders = [Path(f"sweep/point{k:03d}-replicate0") for k in range(4)]
    assert len({(folder / "people.parquet").stat().st_ino for folder in folders}) == 2


class Backwards(Stubborn):
    """Answers the last prompt first."""

    def answer(self, prompts):
        yield from reversed(list(super().answer(prompts)))


def test_blocks_and_the_order_of_replies_change_no_table_and_leave_no_trace(study_file, monkeypatch):
    scenario = popsim.load_scenario(study_file)
    whole = popsim.run(scenario, "whole", engine=Stubborn())
    monkeypatch.setattr("popsim.study.ask.BLOCK", 7)
    cut = popsim.run(scenario, "cut", engine=Backwards())
    same_tables(whole, cut)
    assert whole.manifest["counts"]["prompts"] == cut.manifest["counts"]["prompts"] == 60
    assert whole.manifest["failures"] == cut.manifest["failures"]
    assert not [path for path in cut.path.iterdir() if path.name.startswith(".")]


def test_a_half_written_round_is_never_shown(study_file, monkeypatch):
    class Dies(Seeded):
        def answer(self, prompts):
            if self.seen and len(self.seen) >= 37:
                raise EngineError("gone")
            yield from super().answer(prompts)

    monkeypatch.setattr("popsim.study.ask.BLOCK", 7)
    scenario = popsim.load_scenario(study_file)
    with pytest.raises(EngineError, match="gone"):
        popsim.run(scenario, "out", engine=Dies())
    broken = popsim.load_run("out")
    assert broken.replies["wave"].tolist() == [0] * 30
    assert not [path for path in broken.path.iterdir() if path.name.startswith(".")]
    same_tables(popsim.run(scenario, "out", engine=Seeded()), popsim.run(scenario, "unbroken", engine=Seeded()))


class Fake(list):
    """A round whose prompts are letters; small ones belong to the first version, capitals to the second."""

    @property
    def version(self):
        return np.array([letter.isupper() for letter in self], dtype=int)

    def prompt(self, i, attempt):
        return self[i] * (attempt + 1)


def test_the_prompts_of_a_version_stand_together_within_a_block_and_a_round():
    rounds = [Fake("ABcD"), Fake(""), Fake("xYzW")]
    (whole,) = blocks(rounds, 100)
    assert list(Pooled(rounds, whole)) == list("cABDxzYW")
    assert Pooled(rounds, whole, 1)[:2] == ["cc", "AA"]
    cut = [list(Pooled(rounds, block)) for block in blocks(rounds, 3)]
    assert cut == [list("cAB"), list("DxY"), list("zW")]
