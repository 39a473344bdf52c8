"""Open answers coded by words."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from popsim.errors import TargetError
from popsim.evaluate.coder import agreement, channel_table, code_answers, cohen_kappa

# Made up for this test, each with the codes that a reader would give it.
BY_HAND = [
    ("Transport gets cheaper, so firms have lower costs and may cut prices.", {"costs", "mechanism"}),
    ("People will spend what they save on gas.", {"demand", "mechanism"}),
    ("Companies will hire more workers.", {"labour", "mechanism"}),
    ("I just guessed, I have no idea.", {"guess"}),
    ("The president will take the credit for it.", {"politics"}),
    ("In the past this always happened.", {"history"}),
    ("We are so dependent on oil that everything moves with it.", {"oil_dependency"}),
    ("Nothing much.", set()),
    ("Layoffs in the oil fields, and then less demand for houses.", {"labour", "demand", "mechanism"}),
    ("It all depends.", set()),
    ("Not sure, my gut says prices go down.", {"guess"}),
    ("Democrats and Republicans will fight over it.", {"politics"}),
]


def hand_codes(codes):
    return pd.DataFrame({code: [code in given for _, given in BY_HAND] for code in codes})


def test_agrees_with_a_reader():
    coded = code_answers([text for text, _ in BY_HAND])
    table = agreement(coded, hand_codes([name for name in coded if name != "other"]))
    assert (table["kappa"] > 0.8).all(), table
    assert coded["other"].tolist() == [not given for _, given in BY_HAND]


@pytest.mark.parametrize("text", ["The past is the past.", "Ms. Trumpet plays jazz.", "I guessed right"])
def test_words_count_from_their_beginning(text):
    coded = code_answers([text]).iloc[0]
    assert coded["guess"] == ("guess" in text)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=60))
def test_kappa_is_that_of_scikit_learn(pairs):
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    if len(set(first) | set(second)) < 2:
        return
    assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second), abs=1e-9)


def test_human_shares_stand_beside_and_say_how_they_were_counted():
    table = channel_table(pd.Series(["costs rise"] * 30 + ["no idea"] * 70), "oil", "households").set_index("code")
    assert table.loc["costs", ["simulated", "human", "human_by"]].tolist() == [0.3, 0.219, "words"]
    assert table.loc["guess", ["simulated", "human", "human_by"]].tolist() == [0.7, 0.133, "hand"]
    assert table.loc["costs", "low"] < 0.3 < table.loc["costs", "high"]
    other = channel_table(pd.Series(["costs rise"] * 30), "my_vignette", "households").set_index("code")
    assert np.isnan(other.loc["costs", "human"])


def test_weights_count_as_answers():
    table = channel_table(pd.Series(["costs", "x"]), "oil", "households", pd.Series([3.0, 1.0])).set_index("code")
    assert table.loc["costs", "simulated"] == 0.75


def test_tables_that_do_not_match_are_refused():
    with pytest.raises(TargetError, match="same answers"):
        agreement(pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1, 0]}))
