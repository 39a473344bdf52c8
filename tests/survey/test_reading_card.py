"""The model card's own samples are read in full."""

from pathlib import Path

import pytest

from popsim.survey import ChoiceQuestion, MultipleQuestion, TextQuestion, load_questionnaire, read_reply, set_arm

CARD = Path(__file__).resolve().parents[2].parent / "shared" / "seeds" / "000_532299849db7c44e.txt"


def card_answers():
    """Cut the two sample answers out of the model card, where they stand as Python comments."""
    if not CARD.exists():
        pytest.skip("the model card is not here")
    lines = [line.removeprefix("# ") for line in CARD.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return ["<recall>" + part for part in "\n".join(lines).split("<recall>")[1:]]


def test_english_sample_of_the_card():
    english = card_answers()[0]
    reading = read_reply(english, set_arm(load_questionnaire("oil_price"), "fall").questions)
    assert reading.status == "ok"
    assert [answer.value for answer in reading.answers[:4]] == [4.0, 1.6, 3.0, -1.0]
    assert reading.answers[4].label.startswith("I expect the decrease")
    assert reading.recall.startswith("I am a 56-year-old")
    assert reading.reasoning.startswith("Given my personal")


def test_chinese_sample_of_the_card():
    chinese = card_answers()[1]
    options = {
        "platform_interest_level": ("非常感兴趣", "比较感兴趣", "一般", "不太感兴趣", "完全不感兴趣"),
        "pricing_acceptance": ("完全可以接受", "可以接受", "有点贵但可考虑", "太贵了", "绝对不会付费"),
        "usage_frequency_prediction": ("每天", "每周2-3次", "每周1次", "每月几次", "很少使用"),
        "recommendation_likelihood": ("一定会推荐", "可能会推荐", "不确定", "不太会推荐", "绝对不会推荐"),
    }
    features = ("AI个性化学习路径推荐", "实时互动答疑功能", "学习成果认证和求职匹配", "月费制，每月99元")
    questions = (
        *(ChoiceQuestion(kind="choice", name=key, text="?", options=labels) for key, labels in options.items()),
        MultipleQuestion(
            kind="multiple", name="most_valuable_features", text="?", options=features, at_least=2, at_most=3
        ),
        TextQuestion(kind="text", name="main_concerns", text="?"),
    )
    reading = read_reply(chinese, questions)
    assert reading.status == "ok"
    assert [answer.value for answer in reading.answers[:-1]] == [0, 0, 2, 1, 1, 1, 1, 0]
    assert reading.answers[-1].label.startswith("担心平台")
