import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from popsim.engines import Reply
from popsim.engines.cache import Cache
from popsim.engines.journal import Journal

STUDY = {
    "name": "mine",
    "title": "Mine",
    "population": "us_adults_2018",
    "size": 10,
    "questionnaire": "oil_price",
    "arms": {"fall": {}},
    "engine": "baseline",
}


def study(**changes):
    Path("study.yaml").write_text(yaml.safe_dump(STUDY | changes))
    return "study.yaml"


def template(text):
    Path("mine.txt").write_text(text)
    return study(prompt={"template": "mine.txt"}, engine="engines_for_tests:Seeded")


def one_question(**changes):
    question = {"name": "q", "kind": "number", "text": "How much?", "minimum": 0, "maximum": 9} | changes
    return {"name": "s", "topic": "t", "task": "u", "vignettes": [{"name": "v", "pages": [{"questions": [question]}]}]}


def branch(condition, last=False):
    """A page that hangs on the question of the one behind it, or of the one before it."""
    asked = one_question()["vignettes"][0]["pages"][0]
    hangs = {"show_if": condition, "questions": [asked["questions"][0] | {"name": "r"}]}
    pages = [asked, hangs] if last else [hangs, asked]
    return one_question() | {"vignettes": [{"name": "v", "pages": pages}]}


