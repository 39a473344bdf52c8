"""What moves in a run: news, posts and beliefs, and how prompts tell of them."""

import json

import mesa
import numpy as np
import pytest
from engines_for_tests import GOOD, in_parts
from hypothesis import given, settings
from hypothesis import strategies as st

import popsim
from popsim.engines import Reply
from popsim.errors import PopsimError
from popsim.model import PopulationModel, seen_posts, treated
from popsim.network import NEVER
from popsim.study.tables import assignment_table, heard_table, states_table

NEWS = {"name": "spill", "text": "A pipeline has burst.", "source": "radio", "step": 1}
GRAPH = {"kind": "follow", "mean_degree": 6}
FORECAST = {
    "name": "forecast",
    "step": 1,
    "text": "Experts expect {{value}}%.",
    "placebo": "Experts have met.",
    "source": "bank",
    "signal": {"variable": "inflation", "value": 6.5, "sd": 1.0, "unit": "%"},
}
BELIEFS = {"unit": "%", "source": "made up", "quantiles": {"all": {0.25: 1.0, 0.75: 3.0}}, "sd": 1.0}


def study(*news, size=60, **overrides):
    given = {"size": size, "news": list(news), "network": GRAPH, "waves": [0, 4], **overrides}
    return popsim.load_scenario("oil_price_rise", given)


def stepped(scenario, steps, **kwargs):
    model = PopulationModel(scenario, **kwargs)
    for _ in range(steps):
        model.step()
    return model


def heard(model):
    return model.state.heard_at != NEVER


def says(text):
    """Answer every prompt with one text as the considerations."""
    reply = Reply(in_parts(GOOD | {"Main_considerations_Scenario_2": text}))
    return lambda prompts: [reply] * len(prompts)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["assigned", "reach", "passed_on"]), st.integers(0, 99))
def test_more_of_any_exposure_reaches_a_superset(a, b, field, seed):
    few, many = (
        stepped(study(NEWS | {"reach": 0.1, "passed_on": 0.2, field: share}, seed=seed), 3) for share in sorted((a, b))
    )
    assert (heard(few) <= heard(many)).all()


def test_an_experiment_shows_an_item_to_a_random_share_and_the_assignment_says_to_whom():
    model = stepped(study(NEWS | {"assigned": 0.5}, size=400), 1)
    table = assignment_table(model)
    assert table["shown_spill"].tolist() == heard(model)[:, 0].tolist()
    assert 0.4 < table["shown_spill"].mean() < 0.6
    assert (model.state.told_by == NEVER).all()
    assert "shown_spill" not in assignment_table(PopulationModel(study(NEWS | {"reach": 0.5})))


def test_those_with_the_most_followers_hear_first_where_the_scenario_says_so():
    model = stepped(study(NEWS | {"reach": 0.1, "first": "most_followed"}, size=200), 1)
    followed = np.bincount(model.graph.indices, minlength=200)
    reached = heard(model)[:, 0]
    assert reached.sum() == 20
    assert followed[reached].min() >= followed[~reached].max()


def test_odds_make_some_people_hear_directly_more_often():
    model = stepped(study(NEWS | {"reach": 0.2, "odds": {"sex": {"female": 4.0}}}, size=3000), 1)
    women = model.people["sex"].eq("female").to_numpy()
    reached = heard(model)[:, 0]
    assert reached.mean() == pytest.approx(0.2, abs=0.03)
    assert reached[women].mean() / reached[~women].mean() == pytest.approx(4, rel=0.35)


def test_an_item_is_passed_on_as_long_as_it_lives():
    brief, long = (stepped(study(NEWS | {"reach": 0.1, "passed_on": 0.5, "life": n}, size=300), 4) for n in (1, 3))
    assert brief.state.heard_at.max() == 2
    assert long.state.heard_at.max() == 4
    assert heard(brief).sum() < heard(long).sum()


def test_the_confident_pass_on_more_where_the_scenario_says_so():
    told = NEWS | {"reach": 0.3, "passed_on": 0.3}
    both = [{"people.confidence": level} for level in ("extremely weak", "extremely strong")]
    few, many = (heard(stepped(study(told | {"by_confidence": 2.0}, size=300, **one), 2)).sum() for one in both)
    same = {heard(stepped(study(told, size=300, **one), 2)).sum() for one in both}
    assert few < same.pop() < many
    assert not same


