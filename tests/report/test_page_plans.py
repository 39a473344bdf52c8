"""What the page and methods.md say of a plan; what users write in it does not become markup."""

import re

import yaml
from evil_study import EVIL, Evil, evil_study

import popsim
from popsim.study.pages import report

PLAN = {
    "outcomes": ["rate", "pick"],
    "statistics": ["mean", "share"],
    "contrasts": {"evil": {"outcome": "pick", "of": EVIL, "between": {"arm": ["one", "other"]}}},
    "models": {"who": {"outcome": "rate", "attributes": ["age"]}},
}


def evil_plan(folder, analysis):
    evil_study(folder)
    path = folder / "evil.yaml"
    study = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(study | {"analysis": analysis, "waves": [0]}), encoding="utf-8")
    return popsim.load_scenario(path)


def test_what_users_write_in_a_plan_stays_text_on_the_page_and_in_methods(tmp_path):
    popsim.run(evil_plan(tmp_path, PLAN), tmp_path / "run", engine=Evil(), freeze=True)
    edited = PLAN | {"exclude": {"unless": [{"question": "pick", "among": [EVIL]}]}}
    run = popsim.run(evil_plan(tmp_path, edited), tmp_path / "run", engine=Evil())
    html = report(run.path).read_text(encoding="utf-8")
    text = (run.path / "methods.md").read_text(encoding="utf-8")
    for said in (html, text):
        assert not re.search(r"(?<!\\)<(script|img)", said)
        assert run.manifest["plan"]["sha256"] in said
        assert "was frozen on" in said
        assert "the plan had been edited, but what was frozen stands: " in said
    assert "Contrasts of the plan" in html
    assert "- **Contrast evil (planned):** outcome pick" in text
    assert "exclude.unless" in text


def test_a_run_that_was_not_frozen_says_so_in_one_sentence(fall):
    html = report(fall.path).read_text(encoding="utf-8")
    text = (fall.path / "methods.md").read_text(encoding="utf-8")
    said = "No plan was frozen before these answers"
    assert text.count(said) == 1
    assert said in html
    assert "(planned)" not in text


def test_planned_figures_are_marked_on_the_page(fall, tmp_path):
    frozen = popsim.run(fall.scenario, tmp_path / "frozen", freeze=True)
    html = report(frozen.path).read_text(encoding="utf-8")
    rows = (
        html.split("<caption>Simulated beside published human figures</caption>")[1].split("</table>")[0].split("<tr")
    )
    assert {"planned" in row for row in rows if ">mean<" in row} == {True}
    assert {"planned" in row for row in rows if ">trimmed sd<" in row} == {False}
    assert "inflation_falls" in html


def test_the_page_says_that_its_means_are_of_all_answers_where_a_plan_leaves_some_out(tmp_path):
    for name, rules in (("all", {}), ("some", {"failed": True})):
        plan = PLAN | {"contrasts": {}, "exclude": rules}
        run = popsim.run(evil_plan(tmp_path, plan), tmp_path / name, engine=Evil())
        said = "What the plan leaves out is left out of what it asks for" in report(run.path).read_text("utf-8")
        assert said == bool(rules)
