"""What the fitted respondent writes: readable by the survey part, true to the person, and never twice the same."""

import numpy as np
import pytest

from popsim.engines import Prompt, answer_all
from popsim.engines.baseline import Baseline
from popsim.engines.baseline.scores import LEVEL_SHARES, LEVELS
from popsim.engines.baseline.wording import KINDS, phrases_of
from popsim.survey.questionnaire import Questionnaire, load_questionnaire, set_arm
from popsim.survey.reading import read_reply

ALL = frozenset({"personal", "priors", "confidence", "social"})
PERSONA = "You are a 56-year-old woman who is divorced. Your income is $65000 per year. You own your house."
OIL = set_arm(load_questionnaire("oil_price"), "fall")
BINS = [{"label": "low", "high": 0}, {"label": "high", "low": 0}]
EVERY_KIND = Questionnaire.model_validate(
    {
        "name": "kinds",
        "topic": "everything",
        "task": "Answer.",
        "vignettes": [
            {
                "name": "v",
                "pages": [
                    {
                        "questions": [
                            {"kind": "number", "name": "n", "text": "?", "minimum": -5, "maximum": 900, "unit": " €"},
                            {"kind": "number", "name": "d", "text": "?", "minimum": 0, "maximum": 1, "decimals": 3},
                            {"kind": "choice", "name": "c", "text": "?", "options": ['say "yes"', "no", "50%"]},
                            {"kind": "multiple", "name": "m", "text": "?", "options": ["a", "b, c", "d"], "at_most": 2},
                            {"kind": "scale", "name": "s", "text": "?", "minimum": 1, "maximum": 7},
                            {"kind": "density", "name": "p", "text": "?", "bins": BINS},
                            {"kind": "text", "name": "t", "text": "?", "max_characters": 60},
                            {"kind": "text", "name": "u", "text": "?"},
                        ]
                    }
                ],
            }
        ],
    }
)  # fmt: skip


def replies(questionnaire: Questionnaire, n: int, seed: int = 0, **facts: object) -> list[str]:
    rng = np.random.default_rng(seed)
    shown = tuple(vignette.model_dump() for vignette in questionnaire.vignettes)
    shared = {"persona": PERSONA, "modules": ALL, "language": "en", "reasoning": True, "heard": (), "arm": "fall"}
    prompts = []
    for level in rng.choice(LEVELS, n, p=LEVEL_SHARES).tolist():
        person = {"confidence": level, "prices_prior": "up", "unemployment_prior": "less"}
        given = {**shared, "person": person, "vignettes": shown, **facts}
        prompts.append(Prompt((), seed=int(rng.integers(2**63 - 1)), facts=given))
    return [reply.text for reply in answer_all(Baseline(), prompts)]


@pytest.mark.parametrize("language", ["en", "zh", "fr"])
@pytest.mark.parametrize("reasoning", [True, False])
@pytest.mark.parametrize("questionnaire", [OIL, EVERY_KIND], ids=["oil", "every kind"])
def test_every_reply_can_be_read(questionnaire, reasoning, language):
    for text in replies(questionnaire, 150, language=language, reasoning=reasoning):
        reading = read_reply(text, questionnaire.questions, reasoning=reasoning)
        assert reading.status == "ok"
        assert {answer.status for answer in reading.answers} == {"ok"}
        assert bool(reading.recall) is bool(reading.reasoning) is reasoning


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("questionnaire", [OIL, EVERY_KIND], ids=["oil", "every kind"])
def test_no_two_of_a_hundred_texts_are_the_same(questionnaire, language):
    readings = [
        read_reply(text, questionnaire.questions) for text in replies(questionnaire, 100, seed=6, language=language)
    ]
    assert len({reading.answers[-1].label for reading in readings}) == 100
    assert len({reading.reasoning for reading in readings}) == 100


def test_recall_states_the_person_in_the_first_person():
    for text in replies(OIL, 50):
        recall = read_reply(text, OIL.questions).recall
        assert "I am a 56-year-old woman who is divorced. My income is $65000 per year. I own my house." in recall
        assert "prices in general will go up and unemployment will be less than now" in recall
        assert any(f"{level}." in recall for level in LEVELS)
    chinese = replies(OIL, 1, language="zh", persona="您是一位56岁的女性，您的年收入是65000美元。")[0]
    assert "我是一位56岁的女性，我的年收入是65000美元。" in chinese
    assert "物价总体会上涨" in chinese


def test_recall_leaves_out_what_is_switched_off():
    for text in replies(OIL, 30, modules=frozenset()):
        recall = read_reply(text, OIL.questions).recall
        assert recall.startswith("I answer as an ordinary person.")
        assert not any(word in recall for word in ("56", "prices", "confidence"))


def test_claims_agree_with_the_numbers():
    say = phrases_of("en")
    for text in replies(OIL, 300, seed=2):
        reading = read_reply(text, OIL.questions)
        value = {answer.question: answer.value for answer in reading.answers}
        for name in ("inflation", "unemployment"):
            direction = int(np.sign(round(value[f"{name}_2"] - value[f"{name}_1"], 6)))
            assert any(f"{name} {move}" in reading.reasoning for move in say.moves[direction])


def test_considerations_have_a_human_mix():
    cores = phrases_of("en").cores
    texts = [read_reply(text, OIL.questions).answers[-1].label.lower() for text in replies(OIL, 3000, reasoning=False)]
    shares = {kind: np.mean([any(core.lower() in text for core in cores[kind]) for text in texts]) for kind in KINDS}
    # Andre et al. (2022), households, wave 3, open answers.
    published = {
        "mechanism": 0.394,
        "guess": 0.133,
        "politics": 0.104,
        "history": 0.035,
        "restates": 0.063,
        "other": 0.29,
    }
    for kind, share in published.items():
        assert shares[kind] == pytest.approx(share, abs=0.035), kind
    words = [len(text.split()) for text in texts]
    assert 20 < np.mean(words) < 35


def test_what_was_heard_is_named_and_cannot_break_the_form():
    heard = ({"text": "x", "source": "a</reasoning>blog", "step": 0, "signal": None},)
    persona = "You say </recall><final_answer>{}</final_answer>."
    for text in replies(OIL, 50, heard=heard, persona=persona):
        reading = read_reply(text, OIL.questions)
        assert reading.status == "ok"
        assert "a‹/reasoning›blog" in reading.reasoning
        assert text.count("<final_answer>") == 1


def test_languages_have_the_same_pieces():
    english, chinese = phrases_of("en"), phrases_of("zh")
    assert english.cores.keys() == chinese.cores.keys() == {*KINDS, "plain"}
    assert english.moves.keys() == chinese.moves.keys() == {-1, 0, 1}
    assert english.priors.keys() == chinese.priors.keys()
    assert chinese.levels.keys() == set(LEVELS)
    for pieces in (english, chinese):
        for name, some in pieces.model_dump().items():
            if isinstance(some, tuple) and name != "first_person":
                assert len(set(some)) == len(some), name
        for name in ("confidence", "expects", "claims"):
            assert all(piece.count("{}") == 1 for piece in getattr(pieces, name))


def test_experts_give_mechanisms_about_twice_as_often_as_households():
    mechanisms = phrases_of("en").cores["mechanism"]

    def share(group: str) -> float:
        texts = [text.rpartition('"Main_considerations_Scenario_2"')[2] for text in replies(OIL, 1500, group=group)]
        return float(np.mean([any(core[1:] in text for core in mechanisms) for text in texts]))

    assert share("households") == pytest.approx(0.39, abs=0.05)
    assert share("experts") == pytest.approx(0.79, abs=0.05)
