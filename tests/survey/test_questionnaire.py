"""Questionnaires: files that are wrong, and arms that fill the slots."""

import copy

import pytest
import yaml

from popsim.errors import SurveyError
from popsim.files import shipped
from popsim.survey import load_questionnaire, set_arm

PLAIN = {
    "name": "petrol",
    "topic": "petrol",
    "task": "Answer.",
    "vignettes": [
        {
            "name": "petrol",
            "introduction": "A litre costs {{price}}.",
            "parameters": {"price": 2, "n": 3.5},
            "arms": {"up": {"moves": "rises"}, "down": {"moves": "falls", "price": 1}},
            "pages": [
                {
                    "title": "It {{moves}}",
                    "questions": [
                        {"kind": "choice", "name": "buy", "text": "Buy?", "options": ["for {{price}}", "not"]},
                        {
                            "kind": "scale",
                            "name": "mood",
                            "text": "?",
                            "minimum": 1,
                            "maximum": 5,
                            "labels": {1: "{{moves}}"},
                        },
                    ],
                }
            ],
        }
    ],
}


def changed(path, value):
    """Copy the plain questionnaire with one value replaced, added, or (with None) left out."""
    data = copy.deepcopy(PLAIN)
    at = data
    for step in path[:-1]:
        at = at[step]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return data


def load(data, folder):
    path = folder / "petrol.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return load_questionnaire(path)


VIGNETTE = ("vignettes", 0)
PAGE = (*VIGNETTE, "pages", 0)
QUESTION = (*PAGE, "questions", 0)
MOMENTS = {"mean": 0.1, "se": 0.1, "trimmed_sd": 1}
CHANGE = {"shock": "buy", "baseline": "mood", "arms": {"up": MOMENTS}, "directions": {"fall": 1, "same": 1, "rise": 1}}
REFERENCE = {"source": "a paper", "n": 10, "changes": {"mood": CHANGE}}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*PAGE, "questions"), [], "vignettes.0.pages.0.questions: "),
        ((*VIGNETTE, "pages"), [], "vignettes.0.pages: "),
        (("vignettes",), [], "vignettes: "),
        (("vignettes",), None, "vignettes: this key is missing"),
        (("topics",), "x", "topics: unknown key; did you mean topic?"),
        ((*QUESTION, "textt"), "x", "vignettes.0.pages.0.questions.0.textt: unknown key; did you mean text?"),
        ((*VIGNETTE, "name"), "a b", "vignettes.0.name: "),
        ((*VIGNETTE, "parameters", "price"), [1], "vignettes.0.parameters.price: should be a valid string"),
        (
            (*VIGNETTE, "parameters", "price"),
            True,
            "vignettes.0.parameters.price: should be a valid string; put it in quotes",
        ),
        (
            (*VIGNETTE, "arms", "up", "moovs"),
            "x",
            "vignettes.0: arms.up sets moovs, which nothing uses; did you mean moves?",
        ),
        ((*QUESTION, "name"), "mood", "question 'mood' stands twice"),
        ((*QUESTION, "key"), "Mood ", "JSON key 'mood' stands twice"),
        (("topic",), "{{price}} of petrol", "slot {{price}} stands outside the vignettes"),
        ((*VIGNETTE, "reference"), REFERENCE | {"n": 0}, "vignettes.0.reference.n: should be greater than 0, not 0"),
        ((*VIGNETTE, "reference"), REFERENCE | {"changes": {}}, "vignettes.0.reference.changes: "),
        (
            (*VIGNETTE, "reference"),
            REFERENCE | {"changes": {"mood": CHANGE | {"shock": "moods"}}},
            "vignettes.0: reference names question 'moods'; the questions are buy, mood",
        ),
        (
            (*VIGNETTE, "reference"),
            REFERENCE | {"changes": {"mood": CHANGE | {"arms": {"sideways": MOMENTS}}}},
            "vignettes.0: reference names arms ['sideways']; the arms are ",
        ),
        (
            (*VIGNETTE, "reference"),
            REFERENCE
            | {
                "joint": {
                    "of": ["mood", "x"],
                    "both_fall": 1,
                    "fall_rise": 1,
                    "rise_fall": 1,
                    "both_rise": 1,
                    "other": 1,
                }
            },
            "vignettes.0.reference: joint.of names ('mood', 'x'); the changes are mood",
        ),
    ],
)
def test_a_faulty_file_is_one_clear_line(path, value, message, tmp_path):
    with pytest.raises(SurveyError) as problem:
        load(changed(path, value), tmp_path)
    said = str(problem.value)
    assert "\n" not in said
    assert said.startswith(str(tmp_path / "petrol.yaml") + ": ")
    assert message in said


