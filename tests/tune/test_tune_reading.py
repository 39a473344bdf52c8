"""Shares of options read in three ways: a model that gives the shares says and draws the same."""

import json

import numpy as np
import pytest

from popsim.engines import Reply
from popsim.errors import TuneError
from popsim.tune.asking import Asked, ask_group
from popsim.tune.reading import count_letters, first_token, read_stated, sampled, verbalised
from popsim.tune.records import Item, Shares

ITEM = Item("trust", "Trust?", options=("yes", "maybe", "no"))
ASKED = [ask_group(Shares(group, ITEM, ())) for group in ("one", "two")]
SHARES = {"one": (0.6, 0.3, 0.1), "two": (0.0, 0.5, 0.5)}


class Knows:
    """An engine whose options have these shares, however it is asked."""

    fingerprint, reads, abilities, reproducible, notice = "knows", "text", frozenset({"choice"}), "exact", ""

    def answer(self, prompts):
        for i, prompt in enumerate(prompts):
            shares = SHARES["one" if "group would: one" in prompt.messages[0][1] else "two"]
            if prompt.choices:
                text = json.dumps([0.5 * share for share in shares])
            elif "Of 100 people" in prompt.messages[0][1]:
                text = "\n".join(f"{letter}: {100 * share:g}%" for letter, share in zip("ABC", shares, strict=True))
                assert prompt.prefill == ""
            else:
                assert prompt.prefill.endswith("(")
                text = np.random.default_rng(prompt.seed).choice(list("ABC"), p=shares) + ")"
            yield i, Reply(text)


def test_three_ways_agree_on_a_model_that_knows_the_shares():
    direct, drawn, stated = first_token(Knows(), ASKED), sampled(Knows(), ASKED, 2000), verbalised(Knows(), ASKED)
    for i, human in enumerate(SHARES.values()):
        assert direct[i].shares == pytest.approx(np.array(human))
        assert direct[i].read == pytest.approx(0.5)
        assert stated[i].shares == pytest.approx(np.array(human))
        assert drawn[i].shares == pytest.approx(np.array(human), abs=0.05)
        assert drawn[i].read == 1


def test_draws_have_seeds_of_their_own_and_come_again():
    first, again, other = (sampled(Knows(), ASKED, 40, seed) for seed in (1, 1, 2))
    assert [one.shares.tolist() for one in first] == [one.shares.tolist() for one in again]
    assert [one.shares.tolist() for one in first] != [one.shares.tolist() for one in other]


@pytest.mark.parametrize("text", ["", "A: 20\nB: 80", "A: 20\nA: 30\nB: 50\nC: 0", "A: 20\nB: 20\nC: 20", "A 1 B 2 C"])
def test_what_states_no_distribution_is_unreadable(text):
    assert read_stated(text, "ABC") == (None, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "A: 20\nB: 30\nC: 50",
        "**A**: 20%\n- B) 30 %\n(C) 50",
        "C: 0.5\nA: 0.2\nB: 0.3",
        "Sure!\nA = 20\nB = 30\nC = 50\n",
    ],
)
def test_stated_numbers_are_read_leniently_in_form(text):
    assert read_stated(text, "ABC").shares == pytest.approx(np.array([0.2, 0.3, 0.5]))


def test_words_are_no_letters():
    assert count_letters(["Always", "Because", "D"], "ABC") == (None, 0.0)


def test_a_question_without_options_is_refused():
    with pytest.raises(TuneError, match="without options"):
        first_token(Knows(), [Asked("How warm?", "", "")])
