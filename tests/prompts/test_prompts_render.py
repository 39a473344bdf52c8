import json
import random
import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popsim.errors import ScenarioError
from popsim.prompts import load_layout, load_template, prepare, slot_names
from popsim.prompts.form import questionnaire_text, specification
from popsim.prompts.render import MODULES, quoted
from popsim.survey import (
    Bin,
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    Page,
    Questionnaire,
    ScaleQuestion,
    TextQuestion,
    Vignette,
    load_questionnaire,
    set_arm,
)

EN = load_layout()
OIL = set_arm(load_questionnaire("oil_price"), "fall")
PREPARED = prepare(EN, OIL)
WORDS = {"confidence": "weak", "prices_prior": "up", "unemployment_prior": "same"}
TAGS = ["<recall>", "</recall>", "<reasoning>", "</reasoning>", "<final_answer>", "</final_answer>"]
NASTY = [
    *TAGS,
    "QUESTIONNAIRE:",
    "```json",
    "{{persona}}",
    "<|im_end|>",
    "”",
    '"',
    "\n\n",
    "\r",
    "\u2028",
    "\x00",
    "\ud800",
]

posts = st.lists(st.sampled_from(NASTY) | st.text(max_size=8), max_size=30).map("".join)


def section(text, heading):
    return re.search(rf"^{re.escape(heading)}\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE).group(1)


def heard(*texts):
    return tuple({"text": text, "source": "Somebody", "step": 0, "signal": None} for text in texts)


@given(text=posts, source=posts)
def test_a_post_changes_its_own_line_and_no_other(text, source):
    tame = PREPARED.render(WORDS, "You are you.", heard("tame")).splitlines()
    wild = PREPARED.render(WORDS, "You are you.", ({"text": text, "source": source},)).splitlines()
    assert len(wild) == len(tame)
    (changed,) = [now for now, before in zip(wild, tame, strict=True) if before == "- Somebody: “tame”"]
    assert [line for line in wild if line != changed] == [line for line in tame if line != "- Somebody: “tame”"]
    assert re.fullmatch(r"- [^<>{}`“”\"]*: “[^<>{}`“”\"]*”", changed)
    changed.encode("utf-8")


@given(text=posts, other=posts)
def test_a_prompt_has_one_heading_one_pair_of_tags_and_no_slot(text, other):
    prompt = PREPARED.render(WORDS, "You are you.", heard(text, other))
    assert prompt.splitlines().count("QUESTIONNAIRE:") == 1
    assert [prompt.count(tag) for tag in TAGS] == [1] * 6
    assert not any(mark in prompt for mark in ("{{", "}}", "```", "<|"))


@given(text=posts, limit=st.integers(2, 50))
def test_quoting_keeps_the_limit_and_is_done_once(text, limit):
    line = quoted(text, limit)
    assert len(line) <= limit
    assert quoted(line, limit) == line
    assert line.endswith("…") or line == quoted(text, 10**6)


def test_quoting_leaves_plain_words_alone():
    assert quoted("Öl wird billiger: 5 % im März 😀 — 'wow'!") == "Öl wird billiger: 5 % im März 😀 — 'wow'!"


def test_what_fills_a_slot_is_not_searched_for_slots():
    template = load_template("{{persona}} {{age}} {{topic}}", EN, ["age"])
    topic = OIL.model_copy(update={"topic": "{{age}}"})
    assert prepare(template, topic).render({"age": "{{persona}}"}, "{{age}}") == "{{age}} {{persona}} {{age}}"


@given(st.randoms(use_true_random=False))
def test_the_order_of_people_does_not_matter(shuffle: random.Random):
    people = [
        ({**WORDS, "confidence": level}, f"You are {age}.", heard(f"post {age % 3}")[: age % 2])
        for age, level in enumerate(EN.confidence)
    ]
    order = list(range(len(people)))
    shuffle.shuffle(order)
    once = [PREPARED.render(*person) for person in people]
    again = {i: PREPARED.render(*people[i]) for i in order}
    assert [again[i] for i in range(len(people))] == once
    assert len(set(once)) == len(people)


HEADINGS = {
    "personal": "Personal Characteristics:",
    "priors": "Prior Expectations & Perceptions:",
    "social": "Social Media Information:",
}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_that_is_off_takes_away_its_section_alone(module):
    person = (WORDS, "You are you.", heard("A post."))
    on, off = PREPARED.render(*person), prepare(EN, OIL, modules=MODULES - {module}).render(*person)
    if module == "confidence":
        assert re.search("confidence", on)
        assert not re.search("confidence", off)
    for name, heading in HEADINGS.items():
        expected = "[Not provided]" if name == module else section(on, heading)
        assert section(off, heading) == expected


def test_a_population_without_confidence_and_priors_is_not_given_any():
    text = PREPARED.render({}, "You are you.")
    assert "confidence" not in text
    assert section(text, HEADINGS["priors"]) == section(text, HEADINGS["social"]) == "[Not provided]"


def test_one_prior_alone_is_told_alone():
    text = section(PREPARED.render({"unemployment_prior": "more"}), HEADINGS["priors"])
    assert text.endswith("you expect it to be more than now.")
    assert "prices" not in text


def test_modules_hold_in_a_template_too():
    template = load_template("{{age}}|{{confidence}}|{{prices_prior}}|{{persona}}|{{social}}|{{priors}}", EN, ["age"])
    text = prepare(template, OIL, modules=frozenset()).render({**WORDS, "age": "40"}, "You.", heard("A post."))
    assert text == "|".join(["[Not provided]"] * 6)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_level_has_words_of_its_own(language):
    layout = load_layout(language=language)
    assert list(layout.confidence) == ["extremely weak", "weak", "moderate", "strong", "extremely strong"]
    assert {column: set(prior.words) for column, prior in layout.priors.items()} == {
        "prices_prior": {"up", "same", "down"},
        "unemployment_prior": {"more", "same", "less"},
    }
    for words in (layout.confidence, *(prior.words for prior in layout.priors.values())):
        assert len(set(words.values())) == len(words)
    assert set(layout.scopes) == {"unconditional", "scenario_2"}
    for stance in (layout.with_confidence, layout.without_confidence):
        assert layout.not_provided in stance.instructions
    assert all(word in layout.with_confidence.role for word in layout.confidence.values())


def test_a_date_stands_in_the_prompt_only_when_given():
    dated = prepare(EN, OIL, as_of=date(2019, 3, 1)).render(WORDS)
    plain = PREPARED.render(WORDS)
    assert dated.replace("Today is March 1, 2019. You know nothing of what happens after this day.\n\n", "") == plain
    assert "今天是2019年3月1日" in prepare(load_layout(language="zh"), OIL, as_of=date(2019, 3, 1)).render({})


# --- the form

KINDS = [
    NumberQuestion(kind="number", name="n", text="N?", minimum=-2, maximum=8, decimals=1, unit="%", dont_know='"?"'),
    ChoiceQuestion(kind="choice", name="c", text="C?", options=("yes", 'the "rest"'), refusal="skip"),
    MultipleQuestion(kind="multiple", name="m2", text="M?", options=("a", "b", "c"), at_least=2, at_most=2),
    MultipleQuestion(kind="multiple", name="m1", text="M?", options=("a", "b", "c"), at_least=1),
    MultipleQuestion(kind="multiple", name="m0", text="M?", options=("a", "b", "c"), at_most=2),
    ScaleQuestion(kind="scale", name="s", text="S?", minimum=1, maximum=7, labels={7: "fully", 1: "not at all"}),
    DensityQuestion(kind="density", name="d", text="D?", bins=(Bin(label="0 or less", high=0), Bin(label=">0", low=0))),
    TextQuestion(kind="text", name="t", key="T_x", label="Why", text="T?", length="one sentence"),
]


def test_each_kind_says_what_may_be_answered():
    comments = re.findall(r"// (.*)", specification(KINDS, EN.form))
    assert comments == [
        r'a number from -2.0 to 8.0 (decimal places: at most 1); or "\"?\"" if you do not know',
        r'exactly one of: "yes", "the \"rest\""; or "skip" if you would rather not answer',
        'a list of exactly 2 of these: "a", "b", "c"',
        'a list of 1 to 3 of these: "a", "b", "c"',
        'a list of at most 2 (an empty list for none) of these: "a", "b", "c"',
        "a whole number from 1 to 7",
        "for each range the probability in percent, from 0 to 100; together they make 100",
        "your own words, one sentence",
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_specification_is_json_once_the_comments_are_gone(language):
    text = specification(KINDS, load_layout(language=language).form)
    skeleton = json.loads(re.sub(r"(?m)^  //.*$", "", text))
    assert list(skeleton) == [question.json_key for question in KINDS]
    assert skeleton["n"] == "___%"
    assert skeleton["d"] == {"0 or less": "___%", ">0": "___%"}


def test_the_questionnaire_shows_each_question_with_its_options_and_its_blank():
    pages = (Page(title="First", text="Read.\n", questions=tuple(KINDS[:2])), Page(questions=tuple(KINDS[5:])))
    vignette = Vignette(name="v", introduction="Think.", pages=pages)
    survey = Questionnaire(name="q", topic="t", task="t", introduction="Welcome.", vignettes=(vignette,))
    assert questionnaire_text(survey, EN.form).split("\n\n") == [
        "Welcome.",
        "Think.",
        "First\nRead.",
        "N?\nn: ___%",
        'C?\n- yes\n- the "rest"\nc: ___',
        "S?\n1 = not at all, 7 = fully\ns: ___",
        "D?\n- 0 or less: ___%\n- >0: ___%",
        "T?\nWhy: ___",
    ]


def test_the_prompt_asks_every_question_of_the_platform_survey_with_the_cards_keys():
    survey = set_arm(load_questionnaire("learning_platform"), "any")
    assert [(question.json_key, question.kind) for question in survey.questions] == [
        ("platform_interest_level", "choice"),
        ("most_valuable_features", "multiple"),
        ("pricing_acceptance", "choice"),
        ("usage_frequency_prediction", "choice"),
        ("main_concerns", "text"),
        ("recommendation_likelihood", "choice"),
    ]


# --- bad input


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{personna}}", "mine.txt: unknown slot {{personna}}; did you mean {{persona}}? Known slots: age, "),
        ("{{agee}}", "did you mean {{age}}?"),
        (" \n", "mine.txt: the template is empty"),
        ("{{topic}}", "could mean a part of the prompt or the respondents' column 'topic'"),
    ],
)
def test_a_bad_template_is_refused_in_one_line(text, says):
    with pytest.raises(ScenarioError) as caught:
        load_template(text, EN, ["age", "topic"], "mine.txt")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_template_may_use_every_slot_and_need_use_none():
    everything = " ".join(f"{{{{{slot}}}}}" for slot in slot_names(EN))
    assert "{{" not in prepare(load_template(everything, EN), OIL).render(WORDS, "You are you.")
    assert prepare(load_template("Hello.", EN), OIL).render(WORDS) == "Hello."


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: load_layout("survey_v2"),
            "layout 'survey_v2' is unknown; did you mean survey_v1? Allowed: experts, shared_first, survey_v1",
        ),
        (lambda: load_layout("survey_v1", "fr"), "language 'fr'; allowed: en, zh"),
        (lambda: prepare(EN, OIL, modules=frozenset({"prior"})), "module 'prior' is unknown; did you mean priors?"),
        (lambda: prepare(EN, OIL, scope="always"), "no words for 'always'; allowed: unconditional, scenario_2"),
        (lambda: PREPARED.render({"confidence": "high"}), "confidence: the layout has no words for 'high'"),
        (lambda: PREPARED.render({"prices_prior": "rise"}), "'rise'; allowed: up, same, down"),
        (
            lambda: prepare(load_template("{{age}}", EN, ["age"]), OIL).render({"sex": "female"}),
            "prompt slot {{age}}: this respondent has no such word; has sex",
        ),
    ],
)
def test_what_a_layout_does_not_know_is_named_with_what_it_knows(make, says):
    with pytest.raises(ScenarioError) as caught:
        make()
    assert says in str(caught.value)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_with_letters_a_choice_is_answered_by_letter_and_nothing_else_changes(language):
    form = load_layout(language=language).form
    options = tuple(f"way {i}" for i in range(11))
    choice = ChoiceQuestion(kind="choice", name="way", text="Which?", options=options, dont_know="unsure")
    number = NumberQuestion(kind="number", name="n", text="How many?", minimum=0, maximum=9)
    page = Page(questions=(choice, number))
    asked = Questionnaire(name="q", topic="t", task="d", vignettes=(Vignette(name="v", pages=(page,)),))
    text = questionnaire_text(asked, form, letters=True)
    assert "\n(A) way 0\n" in text
    assert "\n(K) way 10\n(L) unsure\n" in text
    lines = specification(asked.questions, form, letters=True).splitlines()
    plain = specification(asked.questions, form).splitlines()
    assert '"(A)"' in lines[2]
    assert '"(L)"' in lines[2]
    assert "way 0" not in lines[2]
    assert lines[:2] + lines[3:] == plain[:2] + plain[3:]
