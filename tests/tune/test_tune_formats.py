"""Each file shape is read, written and read again; what cannot be an answer is one line that names the row."""

import json

import pytest

from popsim.engines import load_engine
from popsim.errors import TuneError
from popsim.scenario import load_scenario
from popsim.study import run
from popsim.tune import formats
from popsim.tune.records import Answer, Item, Shares, make_shares, pool, unit_of

CHOICE = Item("trust", "Do you trust people?", options=("yes", "it depends", "no"))
SCALE = Item("s1/1", "How warm do you feel?", low=1, high=7, missing=(98.0,))
FACTS = {"age": "44", "region": "North: coast"}
ANSWERS = [
    Answer("a", CHOICE, "no", facts=FACTS, study="mine"),
    Answer("b", CHOICE, "yes", facts={"age": "70"}, study="mine"),
]


def put(tmp_path, rows, *, lines=False):
    path = tmp_path / "file.json"
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    return path


def culture(**changed):
    row = {
        "id": "Q1",
        "instruction": "How would someone from New Zealand answer the following question:\n\n",
        "input": "Is family important? \nHere are the options: \n",
        "options": ["(A)very", "(B)not at all"],
        "options_dist": {"A": 75.0, "B": 25.0},
        "data_type": "train",
    }
    return {**row, **changed}


def subpop(**changed):
    row = {
        "qkey": "GUN_W26",
        "attribute": "CREGION",
        "group": "South",
        "question": "How safe?",
        "options": ["very", "no idea", "not", "Refused"],
        "ordinal": [1, -1, 2],
        "responses": [0.5, 0.25, 0.25],
        "refusal_rate": 0.01,
    }
    return {**row, **changed}


def social(**changed):
    row = {
        "sample_id": 1,
        "participant": 4,
        "demographic": {"age": 31, "gender": "female", "party_id": None},
        "stimuli": "You read a letter.",
        "prompt": "How warm? Only return an integer from 1 to 7.",
        "reasoning": "",
        "response": 5,
        "condition_num": 2,
        "task_num": 1,
        "study_id": "s1",
    }
    return {**row, **changed}


def test_cultures_in_percent_are_shares_of_options_without_letters(tmp_path):
    [found] = formats.read_cultures(put(tmp_path, [culture()]))
    assert found.shares == (0.75, 0.25)
    assert (found.group, found.split, found.item.options) == ("New Zealand", "train", ("very", "not at all"))
    assert found.item.text == "Is family important?"


def test_cultures_go_past_j_and_a_missing_share_is_nothing(tmp_path):
    letters = [chr(65 + i) for i in range(25)]
    row = culture(options=[f"({x})option {x}" for x in letters], options_dist={"Y": 1.0})
    [found] = formats.read_cultures(put(tmp_path, [row]))
    assert found.item.letters == "".join(letters)
    assert found.shares == (0.0,) * 24 + (1.0,)


def test_subpop_leaves_out_the_refusal_and_keeps_options_without_a_place(tmp_path):
    [found] = formats.read_subpop(put(tmp_path, [subpop()], lines=True))
    assert found.group == "CREGION: South"
    assert found.item.options == ("very", "no idea", "not")
    assert found.item.places == (1, None, 2)
    assert found.item.ordered
    assert found.shares == (0.5, 0.25, 0.25)


def test_socsci_reads_scale_facts_and_missing_codes(tmp_path):
    rows = [social(), social(participant=5, response=98), social(participant=6, prompt="How many?", response=60.0e6)]
    warm, gone, free = formats.read_socsci(put(tmp_path, rows, lines=True), missing=[98])
    assert (warm.value, warm.status, warm.item.low, warm.item.high) == (5.0, "ok", 1, 7)
    assert warm.facts == {"age": "31", "gender": "female"}
    assert (warm.study, warm.condition, warm.stimulus, warm.person) == ("s1", "2", "You read a letter.", "s1/4")
    assert (gone.value, gone.status) == (None, "missing")
    assert (free.value, free.item.low) == (60.0e6, None)


