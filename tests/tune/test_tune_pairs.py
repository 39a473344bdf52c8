import re

import pandas as pd
import pytest

from popsim.files import shipped
from popsim.survey import read_reply
from popsim.tune import load_tune_config
from popsim.tune.pairs import draw_cell, draw_pairs, is_held_out

SETTINGS = load_tune_config("nano").draw.model_copy(update={"cell": 6, "broken": 0})
SHIPPED_RISE = shipped("scenarios")["oil_price_rise"]


def only(name, **changed):
    return SETTINGS.model_copy(update={"scenarios": {name: 1}, **changed})


@pytest.fixture(scope="module")
def pairs():
    of_each = [pair for name in SETTINGS.scenarios for n in range(2) for pair in draw_cell(only(name), "train", n)]
    return of_each + [pair for cell in range(24) for pair in draw_cell(SETTINGS, "train", cell)]


def text(pair):
    return pair.messages[0][1]


def test_a_cell_is_a_function_of_seed_part_and_number():
    assert draw_cell(SETTINGS, "train", 3) == draw_cell(SETTINGS, "train", 3)
    other = SETTINGS.model_copy(update={"seed": SETTINGS.seed + 1})
    assert {pair.seed for pair in draw_cell(other, "train", 3)}.isdisjoint(
        pair.seed for pair in draw_cell(SETTINGS, "train", 3)
    )


def test_people_held_out_are_never_trained_on(pairs):
    held_out = {pair.facts["persona"] for pair in draw_pairs(SETTINGS, "held_out", 48)}
    assert len(held_out) > 10
    assert all(map(is_held_out, held_out))
    assert held_out.isdisjoint(pair.facts["persona"] for pair in pairs)


def test_text_and_facts_are_of_the_same_person(pairs):
    for pair in pairs:
        facts = pair.facts
        if "personal" in facts["modules"]:
            assert facts["persona"] in text(pair)
        else:
            assert facts["persona"] not in text(pair)
        for item in facts["heard"] if "social" in facts["modules"] else ():
            assert item["text"] in text(pair)
        if "confidence" in facts["modules"] and facts["person"].get("confidence"):
            assert re.search(rf"(is|较|:) ?{facts['person']['confidence']}[ .,(]", text(pair))


def test_every_answer_can_be_read(pairs):
    for pair in pairs:
        assert len(pair.answers) == (1 if "pages" in pair.group else SETTINGS.answers)
        for answer in pair.answers:
            assert read_reply(answer, pair.questions, reasoning=pair.reasoning).status == "ok"


def test_answers_that_break_off_share_their_words_and_keep_their_figures():
    settings = only("oil_price_fall", broken=1, broken_answers=6)
    for pair in draw_cell(settings, "train", 0) + draw_cell(settings, "train", 2):
        readings = [read_reply(answer, pair.questions, reasoning=pair.reasoning) for answer in pair.answers]
        assert {reading.status for reading in readings} == {"ok"}
        assert len({tuple(answer.value for answer in reading.answers) for reading in readings}) > 1
        assert len({reading.recall for reading in readings}) == 1
        assert len({reading.reasoning.rpartition(". ")[0] for reading in readings}) == 1
        for answer, end in zip(pair.answers, pair.ends, strict=True):
            assert answer[:end].endswith('%"')
            assert answer[end:].startswith(', "Main_considerations')


def test_a_brief_pair_ends_with_persona_and_recall():
    for number in range(4):
        for brief, whole in zip(
            draw_cell(only("oil_price_rise"), "train", number, brief=True),
            draw_cell(only("oil_price_rise"), "train", number),
            strict=True,
        ):
            assert brief.facts["persona"] == whole.facts["persona"]
            assert len(text(brief)) < len(text(whole)) / 2
            assert all(answer.startswith("<recall>") and answer.endswith("</recall>") for answer in brief.answers)
            if whole.reasoning:
                assert [answer.partition("</recall>")[0] for answer in whole.answers] == [
                    answer.removesuffix("</recall>") for answer in brief.answers
                ]


