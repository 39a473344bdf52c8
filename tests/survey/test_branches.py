"""What a questionnaire that is put on pages may say: conditions, earlier answers, grids, derived outcomes."""

import itertools
import math
from pathlib import Path

import pytest
import yaml

from popsim.errors import SurveyError
from popsim.survey import Answer, branching, load_questionnaire, repeat, set_arm
from popsim.survey.branches import Condition
from popsim.survey.questions import ChoiceQuestion, MultipleQuestion, NumberQuestion

CHOICE = ChoiceQuestion(kind="choice", name="q", text="?", options=("good", "bad"), dont_know="no idea")
SOME = MultipleQuestion(kind="multiple", name="q", text="?", options=("a", "b", "c"), refusal="rather not")
NUMBER = NumberQuestion(kind="number", name="q", text="?", minimum=0, maximum=10, decimals=1, unit="%")


def rows(*given):
    return [Answer("q", *one) for one in given]


def met(question, answers, **condition):
    return Condition(question="q", **condition).met(question, answers)


def test_a_condition_looks_at_what_was_answered_and_at_nothing_unreadable():
    good = rows((0.0, "good", "ok"))
    assert met(CHOICE, good, among=["good"])
    assert not met(CHOICE, good, among=["bad"])
    assert met(CHOICE, rows((math.nan, "no idea", "dont_know")), among=["bad", "no idea"])
    assert not met(CHOICE, rows((math.nan, "", "unreadable")), among=["good", "bad", "no idea"])
    assert not met(CHOICE, [], among=["good", "bad"])
    some = rows((1.0, "a", "ok"), (0.0, "b", "ok"), (1.0, "c", "ok"))
    assert met(SOME, some, among=["b", "c"])
    assert not met(SOME, some, among=["b"])
    assert met(SOME, rows(*[(math.nan, option, "refused") for option in "abc"]), among=["rather not"])
    assert not met(SOME, rows(*[(math.nan, option, "refused") for option in "abc"]), among=["a"])
    two = rows((2.0, "", "ok"))
    assert [met(NUMBER, two, at_least=low, at_most=high) for low, high in ((2, 2), (2.1, 5), (0, 1.9))] == [True, 0, 0]
    assert not met(NUMBER, rows((math.nan, "", "out_of_range")), at_least=0)


def test_not_among_needs_another_answer_and_not_just_none():
    assert met(CHOICE, rows((1.0, "bad", "ok")), not_among=["good"])
    assert met(CHOICE, rows((math.nan, "no idea", "dont_know")), not_among=["good"])
    assert not met(CHOICE, rows((0.0, "good", "ok")), not_among=["good", "no idea"])
    assert not met(CHOICE, rows((math.nan, "", "unreadable")), not_among=["good"])
    assert not met(CHOICE, [], not_among=["good"])
    none = rows(*[(0.0, option, "ok") for option in "abc"])
    assert met(SOME, none, not_among=["a", "b", "c"])


def test_a_page_takes_all_of_its_conditions_and_one_of_the_alternatives():
    def change(_, pages):
        pages[2]["show_if"] = {"question": "rate", "at_least": 1}
        pages[2]["show_if_any"] = [
            {"question": "why", "not_among": ["luck"]},
            {"question": "rate", "at_least": 5},
        ]

    asked = questionnaire(change)
    page = asked.vignettes[0].pages[2]
    assert page.hangs_on() == "rate is at least 1 and (why is not 'luck' or rate is at least 5)"
    assert asked.vignettes[0].pages[0].hangs_on() == ""
    assert page.model_copy(update={"show_if": ()}).hangs_on() == "why is not 'luck' or rate is at least 5"
    questions = {one.name: one for one in asked.questions}
    shown = {}
    for rate, why in itertools.product((0, 3, 6), ("luck", "work")):
        said = {"rate": [Answer("rate", float(rate), "", "ok")], "why": [Answer("why", 0.0, why, "ok")]}
        shown[rate, why] = page.is_shown(lambda one, said=said: one.met(questions[one.question], said[one.question]))
    assert [key for key, yes in shown.items() if yes] == [(3, "work"), (6, "luck"), (6, "work")]


