"""Simulated answers beside human figures, from answers whose figures are known by hand."""

import numpy as np
import pandas as pd
import pytest
from figures_for_tests import FIGURE, POOLED

import popsim
from popsim.errors import TargetError
from popsim.evaluate import Sample, Target, TargetFile, compare, load_targets
from popsim.evaluate.verdicts import FEWEST, holm, joint_test, margins

OIL = popsim.load_questionnaire("oil_price").vignettes[0]
HUMANS = load_targets("aprw_households")
INFLATION_MEANS = [target for target in HUMANS.targets if target.statistic == "mean" and target.outcome == "inflation"]


def sample_of(changes, weight=None, label="model", fitted=False, unit="person"):
    """A sample from arm -> [(change of inflation, change of unemployment), ...] around 1.6 and 4, one person each."""
    rows, person = [], 0
    for arm, pairs in changes.items():
        for inflation, unemployment in pairs:
            levels = {
                "inflation_1": 1.6,
                "inflation_2": round(1.6 + inflation, 2),
                "unemployment_1": 4.0,
                "unemployment_2": round(4.0 + unemployment, 2),
            }
            w = 1.0 if weight is None else weight[person]
            rows += [(person, person, "households", arm, "oil", name, 0, x, None, w) for name, x in levels.items()]
            person += 1
    columns = ["unit", "person", "group", "arm", "vignette", "question", "draw", "value", "label", "weight"]
    answers = pd.DataFrame(rows, columns=columns)
    stratum = pd.factorize(answers.drop_duplicates("unit")["arm"])[0]
    if unit == "replicate":
        answers["unit"], stratum = 0, np.zeros(1, dtype=np.int64)
    return Sample(label, fitted, answers, {("households", "oil"): OIL}, stratum, unit)


def file_of(*changes):
    return TargetFile(name="mine", title="Mine", targets=tuple(Target(**FIGURE | change) for change in changes))


def noisy(mean, n, seed=0, sd=0.5):
    return [tuple(np.round(pair, 2)) for pair in np.random.default_rng(seed).normal(mean, sd, (n, 2))]


def row(found, **where):
    table = found.targets
    for name, value in where.items():
        table = table[table[name].eq(value)]
    assert len(table) == 1
    return table.iloc[0]


def test_pooled_shares_reverse_the_fall_arm_and_weigh_both_arms_alike():
    fall = [(-1.0, -0.5)] * 30 + [(0.0, 0.5)] * 10
    rise = [(1.0, 0.5)] * 60 + [(-0.3, 0.0)] * 40
    found = compare([sample_of({"fall": fall, "rise": rise})], [HUMANS], strict=False, draws=60)
    pooled = {"arm": "pooled_reversed", "outcome": "inflation", "statistic": "share"}
    assert row(found, of="rise", **pooled)["simulated"] == pytest.approx((0.75 + 0.6) / 2)
    assert row(found, of="same", **pooled)["simulated"] == pytest.approx(0.25 / 2)
    assert row(found, of="both_rise")["simulated"] == pytest.approx((0.75 + 0.6) / 2)
    assert row(found, of="other")["simulated"] == pytest.approx((0.25 + 0.4) / 2)
    assert row(found, arm="fall", statistic="mean", outcome="inflation")["simulated"] == pytest.approx(-0.75)
    assert row(found, arm="rise", statistic="mean", outcome="unemployment")["n"] == 100
    by_arm = {arm: np.mean([pair[0] for pair in pairs]) for arm, pairs in (("fall", fall), ("rise", rise))}
    assert row(found, statistic="asymmetry", outcome="inflation")["simulated"] == pytest.approx(sum(by_arm.values()))
    assert found.left_out == {f"no vignette {name}": 21 for name in list(HUMANS.textbook)[1:]}


def test_a_share_of_nobody_has_an_interval_all_the_same():
    share = {"statistic": "share", "of": "same", "value": 0.1, "se": None}
    found = compare([sample_of({"fall": [(-1.0, 0.0)] * 100})], [file_of(share, share | {"of": "fall"})], draws=60)
    nobody, all_of_them = found.targets[["low", "high"]].to_numpy().tolist()
    assert nobody == pytest.approx([0, 1 - 0.05**0.01])
    assert all_of_them == pytest.approx([0.05**0.01, 1])


def test_weights_of_people_count():
    weight = [3.0] * 40 + [1.0] * 40
    found = compare([sample_of({"fall": [(-1.0, 0.0)] * 40 + [(0.0, 0.0)] * 40}, weight)], [file_of({})], draws=60)
    assert found.targets["simulated"][0] == pytest.approx(-0.75)


