"""Files: what cannot be read ends in one clear line, and what is written is whole or not there."""

import datetime
import os
import stat
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from popsim.errors import PopulationError, SurveyError
from popsim.files import (
    Frozen,
    describe,
    find_file,
    merge,
    read_based,
    read_yaml,
    shipped,
    validate,
    write_whole,
)


class Circle(Frozen):
    kind: Literal["circle"]
    radius: float


class Square(Frozen):
    kind: Literal["square"]
    side: float
    corners: tuple[Circle, ...] = ()

    @model_validator(mode="after")
    def _side(self) -> "Square":
        if self.side <= 0:
            raise ValueError("side must be above 0")
        return self


class Drawing(Frozen):
    title: str = ""
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="kind")], ...] = ()
    named: dict[str, Annotated[Circle | Square, Field(discriminator="kind")]] = {}
    pair: tuple[float, Circle] | None = None
    extra: Circle | None = None
    size: int | str = 1
    parts: tuple[float, ...] | Square | str = ""
    items: list[str] = Field(default=["x"], min_length=1)

    @model_validator(mode="after")
    def _title(self) -> "Drawing":
        if self.title == "bad":
            raise ValueError("this title\nis bad")
        return self


CIRCLE = {"kind": "circle", "radius": 1}
SQUARE = {"kind": "square", "side": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"titel": "x"},
            "titel: unknown key; did you mean title? Allowed: extra, items, named, pair, parts, shapes, size, title",
        ),
        ({"zzz": "x"}, "zzz: unknown key. Allowed: extra, items, named, pair, parts, shapes, size, title"),
        (
            {"shapes": [CIRCLE, CIRCLE | {"raduis": 1}]},
            "shapes.1.raduis: unknown key; did you mean radius? Allowed: kind, radius",
        ),
        (
            {"shapes": [SQUARE | {"corners": [CIRCLE | {"raduis": 1}]}]},
            "shapes.0.corners.0.raduis: unknown key; did you mean radius? Allowed: kind, radius",
        ),
        ({"extra": CIRCLE | {"raduis": 1}}, "extra.raduis: unknown key; did you mean radius? Allowed: kind, radius"),
        (
            {"pair": [1, CIRCLE | {"raduis": 1}]},
            "pair.1.raduis: unknown key; did you mean radius? Allowed: kind, radius",
        ),
        ({"pair": ["x", CIRCLE]}, "pair.0: should be a valid number, unable to parse string as a number, not 'x'"),
        ({"named": {"a": {"kind": "circle"}}}, "named.a.radius: this key is missing"),
        (
            {"named": {"a": {"kind": "circle", "raduis": 1}}},
            "named.a.raduis: unknown key; did you mean radius? Allowed: kind, radius (1 more problem)",
        ),
        (
            {"shapes": [{"kind": "circel"}]},
            "shapes.0.kind: 'circel' is unknown; did you mean circle? Allowed: circle, square",
        ),
        ({"shapes": [{"radius": 1}]}, "shapes.0.kind: this key is missing"),
        ({"shapes": [5]}, "shapes.0: should be a mapping of keys to values, not 5"),
        ({"parts": SQUARE | {"seid": 1}}, "parts.seid: unknown key; did you mean side? Allowed: corners, kind, side"),
        ({"parts": [1, "x"]}, "parts.1: should be a valid number, unable to parse string as a number, not 'x'"),
        ({"parts": 5}, "parts: should be a list, not 5"),
        ({"shapes": 5}, "shapes: should be a list, not 5"),
        ({"shapes": [SQUARE | {"side": 0}]}, "shapes.0: side must be above 0"),
        ({"title": 5}, "title: should be a valid string; put it in quotes, not 5"),
        ({"title": True}, "title: should be a valid string; put it in quotes, not True"),
        ({"title": "bad"}, "this title is bad"),
        ({"items": []}, "items: needs at least 1, has 0"),
        ({"items": [[]]}, "items.0: should be a valid string, not []"),
        ({"size": [1]}, "size: should be a valid integer, not [1]"),
        ({"extra": CIRCLE | {"radius": float("nan")}}, "extra.radius: should be a finite number, not nan"),
        ({"title": [], "size": []}, "title: should be a valid string, not [] (1 more problem)"),
        ({"a\nb": 1}, "'a\\nb': unknown key. Allowed: extra, items, named, pair, parts, shapes, size, title"),
        ({3: 1}, "3: Keys should be strings, not 3"),
    ],
)
def test_a_wrong_value_is_told_with_its_path(data, message):
    with pytest.raises(SurveyError) as problem:
        validate(Drawing, data, "a.yaml", SurveyError)
    assert str(problem.value) == f"a.yaml: {message}"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
KEYS = st.sampled_from(["title", "shapes", "named", "pair", "extra", "size", "items", "kind", "radius"]) | st.text()


@given(st.dictionaries(KEYS, VALUES | st.sampled_from([CIRCLE, SQUARE, [CIRCLE], [1, CIRCLE], {"a": CIRCLE}])))
def test_any_complaint_is_one_short_line(data):
    try:
        Drawing.model_validate(data)
    except ValidationError as problem:
        line = describe(problem, Drawing)
        assert line
        assert "\n" not in line
        assert len(line) < 300 + max(map(len, data))


