"""Slots: filling is a plain replacement, and what is filled in is never looked at again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popsim.slots import did_you_mean, fill, slots_of, unknown_slot

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,8}", fullmatch=True)
VALUES = st.text() | st.sampled_from(["{{a}}", "{{", "}}", "{", "\\1", "%s", "{0}", "$x", "{{ b }}"])
PLAIN = st.text(st.characters(exclude_characters="{}"))


@given(st.lists(st.tuples(PLAIN, NAMES, VALUES, st.sampled_from(["", " ", "\n"])), max_size=5), PLAIN)
def test_filled_text_is_the_pieces_put_together(pieces, end):
    values = {name: value for _, name, value, _ in pieces}
    text = "".join(f"{before}{{{{{space}{name}{space}}}}}" for before, name, _, space in pieces) + end
    assert slots_of(text) == set(values)
    assert fill(text, values) == "".join(before + values[name] for before, name, _, _ in pieces) + end


@given(st.text(st.characters(exclude_characters="{")))
def test_text_without_slots_stays(text):
    assert fill(text, {}) == text


def test_values_are_never_searched_for_slots():
    assert fill("{{a}}{{b}}", {"a": "{{b}}", "b": "{{a}}"}) == "{{b}}{{a}}"
    assert fill("{{{a}}}", {"a": "x"}) == "{x}"
    assert fill("{{a}}b}}", {"a": "{{"}) == "{{b}}"


@pytest.mark.parametrize(
    "text", ["{a}", "{{}}", "{{ }}", "{{1a}}", "{{a b}}", "{{a", "{ {a} }", "${a}", "{{a-b}}", '{"a": {"b": 1}}']
)
def test_what_is_no_slot_stays(text):
    assert slots_of(text) == frozenset()
    assert fill(text, {"a": "x"}) == text


def test_a_slot_without_value_is_an_error():
    with pytest.raises(KeyError):
        fill("{{a}}", {"b": ""})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no slot", ""),
        ("{{age}} {{sex}}", ""),
        ("{{age}} {{agee}}", "unknown slot {{agee}}; did you mean {{age}}? Known slots: age, sex"),
        ("{{zzz}}", "unknown slot {{zzz}}. Known slots: age, sex"),
    ],
)
def test_unknown_slots_are_named(text, message):
    assert unknown_slot(text, ["sex", "age"]) == message


@given(st.text(), st.lists(st.text(max_size=9), max_size=4))
def test_a_suggestion_is_a_known_word_or_none(word, known):
    said = did_you_mean(word, known)
    assert said == "." or said in {f"; did you mean {one}?" for one in known}
    assert word not in known or said == f"; did you mean {word}?"
