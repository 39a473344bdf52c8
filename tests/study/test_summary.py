"""What a run prints of its answers: weighted by person."""

import numpy as np
import pandas as pd
import pytest

import popsim
from popsim.study.tables import summary


def test_means_sds_and_shares_of_a_summary_are_weighted():
    scenario = popsim.load_scenario("learning_platform_cn")
    choice = next(q for q in scenario.questionnaire.questions if q.kind == "choice")
    people = pd.DataFrame({"weight": [1.0, 2.0, 5.0]})
    chosen = [choice.options[0], choice.options[1], choice.options[1]]
    answers = pd.DataFrame(
        {
            "person": [0, 1, 2],
            "arm": next(iter(scenario.arms)),
            "wave": 0,
            "question": choice.name,
            "value": [0.0, 1.0, 1.0],
            "label": chosen,
            "status": "ok",
        }
    )
    shares = summary(answers, people, scenario).set_index("option")["mean"]
    assert shares[choice.options[0]] == pytest.approx(1 / 8)
    assert shares[choice.options[1]] == pytest.approx(7 / 8)
    oil = popsim.load_scenario("oil_price_fall")
    numbers = answers.assign(arm="fall", question="inflation_1", value=[1.0, 2.0, 4.0])
    row = summary(numbers, people, oil).iloc[0]
    assert row["mean"] == pytest.approx(25 / 8)
    equal = summary(numbers, people.assign(weight=1.0), oil).iloc[0]
    assert equal["sd"] == pytest.approx(np.std([1, 2, 4], ddof=1))
