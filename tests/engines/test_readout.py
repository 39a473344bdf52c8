import json

import numpy as np
import pytest
from spellers import Markov

from popsim.engines import Field, Prompt, Readout, Reply, Spelling, answer_all
from popsim.engines.journal import Journal, prompt_key
from popsim.engines.journaled import Journaled
from popsim.engines.readout import Measured, measured
from popsim.engines.replay import Replay
from popsim.engines.walk import Grid, walk
from popsim.errors import EngineError

VOCABULARY = [*"0123", '"', '%"', "%", "x", "idk", "A", "B"]
SPELLED = tuple(Spelling(f"{v}", close, float(v)) for v in (0, 1, 2, 12) for close in ('%"', '"'))
FIRST = Field("v.first", '{"first": "', SPELLED)
SECOND = Field("v.second", ', "second": "', (*SPELLED, Spelling("idk", '"', "dont_know")))
CHANGES = (("v.change", "v.second", "v.first"), ("v.back", "v.first", "v.second"))
BOTH = Readout("number", (FIRST, SECOND), CHANGES, particles=64, floor=0.0)


class Lettered(Markov):
    abilities = frozenset({"choice", "prefill", "seed"})


def model():
    return Markov(VOCABULARY, seed=4, concentration=2.0)


def people(count, readout, start=0):
    return [Prompt((("user", f"person {i % 3}"),), seed=start + i, readout=readout) for i in range(count)]


def ask(engine, prompts):
    replies = answer_all(Measured(engine), prompts)
    assert all(reply.finish == "stop" for reply in replies), replies
    return [{one["name"]: one for one in json.loads(reply.text)["distributions"]} for reply in replies]


def as_dict(found):
    return dict(zip(found["values"], found["probabilities"], strict=True))


def exact(engine, prompt):
    """Enumerate the joint distribution of both fields."""

    def probabilities(prefill, field):
        asked = Prompt(prompt.messages, prefill=prefill)
        return walk(engine, [asked], Grid(field.spellings, engine.spelling())).probabilities[0]

    one = probabilities(FIRST.lead, FIRST)
    second, change, know = {}, {}, 0.0
    for p, (text, close, first) in zip(one / one.sum(), SPELLED, strict=True):
        two = probabilities(f"{FIRST.lead}{text}{close}{SECOND.lead}", SECOND)
        for q, (_, _, value) in zip(two, SECOND.spellings, strict=True):
            if value == "dont_know":
                know += p * q
            else:
                second[value] = second.get(value, 0.0) + p * q
                change[value - first] = change.get(value - first, 0.0) + p * q
    return one, second, change, know


def test_the_first_field_is_what_the_walk_gives():
    engine, prompts = model(), people(3, Readout("number", (FIRST,), floor=0.0))
    grid = Grid(FIRST.spellings, engine.spelling())
    for prompt, found in zip(prompts, ask(engine, prompts), strict=True):
        walked = walk(engine, [Prompt(prompt.messages, prefill=FIRST.lead)], grid)
        by_value = walked.probabilities[0].reshape(-1, 2).sum(axis=1)
        assert as_dict(found["v.first"]) == pytest.approx(dict(zip((0.0, 1.0, 2.0, 12.0), by_value, strict=True)))
        assert found["v.first"]["left_out"] == pytest.approx(walked.left_out[0])
        assert found["v.first"]["particle_error"] == found["v.first"]["reasoning_error"] == 0.0


def test_masses_sum_to_one():
    for found in ask(model(), people(6, BOTH)):
        for one in found.values():
            total = sum(one["probabilities"]) + one["left_out"] + one.get("dont_know", 0.0)
            assert total == pytest.approx(1.0, abs=1e-9)


