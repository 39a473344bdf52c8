import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml
from evil_study import EVIL, Evil, evil_study

import popsim
from popsim.errors import EngineError, RunError
from popsim.report.figures import figures
from popsim.report.page import page
from popsim.study import load_run
from popsim.study.pages import gather, report


class Reader(HTMLParser):
    """Collects tags, ids and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def evil_page(evil):
    return Reader(page(gather(evil)))


@pytest.fixture(scope="module")
def oil_page(oil):
    return Reader(page(gather(oil)))


def test_what_users_and_models_wrote_is_shown_as_text(evil_page):
    names = [tag for tag, _ in evil_page.tags]
    assert "script" not in names
    assert "img" not in names
    assert not [name for _, attributes in evil_page.tags for name in attributes if name.startswith("on")]
    # title, question, option, vignette, news, source, prompt, unreadable reply, quote, notice and methods all say it
    assert evil_page.text.count("<script>document.title='owned'</script> \"quoted\" & it's 😀") > 15
    assert f"Because {EVIL}" in evil_page.text
    assert f"never mind {EVIL}" in evil_page.text


def test_ids_are_unique_so_that_no_picture_borrows_from_another(evil_page):
    assert len(set(evil_page.ids)) == len(evil_page.ids)


def test_every_kind_of_question_has_its_picture(evil):
    material = gather(evil)
    found = figures(material)
    assert {f"answers-{name}" for name in ("rate", "mood", "pick", "many", "odds")} <= set(found)
    assert {"failures", "spread", "waves-rate", "revision-mood"} <= set(found)
    many = found["answers-many"].data.set_index(["row", "option"])["share"]
    ok = evil.answers[evil.answers["status"].eq("ok") & evil.answers["question"].eq("many")]
    here = ok[ok["arm"].eq("one") & ok["wave"].eq(0) & ok["label"].eq("red")]
    assert many["one, wave 0", "red"] == pytest.approx(here["value"].mean())


def test_the_prompt_shown_is_the_one_that_was_sent(evil):
    shown = gather(evil).prompt
    assert "to the letter" in shown.remark
    assert "SHA-256 is the one" in shown.remark
    assert shown.text.count("‹script›") >= 1  # the prompt itself defuses markup in news
    assert shown.wave == 1


def test_a_respondent_class_of_its_own_is_said_beside_the_prompt(evil, tmp_path):
    copy = shutil.copytree(evil.path, tmp_path / "run")
    replies = pd.read_parquet(copy / "replies.parquet").assign(prompt_sha="0" * 64)
    replies.to_parquet(copy / "replies.parquet")
    assert "Not to the letter" in gather(load_run(copy)).prompt.remark


def test_the_page_says_what_baseline_is_and_shows_human_figures(fall):
    text = Reader(page(gather(fall))).text
    assert "not evidence about people" in text
    assert "by construction" in text
    assert "● within 2" in text
    assert "Andre, Pizzinelli, Roth and Wohlfart (2022)" in text


def test_humans_stand_in_the_pictures_where_they_were_published(oil):
    data = figures(gather(oil))["changes-oil-inflation"].data
    human = data[data["who"].eq("human")].set_index("row")["mean"]
    assert human["fall, wave 0"] == -0.331
    assert human["rise, wave 1"] == 0.667
    changes = gather(oil).changes
    mine = changes[changes["outcome"].eq("inflation") & changes["arm"].eq("fall") & changes["wave"].eq(0)]
    simulated = data[data["who"].eq("simulated")].set_index("row")["mean"]
    assert simulated["fall, wave 0"] == pytest.approx(mine["value"].mean())


def test_means_on_the_page_are_those_of_the_answers(oil, oil_page):
    answers = oil.answers
    here = answers[answers["question"].eq("inflation_2") & answers["arm"].eq("rise") & answers["wave"].eq(1)]
    assert f"{here['value'].mean():.3f}" in oil_page.text


class Dies(Evil):
    """Breaks down after so many replies."""

    def __init__(self, after):
        self.left = after

    def answer(self, prompts):
        for found in super().answer(prompts):
            if not self.left:
                raise EngineError("the machine went away")
            self.left -= 1
            yield found


@pytest.mark.parametrize(("replies", "waves"), [(20, "0 are"), (100, "1 is")])
def test_a_run_that_broke_off_shows_what_is_there_and_says_what_is_missing(tmp_path, replies, waves):
    with pytest.raises(EngineError, match="went away"):
        popsim.run(evil_study(tmp_path), tmp_path / "run", engine=Dies(replies))
    text = Reader(report(tmp_path / "run").read_text(encoding="utf-8")).text
    assert "This run is running, not complete" in text
    assert f"Of 2 waves {waves} answered" in text
    assert "The whole prompt of one person" in text
    assert "How well the people meet their population" in text
    assert ("Not written yet: answers.parquet, replies.parquet" in text) == (waves == "0 are")
    assert ("Means by arm" in text) == (waves == "1 is")


def test_a_sweep_has_surfaces_contrasts_and_the_statement(swept):
    text = Reader(page(gather(swept))).text
    assert "The surface below is what was coded, by construction." in text
    assert "interaction of news.0.reach and people.confidence" in text
    assert set(figures(gather(swept))) >= {"sweep-rise-inflation_2", "sweep-rise-change-inflation"}


def test_scattered_points_have_slopes_and_a_picture_along_each_path(tmp_path):
    told = {"variable": "inflation", "value": 6.0, "sd": 1.0, "unit": "%"}
    study = {
        "name": "spread",
        "title": "Spread",
        "population": "us_adults_2018",
        "size": 30,
        "questionnaire": "oil_price",
        "group": "households",
        "arms": {"rise": {}},
        "news": [{"name": "forecast", "text": "{{value}}%", "source": "radio", "reach": 0.2, "signal": told}],
        "engine": "baseline",
        "sweep": {"news.0.reach": {"low": 0, "high": 1}, "people.confidence_shift": [-1, 0, 1]},
        "design": {"kind": "latin_hypercube", "points": 14},
    }
    (tmp_path / "spread.yaml").write_text(yaml.safe_dump(study))
    popsim.sweep(list(popsim.sweep_points(tmp_path / "spread.yaml")), 2, tmp_path / "out")
    material = gather(popsim.load_run(tmp_path / "out"))
    text = Reader(page(material)).text
    assert "news.0.reach: 14 values from 0." in text
    assert "people.confidence_shift: 1 less -1" in text
    assert "R² is the share of the variance between points" in text
    drawn = figures(material)["sweep-rise-inflation_1-news.0.reach"]
    assert len(drawn.data) == 14
    assert drawn.data["line"].iloc[-1] - drawn.data["line"].iloc[0] > 0.5  # all who hear of 6 % move up
    assert drawn.chart(340).to_dict()["width"] == 340


def test_an_unfinished_sweep_names_the_runs_without_answers(swept, tmp_path):
    copy = shutil.copytree(swept.path, tmp_path / "out")
    manifest = json.loads((copy / "manifest.json").read_text()) | {"state": "running"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "answers.parquet").unlink()
    (copy / "point005-replicate2" / "answers.parquet").unlink()
    material = gather(load_run(copy))
    assert "No answers yet from 1 of 18 runs: point 5, replicate 2." in material.missing
    assert len(material.table("answers")) == len(swept.answers) - 40 * 5
    assert "Contrasts" in page(material)


def test_plot_gives_the_pages_chart_and_a_wrong_name_lists_them(oil):
    assert oil.plot("spread").to_dict()["width"] == 340
    assert oil.plot("spread", 718).to_dict()["width"] == 718
    with pytest.raises(RunError, match=r"no picture is named 'spreed'; did you mean spread\? There are: .*spread"):
        oil.plot("spreed")


def test_figures_come_in_the_sizes_that_a_paper_takes(swept, tmp_path):
    report(swept.path, tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    stem = "sweep-rise-inflation_2"
    assert {f"{stem}{part}.{ending}" for part in ("", "-double") for ending in ("svg", "png", "pdf")} <= names
    for ending, width in (("", 340), ("-double", 718)):
        svg = (tmp_path / "figures" / f"{stem}{ending}.svg").read_text(encoding="utf-8")
        pdf = (tmp_path / "figures" / f"{stem}{ending}.pdf").read_bytes()
        png = (tmp_path / "figures" / f"{stem}{ending}.png").read_bytes()
        assert f'width="{width}"' in svg
        assert f"/MediaBox [0 0 {width * 72 / 96:g} ".encode() in pdf  # in points of 1/72 inch
        assert int.from_bytes(png[16:20], "big") == pytest.approx(width / 96 * 600, abs=1)


def test_repr_is_one_short_line_that_says_what_came_of_it(evil, swept):
    assert "<Run evil, complete: 60 respondents" in repr(evil)
    assert "answers failed" in repr(evil)
    assert "6 points x 3 replicates" in repr(swept)
    assert len(repr(evil).splitlines()) == 1


def test_a_comparison_with_other_columns_is_shown_as_it_is(fall):
    material = gather(fall)
    table = material.comparison.assign(verdict="human enough", z=[float("nan"), *material.comparison["z"][1:]])
    text = Reader(page(replace(material, comparison=table))).text
    assert text.count("human enough") == len(table)
    assert text.count("● within 2") == Reader(page(material)).text.count("● within 2") - 1
    other = Reader(page(replace(material, comparison=pd.DataFrame({"metric": ["distance"], "value": [0.25]})))).text
    assert "distance" in other
    assert "0.25" in other


def test_the_prompt_shown_hangs_on_earlier_answers_as_the_one_that_was_sent(tmp_path):
    told = popsim.run(
        popsim.load_scenario("information_treatment", {"size": 30, "engine": "baseline"}), tmp_path / "told"
    )
    prompt = gather(told).prompt
    assert "When you took part in this survey before" in prompt.text
    assert "Weight on forecast (2.8%) by confidence" in Reader(page(gather(told))).text
    assert "The household in the middle expects inflation of 2.8%." in prompt.text
    scenario = popsim.load_scenario("oil_price_pages", {"size": 20, "engine": "nano"})
    paged = popsim.run(scenario, tmp_path / "paged")
    prompt = gather(paged).prompt
    assert "to the letter" in prompt.remark
    assert prompt.text.count("QUESTIONNAIRE") >= 1


def test_a_run_of_which_nothing_could_be_read_has_its_page(tmp_path):
    scenario = popsim.load_scenario("information_treatment", {"size": 8, "engine": "engines_for_tests:Silent"})
    text = Reader(page(gather(popsim.run(scenario, tmp_path / "run")))).text
    assert "unreadable" in text