def test_everything_varies(pairs):
    facts = [pair.facts for pair in pairs]
    assert {pair.group.split(".")[0] for pair in pairs} == set(SETTINGS.scenarios)
    assert {module for one in facts for module in ("personal", "priors", "confidence", "social")} == {
        module for one in facts for module in one["modules"]
    }
    assert any(len(one["modules"]) < 4 for one in facts)
    assert {0, 1, 2} == {len(one["heard"]) for one in facts}
    assert len({one["person"]["confidence"] for one in facts if one["person"].get("confidence")}) == 5
    assert {True, False} == {pair.reasoning for pair in pairs}
    assert any("(in Scenario 2)" in text(pair) for pair in pairs)


@pytest.mark.parametrize("name", ["macro_vignettes", "oil_price_2025_households", "learning_platform_cn"])
def test_where_more_is_asked_behind_an_open_question_answers_are_whole(name):
    for pair in draw_cell(only(name, broken=1), "train", 0):
        assert pair.ends == ()
        assert {read_reply(answer, pair.questions, reasoning=pair.reasoning).status for answer in pair.answers} == {
            "ok"
        }


def test_rare_priors_are_as_common_as_asked():
    def shares(**more):
        settings = only("oil_price_fall", cell=60, answers=1, module_off=0, **more)
        said = pd.Series([pair.facts["person"]["prices_prior"] for pair in draw_pairs(settings, "train", 500)])
        return said.value_counts(normalize=True)

    as_drawn, evened = shares(uniform_priors=0), shares(uniform_priors=1)
    assert as_drawn["down"] == pytest.approx(0.027, abs=0.025)
    assert evened[["up", "same", "down"]].tolist() == pytest.approx([1 / 3] * 3, abs=0.06)


def test_the_number_heard_is_the_number_said(pairs):
    told = [(item["signal"], item["text"]) for pair in pairs for item in pair.facts["heard"] if item["signal"]]
    assert told
    for signal, text in told:
        assert float(re.search(r"-?\d+\.\d+", text)[0]) == signal["value"]
        assert signal["variable"] in ("inflation", "unemployment")


def test_later_pages_follow_what_was_said_on_earlier_ones():
    cells = [pair for n in range(3) for pair in draw_cell(only("household_outlook_pages"), "train", n)]
    later = [pair for pair in cells if len(pair.messages) > 1]
    for pair in later:
        assert [role for role, _ in pair.messages] == ["user", "assistant"] * (len(pair.messages) // 2) + ["user"]
        before = next(one for one in cells if one.messages == pair.messages[:-2])
        assert before.answers == (pair.messages[-2][1],)
    assert max(len(pair.messages) for pair in later) == 9
    said = [re.search(r"You have said that prices will be (\w+)", pair.messages[-1][1]) for pair in later]
    assert {found[1] for found in said if found} == {"higher", "lower"}


def test_a_second_wave_tells_what_was_answered_in_the_first_and_what_was_heard_since():
    cell = draw_cell(only("information_treatment", as_shipped=1, module_off=0, cell=40), "train", 0)
    first, second = cell[: len(cell) // 2], cell[len(cell) // 2 :]
    for before, after in zip(first, second, strict=True):
        assert before.facts["persona"] == after.facts["persona"]
        said = read_reply(before.answers[0], before.questions, reasoning=before.reasoning).answers[0].label
        assert f"Inflation over the coming 12 months: {said}" in text(after)
        assert not before.facts["heard"]
    values = {item["signal"]["value"] for pair in second for item in pair.facts["heard"] if item["signal"]}
    assert len(values) == 1
    assert values != {2.8}


def test_posts_are_among_what_is_heard():
    cells = [pair for n in range(4) for pair in draw_cell(only("oil_news", as_shipped=1, module_off=0), "train", n)]
    assert any("someone you follow: “" in text(pair) for pair in cells)


def test_each_wording_of_a_swept_questionnaire_is_drawn():
    cells = [draw_cell(only("oil_price_wordings"), "train", n)[0] for n in range(24)]
    assert len({text(pair).partition("QUESTIONNAIRE")[2][:200] for pair in cells}) >= 4


def test_a_file_of_ones_own_may_be_drawn_from(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(SHIPPED_RISE.read_text(encoding="utf-8").replace("name: oil_price_rise", "name: mine"), "utf-8")
    assert {pair.group for pair in draw_cell(only(str(mine)), "train", 0)} == {f"{mine}.rise"}
