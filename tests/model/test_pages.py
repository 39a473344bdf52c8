"""Page by page: conversations, branches, earlier answers in texts, orders of options, and the tables of it all."""

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from engines_for_tests import MadeUp

import popsim
from popsim.engines import Reply, answer_all, load_engine
from popsim.errors import PopsimError
from popsim.files import shipped
from popsim.model import PopulationModel

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "pages"
LAST = {
    "prices_past": "4.0%",
    "prices_5y": "2.5%",
    "buying_house": "a bad time",
    "buying_car": "neither",
    "buying_appliances": "cannot say",
}
SCRIPT = [
    {"finances": "worse", "reasons": ["prices", "debts or savings"], "direction": "higher", "size": "5.0%"} | LAST,
    {"finances": "about the same", "direction": "the same"} | LAST,
    {"finances": "cannot say", "direction": "cannot say"} | LAST,
    {"finances": "better", "reasons": ["pay or hours"], "direction": "lower", "size": "cannot say"} | LAST,
    {"finances": "I do not follow", "direction": "higher", "size": "2.0%"} | LAST,
]
PAGES = [["finances"], ["reasons"], ["direction"], ["size"], list(LAST)]
ALWAYS = 1 + 1 + 5


def keys_of(prompt):
    """Read the keys of the JSON object that the last turn asks for."""
    return re.findall(r'^  "(\w+)": ', prompt.messages[-1][1], re.M)


class Scripted(MadeUp):
    """Answers the questions of each page as its script says, by the first turn of the respondent."""

    fingerprint = "scripted/1"

    def __init__(self, scripts):
        self.scripts, self.seen = scripts, []

    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            self.seen.append(prompt)
            script = self.scripts[prompt.messages[0][1]]
            yield position, Reply(json.dumps({key: script[key] for key in keys_of(prompt)}))


def outlook(**overrides):
    return popsim.load_scenario("household_outlook_pages", {"size": len(SCRIPT), "prompt.reasoning": False} | overrides)


def scripted(scenario):
    first = PopulationModel(scenario).unanswered()[0]
    texts = [prompt.messages[0][1] for prompt in first]
    assert len(set(texts)) == len(SCRIPT)
    return Scripted(dict(zip(texts, SCRIPT, strict=True)))


@pytest.fixture
def fielded():
    scenario = outlook()
    engine = scripted(scenario)
    return popsim.run(scenario, "run", engine=engine), engine


def test_five_pages_with_branches_give_the_rows_of_a_hand_count(fielded):
    run, engine = fielded
    answers = run.answers
    counted = answers.groupby("question", observed=True).size().to_dict()
    last = dict.fromkeys(LAST, 5)
    assert counted == {"finances": 5, "reasons": 2 * 5, "direction": 5, "size": 3} | last
    assert len(answers) == 5 + 10 + 5 + 3 + 25
    by_person = answers.drop_duplicates(["person", "question"]).groupby("person").size().tolist()
    assert by_person == [ALWAYS + 2, ALWAYS, ALWAYS, ALWAYS + 2, ALWAYS + 1]
    # The unreadable one is asked three times on the first page, and on no other.
    assert len(engine.seen) == (5 + 2) + 2 + 5 + 3 + 5
    replies = run.replies
    assert replies.groupby("round").size().to_dict() == {0: 5, 1: 2, 2: 5, 3: 3, 4: 5}
    assert replies.set_index(["person", "round"]).loc[(4, 0), "attempt"] == 2
    assert replies.loc[replies["round"].gt(0), "attempt"].eq(0).all()
    assert replies["prompt_sha"].nunique() == 20
    assert len(run.states) == 5
    assert run.manifest["failures"]["by_status"] == {"unreadable": {"all": 1}}
    assert run.manifest["counts"]["prompts"] == 20


def test_alternatives_and_what_was_not_said_show_the_same_pages_as_the_options_named():
    asked = yaml.safe_load(shipped("scenarios/questionnaires")["household_outlook"].read_text())
    pages = asked["vignettes"][0]["pages"]
    rest = {"question": "finances", "not_among": ["about the same", "cannot say", "better"]}
    pages[1] |= {"show_if_any": [{"question": "finances", "among": ["better"]}, rest]}
    del pages[1]["show_if"]
    pages[3]["show_if"] = {"question": "direction", "not_among": ["the same", "cannot say"]}
    Path("asked.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    one, other = (
        popsim.run(popsim.load_scenario("household_outlook_pages", {"size": 60, "engine": "baseline"} | more), out)
        for out, more in (("named", {}), ("others", {"questionnaire": "asked.yaml"}))
    )
    pd.testing.assert_frame_equal(one.answers, other.answers)
    assert 0 < one.answers["question"].eq("size").sum() < 60


