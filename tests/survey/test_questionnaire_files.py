"""Questionnaires made out of others: other wordings, several vignettes in one, human answers by group, versions."""

import math

import pytest
import yaml

from popsim.errors import SurveyError
from popsim.survey import NumberQuestion, Page, Questionnaire, Vignette, load_questionnaire, set_arm, versions

FOUR = ("oil", "federal_spending", "federal_funds_rate", "income_tax")
WORDINGS = ("oil_price_plain", "oil_price_formal", "oil_price_personal")


def written(folder, **data):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def texts(questionnaire, arm):
    vignette = set_arm(questionnaire, arm).vignettes[0]
    pages = [(page.title, page.text) for page in vignette.pages]
    return [vignette.introduction, *(text for page in pages for text in page), *(q.text for q in vignette.questions)]


@pytest.mark.parametrize("name", WORDINGS)
@pytest.mark.parametrize("arm", ["fall", "rise"])
def test_a_wording_changes_every_sentence_and_nothing_else(name, arm):
    plain, other = load_questionnaire("oil_price"), load_questionnaire(name)
    assert plain.vignettes[0].reference == other.vignettes[0].reference
    for mine, yours in zip(plain.questions, other.questions, strict=True):
        blank = {"text": "x"}
        assert mine.model_copy(update=blank) == yours.model_copy(update=blank)
    told, said = texts(plain, arm), texts(other, arm)
    assert all(a != b for a, b in zip(told, said, strict=True) if a)
    whole = " ".join(said)
    assert [whole.count(figure) > 0 for figure in ("$54", "$30", {"fall": "$24", "rise": "$84"}[arm])] == [True] * 3
    assert (whole.count("4.0%"), whole.count("1.6%")) == (2, 2)
    assert [text.count("Scenario 2") for text in said if text.startswith("Scenario 2:")] == [1]


def test_all_four_vignettes_ask_the_same_two_outcomes_of_households_and_experts():
    asked = load_questionnaire("four_vignettes")
    assert tuple(vignette.name for vignette in asked.vignettes) == FOUR
    assert len({question.json_key for question in asked.questions}) == len(asked.questions) == 20
    for vignette in asked.vignettes:
        assert vignette.title
        for reference in (vignette.reference, vignette.references["experts"]):
            assert set(reference.changes) == {"inflation", "unemployment"}
            assert reference.reversed == ("fall",)
            for name, change in reference.changes.items():
                assert set(change.arms) == {"fall", "rise"}
                assert change.shock == f"{vignette.name}_{name}_2"
                assert 98 <= sum(change.directions.model_dump().values()) <= 102
            assert 98 <= sum(reference.joint.model_dump(exclude={"of"}).values()) <= 102


def test_published_means_agree_with_the_published_sign_pattern_of_experts():
    asked = load_questionnaire("four_vignettes").of_group("experts")
    signs = {
        vignette.name: [
            [round(math.copysign(1, change.arms[arm].mean)) for arm in ("fall", "rise")]
            for change in vignette.reference.changes.values()
        ]
        for vignette in asked.vignettes
    }
    assert signs == {
        "oil": [[-1, 1], [-1, 1]],
        "federal_spending": [[-1, 1], [1, -1]],
        "federal_funds_rate": [[1, -1], [-1, 1]],
        "income_tax": [[1, -1], [-1, 1]],
    }


def test_a_group_without_figures_of_its_own_has_the_general_ones():
    asked = load_questionnaire("oil_price")
    (vignette,) = asked.vignettes
    assert asked.of_group("households").vignettes[0].reference == vignette.reference
    experts = asked.of_group("experts").vignettes[0]
    assert experts.reference == vignette.references["experts"]
    assert experts.references == {}
    channels = load_questionnaire("oil_price_2025").of_group("experts").questions[3]
    assert channels.reference.shares["Firms charge more because their costs have gone up"] == 79.1


def test_versions_show_two_of_four_in_every_order_and_keep_the_open_question_last():
    asked = load_questionnaire("four_vignettes")
    found = versions(asked)
    orders = [tuple(vignette.name for vignette in version.vignettes) for version in found]
    assert len(found) == len({version.model_dump_json() for version in found}) == 4 * 3 * 2
    assert {len(set(order)) for order in orders} == {2}
    assert all(orders.count(order) == 2 for order in orders)
    for version in found:
        names = [question.name.split("_")[-2] for question in version.questions if question.kind == "number"]
        assert len(set(names[::2])) == 1
        for vignette in version.vignettes:
            assert vignette.questions[-1].kind == "text"
    assert versions(load_questionnaire("oil_price")) == (load_questionnaire("oil_price"),)


def test_subsets_without_shuffling_keep_the_order_of_the_file():
    asked = load_questionnaire("four_vignettes").model_copy(update={"show": 3, "shuffle": ()})
    orders = [tuple(FOUR.index(vignette.name) for vignette in version.vignettes) for version in versions(asked)]
    assert orders == [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"based_on": "oil_price", "vignettes": {"gas": {"title": "Gas"}}}, "vignettes.gas: .*allowed: oil"),
        ({"based_on": "oil_prize"}, r"did you mean oil_price\?"),
        ({"based_on": "mine.yaml"}, "based_on goes in a circle: mine.yaml, mine.yaml"),
        ({"based_on": "oil_price", "show": 2}, "show: 2 vignettes, but there are 1"),
        ({"include": {"learning_platform": "x"}, "topic": "t", "task": "t"}, "learning_platform: is in language 'zh'"),
        ({"include": ["oil_price"], "topic": "t", "task": "t"}, "include: needs names"),
        ({"include": {"oil_price": "A", "oil_price_plain": "B"}, "topic": "t", "task": "t"}, "'oil' stands twice"),
    ],
)
def test_what_cannot_be_put_together_is_refused_in_one_line(tmp_path, data, says):
    path = written(tmp_path, name="mine", **data)
    with pytest.raises(SurveyError, match=says) as caught:
        load_questionnaire(path)
    assert "\n" not in str(caught.value)


def test_more_orders_than_can_be_listed_are_refused():
    rows = [NumberQuestion(kind="number", name=f"q{i}", text="?", minimum=0, maximum=1) for i in range(8)]
    vignettes = [Vignette(name=f"v{i}", pages=(Page(questions=(row,)),)) for i, row in enumerate(rows)]
    shown = {"name": "many", "topic": "t", "task": "t", "vignettes": vignettes, "show": 4}
    assert len(versions(Questionnaire(**shown))) == 70
    with pytest.raises(ValueError, match="give 1680 orders; at most 500"):
        Questionnaire(**shown, shuffle=("vignettes",))
