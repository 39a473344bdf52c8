"""AlignSurvey's files: rows that state shares of groups, its Chinese words, and its rules for several answers."""

import json

import pandas as pd
import pytest
import yaml

from popsim.engines import Reply
from popsim.errors import TuneError
from popsim.tune import formats
from popsim.tune.benchmark.prompts import Form
from popsim.tune.benchmark.replies import counted, read_prediction
from popsim.tune.formats.alpaca import facts_of, listed_options
from popsim.tune.records import Answer, Item, Shares
from popsim.tune.stated import read_stated_shares

PROMPT = (
    "你的背景：\n性别: {}\n\n问卷问题：\n您满意吗？\n选项：\nA. 一般\nB. 满意\nC. 不满意\n\n"
    "请按格式输出：\nA. 一般: xx%\nB. 满意: xx%"
)
LETTERS = {"A": "一般", "B": "满意", "C": "不满意"}
STANCE = "年龄: 18-25岁\n请判断倾向，输出JSON，包含predict和reason。"


def put(path, rows):
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def group(output, who="女", **more):
    return {"instruction": PROMPT.format(who), "output": output, "question": "您满意吗？", **more}


@pytest.mark.parametrize(
    ("output", "shares"),
    [
        ("A. 一般: 25%\nB. 满意: 50%\nC. 不满意: 25%", (0.25, 0.5, 0.25)),
        ("C.不满意：25 %\nA.一般：75％", (0.75, 0, 0.25)),
        ("满意: 100%", (0, 1, 0)),
        ("A: 20, B: 30, C: 50", (0.2, 0.3, 0.5)),
        ('{"满意": "75%", "一般": "25%"}', (0.25, 0.75, 0)),
        ('```json\n{"A": 0.2, "B": 0.2, "C": 0.6}\n```', (0.2, 0.2, 0.6)),
    ],
)
def test_rows_of_groups_are_shares_in_the_order_of_their_prompt(tmp_path, output, shares):
    [one] = formats.read_alpaca(put(tmp_path / "g.json", [group(output)]), study="chip")
    assert isinstance(one, Shares)
    assert (one.group, one.item.options, one.study) == ("性别: 女", tuple(LETTERS.values()), "chip")
    assert one.shares == pytest.approx(shares)
    assert one.prompt == PROMPT.format("女")


def test_stances_of_groups_are_in_their_order_in_either_language(tmp_path):
    rows = [
        {"instruction": "How do these people see it?", "output": "Negative: 25%\nPositive: 75%", "group": "north"},
        {"instruction": "倾向？", "output": '{"消极": "40%", "积极": "60%"}', "group": "north"},
    ]
    english, chinese = formats.read_alpaca(put(tmp_path / "g.json", rows))
    assert (english.item.options, english.shares) == (("positive", "neutral", "negative"), (0.75, 0, 0.25))
    assert (chinese.item.options, chinese.shares) == (("积极", "中立", "消极"), (0.6, 0, 0.4))