def test_the_next_field_and_the_change_are_those_of_the_joint():
    engine = model()
    many = Readout("number", (FIRST, SECOND), CHANGES, particles=20_000, floor=0.0)
    for prompt, found in zip(people(3, many), ask(engine, people(3, many)), strict=True):
        _, second, change, know = exact(engine, prompt)
        assert as_dict(found["v.second"]) == pytest.approx(second, abs=0.015)
        assert found["v.second"]["dont_know"] == pytest.approx(know, abs=0.015)
        assert as_dict(found["v.change"]) == pytest.approx(change, abs=0.015)
        assert as_dict(found["v.back"]) == pytest.approx({-value: p for value, p in change.items()}, abs=0.015)
        assert found["v.change"]["left_out"] == pytest.approx(1 - sum(change.values()), abs=0.015)


@pytest.mark.parametrize("name", ["v.second", "v.change"])
def test_the_error_that_is_told_is_the_one_that_is_made(name):
    engine, prompts = model(), [prompt for prompt in people(1200, BOTH) if prompt.seed % 3 == 0]
    means, told = [], []
    for found in ask(engine, prompts):
        values, mass = np.array(found[name]["values"]), np.array(found[name]["probabilities"])
        means.append((values * mass).sum() / mass.sum())
        told.append(found[name]["particle_error"])
    _, second, change, _ = exact(engine, prompts[0])
    expected = second if name == "v.second" else change
    mean = sum(value * p for value, p in expected.items()) / sum(expected.values())
    assert np.std(means) == pytest.approx(np.sqrt(np.mean(np.square(told))), rel=0.15)
    assert abs(np.mean(means) - mean) < 4 * np.std(means) / np.sqrt(len(means)) + 0.003


def test_a_reply_depends_on_its_prompt_and_seed_and_not_on_the_batch(monkeypatch):
    whole = answer_all(Measured(model()), people(7, BOTH))
    monkeypatch.setattr("popsim.engines.readout._AT_ONCE", 100)
    assert answer_all(Measured(model()), people(7, BOTH)) == whole
    assert answer_all(Measured(model()), people(7, BOTH)[::-1])[::-1] == whole
    assert len({reply.text for reply in whole}) == 7


def test_after_reasoning_the_distribution_is_the_mean_over_the_reasonings():
    engine, readout = model(), Readout("number", (FIRST,), reasonings=6, floor=0.0)
    grid = Grid(FIRST.spellings, engine.spelling())
    prompts = people(4, readout, start=10)
    for prompt, reply in zip(prompts, answer_all(Measured(engine), prompts), strict=True):
        body = json.loads(reply.text)
        [found] = body["distributions"]
        assert len(body["reasonings"]) == 6
        after = []
        for text in body["reasonings"]:
            if text == "I never come to the point.":
                after.append(np.zeros(len(SPELLED)))
                continue
            opened = f"{text}<final_answer>\n{FIRST.lead}"
            after.append(walk(engine, [Prompt(prompt.messages, prefill=opened)], grid).probabilities[0])
        mean = np.mean(after, axis=0).reshape(-1, 2).sum(axis=1)
        assert found["probabilities"] == pytest.approx(mean)
        assert found["left_out"] == pytest.approx(1 - mean.sum())
        values = np.array([one.value for one in SPELLED])
        weights, products = np.array([p.sum() for p in after]), np.array([(p * values).sum() for p in after])
        pull = (products - products.sum() / weights.sum() * weights) / weights.mean()
        assert found["reasoning_error"] == pytest.approx(pull.std(ddof=1) / np.sqrt(6))
        assert (found["reasonings"], found["particles"]) == (6, 6)
        assert reply.prompt_tokens == 42
        assert reply.completion_tokens > 54


def test_one_reasoning_and_one_particle_say_nothing_of_their_error():
    readout = Readout("number", (FIRST, SECOND), reasonings=1, particles=1)
    found = ask(model(), people(1, readout))[0]
    assert found["v.first"]["reasoning_error"] is None
    assert found["v.first"]["particle_error"] == 0.0
    assert found["v.second"]["particle_error"] is None


