"""Whole prompts, kept as text so that a change of wording is a diff a social scientist can read.

Run with POPSIM_UPDATE_GOLDEN=1 to write them anew.
"""

import os
from datetime import date
from pathlib import Path

import pytest

from popsim.prompts import load_layout, prepare
from popsim.survey import load_questionnaire, set_arm

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "prompts"

ANN = "You are a divorced woman of 56. Home is in the West of the United States, in a house that you own ($400,000)."
BOB = "You are a married man of 34 from the South. After high school you went to work; you earn $41,000 a year."
CEM = "You are a widowed man of 78 from the Midwest. You rent a flat and live on $22,000 a year."
DEE = "You are a single woman of 23 from the Northeast. You are a student and vote for the Democrats."
LIN = "您今年28岁，本科毕业，在上海一家互联网公司做市场营销，月入约15000元。\n您用过两个在线课堂，每周学习4至6小时。"
POSTS = (
    {
        "text": "Gas is under $2 here, never seen it this cheap!",
        "source": "A neighbor's post",
        "step": 2,
        "signal": None,
    },
    {"text": "Oil producers report\nrecord output.", "source": "Evening news", "step": 0, "signal": None},
)
REMARK = ({"text": "试用了一周，答疑很快，就是有点贵。", "source": "同事的朋友圈", "step": 1, "signal": None},)

DOWN_LESS = {"confidence": "extremely weak", "prices_prior": "down", "unemployment_prior": "less"}
UP_MORE = {"confidence": "strong", "prices_prior": "up", "unemployment_prior": "more"}
ECO = "You are a professor of economics at a university. You have a doctorate in economics. Your field is finance."
SAME = {"confidence": "moderate", "prices_prior": "same", "unemployment_prior": "same"}

CASES = {
    "oil_fall_everything": ("oil_price", "fall", {}, DOWN_LESS, ANN, POSTS),
    "oil_rise_nothing_heard": ("oil_price", "rise", {}, UP_MORE, BOB, ()),
    "oil_fall_modules_off": ("oil_price", "fall", {"modules": frozenset(), "reasoning": False}, UP_MORE, CEM, POSTS),
    "oil_fall_scenario_2": ("oil_price", "fall", {"scope": "scenario_2", "as_of": date(2019, 3, 1)}, SAME, DEE, ()),
    "learning_platform": ("learning_platform", "only", {}, {"age": "28"}, LIN, ()),
    "learning_platform_everything": (
        "learning_platform",
        "only",
        {"scope": "scenario_2", "as_of": date(2025, 9, 1), "reasoning": False},
        DOWN_LESS,
        LIN,
        REMARK,
    ),
    "oil_fall_shared_first": ("oil_price", "fall", {"layout": "shared_first"}, DOWN_LESS, ANN, POSTS),
    "oil_rise_shared_first_modules_off": (
        "oil_price",
        "rise",
        {"layout": "shared_first", "modules": frozenset(), "reasoning": False, "as_of": date(2019, 3, 1)},
        UP_MORE,
        BOB,
        POSTS,
    ),
    "learning_platform_shared_first": (
        "learning_platform",
        "only",
        {"layout": "shared_first"},
        DOWN_LESS,
        LIN,
        REMARK,
    ),
    "oil_rise_experts": ("oil_price", "rise", {"layout": "experts", "as_of": date(2019, 3, 1)}, {}, ECO, POSTS),
    "oil_fall_experts_everything": ("oil_price", "fall", {"layout": "experts"}, UP_MORE, ECO, ()),
    "oil_fall_plain": ("oil_price_plain", "fall", {"reasoning": False}, SAME, DEE, ()),
    "oil_rise_formal": ("oil_price_formal", "rise", {"reasoning": False}, SAME, DEE, ()),
    "oil_fall_personal": ("oil_price_personal", "fall", {"reasoning": False}, SAME, DEE, ()),
    "federal_spending_fall": ("federal_spending", "fall", {"reasoning": False}, SAME, BOB, ()),
    "federal_funds_rate_rise": ("federal_funds_rate", "rise", {"reasoning": False}, SAME, BOB, ()),
    "income_tax_fall": ("income_tax", "fall", {"reasoning": False}, SAME, BOB, ()),
    "oil_2025_rise": ("oil_price_2025", "rise", {"reasoning": False}, SAME, BOB, ()),
    "inflation_density": ("inflation_density", "only", {"reasoning": False}, SAME, CEM, ()),
    "learning_platform_letters": ("learning_platform", "only", {"reasoning": False, "letters": True}, {}, LIN, ()),
}


def rendered(case):
    name, arm, settings, words, persona, heard = CASES[case]
    shown = set_arm(load_questionnaire(name), arm)
    settings = dict(settings)
    layout = load_layout(settings.pop("layout", "survey_v1"), shown.language)
    return prepare(layout, shown, **settings).render(words, persona, heard)


@pytest.mark.parametrize("case", CASES)
def test_prompt_reads_as_it_did(case):
    path = GOLDEN / f"{case}.txt"
    if os.environ.get("POPSIM_UPDATE_GOLDEN"):
        path.write_text(rendered(case) + "\n", encoding="utf-8")
    assert rendered(case) + "\n" == path.read_text(encoding="utf-8")


def test_no_other_golden_prompt_lies_about():
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


def test_sections_stand_in_the_order_of_the_card():
    lines = rendered("oil_fall_everything").splitlines()
    headings = [
        "Personal Characteristics:",
        "Prior Expectations & Perceptions:",
        "Social Media Information:",
        "IMPORTANT ROLE-PLAYING INSTRUCTIONS:",
        "QUESTIONNAIRE:",
        "Scenario 1: Oil price stays constant",
        "Scenario 2: Oil price falls",
        "{",
        "<recall>",
        "<reasoning>",
        "<final_answer>",
    ]
    assert [line for line in lines if line in headings] == headings
