"""A few human answers beside the simulated ones of the same people: who is paired with whom, and what is refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

import popsim
from popsim.errors import PopsimError
from popsim.evaluate import Labelled, correct_mean
from popsim.study import load_run
from popsim.study.auditing import regressions
from popsim.study.correcting import correct
from popsim.study.pairing import Options

PEOPLE, ASKED = 240, 90
TRUTH = np.random.default_rng(7).normal(1.0, 2.0, (PEOPLE, 2)).round(2).clip(-4, 4)
"""What each person of the town really expects of inflation, in arm fall and in arm rise."""
ARMS = ("fall", "rise")
ROWS = {
    "file": "answers.csv",
    "group": "households",
    "vignette": "oil",
    "arm": "arm",
    "person": "id",
    "attributes": {"sex": "gender"},
    "outcomes": {"inflation": {"column": "said"}},
    "population": "a town",
    "published": "2026-01-01",
    "source": "made up",
}


def planted(folder, source, fingerprint, value):
    """Copy a run and plant what it simulated: inflation after the shock less before is value(person, arm, draw)."""
    copy = shutil.copytree(source, folder)
    answers = pd.read_parquet(copy / "answers.parquet")
    for question, part in (("inflation_1", 0.0), ("inflation_2", 1.0)):
        here = answers["question"].eq(question)
        rows = answers[here]
        said = [value(*one) for one in zip(rows["person"], rows["arm"].astype(str), rows["draw"], strict=True)]
        answers.loc[here, "value"] = part * np.asarray(said)
    answers.to_parquet(copy / "answers.parquet")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["engine"]["fingerprint"] = fingerprint
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return load_run(copy)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    ids = np.random.default_rng(1).permutation(PEOPLE) + 1000
    table = pd.DataFrame({"id": ids, "sex": np.where(np.arange(PEOPLE) % 2, "male", "female"), "secret": 1})
    table.to_csv(folder / "people.csv", index=False)
    spec = {"name": "town", "title": "A town", "from_table": {"file": "people.csv"}, "persona": {"en": "{{sex}}"}}
    (folder / "town.yaml").write_text(yaml.safe_dump(spec))
    study = {
        "name": "town_oil",
        "title": "Oil",
        "population": str(folder / "town.yaml"),
        "size": PEOPLE,
        "questionnaire": "oil_price",
        "group": "households",
        "arms": {"fall": {}, "rise": {}},
        "assignment": "crossed",
        "engine": "baseline",
        "draws": 2,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    popsim.run(popsim.load_scenario(folder / "study.yaml"), folder / "run")
    asked = np.random.default_rng(2).permutation(PEOPLE)[:ASKED]
    arm = np.arange(ASKED) % 2
    said = pd.DataFrame({"id": ids[asked], "arm": [ARMS[one] for one in arm], "said": TRUTH[asked, arm]})
    said.assign(gender=table["sex"].to_numpy()[asked], model=1 + np.arange(ASKED) % 2).to_csv(
        folder / "answers.csv", index=False
    )
    (folder / "humans.yaml").write_text(yaml.safe_dump({"name": "humans", "title": "Humans", "rows": ROWS}))
    return folder


@pytest.fixture(scope="module")
def knowing(town):
    """A simulator that knows everybody's answer but for two points and some noise, which draws share out."""
    return planted(town / "knowing", town / "run", "knows", lambda p, arm, d: TRUTH[p, ARMS.index(arm)] + 2 + d - 0.5)