def test_letters_are_scored_once_and_scaled_and_the_rest_is_told():
    field = Field("v.q", '{"q": "(', (Spelling("A", ')"', 0.0), Spelling("B", ')"', 1.0)))
    engine = Lettered(VOCABULARY, seed=4)
    prompts = people(3, Readout("choice", (field,)))
    for prompt, reply in zip(prompts, answer_all(Measured(engine), prompts), strict=True):
        [found] = json.loads(reply.text)["distributions"]
        mass = engine.first(Prompt(prompt.messages, prefill=field.lead))[-2:]
        assert found["probabilities"] == pytest.approx(mass / mass.sum())
        assert found["left_out"] == pytest.approx(1 - mass.sum())
        assert reply.completion_tokens == 1


def test_a_prompt_that_cannot_be_read_fails_alone():
    prompts = people(5, BOTH)
    prompts[3] = Prompt((("user", "TOO LONG"),), readout=BOTH)
    replies = answer_all(Measured(model()), prompts)
    assert [reply.finish for reply in replies] == ["stop", "stop", "stop", "error", "stop"]
    assert replies[3].error == "the prompt is too long"


def test_an_engine_that_fails_for_good_ends_the_run_after_a_few_calls():
    engine = model()
    with pytest.raises(EngineError, match="too long"):
        answer_all(Measured(engine), [Prompt((("user", "TOO LONG"),), readout=BOTH)] * 1000)
    assert len(engine.calls) < 25


def test_prompts_without_a_readout_are_answered_as_before():
    prompts = [*people(2, BOTH), Prompt((("user", "person 0"),), seed=1)]
    replies = answer_all(Measured(model()), prompts)
    assert replies[2] == answer_all(model(), prompts[2:])[0]
    assert json.loads(replies[0].text)["distributions"]


def test_an_engine_that_lacks_what_is_needed_is_refused_before_the_first_prompt():
    with pytest.raises(EngineError, match=r"^readout: choice: .* lacks the ability 'choice'"):
        measured(model(), ["number", "choice"])
    with pytest.raises(EngineError, match="lacks the ability 'next'"):
        measured(Lettered(VOCABULARY), ["number"])
    assert measured(model(), ["number", "generate"]).abilities >= {"next", "readout"}


def test_what_is_read_is_part_of_the_key_and_the_seed_only_where_chance_has_a_say():
    one, both = Readout("number", (FIRST,)), BOTH
    plain, first, other = (Prompt((("user", "x"),), seed=1, readout=readout) for readout in (None, one, both))
    assert len({prompt_key("e", prompt) for prompt in (plain, first, other)}) == 3
    again = Prompt((("user", "x"),), seed=2, readout=Readout("number", (FIRST,)))
    assert prompt_key("e", first) == prompt_key("e", again)
    reseeded = Prompt((("user", "x"),), seed=2, readout=both)
    assert prompt_key("e", other) != prompt_key("e", reseeded)
    finer = Prompt((("user", "x"),), seed=1, readout=Readout("number", (FIRST,), floor=0.0))
    assert prompt_key("e", first) != prompt_key("e", finer)


def test_a_stored_readout_is_not_measured_again_and_is_replayed(tmp_path):
    engine, prompts = model(), people(4, BOTH)
    with Journal(tmp_path / "journal.sqlite") as journal:
        replies = answer_all(Journaled(Measured(engine), journal), prompts)
        before = len(engine.calls)
        assert answer_all(Journaled(Measured(engine), journal), prompts) == replies
        assert len(engine.calls) == before
    told = {"fingerprint": engine.fingerprint, "reproducible": "exact", "notice": ""}
    (tmp_path / "manifest.json").write_text(json.dumps({"engine": told}))
    assert answer_all(measured(Replay(str(tmp_path)), ["number"]), prompts) == replies


def test_replies_are_plain_json():
    [reply] = answer_all(Measured(model()), people(1, BOTH))
    assert isinstance(reply, Reply)
    assert json.dumps(json.loads(reply.text), ensure_ascii=False, separators=(",", ":")) == reply.text
