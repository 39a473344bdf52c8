"""Reading what was written gives the same value: random questions of every kind, answered and written in many forms."""

import json
import math
from decimal import Decimal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from popsim.survey import (
    FAILURES,
    STATUSES,
    Answer,
    Bin,
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    ScaleQuestion,
    TextQuestion,
    read_reply,
)
from popsim.survey.lenient import find_object, fold

WIDE = str.maketrans({0x21 + i: 0xFF01 + i for i in range(94) if chr(0x21 + i) not in "\"\\'"})
LABELS = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12).map(str.strip)
WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=60).filter(str.strip)


def labels(smallest, largest):
    return st.lists(LABELS.filter(fold), min_size=smallest, max_size=largest, unique_by=fold)


@st.composite
def quoted(draw, text):
    """Write a string as JSON source."""
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


@st.composite
def number(draw, common, lenient):
    decimals = draw(st.integers(0, 6))
    low, high = sorted(draw(st.sets(st.integers(-(10**9), 10**9), min_size=2, max_size=2)))
    unit = draw(st.sampled_from(["", "%", "$", "years", "元"]))
    minimum, maximum, value = (Decimal(i).scaleb(-decimals) for i in (low, high, draw(st.integers(low, high))))
    question = NumberQuestion(
        kind="number", minimum=float(minimum), maximum=float(maximum), decimals=decimals, unit=unit, **common
    )
    plain = f"{value:f}"
    forms = [plain, json.dumps(plain), json.dumps(plain + unit), repr(float(plain))]
    if lenient:
        grouped = f"{value:,f}"
        wide = grouped.translate(WIDE)
        forms += [
            *(json.dumps(grouped), json.dumps(f" {grouped}\u00a0{unit}"), grouped + unit, wide),
            *(json.dumps(wide + unit, ensure_ascii=False), json.dumps(grouped.replace("-", "−"))),
            *(f"{plain}.0" if decimals == 0 else f"{plain}000", f"{value:E}", json.dumps(f"{value:+f}")),
        ]
        if unit:
            forms += [json.dumps(f"{unit}{grouped}"), json.dumps(f"{unit} {plain}")]
            forms += [json.dumps(plain.replace("-", f"-{unit}"))] if value < 0 else []
    expected = Answer(question.name, float(plain) + 0.0, "", "ok")
    return question, draw(st.sampled_from(forms)), (expected,)


@st.composite
def scale(draw, common, lenient):
    low, high = sorted(draw(st.sets(st.integers(-20, 20), min_size=2, max_size=2)))
    value = draw(st.integers(low, high))
    question = ScaleQuestion(kind="scale", minimum=low, maximum=high, labels={high: "most"}, **common)
    forms = [f"{value}", f'"{value}"', *([f"{value}.0", f'" {value} "'] if lenient else [])]
    answer = Answer(question.name, float(value), "most" if value == high else "", "ok")
    return question, draw(st.sampled_from(forms)), (answer,)


def disguised(label):
    """Write a label so that only its form differs."""
    forms = [label, f" {label} ", label.replace(" ", "\u3000")]
    return st.sampled_from([*forms, label.upper(), label.translate(WIDE)] if label.isascii() else forms)


@st.composite
def choice(draw, common, lenient):
    question = ChoiceQuestion(kind="choice", options=tuple(draw(labels(2, 5))), **common)
    position = draw(st.integers(0, len(question.options) - 1))
    label = question.options[position]
    written = draw(disguised(label)) if lenient else label
    return question, draw(quoted(written)), (Answer(question.name, float(position), label, "ok"),)


@st.composite
def multiple(draw, common, lenient):
    question = MultipleQuestion(kind="multiple", options=tuple(draw(labels(2, 5))), **common)
    chosen = draw(st.lists(st.sampled_from(question.options), unique=True))
    written = [draw(disguised(label)) if lenient else label for label in chosen]
    rows = tuple(Answer(question.name, float(label in chosen), label, "ok") for label in question.options)
    return question, "[" + ", ".join([draw(quoted(label)) for label in written]) + "]", rows


