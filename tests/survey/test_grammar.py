"""The form of a readable reply: numbers against brute force, schemas and grammars against the reader of replies."""

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popsim.survey import (
    load_questionnaire,
    longest_reply,
    number_texts,
    read_reply,
    reply_grammar,
    reply_schema,
    set_arm,
)
from popsim.survey.questions import (
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    ScaleQuestion,
    TextQuestion,
)

EVERY_KIND = [
    NumberQuestion(
        kind="number", name="rate", text="?", minimum=-2, maximum=8, decimals=2, unit="%", dont_know="No idea"
    ),
    NumberQuestion(kind="number", name="age", text="?", minimum=18, maximum=130),
    ScaleQuestion(kind="scale", name="trust", text="?", minimum=-3, maximum=10),
    ChoiceQuestion(
        kind="choice", name="vote", text="?", options=('the "left"', "right \\ wrong", "中间"), refusal="Not saying"
    ),
    MultipleQuestion(kind="multiple", name="why", text="?", options=("a", "b", "c", "d"), at_least=1, at_most=3),
    DensityQuestion(
        kind="density", name="odds", text="?", bins=[{"label": "low", "high": 0}, {"label": "high", "low": 0}]
    ),
    TextQuestion(kind="text", name="words", text="?", max_characters=20),
]


@st.composite
def numbers(draw):
    decimals = draw(st.integers(0, 2))
    low = draw(st.integers(-12000, 12000))
    high = low + draw(st.integers(1, 3000))
    scale = 10**decimals
    return NumberQuestion(
        kind="number", name="n", text="?", minimum=low / scale, maximum=high / scale, decimals=decimals
    )


@settings(max_examples=200, deadline=None)
@given(numbers(), st.data())
def test_the_pattern_of_a_number_admits_the_grid_and_nothing_else(question, data):
    pattern = re.compile(reply_schema([question], reasoning=False)["properties"]["n"]["pattern"])
    grid = number_texts(question)
    step = 10.0**-question.decimals
    assert len(grid) == round((question.maximum - question.minimum) / step) + 1
    assert all(pattern.fullmatch(text) for text in grid)
    known = set(grid)
    beyond = [f"{question.minimum + k * step:.{question.decimals}f}" for k in range(-1100, len(grid) + 1100)]
    for text in [*beyond, *("0" + text for text in grid[:50]), *(text[:-1] for text in grid[:50]), "", "-", "-0", "+1"]:
        assert bool(pattern.fullmatch(text)) == (text in known), text
    chosen = data.draw(st.sampled_from(grid))
    assert read_reply(json.dumps({"n": chosen}), [question], reasoning=False).status == "ok"


def rules_of(grammar):
    return dict(line.split(" ::= ", 1) for line in grammar.splitlines())


TOKEN = re.compile(
    r'"((?:[^"\\]|\\.)*)"'
    r"|(\[(?:[^\]\\]|\\.)*\])(?:\{(\d+),(?P<most>\d+)\})?"
    r"|(?P<rule>[a-z][a-z0-9-]*)|(?P<mark>[()|])"
)


def write_at_random(grammar, rng):
    """Follow a grammar of literals, classes, groups and alternatives, choosing at random."""
    rules = {name: list(TOKEN.finditer(rule)) for name, rule in rules_of(grammar).items()}

    def ways(tokens, at):
        found, current = [], []
        while at < len(tokens) and tokens[at]["mark"] != ")":
            if tokens[at]["mark"] == "(":
                inner, at = ways(tokens, at + 1)
                current.append(inner)
            elif tokens[at]["mark"] == "|":
                found.append(current)
                current = []
            else:
                current.append(tokens[at])
            at += 1
        return [*found, current], at

    parsed = {name: ways(tokens, 0)[0] for name, tokens in rules.items()}

    def write(alternatives):
        return "".join(one(item) for item in rng.choice(alternatives))

    def one(item):
        if isinstance(item, list):
            return write(item)
        if item["rule"]:
            return write(parsed[item["rule"]])
        if item[2]:
            matching = [c for c in map(chr, [*range(1, 0x180), 0x4E2D]) if re.fullmatch(item[2], c)]
            length = rng.choice((int(item[3]), int(item["most"]))) if item["most"] else 1
            return "".join(rng.choices(matching, k=length))
        return json.loads(f'"{item[1]}"')

    return write(parsed["root"])


@pytest.mark.parametrize("reasoning", [True, False])
def test_whatever_the_grammar_admits_is_readable(reasoning):
    grammar = reply_grammar(EVERY_KIND, reasoning=reasoning)
    rng = random.Random(1)
    seen = set()
    for _ in range(500):
        text = write_at_random(grammar, rng)
        assert len(text) <= longest_reply(EVERY_KIND, reasoning=reasoning)
        reading = read_reply(text, EVERY_KIND, reasoning=reasoning)
        assert reading.status == "ok", (text, reading)
        seen |= {(answer.question, answer.status) for answer in reading.answers}
    assert ("rate", "dont_know") in seen
    assert ("vote", "refused") in seen


@pytest.mark.parametrize("name", ["oil_price", "learning_platform"])
def test_shipped_questionnaires_have_a_form(name):
    questionnaire = load_questionnaire(name)
    for arm in {arm for vignette in questionnaire.vignettes for arm in vignette.arms} or {"all"}:
        questions = set_arm(questionnaire, arm).questions
        text = write_at_random(reply_grammar(questions), random.Random(2))
        assert read_reply(text, questions).status == "ok"
        assert reply_schema(questions)["required"] == ["recall", "reasoning", "final_answer"]