BAD = {
    "misspelt key": (lambda: study(sieze=5), r"study.yaml: sieze: unknown key; did you mean size\? Allowed: .*seed"),
    "size of 0": (lambda: study(size=0), r"study.yaml: size: .*greater than 0, not 0"),
    "negative size": (lambda: study(size=-3), r"study.yaml: size: .*greater than 0, not -3"),
    "negative seed": (lambda: study(seed=-1), r"study.yaml: seed: .*greater than or equal to 0, not -1"),
    "no questions": (
        lambda: study(questionnaire=one_question() | {"vignettes": [{"name": "v", "pages": []}]}),
        r"study.yaml: questionnaire.vignettes.0.pages: needs at least 1, has 0",
    ),
    "range upside down": (
        lambda: study(questionnaire=one_question(minimum=9, maximum=0)),
        r"study.yaml: questionnaire.vignettes.0.pages.0.questions.0: minimum 9 must be below maximum 0",
    ),
    "misspelt key of a question": (
        lambda: study(questionnaire=one_question(decimal=2)),
        r"questions.0.decimal: unknown key; did you mean decimals\?",
    ),
    "unknown arm": (lambda: study(arms={"sideways": {}}), r"study.yaml: vignette oil: no arm 'sideways'; allowed"),
    "sweep into nothing": (
        lambda: study(sweep={"people.confidense": ["weak"]}),
        r"people.confidense addresses nothing: people has no 'confidense'; did you mean confidence\?",
    ),
    "sweep with a bad value": (
        lambda: study(sweep={"people.confidence": ["weak", "feeble"]}),
        r"people.confidence: .*'feeble'.*at sweep point",
    ),
    "unknown population": (
        lambda: study(population="us_adults"),
        r"study.yaml: population: us_adults: neither .*did you mean us_adults_20\d\d\?",
    ),
    "waves backwards": (lambda: study(waves=[2, 1]), r"waves: waves must increase, not \[2, 1\]"),
    "missing file": (lambda: "nowhere.yaml", r"nowhere.yaml: no such file"),
    "unknown engine": (lambda: study(engine="basline"), r"engine 'basline' is unknown; did you mean baseline\?"),
    "misspelt slot in a template": (
        lambda: template("You are {{agee}} years old."),
        r"scenario mine: prompt.template: unknown slot \{\{agee\}\}; did you mean \{\{age\}\}\?",
    ),
    "branch in one prompt": (
        lambda: study(questionnaire="household_outlook", arms={"all": {}}),
        r"study.yaml: questionnaire household_outlook: vignette outlook, page 1: show_if needs presentation: pages",
    ),
    "branch on a later question": (
        lambda: study(questionnaire=branch({"question": "q", "at_least": 1}), presentation="pages"),
        r"study.yaml: questionnaire: vignette v, page 0: show_if refers to 'q', which is not asked on an earlier page",
    ),
    "branch on an answer that cannot be": (
        lambda: study(questionnaire=branch({"question": "q", "among": ["much"]}, last=True), presentation="pages"),
        r"vignette v, page 1: show_if q: 'much' is no answer to it\. Allowed: at_least and at_most",
    ),
    "pages read out of probabilities": (
        lambda: study(presentation="pages", readout="number", prompt={"reasoning": False}),
        r"readout: number: nobody writes an answer that the next page could go on from",
    ),
    "blocks of nothing": (
        lambda: study(assignment={"by": ["sexx"]}),
        r"assignment.by: people have no 'sexx'; did you mean sex\?",
    ),
    "arms crossed with posts": (
        lambda: study(assignment="crossed", share_opinions=0.5),
        r"study.yaml: assignment: crossed: everybody answers once in every arm, so take out share_opinions",
    ),
    "missing template": (
        lambda: study(prompt={"template": "mine.txt"}),
        r"study.yaml: prompt.template: mine.txt: no such file",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_line_and_leaves_nothing(case, call, tmp_path):
    make, message = BAD[case]
    name = make()
    command = "sweep" if "sweep" in case else "run"
    status, out, err = call(command, name, "--out", "result")
    assert status == 2
    assert out == ""
    assert re.search(message, err), err
    assert err.startswith("popsim: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "result").exists()


def test_a_yaml_tag_is_refused_and_not_executed(call, tmp_path):
    (tmp_path / "evil.yaml").write_text("name: !!python/object/apply:os.system ['touch pwned']\n")
    status, _, err = call("check", "evil.yaml")
    assert status == 2
    assert "tags are not allowed" in err
    assert "line 1" in err
    assert not (tmp_path / "pwned").exists()


def test_a_traceback_never_reaches_the_user(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "popsim.cli"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "Traceback" not in done.stderr
    bad = subprocess.run(
        [sys.executable, "-c", "import sys, popsim.cli; sys.argv = ['popsim', 'run', 'nothing']; popsim.cli.main()"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert bad.returncode == 2
    assert bad.stderr.startswith("popsim: nothing: neither")
    assert "Traceback" not in bad.stderr


def test_run_and_compare(call):
    for name in ("fall", "rise"):
        status, out, _ = call(
            "run", f"oil_price_{name}", "--engine", "baseline", "--size", 50, "--seed", 3, "--out", name
        )
        assert status == 0
        assert "inflation_2" in out
        assert "fitted" in out
        assert f"popsim compare {name}" in out
    status, out, _ = call("compare", "fall", "rise", "--json", "--draws", 50)
    assert status == 0
    found = json.loads(out)
    assert {row["statistic"] for row in found["targets"]} >= {"mean", "trimmed_sd", "share", "joint_share", "asymmetry"}
    assert found["fitted"] == ["baseline"]
    status, out, _ = call("compare", "fall", "--draws", 50)
    assert status == 0
    assert "baseline (fitted to these targets, so not judged)" in out
    assert "19 (no readable answer in arm rise)" in out
    assert "Monte-Carlo intervals, given model, prompt and temperature" in " ".join(out.split())
    assert max(map(len, out.splitlines()[:-1])) <= 120


def targets(**changes):
    """A file with one human figure."""
    figure = {"vignette": "oil", "outcome": "inflation", "group": "households", "statistic": "mean", "pooling": "fall"}
    figure |= {"value": 0.3, "se": 0.1, "n": 500, "wave": "1", "form": "levels", "population": "adults"}
    figure |= {"weighted": False, "published": "2020-01-01", "source": "a table", "obtained": "read"}
    path = f"{'_'.join(changes)}.yaml"
    Path(path).write_text(yaml.safe_dump({"name": "mine", "title": "Mine", "targets": [figure | changes]}))
    return path


def humans(answer, weight):
    """A file that describes a table of one human answer."""
    Path(f"{answer}_{weight}.csv").write_text(f"arm,q1,q2,w\nfall,1.6,{answer},{weight}\n")
    rows = {"file": f"{answer}_{weight}.csv", "group": "households", "vignette": "oil", "arm": "arm", "weight": "w"}
    rows |= {"outcomes": {"inflation": {"shock": "q2", "baseline": "q1"}}, "population": "adults"}
    rows |= {"published": "2020-01-01", "source": "ours"}
    path = f"{answer}_{weight}.yaml"
    Path(path).write_text(yaml.safe_dump({"name": "mine", "title": "Mine", "rows": rows}))
    return path


def test_a_comparison_that_cannot_be_made_is_one_line_and_status_2(call):
    call("run", study(group="households"), "--out", "fall")
    for arguments, said in (
        (["fall", "aprw_households"], "the runs have no readable answer in arm 'rise'"),
        (["fall"], "fall: its scenario names no targets; write a file of them behind the runs"),
        (["fall", "mine.yaml"], "mine.yaml: no such file"),
        (["fall", "aprw_householts"], "did you mean aprw_households"),
        (["nowhere.yaml"], "nowhere.yaml: no such file or folder"),
        (["study.yaml"], "study.yaml: is no Run folder"),
        (["fall", targets(statistic="share", of="up")], "share up makes no sense for a change. Allowed: mean, sd"),
        (["fall", targets(outcome="prices")], "the runs have no outcome 'prices'"),
        (["fall", targets(form="direct")], "figures of two forms of a question are not compared"),
        (["fall", humans("98", "1")], "column 'q2' holds 98 in row 1, not from -2 to 8; a code for no answer belongs"),
        (["fall", humans("2.0", "0")], "column 'w' holds 0 in row 1; weights must be positive"),
        (["fall", "aprw_households", "--wave", 1], "fall: has no wave 1; its waves are 0 to 0"),
    ):
        status, _, err = call("compare", *arguments)
        assert status == 2
        assert said in err
        assert err.count("\n") == 1


def test_run_goes_on_where_it_stopped_and_refuses_another_study(call):
    assert call("run", study(), "--out", "result")[0] == 0
    assert call("run", study(), "--out", "result")[0] == 0
    status, _, err = call("run", study(), "--size", 11, "--out", "result")
    assert status == 2
    assert "scenario.size is 10 there and 11 here" in err


def test_show_prints_prompts_of_one_arm(call):
    status, out, _ = call("show", study(arms={"fall": {}, "rise": {}}), "--people", 2, "--arm", "rise")
    assert status == 0
    assert out.count("QUESTIONNAIRE") == 2
    assert "Oil price rises" in out
    assert "Oil price falls" not in out


def test_show_prints_every_page_and_what_it_hangs_on(call):
    status, out, _ = call("show", "household_outlook_pages", "--size", 10, "--people", 2)
    assert status == 0
    assert out.count("=== person") == out.count("Personal Characteristics:") == 2
    assert out.count("Next page of the questionnaire:") == 2 * 4
    assert "--- page 2, shown if finances is 'better' or 'worse' ---" in out
    assert "“{{answer.finances}}”" in out
    assert "--- page 3 ---" in out


def test_a_dry_run_counts_pages(call):
    status, out, _ = call(
        "run", "household_outlook_pages", "--size", 10, "--engine", "nano:x", "--dry-run", "--no-probe"
    )
    assert status == 0
    assert "nano:x: 50 prompts: 10 distinct of 10, and 40 later on, whose text news or earlier replies decide" in out
    assert "To ask: 50 prompts" in out


def test_check_reads_every_kind(call):
    files = ("oil_price_fall", "oil_price", "us_adults_2018", "four_vignettes", "aprw_households_2019")
    status, out, _ = call("check", *files, study(sweep={"seed": [1, 2]}))
    assert status == 0
    assert "scenario, 2 points, good" in out
    assert "oil_price: questionnaire, 5 questions, good" in out
    assert "four_vignettes: questionnaire, 20 questions, good" in out
    assert "aprw_households_2019: population, good" in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "nanno"}, "study.yaml: engine 'nanno' is unknown; did you mean nano?"),
        ({"targets": ["aprw_household"]}, "study.yaml: aprw_household: neither .* did you mean aprw_households?"),
        ({"assignment": {"by": ["sexx"]}}, "study.yaml: assignment.by: people have no 'sexx'"),
        ({"questionnaire": "sibling.yaml"}, "study.yaml: questionnaire: sibling.yaml: vignetes: unknown key"),
    ],
)
def test_check_says_in_which_file_a_name_is_misspelt(changes, message, call):
    Path("sibling.yaml").write_text("{based_on: oil_price, name: sibling, vignetes: {}}")
    status, _, err = call("check", study(**changes), "sibling.yaml")
    assert status == 2
    assert re.match(rf"popsim: {message.replace('?', '.')}", err), err
    assert "\npopsim: sibling.yaml: vignetes: unknown key; did you mean vignettes?" in err


def test_people_writes_and_reports_every_margin(call):
    status, out, _ = call("people", "us_adults_2018", "--size", 500, "--out", "people.csv")
    assert status == 0
    assert len(pd.read_csv("people.csv")) == 500
    assert "Worst of all" in out
    assert "converged" in out
    status, _, err = call("people", "us_adults_2018", "--size", 0, "--out", "nobody.csv")
    assert status == 2
    assert err.count("\n") == 1


def test_list_copy_and_engines(call, tmp_path):
    status, out, _ = call("list")
    assert status == 0
    assert "oil_price_fall" in out
    assert call("copy", "oil_price_fall", "mine.yaml")[0] == 0
    assert call("check", "mine.yaml")[0] == 0
    status, _, err = call("copy", "oil_price_fall", "mine.yaml")
    assert status == 2
    assert "exists already" in err
    assert call("copy", "cn_platform_panel", "panel.yaml")[0] == 0
    assert call("check", "panel.yaml")[0] == 0
    status, out, _ = call("engines")
    assert status == 0
    assert "baseline" in out


def test_sweep_prints_a_row_per_point(call):
    path = study(sweep={"people.confidence": ["weak", "strong"]}, replicates=2)
    status, out, _ = call("sweep", path, "--out", "result")
    assert status == 0
    assert "2 points, 2 replicates" in out
    assert len(pd.read_parquet("result/answers.parquet")) == 2 * 2 * 10 * 5
    status, _, err = call("sweep", study(), "--out", "other")
    assert status == 2
    assert "nothing under sweep" in err


def test_dry_run_says_what_a_study_would_cost_and_writes_nothing(call, tmp_path):
    path = study(engine="engines_for_tests:Seeded")
    status, out, err = call("run", path, "--dry-run")
    assert (status, err) == (0, "")
    assert "engines_for_tests:Seeded: 10 prompts: 10 distinct of 10" in out
    assert "prompt tokens: about 100 (counted by the engine on 10 prompts)" in out
    assert "reply tokens: at most 22,860, about 50 by the probe" in out
    assert "time: about " in out
    status, out, _ = call("run", path, "--dry-run", "--no-probe")
    assert status == 0
    assert "estimated, 4 characters a token" in out
    assert "time" not in out
    path = study(sweep={"people.confidence": ["weak", "strong"]}, replicates=3)
    status, out, _ = call("sweep", path, "--dry-run")
    assert status == 0
    assert "2 points, 3 replicates" in out
    assert "baseline: 60 prompts" in out
    assert [file.name for file in tmp_path.iterdir()] == ["study.yaml"]
    status, _, err = call("sweep", path)
    assert status == 2
    assert "--out FOLDER" in err


def test_engines_say_what_they_would_run_on_here(call):
    status, out, _ = call("engines")
    assert status == 0
    assert re.search(r"transformers +yes +torch \S+, transformers \S+ +\S", out)
    assert re.search(r"This machine: \d+ cores?, \d+ GiB of memory, ", out)
    assert "Several workers: " in out


def test_cache_is_shown_and_pruned(call, monkeypatch):
    path = study(engine="engines_for_tests:Seeded")
    assert call("run", path, "--out", "a", "--cache", "cache.sqlite")[0] == 0
    monkeypatch.setenv("POPSIM_CACHE", "cache.sqlite")
    status, out, _ = call("run", path, "--out", "b")
    assert status == 0
    assert "10 prompts (0 answered from the journal, 10 from the cache)" in out
    status, out, _ = call("cache")
    assert status == 0
    assert re.search(r"seeded/1 +10 +\d+ +20\d\d-", out)
    assert "cache.sqlite: 10 replies" in out
    status, out, _ = call("cache", "cache.sqlite", "--prune-older-than", 1)
    assert "0 replies thrown out" in out
    status, out, _ = call("cache", "--max-size", "0.001MB")
    assert status == 0
    assert "10 replies thrown out" in out
    status, out, _ = call("run", path, "--out", "c")
    assert "(0 answered from the journal, 0 from the cache)" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no file is named; give FILE, or set POPSIM_CACHE"),
        (("nowhere.sqlite",), "cache nowhere.sqlite: no such file"),
        (("study.yaml",), "cache study.yaml: file is not a database"),
        (("a/journal.sqlite", "--max-size", "1"), "is the journal of a run, not a cache"),
        (("cache.sqlite", "--max-size", "lots"), "--max-size lots: is no size"),
    ],
    ids=["none", "absent", "text", "journal", "size"],
)
def test_a_cache_that_is_none_is_one_line(arguments, says, call):
    Path("study.yaml").write_text("name: a text that is long enough not to be empty\n" * 50)
    Path("a").mkdir()
    with Journal("a/journal.sqlite") as journal:
        journal.put(b"k", Reply("kept"))
    Cache("cache.sqlite").close()
    status, _, err = call("cache", *arguments)
    assert status == 2
    assert err.startswith("popsim: ")
    assert says in err
    assert err.count("\n") == 1
    with Journal("a/journal.sqlite") as journal:
        assert list(journal.get_many([b"k"])) == [b"k"]