@st.composite
def density(draw, common, lenient):
    names = draw(labels(2, 6))
    question = DensityQuestion(
        kind="density", bins=tuple(Bin(label=name, low=i, high=i + 1) for i, name in enumerate(names)), **common
    )
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(names) - 1, max_size=len(names) - 1)))
    shares = [right - left for left, right in zip([0, *cuts], [*cuts, 100], strict=True)]
    order = draw(st.permutations(range(len(names))))
    forms = [str, lambda share: f'"{share}%"'] + ([lambda share: f"{share}%"] if lenient else [])
    write = draw(st.sampled_from(forms))
    members = ", ".join([f"{draw(quoted(names[i]))}: {write(shares[i])}" for i in order])
    listed = "[" + ", ".join(write(share) for share in shares) + "]"
    answer = Answer(question.name, math.nan, "", "ok", tuple(map(float, shares)))
    return question, draw(st.sampled_from(["{" + members + "}", listed])), (answer,)


@st.composite
def words(draw, common, lenient):
    question = TextQuestion(kind="text", **common)
    text = draw(WORDS)
    return question, draw(quoted(text)), (Answer(question.name, math.nan, text.strip(), "ok"),)


@st.composite
def asked(draw, name, lenient):
    """Draw a question, the JSON source of a legal answer, and the rows that must come back."""
    common = {"name": name, "key": f"Key_of_{name}", "text": "?"}
    legal = {"dont_know": "I really don't know", "refusal": "No answer, please"}
    common |= {field: text for field, text in legal.items() if draw(st.booleans())}
    kind = draw(st.sampled_from([number, scale, choice, multiple, density, words]))
    question, source, rows = draw(kind(common, lenient))
    said = draw(st.sampled_from([None] * 6 + [field for field in legal if field in common]))
    if said is None:
        return question, source, rows
    status = {"dont_know": "dont_know", "refusal": "refused"}[said]
    label = "" if question.kind == "multiple" else legal[said]
    rows = tuple(
        row._replace(value=math.nan, label=label or row.label, status=status, probabilities=()) for row in rows
    )
    return question, json.dumps(legal[said].upper() if lenient else legal[said]), rows


@st.composite
def surveys(draw, lenient):
    pieces = [draw(asked(f"q{i}", lenient)) for i in range(draw(st.integers(1, 5)))]
    questions = tuple(question for question, _, _ in pieces)
    return questions, [source for _, source, _ in pieces], [row for _, _, rows in pieces for row in rows]


@st.composite
def disguises(draw, members):
    """Write an object and what stands around it in one of many sloppy forms."""
    comment = st.sampled_from(["", "", ' // like this, "say" {\n', "/* or: this */", "\n", "\u00a0", "\t\u3000"])
    comma, colon, opening, closing = draw(st.sampled_from([",:{}", "，：｛｝"]))
    body = f"{comma} ".join(
        f"{draw(comment)}{key}{draw(comment)}{colon} {draw(comment)}{value}{draw(comment)}" for key, value in members
    )
    end = draw(st.sampled_from(["", comma, f"{comma} // end", f"{comma}/**/"]))
    body = f"{opening}{draw(comment)}{body}{end}\n{closing}"
    before = draw(st.sampled_from(["", "\ufeff", "Here it is, {as asked}: ", "json\n", "```json\n", 'A "quote, {and']))
    after = draw(st.sampled_from(["", "\n```", "\nThat's all.", "\n}", ' "bye']))
    tags = draw(
        st.sampled_from(
            [
                ("", ""),
                ("<recall>I</recall><reasoning>think</reasoning><final_answer>", "</final_answer>"),
                ("<reasoning>think {so}<final_answer>", ""),
                ("<Final Answer>", "</ final_answer >"),
            ]
        )
    )
    return tags[0] + before + body + after + tags[1]


def same(rows, others):
    return repr(list(rows)) == repr(list(others))


@given(surveys(lenient=False), st.booleans(), st.sampled_from([None, 0, 2]))
def test_what_was_written_is_read(survey, reasoning, indent):
    questions, sources, rows = survey
    space = "" if indent is None else "\n" + " " * indent
    body = ",".join(f'{space}"{q.json_key}": {source}' for q, source in zip(questions, sources, strict=True))
    text = "{" + body + space + "}"
    if reasoning:
        text = f"<recall>\nI am 56.\n</recall>\n<reasoning>\nSo.\n</reasoning>\n<final_answer>\n{text}\n</final_answer>"
    reading = read_reply(text, questions, reasoning=reasoning)
    assert same(reading.answers, rows)
    assert reading.status == "ok"


@given(st.data(), surveys(lenient=True))
def test_what_was_written_sloppily_is_read(data, survey):
    questions, sources, rows = survey
    members = []
    for question, source in zip(questions, sources, strict=True):
        key = question.json_key
        members.append(
            (data.draw(st.sampled_from([f'"{key}"', f'"{key.upper()}"', f"'{key}'", f"“{key}”", key])), source)
        )
    reading = read_reply(data.draw(disguises(members)), questions)
    assert same(reading.answers, rows)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), st.booleans())