def test_each_human_is_paired_with_the_mean_of_their_own_twin_in_their_own_arm(town, knowing):
    found = correct(knowing, humans=town / "humans.yaml")
    mean = found.figures[found.figures["statistic"].eq("mean")].set_index("arm")
    people = pd.read_csv(town / "people.csv")
    said = pd.read_csv(town / "answers.csv").merge(people.reset_index(names="row"), on="id")
    for place, arm in enumerate(ARMS):
        here = said[said["arm"].eq(arm)]
        others = np.setdiff1d(np.arange(PEOPLE), said["row"])
        by_hand = correct_mean(
            Labelled(here["said"].to_numpy(), TRUTH[here["row"], place] + 2, TRUTH[others, place] + 2)
        )
        for name in ("value", "low", "high", "worth", "simulated", "human"):
            assert mean.loc[arm, name] == pytest.approx(getattr(by_hand, name)), name
        assert mean.loc[arm, "worth"] > 2.5 * len(here)
        assert mean.loc[arm, "low"] < TRUTH[:, place].mean() < mean.loc[arm, "high"]
    effect = found.figures[found.figures["statistic"].eq("effect")].iloc[0]
    assert effect["arm"] == "rise - fall"
    assert effect["low"] < (TRUTH[:, 1] - TRUTH[:, 0]).mean() < effect["high"]
    fit = found.fit.set_index(["arm", "who"])
    assert fit.loc[("fall", "simulated"), "correlation"] == pytest.approx(1.0)
    assert fit.loc[("fall", "simulated"), "r2"] < 0.5 < fit.loc[("fall", "simulated, rescaled"), "r2"]
    assert fit.loc[("fall", "OLS"), "r2"] < 0.1


def test_shares_quantiles_and_coefficients_stand_beside_the_mean(town, knowing):
    found = correct(knowing, humans=town / "humans.yaml", options=Options(quantiles=(0.1, 0.9), within=("sex",)))
    here = found.figures[found.figures["arm"].eq("rise")].set_index(["statistic", "of"])
    assert here.loc["share", "value"].sum() == pytest.approx(1, abs=0.1)
    assert list(here.loc["quantile"].index) == ["0.1", "0.9"]
    assert (
        here.loc[("quantile", "0.9"), "low"] <= np.quantile(TRUTH[:, 1], 0.9) <= here.loc[("quantile", "0.9"), "high"]
    )
    assert {"intercept", "sex: male"} & set(here.loc["coefficient"].index)
    said = pd.read_csv(town / "answers.csv").query("arm == 'rise'")
    assert here.loc[("mean", ""), "mapped"] == pytest.approx(said["said"].mean(), abs=0.3)
    assert set(found.mapped.columns) == {"outcome", "arm", "sex", "simulated", "mapped"}


def test_models_answer_for_those_they_were_not_tuned_on(town):
    """Each of two models recites the people of the other fold and knows nothing of its own: no help may come of it."""
    said = pd.read_csv(town / "answers.csv").merge(pd.read_csv(town / "people.csv").reset_index(names="row"), on="id")
    fold = dict(zip(said["row"], said["model"], strict=True))

    def reciter(model):
        noise = np.random.default_rng(model).normal(0, 1, PEOPLE)

        def value(person, arm, draw):
            return TRUTH[person, ARMS.index(arm)] if fold.get(person, model) != model else noise[person]

        return planted(town / f"reciter{model}", town / "run", f"reciter{model}", value)

    runs = [reciter(1), reciter(2)]
    found = correct(*runs, humans=town / "humans.yaml", options=Options(fold="model"))
    assert found.figures.query("statistic == 'mean'")["lam"].max() < 0.5
    assert found.fit.query("who == 'simulated'")["correlation"].abs().max() < 0.4
    with pytest.raises(PopsimError, match="2 models: --fold must name the column"):
        correct(*runs, humans=town / "humans.yaml")


def test_rows_that_were_tuned_on_are_left_out_and_counted(town, knowing):
    table = pd.read_csv(town / "answers.csv")
    table.assign(held=np.where(np.arange(ASKED) < 60, 1.0, np.nan)).to_csv(town / "held.csv", index=False)
    write(town / "held.yaml", file="held.csv")
    found = correct(knowing, humans=town / "held.yaml", options=Options(fold="held"))
    assert found.figures.query("statistic == 'mean'")["people"].tolist() == [30, 30]
    assert found.notes == tuple(
        f"inflation, {arm}: 15 of 45 human answers were tuned on and are left out" for arm in ARMS
    )


def test_a_shifted_population_is_told_before_the_figures(town, knowing):
    table = pd.read_csv(town / "answers.csv").query("gender == 'male'")
    table.to_csv(town / "men.csv", index=False)
    write(town / "men.yaml", file="men.csv")
    found = correct(knowing, humans=town / "men.yaml")
    assert any("no human has sex female" in warning for warning in found.warnings)
    write(town / "bare.yaml", attributes={})
    assert "name no attributes" in correct(knowing, humans=town / "bare.yaml").warnings[0]


