import re

import pytest

from popsim.survey import read_reply
from popsim.tune import load_tune_config
from popsim.tune.pairs import draw_cell, draw_pairs, is_held_out

SETTINGS = load_tune_config("nano").draw.model_copy(update={"cell": 12, "broken": 0})


@pytest.fixture(scope="module")
def pairs():
    return [pair for cell in range(24) for pair in draw_cell(SETTINGS, "train", cell)]


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
            assert facts["persona"] in pair.prompt
        else:
            assert facts["persona"] not in pair.prompt
        for item in facts["heard"] if "social" in facts["modules"] else ():
            assert item["text"] in pair.prompt
        if "confidence" in facts["modules"] and facts["person"].get("confidence"):
            assert f"is {facts['person']['confidence']} (" in pair.prompt


def test_every_answer_can_be_read(pairs):
    for pair in pairs:
        assert len(pair.answers) == SETTINGS.answers
        for answer in pair.answers:
            assert read_reply(answer, pair.questions, reasoning=pair.reasoning).status == "ok"


def test_answers_that_break_off_share_their_words_and_keep_their_figures():
    settings = SETTINGS.model_copy(update={"scenarios": {"oil_price_fall": 1}, "broken": 1, "broken_answers": 6})
    for pair in draw_cell(settings, "train", 0) + draw_cell(settings, "train", 2):
        readings = [read_reply(answer, pair.questions, reasoning=pair.reasoning) for answer in pair.answers]
        assert {reading.status for reading in readings} == {"ok"}
        assert len({tuple(answer.value for answer in reading.answers) for reading in readings}) > 1
        assert len({reading.recall for reading in readings}) == 1
        assert len({reading.reasoning.rpartition(". ")[0] for reading in readings}) == 1
        for answer, end in zip(pair.answers, pair.ends, strict=True):
            assert answer[:end].endswith('%"')
            assert answer[end:].startswith(', "Main_considerations')


def test_a_brief_pair_ends_with_persona_and_recall(pairs):
    for number in range(4):
        for brief, whole in zip(
            draw_cell(SETTINGS, "train", number, brief=True), draw_cell(SETTINGS, "train", number), strict=True
        ):
            assert brief.facts["persona"] == whole.facts["persona"]
            assert len(brief.prompt) < len(whole.prompt) / 2
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
    assert any("(in Scenario 2)" in pair.prompt for pair in pairs)


def test_the_number_heard_is_the_number_said(pairs):
    told = [(item["signal"], item["text"]) for pair in pairs for item in pair.facts["heard"] if item["signal"]]
    assert told
    for signal, text in told:
        assert float(re.search(r"-?\d+\.\d+", text)[0]) == signal["value"]
        assert signal["variable"] in ("inflation", "unemployment")
