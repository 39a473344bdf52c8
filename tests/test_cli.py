import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from popsim import cli

STUDY = {
    "name": "mine",
    "title": "Mine",
    "population": "us_adults_2018",
    "size": 10,
    "questionnaire": "oil_price",
    "arms": {"fall": {}},
    "engine": "baseline",
}


def popsim(capsys, monkeypatch, *arguments):
    """Run the command line in this process; give exit status, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["popsim", *map(str, arguments)])
    try:
        cli.main()
        status = 0
    except SystemExit as done:
        status = int(done.code or 0)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def call(capsys, monkeypatch):
    return lambda *arguments: popsim(capsys, monkeypatch, *arguments)


def study(**changes):
    Path("study.yaml").write_text(yaml.safe_dump(STUDY | changes))
    return "study.yaml"


def template(text):
    Path("mine.txt").write_text(text)
    return study(prompt={"template": "mine.txt"}, engine="engines_for_tests:Seeded")


def one_question(**changes):
    question = {"name": "q", "kind": "number", "text": "How much?", "minimum": 0, "maximum": 9} | changes
    return {"name": "s", "topic": "t", "task": "u", "vignettes": [{"name": "v", "pages": [{"questions": [question]}]}]}


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
    "unknown arm": (lambda: study(arms={"sideways": {}}), r"vignette oil: no arm 'sideways'; allowed: fall, rise"),
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
        r"us_adults: neither .*did you mean us_adults_2018\?",
    ),
    "waves backwards": (lambda: study(waves=[2, 1]), r"waves: waves must increase, not \[2, 1\]"),
    "missing file": (lambda: "nowhere.yaml", r"nowhere.yaml: no such file"),
    "unknown engine": (lambda: study(engine="basline"), r"engine 'basline' is unknown; did you mean baseline\?"),
    "misspelt slot in a template": (
        lambda: template("You are {{agee}} years old."),
        r"scenario mine: prompt.template: unknown slot \{\{agee\}\}; did you mean \{\{age\}\}\?",
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
    status, out, _ = call("compare", "fall", "rise", "--json")
    assert status == 0
    table = pd.DataFrame(json.loads(out))
    assert set(table["statistic"]) >= {"mean", "trimmed SD", "share rise", "share both_fall"}
    status, out, _ = call("compare", "fall")
    assert status == 0
    assert "fitted" in out


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


def test_check_reads_every_kind(call):
    status, out, _ = call("check", "oil_price_fall", "oil_price", "us_adults_2018", study(sweep={"seed": [1, 2]}))
    assert status == 0
    assert "scenario, 2 points, good" in out
    assert "questionnaire, 5 questions, good" in out


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