@example({"a": 'x", "b": "y'}, True)
def test_the_small_parser_agrees_with_the_standard_one(values, ascii_only):
    """A comma before the closing brace is enough to send an object to the small parser."""
    text = json.dumps(values, ensure_ascii=ascii_only)
    standard = find_object(text, list(values))
    deep = max(depth(value) for value in values.values()) >= 3
    assert deep or find_object(text[:-1] + ",}", list(values)) == standard


def depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def legal(question, rows):
    """Say whether rows keep every rule of their question."""
    if {row.status for row in rows} != {"ok"}:
        statuses = {row.status for row in rows}
        return len(statuses) == 1 and statuses < set(STATUSES) and all(math.isnan(row.value) for row in rows)
    values = [row.value for row in rows]
    if question.kind == "number":
        return question.minimum <= values[0] <= question.maximum and round(values[0], question.decimals) == values[0]
    if question.kind == "scale":
        return question.minimum <= values[0] <= question.maximum and values[0] == int(values[0])
    if question.kind == "choice":
        return rows[0].label == question.options[int(values[0])]
    if question.kind == "multiple":
        return set(values) <= {0, 1} and question.at_least <= sum(values) <= question.most
    if question.kind == "density":
        shares = rows[0].probabilities
        return all(0 <= share <= 100 for share in shares) and abs(sum(shares) - 100) <= 0.5 + 1e-9
    return 0 < len(rows[0].label) <= question.max_characters


FIXED = (
    NumberQuestion(kind="number", name="a", text="?", minimum=-2, maximum=8, decimals=2, unit="%", dont_know="pass"),
    ScaleQuestion(kind="scale", name="b", text="?", minimum=1, maximum=7),
    ChoiceQuestion(kind="choice", name="c", text="?", options=("0", "yes, no")),
    MultipleQuestion(kind="multiple", name="d", text="?", options=("0", "1", "e"), at_least=1, at_most=2),
    DensityQuestion(kind="density", name="e", text="?", bins=(Bin(label="0", high=0), Bin(label="1", low=0))),
    TextQuestion(kind="text", name="f", text="?", max_characters=9),
)
TOKENS = st.sampled_from(
    ['"', "'", "{", "}", "[", "]", ":", ",", "，", "“", "\\", "\n", "//", "/*", "*/", " ", "%", "-", ".", "null", "NaN"]
    + ["yes, no", "pass", "0", "1", "9", "5.25", "1e1", "<final_answer>", "</final_answer>", "<think>", "```"]
    + [f'"{name}": ' for name in "abcdef"]
)


def check(reading):
    rows = list(reading.answers)
    for question in FIXED:
        count = len(question.options) if question.kind == "multiple" else 1
        mine, rows = rows[:count], rows[count:]
        assert {row.question for row in mine} == {question.name}
        assert legal(question, mine)
    assert not rows
    failed = {row.status for row in reading.answers} & set(FAILURES)
    assert reading.status == (min(failed, key=FAILURES.index) if failed else "ok")


@given(
    st.text() | st.lists(TOKENS, max_size=40).map("".join),
    st.booleans(),
    st.sampled_from(["stop", "length", "error"]),
)
def test_no_text_is_an_error_or_breaks_a_rule(text, reasoning, finish):
    check(read_reply(text, FIXED, reasoning=reasoning, finish=finish))


@given(st.lists(VALUES, min_size=6, max_size=6))
def test_no_json_is_an_error_or_breaks_a_rule(values):
    check(read_reply(json.dumps(dict(zip("abcdef", values, strict=True))), FIXED))


@settings(max_examples=300)
@given(st.integers(-999, 999), st.integers(0, 2), st.data())
def test_another_digit_never_gives_another_number_than_the_json_says(whole, decimals, data):
    token = f"{whole}.{data.draw(st.integers(10**decimals, 2 * 10**decimals - 1)) % 10**decimals:0{decimals}d}"
    token = token if decimals else f"{whole}"
    place = data.draw(st.sampled_from([i for i, c in enumerate(token) if c.isdigit()]))
    token = token[:place] + data.draw(st.sampled_from("0123456789")) + token[place + 1 :]
    (answer,) = read_reply(f'{{"a": "{token}%"}}', FIXED[:1]).answers
    inside = -2 <= Decimal(token) <= 8
    assert answer.status == ("ok" if inside else "out_of_range")
    assert not inside or answer.value == float(Decimal(token))