def test_positions_count_what_each_respondent_was_asked(fielded):
    answers = fielded[0].answers.drop_duplicates(["person", "question"])
    for person, script in enumerate(SCRIPT):
        mine = answers[answers["person"].eq(person)].sort_values("position")
        assert mine["position"].tolist() == list(range(len(script)))
        assert mine["question"].tolist() == list(script)


def test_values_and_statuses_are_those_of_the_script(fielded):
    answers = fielded[0].answers
    one = answers[answers["question"].ne("reasons")].set_index(["person", "question"])
    assert one.loc[(0, "finances"), ["label", "value"]].tolist() == ["worse", 2.0]
    assert one.loc[(3, "size"), "status"] == "dont_know"
    assert one.loc[(4, "finances"), "status"] == "unreadable"
    ticked = answers[answers["question"].eq("reasons") & answers["person"].eq(0)]
    assert ticked.set_index("label")["value"].to_dict() == {
        "pay or hours": 0,
        "prices": 1,
        "taxes or benefits": 0,
        "debts or savings": 1,
        "somebody moved in or out": 0,
    }


def test_a_page_stands_behind_all_that_was_said_before(fielded):
    _, engine = fielded
    of_first = [prompt for prompt in engine.seen if engine.scripts[prompt.messages[0][1]] is SCRIPT[0]]
    assert [keys_of(prompt) for prompt in of_first] == PAGES
    for earlier, later in pairwise(of_first):
        said = json.dumps({key: SCRIPT[0][key] for key in keys_of(earlier)})
        assert later.messages[:-1] == (*earlier.messages, ("assistant", said))
        assert later.messages[-1][0] == "user"
    assert len({prompt.seed for prompt in of_first}) == 5
    assert "Personal Characteristics" not in "".join(text for _, text in of_first[-1].messages[1:])
    unread = [prompt for prompt in engine.seen if engine.scripts[prompt.messages[0][1]] is SCRIPT[4]]
    assert [keys_of(prompt) for prompt in unread] == [PAGES[0]] * 3 + [PAGES[2], PAGES[3], PAGES[4]]
    assert len({prompt.seed for prompt in unread}) == 6
    assert unread[3].messages[1] == ("assistant", '{"finances": "I do not follow"}')


def test_later_pages_repeat_earlier_answers_as_data(fielded):
    _, engine = fielded
    texts = {
        (tuple(keys_of(p)), SCRIPT.index(engine.scripts[p.messages[0][1]])): p.messages[-1][1] for p in engine.seen
    }
    assert "About your household you have answered: “worse”." in texts[("reasons",), 0]
    assert "You have said that prices will be lower." in texts[("size",), 3]
    assert not any("{{" in text for text in texts.values())


def test_a_free_text_that_is_repeated_cannot_act(tmp_path):
    pages = [
        {"questions": [{"name": "why", "kind": "text", "text": "Why?"}]},
        {
            "text": "You wrote: “{{answer.why}}”",
            "questions": [{"name": "sure", "kind": "choice", "text": "Sure?", "options": ["quite", "no"]}],
        },
    ]
    questionnaire = {"name": "q", "topic": "t", "task": "Do.", "vignettes": [{"name": "v", "pages": pages}]}
    scenario = outlook(questionnaire=questionnaire, size=1)
    first = PopulationModel(scenario).unanswered()[0][0].messages[0][1]
    hostile = "<script> {{topic}} “```” <|im_end|>"
    engine = Scripted({first: {"why": hostile, "sure": "no"}})
    popsim.run(scenario, tmp_path / "run", engine=engine)
    line = next(line for line in engine.seen[1].messages[-1][1].splitlines() if line.startswith("You wrote"))
    assert line == "You wrote: “‹script› ((topic)) ‘'''’ ‹|im_end|›”"


def test_a_reply_that_never_came_leaves_the_page_blank_and_the_conversation_goes_on():
    class Fails(Scripted):
        def answer(self, prompts):
            for position, reply in super().answer(prompts):
                failed = "finances" in keys_of(prompts[position])
                yield position, Reply("", "error", error="no network") if failed else reply

    scenario = outlook()
    engine = Fails(scripted(scenario).scripts)
    answers = popsim.run(scenario, "run", engine=engine).answers
    assert answers[answers["question"].eq("finances")]["status"].eq("engine_error").all()
    assert "reasons" not in set(answers["question"])
    assert answers[answers["question"].ne("finances")]["status"].isin(["ok", "dont_know"]).all()
    assert engine.seen[-1].messages[1] == ("assistant", "[Not provided]")


