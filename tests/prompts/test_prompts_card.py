"""The model card: a template rebuilds its English prompt word for word, and no sentence of ours is taken from it."""

import re
from pathlib import Path

import pytest

from popsim.prompts import load_layout, load_template, prepare
from popsim.survey import load_questionnaire, set_arm

CARD = Path(__file__).resolve().parents[2].parent / "shared" / "seeds" / "000_532299849db7c44e.txt"
PROMPTS = Path(__file__).resolve().parents[1] / "golden" / "prompts"
pytestmark = pytest.mark.skipif(
    not CARD.exists(), reason="the model card lies beside the repository only in development"
)

WORDS = {
    "confidence": "extremely weak",
    "prices_prior": "down",
    "unemployment_prior": "less",
    "age": "56",
    "sex": "woman",
    "marital": "divorced",
    "region": "Western",
    "education": "Grade 13-16 with a college degree",
    "education_level": "high",
    "party": "Republican",
    "income": "65000",
    "income_level": "middle",
    "tenure": "buy/own a house",
    "home_value_level": "high",
    "home_value": "400000",
}
CUTS = {
    "with extremely weak (on": "with {{confidence}} (on",
    "a 56-year-old woman who is divorced": "a {{age}}-year-old {{sex}} who is {{marital}}",
    "the Western region": "the {{region}} region",
    "Grade 13-16 with a college degree, which is a high level of education": (
        "{{education}}, which is a {{education_level}} level of education"
    ),
    "affiliation is Republican (": "affiliation is {{party}} (",
    "$65000 per year, which is a middle level": "${{income}} per year, which is a {{income_level}} level",
    "You buy/own a house with a high market value of $400000": (
        "You {{tenure}} with a {{home_value_level}} market value of ${{home_value}}"
    ),
    "prices in general will go down (in Scenario 2)": "prices in general will {{prices_prior}}{{scope}}",
    "unemployment will be less than now (in Scenario 2)": "unemployment will be {{unemployment_prior}}{{scope}}",
    "Social Media Information: [Not provided].": "Social Media Information: {{social}}.",
}
CARRIED_OVER = re.compile(
    r"Personal Characteristics|Prior Expectations & Perceptions|Social Media Information"
    r"|IMPORTANT ROLE-PLAYING INSTRUCTIONS|QUESTIONNAIRE|\[Not provided\]|Scenario \d: .*"
    r"|.*: ___%?|\"\w+\": .*|extremely weak, weak, moderate, strong,( to)? extremely strong"
    r"|AI个性化学习路径推荐|实时互动答疑功能|学习成果认证和求职匹配|月费制，每月99元"
)


def card_prompt(name):
    return re.search(rf'{name} = """(.*?)"""', CARD.read_text(encoding="utf-8"), re.DOTALL).group(1)


def squeezed(text):
    return " ".join(text.split())


@pytest.fixture
def template():
    text = squeezed(card_prompt("prompt_economy"))
    for said, slots in CUTS.items():
        assert text.count(said) == 1, said
        text = text.replace(said, slots)
    return load_template(text, load_layout(), [*WORDS], "card.txt")


def test_a_template_cut_from_the_card_renders_the_card_word_for_word(template):
    prepared = prepare(template, set_arm(load_questionnaire("oil_price"), "fall"), scope="scenario_2")
    assert squeezed(prepared.render(WORDS)) == squeezed(card_prompt("prompt_economy"))


def test_another_person_changes_nothing_but_the_slots(template):
    prepared = prepare(template, set_arm(load_questionnaire("oil_price"), "fall"))
    text = prepared.render({**WORDS, "confidence": "strong", "prices_prior": "up", "age": "30"})
    card = squeezed(card_prompt("prompt_economy"))
    for said, now in (
        ("extremely weak (on", "strong (on"),
        ("56-year", "30-year"),
        ("go down (in Scenario 2)", "go up"),
        ("than now (in Scenario 2)", "than now"),
    ):
        card = card.replace(said, now)
    assert text == card


def runs(text, words, pattern):
    """All runs of a number of words that stand outside what carries over."""
    found = set()
    for part in CARRIED_OVER.split(re.sub(r"[ \t]+", " ", text)):
        tokens = re.findall(pattern, (part or "").lower())
        found |= {tuple(tokens[i : i + words]) for i in range(len(tokens) - words + 1)}
    return found


@pytest.mark.parametrize(
    ("card", "ours", "words", "pattern"),
    [("prompt_economy", "oil", 8, r"[\w.%$'-]+"), ("prompt_chinese", "learning", 10, r"[\u4e00-\u9fff]|[\w.]+")],
    ids=["english", "chinese"],
)
def test_no_sentence_of_ours_is_taken_from_the_card(card, ours, words, pattern):
    theirs = runs(card_prompt(card), words, pattern)
    texts = [path.read_text(encoding="utf-8") for path in PROMPTS.glob(f"{ours}*.txt")]
    assert theirs
    assert texts
    assert [" ".join(run) for text in texts for run in runs(text, words, pattern) & theirs] == []