@pytest.mark.parametrize(
    ("output", "prompt"),
    [
        ("Inflation: 4%", "What is going on?"),
        ("Food: 30%\nRent: 50%", "What do you spend on?"),
        ("Age: 45\nChildren: 55", "Tell me about you."),
        ("About half: 50%, I would say.", "How many?"),
        ("B: 2", "How many?\nA. 1\nB. 2"),
    ],
)
def test_what_only_looks_like_shares_is_an_answer(tmp_path, output, prompt):
    [one] = formats.read_alpaca(put(tmp_path / "p.json", [{"instruction": prompt, "output": output}]))
    assert isinstance(one, Answer)
    assert one.value == ("2" if "A." in prompt else output)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([group("A: 20%\nB: 20%")], "row 1: shares sum to 40"),
        ([group("A: 60%\nD: 40%")], "row 1: states a share for 'D', which is no option; options: 一般, 满意, 不满意"),
        ([group("A: 60%\nB. 不满意: 40%")], "a share for 'B. 不满意'"),
        ([group("A: 60%\n一般: 40%")], "the share of an option twice"),
        ([group("A: 60%\nB: 40%"), group("B. 满意")], "row 2: holds a person's answer, rows before it do not"),
        ([group("B. 满意"), group("A: 60%\nB: 40%")], "row 2: holds shares of a group, rows before it do not"),
        ([group("A: 60%\nB: 40%"), group("A: 0.5\nB: 0.5", "男")], "row 2: is in shares, but"),
        ([group("A: 60%\nB: 40%"), group("A: 50%\nB: 50%")], "row 2: 性别: 女 answers 您满意吗？ a second time, after"),
    ],
)
def test_rows_of_groups_in_doubt_are_refused_in_one_line(tmp_path, rows, said):
    with pytest.raises(TuneError) as caught:
        formats.read_alpaca(put(tmp_path / "g.json", rows))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_that_shows_the_form_lists_no_option():
    assert listed_options(PROMPT) == LETTERS
    assert listed_options("How high?\nA. 0-5%\nB. over 5%") == {"A": "0-5%", "B": "over 5%"}


def test_shares_with_and_without_a_prompt_of_their_own_are_written_and_read_again(tmp_path):
    item = Item("q", "Well?", options=("good", "bad"))
    own = Shares(
        "women", Item("r", "您满意吗？", tuple(LETTERS.values())), (0.25, 0.5, 0.25), prompt=PROMPT.format("女")
    )
    rows = [Shares("side: left", item, (1 / 3, 2 / 3)), own]
    formats.write_alpaca(tmp_path / "g.json", rows, seed=1)
    outputs = [row["output"] for row in json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))]
    assert outputs[1] == "A. 一般: 25%\nB. 满意: 50%\nC. 不满意: 25%"
    once = formats.read_alpaca(tmp_path / "g.json")
    assert [one.group for one in once] == ["side: left", "women"]
    assert dict(zip(once[0].item.options, once[0].shares, strict=True))["bad"] == pytest.approx(2 / 3, abs=1e-5)
    assert (once[1].shares, once[1].prompt) == (own.shares, own.prompt)


@pytest.mark.parametrize(
    ("said", "shares"),
    [
        ("我认为：\nA. 一般: 25%\nB. 满意: 75%\n以上。", (0.25, 0.75, 0)),
        ("A: 25%, B: 25%, C: 50%", (0.25, 0.25, 0.5)),
        ("**满意**: 100%", (0, 1, 0)),
        ("A: 25%\nB: 25%", None),
        ("A: 50%\nD: 50%", None),
        ("B. 满意", None),
    ],
)
def test_replies_are_read_leniently_in_form_and_strictly_in_sum_and_options(said, shares):
    assert read_stated_shares(said, tuple(LETTERS.values()), LETTERS) == shares


def test_several_stated_distributions_are_averaged_and_an_unreadable_one_has_no_say():
    item = Item("q", "?", tuple(LETTERS.values()))
    group = Shares("women", item, (0, 1, 0), prompt=PROMPT.format("女"))
    form = Form(group.prompt, "", LETTERS)
    said = ["A: 50%\nB: 50%", "B: 100%", "A: 90%"]
    draws = [read_prediction(Reply(text), group, form) for text in said]
    assert [one.status for one in draws] == ["ok", "ok", "unreadable"]
    one = counted(draws, item)
    assert (one.value, one.shares) == ("满意", (0.25, 0.75, 0))


def test_facts_stand_below_a_line_of_background_and_an_empty_one_takes_nothing_from_the_next():
    english = "Your personal background:\nyour age: 64.0\nyour ethnicity: \nyour race: white\n\nQuestion: well?\nA. x"
    assert facts_of(english) == {"age": "64.0", "race": "white"}
    assert facts_of("背景信息：\n性别: 男\n您的年龄: 40\n\n问卷问题：\n好吗？") == {"性别": "男", "年龄": "40"}


