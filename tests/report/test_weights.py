"""Figures of the page where people have weights: those of the printed summary, with intervals of weighted means."""

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import yaml
from engines_for_tests import MadeUp
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from spellers import Clerk
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

import popsim
from popsim.engines import Reply
from popsim.report.figures import figures
from popsim.report.parts import parts
from popsim.report.summaries import bin_shares, mean_interval, means, person_share, revisions, share_interval
from popsim.report.surface import cells
from popsim.scenario import load_scenario
from popsim.study.pages import gather
from popsim.study.tables import summary

WEIGHTS = [0.2, 0.5, 1.0, 1.0, 2.0, 4.0, 0.3, 0.7, 6.0, 3.0, 0.1, 1.2]
COLOURS = ["red", "green", "blue"]
RATE = {"kind": "number", "text": "Rate?", "minimum": 0, "maximum": 20, "decimals": 1}
QUESTIONS = [
    {"name": "before", **RATE},
    {"name": "after", **RATE},
    {"name": "pick", "kind": "choice", "text": "Pick?", "options": COLOURS, "dont_know": "Don't know"},
    {"name": "many", "kind": "multiple", "text": "Which?", "options": COLOURS},
    {"name": "odds", "kind": "density", "text": "?", "bins": [{"label": "low", "high": 0}, {"label": "up", "low": 0}]},
]
PUBLISHED = {"mean": 1.0, "se": 0.1, "trimmed_sd": 1.0}
REFERENCE = {
    "source": "Nobody (2020)",
    "n": 10,
    "changes": {
        "shift": {
            "shock": "after",
            "baseline": "before",
            "arms": {"one": PUBLISHED, "other": PUBLISHED},
            "directions": {"fall": 20, "same": 10, "rise": 70},
        }
    },
}


class Varied(MadeUp):
    """Answers by seed, now and then that it does not know."""

    fingerprint = "varied/1"

    def answer(self, prompts):
        for position, prompt in enumerate(prompts):
            seed = prompt.seed // 7
            said = {
                "before": seed % 97 / 10,
                "after": seed % 101 / 10 + 3,
                "pick": [*COLOURS, "Don't know"][seed % 4],
                "many": COLOURS[seed % 3 :],
                "odds": {"low": seed % 100, "up": 100 - seed % 100},
            }
            yield position, Reply(json.dumps(said), "stop", 100, 20)


def town(folder):
    """Write a population whose people stand in a table with their weights."""
    table = pd.DataFrame({"sex": np.where(np.arange(len(WEIGHTS)) % 2, "male", "female"), "w": WEIGHTS})
    table.to_csv(folder / "people.csv", index=False)
    source = {"file": "people.csv", "weight": "w"}
    spec = {"name": "town", "title": "A town", "from_table": source, "persona": {"en": "{{sex}}"}}
    (folder / "town.yaml").write_text(yaml.safe_dump(spec))
    return str(folder / "town.yaml")


def study(folder, **more):
    vignette = {"name": "v", "pages": [{"text": "Now.", "questions": QUESTIONS}], "reference": REFERENCE}
    vignette["derived"] = {"more": "after - before"}
    asked = {"name": "q", "topic": "rates", "task": "Answer.", "source": "A test.", "vignettes": [vignette]}
    (folder / "q.yaml").write_text(yaml.safe_dump(asked))
    scenario = {
        "name": "weighted",
        "title": "Weighted",
        "population": town(folder),
        "size": len(WEIGHTS),
        "seed": 5,
        "questionnaire": "q.yaml",
        "arms": {"one": {}, "other": {}},
        "waves": [0, 2],
        "prompt": {"reasoning": False},
        **more,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(scenario))
    return folder / "study.yaml"


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weighted")
    return popsim.run(popsim.load_scenario(study(folder)), folder / "run", engine=Varied())


@pytest.fixture(scope="module")
def printed(weighted):
    """The table that `popsim run` prints, with rows named as those of pictures."""
    found = summary(weighted.answers, weighted.people, weighted.scenario)
    return found.assign(row=[f"{arm}, wave {wave}" for arm, wave in zip(found["arm"], found["wave"], strict=True)])


