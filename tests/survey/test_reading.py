"""Reading replies: one row per rule."""

import json
import math

import pytest

from popsim.survey import (
    FAILURES,
    Bin,
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    ScaleQuestion,
    TextQuestion,
    read_reply,
)

RATE = NumberQuestion(kind="number", name="rate", key="Rate_1", text="?", minimum=-2, maximum=10, decimals=2, unit="%")
DOLLARS = NumberQuestion(kind="number", name="dollars", text="?", minimum=0, maximum=10_000_000, unit="$")
COUNT = NumberQuestion(kind="number", name="count", text="?", minimum=0, maximum=1)
TINY = NumberQuestion(kind="number", name="tiny", text="?", minimum=0, maximum=1, decimals=6)
SCALE = ScaleQuestion(kind="scale", name="scale", text="?", minimum=1, maximum=7, labels={7: "very"})
CHOICE = ChoiceQuestion(
    kind="choice", name="choice", text="?", options=("No change", "每周2-3次", "5"), dont_know="Don't know"
)
MULTIPLE = MultipleQuestion(
    kind="multiple",
    name="multiple",
    text="?",
    options=("AI推荐", "答疑", "a; b"),
    at_least=1,
    at_most=2,
    refusal="Refused",
)
OPTIONAL = MultipleQuestion(kind="multiple", name="optional", text="?", options=("x", "y"))
DENSITY = DensityQuestion(
    kind="density", name="density", text="?", bins=(Bin(label="below 0%", high=0), Bin(label="0% or more", low=0))
)
TEXT = TextQuestion(kind="text", name="text", text="?", max_characters=20)
CODED = NumberQuestion(
    kind="number", name="coded", text="?", minimum=0, maximum=50, dont_know="99", refusal="prefer not to say"
)


def read(question, source):
    """Read a reply in which a piece of JSON source stands for the value."""
    reading = read_reply(f'{{"{question.json_key}": {source}}}', (question,), reasoning=False)
    assert len({answer.status for answer in reading.answers}) == 1
    return reading.answers