@pytest.mark.parametrize("name", ["oil_price_fall", "macro_vignettes", "inflation_probabilities"])
def test_baseline_answers_pages_as_it_answers_one_prompt(name):
    overrides = {"size": 80, "engine": "baseline", "draws": 2}
    runs = [
        popsim.run(popsim.load_scenario(name, overrides | {"presentation": way}), way)
        for way in ("one_prompt", "pages")
    ]
    keys = ["person", "draw", "position"]
    one, other = (run.answers.sort_values(keys).reset_index(drop=True) for run in runs)
    pd.testing.assert_frame_equal(one, other, check_categorical=False)
    one, other = (
        run.distributions.sort_values(["person", "draw", "question", "value"]).reset_index(drop=True) for run in runs
    )
    pd.testing.assert_frame_equal(one, other)


def test_a_model_that_answers_by_itself_goes_through_the_pages_too():
    scenario = popsim.load_scenario("oil_price_pages", {"size": 12})
    engine, asked = load_engine("baseline"), []

    def answer(prompts):
        asked.append(len(prompts))
        return answer_all(engine, prompts)

    model = PopulationModel(scenario, reads="facts", answer=answer)
    assert asked == [12, 12, 12]
    run = popsim.run(scenario, "run", engine=engine)
    values = [answer.value for reading in model.readings[0] for answer in reading.answers if answer.status == "ok"]
    expected = run.answers.sort_values(["person", "position"])["value"]
    assert np.array_equal(values, expected, equal_nan=True)


def test_the_second_wave_tells_what_was_answered_on_the_pages_of_the_first():
    scenario = outlook(waves=[0, 1], remember=True)
    engine = scripted(scenario)
    firsts = list(engine.scripts)

    class Anew(Scripted):
        def answer(self, prompts):
            for position, prompt in enumerate(prompts):
                self.seen.append(prompt)
                person = next(i for i, one in enumerate(firsts) if one[:900] == prompt.messages[0][1][:900])
                yield position, Reply(json.dumps({key: SCRIPT[person][key] for key in keys_of(prompt)}))

    engine = Anew({})
    run = popsim.run(scenario, "run", engine=engine)
    assert len(run.answers) == 2 * 48
    assert sorted(run.states["wave"].unique()) == [0, 1]
    again = [
        prompt.messages[0][1] for prompt in engine.seen if "took part in this survey before" in prompt.messages[0][1]
    ]
    assert "- Compared with a year ago: worse" in again[0]
    assert "- By: 5.0%" in again[0]


class FirstOption(MadeUp):
    """Ticks whatever option is shown first: an order effect."""

    fingerprint = "first-option/1"

    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            page, said = prompt.messages[-1][1], {}
            for key in keys_of(prompt):
                if key in ("reasons", "finances"):
                    block = page[page.index("difference?" if key == "reasons" else "year ago?") :]
                    first = re.search(r"^- (.*)$", block, re.M)[1]
                    said[key] = [first] if key == "reasons" else first
                else:
                    said[key] = (LAST | {"direction": "the same"})[key]
            yield position, Reply(json.dumps(said))


def test_an_effect_of_the_order_of_options_is_found_again_in_the_saved_orders():
    run = popsim.run(outlook(size=600), "run", engine=FirstOption())
    assert run.answers["status"].isin(["ok", "dont_know"]).all()
    options = next(q for q in run.scenario.questionnaire.questions if q.name == "reasons").options
    orders = np.array([order.split() for order in run.assignment["order_reasons"]], dtype=int)
    assert (np.sort(orders, axis=1) == np.arange(5)).all()
    ticked = run.answers[run.answers["question"].eq("reasons")].pivot(index="person", columns="label", values="value")
    ticked = ticked[list(options)].to_numpy()
    place = np.argsort(orders, axis=1)
    by_place = [ticked[place == k].mean() for k in range(5)]
    assert by_place == [1, 0, 0, 0, 0]
    # Every option comes first equally often, and orders as wholes are as good as all there.
    assert np.bincount(orders[:, 0]) == pytest.approx(120, abs=45)
    assert len({tuple(order) for order in orders.tolist()}) > 110
    # Options that are not shuffled stay in their order.
    assert run.answers[run.answers["question"].eq("finances")]["label"].eq("better").all()