def test_those_who_agree_pass_on_more_where_the_scenario_says_so():
    item = FORECAST | {"reach": 0.4, "passed_on": 0.3}
    near = item | {"signal": item["signal"] | {"value": 2.0}}
    ask = {"size": 300, "beliefs": {"inflation": BELIEFS}}
    spread = [heard(stepped(study(one | {"by_agreement": 3.0}, **ask), 2)).sum() for one in (near, item)]
    assert spread[0] > spread[1]


def test_placebo_news_spreads_alike_and_says_nothing():
    ask = {"beliefs": {"inflation": BELIEFS}, "size": 200}
    item = FORECAST | {"reach": 0.2, "passed_on": 0.3}
    real, placebo = (stepped(study(item, placebo_news=on, **ask), 3) for on in (False, True))
    assert (real.state.heard_at == placebo.state.heard_at).all()
    someone = int(np.flatnonzero(heard(real)[:, 0])[0])
    assert real.respondents[someone].heard()[0]["text"] == "Experts expect 6.5%."
    told = placebo.respondents[someone].heard()[0]
    assert (told["text"], told["signal"]) == ("Experts have met.", None)
    assert (placebo.state.beliefs["inflation"].mean == placebo.state.first["inflation"].mean).all()
    assert (real.state.beliefs["inflation"].mean[someone]) > real.state.first["inflation"].mean[someone]


def test_a_source_counts_once_or_every_time_it_is_told():
    item = FORECAST | {"reach": 0.5, "passed_on": 1.0}
    moved = []
    for every in (False, True):
        model = stepped(study(item, size=200, beliefs={"inflation": BELIEFS | {"every_telling": every}}), 4)
        known = heard(model)[:, 0]
        first, now = model.state.first["inflation"], model.state.beliefs["inflation"]
        assert (now.mean[~known] == first.mean[~known]).all()
        moved.append(((now.mean - first.mean) / (6.5 - first.mean))[known])
    assert moved[0] == pytest.approx(0.5)
    assert (moved[1] >= moved[0] - 1e-12).all()
    assert (moved[1] > 0.6).any()


def test_opinions_bring_beliefs_together_and_full_stubbornness_keeps_them_apart():
    spread = {}
    for name, opinions in {
        "degroot": {"rule": "degroot", "own": 0.5},
        "stubborn": {"rule": "friedkin_johnsen", "sd": 1e6},
        "open": {"rule": "friedkin_johnsen", "sd": 0.5},
        "bounded": {"rule": "bounded_confidence", "within": 1.0},
    }.items():
        model = stepped(study(size=300, beliefs={"inflation": BELIEFS | {"opinions": opinions}}), 4)
        spread[name] = model.state.beliefs["inflation"].mean.std() / model.state.first["inflation"].mean.std()
    assert spread["stubborn"] == pytest.approx(1, abs=1e-6)
    assert spread["degroot"] < spread["open"] < 1
    assert spread["bounded"] < 1


def test_a_signal_moves_a_belief_as_far_beside_degroot_as_alone_when_nobody_follows():
    item = FORECAST | {"reach": 1.0}
    alone, beside = (
        stepped(study(item, network={"kind": "none"}, beliefs={"inflation": BELIEFS | {"opinions": one}}), 3)
        for one in (None, {"rule": "degroot", "own": 0.3})
    )
    assert beside.state.beliefs["inflation"].mean == pytest.approx(alone.state.beliefs["inflation"].mean)


def test_beliefs_begin_at_the_quantiles_of_ones_group_and_the_spread_of_ones_confidence():
    levels = ["extremely weak", "weak", "moderate", "strong", "extremely strong"]
    settings_ = {
        "unit": "%",
        "source": "made up",
        "by": "sex",
        "quantiles": {"female": {0.25: 4.0, 0.5: 5.0, 0.75: 7.0}, "male": {0.25: 1.0, 0.5: 2.0, 0.75: 3.0}},
        "sd": dict(zip(levels, (5.0, 4.0, 3.0, 2.0, 1.0), strict=True)),
    }
    model = PopulationModel(study(size=4000, beliefs={"inflation": settings_}))
    first, people = model.state.first["inflation"], model.people
    women = people["sex"].eq("female").to_numpy()
    assert np.quantile(first.mean[women], [0.25, 0.5, 0.75]) == pytest.approx([4, 5, 7], abs=0.25)
    assert np.quantile(first.mean[~women], [0.25, 0.5, 0.75]) == pytest.approx([1, 2, 3], abs=0.15)
    by_level = people.assign(spread=first.spread).groupby("confidence", observed=True)["spread"].agg(["min", "max"])
    assert by_level.loc[levels].to_numpy() == pytest.approx(np.repeat([[5], [4], [3], [2], [1]], 2, axis=1))