@pytest.mark.parametrize(
    ("question", "source", "value"),
    [
        (RATE, "4", 4),
        (RATE, "4.25", 4.25),
        (RATE, '"4.00%"', 4),
        (RATE, '"4.00 %"', 4),
        (RATE, '"4.00\u00a0%"', 4),
        (RATE, '" 4 percent "', 4),
        (RATE, '"4 per cent"', 4),
        (RATE, "4.00%", 4),
        (RATE, '"４．２５％"', 4.25),
        (RATE, "４．２５％", 4.25),
        (RATE, '"4.2500000"', 4.25),
        (RATE, '"+4"', 4),
        (RATE, '"4."', 4),
        (RATE, '".5"', 0.5),
        (RATE, '"-1.00%"', -1),
        (RATE, '"−1.00%"', -1),
        (RATE, '"–1"', -1),
        (RATE, '"－１"', -1),
        (RATE, "0.4e1", 4),
        (RATE, "425E-2", 4.25),
        (RATE, '"-0"', 0),
        (RATE, "10.00", 10),
        (RATE, "-2.00", -2),
        (TINY, "1e-06", 1e-6),
        (TINY, "0.100000", 0.1),
        (DOLLARS, "65000", 65000),
        (DOLLARS, '"65,000"', 65000),
        (DOLLARS, '"$65,000"', 65000),
        (DOLLARS, '"$ 1,065,000"', 1065000),
        (DOLLARS, '"65000 $"', 65000),
        (DOLLARS, '"＄６５，０００"', 65000),
        (DOLLARS, "65,000", 65000),
        (SCALE, "3", 3),
        (SCALE, '"3"', 3),
        (SCALE, "3.0", 3),
        (CODED, "50", 50),
    ],
)
def test_number_is_read(question, source, value):
    (answer,) = read(question, source)
    assert (answer.status, answer.value) == ("ok", value)
    assert math.copysign(1, answer.value) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("question", "source", "status"),
    [
        *((RATE, source, "unreadable") for source in ("true", "NaN", "Infinity", "-Infinity", "[4]", '{"value": 4}')),
        *(
            (RATE, json.dumps(words, ensure_ascii=False), "unreadable")
            for words in (
                *(
                    "3-4",
                    "3–4",
                    "2 or 3",
                    "4 5",
                    "3% to 4%",
                    "four",
                    "about 4",
                    "~4",
                    "4%%",
                    "___%",
                    "%",
                    "-",
                    ".",
                    "e1",
                ),
                *("4,5", "1.234,5", "4²", "4½", "0x4", "4_0", "٤", "4 %%", "--4", "4$", "4 dollars", "1e1000", "NaN"),
            )
        ),
        *((DOLLARS, f'"{words}"', "unreadable") for words in ("6,5000", "65,00", "0,500", "1,23,456", "65 000", "$")),
        (COUNT, '"0.5%"', "unreadable"),
        *(
            (RATE, source, "out_of_range")
            for source in ("10.01", "-2.01", "12", '"12%"', "4.005", "1e5", "4e-3", "1e999")
        ),
        (RATE, "0." + "3" * 5000, "out_of_range"),
        (RATE, "9" * 5000, "out_of_range"),
        (DOLLARS, '"-$5"', "out_of_range"),
        (COUNT, "0.5", "out_of_range"),
        *((SCALE, source, "out_of_range") for source in ("0", "8", "3.5")),
        *((SCALE, source, "unreadable") for source in ('"7 very"', '"3/7"', "false")),
        *(
            (question, source, "missing")
            for question in (RATE, CHOICE, MULTIPLE, TEXT)
            for source in ("null", '""', '" "')
        ),
        (CHOICE, '"maybe"', "unreadable"),
        (CHOICE, '"1"', "unreadable"),
        (CHOICE, '"A"', "unreadable"),
        (CHOICE, '["No change"]', "unreadable"),
        (CHOICE, '"refused"', "unreadable"),
        (RATE, '"don\'t know"', "unreadable"),
        (CHOICE, '"DON’T KNOW"', "dont_know"),
        (CODED, "99", "dont_know"),
        (CODED, '"Prefer not to say"', "refused"),
        (CODED, "98", "out_of_range"),
        (MULTIPLE, '"refused"', "refused"),
        (MULTIPLE, '["Refused"]', "refused"),
        (MULTIPLE, '["Refused", "答疑"]', "unreadable"),
        (MULTIPLE, '["答疑", "答疑"]', "unreadable"),
        (MULTIPLE, '["答疑", "other"]', "unreadable"),
        (MULTIPLE, '["答疑", 1]', "unreadable"),
        (MULTIPLE, '"答疑 and AI推荐"', "unreadable"),
        (OPTIONAL, '"；"', "unreadable"),
        (MULTIPLE, "[]", "out_of_range"),
        (MULTIPLE, '["答疑", "AI推荐", "a; b"]', "out_of_range"),
        (DENSITY, '{"below 0%": 20, "0% or more": 70}', "out_of_range"),
        (DENSITY, '{"below 0%": 0.2, "0% or more": 0.8}', "out_of_range"),
        (DENSITY, '{"below 0%": -20, "0% or more": 120}', "out_of_range"),
        (DENSITY, '{"below 0%": 100}', "missing"),
        (DENSITY, '{"below 0%": 20, "0% or more": 80, "other": 0}', "unreadable"),
        (DENSITY, '{"below 0%": 20, "below 0%": 30, "0% or more": 80}', "unreadable"),
        (DENSITY, '{"below 0%": "few", "0% or more": 80}', "unreadable"),
        (DENSITY, "[20, 30, 50]", "unreadable"),
        (DENSITY, "[[20], [80]]", "unreadable"),
        (DENSITY, "80", "unreadable"),
        (TEXT, "5", "unreadable"),
        (TEXT, '["words"]', "unreadable"),
        (TEXT, '"\\ud800"', "unreadable"),
        (TEXT, json.dumps("x" * 21), "out_of_range"),
    ],
)
def test_answer_without_value_says_why(question, source, status):
    answers = read(question, source)
    assert answers[0].status == status
    assert all(math.isnan(answer.value) and not answer.probabilities for answer in answers)
    assert len(answers) == len(read(question, "{}")), "every answer to a question has the same number of rows"


@pytest.mark.parametrize(
    ("source", "position"),
    [
        ('"No change"', 0),
        ('"no  CHANGE"', 0),
        ('"Ｎｏ　ｃｈａｎｇｅ"', 0),
        ('"每周 2–3 次"', 1),
        ('"5"', 2),
        ("5", 2),
        ("no change", 0),
    ],
)
def test_choice_is_read_by_its_text(source, position):
    (answer,) = read(CHOICE, source)
    assert (answer.status, answer.value, answer.label) == ("ok", position, CHOICE.options[position])


@pytest.mark.parametrize(
    ("source", "flags"),
    [
        ('["答疑", "ai 推荐"]', (1, 1, 0)),
        ('"AI推荐、答疑"', (1, 1, 0)),
        ('"AI推荐；答疑；"', (1, 1, 0)),
        ('"AI推荐\\n答疑"', (1, 1, 0)),
        ('"a; b"', (0, 0, 1)),
    ],
)
def test_multiple_has_a_row_per_option(source, flags):
    answers = read(MULTIPLE, source)
    assert [answer.label for answer in answers] == list(MULTIPLE.options)
    assert [answer.value for answer in answers] == list(flags)