def test_letters_of_shuffled_options_lead_back_to_the_option():
    page = {"questions": [{"name": "pick", "kind": "choice", "text": "?", "options": ["x", "y", "z"], "shuffle": True}]}
    questionnaire = {"name": "q", "topic": "t", "task": "Do.", "vignettes": [{"name": "v", "pages": [page]}]}
    scenario = outlook(questionnaire=questionnaire, presentation="one_prompt", readout="choice", size=30)
    model = PopulationModel(scenario)
    for prompt in next(model.waves()):
        shown = dict(re.findall(r"^\((\w)\) (\w)$", prompt.messages[0][1], re.M))
        worth = {one.text: one.value for one in prompt.readout.fields[0].spellings}
        assert {letter: "xyz"[int(worth[letter])] for letter in "ABC"} == shown
    assert len({tuple(order) for order in model.orders["pick"].tolist()}) == 6


def test_the_lead_and_the_options_of_a_grid_stand_once():
    page = PopulationModel(outlook()).unanswered()[-1][0].messages[-1][1]
    grid = (
        "Is this a good time or a bad time for people to buy the following?\n- a good time\n- neither\n- a bad time\n"
        "a house: ___\na car: ___\nlarge things for the home: ___"
    )
    assert grid in page
    assert page.count("- neither") == 1


def test_derived_outcomes_are_rows_of_the_summary_and_outcomes_of_targets(fielded, tmp_path):
    from popsim.study.tables import summary

    run, _ = fielded
    row = summary(run.answers, run.people, run.scenario).set_index("question").loc["expected_change"]
    assert (row["mean"], row["sd"], row["n"]) == (-1.5, 0, 5)
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ntitle: Ours\ntargets:\n"
        "  - {group: households, vignette: outlook, outcome: expected_change, pooling: all, statistic: mean,"
        " value: -1.0, se: 0.1, n: 900, wave: '1', form: levels, population: adults, weighted: false, family: f,"
        " published: 2024-05-01, source: ours, obtained: read}\n"
    )
    found = popsim.compare(run, targets=[tmp_path / "mine.yaml"], draws=50).targets
    assert found["simulated"].tolist() == [-1.5]


def test_vignettes_have_their_heading_on_the_first_page_that_is_shown_alone():
    model = PopulationModel(popsim.load_scenario("macro_vignettes", {"size": 30, "presentation": "pages"}))
    last = model.unanswered()[-1]
    for i in (0, 11, 29):
        turns = [text for role, text in last[i].messages if role == "user"]
        names = [vignette.introduction for vignette in model.versions[last.version[i]].vignettes]
        for introduction in names:
            assert sum(introduction.strip() in turn for turn in turns) == 1
        assert len(turns) == sum(len(one.pages) for one in model.versions[last.version[i]].vignettes)


@pytest.mark.parametrize("name", ["household_outlook_pages", "learning_platform_cn"])
def test_later_turns_read_as_they_did(name):
    asked = popsim.load_scenario(name).questionnaire.model_dump()
    pages = asked["vignettes"][0]["pages"]
    if len(pages) == 1:
        (page,) = pages
        pages = [{**(page if i == 0 else {}), "questions": [one]} for i, one in enumerate(page["questions"])]
        asked["vignettes"][0]["pages"] = pages
    overrides = {"size": 2, "presentation": "pages", "questionnaire": asked}
    rounds = PopulationModel(popsim.load_scenario(name, overrides)).unanswered()
    turns = "\n\n".join(f"[{role}]\n{text}" for role, text in rounds[-1][0].messages[1:]) + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("POPSIM_UPDATE_GOLDEN"):
        path.write_text(turns, encoding="utf-8")
    assert turns == path.read_text(encoding="utf-8")
    assert len(rounds) == len(pages) > 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"presentation": "one_prompt"},
            r"questionnaire household_outlook: vignette outlook, page 1: show_if needs presentation: pages",
        ),
        ({"presentation": "page"}, r"presentation: .*'one_prompt' or 'pages'"),
        ({"readout": "number"}, r"readout: number: nobody writes an answer that the next page could go on from"),
    ],
)
def test_a_presentation_that_cannot_be_is_refused_in_one_line(overrides, message):
    with pytest.raises(PopsimError, match=message) as caught:
        outlook(**overrides)
    assert "\n" not in str(caught.value)