def test_the_tables_say_who_heard_what_when_and_what_they_believed():
    scenario = study(FORECAST | {"reach": 0.3, "passed_on": 0.4}, beliefs={"inflation": BELIEFS}, share_opinions=0.5)
    model = stepped(scenario, 4, answer=says("Dear oil."))
    table = heard_table(model)
    direct = table[table["item"].eq("forecast") & table["told_by"].isna()]
    assert set(direct["step"]) == {1}
    told = table.dropna(subset="told_by")
    ties = set(zip(*model.graph.nonzero(), strict=True))
    assert all((row.person, row.told_by) in ties for row in told.itertuples())
    assert set(table.loc[table["item"].eq("post_0"), "step"]) == {1}
    states = states_table(model, 1)
    assert states["inflation_mean"].tolist() == model.state.beliefs["inflation"].mean.tolist()
    posts = table[table["item"].eq("post_0")].groupby("person").size()
    assert states["items_heard"].tolist() == heard(model).sum(axis=1).tolist()
    assert len(posts) > 5


def test_posts_come_from_followed_people_after_the_wave_and_stand_quoted_in_the_prompt():
    scenario = study(share_opinions={"share": 0.4, "seen": 0.5}, size=100, feed_limit=99)
    model = PopulationModel(scenario, answer=says("Everything gets dearer, I fear."))
    assert all(person.heard() == () for person in model.respondents)
    model.step()
    posts = model.state.posts[0]
    assert 25 < len(posts.texts) < 55
    for person in model.respondents:
        authors = [one["told_by"] for one in person.heard()]
        followed = set(model.graph.indices[model.graph.indptr[person.row] : model.graph.indptr[person.row + 1]])
        assert set(authors) <= followed & set(posts.texts)
    reader, author = seen_posts(posts, 0.5, model.graph, 0, 100)
    assert len(reader) == sum(len(person.heard()) for person in model.respondents)
    possible = seen_posts(posts, 1.0, model.graph, 0, 100)
    assert set(zip(reader, author, strict=True)) < set(zip(*possible, strict=True))
    waves = PopulationModel(scenario).waves()
    asked = next(waves)
    asked = waves.send([asked.read(i, reply) for i, reply in enumerate(says("Everything gets dearer, I fear.")(asked))])
    text = asked[int(reader[0])].messages[0][1]
    assert "- someone you follow: “Everything gets dearer, I fear.”" in text


def test_of_items_of_one_step_the_one_over_the_strongest_tie_comes_first():
    items = [NEWS | {"name": f"n{k}", "source": f"s{k}", "reach": 0.2, "passed_on": 0.6} for k in range(4)]
    model = stepped(study(*items, size=150), 3)
    ranked = 0
    for person in model.respondents:
        feed = person.heard()
        keys = [
            (one["step"], model.graph[person.row, one["told_by"]] if one["told_by"] != NEVER else 0.0) for one in feed
        ]
        assert keys == sorted(keys, reverse=True)
        ranked += len(set(keys)) < len(keys) or len(keys) > 1
    assert ranked
    passed = [one["source"] for person in model.respondents for one in person.heard() if one["told_by"] != NEVER]
    assert passed
    assert all(source.startswith("someone you follow, passing on s") for source in passed)


def test_later_waves_tell_what_was_answered_before_where_the_scenario_says_so():
    scenario = study(remember=True, draws=2, size=10)
    waves = PopulationModel(scenario).waves()
    asked = next(waves)
    assert "took part in this survey before" not in asked[0].messages[0][1]
    rates = [f"{1 + i / 100:.2f}%" for i in range(len(asked))]
    replies = [Reply(in_parts(GOOD | {"Inflation_rate_Scenario_1": rate})) for rate in rates]
    later = waves.send([asked.read(i, reply) for i, reply in enumerate(replies)])
    for i, rate in enumerate(rates):
        text = later[i].messages[0][1]
        assert f"you answered:\n- Unemployment rate (Scenario 1): 4.00%\n- Inflation rate (Scenario 1): {rate}" in text
    unread = PopulationModel(scenario).waves()
    asked = next(unread)
    later = unread.send([asked.read(i, Reply("?")) for i in range(len(asked))])
    assert "took part in this survey before" not in later[0].messages[0][1]