def test_multiple_may_choose_nothing_where_that_is_allowed():
    assert [(answer.status, answer.value) for answer in read(OPTIONAL, "[]")] == [("ok", 0), ("ok", 0)]


@pytest.mark.parametrize(
    "source", ['{"0% OR more": "80%", "below 0%": 20.0}', "[20, 80]", '["20 %", "80"]', "[20, 80,]"]
)
def test_density_is_read_in_the_order_of_its_bins(source):
    (answer,) = read(DENSITY, source)
    assert (answer.status, answer.probabilities) == ("ok", (20, 80))
    assert math.isnan(answer.value)


@pytest.mark.parametrize(
    ("last", "status"), [("79.5", "ok"), ("80.5", "ok"), ("79.4", "out_of_range"), ("80.6", "out_of_range")]
)
def test_density_may_miss_100_by_half(last, status):
    assert read(DENSITY, f"[20, {last}]")[0].status == status


def test_words_keep_their_form():
    (answer,) = read(TEXT, json.dumps(" Ｐrices “fell”\t4²\u0001\n"))
    assert answer.label == "Ｐrices “fell”\t4²\u0001"
    assert read(SCALE, "7")[0].label == "very"
    assert read(CODED, "99")[0].label == "99"


BODY = '{"Rate_1": "4.00%", "text": "because"}'
ASKED = (RATE, TEXT)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(BODY, id="plain"),
        pytest.param(f"```json\n{BODY}\n```", id="fence"),
        pytest.param(f"json\n{BODY}", id="word-json"),
        pytest.param(f"\ufeffSure, my answer {{as asked}}:\n{BODY}\nGood luck!", id="chatter"),
        pytest.param(f"<final_answer>{BODY}", id="unclosed-tag"),
        pytest.param(f"{BODY}</final_answer>", id="unopened-tag"),
        pytest.param(f"< Final Answer >{BODY}＜／final_answer＞", id="sloppy-tag"),
        pytest.param(f'<think>{{"Rate_1": 1, "text": "draft"}}</think>{BODY}', id="thinking"),
        pytest.param(f'{{"Rate_1": 1}} draft </think>{BODY}', id="thinking-unopened"),
        pytest.param(f'{{"Rate_1": 1, "text": "no"}} Better: {BODY}', id="last-object"),
        pytest.param(f'{BODY} {{"note": 1}}', id="last-object-with-a-key"),
        pytest.param(f'{{"answers": {BODY}}}', id="wrapped"),
        pytest.param(f"[{BODY}]", id="in-a-list"),
        pytest.param(
            f'<final_answer>{BODY}</final_answer> {{"Rate_1": 9, "text": "chatter"}}', id="final-answer-first"
        ),
        pytest.param(f"I write <final_answer> tags. <final_answer>{BODY}</final_answer>", id="tag-mentioned-before"),
        pytest.param(f"<final_answer>{BODY}</final_answer> See <final_answer>.", id="tag-mentioned-after"),
        pytest.param("{'Rate_1': '4.00%', 'text': 'because'}", id="single-quotes"),
        pytest.param("{“Rate_1”: “4.00%”, “text”: “because”}", id="smart-quotes"),
        pytest.param("｛＂Rate_1＂：＂4.00%＂，＂text＂：＂because＂｝", id="full-width"),
        pytest.param('{Rate_1: 4.00%, text: "because"}', id="bare-keys"),
        pytest.param('{"Rate_1": "4.00%" , // a guess, "quoted"\n /* and {this} */ "text": "because",}', id="comments"),
        pytest.param('{"rate 1": "4.00%", "TEXT": "because"}', id="keys-in-another-case"),
        pytest.param('{"Rate\\_1": "4.00%", "text": "because"}', id="escaped-underscore"),
        pytest.param('{"Rate_1": "4.00%", "rate_1": 4, "text": "because"}', id="same-value-twice"),
        pytest.param('{"Rate_1": "4.00%", "text": "because", "more": [1, {"a": null}]}', id="more-keys"),
        pytest.param('{"Rate_1": "4.00%", "text": "\nbecause\n"}', id="newline-in-string"),
    ],
)
@pytest.mark.parametrize("reasoning", [True, False])
def test_form_is_read_leniently(text, reasoning):
    reading = read_reply(text, ASKED, reasoning=reasoning)
    assert reading.status == "ok"
    assert [(a.value, a.label) for a in reading.answers if a.label] == [
        (pytest.approx(math.nan, nan_ok=True), "because")
    ]
    assert reading.answers[0].value == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"Rate_1": 4, "text": "I said "no" to it",}', 'I said "no" to it'),
        ("{'Rate_1': 4, 'text': 'the men' pay isn't'}", "the men' pay isn't"),
        ("{“Rate_1”: 4, “text”: “a “b” c”}", "a “b” c"),
        ('{"Rate_1": 4, "text": "http://a.b/*c",}', "http://a.b/*c"),
        ('{"Rate_1": 4, "text": "\\ud83d\\ude00 \\n\\"x\\"",}', '😀 \n"x"'),
    ],
)
def test_marks_inside_words_stay(text, words):
    assert read_reply(text, ASKED, reasoning=False).answers[1].label == words


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        pytest.param("", ("unreadable", "unreadable"), id="empty"),
        pytest.param("The rate will be 4%.", ("unreadable", "unreadable"), id="no-json"),
        pytest.param('{"Rate_1": 4, "text": "because"', ("unreadable", "unreadable"), id="not-closed"),
        pytest.param(
            '{"Rate_1": 4, "text": "he said "yes", and left"}', ("unreadable", "unreadable"), id="ambiguous-quotes"
        ),
        pytest.param('{"Rate_1": 4}', ("ok", "missing"), id="key-missing"),
        pytest.param("{}", ("missing", "missing"), id="no-key"),
        pytest.param('{"Rate_1": 4, "Rate_1": 5, "text": "x"}', ("unreadable", "ok"), id="two-values"),
        pytest.param('{"Rate_1": 4, "rate 1": 5, "text": "x"}', ("unreadable", "ok"), id="two-values-sloppy-key"),
        pytest.param('{"Rate_1": 4, "Rate_1": null, "text": "x"}', ("unreadable", "ok"), id="value-and-null"),
        pytest.param('{"Rate_1": 40, "text": "x"}', ("out_of_range", "ok"), id="range"),
        pytest.param(
            f"<recall>a</recall><reasoning>{BODY}</reasoning><final_answer>4%</final_answer>",
            ("unreadable", "unreadable"),
            id="draft-in-reasoning-is-no-answer",
        ),
        pytest.param(
            f"<recall>a</recall><reasoning>{BODY}</reasoning>", ("unreadable", "unreadable"), id="only-a-draft"
        ),
        pytest.param(f"<think>{BODY}", ("unreadable", "unreadable"), id="only-thought"),
    ],
)
def test_meaning_is_read_strictly(text, statuses):
    reading = read_reply(text, ASKED)
    assert tuple(answer.status for answer in reading.answers) == statuses
    assert reading.status == min(set(statuses) - {"ok"}, key=FAILURES.index)