def test_equal_decimals_are_no_change_and_half_answered_people_are_left_out():
    sample = sample_of({"fall": [(0.3, 0.0)] * 40 + [(0.0, 0.0)] * 40})
    answers = sample.answers
    answers = answers[~(answers["person"].eq(0) & answers["question"].eq("inflation_2"))]
    answers.loc[answers["question"].eq("inflation_1"), "value"] = 4.0
    answers.loc[answers["question"].eq("inflation_2"), "value"] = np.round(4.3 - 0.3 * (answers["person"] >= 40), 2)
    shares = [{"statistic": "share", "of": of, "value": 0.5, "se": None} for of in ("same", "rise")]
    moved = Sample("m", False, answers, sample.vignettes, sample.stratum)
    found = compare([moved], [file_of(*shares)], draws=60)
    assert found.targets["simulated"].tolist() == pytest.approx([40 / 79, 39 / 79])
    assert found.targets["n"].tolist() == [79, 79]


@pytest.mark.parametrize(
    ("mean", "margin", "said"), [(-0.3, 0.2, "inside"), (-0.25, 0.08, "undecided"), (0.4, 0.2, "outside")]
)
def test_a_verdict_is_by_margin_and_holds_both_errors(mean, margin, said):
    sample = sample_of({"fall": noisy(mean, 400)})
    one = row(compare([sample], [file_of({"margin": margin})]), statistic="mean")
    assert one["verdict"] == said
    changes = sample.answers.pivot(index="person", columns="question", values="value")
    change = changes["inflation_2"] - changes["inflation_1"]
    assert one["z"] == pytest.approx((change.mean() + 0.3) / np.hypot(0.05, change.std() / 20), rel=0.06)


def test_margins_are_a_fifth_of_the_human_sd_and_five_points():
    spread = {"statistic": "trimmed_sd", "value": 0.7, "se": None}
    share = {"statistic": "share", "of": "rise", "value": 0.7, "se": None}
    targets = file_of({}, spread, share, {"pooling": "rise", "value": 0.6}).targets
    assert margins(targets) == pytest.approx([0.14, 0.14, 0.05, 0.2 * 0.05 * np.sqrt(500)])


def test_few_respondents_are_shown_and_never_judged():
    found = compare([sample_of({"fall": noisy(3.0, FEWEST - 1)})], [file_of({})], draws=60)
    one = row(found, statistic="mean")
    assert one["verdict"] == "not judged, n < 30"
    assert one["simulated"] > 2
    assert np.isnan(one["p"])
    humans = compare([sample_of({"fall": noisy(3.0, 100)})], [file_of({"n": FEWEST - 1})], draws=60)
    assert row(humans, statistic="mean")["verdict"] == "not judged, n < 30"
    enough = compare([sample_of({"fall": noisy(3.0, FEWEST)})], [file_of({})], draws=60)
    assert row(enough, statistic="mean")["verdict"] == "outside"


def test_a_fitted_column_gets_no_verdict():
    found = compare([sample_of({"fall": noisy(3.0, 100)}, fitted=True)], [file_of({})], draws=60)
    assert found.fitted == ("model",)
    assert found.targets["verdict"].tolist() == [""]
    assert found.targets["holm_p"].isna().all()


def test_one_replicate_of_people_who_hear_each_other_gives_no_interval():
    found = compare([sample_of({"fall": noisy(-0.3, 100)}, unit="replicate")], [file_of({})], draws=60)
    one = row(found, statistic="mean")
    assert np.isnan(one[["low", "high", "simulated_se", "z"]].astype(float)).all()
    assert one["verdict"] == "no interval"
    assert "replicates drawn again" in found.intervals


def test_several_columns_span_a_band():
    samples = [sample_of({"fall": noisy(mean, 100)}, label=label) for mean, label in ((-0.4, "one"), (-0.1, "other"))]
    found = compare(samples, [file_of({})], draws=60)
    low, high = found.targets["simulated"]
    assert found.targets[["band_low", "band_high"]].to_numpy().tolist() == [[low, high]] * 2


def test_effects_are_set_beside_the_difference_of_human_means():
    found = compare([sample_of({"fall": noisy(-0.5, 200), "rise": noisy(0.5, 200, 1)})], [HUMANS], strict=False)
    one = found.effects.set_index("outcome").loc["inflation"]
    assert one["contrast"] == "rise - fall"
    assert one["human"] == pytest.approx(0.667 + 0.331)
    assert one["human_se"] == pytest.approx(np.hypot(0.050, 0.053))
    means = found.targets[found.targets["statistic"].eq("mean") & found.targets["outcome"].eq("inflation")]
    by_arm = means.set_index("arm")["simulated"]
    assert one["simulated"] == pytest.approx(by_arm["rise"] - by_arm["fall"])
    assert one["same_sign"]
    assert found.contrasts[["cells", "same_sign"]].to_numpy().tolist() == [[2, 2]]