def test_the_instruction_on_confidence_can_be_left_out():
    said, silent = (next(PopulationModel(study(**{"prompt.weighing": on})).waves())[0] for on in (True, False))
    assert "easily swayed" in said.messages[0][1]
    assert "swayed" not in silent.messages[0][1]
    assert "confidence in your own judgement is" in silent.messages[0][1]


def test_mesas_data_collector_reads_the_model_at_every_step():
    model = PopulationModel(study(NEWS | {"reach": 0.2, "passed_on": 0.5}, size=100))
    collector = mesa.DataCollector(model_reporters={"heard": lambda m: int(heard(m).sum())})
    for _ in range(4):
        collector.collect(model)
        model.step()
    series = collector.get_model_vars_dataframe()["heard"]
    assert series.iloc[0] == 0
    assert series.is_monotonic_increasing
    assert series.iloc[-1] > series.iloc[1]


@pytest.mark.parametrize(
    ("news", "overrides", "said"),
    [
        (NEWS | {"step": 9}, {}, r"news\.0\.step.*after the last wave"),
        (NEWS, {"placebo_news": True}, r"news\.0\.placebo: spill has none"),
        (
            FORECAST,
            {"beliefs": {"inflation": BELIEFS | {"unit": "pp"}}},
            r"news\.0\.signal\.unit.*leave the signal out",
        ),
        (FORECAST | {"by_agreement": 1.0}, {}, r"news\.0\.by_agreement: there is no belief"),
        (NEWS | {"by_agreement": 1.0}, {}, "agreement needs a signal"),
        (NEWS | {"first": "most_followed", "odds": {"sex": {"male": 2.0}}}, {}, "odds: go with first: random"),
        (NEWS | {"text": "It is {{value}}%."}, {}, "give the item a signal"),
        (NEWS | {"reach": 0.2, "odds": {"age_band": {"80+": 2.0}}}, {}, r"odds\.age_band: '80\+' is no value of it"),
        (NEWS | {"rule": "threshold", "passed_on": 0.2}, {}, "take out passed_on"),
        (NEWS | {"reach": 0.2, "odds": {"sexe": {"male": 2.0}}}, {}, "sexe"),
        (NEWS, {"beliefs": {"inflation": BELIEFS | {"quantiles": {"all": {0.5: 1.0}}}}}, "at least two quantiles"),
        (NEWS, {"beliefs": {"inflation": BELIEFS | {"sd": {"weak": 1.0}}}}, "one for each of extremely weak"),
        (NEWS, {"beliefs": {"inflation": BELIEFS | {"quantiles": {"a": {0.1: 1.0, 0.9: 2.0}}}}}, "stand under 'all'"),
        (NEWS, {"share_opinions": {"share": 0.2, "question": "inflation_1"}}, "is no open question"),
        (
            NEWS,
            {"beliefs": {"inflation": BELIEFS | {"by": "sex", "quantiles": {"male": {0.1: 1.0, 0.9: 2.0}}}}},
            "'female', a value of sex, has none",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(news, overrides, said):
    with pytest.raises(PopsimError, match=said) as problem:
        stepped(study(news, **overrides), 1)
    assert "\n" not in str(problem.value).strip()


def test_ties_of_a_file_are_found_beside_the_scenario_and_are_part_of_the_study(tmp_path):
    (tmp_path / "ties.csv").write_text("follower,followed\n0,1\n1,2\n")
    text = "name: mine\ntitle: Mine\npopulation: us_adults_2018\nsize: 3\nquestionnaire: oil_price\narms: {rise: {}}\n"
    (tmp_path / "mine.yaml").write_text(text + "network: {kind: file, path: ties.csv}\n")
    scenario = popsim.load_scenario(tmp_path / "mine.yaml")
    assert PopulationModel(scenario).graph.nnz == 2
    (tmp_path / "ties.csv").write_text("follower,followed\n0,2\n1,2\n")
    assert popsim.load_scenario(tmp_path / "mine.yaml").network != scenario.network
    (tmp_path / "ties.csv").unlink()
    with pytest.raises(PopsimError, match=r"network\.path: ties\.csv: no such file"):
        popsim.load_scenario(tmp_path / "mine.yaml")


def test_treatment_does_not_depend_on_who_else_hears():
    scenario = study(FORECAST | {"assigned": 0.3, "reach": 0.5, "passed_on": 0.9}, size=200)
    model = stepped(scenario, 4)
    again = treated(scenario, scenario.news[0], 200)
    assert assignment_table(model)["shown_forecast"].tolist() == again.tolist()
    assert json.dumps(scenario.model_dump(mode="json"))