def test_means_are_those_that_a_run_prints(weighted, printed):
    keys = ["question", "arm", "wave"]
    shown = means(gather(weighted).table("answers"), ["before", "after"]).set_index(keys)
    expected = printed[printed["question"].isin(["before", "after"])].set_index(keys)
    assert len(shown) == len(expected) == 8
    pd.testing.assert_frame_equal(
        shown[["mean", "sd", "n"]],
        expected.loc[shown.index, ["mean", "sd", "n"]],
        rtol=0,
        atol=1e-9,
        check_dtype=False,
        check_index_type=False,
    )
    plain = weighted.answers.groupby(keys, observed=True)["value"].mean()
    assert (shown["mean"] - plain.loc[shown.index]).abs().min() > 0.01
    assert shown["n"].groupby("question", observed=True).sum().eq(2 * len(WEIGHTS)).all()


def test_the_table_and_the_pictures_of_the_page_say_so(weighted, printed):
    material = gather(weighted)
    (table,) = next(part for part in parts(material, ()) if part.id == "answers").tables
    at, drawn = table.heads.index("mean"), figures(material)["answers-before"].data
    here = printed[printed["question"].eq("before")]
    cells_of = [row.cells for row in table.rows if row.cells[0] == "before"]
    assert [float(cell[at].replace("−", "-")) for cell in cells_of] == pytest.approx(here["mean"].tolist(), abs=5e-4)
    assert dict(zip(drawn["row"], drawn["mean"], strict=True)) == pytest.approx(
        here.set_index("row")["mean"].to_dict(), abs=1e-9
    )


@pytest.mark.parametrize("name", ["pick", "many"])
def test_shares_are_those_that_a_run_prints(weighted, printed, name):
    shown = figures(gather(weighted))[f"answers-{name}"].data.set_index(["row", "option"])
    expected = printed[printed["question"].eq(name)].set_index(["row", "option"])
    assert shown["share"].to_dict() == pytest.approx(expected["mean"].to_dict(), abs=1e-9)
    assert shown["n"].to_dict() == expected["n"].to_dict()
    answers = weighted.answers.merge(weighted.people, on="person")
    here = answers[answers["question"].eq(name) & answers["arm"].eq("one") & answers["wave"].eq(1)]
    weights = here[here["status"].eq("ok")].groupby("person")["weight"].first()
    row, kish = shown.loc["one, wave 1", "red"], weights.sum() ** 2 / (weights**2).sum()
    interval = proportion_confint(row["share"] * kish, kish, method="wilson")
    assert 1 < kish < len(weights)
    assert (row["low"], row["high"]) == pytest.approx(interval)


def test_changes_are_those_that_a_run_prints(weighted, printed):
    shown = figures(gather(weighted))["changes-v-shift"].data
    simulated = shown[shown["who"].eq("simulated")].set_index("row")["mean"]
    expected = printed[printed["question"].eq("more")].set_index("row")["mean"]
    assert simulated.to_dict() == pytest.approx(expected.to_dict(), abs=1e-9)


def test_ranges_are_weighted_by_person(weighted):
    shown = figures(gather(weighted))["answers-odds"].data.set_index(["row", "option"])["share"]
    told = weighted.distributions.merge(weighted.people, on="person")
    here = told[told["arm"].eq("one") & told["wave"].eq(1) & told["value"].eq(1)]
    assert shown["one, wave 1", "up"] == pytest.approx(np.average(here["probability"], weights=here["weight"]))


