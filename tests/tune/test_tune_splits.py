"""Parts share nothing of what they are split by, and the leak test finds what does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popsim.errors import TuneError
from popsim.tune.records import Answer, Item, Shares
from popsim.tune.splits import check_leaks, key_of, part, split

PARTS = {"train": 0.6, "valid": 0.2, "test": 0.2}
ITEMS = [Item(f"q{i}", f"Question {i}?", options=("a", "b")) for i in range(40)]
ROWS = [
    Answer(
        str(p), ITEMS[q], "a", facts={"sex": "fm"[p % 2], "age": str(p % 12)}, study=f"s{q // 2}", condition=str(p % 3)
    )
    for p in range(60)
    for q in range(p % 7, 40, 7)
]


@pytest.mark.parametrize(
    "by", [["person"], ["question"], ["condition"], ["study"], ["group"], ["group", "question"]], ids="-".join
)
def test_every_row_is_in_one_part_and_parts_do_not_leak(by):
    found = split(ROWS, by, PARTS, facts=["age", "sex"])
    assert sorted(map(id, ROWS)) == sorted(id(row) for part in found.values() for row in part)
    check_leaks(found, by, facts=["age", "sex"])
    for name, share in PARTS.items():
        assert len(found[name]) / len(ROWS) == pytest.approx(share, abs=0.25)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), left_out=st.sets(st.integers(0, 59)))
def test_a_row_keeps_its_part_when_others_come_or_go(seed, left_out):
    whole = split(ROWS, ["person"], {"a": 0.5, "b": 0.5}, seed)
    fewer = [row for row in ROWS if int(row.person) not in left_out]
    try:
        part = split(fewer, ["person"], {"a": 0.5, "b": 0.5}, seed)
    except TuneError:
        return
    assert {row.person for row in part["a"]} <= {row.person for row in whole["a"]}


def test_a_random_split_of_rows_leaks():
    with pytest.raises(TuneError, match=r"leak: \d+ of \d+ person in 'test' also in 'train'"):
        check_leaks({"train": ROWS[::2], "test": ROWS[1::2]}, ["person"])


def test_the_same_words_under_another_name_leak():
    twin = Shares("x", Item("other", "question  0?", options=("a", "b")), (0.5, 0.5))
    first = Shares("x", ITEMS[0], (0.5, 0.5))
    with pytest.raises(TuneError, match="leak: 1 of 1 question"):
        check_leaks({"train": [first], "test": [twin]}, ["question"])


@pytest.mark.parametrize(
    ("by", "parts", "said"),
    [
        (["person"], {"train": 0.5, "test": 0.4}, "sum to 1"),
        ([], {"train": 1.0}, "something to split by"),
        (["study"], {"train": 0.999999, "test": 0.000001}, "part 'test' is empty"),
        (["group"], {"train": 0.5, "test": 0.5}, "needs facts"),
    ],
)
def test_mistakes_are_one_line(by, parts, said):
    with pytest.raises(TuneError, match=said):
        split(ROWS, by, parts)


def test_shares_have_no_person():
    with pytest.raises(TuneError, match="have no person"):
        key_of(Shares("x", ITEMS[0], (0.5, 0.5)), "person")


@given(st.floats(0.05, 1), st.floats(0.05, 1), st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_a_smaller_part_lies_within_a_larger_one_and_keeps_people_whole(one, other, seed):
    try:
        small, large = (part(ROWS, share, seed) for share in sorted((one, other)))
    except TuneError:
        assert min(one, other) < 0.2  # a share so small that none of 60 people may be in it
        return
    assert {id(row) for row in small} <= {id(row) for row in large}
    kept = {row.person for row in small}
    assert small == [row for row in ROWS if row.person in kept]


def test_of_groups_it_keeps_a_share_of_the_distributions():
    rows = [Shares(f"g{i % 20}", ITEMS[i % 40], (0.5, 0.5)) for i in range(800)]
    assert len(part(rows, 0.3, seed=1)) / 800 == pytest.approx(0.3, abs=0.12)
    assert part(rows, 1) == rows