@pytest.mark.slow
def test_two_runs_at_once_share_a_cache_and_a_third_asks_nothing(tmp_path):
    path = study(engine="engines_for_tests:Seeded", size=400)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from popsim.cli import main; main()"
    here = str(Path(__file__).parent)

    def start(out, seed):
        arguments = ["run", path, "--out", out, "--seed", seed, "--cache", "cache.sqlite"]
        return subprocess.Popen(
            [sys.executable, "-c", code, here, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    both = [start("a", "1"), start("b", "2")]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert "cache" not in errors
    with Cache("cache.sqlite") as cache:
        assert [(one.engine, one.replies) for one in cache.contents()] == [("seeded/1", 800)]
    third = start("c", "2")
    out, errors = third.communicate()
    assert third.returncode == 0, errors
    assert "400 prompts (0 answered from the journal, 400 from the cache)" in out
    assert pd.read_parquet("c/answers.parquet").equals(pd.read_parquet("b/answers.parquet"))


def test_a_run_of_which_nothing_could_be_read_says_where_to_look(call):
    status, out, _ = call("run", study(engine="engines_for_tests:Silent"), "--out", "silent")
    assert status == 0
    assert "Most answers could not be read; what was replied stands in silent/replies.parquet" in out
    assert "Answers by arm" not in out