def test_alpaca_task_by_task(tmp_path):
    lettered = "Your age: 44\nHow is it?\nA. good\nB. bad\nAnswer directly."
    rows = [
        {"instruction": lettered, "input": "", "output": "B. bad", "respondent_id": 9, "question_index": "h"},
        {"instruction": lettered.replace("Your age:", "您的年龄："), "output": "good"},
        {"instruction": lettered, "output": "perhaps"},
        {"instruction": "Stance?", "output": '```json\n{"predict": "Negative", "reason": "costs"}\n```'},
        {"instruction": "Who speaks?", "output": "female", "field": "sex"},
        {"instruction": "Tell me.", "output": "Well, I moved here."},
    ]
    bad, good, lost, stance, sex, told = formats.read_alpaca(put(tmp_path, rows), study="gss")
    assert (bad.person, bad.item.name, bad.value, bad.facts) == ("9", "h", "bad", {"age": "44"})
    assert (good.value, good.facts) == ("good", {"年龄": "44"})
    assert (lost.value, lost.status) == (None, "unreadable")
    assert (stance.value, stance.reasoning) == ("negative", "costs")
    assert (sex.item.name, sex.value, sex.item.options) == ("sex", "female", ())
    assert told.value == "Well, I moved here."
    assert {one.study for one in (bad, good, lost, stance, sex, told)} == {"gss"}


@pytest.mark.parametrize(
    ("read", "write", "records"),
    [
        (formats.read_alpaca, formats.write_alpaca, ANSWERS),
        (
            formats.read_socsci,
            formats.write_socsci,
            [Answer("s1/4", SCALE, 5.0, facts=FACTS, study="s1", condition="2", stimulus="A letter.")],
        ),
        (formats.read_cultures, formats.write_cultures, [Shares("Kenya", CHOICE, (0.25, 0.25, 0.5), split="test")]),
        (formats.read_subpop, formats.write_subpop, [Shares("SEX: Male", CHOICE, (0.25, 0.25, 0.5))]),
    ],
    ids=["alpaca", "socsci", "cultures", "subpop"],
)
def test_what_is_written_is_read_again(tmp_path, read, write, records):
    write(tmp_path / "one.json", records)
    once = read(tmp_path / "one.json")
    for given, found in zip(records, once, strict=True):
        assert found.item.options == given.item.options
        for name in ("value", "facts", "condition", "stimulus", "person", "shares", "group", "split"):
            if hasattr(given, name):
                assert getattr(found, name) == getattr(given, name)
    write(tmp_path / "two.json", once)
    assert (tmp_path / "two.json").read_bytes().count(b"{") >= len(records)
    assert [one.item.text for one in read(tmp_path / "two.json")] == [one.item.text for one in once]


def test_csv_with_its_map_is_read_again_to_the_letter(tmp_path):
    answers = [*ANSWERS, Answer("c", SCALE, 6.0, study="s"), Answer("d", SCALE, None, "missing", facts=FACTS)]
    columns = formats.write_csv(tmp_path / "a.csv", answers)
    assert formats.read_csv(tmp_path / "a.csv", columns) == answers


def test_shuffled_options_keep_the_answer(tmp_path):
    many = [Answer(str(i), CHOICE, "no") for i in range(20)]
    formats.write_alpaca(tmp_path / "a.json", many, seed=3)
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert {row["output"] for row in rows} == {"A. no", "B. no", "C. no"}
    assert [one.value for one in formats.read_alpaca(tmp_path / "a.json")] == ["no"] * 20