def test_two_vignettes_need_two_names(tmp_path):
    with pytest.raises(SurveyError, match="vignette 'petrol' stands twice"):
        load(changed(("vignettes",), PLAIN["vignettes"] * 2), tmp_path)


def test_an_unknown_name_lists_what_is_shipped():
    with pytest.raises(SurveyError, match=r"oil_prise: .*did you mean oil_price\?.*Shipped: .*oil_price"):
        load_questionnaire("oil_prise")


def test_an_arm_fills_every_slot(tmp_path):
    filled = set_arm(load(PLAIN, tmp_path), "down")
    vignette = filled.vignettes[0]
    assert vignette.introduction == "A litre costs 1."
    assert vignette.pages[0].title == "It falls"
    assert vignette.questions[0].options == ("for 1", "not")
    assert vignette.questions[1].labels == {1: "falls"}
    assert vignette.parameters == {"price": 1, "n": 3.5, "moves": "falls"}
    assert set_arm(filled, "down") == filled


def test_the_scenario_has_the_last_word(tmp_path):
    filled = set_arm(load(PLAIN, tmp_path), "down", {"price": 1234567.25})
    assert filled.vignettes[0].introduction == "A litre costs 1234567.25."


def test_a_value_is_not_searched_for_slots(tmp_path):
    filled = set_arm(load(PLAIN, tmp_path), "up", {"moves": "{{price}}"})
    assert filled.vignettes[0].pages[0].title == "It {{price}}"


@pytest.mark.parametrize(
    ("data", "arm", "parameters", "message"),
    [
        (PLAIN, "sideways", {}, "vignette petrol: no arm 'sideways'; allowed: down, up"),
        (
            PLAIN,
            "up",
            {"prize": 3},
            "arm up sets prize, which nothing uses; did you mean price? Allowed: moves, n, price",
        ),
        (changed((*PAGE, "text"), "{{prcie}}"), "up", {}, "arm up: unknown slot {{prcie}}; did you mean {{price}}?"),
        (PLAIN, "up", {"price": "free"}, ""),
        (changed((*QUESTION, "options", 1), "for 3"), "up", {"price": 3}, "option 'for 3' reads like 'for 3'"),
    ],
)
def test_an_arm_that_does_not_fit_is_one_clear_line(data, arm, parameters, message, tmp_path):
    questionnaire = load(data, tmp_path)
    if not message:
        assert set_arm(questionnaire, arm, parameters).vignettes[0].questions[0].options[0] == "for free"
        return
    with pytest.raises(SurveyError) as problem:
        set_arm(questionnaire, arm, parameters)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_vignette_without_arms_is_the_same_in_each(tmp_path):
    data = changed((*VIGNETTE, "arms"), {})
    data["vignettes"][0]["parameters"]["moves"] = "stays"
    questionnaire = load(data, tmp_path)
    assert set_arm(questionnaire, "up") == set_arm(questionnaire, "anything")


@pytest.mark.parametrize("name", shipped("scenarios/questionnaires"))
def test_every_shipped_questionnaire_fills_in_each_of_its_arms(name):
    questionnaire = load_questionnaire(name)
    arms = {arm for vignette in questionnaire.vignettes for arm in vignette.arms} or {"all"}
    for arm in arms:
        assert "{{" not in set_arm(questionnaire, arm).model_dump_json().replace("{{answer.", "")


def test_the_oil_arms_differ_as_the_vignette_says():
    questionnaire = load_questionnaire("oil_price")
    pages = {arm: set_arm(questionnaire, arm).vignettes[0].pages for arm in ("fall", "rise")}
    assert pages["fall"][0] == pages["rise"][0]
    assert "$24" in pages["fall"][1].text
    assert "$84" in pages["rise"][1].text
