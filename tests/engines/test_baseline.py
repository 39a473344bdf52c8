"""The fitted respondent against the published figures, and what its answers may and may not depend on."""

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popsim.engines import Prompt, answer_all, load_engine
from popsim.engines.baseline import Baseline, uncalibrated
from popsim.engines.baseline.scores import LEVEL_SHARES, LEVELS
from popsim.errors import EngineError
from popsim.survey.questionnaire import load_questionnaire, set_arm

ALL = frozenset({"personal", "priors", "confidence", "social"})
# Michigan Surveys of Consumers, 2019Q1, without those who do not know.
PRICES = {"up": 84.7, "same": 12.3, "down": 2.7}
JOBS = {"more": 28.7, "same": 48.3, "less": 22.3}
OIL = load_questionnaire("oil_price")
REFERENCE = OIL.vignettes[0].reference
KEYS = {"inflation": "Inflation_rate_Scenario_{}", "unemployment": "Unemployment_rate_Scenario_{}"}


def oil(arm: str) -> tuple[dict, ...]:
    return tuple(vignette.model_dump() for vignette in set_arm(OIL, arm).vignettes)


SHOWN = {arm: oil(arm) for arm in ("fall", "rise")}


def crowd(n: int, seed: int) -> list[dict]:
    draw = np.random.default_rng(seed).choice
    priors = {"prices_prior": PRICES, "unemployment_prior": JOBS}
    columns = {
        "confidence": draw(LEVELS, n, p=LEVEL_SHARES),
        "sex": draw(["female", "male"], n, p=[0.51, 0.49]),
        "income_level": draw(["low", "middle", "high"], n),
    } | {name: draw(list(s), n, p=np.array(list(s.values())) / sum(s.values())) for name, s in priors.items()}
    return [dict(zip(columns, map(str, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def ask(vignettes: tuple, people: Sequence[dict], seed: int = 0, **facts: object) -> list[Prompt]:
    seeds = np.random.default_rng(seed).integers(0, 2**63 - 1, len(people)).tolist()
    shared = {"persona": "", "modules": ALL, "language": "en", "reasoning": False, "heard": (), "arm": "fall"}
    return [
        Prompt((), seed=s, facts={**shared, "vignettes": vignettes, **facts, "person": person})
        for s, person in zip(seeds, people, strict=True)
    ]


def answers(prompts: Sequence[Prompt]) -> list[dict]:
    return [json.loads(reply.text) for reply in answer_all(Baseline(), prompts)]


def levels(rows: list[dict], name: str, scenario: int) -> np.ndarray:
    return np.array([round(100 * float(row[KEYS[name].format(scenario)].removesuffix("%"))) for row in rows]) / 100


def changes(rows: list[dict], name: str) -> np.ndarray:
    return np.round(levels(rows, name, 2) - levels(rows, name, 1), 2)


def oil_changes(people: Sequence[dict], arm: str, seed: int = 0, **facts: object) -> dict[str, np.ndarray]:
    rows = answers(ask(SHOWN[arm], people, seed, arm=arm, **facts))
    return {name: changes(rows, name) for name in KEYS}


def trimmed_sd(values: np.ndarray) -> float:
    cut = int(0.05 * len(values))
    return float(np.sort(values)[cut : len(values) - cut].std(ddof=1))


def z_scores(seed: int, n: int, **facts: object) -> dict[tuple, float]:
    by_arm = {arm: oil_changes(crowd(n, 2 * seed + i), arm, seed, **facts) for i, arm in enumerate(("fall", "rise"))}
    z = {}
    for name, change in REFERENCE.changes.items():
        for arm, human in change.arms.items():
            values = by_arm[arm][name]
            z[name, arm, "mean"] = (values.mean() - human.mean) / np.hypot(human.se, values.std() / np.sqrt(n))
            resample = np.random.default_rng(0).integers(0, n, (40, n))
            se = np.std([trimmed_sd(values[rows]) for rows in resample])
            human_se = se * np.sqrt(n / (REFERENCE.n / 2))
            z[name, arm, "trimmed SD"] = (trimmed_sd(values) - human.trimmed_sd) / np.hypot(human_se, se)
        pooled = np.sign(np.concatenate([-by_arm["fall"][name], by_arm["rise"][name]]))
        for sign, (way, share) in zip((-1, 0, 1), change.directions.model_dump().items(), strict=True):
            z[name, way] = share_z(np.mean(pooled == sign), share / 100, 2 * n)
    first, second = (np.sign(np.concatenate([-by_arm["fall"][k], by_arm["rise"][k]])) for k in REFERENCE.joint.of)
    corners = {"both_fall": (-1, -1), "fall_rise": (-1, 1), "rise_fall": (1, -1), "both_rise": (1, 1)}
    for cell, (a, b) in corners.items():
        share = getattr(REFERENCE.joint, cell) / 100
        z["joint", cell] = share_z(np.mean((first == a) & (second == b)), share, 2 * n)
    z["joint", "other"] = share_z(np.mean((first == 0) | (second == 0)), REFERENCE.joint.other / 100, 2 * n)
    return z


def share_z(simulated: float, human: float, n: int) -> float:
    return (simulated - human) / np.sqrt(human * (1 - human) / REFERENCE.n + simulated * (1 - simulated) / n)


def test_every_published_figure_is_met_over_many_seeds():
    runs = [z_scores(seed, 5000) for seed in range(5)]
    assert len(runs[0]) == 19
    for figure in runs[0]:
        z = [run[figure] for run in runs]
        assert max(map(abs, z)) < 3.5, figure
        assert abs(np.mean(z)) < 1, figure


@pytest.mark.parametrize(
    "modules",
    [frozenset(), frozenset({"priors"}), frozenset({"confidence", "personal"})],
    ids=lambda modules: "+".join(sorted(modules)) or "none",
)
def test_figures_are_met_with_modules_off(modules):
    assert max(abs(z) for z in z_scores(11, 4000, modules=modules).values()) < 3.5


def test_tails_are_as_heavy_as_the_standard_errors_say():
    people = crowd(20_000, 3)
    for arm in ("fall", "rise"):
        for name, values in oil_changes(people, arm).items():
            published = REFERENCE.changes[name].arms[arm].se * np.sqrt(REFERENCE.n / 2)
            assert values.std() == pytest.approx(published, rel=0.06)


def test_answers_heap_and_the_unsure_round_more():
    def on_halves(level: str) -> float:
        people = [{"confidence": level}] * 4000
        values = oil_changes(people, "rise")["inflation"]
        moved = values[values != 0]
        assert np.mean(values == 0) == pytest.approx(0.09, abs=0.02)
        return float(np.mean(np.round(100 * moved) % 50 == 0))

    shares = [on_halves(level) for level in LEVELS]
    assert shares[0] > 0.5
    assert all(unsure > sure for unsure, sure in itertools.pairwise(shares))


@pytest.mark.parametrize(
    ("name", "column", "low", "high"),
    [("inflation", "prices_prior", "down", "up"), ("unemployment", "unemployment_prior", "less", "more")],
)
def test_priors_move_the_answers_and_move_the_confident_most(name, column, low, high):
    def gap(level: str) -> float:
        ends = [[{"confidence": level, column: word}] * 1500 for word in (low, high)]
        down, up = (oil_changes(people, "rise")[name].mean() for people in ends)
        return up - down

    gaps = [gap(level) for level in LEVELS]
    assert min(gaps) > 0.15
    assert gaps[-1] > gaps[0] + 0.3


def test_a_module_that_is_off_has_no_say():
    people = crowd(200, 5)
    others = [{**person, "prices_prior": "down", "unemployment_prior": "less"} for person in people]
    without = ALL - {"priors"}
    shown = SHOWN["fall"]
    assert answers(ask(shown, people, modules=without)) == answers(ask(shown, others, modules=without))
    assert answers(ask(shown, people)) != answers(ask(shown, others))


def heard(variable: str, value: float, unit: str = "%") -> tuple[dict, ...]:
    signal = {"variable": variable, "value": value, "sd": 0.5, "unit": unit}
    return ({"text": "Prices.", "source": "a neighbour", "step": 0, "signal": signal},)


def test_the_weight_on_a_signal_falls_with_confidence():
    def weight(level: str, **facts: object) -> float:
        people = [{"confidence": level}] * 1500
        without, with_it = (answers(ask(SHOWN["fall"], people, **some)) for some in ({}, facts))
        own, moved = (levels(rows, "inflation", 1) for rows in (without, with_it))
        return float((moved - own).mean() / (4.0 - own).mean())

    weights = [weight(level, heard=heard("inflation", 4.0)) for level in LEVELS]
    assert all(unsure > sure for unsure, sure in itertools.pairwise(weights))
    assert 0.1 < weights[-1] < weights[0] < 0.5
    assert weight("weak", heard=heard("inflation", 4.0, unit="pp")) == 0
    assert weight("weak", heard=heard("wages", 4.0)) == 0
    assert weight("weak", heard=heard("inflation", 4.0), modules=ALL - {"social"}) == 0


def test_a_signal_moves_the_answers_its_way():
    people = crowd(3000, 8)
    quiet = oil_changes(people, "rise")
    for value, sign in ((6.0, 1), (-2.0, -1)):
        told = oil_changes(people, "rise", heard=heard("inflation", value))
        assert sign * (told["inflation"].mean() - quiet["inflation"].mean()) > 0.02
        assert (told["unemployment"] == quiet["unemployment"]).mean() > 0.9


def test_shuffling_or_splitting_a_batch_changes_no_reply():
    people = crowd(300, 1)
    prompts = ask(SHOWN["fall"], people, reasoning=True) + ask(SHOWN["rise"], people, 2, arm="rise", language="zh")
    prompts += ask(SHOWN["fall"], people, 3, heard=heard("inflation", 4.0)) + ask(ALL_KINDS, people, 4)
    engine = Baseline()
    whole = answer_all(engine, prompts)
    order = np.random.default_rng(0).permutation(len(prompts))
    shuffled = answer_all(engine, [prompts[i] for i in order])
    assert [whole[i] for i in order] == shuffled
    assert [answer_all(Baseline(), [prompt])[0] for prompt in prompts[::50]] == whole[::50]


class Counted(Sequence):
    """Prompts that count how often each is rendered and how many are alive."""

    def __init__(self, n: int) -> None:
        self.taken = np.zeros(n, dtype=int)

    def __len__(self) -> int:
        return len(self.taken)

    def __getitem__(self, i: int) -> Prompt:
        self.taken[i] += 1
        return ask(SHOWN["fall"], [{}], seed=i)[0]


def test_each_prompt_is_taken_once_and_in_chunks():
    prompts = Counted(9000)
    replies = Baseline().answer(prompts)
    first, _ = next(replies)
    assert first == 0
    assert 0 < prompts.taken.sum() < 5000
    assert sorted(position for position, _ in replies) == list(range(1, 9000))
    assert (prompts.taken == 1).all()


def number(name: str, low: float, high: float, decimals: int, **more: object) -> dict:
    base = {"kind": "number", "name": name, "key": "", "minimum": low, "maximum": high, "decimals": decimals}
    return base | {"unit": "%", "anchor": None, "reference": None, "dont_know": "no idea", "refusal": None} | more


def vignette(*questions: dict, reference: dict | None = None) -> tuple[dict, ...]:
    return ({"name": "v", "parameters": {}, "pages": ({"questions": questions},), "reference": reference},)


def changed(mean: float, sd: float, trimmed: float, fall: float = 30, rise: float = 50) -> dict:
    moments = {"mean": mean, "se": sd / 20, "trimmed_sd": trimmed}
    directions = {"fall": fall, "same": 100 - fall - rise, "rise": rise}
    change = {"shock": "after", "baseline": "before", "arms": {"fall": moments}, "directions": directions}
    return {"source": "x", "n": 400, "trim": 0.05, "reversed": (), "changes": {"level": change}, "joint": None}


@settings(max_examples=10, deadline=None)
@given(
    low=st.floats(-1000, 1000).map(lambda x: round(x, 2)),
    width=st.floats(2, 50_000),
    decimals=st.integers(0, 3),
    place=st.none() | st.floats(0, 1),
    unit=st.sampled_from(["", "%", " yuan"]),
)
def test_no_answer_lies_outside_its_range(low, width, decimals, place, unit):
    high = low + max(width, 20 * 10.0**-decimals)
    anchor = None if place is None else round(low + place * (high - low), decimals)
    anchor = None if anchor is None or not low <= anchor <= high else anchor
    questions = [number(name, low, high, decimals, anchor=anchor, unit=unit) for name in ("before", "after", "alone")]
    reference = changed(0.02 * (high - low), 0.12 * (high - low), 0.07 * (high - low))
    signal = heard("level", high, unit or "%")
    for row in answers(ask(vignette(*questions, reference=reference), crowd(200, 0), heard=signal)):
        for name in ("before", "after", "alone"):
            value = row[name]
            if unit:
                assert value.endswith(unit)
                assert len(value.removesuffix(unit).partition(".")[2]) == decimals
                value = float(value.removesuffix(unit))
            assert low <= value <= high
            assert round(value, decimals) == value


@settings(max_examples=8, deadline=None)
@given(st.floats(-0.05, 0.05), st.floats(1.3, 1.8), st.integers(1, 3))
def test_other_changes_are_met_through_the_engine_too(mean, ratio, decimals):
    reference = changed(5 * mean, 0.6 * ratio, 0.6)
    questions = [number(name, 0, 12, decimals, anchor=5) for name in ("before", "after")]
    rows = answers(ask(vignette(*questions, reference=reference), [{}] * 4000))
    values = np.array([float(row["after"][:-1]) - float(row["before"][:-1]) for row in rows])
    assert values.mean() == pytest.approx(5 * mean, abs=4.5 * 0.6 * ratio / np.sqrt(4000))
    assert trimmed_sd(values) == pytest.approx(0.6, rel=0.12)


def referenced(**reference: object) -> dict:
    return {"source": "x", "mean": None, "sd": None, "shares": {}} | reference


def options(kind: str, name: str, **more: object) -> dict:
    return {"kind": kind, "name": name, "key": "", "options": ("a", "b", "c", "d"), "reference": None} | more


def test_references_of_single_questions_are_met():
    questions = [
        number("spent", 0, 10_000, 0, unit="", reference=referenced(mean=3000, sd=2500)),
        {"kind": "scale", "name": "mood", "key": "", "minimum": 1, "maximum": 7, "labels": {}}
        | {"reference": referenced(mean=5.2, sd=1.4)},
        {"kind": "scale", "name": "trust", "key": "", "minimum": 1, "maximum": 3, "labels": {3: "a lot"}}
        | {"reference": referenced(shares={"1": 2, "a lot": 6})},
        options("choice", "party", reference=referenced(shares={"a": 30, "c": 45, "d": 26})),
        options("multiple", "why", at_least=1, at_most=2, reference=referenced(shares={"a": 55, "b": 48, "c": 40})),
    ]
    shown = vignette(*questions)
    assert uncalibrated(shown) == ()
    rows = answers(ask(shown, crowd(20_000, 4)))
    spent, mood = (np.array([row[name] for row in rows]) for name in ("spent", "mood"))
    assert spent.mean() == pytest.approx(3000, abs=80)
    assert spent.std() == pytest.approx(2500, rel=0.03)
    assert np.mean(spent % 500 == 0) > 0.3
    assert mood.mean() == pytest.approx(5.2, abs=0.04)
    assert mood.std() == pytest.approx(1.4, rel=0.03)
    assert np.mean([row["trust"] == 3 for row in rows]) == pytest.approx(0.75, abs=0.015)
    for option, share in {"a": 30 / 101, "b": 0, "c": 45 / 101, "d": 26 / 101}.items():
        assert np.mean([row["party"] == option for row in rows]) == pytest.approx(share, abs=0.015)
    for option, share in {"a": 0.55, "b": 0.48, "c": 0.40, "d": 0}.items():
        assert np.mean([option in row["why"] for row in rows]) == pytest.approx(share, abs=0.015)
    assert {len(row["why"]) for row in rows} == {1, 2}


BINS = tuple({"label": label, "low": None, "high": None} for label in ("less", "0 to 2", "2 to 4", "more"))
ALL_KINDS = vignette(
    options("choice", "one"),
    options("multiple", "some", at_least=1, at_most=3),
    {"kind": "scale", "name": "mood", "key": "", "minimum": 1, "maximum": 5, "labels": {}, "reference": None},
    {"kind": "density", "name": "odds", "key": "", "bins": BINS, "reference": None},
)


def test_default_draws_are_legal_and_use_the_whole_question():
    assert uncalibrated(ALL_KINDS) == ("one", "some", "mood", "odds")
    rows = answers(ask(ALL_KINDS, crowd(4000, 2)))
    for option in "abcd":
        assert np.mean([row["one"] == option for row in rows]) == pytest.approx(0.25, abs=0.03)
        assert np.mean([option in row["some"] for row in rows]) == pytest.approx(0.5, abs=0.03)
    assert {len(row["some"]) for row in rows} == {1, 2, 3}
    assert {row["mood"] for row in rows} == {1, 2, 3, 4, 5}
    assert {sum(row["odds"].values()) for row in rows} == {100}
    assert all(isinstance(p, int) and p >= 0 for row in rows for p in row["odds"].values())


def test_uncalibrated_names_what_no_published_moment_covers():
    assert uncalibrated(SHOWN["fall"]) == ("unemployment_1", "inflation_1", "considerations")
    assert "inflation_2" in uncalibrated(SHOWN["fall"], "another arm")
    answered = answers(ask(SHOWN["fall"], crowd(20, 0), arm="another arm"))
    assert len(answered) == 20


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        (vignette(number("x", 0, 10, 1, reference=referenced(mean=12, sd=1))), "mean 120"),
        (vignette(number("x", 0, 10, 1, reference=referenced(mean=5, sd=6))), "SD 60"),
        (vignette(number("x", 0.1, 0.4, 0)), "no number with 0 decimals"),
        (vignette(options("choice", "x", reference=referenced(shares={"a": 0}))), "all zero"),
        (
            vignette(
                options("multiple", "x", at_least=0, at_most=1, reference=referenced(shares={"a": 0.9, "b": 0.8}))
            ),
            "no distribution",
        ),
        (
            vignette(*(number(name, 0, 10, 1) for name in ("before", "after")), reference=changed(-3, 1, 0.6, 10, 80)),
            "cannot be met together",
        ),
        (vignette(number("before", 0, 10, 1), options("choice", "after"), reference=changed(0, 1, 0.6)), "two numbers"),
    ],
)
def test_impossible_references_end_in_one_line_that_says_where(shown, problem):
    with pytest.raises(EngineError, match=problem) as caught:
        answers(ask(shown, [{}]))
    assert "vignette v" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("column", "word"), [("confidence", "medium"), ("prices_prior", "sideways")])
def test_an_unknown_word_of_a_person_is_refused(column, word):
    with pytest.raises(EngineError, match=f"{column} '{word}' of a person is unknown; allowed: "):
        answers(ask(SHOWN["fall"], [{column: word}]))


def test_it_is_made_by_name_and_says_what_it_is_worth():
    engine = load_engine("baseline")
    assert (engine.reads, engine.reproducible) == ("facts", "exact")
    assert "never evidence" in engine.notice