def test_a_population_of_its_own_is_taken_whole_and_must_be_answered_alike(town, knowing):
    alone = correct(knowing, humans=town / "humans.yaml", population=[knowing])
    mean = alone.figures.query("statistic == 'mean' and arm == 'fall'").iloc[0]
    assert mean["simulated"] == pytest.approx(TRUTH[:, 0].mean() + 2)
    other = planted(town / "other", town / "run", "another model", lambda *_: 0.0)
    with pytest.raises(PopsimError, match="was not answered like"):
        correct(knowing, humans=town / "humans.yaml", population=[other])


def write(path, **changed):
    path.write_text(yaml.safe_dump({"name": path.stem, "title": "Humans", "rows": {**ROWS, **changed}}))
    return path


def changed_rows(town, name, change):
    table = pd.read_csv(town / "answers.csv")
    change(table).to_csv(town / f"{name}.csv", index=False)
    return write(town / f"{name}.yaml", file=f"{name}.csv")


def test_bad_input_is_one_line(town, knowing, call, tmp_path):
    flipped = changed_rows(town, "flipped", lambda t: t.assign(gender=t["gender"].replace({"male": "female"})))
    strange = changed_rows(town, "strange", lambda t: t.assign(id=t["id"] + 5000))
    twice = changed_rows(town, "twice", lambda t: pd.concat([t, t.head(1)]))
    nameless = write(town / "nameless.yaml", person="")
    secret = changed_rows(town, "secret", lambda t: t.assign(sex=1.0))
    write(town / "secret.yaml", file="secret.csv", outcomes={"inflation": {"column": "sex"}})
    few = changed_rows(town, "few", lambda t: t.head(20))
    refused = {
        ("aprw_households",): "holds published figures",
        (town / "answers.csv",): "is the table itself; give a .yaml file",
        (flipped,): "these are not the same people",
        (strange,): "is not among the people of",
        (twice,): "has two rows in one arm",
        (nameless,): "nothing says who is who",
        (secret,): "the persona tells 'sex', which holds human answers",
        (few,): "10 human answers and",
        (town / "humans.yaml", "--outcome", "inflaton"): "did you mean inflation?",
        (town / "humans.yaml", "--within", "party"): "--within party: is not under rows.attributes",
        (town / "humans.yaml", "--quantiles", "2"): "--quantiles 2: a quantile lies between 0 and 1",
        (town / "humans.yaml", "--quantiles", "x"): "must be numbers between 0 and 1",
        (town / "humans.yaml", "--fold", "arm"): "holds fall, not 1 to 1 or nothing",
    }
    for (file, *more), message in refused.items():
        status, out, err = call("correct", knowing.path, "--humans", file, *more)
        assert (status, out) == (2, ""), (file, out, err)
        assert message in err
        assert err.count("\n") == 1


def test_the_command_prints_what_the_answers_are_worth_and_exports_tables(town, knowing, call, tmp_path):
    status, out, err = call("correct", knowing.path, "--humans", town / "humans.yaml", "--tables", tmp_path / "t")
    assert (status, err) == (0, "")
    flat = " ".join(out.split())
    assert "the simulated answers are worth" in flat
    assert "calibration, no guarantee" in flat
    assert max(map(len, out.splitlines())) <= 120
    assert {path.name for path in (tmp_path / "t").iterdir()} == {"figures.csv", "fit.csv", "mapped.csv", "overlap.csv"}


def test_regressions_pair_answers_with_those_who_gave_them(town, tmp_path):
    """With the first people silent, an answer that is the sex of who gave it must still be foretold by it."""
    run = planted(tmp_path / "sexes", town / "run", "sexes", lambda person, arm, draw: float(person % 2))
    answers = pd.read_parquet(run.path / "answers.parquet")
    silent = answers["person"].eq(0) | answers["person"].eq(5)
    answers["status"] = answers["status"].astype("str").mask(silent, "unreadable")
    answers.to_parquet(run.path / "answers.parquet")
    found = regressions(load_run(run.path)).query("outcome == 'inflation' and term.str.startswith('sex')")
    assert found["estimate"].abs().round(9).tolist() == [1.0, 1.0]
