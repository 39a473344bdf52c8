"""A plan before the data: frozen before the first call, kept as it was, every edit of it listed."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from engines_for_tests import Seeded
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import popsim
from popsim.errors import RunError, ScenarioError
from popsim.report.plans import status
from popsim.study.frozen import canonical, digest
from popsim.study.plans import changes

PLAN = {
    "outcomes": ["inflation", "unemployment"],
    "margins": {"inflation": 0.15, "unemployment": 0.1},
    "contrasts": {
        "falls": {"outcome": "inflation", "arm": "fall", "expect": "below"},
        "men": {"outcome": "inflation", "between": {"sex": ["male", "female"]}},
    },
}
STUDY = {
    "name": "mine",
    "title": "Mine",
    "population": "us_adults_2018",
    "size": 20,
    "seed": 3,
    "group": "households",
    "questionnaire": "oil_price",
    "targets": ["aprw_households"],
    "arms": {"fall": {}},
    "engine": "baseline",
    "analysis": PLAN,
}
names = st.text("abc", min_size=1, max_size=3)
plans = st.recursive(
    st.integers(2, 5) | st.text("xyä", max_size=2) | st.booleans() | st.lists(st.integers(0, 2), max_size=2),
    lambda below: st.dictionaries(names, below, max_size=4),
    max_leaves=12,
)


def scenario(**changed):
    Path("mine.yaml").write_text(yaml.safe_dump(STUDY | changed, sort_keys=False), encoding="utf-8")
    return popsim.load_scenario("mine.yaml")


def with_margin(margin):
    return scenario(analysis=PLAN | {"margins": PLAN["margins"] | {"inflation": margin}})


def backwards(node):
    if isinstance(node, dict):
        return {key: backwards(node[key]) for key in reversed(node)}
    return node


def applied(old, edits):
    """Carry out listed changes, the slow and obvious way."""
    whole = json.loads(json.dumps(old))
    for path, _, new in edits:
        if path == "analysis":
            return new
        *above, last = path.split(".")
        at = whole
        for step in above:
            at = at[step]
        if new is None:
            at.pop(last, None)
        else:
            at[last] = new
    return whole


@given(plans, plans)
def test_the_hash_is_that_of_the_content_and_every_edit_is_listed(old, new):
    assert digest(backwards(old)) == digest(old)
    edits = changes(old, new)
    assert (edits == []) == (old == new)
    assert applied(old, edits) == new
    assert {path for path, *_ in edits} == {path for path, *_ in changes(new, old)}
    assert (canonical(old) == canonical(new)) == (edits == [])


def test_the_order_of_keys_in_the_file_does_not_matter_and_the_study_does():
    one = popsim.run(scenario(), "one", freeze=True).manifest["plan"]
    other = popsim.run(scenario(analysis=backwards(PLAN)), "other", freeze=True).manifest["plan"]
    larger = popsim.run(scenario(size=21), "larger", freeze=True).manifest["plan"]
    assert one["sha256"] == other["sha256"] != larger["sha256"]


class Looks(Seeded):
    """Looks into the folder before it says anything."""

    def answer(self, prompts):
        self.found = json.loads(Path("run/manifest.json").read_text())["plan"], Path("run/plan.json").read_bytes()
        yield from super().answer(prompts)


def test_plan_and_hash_are_there_before_the_first_call():
    engine = Looks()
    popsim.run(scenario(), "run", engine=engine, freeze=True)
    record, stored = engine.found
    assert hashlib.sha256(stored).hexdigest() == record["sha256"]
    assert record["frozen"]
    assert json.loads(stored)["analysis"]["margins"] == PLAN["margins"]


def test_a_plan_changes_no_prompt_no_answer_and_no_identity():
    planned, bare = scenario(), scenario(analysis=None)
    engines = Seeded(), Seeded()
    first, second = popsim.run(planned, "a", engine=engines[0], freeze=True), popsim.run(bare, "b", engine=engines[1])
    assert engines[0].seen == engines[1].seen
    assert first.manifest["identity"] == second.manifest["identity"]
    assert_frame_equal(first.answers, second.answers)
    assert popsim.run(bare, "a", engine=Seeded()).manifest["plan"]["frozen"]


def test_edits_are_listed_with_their_time_and_the_frozen_plan_stays():
    first = popsim.run(scenario(), "run", freeze=True)
    stored = (first.path / "plan.json").read_bytes()
    for _ in range(2):
        again = popsim.run(with_margin(0.3), "run", freeze=True)
    (edit,) = again.manifest["plan"]["edits"]
    assert edit["changes"] == [["margins.inflation", 0.15, 0.3]]
    assert again.manifest["plan"]["frozen"] == first.manifest["plan"]["frozen"] <= edit["when"]
    assert again.manifest["plan"]["analysis"] == first.manifest["plan"]["analysis"]
    assert (first.path / "plan.json").read_bytes() == stored
    popsim.run(popsim.load_run("run").scenario, "run")
    popsim.run(scenario(analysis=None), "run")
    edits = popsim.load_run("run").manifest["plan"]["edits"]
    assert [len(edit["changes"]) for edit in edits] == [1, 0, 1]
    text = " ".join(status([popsim.load_run("run").manifest["plan"]]))
    assert "margins.inflation from 0.15 to 0.3" in text
    assert "put back to what was frozen" in text
    assert "was taken out" in text
    assert "margins.inflation from 0.15 to 0.3" in (Path("run") / "methods.md").read_text().replace("\\", "")


def test_what_cannot_be_frozen_is_refused_and_leaves_nothing_behind():
    with pytest.raises(ScenarioError, match="mine: --freeze: there is no plan to freeze; write under analysis"):
        popsim.run(scenario(analysis=None), "none", freeze=True)
    assert not Path("none").exists()
    popsim.run(scenario(), "late", engine=Seeded())
    with pytest.raises(RunError, match=r"late: was started on .* without --freeze"):
        popsim.run(scenario(), "late", engine=Seeded(), freeze=True)
    assert not Path("late/plan.json").exists()
    with pytest.raises(ScenarioError, match="replay:late gives answers that are older than the plan"):
        popsim.run(scenario(engine="replay:late"), "again", freeze=True)
    with pytest.raises(ScenarioError, match=r"layout 'survey_v2' is unknown; did you mean survey_v1\?"):
        popsim.run(scenario(analysis=PLAN | {"templates": ["survey_v2"]}), "wrong")


@pytest.mark.parametrize("name", ["plan.json", "manifest.json"])
def test_a_plan_that_was_changed_by_hand_is_not_believed(name, call):
    popsim.run(scenario(), "run", freeze=True)
    path = Path("run") / name
    path.write_text(re.sub(r'("inflation": ?)0\.15', r"\g<1>0.5", path.read_text()))
    assert call("compare", "run")[0] == 2
    status, _, said = call("run", "mine.yaml", "--out", "run")
    assert status == 2
    assert f"{name} is not the plan that was frozen on" in said
    assert len(said.splitlines()) == 1


def test_a_sweep_has_one_plan_for_all_its_runs():
    study = {"sweep": {"people.confidence": ["weak", "strong"]}}
    scenario(**study)
    popsim.sweep(list(popsim.sweep_points("mine.yaml")), 1, "swept", freeze=True)
    run, inside = popsim.load_run("swept"), popsim.load_run("swept/point001-replicate0")
    assert run.plan == inside.plan
    assert inside.manifest["plan"]["sha256"] == hashlib.sha256(Path("swept/plan.json").read_bytes()).hexdigest()
    with_margin(0.2)
    scenario(**study, analysis=PLAN | {"statistics": ["mean", "share"]})
    popsim.sweep(list(popsim.sweep_points("mine.yaml")), 1, "swept")
    (edit,) = popsim.load_run("swept/point001-replicate0").plan["edits"]
    assert edit["changes"] == [["statistics", ["mean"], ["mean", "share"]]]


KILLED = """
import sys, time, popsim
from engines_for_tests import Seeded

