"""What a dry run says, held against what a run then really asks."""

from pathlib import Path

import pytest
from engines_for_tests import Seeded
from tiny import make_tiny_checkpoint
from tokenizers import Tokenizer

import popsim
from popsim.engines import Reply
from popsim.errors import EngineError
from popsim.model import PopulationModel
from popsim.study import estimate

SEEDED = "engines_for_tests:Seeded"
NEWS = [{"name": "spill", "text": "A spill.", "source": "radio", "reach": 0.3, "passed_on": 0.5}]


class Refusing(Seeded):
    """Fails on every prompt."""

    def answer(self, prompts):
        yield from ((position, Reply("", "error", error="out of order")) for position in range(len(prompts)))


def points(**overrides):
    return list(popsim.sweep_points("oil_price_fall", {"size": 20, "engine": SEEDED, **overrides}))


def really(found, **overrides):
    """Field the study and give the counts of its manifest."""
    (point,) = points(**overrides)
    return popsim.run(point.scenario, "really").manifest["counts"]


@pytest.mark.parametrize(
    ("changes", "distinct"),
    [
        ({}, 20),
        ({"draws": 3}, 60),
        ({"waves": [0, 2]}, 40),
        ({"waves": [0, 2], "sampling.temperature": 0.0}, 20),
        ({"sampling.temperature": 0.0, "modules": {"personal": False, "priors": False, "confidence": False}}, 1),
    ],
    ids=["plain", "draws", "waves", "greedy-waves", "all-alike"],
)
def test_prompts_and_distinct_prompts_are_those_that_a_run_then_asks(changes, distinct):
    (found,) = estimate(points(**changes), probe=0)
    counts = really(found, **changes)
    assert (found.prompts, found.distinct, found.unknown) == (counts["prompts"], counts["asked"], 0)
    assert found.distinct == distinct


def test_later_waves_with_news_are_counted_and_not_called_distinct():
    changes = {"waves": [0, 1, 3], "news": NEWS, "network": {"kind": "follow", "mean_degree": 4}}
    (found,) = estimate(points(**changes), probe=0)
    counts = really(found, **changes)
    assert (found.prompts, found.distinct, found.unknown) == (60, 20, 40)
    assert counts["prompts"] == 60
    assert counts["asked"] <= found.distinct + found.unknown
    (first,) = estimate(points(news=NEWS), probe=0)
    assert found.prompt_tokens == pytest.approx(3 * first.prompt_tokens, abs=3)
    assert found.most_reply_tokens == 3 * first.most_reply_tokens


def test_a_sweep_is_counted_over_all_points_and_replicates():
    sweep = "{attempts: [1, 2], people.confidence: [weak, strong]}"
    Path("study.yaml").write_text(
        "{name: s, title: S, population: us_adults_2018, size: 15, questionnaire: oil_price, "
        f"arms: {{fall: {{}}, rise: {{}}}}, engine: '{SEEDED}', sweep: {sweep}, replicates: 2}}"
    )
    swept = list(popsim.sweep_points("study.yaml"))
    (found,) = estimate(swept, 2, probe=0)
    popsim.sweep(swept, 2, "out")
    counts = popsim.load_run("out").manifest["counts"]["seeded/1"]
    assert found.runs == 8
    assert (found.prompts, found.distinct) == (counts["prompts"], counts["asked"]) == (120, 60)


def test_each_engine_of_a_sweep_has_an_estimate_of_its_own():
    Path("study.yaml").write_text(
        "{name: s, title: S, population: us_adults_2018, size: 15, questionnaire: oil_price, arms: {fall: {}},"
        f" engine: baseline, sweep: {{engine: [baseline, '{SEEDED}']}}}}"
    )
    statistical, seeded = estimate(list(popsim.sweep_points("study.yaml")), probe=4)
    assert (statistical.engine, statistical.prompts, statistical.prompt_tokens) == ("baseline", 15, 0)
    assert (seeded.engine, seeded.distinct, seeded.probed) == (SEEDED, 15, 4)


def test_tokens_are_those_of_the_engines_own_tokenizer(tmp_path):
    make_tiny_checkpoint(tmp_path / "model")
    mine = points(engine=f"nano:{tmp_path / 'model'}", size=30)
    (found,) = estimate(mine, probe=0)
    tokenizer = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    prompts = list(next(PopulationModel(mine[0].scenario).waves()))
    exact = sum(len(tokenizer.encode(p.messages[0][1], add_special_tokens=False).ids) for p in prompts)
    assert found.counted == "counted by the engine's tokenizer on 30 prompts"
    assert found.prompt_tokens == pytest.approx(exact, abs=1)
    assert found.most_reply_tokens == sum(p.sampling.max_tokens for p in prompts)
    (unknown,) = estimate(points(engine="nano:elsewhere", size=30), probe=0)
    assert unknown.counted == "estimated, 4 characters a token"
    assert unknown.prompt_tokens == round(sum(len(p.messages[0][1]) for p in prompts) / 4)


def test_the_probe_asks_a_few_and_a_run_with_the_same_cache_does_not_ask_them_again():
    (found,) = estimate(points(), probe=7, cache="cache.sqlite")
    assert (found.probed, found.failed, found.reply_tokens) == (7, "", 20 * 5)
    assert found.counted == "counted by the engine on 7 prompts"
    assert found.seconds > 0
    assert [path.name for path in Path().iterdir()] == ["cache.sqlite"]
    counts = popsim.run(points()[0].scenario, "out", cache="cache.sqlite").manifest["counts"]
    assert (counts["from_cache"], counts["asked"]) == (7, 13)


def test_a_probe_that_fails_says_why_and_gives_no_time():
    (found,) = estimate(points(engine="test_estimate:Refusing"), probe=3, cache="cache.sqlite")
    assert (found.probed, found.failed, found.seconds, found.reply_tokens) == (3, "out of order", None, None)
    assert popsim.run(points()[0].scenario, "out", cache="cache.sqlite").manifest["counts"]["from_cache"] == 0


def test_an_engine_that_lacks_an_ability_is_refused_before_it_is_asked():
    with pytest.raises(EngineError, match=r"sampling\.structured: engine seeded/1 lacks"):
        estimate(points(**{"sampling.structured": True}))
