"""The analysis block of a scenario file: what is wrong with it is one line, and the command line freezes it."""

import json
import re
from pathlib import Path

import pytest
import yaml
from test_cli import one_question, study

PLAN = {"outcomes": ["inflation"]}


def contrast(**said):
    return {"contrasts": {"c": {"outcome": "inflation"} | said}}


def model(**said):
    return {"models": {"m": {"outcome": "inflation", "attributes": ["age"]} | said}}


BAD = {
    "outcome": (
        {"outcomes": ["inflatoin"]},
        r"outcomes\.0: .* 'inflatoin'; did you mean inflation\? Allowed: inflation",
    ),
    "vignette": ({"outcomes": ["oli.inflation"]}, r"outcomes\.0: .*did you mean oil\.inflation\?"),
    "text": ({"outcomes": ["considerations"]}, r"outcomes\.0: there is no outcome .* 'considerations'"),
    "statistic": ({"statistics": ["men"]}, r"statistics\.0: .*'mean'"),
    "margin": ({"margins": {"unemploymnt": 1}}, r"margins\.unemploymnt: .*did you mean unemployment\?"),
    "margin of 0": ({"margins": {"inflation": 0}}, r"margins\.inflation: .*greater than 0"),
    "arm": (contrast(arm="fal"), r"contrasts\.c\.arm: there is no arm 'fal'; did you mean fall\?"),
    "attribute": (contrast(between={"partty": ["a", "b"]}), r"contrasts\.c\.between: .*did you mean party\?"),
    "level": (
        contrast(between={"party": ["democrat", "republicans"]}),
        r"between\.party: there is no party 'republicans'; did you mean republican\?",
    ),
    "group": (contrast(between={"group": ["expert", "households"]}), r"between\.group: .*did you mean experts\?"),
    "number": (contrast(between={"age": ["30", "40"]}), r"between: age is a number and has no levels"),
    "twice": (contrast(between={"sex": ["male", "male"]}), r"between\.sex: 'male' stands twice"),
    "two arms": (contrast(between={"arm": ["rise", "fall"]}, arm="fall"), r"arm: between compares two arms already"),
    "direction": (contrast(of="rises"), r"contrasts\.c\.of: .*did you mean rise\?"),
    "same": (contrast(expect="same"), r"expect: same needs to know how near; write margins: \{inflation: \.\.\.\}"),
    "regressor": (model(attributes=["agee"]), r"models\.m\.attributes\.0: .*did you mean age\?"),
    "arm within an arm": (model(attributes=["arm"], arm="fall"), r"attributes: arm explains nothing"),
    "cluster": (model(cluster="regoin"), r"models\.m\.cluster: .*did you mean region\?"),
    "range": ({"exclude": {"outside": {"inflation": [3, 1]}}}, r"exclude\.outside: inflation: 3 lies above 1"),
    "trim": ({"exclude": {"trim": {"inflation": 0.6}}}, r"exclude\.trim\.inflation: .*less than 0\.5"),
    "check": ({"exclude": {"unless": [{"question": "inflation_3", "at_most": 1}]}}, r"did you mean inflation_\d\?"),
    "wave": ({"wave": 1}, r"wave: there is no wave 1. Allowed: 0 to 0"),
    "check of words": (
        {"exclude": {"unless": [{"question": "inflation_2", "among": ["4"]}]}},
        r"exclude\.unless\.0: '4' is no answer to it\. Allowed: at_least and at_most",
    ),
    "wording": ({"wordings": ["oil_prices"]}, r"wordings\.0: .*did you mean oil_price\?"),
    "rule": ({"exclude": {"trimm": 1}}, r"exclude\.trimm: unknown key; did you mean trim\?"),
}


@pytest.mark.parametrize(("said", "complaint"), BAD.values(), ids=BAD)
def test_what_is_wrong_with_a_plan_is_one_line(said, complaint, call):
    status, _, error = call("run", study(group="households", analysis=PLAN | said), "--freeze")
    assert status == 2
    assert len(error.splitlines()) == 1
    assert error.startswith("popsim: study.yaml: analysis.")
    assert re.search(complaint, error), error
    assert not Path("runs").exists()