def test_keys_that_differ_only_in_form_are_kept_apart():
    twins = tuple(NumberQuestion(kind="number", name=name, text="?", minimum=0, maximum=9) for name in ("a_1", "a1"))
    assert [a.value for a in read_reply('{"a_1": 1, "a1": 2, "b": 0}', twins).answers] == [1, 2]
    assert read_reply('{"A 1": 1}', twins).status == "missing"


@pytest.mark.parametrize(
    ("text", "reasoning", "finish", "error", "status"),
    [
        (BODY, True, "error", "", "engine_error"),
        (BODY, True, "stop", "out of memory", "engine_error"),
        ("<recall>I am", True, "length", "", "truncated"),
        (f"<recall>I am</recall><reasoning>{BODY}", True, "length", "", "truncated"),
        ('<final_answer>{"Rate_1": 4.1', True, "length", "", "truncated"),
        ('{"Rate_1": 4.1', False, "length", "", "truncated"),
        (f"<final_answer>{BODY} and so on", True, "length", "", "ok"),
        (f"{BODY} and so on", False, "length", "", "ok"),
        ('<final_answer>{"Rate_1": 40, "text": ""}', True, "length", "", "missing"),
    ],
)
def test_end_of_a_reply_decides(text, reasoning, finish, error, status):
    reading = read_reply(text, ASKED, reasoning=reasoning, finish=finish, error=error)
    assert reading.status == status
    assert len(reading.answers) == 2


@pytest.mark.parametrize(
    ("text", "recall", "reasoning"),
    [
        (
            f"<recall>\nI am 56.\n</recall>\n<reasoning> So, < 2%. </reasoning><final_answer>{BODY}</final_answer>",
            "I am 56.",
            "So, < 2%.",
        ),
        (f"I am 56.</recall><reasoning>So, < 2%.<final_answer>{BODY}", "I am 56.", "So, < 2%."),
        (f"<Recall>I am 56.<Reasoning>So, < 2%.</Reasoning>{BODY}", "I am 56.", "So, < 2%."),
        (f"<think><recall>no</recall></think><recall>I am 56.</recall>{BODY}", "I am 56.", ""),
        (BODY, "", ""),
    ],
)
def test_recall_and_reasoning_are_kept(text, recall, reasoning):
    reading = read_reply(text, ASKED)
    assert (reading.recall, reading.reasoning, reading.status) == (recall, reasoning, "ok")