def test_a_run_gives_answers_with_persona_and_arm(tmp_path):
    run(load_scenario("oil_price_fall", {"size": 12}), tmp_path / "run", engine=load_engine("baseline"))
    found = formats.read_run(tmp_path / "run")
    assert {one.study for one in found} == {"oil_price_fall"}
    assert len({one.person for one in found}) == 12
    assert all("age" in one.facts and "weight" not in one.facts for one in found)
    numbers = [one for one in found if one.item.low is not None]
    assert numbers
    assert all(one.item.low <= one.value <= one.item.high for one in numbers if one.status == "ok")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([culture(options_dist={"A": 0.4, "B": 0.4})], "row 1: shares sum to 0.8"),
        ([culture(options_dist={"A": 5, "B": 3})], "row 1: shares sum to 8"),
        ([culture(), culture(options_dist={"A": 0.5, "B": 0.5})], "row 2: is in shares, but"),
        ([culture(options_dist={"A": -1, "B": 2})], "must be 0 or more, not -1"),
        ([culture(options_dist={"A": 0.5, "Z": 0.5})], "a share for 'Z'"),
        ([culture(options=["(A)x", "(AA)y"])], "does not begin with a letter"),
        ([culture(options=["(A)x", "(B)x"])], "none twice"),
        ([culture(instruction="Nobody.")], "no group found"),
        ([{"id": 1}], "lacks 'instruction'"),
        ({}, "holds a dict"),
        ([1], "row 1: holds a int"),
    ],
)
def test_mistakes_in_distributions_are_one_line(tmp_path, rows, said):
    path = put(tmp_path, rows)
    with pytest.raises(TuneError) as caught:
        formats.read_cultures(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (social(response=98), "98 lies outside the scale of s1/1, 1 to 7"),
        (social(response="five"), "response 'five' is no number"),
        (social(demographic="no json"), "neither an object nor JSON"),
        (social(prompt="from 7 to 1"), "low 7 must be below high 1"),
    ],
)
def test_mistakes_in_answers_are_one_line(tmp_path, row, said):
    path = put(tmp_path, [row], lines=True)
    with pytest.raises(TuneError, match=r"^[^\n]*$") as caught:
        formats.read_socsci(path)
    assert said in str(caught.value)


def test_mistakes_in_a_table_are_one_line(tmp_path):
    columns = formats.write_csv(tmp_path / "a.csv", ANSWERS)
    with pytest.raises(TuneError, match="has no column 'who'; it has person, question"):
        formats.read_csv(tmp_path / "a.csv", columns.model_copy(update={"person": "who"}))
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    (tmp_path / "b.csv").write_text(text.replace(",no,", ",never,"), encoding="utf-8")
    with pytest.raises(TuneError, match=r"row 2: 'never' is no option of trust; allowed: yes, it depends, no"):
        formats.read_csv(tmp_path / "b.csv", columns)
    with pytest.raises(TuneError, match="no such file"):
        formats.read_csv(tmp_path / "c.csv", columns)


def test_more_than_26_options_have_no_letters():
    item = Item("many", "?", options=tuple(map(str, range(27))))
    with pytest.raises(TuneError, match="27 options, but only 26 letters"):
        _ = item.letters


@pytest.mark.parametrize(
    ("values", "unit"), [([0.5, 0.5], "share"), ([0.5, 0.46], "share"), ([1, 99], "percent"), ([50, 46], "percent")]
)
def test_unit_is_told_by_the_sum(values, unit):
    assert unit_of(values, "row") == unit
    assert sum(make_shares("g", Item("q", "?", options=("a", "b")), values, "row").shares) == pytest.approx(1)


def test_pooling_counts_by_fact_and_leaves_out_what_was_not_read():
    rows = [*ANSWERS, Answer("c", CHOICE, None, "unreadable", facts=FACTS)]
    found = {one.group: one for one in pool(rows, ["age"])}
    assert found["age: 44"].shares == (0, 0, 1)
    assert found["age: 44"].people == 1
    with pytest.raises(TuneError, match="has no 'region'"):
        pool(rows, ["region"])
