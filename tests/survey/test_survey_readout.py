import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import popsim
from popsim.scenario import to_plain
from popsim.survey import (
    ChoiceQuestion,
    NumberQuestion,
    ScaleQuestion,
    lettered,
    read_readout,
    read_reply,
    spellings,
)

YES = ChoiceQuestion(kind="choice", name="q", text="?", options=("yes", 'no, "never"', "也许"), dont_know="unsure")
SCALE = ScaleQuestion(kind="scale", name="q", text="?", minimum=-2, maximum=7)


@st.composite
def questions(draw):
    decimals = draw(st.integers(0, 2))
    low = draw(st.integers(-120, 120))
    high = low + draw(st.integers(1, 150))
    unit = draw(st.sampled_from(["", "%", "$", " years"]))
    scale = 10**decimals
    more = {"dont_know": "no idea", "refusal": "none of your business"} if draw(st.booleans()) else {}
    ends = {"minimum": low / scale, "maximum": high / scale}
    return NumberQuestion(kind="number", name="q", text="?", decimals=decimals, unit=unit, **ends, **more)


@settings(max_examples=60, deadline=None)
@given(st.one_of(questions(), st.just(YES), st.just(SCALE)))
def test_every_spelling_is_read_as_its_value_when_it_comes_as_text(question):
    spelled = spellings(question)
    assert len({text + close for text, close, _ in spelled}) == len(spelled)
    for text, close, value in spelled:
        [answer] = read_reply(f'{{"q": "{text}{close}}}', [question], reasoning=False).answers
        assert (answer.value, answer.status) == (value, "ok") if isinstance(value, float) else answer.status == value
    if isinstance(question, NumberQuestion):
        numbers = {value for *_, value in spelled if isinstance(value, float)}
        assert len(numbers) == round((question.maximum - question.minimum) * 10**question.decimals) + 1


def test_letters_go_past_j_and_stop_at_z():
    many = ChoiceQuestion(kind="choice", name="q", text="?", options=tuple(f"option {i}" for i in range(26)))
    assert lettered(many)[-1] == ("Z", "option 25")
    assert spellings(many, letters=True)[10] == ("K", ')"', 10.0)
    with pytest.raises(ValueError, match="27 answers, but readout choice has letters for 26"):
        lettered(many.model_copy(update={"dont_know": "unsure"}))
    assert [value for *_, value in spellings(YES, letters=True)] == [0.0, 1.0, 2.0, "dont_know"]


def found(probabilities, left_out=0.0, **masses):
    one = {"name": "v.q", "values": [0.0, 1.0], "probabilities": probabilities, "left_out": left_out, **masses}
    errors = {"reasonings": 0, "reasoning_error": 0.0, "particles": 1, "particle_error": None}
    return json.dumps({"distributions": [{**one, **errors}], "reasonings": []})


@pytest.mark.parametrize(
    ("text", "value", "label", "status"),
    [
        (found([0.3, 0.6], 0.1), 1.0, 'no, "never"', "ok"),
        (found([0.2, 0.2], 0.0, dont_know=0.6), None, "unsure", "dont_know"),
        (found([0.3, 0.2], 0.5), None, "", "unreadable"),
        (found([0.0, 0.0], 0.4), None, "", "unreadable"),
    ],
)
def test_the_answer_to_a_choice_is_what_has_most_mass(text, value, label, status):
    reading = read_readout(text, [YES])
    [answer] = reading.answers
    assert (answer.label, answer.status) == (label, status)
    assert answer.value == value if value is not None else math.isnan(answer.value)
    assert reading.status == ("unreadable" if status == "unreadable" else "ok")
    assert reading.distributions[0].particle_error is None


def test_the_answer_to_a_number_is_the_mean():
    rate = NumberQuestion(kind="number", name="q", text="?", minimum=0, maximum=1)
    assert read_readout(found([0.2, 0.6], 0.2), [rate]).answers[0].value == pytest.approx(0.75)
    with pytest.raises(popsim.PopsimError, match="in place of distributions"):
        read_readout("4.00%", [rate])
    failed = read_readout("", [rate], finish="error")
    assert failed.status == failed.answers[0].status == "engine_error"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"readout": "number"}, "give readout.reasonings"),
        ({"readout": {"kind": "number", "reasonings": 2}, "prompt.reasoning": False}, "prompt.reasoning is false"),
        ({"readout": "choice", "prompt.reasoning": False}, "asks no choice question"),
        ({"readout": {"kind": "generate", "floor": 0.1}}, "kind generate takes no other settings"),
        ({"readout": "numbers"}, "readout"),
    ],
)
def test_a_readout_that_does_not_fit_the_study_is_refused(overrides, message):
    with pytest.raises(popsim.PopsimError, match=message):
        popsim.load_scenario("oil_price_fall", overrides)


def test_a_bare_word_is_the_kind_and_settings_can_be_swept():
    scenario = popsim.load_scenario(
        "oil_price_fall", {"readout": "number", "prompt.reasoning": False, "analysis": None}
    )
    assert (scenario.readout.kind, scenario.readout.particles) == ("number", 64)
    assert popsim.Scenario.model_validate(to_plain(scenario)) == scenario
    finer = {"readout.kind": "number", "readout.floor": 0.0, "readout.reasonings": 2}
    assert popsim.load_scenario("oil_price_fall", finer).readout.floor == 0.0
