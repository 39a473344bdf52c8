import numpy as np
import pytest
from engines_for_tests import Seeded
from hypothesis import given, settings
from hypothesis import strategies as st

import popsim
from popsim.engines import Reply, answer_all
from popsim.model import PopulationModel, assign_arms
from popsim.survey import longest_reply, reply_grammar

NEWS = {"name": "spill", "text": "A pipeline has burst.", "source": "radio", "step": 0, "reach": 0.3, "passed_on": 0.4}


def oil(**overrides):
    return popsim.load_scenario("oil_price_fall", {"size": 40, **overrides})


def with_news(**changes):
    graph = {"kind": "follow", "mean_degree": 6, "homophily": {"party": 3.0}}
    return oil(news=[NEWS | changes], network=graph, waves=[0, 2])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 300), st.integers(0, 10**6))
def test_arms_get_their_shares_as_nearly_as_whole_people_allow(shares, size, seed):
    scenario = oil()
    arm = next(iter(scenario.arms.values()))
    arms = {f"a{k}": arm.model_copy(update={"share": share}) for k, share in enumerate(shares)}
    counts = np.bincount(
        assign_arms(scenario.model_copy(update={"arms": arms, "size": size, "seed": seed})), minlength=len(shares)
    )
    expected = size * np.array(shares) / sum(shares)
    assert np.abs(counts - expected).max() < 1
    assert counts.sum() == size


def test_arms_are_assigned_without_regard_to_the_order_of_people():
    arms = assign_arms(oil(size=2000, arms={"fall": {}, "rise": {}}))
    order = np.arange(2000)
    assert abs(np.corrcoef(arms, order)[0, 1]) < 0.1


def test_a_prompt_depends_on_its_person_and_not_on_when_it_is_rendered():
    forward = next(PopulationModel(oil()).waves())
    backward = next(PopulationModel(oil()).waves())
    assert [forward[i] for i in range(40)] == [backward[i] for i in reversed(range(40))][::-1]


def test_draws_and_attempts_have_the_same_text_and_other_seeds():
    asked = next(PopulationModel(oil(draws=3)).waves())
    assert len(asked) == 120
    assert asked[0].messages == asked[1].messages
    seeds = {asked.prompt(i, attempt).seed for i in range(120) for attempt in range(3)}
    assert len(seeds) == 360
    assert asked.prompt(5).seed == asked[5].seed


def test_seeds_are_shared_by_sweep_points_and_not_by_replicates():
    weak, strong = (next(PopulationModel(oil(**{"people.confidence": c})).waves()) for c in ("weak", "strong"))
    assert [p.seed for p in weak] == [p.seed for p in strong]
    assert weak[0].messages != strong[0].messages
    again = next(PopulationModel(oil().replicate(1)).waves())
    assert {p.seed for p in weak}.isdisjoint(p.seed for p in again)


@pytest.mark.parametrize("more", [{"reach": 0.8}, {"passed_on": 0.9}], ids=["reach", "passed_on"])
def test_more_exposure_reaches_a_superset(more):
    base = {"reach": 0.1, "passed_on": 0.1}
    few, many = PopulationModel(with_news(**base)), PopulationModel(with_news(**base | more))
    reached = []
    for _ in range(3):
        assert ((few.state.heard_at >= 0) <= (many.state.heard_at >= 0)).all()
        reached.append([(model.state.heard_at >= 0).sum() for model in (few, many)])
        few.step()
        many.step()
    assert reached[1][0] < reached[1][1]


def test_what_was_heard_stands_in_the_prompt_of_those_who_heard_it_alone():
    model = PopulationModel(with_news())
    asked = next(model.waves())
    for i, prompt in enumerate(asked):
        assert ("A pipeline has burst." in prompt.messages[0][1]) == (model.state.heard_at[i, 0] >= 0)


def test_the_social_module_switches_what_was_heard_off():
    asked = next(
        PopulationModel(with_news().model_copy(update={"modules": oil(**{"modules.social": False}).modules})).waves()
    )
    assert not any("A pipeline has burst." in prompt.messages[0][1] for prompt in asked)


def test_facts_carry_what_the_text_says():
    text = next(PopulationModel(with_news()).waves())
    facts = next(PopulationModel(with_news(), reads="facts").waves())
    assert facts[0].messages == ()
    for i in range(40):
        assert facts[i].facts["persona"] in text[i].messages[0][1]
        assert bool(facts[i].facts["heard"]) == ("A pipeline has burst." in text[i].messages[0][1])
        assert facts[i].seed == text[i].seed


def test_a_plain_mesa_loop_fields_every_wave_that_falls_due():
    engine = Seeded()
    model = PopulationModel(with_news(), answer=lambda prompts: answer_all(engine, prompts))
    assert len(model.readings) == 1
    model.step()
    assert len(model.readings) == 1
    model.step()
    assert len(model.readings) == 2
    assert all(reading.status == "ok" for reading in model.readings[1])


def test_waves_advance_the_clock_and_ask_at_the_right_steps():
    model = PopulationModel(with_news())
    waves = model.waves()
    asked = next(waves)
    steps = [model.steps]
    asked = waves.send([asked.read(i, Reply("")) for i in range(len(asked))])
    steps.append(model.steps)
    assert steps == [0, 2]
    assert asked.wave == 1


def test_a_subclass_changes_its_own_prompt_and_may_step():
    class Loud(popsim.Respondent):
        steps_taken = 0

        def persona(self):
            return super().persona() + f" Your number is {self.row}."

        def step(self):
            type(self).steps_taken += 1

    model = PopulationModel(oil(), respondent=Loud)
    assert "Your number is 7." in next(model.waves())[7].messages[0][1]
    model.step()
    assert Loud.steps_taken == 40


def test_fixing_confidence_needs_a_population_that_has_it():
    scenario = popsim.load_scenario("learning_platform_cn", {"people.confidence": "weak"})
    with pytest.raises(popsim.PopsimError, match="no confidence levels"):
        PopulationModel(scenario)


def test_the_period_and_the_party_in_power_reach_the_people():
    then = PopulationModel(oil(size=2000))
    later = PopulationModel(oil(size=2000, **{"priors.period": "2022", "priors.in_power": "Democratic"}))
    assert "Republican Party is in power" in next(then.waves())[0].messages[0][1]
    assert "Democratic Party is in power" in next(later.waves())[0].messages[0][1]
    share = [(model.people["unemployment_prior"] == "more").mean() for model in (then, later)]
    assert share[0] < share[1]


def test_the_longest_reply_fits_and_a_free_one_has_room_for_a_loose_form():
    held, free = (
        next(PopulationModel(oil(**{"sampling.structured": structured, "prompt.reasoning": False})).waves())[0]
        for structured in (True, False)
    )
    questions = oil().shown("fall").questions
    assert held.sampling.max_tokens == longest_reply(questions, reasoning=False)
    assert held.shape.grammar == reply_grammar(questions, reasoning=False)
    assert free.shape is None
    age = {"name": "age", "kind": "number", "text": "How old are you?", "minimum": 18, "maximum": 99}
    one = {"name": "one", "pages": [{"questions": [age]}]}
    short = oil(
        questionnaire={"name": "one", "topic": "t", "task": "t", "vignettes": [one]},
        analysis=None,
        **{"prompt.reasoning": False},
    )
    fenced = '```json\n{"age": "45"}\n```'
    assert next(PopulationModel(short).waves())[0].sampling.max_tokens >= len(fenced)