def test_an_answer_is_repeated_in_its_own_form():
    assert repeat(NUMBER, rows((2.0, "", "ok"))) == "2.0%"
    assert repeat(CHOICE, rows((1.0, "bad", "ok"))) == "bad"
    assert repeat(CHOICE, rows((math.nan, "no idea", "dont_know"))) == "no idea"
    assert repeat(SOME, rows((1.0, "a", "ok"), (0.0, "b", "ok"), (1.0, "c", "ok")), "、") == "a、c"
    assert repeat(NUMBER, rows((math.nan, "", "unreadable"))) == ""


def questionnaire(change, path="mine.yaml"):
    """Write a questionnaire of three pages, changed by a function, and read it."""
    first = {"name": "rate", "kind": "number", "text": "How much?", "minimum": 0, "maximum": 9}
    second = {"name": "why", "kind": "choice", "text": "Why?", "options": ["luck", "work"]}
    third = {"name": "next", "kind": "number", "text": "And then?", "minimum": 0, "maximum": 9}
    pages = [{"questions": [first]}, {"questions": [second]}, {"questions": [third]}]
    vignettes = [{"name": "one", "pages": pages}]
    data = {"name": "mine", "topic": "things", "task": "Answer.", "vignettes": vignettes}
    change(data, pages)
    Path(path).write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_questionnaire(path)


