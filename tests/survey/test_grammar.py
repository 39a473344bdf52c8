"""The form of a readable reply: numbers against brute force, schemas and grammars against the reader of replies."""

import itertools
import json
import random
import re
from functools import cache
from importlib.util import find_spec

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
from popsim.survey.grammar import PART_LENGTH
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
ODD = [
    NumberQuestion(kind="number", name="n1", text="?", minimum=-0.5, maximum=0.5, decimals=1, unit=' "inch"'),
    NumberQuestion(kind="number", name="n2", text="?", minimum=0, maximum=0.05, decimals=2, unit="\\%"),
    NumberQuestion(kind="number", name="n3", text="?", minimum=95, maximum=105, unit=" \t°"),
    NumberQuestion(kind="number", name="n4", text="?", minimum=0.5, maximum=12.25, decimals=2, unit=" µg/m³ [x] (1|2)"),
    NumberQuestion(kind="number", name="n5", text="?", minimum=-10.5, maximum=-0.05, decimals=2, dont_know='"?"\n'),
    ChoiceQuestion(
        kind="choice",
        name="c",
        key='k "q" \\ ü',
        text="?",
        options=("a\nb", 'q "x"', "back\\slash", "tab\tx", "bell\x07", "😀 yes", "line\u2028", "/", "{{x}}", "\\u0041"),
    ),
    MultipleQuestion(kind="multiple", name="m", text="?", options=('a "1"', "b\\", "c\n", "😀"), at_most=2),
    MultipleQuestion(kind="multiple", name="none", text="?", options=("a", "b"), at_most=0),
    MultipleQuestion(kind="multiple", name="all", text="?", options=("a", "b"), at_least=2),
    DensityQuestion(
        kind="density",
        name="d",
        text="?",
        bins=[{"label": '<"0"', "high": 0}, {"label": "0\\1", "low": 0, "high": 1}, {"label": ">1\n", "low": 1}],
        refusal="no\ntalk",
    ),
    TextQuestion(kind="text", name="t", text="?", max_characters=1),
]
QUESTIONS = {"every kind": EVERY_KIND, "odd": ODD}


@st.composite
def numbers(draw):
    decimals = draw(st.integers(0, 6))
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
    r"|(?:(\[(?:[^\]\\]|\\.)*\])|(?P<rule>[a-z][a-z0-9-]*))(?:\{(?P<least>\d+)(?:,(?P<most>\d+))?\})?"
    r"|(?P<mark>[()|])"
)
ALPHABET = [*map(chr, range(1, 0x180)), "中", "\ufeff", "😀"]


@cache
def matching(character_class):
    return [c for c in ALPHABET if re.fullmatch(character_class, c)]


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
        length = rng.choice((int(item["least"] or 1), int(item["most"] or item["least"] or 1)))
        if item["rule"]:
            return "".join(write(parsed[item["rule"]]) for _ in range(length))
        if item[2]:
            return "".join(rng.choices(matching(item[2]), k=length))
        return json.loads(f'"{item[1]}"')

    return write(parsed["root"])


@pytest.mark.parametrize("reasoning", [True, False])
@pytest.mark.parametrize("asked", QUESTIONS)
def test_whatever_the_grammar_admits_is_readable(asked, reasoning):
    questions = QUESTIONS[asked]
    grammar = reply_grammar(questions, reasoning=reasoning)
    rng = random.Random(1)
    seen = set()
    for _ in range(50 if reasoning else 500):
        text = write_at_random(grammar, rng)
        assert len(text.encode()) <= longest_reply(questions, reasoning=reasoning)
        reading = read_reply(text, questions, reasoning=reasoning)
        assert reading.status == "ok", (text, reading)
        seen |= {(answer.question, answer.status) for answer in reading.answers}
        seen |= {(answer.question, answer.label) for answer in reading.answers if answer.question in ("c", "vote")}
        assert max(len(reading.recall), len(reading.reasoning)) <= PART_LENGTH
    if not reasoning:
        allowed = next(question.options for question in questions if question.name in ("c", "vote"))
        assert {label for _, label in seen} >= set(allowed), "every option can be written"
        assert seen >= {
            (question.name, status)
            for question in questions
            for status, words in (("dont_know", question.dont_know), ("refused", question.refusal))
            if words
        }


@pytest.mark.parametrize("at_least", [0, 1, 2, 3])
def test_a_multiple_question_is_answered_by_every_legal_set_of_its_options_and_no_other(at_least):
    question = MultipleQuestion(
        kind="multiple", name="m", text="?", options=("a", "b", "c"), at_least=at_least, at_most=max(at_least, 2)
    )
    rng = random.Random(4)
    written = {write_at_random(reply_grammar([question], reasoning=False), rng) for _ in range(500)}
    legal = [
        chosen
        for count in range(at_least, max(at_least, 2) + 1)
        for chosen in itertools.combinations(question.options, count)
    ]
    assert written == {json.dumps({"m": chosen}) for chosen in legal}


@pytest.mark.parametrize("name", ["oil_price", "learning_platform"])
def test_shipped_questionnaires_have_a_form(name):
    questionnaire = load_questionnaire(name)
    for arm in {arm for vignette in questionnaire.vignettes for arm in vignette.arms} or {"all"}:
        questions = set_arm(questionnaire, arm).questions
        text = write_at_random(reply_grammar(questions), random.Random(2))
        assert read_reply(text, questions).status == "ok"
        assert reply_schema(questions)["required"] == ["recall", "reasoning", "final_answer"]


# --- the engine that holds replies to the grammar

