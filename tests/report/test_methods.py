import json
import re

from evil_study import EVIL

from popsim.report.methods import methods


def text_of(run):
    return (run.path / "methods.md").read_text(encoding="utf-8")


def test_every_run_and_sweep_has_its_methods(oil, swept):
    assert text_of(oil).startswith("# Methods: Oil up or down\n")
    assert (swept.path / "point000-replicate0" / "methods.md").is_file()
    assert "This was repeated at 6 points, 3 times at each." in text_of(swept)
    assert text_of(swept).count("- Point: ") == 6


def test_methods_come_from_the_manifest_alone(oil, tmp_path):
    manifest = json.loads((oil.path / "manifest.json").read_text(encoding="utf-8"))
    assert methods(manifest) == text_of(oil)


def test_the_checklist_of_a_paper_is_filled(oil):
    found = dict(re.findall(r"^- \*\*(.+?):\*\* (.+)$", text_of(oil), re.M))
    assert found["Weights"].endswith("effective n 300")
    assert found["Sampling"] == "temperature 1, top-p 1, top-k off, not held to a grammar"
    assert found["Failures"] == "0 of 3000 answers (0.00%)"
    assert found["Seed"].startswith("7;")
    assert "raking converged" in found["Fit of the population"]
    assert "popsim 0." in found["Versions"]
    for name in ("Engine", "Quantisation and options", "Population", "News", "Waves", "Prompts", "Time"):
        assert found[name]
    assert "table B01001" in text_of(oil)
    assert "{{persona}}" in text_of(oil)


def test_starts_and_neighbours_are_told(oil, tmp_path):
    import popsim

    scenario = oil.scenario.model_copy(update={"size": 10})
    first = popsim.run(scenario, tmp_path / "runs" / "a")
    manifest = first.manifest | {"state": "running"}
    (first.path / "manifest.json").write_text(json.dumps(manifest))
    again = popsim.run(scenario, tmp_path / "runs" / "a")
    assert len(again.manifest["starts"]) == 2
    assert "This study was started 2 times" in text_of(again)
    (tmp_path / "runs" / "strange").mkdir()
    (tmp_path / "runs" / "strange" / "manifest.json").write_text("[1]")
    other = popsim.run(scenario.model_copy(update={"seed": 9}), tmp_path / "runs" / "b")
    assert "Beside it: oil, 10 respondents, seed 7, engine baseline/1; complete" in text_of(other)
    assert text_of(other).count("Beside it") == 1


def test_markup_in_texts_does_not_become_markup(evil):
    text, fences = text_of(evil), re.findall(r"^`{3,}$", text_of(evil), re.M)
    assert EVIL not in text
    assert "\\<script\\>" in text
    assert len(fences) == 2
    assert "could not be read" in text