WRONG = {
    "a later question": (
        lambda data, pages: pages[0].update(show_if={"question": "why", "among": ["luck"]}),
        r"page 0: show_if refers to 'why', which is not asked on an earlier page.*nothing comes before",
    ),
    "a question of the same page": (
        lambda data, pages: pages[1].update(show_if={"question": "why", "among": ["luck"]}),
        r"page 1: show_if refers to 'why', which is not asked on an earlier page.*Allowed: rate",
    ),
    "no question": (
        lambda data, pages: pages[2].update(show_if={"question": "rat", "at_least": 1}),
        r"refers to 'rat', which is no question; did you mean rate\? Allowed: rate, why",
    ),
    "no option": (
        lambda data, pages: pages[2].update(show_if={"question": "why", "among": ["lucky"]}),
        r"'lucky' is no answer to it; did you mean luck\? Allowed: luck, work",
    ),
    "no option of an alternative": (
        lambda data, pages: pages[2].update(show_if_any=[{"question": "why", "not_among": ["lucky"]}]),
        r"page 2: show_if_any why: 'lucky' is no answer to it; did you mean luck\?",
    ),
    "bounds of a choice": (
        lambda data, pages: pages[2].update(show_if={"question": "why", "at_least": 1}),
        r"at_least and at_most need a number or a scale, not a choice question",
    ),
    "nothing to look for": (
        lambda data, pages: pages[2].update(show_if={"question": "why"}),
        r"pages\.2\.show_if\.0: give among, or not_among, or at_least, at_most or both",
    ),
    "bounds the wrong way round": (
        lambda data, pages: pages[2].update(show_if={"question": "rate", "at_least": 5, "at_most": 1}),
        r"at_least 5 lies above at_most 1",
    ),
    "a word that YAML takes for true": (
        lambda data, pages: pages[2].update(show_if={"question": "why", "among": [True]}),
        r"among\.0: should be a valid string; put it in quotes, not True",
    ),
    "a later answer in a text": (
        lambda data, pages: pages[1].update(text="You will say {{answer.next}}."),
        r"page 1: a text refers to 'next', which is not asked on an earlier page",
    ),
    "an answer in an option": (
        lambda data, pages: pages[1]["questions"][0].update(options=["{{answer.rate}}", "work"]),
        r"vignette one: \{\{answer\.rate\}\} stands where no answer is put in; allowed: title and text of a page",
    ),
    "a grid of texts": (
        lambda data, pages: pages[1]["questions"].append(
            {"kind": "grid", "name": "g", "text": "?", "items": {"a": "A", "b": "B"}, "each": {"kind": "text"}}
        ),
        r"pages\.1: grid g: each\.kind: 'text'; allowed: scale, choice, multiple, number",
    ),
    "a grid of one": (
        lambda data, pages: pages[1]["questions"].append(
            {"kind": "grid", "name": "g", "text": "?", "items": {"a": "A"}, "each": {"kind": "scale"}}
        ),
        r"grid g: items: .*at least 2",
    ),
    "a derived outcome of a choice": (
        lambda data, pages: data["vignettes"][0].update(derived={"change": "why - rate"}),
        r"derived\.change names 'why', which is no number and no scale\. Allowed: rate, next",
    ),
    "a derived outcome of nothing": (
        lambda data, pages: data["vignettes"][0].update(derived={"change": "then - rate"}),
        r"derived\.change names 'then', which is no question of this vignette",
    ),
    "no difference": (
        lambda data, pages: data["vignettes"][0].update(derived={"change": "next+rate"}),
        r"derived\.change: 'next\+rate' is no difference; write QUESTION - QUESTION",
    ),
    "a derived outcome with the name of a question": (
        lambda data, pages: data["vignettes"][0].update(derived={"why": "next - rate"}),
        r"derived\.why: a question or a change of the reference has this name",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_asked_is_refused_in_one_line(case):
    change, message = WRONG[case]
    with pytest.raises(SurveyError, match=message) as caught:
        questionnaire(change)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("mine.yaml: ")


def test_where_vignettes_vary_only_the_same_vignette_is_sure_to_have_been_asked():
    def two(data, pages):
        page = {"questions": [{"name": "last", "kind": "text", "text": "?"}]}
        data["vignettes"].append({"name": "two", "pages": [page | {"show_if": {"question": "rate", "at_least": 1}}]})

    assert branching(questionnaire(two)) == "vignette two, page 0: show_if"
    for varies in ({"show": 1}, {"shuffle": ["vignettes"]}):
        with pytest.raises(SurveyError, match="vignette two, page 0: show_if refers to 'rate'"):
            questionnaire(lambda data, pages, varies=varies: (two(data, pages), data.update(varies)))


def test_a_grid_is_as_many_questions_with_names_and_keys_of_their_own():
    each = {"kind": "scale", "minimum": 0, "maximum": 4, "labels": {0: "not at all", 4: "fully"}}
    grid = {"kind": "grid", "name": "trust", "text": "Trust?", "items": {"a": "a judge", "b": "a vet"}, "each": each}
    found = questionnaire(lambda data, pages: pages[1]["questions"].append(grid)).vignettes[0].pages[1].questions
    assert [(one.name, one.json_key, one.text, one.lead) for one in found[1:]] == [
        ("trust_a", "trust_a", "a judge", "Trust?"),
        ("trust_b", "trust_b", "a vet", "Trust?"),
    ]


def test_included_branches_refer_to_the_questions_under_their_new_names():
    def branches(data, pages):
        pages[1]["show_if"] = {"question": "rate", "at_least": 1}
        pages[1]["text"] = "You said {{answer.rate}}, not {{other}}."
        data["vignettes"][0] |= {"parameters": {"other": 7}, "derived": {"change": "next - rate"}}

    questionnaire(branches)
    whole = {"name": "whole", "topic": "t", "task": "Do.", "include": {"mine.yaml": "First"}}
    Path("whole.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    vignette = set_arm(load_questionnaire("whole.yaml"), "all").vignettes[0]
    assert vignette.pages[1].show_if[0].question == "one_rate"
    assert vignette.pages[1].text == "You said {{answer.one_rate}}, not 7."
    assert (vignette.changes["change"].shock, vignette.changes["change"].baseline) == ("one_next", "one_rate")