def test_distances_are_those_of_the_directions_and_stand_above_their_floor():
    found = compare([sample_of({"fall": noisy(1, 200), "rise": noisy(-1, 200)})], [HUMANS], strict=False, draws=60)
    wanted = found.distances["distance"].eq("total variation") & found.distances["outcome"].eq("inflation")
    one = found.distances[wanted].iloc[0]
    shares = found.targets[found.targets["statistic"].eq("share") & found.targets["outcome"].eq("inflation")]
    human = shares["human"] / shares["human"].sum()
    assert one["simulated"] == pytest.approx((shares["simulated"] - human).abs().sum() / 2)
    assert one["uniform"] == pytest.approx((human - 1 / 3).abs().sum() / 2)
    assert one["no_change"] == pytest.approx(1 - human.iloc[1])
    assert one["textbook"] == pytest.approx(1 - human.iloc[2])
    assert 0 < one["floor"] < 0.03 < one["simulated"]
    joint = found.distances[found.distances["outcome"].eq("inflation and unemployment")]
    assert "ordinal EMD" not in set(joint["distance"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group": "experts"}, "the runs have no group 'experts'. There: households"),
        ({"vignette": "oli"}, "no vignette 'oli'; did you mean oil"),
        ({"pooling": "rise"}, "no readable answer in arm 'rise'"),
        ({"outcome": "inflaton"}, "no outcome 'inflaton'; did you mean inflation"),
        ({"form": "direct"}, "its form is 'direct' and that of the runs is 'levels'"),
        ({"outcome": "inflation_2"}, "its form is 'levels' and that of the runs is 'direct'"),
        (POOLED, "no readable answer in arm 'rise'"),
        ({"outcome": "considerations", "form": "direct"}, "mean makes no sense for a text question"),
        (
            {"outcome": "inflation_2", "form": "direct", "statistic": "share", "of": "yes", "value": 0.5},
            "share yes makes no sense for a number question",
        ),
        ({"statistic": "share", "of": "up", "value": 0.5}, "share up makes no sense for a change"),
    ],
)
def test_what_the_answers_lack_is_refused_in_one_line(change, said):
    with pytest.raises(TargetError, match=said) as problem:
        compare([sample_of({"fall": noisy(0, 40)})], [file_of(change)], draws=60)
    assert "\n" not in str(problem.value)


def test_without_strictness_what_does_not_apply_is_counted_but_never_everything():
    sample = sample_of({"fall": noisy(0, 40)})
    found = compare([sample], [file_of({}, {"pooling": "rise"})], strict=False, draws=60)
    assert len(found.targets) == 1
    assert found.left_out == {"no readable answer in arm rise": 1}
    with pytest.raises(TargetError, match="none of the 1 targets applies"):
        compare([sample], [file_of({"pooling": "rise"})], strict=False, draws=60)
    with pytest.raises(TargetError, match="form"):
        compare([sample], [file_of({"form": "direct"})], strict=False, draws=60)


def test_holm_agrees_with_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(1).random(20) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_the_joint_test_leaves_aside_resamples_that_lack_a_figure_and_figures_that_never_move():
    drawn = np.random.default_rng(0).normal(size=(400, 3))
    gaps, none = np.array([2.0, 1.0, 0.5]), np.zeros(3)
    whole = joint_test(gaps, drawn, none, none)
    torn = np.vstack([drawn, [np.nan, 0, 0]])
    assert joint_test(gaps, torn, none, none) == whole
    still = np.column_stack([drawn, np.full(400, 7.0)])
    assert joint_test(np.append(gaps, 0.0), still, np.zeros(4), np.zeros(4))[1:] == pytest.approx(whole[1:])
    assert np.isnan(joint_test(gaps, np.full((400, 3), np.nan), none, none).p)


def test_the_joint_test_holds_its_level_with_sums_that_are_fixed():
    rng = np.random.default_rng(5)
    shape = np.array([[1.0, 0.0, 0.3, -1.3], [0.5, 1.0, 0.0, -1.5], [0.0, 0.2, 0.4, -0.6]])  # columns sum to zero
    rejected, studies = 0, 400
    for _ in range(studies):
        drawn = rng.normal(size=(300, 3)) @ shape
        gaps = (rng.normal(size=3) + 0.8 * rng.normal(size=3)) @ shape
        sd = drawn.std(axis=0, ddof=1)
        test = joint_test(gaps, drawn, 0.8 * sd, np.zeros(4))
        rejected += test.p < 0.05
    assert test.freedom == 3
    assert 0.02 < rejected / studies < 0.09