class Slow(Seeded):
    def answer(self, prompts):
        for one in super().answer(prompts):
            time.sleep(0.02)
            yield one

popsim.run(popsim.load_scenario("mine.yaml"), "broken", engine=Slow(), freeze=True,
           progress=lambda state: print(state.replies, flush=True))
"""


def test_a_frozen_run_that_was_killed_goes_on_with_the_plan_it_had():
    unbroken = popsim.run(scenario(), "unbroken", engine=Seeded(), freeze=True)
    paths = os.pathsep.join([str(Path(popsim.__file__).parents[1]), str(Path(__file__).parents[1])])
    command = [sys.executable, "-c", KILLED]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert process.stdout
    for _ in range(3):
        assert process.stdout.readline()
    process.kill()
    process.communicate()
    killed = popsim.load_run("broken").manifest
    assert killed["state"] == "running"
    assert killed["plan"]["sha256"] == unbroken.manifest["plan"]["sha256"]
    Path("broken/plan.json").unlink()  # as if it had been killed between the manifest and this file

    done = popsim.run(with_margin(0.3), "broken", engine=Seeded(), freeze=True)
    plan = done.manifest["plan"]
    assert plan["frozen"] == killed["plan"]["frozen"]
    assert [edit["changes"] for edit in plan["edits"]] == [[["margins.inflation", 0.15, 0.3]]]
    assert done.manifest["counts"]["from_journal"] >= 3
    assert Path("broken/plan.json").read_bytes() == Path("unbroken/plan.json").read_bytes()
    assert_frame_equal(done.answers, unbroken.answers)
