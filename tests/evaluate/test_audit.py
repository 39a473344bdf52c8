"""The dispersion audit: silent where answers spread as people's do, loud at half their spread, right about causes."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from popsim.evaluate import Sample, load_targets
from popsim.evaluate.audit import audit, entropy, judge, spread_of, variance_parts
from popsim.evaluate.causes import Settings, spread_warnings
from popsim.evaluate.resampling import cell_of
from popsim.evaluate.rows import HumanRows, OutcomeColumns
from popsim.evaluate.targets import TargetFile
from popsim.survey import load_questionnaire

N = 500


def people_like(random, n):
    """Changes as households give them: a spike at zero, round numbers, long tails."""
    change = random.standard_t(3, n) * 0.6 - 0.3
    return np.clip(np.where(random.random(n) < 0.12, 0.0, np.round(change * 4) / 4), -6, 6)


def sample(change, *, draws=1, label="model"):
    """A run of the oil vignette in which inflation moves by ``change``, (persons * draws,)."""
    n = len(change)
    person = np.repeat(np.arange(n // draws), draws)
    common = {"unit": person, "person": person, "group": "households", "arm": "fall", "vignette": "oil", "weight": 1.0}
    common["draw"] = np.tile(np.arange(draws), n // draws)
    parts = [
        pd.DataFrame({**common, "question": name, "value": value, "label": "", "wave": 0})
        for name, value in (("inflation_1", np.zeros(n)), ("inflation_2", change))
    ]
    vignette = load_questionnaire("oil_price").of_group("households").vignettes[0]
    answers = pd.concat(parts, ignore_index=True)
    return Sample(label, False, answers, {("households", "oil"): vignette}, np.zeros(n // draws, dtype=np.int64))


@pytest.fixture
def people(tmp_path):
    """A file of targets with 1,000 human answers."""
    values = people_like(np.random.default_rng(5), 1000)
    path = tmp_path / "people.csv"
    pd.DataFrame({"arm": "fall", "before": 0.0, "after": values.clip(-2, 8)}).to_csv(path, index=False)
    rows = HumanRows(
        file=str(path),
        group="households",
        vignette="oil",
        arm="arm",
        outcomes={"inflation": OutcomeColumns(shock="after", baseline="before")},
        population="adults",
        published=date(2024, 1, 1),
        source="made up",
    )
    return TargetFile(name="mine", title="Mine", rows=rows), pd.read_csv(path)["after"].to_numpy()


def flagged(change, file):
    return bool(spread_warnings(audit(sample(change), [file], draws=60)))


@pytest.mark.slow
@pytest.mark.parametrize(("shrink", "least", "most"), [(1.0, 0, 4), (0.5, 190, 200)], ids=["people", "half"])
def test_silent_on_people_and_loud_at_half_their_sd(people, shrink, least, most):
    file, answers = people
    random = np.random.default_rng(11)
    middle = answers.mean()
    found = sum(flagged(middle + shrink * (random.choice(answers, N) - middle), file) for _ in range(200))
    assert least <= found <= most


def test_published_spread_is_enough_to_flag():
    random = np.random.default_rng(2)
    found = audit(sample(random.normal(-0.3, 0.3, N)), [load_targets("aprw_households")])
    row = found.ratios[found.ratios["measure"].eq("trimmed SD")].iloc[0]
    assert (row["human"], row["human_from"], row["flag"]) == (0.71, "published", "too little")
    assert row["low"] < row["ratio"] < row["high"] < 0.5
    sd = found.ratios[found.ratios["measure"].eq("SD")].iloc[0]
    assert sd["human"] == pytest.approx(0.050 * 549**0.5)


def test_without_a_human_figure_nothing_is_judged_but_one_answer_for_all_is_told():
    random = np.random.default_rng(3)
    spread = audit(sample(random.normal(size=N)))
    assert set(spread.ratios["human_from"]) == {"no human figure"}
    assert spread_warnings(spread) == []
    same = spread_warnings(audit(sample(np.where(np.arange(N) < 450, -0.5, random.normal(size=N)))), Settings(0.0))
    assert len(same) == 1
    assert "90% gave the same answer" in same[0]
    assert "temperature 0" in same[0]


@pytest.mark.parametrize(
    ("between", "within", "settings", "said"),
    [
        (0.02, 0.3, Settings(), "persons hardly differ"),
        (0.3, 0.02, Settings(), "each person answers alike every time"),
        (0.02, 0.3, Settings(temperature=0.1), "temperature 0.1"),
        (0.02, 0.3, Settings(modules_off=("priors",)), "leaves out priors"),
    ],
    ids=["no-persons", "no-chance", "cold", "ablated"],
)
def test_warning_names_the_likely_cause(between, within, settings, said):
    random = np.random.default_rng(4)
    change = np.repeat(random.normal(0, between, 200), 3) + random.normal(0, within, 600)
    (warning,) = spread_warnings(audit(sample(change, draws=3), [load_targets("aprw_households")]), settings)
    assert said in warning
    assert "Try" in warning or "Switch" in warning


def test_variance_is_split_as_it_was_made():
    random = np.random.default_rng(6)
    values = np.repeat(random.normal(0, 2.0, 4000), 4) + random.normal(0, 1.0, 16000)
    between, within = variance_parts(values, np.repeat(np.arange(4000), 4))
    assert between == pytest.approx(4.0, rel=0.06)
    assert within == pytest.approx(1.0, rel=0.04)


def test_persons_drawn_again_widen_the_interval_when_each_answers_often():
    random = np.random.default_rng(7)
    once = random.normal(0, 1, 100)
    few = audit(sample(np.repeat(once, 5), draws=5), [load_targets("aprw_households")]).ratios
    many = audit(sample(random.normal(0, 1, 500)), [load_targets("aprw_households")]).ratios
    width = [np.log(one.loc[0, "high"] / one.loc[0, "low"]) for one in (few, many)]
    assert width[0] > 1.4 * width[1]


def test_entropy_counts_weights_as_answers():
    assert entropy(np.array([0.0, 1.0]), np.array([3.0, 1.0])) == pytest.approx(
        entropy(np.array([0.0, 0.0, 0.0, 1.0]), np.ones(4))
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["change", "choice"])
def test_few_who_answer_among_many_are_missing_from_some_resamples(kind):
    cell = cell_of(np.array([0.0, 1.0]), np.array([0, 1]), np.ones(2), 2)
    found = spread_of(cell, kind, cell, np.zeros(9, dtype=np.int64), draws=60)
    assert 0 < found["entropy"][1] < found["entropy"][0]


@pytest.mark.parametrize(
    ("ratio", "error", "flag"),
    [(0.0, np.nan, "too little"), (0.85, 0.01, "too little"), (1.3, 0.01, "too much"), (0.92, 0.001, "")],
    ids=["no-spread", "little", "much", "near-enough"],
)
def test_a_ratio_must_matter_and_be_sure(ratio, error, flag):
    assert judge(ratio, error) == flag