def test_points_of_a_sweep_are_weighted_by_their_own_people(tmp_path):
    more = {"sweep": {"size": [8, len(WEIGHTS)]}, "replicates": 2, "arms": {"one": {}}, "engine": "test_weights:Varied"}
    path = study(tmp_path, **more)
    done = popsim.sweep(list(popsim.sweep_points(path)), 2, tmp_path / "out")
    material = gather(popsim.load_run(tmp_path / "out"))
    kept = material.table("answers").drop(columns="weight")
    pd.testing.assert_frame_equal(kept.reset_index(drop=True), done.reset_index(drop=True))
    answers, _ = material.responses
    found = cells(answers, ["size"]).set_index(["size", "question", "replicate"])["mean"]
    for point, size in enumerate([8, len(WEIGHTS)]):
        for replicate in (0, 1):
            one = popsim.load_run(tmp_path / "out" / f"point{point:03d}-replicate{replicate}")
            said = summary(one.answers, one.people, one.scenario)
            said = said[said["wave"].eq(1)].set_index("question")["mean"]
            for page, terminal in (("before", "before"), ("change-shift", "more")):
                assert found[size, page, replicate] == pytest.approx(said[terminal], abs=1e-9)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    readout = {"kind": "number", "particles": 4, "floor": 1e-3}
    more = {"questionnaire": "oil_price", "group": "households", "arms": {"fall": {}}, "waves": [0], "readout": readout}
    return popsim.run(popsim.load_scenario(study(folder, **more)), folder / "run", engine=Clerk())


def test_changes_that_were_measured_are_means_of_their_distributions(measured):
    told = measured.readouts[measured.readouts["question"].eq("inflation")]
    weights = measured.people.set_index("person")["weight"].loc[told["person"]]
    shown = figures(gather(measured))["changes-oil-inflation"].data.set_index("who")["mean"]
    assert shown["simulated"] == pytest.approx(np.average(told["mean"], weights=weights))


@pytest.mark.parametrize(
    ("name", "of"), [("changes-oil-inflation", "inflation"), ("answers-inflation_2", "inflation_2")]
)
def test_bars_of_what_was_measured_are_probabilities_times_weights(measured, name, of):
    told = measured.distributions.merge(measured.people, on="person")
    told = told[told["question"].eq(of)]
    low, high = told["value"].quantile([0.002, 0.998])
    told = told[told["value"].between(low, high)].assign(mass=lambda frame: frame["probability"] * frame["weight"])
    bars = figures(gather(measured))[name].chart.args[0]
    inside = [told["value"].between(bar.low - 1e-6, bar.high - 1e-6) for bar in bars.itertuples()]
    shares = [told.loc[here, "mass"].sum() / told["mass"].sum() for here in inside]
    assert bars["share"].tolist() == pytest.approx(shares)


def test_revisions_are_weighted_by_person():
    said = {"question": "q", "status": "ok", "person": [0, 1, 0, 1], "wave": [0, 0, 1, 1], "value": [1.0, 1, 2, 5]}
    people = pd.DataFrame({"person": [0, 1], "confidence": "weak"})
    states = pd.DataFrame({"person": [0, 1, 0, 1], "wave": [0, 0, 1, 1], "items_heard": [0, 0, 1, 1]})
    found = revisions(pd.DataFrame({**said, "weight": [1.0, 3, 1, 3]}), people, states, ["q"])
    assert found["mean"].tolist() == [(1 * 1 + 3 * 4) / 4]


PAIRS = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0.01, 50)), min_size=3, max_size=40)


@given(PAIRS)
def test_means_and_their_errors_agree_with_statsmodels(pairs):
    x, w = np.array(pairs).T
    found = mean_interval(x, w)
    assert found["mean"] == pytest.approx(DescrStatsW(x, w).mean, abs=1e-9)
    # HC1 of a constant is the linearised variance of a weighted mean, times n / (n - 1).
    fit = sm.WLS(x, np.ones(len(x)), weights=w).fit(cov_type="HC1", use_t=True)
    assert (found["low"], found["high"]) == pytest.approx(tuple(fit.conf_int(0.05)[0]), rel=1e-6, abs=1e-6)
    assert found["n"] == len(x)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.floats(0.01, 100))
