"""Pages put to a real language model, however small: each of its turns is held to the form of that page."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xgrammar")

from tiny import make_tiny_checkpoint

import popsim
from popsim.engines import load_engine


def test_a_model_goes_through_branches_readably_and_is_replayed_word_for_word(tmp_path):
    checkpoint = make_tiny_checkpoint(tmp_path / "tiny", "float32", context=8192)
    (tmp_path / "short.txt").write_text("You are {{age}}.\n{{questionnaire}}")
    overrides = {
        "size": 12,
        "prompt.reasoning": False,
        "prompt.template": str(tmp_path / "short.txt"),
        "sampling.structured": True,
        "sampling.max_tokens": 300,
        "engine": f"transformers:{checkpoint}",
    }
    scenario = popsim.load_scenario("household_outlook_pages", overrides)
    run = popsim.run(scenario, "run")
    answers = run.answers
    assert answers["status"].isin(["ok", "dont_know"]).all()
    given = answers[answers["question"].eq("finances")].set_index("person")["label"]
    asked_why = set(answers.loc[answers["question"].eq("reasons"), "person"])
    assert asked_why == set(given.index[given.isin(["better", "worse"])])
    assert 0 < len(asked_why) < 12
    again = popsim.run(scenario, "again", engine=load_engine("replay:run"))
    assert again.answers.equals(answers)
    assert again.replies["text"].equals(run.replies["text"])