def test_a_choice_has_shares_and_no_mean(call):
    questionnaire = one_question(kind="choice", options=["yes", "no"])
    asked = questionnaire["vignettes"][0]["pages"][0]["questions"][0]
    del asked["minimum"], asked["maximum"]
    plan = {"outcomes": ["q"], "contrasts": {"c": {"outcome": "q", "of": "yes", "against": 0.5}}}
    given = {"questionnaire": questionnaire, "arms": {"all": {}}}
    _, _, error = call("check", study(**given, analysis=plan))
    assert "analysis.statistics: q is a choice and has no mean; add share" in error
    assert call("check", study(**given, analysis=plan | {"statistics": ["share"]}))[0] == 0
    without = plan | {"statistics": ["share"], "contrasts": {"c": {"outcome": "q"}}}
    assert (
        "c.of: q is a choice; say whose share. Allowed: no, yes" in call("check", study(**given, analysis=without))[2]
    )


def test_the_command_line_freezes_says_so_and_compares(call):
    called = ("oil_price_fall", "--engine", "baseline", "--size", 60)
    status, out, _ = call("run", *called, "--out", "run", "--freeze")
    record = json.loads(Path("run/manifest.json").read_text())["plan"]
    assert status == 0
    assert f"SHA-256 {record['sha256']} (run/plan.json)" in out
    _, again, _ = call("run", *called, "--out", "run", "--freeze")
    assert record == json.loads(Path("run/manifest.json").read_text())["plan"]
    assert f"Plan frozen {record['frozen']}: " in again
    status, out, _ = call("compare", "run", "--draws", 50, "--tables", "tables")
    flat = " ".join(out.split())
    assert status == 0
    assert "contrasts of the plan, planned" in flat
    assert f"before the first answer (SHA-256 {record['sha256']})" in flat
    assert len([line for line in out.splitlines() if line.rstrip().endswith("planned")]) >= 2
    assert max(map(len, out.splitlines())) <= 120
    assert "inflation_falls" in Path("tables/planned_contrasts.csv").read_text()
    assert Path("tables/planned_models.csv").read_text().startswith("column,plan,name")

    call("run", *called, "--out", "bare")
    _, out, _ = call("compare", "bare", "--draws", 50)
    assert out.count("exploratory") == 1
    assert "No plan was frozen before these answers" in out
    assert "planned" not in out.replace("was planned", "")


def test_check_tells_the_hash_that_a_run_will_have(call):
    _, out, _ = call("check", study(group="households", analysis=PLAN))
    call("run", "study.yaml", "--out", "run", "--freeze")
    assert json.loads(Path("run/manifest.json").read_text())["plan"]["sha256"] in out


def test_a_plan_without_human_figures_is_computed_too(call):
    call("run", study(group="households", analysis=PLAN | contrast(), size=40), "--out", "run", "--freeze")
    status, out, _ = call("compare", "run", "--draws", 50)
    assert status == 0
    assert "contrasts of the plan, planned" in out
    _, out, _ = call("compare", "run", "--draws", 50, "--json")
    assert [row["name"] for row in json.loads(out)["planned_contrasts"]] == ["c"]
    assert call("compare", "run", "--draws", 50, "--tables", "tables")[0] == 0
    written = {path.stem: path.read_text().splitlines() for path in Path("tables").iterdir()}
    assert set(written) == {"learning", "planned_contrasts", "planned_models", "regressions"}
    assert ",c," in written["planned_contrasts"][1]


def test_a_population_of_ones_own_is_what_names_are_checked_against(call):
    Path("people.csv").write_text("sex,years\nf,20\nm,30\nf,40\n")
    own = {"name": "own", "title": "Own", "from_table": {"file": "people.csv"}, "persona": {"en": "{{sex}}"}}
    Path("own.yaml").write_text(yaml.safe_dump(own))
    given = {"population": "own.yaml", "size": 3, "group": "households"}
    _, _, error = call("check", study(**given, analysis=PLAN | model(attributes=["year"])))
    assert "there is no attribute of people 'year'; did you mean years?" in error
    assert call("check", study(**given, analysis=PLAN | model(attributes=["years", "sex"])))[0] == 0
