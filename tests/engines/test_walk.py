import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from spellers import Markov

from popsim.engines import Prompt, Spelling
from popsim.engines.walk import Grid, walk
from popsim.errors import EngineError
from popsim.survey import NumberQuestion, spellings

LETTERS = '0124.-%"x'
VOCABULARIES = st.lists(st.text(LETTERS, max_size=3), min_size=3, max_size=14)
PEOPLE = [Prompt((("user", name),), prefill='{"rate": "') for name in ("ann", "bob", "cy")]


@st.composite
def grids(draw):
    low = draw(st.integers(-3, 12))
    decimals = draw(st.integers(0, 1))
    high = low + draw(st.integers(1, 12))
    unit = draw(st.sampled_from(["", "%", " %"]))
    scale = 10**decimals
    question = NumberQuestion(
        kind="number", name="n", text="?", minimum=low / scale, maximum=high / scale, decimals=decimals, unit=unit
    )
    return [Spelling(*one) for one in spellings(question)]


def enumerate_paths(model, prompt, spelled, floor=0.0):
    """Go through every path of tokens by itself, judging whole strings."""
    found = np.zeros(len(spelled))

    def visit(text, path, mass):
        for token, piece in enumerate(model.vocabulary):
            written, p = text + piece, mass * model.next(prompt, path)[token]
            if not piece:
                continue
            for index, (value, close, _) in enumerate(spelled):
                rest = written.removeprefix(value) if written.startswith(value) else ""
                if rest and (close.startswith(rest) or rest.startswith(close)):
                    found[index] += p
                    break
            else:
                if p >= floor and p > 0 and any(value.startswith(written) for value, _, _ in spelled):
                    visit(written, (*path, token), p)

    visit("", (), 1.0)
    return found


@settings(max_examples=60, deadline=None)
@given(VOCABULARIES, grids(), st.integers(0, 10**6), st.sampled_from([0.0, 0.01, 0.2]))
def test_the_walk_equals_the_enumeration_of_all_token_paths(vocabulary, spelled, seed, floor):
    model = Markov([*vocabulary, *"012", '"', "%", '%"'], seed)
    found = walk(model, PEOPLE, Grid(spelled, model.spelling()), floor)
    for row, person in enumerate(PEOPLE):
        expected = enumerate_paths(model, person, spelled, floor)
        assert found.probabilities[row] == pytest.approx(expected, abs=1e-12)
        assert found.left_out[row] == pytest.approx(1 - expected.sum(), abs=1e-9)
    assert (found.probabilities >= 0).all()


def test_nothing_is_lost_when_nothing_is_pruned():
    """Every token that cannot go on lies outside the grid; with those added by hand the masses sum to one."""
    model = Markov(["1", "10", "0", '"', ""], seed=3)
    spelled = [Spelling("1", '"', 1.0), Spelling("10", '"', 10.0)]
    found = walk(model, PEOPLE[:1], Grid(spelled, model.spelling()))
    start, after = model.first(PEOPLE[0]), model.after
    one, ten = start[0], start[1]
    ten_in_two = one * after[0, 2]
    outside = start[2:].sum() + one * after[0, [0, 1, 4]].sum() + ten * after[1, [0, 1, 2, 4]].sum()
    outside += ten_in_two * after[2, [0, 1, 2, 4]].sum()
    assert found.probabilities[0] == pytest.approx([one * after[0, 3], ten * after[1, 3] + ten_in_two * after[2, 3]])
    assert found.left_out[0] == pytest.approx(outside, abs=1e-9)
    assert found.read[0] == 4


@pytest.mark.parametrize("at_once", [1, 3, 10**6])
def test_another_batch_gives_the_same_to_the_bit(at_once, monkeypatch):
    rate = NumberQuestion(kind="number", name="r", text="?", minimum=0, maximum=2, decimals=2, unit="%")
    spelled = [Spelling(*one) for one in spellings(rate)]
    model = Markov([*"0123456789", ".", '"', "%", '%"', "10", "0.", "1.5", "00"], seed=1, concentration=0.5)
    grid = Grid(spelled, model.spelling())
    whole = walk(model, PEOPLE, grid)
    monkeypatch.setattr("popsim.engines.walk._AT_ONCE", at_once)
    for row, person in enumerate(PEOPLE):
        alone = walk(model, [person], grid)
        assert (alone.probabilities[0] == whole.probabilities[row]).all()
        assert alone.left_out[0] == whole.left_out[row]


def test_every_level_is_one_call_for_all_respondents():
    model = Markov([*"0123456789", '"'], seed=1)
    age = NumberQuestion(kind="number", name="a", text="?", minimum=10, maximum=99)
    walk(model, PEOPLE, Grid([Spelling(*one) for one in spellings(age)], model.spelling()))
    assert model.calls == [3, 27, 270]


def test_sampled_texts_agree_with_the_walk():
    model = Markov([*"0124", ".", '"', "%", '%"', "10", ".5"], seed=5, concentration=2.0)
    rate = NumberQuestion(kind="number", name="r", text="?", minimum=0, maximum=12, decimals=1, unit="%")
    spelled = [Spelling(*one) for one in spellings(rate)]
    found = walk(model, PEOPLE[:1], Grid(spelled, model.spelling()))
    texts = model.sample(PEOPLE[0], 10_000, 6, np.random.default_rng(0))
    counts = np.zeros(len(spelled) + 1)
    begins = {value + close[0]: index for index, (value, close, _) in enumerate(spelled)}
    for text in texts:
        counts[next((begins[text[:end]] for end in range(2, 7) if text[:end] in begins), -1)] += 1
    expected = np.append(found.probabilities[0], found.left_out[0]) * len(texts)
    few = expected < 5
    seen = [*counts[~few], counts[few].sum()]
    wanted = [*expected[~few], expected[few].sum()]
    assert chisquare(seen, wanted).pvalue > 0.001


def test_answers_that_begin_alike_are_refused():
    with pytest.raises(EngineError, match="could be the beginning of another answer"):
        Grid([Spelling("1", "0 dollars", 1.0), Spelling("10", '"', 10.0)], [])
    with pytest.raises(EngineError, match="could be the beginning"):
        Grid([Spelling("yes", "", 1.0)], [])


def test_a_vocabulary_that_cannot_spell_a_value_leaves_it_out():
    model = Markov(["1", '"', "x"], seed=2)
    found = walk(model, PEOPLE, Grid([Spelling("2", '"', 2.0), Spelling("12", '"', 12.0)], model.spelling()))
    assert found.probabilities.sum() == 0
    assert (found.left_out == 1).all()
