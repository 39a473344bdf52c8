import pytest
import yaml

from popsim.errors import TuneError
from popsim.tune import TuneConfig, load_tune_config

SMALL = {"name": "small", "title": "Small", "draw": {"scenarios": {"oil_price_fall": 1}}, "train": {"steps": 3}}

NEWS = {"scenarios": ["oil_price_fall"], "sources": ["a friend"], "texts": ["Petrol is dearer."]}
FIGURE = {"variable": "inflation", "unit": "%", "low": 0, "high": 5, "sd": 1}


def changed(**parts):
    return {**SMALL, **parts}


def test_shipped_training_is_found_by_name():
    nano = load_tune_config("nano")
    assert nano.train.minutes
    assert {"oil_price_fall", "oil_price_rise", "learning_platform_cn"} <= set(nano.draw.scenarios)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    assert load_tune_config(path) == TuneConfig(**SMALL)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (changed(train={}), "give either steps or minutes"),
        (changed(train={"steps": 3, "minutes": 1}), "give either steps or minutes"),
        (changed(train={"steps": 3, "learning_rat": 1}), "learning_rat: unknown key"),
        (changed(model={"hidden": 50}), "multiple of twice heads"),
        (changed(model={"heads": 4, "kv_heads": 3}), "multiple of kv_heads"),
        (changed(draw={"scenarios": {}}), "draw.scenarios"),
        (changed(tokenizer={"vocabulary": 100}), "tokenizer.vocabulary"),
        (
            changed(draw={**SMALL["draw"], "news": [{"scenarios": ["other"], "sources": ["x"], "texts": ["y"]}]}),
            "'other' is not among draw.scenarios",
        ),
        (changed(draw={**SMALL["draw"], "news": [{**NEWS, "scenarios": ["other"]}]}), "'other' is not among"),
        (changed(draw={**SMALL["draw"], "news": [{**NEWS, "texts": ["{{value}}"]}]}), "where there is a figure"),
        (changed(draw={**SMALL["draw"], "news": [{**NEWS, "figure": FIGURE}]}), "where there is a figure"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path, data, said):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(TuneError) as caught:
        load_tune_config(path)
    message = str(caught.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize(("name", "said"), [("nanno", "did you mean"), ("no/such.yaml", "no such file")])
def test_a_name_that_is_not_there(name, said):
    with pytest.raises(TuneError, match=said):
        load_tune_config(name)