def benchmark(tmp_path, rows, **parts):
    put(tmp_path / "rows.json", rows)
    whole = {"kind": "benchmark", "name": "b", "data": {"file": "rows.json", "format": "alpaca"}, **parts}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
    return tmp_path / "b.yaml"


def test_stated_shares_of_groups_are_scored_and_an_unreadable_one_is_left_out_and_counted(tmp_path, call):
    said = "A. 一般: 0%\nB. 满意: 50%\nC. 不满意: 50%"
    rows = [group(said, "女"), group("A: 100%", "男"), group("C: 100%", "mute")]
    order = {"您满意吗？": ["满意", "一般", "不满意"]}
    parts = {"task": "shares", "orders": order, "engine": "engines_for_tests:Stating"}
    status, _, err = call("compare", benchmark(tmp_path, rows, **parts), "--out", tmp_path / "out")
    assert status == 2
    assert "group 性别: 女: its prompt asks for shares in words; write readout: generate" in err
    file = benchmark(tmp_path, rows, readout="generate", draws=2, **parts)
    status, out, _ = call("compare", file, "--out", tmp_path / "out")
    assert status == 0
    found = pd.read_parquet(tmp_path / "out" / "scores.parquet").set_index("score")
    assert found.loc["ordinal EMD", "model"] == pytest.approx((0.5 + 0.5) / 2)
    assert found.loc["total variation", "model"] == pytest.approx((0.5 + 1) / 2)
    assert found.loc["total variation", "swapped groups"] == found.loc["total variation", "model"]
    assert found.loc["mode accuracy", "model"] == 0.5
    assert found.loc["total variation", "shuffled options"] == found.loc["total variation", "model"]
    assert "model: 2 ok (66.7%), 1 unreadable (33.3%)" in out


def test_chinese_stances_are_read_scored_and_ordered(tmp_path, call):
    rows = [
        {"instruction": f"{STANCE} {i}", "output": json.dumps({"predict": word, "reason": "好"}), "id": i}
        for i, word in enumerate(["积极", "消极", "积极"])
    ]
    [first, *_] = formats.read_alpaca(put(tmp_path / "s.json", rows))
    assert (first.person, first.value, first.item.options) == ("0", "积极", ("积极", "中立", "消极"))
    file = benchmark(tmp_path, rows, task="stances", engine="engines_for_tests:Stating")
    assert call("compare", file, "--out", tmp_path / "out")[0] == 0
    table = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert table["predicted"].tolist() == ["积极"] * 3
    found = pd.read_parquet(tmp_path / "out" / "scores.parquet").set_index("score")
    assert found.loc["accuracy", "model"] == pytest.approx(2 / 3)


def test_roles_are_scored_by_the_rules_of_their_fields_or_by_ones_own(tmp_path, call):
    rows = [
        {"instruction": "Who speaks?", "output": said, "field": field, "id": i}
        for i, (field, said) in enumerate(
            [("家庭成员关系", "['as people say', '配偶']"), ("job", "['as people say', 'x']")]
        )
    ]
    parts = {"task": "roles", "engine": "engines_for_tests:Words"}
    assert call("compare", benchmark(tmp_path, rows, **parts), "--out", tmp_path / "out")[0] == 0
    found = pd.read_parquet(tmp_path / "out" / "scores.parquet").set_index("score")["model"]
    assert found["exact match, 家庭成员关系"] == 1
    assert found["exact match, job"] == 0
    assert found["exact match"] == found["Jaccard of sets"] == 0.5
    own = benchmark(tmp_path, rows, rules={"job": "first"}, **parts)
    assert call("compare", own, "--out", tmp_path / "own")[0] == 0
    found = pd.read_parquet(tmp_path / "own" / "scores.parquet").set_index("score")["model"]
    assert found["exact match, job"] == 1
    for wrong, said in (({"jobs": "first"}, "rules: no question is named 'jobs'"), ({"job": "half"}, "rules.job")):
        status, _, err = call("check", benchmark(tmp_path, rows, rules=wrong, **parts))
        assert status == 2
        assert said in err
