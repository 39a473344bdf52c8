"""Texts made to be expensive: the work of reading grows with their length and no faster."""

import math
import time

import pytest

from popsim.survey import FAILURES, NumberQuestion, TextQuestion, read_reply

ASKED = (
    NumberQuestion(kind="number", name="rate", key="Rate_1", text="?", minimum=-2, maximum=10, decimals=2, unit="%"),
    TextQuestion(kind="text", name="text", text="?"),
)
JUNK = (
    *("{", "{a", "{'", '{"', "“{", "{/*", "{//", '{"":', '{"a":[', '{"a":1,', "{a:1}", "{a:{b:1}}", "{a:", '{"a" " '),
    *("<recall>", "<   ", "<", "\\", '"', "[", "{\n", '{"Rate_1":4,"Rate_1":', '"\\u', '{"a": "\\', "</think>"),
)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("before", ["", '<final_answer>{"Rate_1": ', '{"Rate_1": "'])
def test_time_grows_with_the_length_of_junk(junk, before):
    """Eight times the text may take about eight times the time; quadratic work would take 64 times."""

    def seconds(length):
        text, best = before + junk * (length // len(junk)), math.inf
        for _ in range(2):
            start = time.process_time()
            assert read_reply(text, ASKED).status in FAILURES
            best = min(best, time.process_time() - start)
        return best

    assert seconds(80_000) < 32 * max(seconds(10_000), 0.001)


@pytest.mark.parametrize("nest", ["{", '{"Rate_1":', "[", '{"Rate_1":['])
def test_deep_nesting_is_no_error(nest):
    text = f'{{"Rate_1": {nest * 100_000}'
    assert read_reply(text, ASKED).status == "unreadable"
    closed = f'{{"Rate_1": {"[" * 100_000}{"]" * 100_000}, "text": "x"}}'
    assert read_reply(closed, ASKED).status in FAILURES


@pytest.mark.slow
@pytest.mark.parametrize("junk", ["{", "{/*", "{'"])
def test_ten_megabytes_are_read_to_the_end(junk):
    assert read_reply(junk * (10_000_000 // len(junk)), ASKED).status == "unreadable"