def test_a_huge_value_is_shown_short():
    bomb = ["x"]
    for _ in range(40):
        bomb = [bomb, bomb]
    with pytest.raises(SurveyError) as problem:
        validate(Drawing, {"title": bomb}, "a.yaml", SurveyError)
    assert len(str(problem.value)) < 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"a: !!python/object/apply:os.system ['touch owned']",
            "line 1, column 4: .*tags are not allowed in this file",
        ),
        (b"a: !Anything 1", "line 1, column 4: .*tags are not allowed in this file"),
        (b"a: 1\nb: 2\na: 3", "line 3, column 1: not readable as YAML: key 'a' stands twice"),
        (b"a:\n  b: 1\n  b: 1", "line 3, column 3: not readable as YAML: key 'b' stands twice"),
        (b"- a\n- b", "holds a list; a mapping of keys to values is needed"),
        (b"words", "holds a str; a mapping"),
        (b"", "holds nothing; a mapping"),
        (b"a: [1, 2", "line 1, column .*: not readable as YAML"),
        (b"a: 2018-13-45", "not readable as YAML: month must be in 1..12"),
        (b"? [a]\n: 1", "line 1, column .*: not readable as YAML: found unhashable key"),
        (b"a: \x00", "not readable as YAML"),
        (b"a: \xff\xfe", "cannot be read as UTF-8 text"),
        (b"a: " + b"[" * 600, "not readable as YAML: it is nested too deeply"),
    ],
)
def test_what_is_not_a_plain_mapping_is_refused(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_bytes(content)
    with pytest.raises(PopulationError, match=rf"^a\.yaml[,:].*{message}") as problem:
        read_yaml(Path("a.yaml"), PopulationError)
    assert "\n" not in str(problem.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_dates_are_read_alike_whatever_other_packages_do_to_the_safe_loader(tmp_path, monkeypatch):
    monkeypatch.setitem(
        yaml.SafeLoader.yaml_constructors, "tag:yaml.org,2002:timestamp", lambda loader, node: node.value
    )
    (tmp_path / "a.yaml").write_text("a: 2018-01-31")
    assert read_yaml(tmp_path / "a.yaml", SurveyError) == {"a": datetime.date(2018, 1, 31)}


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(SurveyError, match=r"none\.yaml: no such file$"):
        read_yaml(tmp_path / "none.yaml", SurveyError)
    with pytest.raises(SurveyError, match="cannot be read as UTF-8 text"):
        read_yaml(tmp_path, SurveyError)


def test_anchors_and_merges_are_plain_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n", encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml", SurveyError)["b"] == {"x": 1, "y": 3}


def test_a_file_is_found_beside_the_one_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.yaml").write_text("a: 1")
    (tmp_path / "a.yaml").write_text("a: 2")
    monkeypatch.chdir(tmp_path)
    assert find_file("a.yaml", "populations", SurveyError, tmp_path / "inner") == tmp_path / "inner" / "a.yaml"
    assert find_file("a.yaml", "populations", SurveyError) == Path("a.yaml")
    for name in ("b.yaml", "inner/b", "inner"):
        with pytest.raises(SurveyError, match=f"^{name}: "):
            find_file(name, "populations", SurveyError)


def test_a_shipped_file_is_found_by_its_name():
    known = shipped("scenarios/questionnaires")
    assert find_file("oil_price", "scenarios/questionnaires", SurveyError) == known["oil_price"]
    with pytest.raises(
        SurveyError, match=r"oil_pric: neither a \.yaml file nor shipped; did you mean oil_price\? Shipped: "
    ):
        find_file("oil_pric", "scenarios/questionnaires", SurveyError)


def test_writing_leaves_the_whole_file_and_nothing_else(tmp_path):
    target = tmp_path / "new" / "a.txt"
    write_whole(target, lambda to: to.write_text("one"))
    write_whole(target, lambda to: to.write_text("two"))
    assert target.read_text() == "two"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_the_ending_is_kept_for_writers_that_look_at_it(tmp_path):
    """np.savez puts .npz behind a name that does not end so, which would leave an empty file."""
    write_whole(tmp_path / "a.npz", lambda to: np.savez(to, x=np.arange(3)))
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(problem, tmp_path):
    def fail(to):
        to.write_text("half")
        raise problem

    target = tmp_path / "a.txt"
    for before in ([], ["a.txt"]):
        with pytest.raises(problem):
            write_whole(target, fail)
        assert [path.name for path in tmp_path.iterdir()] == before
        target.write_text("old")
    assert target.read_text() == "old"


plain_data = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), plain_data, max_size=4))
def test_merging_nothing_or_the_same_changes_nothing(data):
    assert merge(data, {}) == data
    assert merge(data, data) == data
    assert merge(data, dict.fromkeys(data)) == {}


def test_a_file_says_only_what_differs_from_the_one_it_is_based_on(tmp_path):
    (tmp_path / "a.yaml").write_text("{x: 1, items: [{name: one, n: 1}, {name: two, n: 2}], gone: 3}", "utf-8")
    (tmp_path / "b.yaml").write_text("{based_on: a.yaml, items: {two: {n: 5}}, gone: null, y: 2}", "utf-8")
    (tmp_path / "c.yaml").write_text("{based_on: b.yaml, items: {0: {n: 7}}}", "utf-8")
    whole = read_based(tmp_path / "c.yaml", "populations", SurveyError)
    assert whole == {"x": 1, "items": [{"name": "one", "n": 7}, {"name": "two", "n": 5}], "y": 2}
    (tmp_path / "d.yaml").write_text("{based_on: c.yaml, items: {three: {n: 5}}}", "utf-8")
    with pytest.raises(SurveyError, match=r"d\.yaml: items\.three: .*allowed: one, two"):
        read_based(tmp_path / "d.yaml", "populations", SurveyError)
