"""Questions: what a file may say, and the one line that comes back where it may not."""

import pytest
from pydantic import TypeAdapter, ValidationError

from popsim.errors import SurveyError
from popsim.files import validate
from popsim.survey import MultipleQuestion, Question, Questionnaire, ScaleQuestion, option_labels

NUMBER = {"kind": "number", "name": "q", "text": "?", "minimum": 0, "maximum": 10}
CHOICE = {"kind": "choice", "name": "q", "text": "?", "options": ["yes", "no"]}
MULTIPLE = CHOICE | {"kind": "multiple"}
SCALE = {"kind": "scale", "name": "q", "text": "?", "minimum": 1, "maximum": 7}
DENSITY = {
    "kind": "density",
    "name": "q",
    "text": "?",
    "bins": [{"label": "low", "high": 0}, {"label": "high", "low": 0}],
}
TEXT = {"kind": "text", "name": "q", "text": "?"}
SHARES = {"source": "a paper", "shares": {"yes": 60, "no": 40}}


def complaint(question):
    """Read a question inside a questionnaire and return the complaint without its path."""
    data = {
        "name": "n",
        "topic": "t",
        "task": "t",
        "vignettes": [{"name": "v", "pages": [{"questions": [question]}]}],
    }
    with pytest.raises(SurveyError) as problem:
        validate(Questionnaire, data, "file.yaml", SurveyError)
    message = str(problem.value)
    assert "\n" not in message
    where = "file.yaml: vignettes.0.pages.0.questions.0"
    assert message.startswith(where)
    return message.removeprefix(where)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (NUMBER | {"minimum": 10}, ": minimum 10 must be below maximum 10"),
        (NUMBER | {"minimum": 11}, ": minimum 11 must be below maximum 10"),
        (NUMBER | {"anchor": 12}, ": anchor 12 lies outside 0 to 10"),
        (NUMBER | {"minimum": 0.2, "maximum": 0.8}, ": no number with 0 decimals lies from 0.2 to 0.8; allow more"),
        (NUMBER | {"decimals": 7}, ".decimals: should be less than or equal to 6, not 7"),
        (NUMBER | {"maximum": float("inf")}, ".maximum: should be a finite number, not inf"),
        (NUMBER | {"minimun": 0}, ".minimun: unknown key; did you mean minimum? Allowed: anchor, decimals, dont_know,"),
        (NUMBER | {"name": "a rate"}, ".name: String should match pattern"),
        (NUMBER | {"text": "  "}, ".text: String should have at least 1 character"),
        (NUMBER | {"dont_know": ""}, ".dont_know: String should have at least 1 character"),
        (NUMBER | {"dont_know": "No idea", "refusal": "no  IDEA"}, ": answer 'no  IDEA' reads like 'No idea'"),
        ({"kind": "number", "name": "q", "text": "?", "maximum": 1}, ".minimum: this key is missing"),
        (NUMBER | {"kind": "nubmer"}, ".kind: 'nubmer' is unknown; did you mean number? Allowed: number, choice,"),
        (CHOICE | {"options": ["yes", "no", "yes"]}, ": option 'yes' reads like 'yes'"),
        (CHOICE | {"options": ["yes", "Ｙes "]}, ": option 'Ｙes' reads like 'yes'"),
        (CHOICE | {"dont_know": "No"}, ": option 'No' reads like 'no'"),
        (CHOICE | {"options": ["yes"]}, ".options: "),
        (CHOICE | {"options": [True, False]}, ".options.0: should be a valid string; put it in quotes, not True"),
        (CHOICE | {"reference": SHARES | {"shares": {"maybe": 1}}}, ": reference.shares names ['maybe']"),
        (CHOICE | {"reference": {"source": "a paper"}}, ".reference: give mean and sd, or shares"),
        (CHOICE | {"reference": SHARES | {"shares": {"yes": -1}}}, ".reference: shares cannot be negative"),
        (NUMBER | {"reference": {"source": "a paper", "mean": 1}}, ".reference: mean and sd go together"),
        (NUMBER | {"reference": {"source": "a paper", "mean": 1, "sd": 0}}, ".reference.sd: should be greater than 0"),
        (MULTIPLE | {"at_least": 3}, ": at_least 3 and at_most 2 do not fit 2 options"),
        (MULTIPLE | {"at_least": 2, "at_most": 1}, ": at_least 2 and at_most 1 do not fit 2 options"),
        (MULTIPLE | {"at_most": 3}, ": at_least 0 and at_most 3 do not fit 2 options"),
        (SCALE | {"minimum": 7}, ": minimum 7 must be below maximum 7"),
        (SCALE | {"labels": {0: "never"}}, ": labels [0] lie outside 1 to 7"),
        (DENSITY | {"bins": [{"label": "all"}]}, ".bins: "),
        (DENSITY | {"bins": [{"label": "a", "high": 1}, {"label": "b", "low": 0}]}, ": bins 'a' and 'b' overlap"),
        (
            DENSITY | {"bins": [{"label": "a"}, {"label": "b", "low": 0}]},
            ": bins 'a' and 'b' overlap or have an open end",
        ),
        (DENSITY | {"bins": [{"label": "a", "high": 0}, {"label": "A", "low": 0}]}, ": bin label 'A' reads like 'a'"),
        (
            DENSITY | {"bins": [{"label": "a", "high": 0}, {"label": "b", "low": 1, "high": 1}]},
            ": bin 'b': low 1 must be",
        ),
        (DENSITY | {"bins": [{"label": "a", "hihg": 0}]}, ".bins.0.hihg: unknown key; did you mean high?"),
        (DENSITY | {"reference": SHARES}, ": reference.shares names ['no', 'yes'], which is not among the bins"),
        (TEXT | {"max_characters": 0}, ".max_characters: should be greater than or equal to 1, not 0"),
        (TEXT | {"options": ["a"]}, ".options: unknown key. Allowed: "),
    ],
)
def test_a_faulty_question_is_one_clear_line(question, message):
    assert complaint(question).startswith(message)


def test_an_unknown_kind_lists_the_kinds():
    message = complaint(NUMBER | {"kind": "nubmer"})
    for kind in ("number", "choice", "multiple", "scale", "density", "text"):
        assert kind in message


@pytest.mark.parametrize("question", [NUMBER, CHOICE, MULTIPLE, SCALE, DENSITY, TEXT], ids=lambda q: q["kind"])
def test_every_kind_survives_being_written_as_plain_data(question):
    adapter = TypeAdapter(Question)
    read = adapter.validate_python(question)
    assert adapter.validate_python(read.model_dump()) == read
    assert adapter.validate_json(read.model_dump_json()) == read
    with pytest.raises(ValidationError):
        read.name = "other"


def test_labels_of_options_and_bins():
    adapter = TypeAdapter(Question)
    assert option_labels(adapter.validate_python(MULTIPLE)) == ("yes", "no")
    assert option_labels(adapter.validate_python(DENSITY)) == ("low", "high")
    assert option_labels(ScaleQuestion.model_validate(SCALE)) == ()


def test_key_is_the_name_unless_given():
    assert MultipleQuestion.model_validate(MULTIPLE).json_key == "q"
    assert MultipleQuestion.model_validate(MULTIPLE | {"key": "Rate 1"}).json_key == "Rate 1"