needs_xgrammar = pytest.mark.skipif(find_spec("xgrammar") is None, reason="xgrammar is not installed")
END = 256


class Held:
    """A model of no weights: any byte that xgrammar allows next is as likely as another."""

    def __init__(self):
        import xgrammar

        self.xgrammar = xgrammar
        vocabulary = [*(bytes([byte]) for byte in range(END)), b"<end>"]
        kind = xgrammar.VocabType.RAW
        info = xgrammar.TokenizerInfo(vocabulary, vocab_type=kind, vocab_size=END + 1, stop_token_ids=[END])
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1)

    def matcher(self, grammar):
        return self.xgrammar.GrammarMatcher(self.compiler.compile_grammar(self.xgrammar.Grammar.from_ebnf(grammar)))

    def write(self, grammar, rng):
        matcher, written = self.matcher(grammar), bytearray()
        mask = self.xgrammar.allocate_token_bitmask(1, END + 1)
        while not matcher.is_terminated():
            matcher.fill_next_token_bitmask(mask)
            words = mask[0].tolist()
            byte = rng.choice([byte for byte in range(END + 1) if words[byte // 32] >> (byte % 32) & 1])
            assert matcher.accept_token(byte)
            written += bytes([byte] if byte < END else [])
        return written.decode()

    def admits(self, grammar, text):
        matcher = self.matcher(grammar)
        return all(matcher.accept_token(byte) for byte in text.encode()) and matcher.accept_token(END)


@pytest.fixture(scope="module")
def held():
    return Held()


@needs_xgrammar
@pytest.mark.parametrize(
    "text",
    [
        'say "no"',
        "a\\b",
        "a\\\\n",
        "\\u0041",
        "tab\t",
        "end\n",
        "bell\x07",
        "del\x7f",
        "中",
        "😀",
        "line\u2028",
        "it's",
        "",
    ],
)
def test_a_literal_stands_for_the_bytes_of_the_json_text(held, text):
    question = ChoiceQuestion(kind="choice", name="q", text="?", options=(f"x{text}x", "other"))
    grammar = reply_grammar([question], reasoning=False)
    said = json.dumps(question.options[0], ensure_ascii=False)
    assert held.admits(grammar, f'{{"q": {said}}}')
    assert not held.admits(grammar, f'{{"q": {said[:-1]}x"}}')
    assert json.loads(f'{{"q": {said}}}') == {"q": f"x{text}x"}


@needs_xgrammar
@pytest.mark.parametrize("question", [*EVERY_KIND, *ODD], ids=lambda question: question.name)
def test_a_reply_that_xgrammar_lets_through_is_readable_and_no_longer_than_said(held, question):
    grammar, rng = reply_grammar([question], reasoning=False), random.Random(5)
    for _ in range(40):
        text = held.write(grammar, rng)
        assert read_reply(text, [question], reasoning=False).status == "ok", text
        assert len(text.encode()) <= longest_reply([question], reasoning=False)


@needs_xgrammar
def test_a_whole_reply_that_xgrammar_lets_through_is_readable_and_no_longer_than_said(held):
    grammar, rng = reply_grammar(EVERY_KIND), random.Random(6)
    for _ in range(3):
        text = held.write(grammar, rng)
        assert read_reply(text, EVERY_KIND).status == "ok"
        assert len(text.encode()) <= longest_reply(EVERY_KIND)
    prose = "Prices — so it seems — rise; I'd say [perhaps] by 5 %.\n我觉得物价会上涨。" * 10
    answers = write_at_random(reply_grammar(EVERY_KIND, reasoning=False), rng)
    reply = (
        f"<recall>\n{prose}\n</recall>\n<reasoning>\n{prose}\n</reasoning>\n<final_answer>\n{answers}\n</final_answer>"
    )
    assert held.admits(grammar, reply)
    assert not held.admits(grammar, reply.replace("[perhaps]", "<perhaps>"))


@needs_xgrammar
@pytest.mark.parametrize(
    ("minimum", "maximum", "decimals"),
    [(-0.5, 0.5, 1), (0, 0.05, 2), (95, 105, 0), (0.5, 2.25, 2), (-12, -9.5, 1), (-3, 0, 0), (0.04, 0.96, 1)],
)
def test_xgrammar_admits_the_numbers_of_the_grid_and_no_other(held, minimum, maximum, decimals):
    question = NumberQuestion(
        kind="number", name="n", text="?", minimum=minimum, maximum=maximum, decimals=decimals, unit="%"
    )
    grammar, grid = reply_grammar([question], reasoning=False), number_texts(question)
    near = {f"{sign}{k / 10**decimals:.{decimals}f}" for k in range(300) for sign in ("", "-")}
    near |= (
        {f"0{text}" for text in grid} | {text[:-1] for text in grid} | {f"{text}0" for text in grid} | {"", "-", "."}
    )
    assert {text for text in near | set(grid) if held.admits(grammar, f'{{"n": "{text}%"}}')} == set(grid)


@needs_xgrammar
@pytest.mark.parametrize("question", [*EVERY_KIND[:4], *ODD[:6]], ids=lambda question: question.name)
def test_the_schema_lets_through_what_is_readable_where_it_can_say_so(held, question):
    schema = json.dumps(reply_schema([question], reasoning=False), ensure_ascii=False)
    grammar = str(held.xgrammar.Grammar.from_json_schema(schema, any_whitespace=False))
    rng = random.Random(7)
    for _ in range(20):
        text = held.write(grammar, rng)
        assert read_reply(text, [question], reasoning=False).status == "ok", text