def test_equal_weights_of_any_scale_give_the_plain_interval(values, weight):
    found, n = mean_interval(values, np.full(len(values), weight)), len(values)
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5
    expected = {"mean": np.mean(values), "low": np.mean(values) - half, "high": np.mean(values) + half}
    assert found == pytest.approx({**expected, "sd": np.std(values, ddof=1), "n": n}, rel=1e-9, abs=1e-9)


@given(st.integers(1, 300), st.data())
def test_shares_have_wilsons_interval_and_a_wider_one_where_weights_differ(n, data):
    count = data.draw(st.integers(0, n))
    found, wider = share_interval(count, n), share_interval(count, n, effective=n / 2)
    assert (found["low"], found["high"]) == pytest.approx(proportion_confint(count, n, method="wilson"), abs=1e-12)
    assert (wider["share"], wider["n"]) == (found["share"], n)
    assert wider["low"] <= found["low"] <= found["high"] <= wider["high"]
    half = proportion_confint(count / 2, n / 2, method="wilson")
    assert (wider["low"], wider["high"]) == pytest.approx(half, abs=1e-12)


def often(hits, weight=None):
    """Answers of people, (persons, draws), as a table and as hits."""
    persons, draws = hits.shape
    weight = np.ones(persons) if weight is None else weight
    frame = pd.DataFrame({"replicate": 0, "person": np.repeat(np.arange(persons), draws)})
    return frame.assign(weight=np.repeat(weight, draws)), pd.Series(hits.ravel())


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(1, 7))
def test_saying_the_same_again_narrows_no_interval_of_a_share(said, draws):
    once = person_share(*often(np.array(said)[:, None]))
    assert person_share(*often(np.tile(np.array(said)[:, None], draws))) == pytest.approx(once)
    wilson = proportion_confint(sum(said), len(said), method="wilson")
    assert (once["low"], once["high"]) == pytest.approx(wilson, abs=1e-12)


def test_draws_that_have_nothing_to_do_with_the_person_count_as_answers():
    hits = np.random.default_rng(3).random((400, 5)) < 0.3
    found = person_share(*often(hits))
    assert found["n"] == 400
    wilson = proportion_confint(hits.sum(), hits.size, method="wilson")
    assert found["high"] - found["low"] == pytest.approx(wilson[1] - wilson[0], rel=0.1)


def test_the_interval_of_a_share_is_as_wide_as_the_persons_vary():
    random = np.random.default_rng(4)
    weight = random.uniform(0.5, 2, 300)
    hits = random.random((300, 4)) < random.beta(0.6, 1, 300)[:, None]
    frame, hit = often(hits, weight)
    found = person_share(frame, hit)
    fit = sm.WLS(hit.astype(float), np.ones(len(hit)), weights=frame["weight"]).fit(
        cov_type="cluster", cov_kwds={"groups": frame["person"], "use_correction": False}, use_t=False
    )
    share, variance = fit.params.iloc[0], fit.cov_params().iloc[0, 0] * 300 / 299
    alone = share * (1 - share) / variance
    assert 300 < alone < 1200
    assert found["share"] == pytest.approx(share)
    wilson = proportion_confint(share * alone, alone, method="wilson")
    assert (found["low"], found["high"]) == pytest.approx(wilson, rel=1e-6)


def test_people_without_any_weight_have_no_mean():
    found = mean_interval([1.0, 2.0], [0.0, 0.0])
    assert np.isnan([found["mean"], found["low"], found["high"]]).all()


def test_ranges_of_crossed_arms_are_told_apart(tmp_path):
    crossed = {"size": 12, "assignment": "crossed", "arms": {"a": {}, "b": {}}, "engine": "baseline"}
    done = popsim.run(load_scenario("inflation_probabilities", crossed), tmp_path / "run")
    found = bin_shares(gather(done).table("distributions"), done.scenario.questionnaire.questions[0])
    assert set(found["n"]) == {12}
    assert done.distributions.groupby(["arm", "person"], observed=True).size().shape == (24,)
    assert found.groupby("arm", observed=True)["share"].sum().tolist() == pytest.approx([1, 1])
