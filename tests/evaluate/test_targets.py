"""Files of human figures: what is read, and what is refused in one line."""

from math import sqrt

import pytest
from figures_for_tests import POOLED, write

import popsim
from popsim.errors import TargetError
from popsim.evaluate import load_targets
from popsim.evaluate.lines import share_lines, transfer, turned_of
from popsim.evaluate.targets import share_sets
from popsim.files import shipped

SHARE = {"statistic": "share", "of": "rise", "value": 0.7, "se": None}
QUANTILE = {"statistic": "quantile", "of": "0.5", "margin": 0.2}
TOO_FEW = {"fall": 0.2, "same": 0.1, "rise": 0.6}


@pytest.mark.parametrize("name", shipped("scenarios/targets"))
def test_every_file_of_targets_loads_and_names_its_sources(name):
    file = load_targets(name)
    assert file.name == name
    assert len({target.label for target in file.targets}) == len(file.targets)
    assert all(target.reading_error >= 0.003 for target in file.targets if target.obtained == "digitised")


@pytest.mark.parametrize("name", ["aprw_households", "aprw_experts"])
def test_the_four_vignettes_have_every_published_figure(name):
    targets = load_targets(name).targets
    for vignette in ("oil", "federal_spending", "federal_funds_rate", "income_tax"):
        here = [target for target in targets if target.vignette == vignette]
        count = {key: 0 for key in ("mean", "trimmed_sd", "share", "joint_share")}
        for target in here:
            if target.statistic in count and target.obtained == "read":
                count[target.statistic] += 1
        assert count == {"mean": 4, "trimmed_sd": 4, "share": 6, "joint_share": 5}
    assert [target.vignette for target in targets if target.statistic == "asymmetry"] == ["oil", "oil"]


def test_the_questionnaire_and_the_targets_hold_the_same_oil_figures():
    reference = popsim.load_questionnaire("oil_price").vignettes[0].reference
    found = {target.label: target for target in load_targets("aprw_households").targets}
    for name, change in reference.changes.items():
        for arm, moments in change.arms.items():
            mean = found[f"mean of {name}, oil, households, {arm}"]
            assert (mean.value, mean.se) == (moments.mean, moments.se)
            assert found[f"trimmed_sd of {name}, oil, households, {arm}"].value == moments.trimmed_sd
        for of, share in change.directions.model_dump().items():
            assert found[f"share {of} of {name}, oil, households, pooled_reversed"].value == share / 100
    for of, share in reference.joint.model_dump(exclude={"of"}).items():
        label = f"joint_share {of} of inflation and unemployment, oil, households, pooled_reversed"
        assert found[label].value == share / 100


def test_pooled_means_are_near_the_mean_of_both_arms_and_asymmetries_are_their_sum():
    for name in ("aprw_households", "aprw_experts"):
        found = {target.label: target for target in load_targets(name).targets}
        for target in found.values():
            if target.statistic not in ("mean", "asymmetry") or not target.arms:
                continue
            by_arm = {
                arm: found[f"mean of {target.outcome}, {target.vignette}, {target.group}, {arm}"]
                for arm in ("fall", "rise")
            }
            error = sqrt(by_arm["fall"].se ** 2 + by_arm["rise"].se ** 2)
            if target.statistic == "asymmetry":
                assert target.value == pytest.approx(by_arm["rise"].value + by_arm["fall"].value)
                assert target.se == pytest.approx(error, abs=5e-4)
            else:
                half = (by_arm["rise"].value - by_arm["fall"].value) / 2
                assert target.value == pytest.approx(half, abs=0.03)
                assert target.se == pytest.approx(error / 2, abs=5e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([{"se": None}], r"targets.0: se: is missing; a mean needs its standard error"),
        ([SHARE | {"value": 70}], "a share lies between 0 and 1, not 70"),
        ([SHARE | {"of": ""}], "of: is missing from a share"),
        ([{"of": "rise"}], "of: does not belong to a mean"),
        ([{"statistic": "trimmed_sd", "value": 0}], "an SD is positive"),
        ([{"statistic": "trimmed_sd", "value": 0.7} | POOLED], "an SD is taken by arm"),
        ([QUANTILE | {"of": ""}], "of: is missing from a quantile"),
        ([QUANTILE | {"of": "median"}], "of: 'median'; a quantile has a number between 0 and 1"),
        ([QUANTILE | {"margin": None}], "margin: is missing; a quantile needs the gap that does not matter"),
        ([QUANTILE | {"se": None}], "se: is missing; a quantile needs its standard error"),
        ([QUANTILE | POOLED], "a quantile is taken by arm"),
        ([{"statistic": "joint_share", "of": "both_rise", "value": 0.5}], "joint_share is about 2 of them"),
        ([{"pooling": "pooled_reversed"}], "arms: go with pooling pooled_reversed or contrast"),
        ([{"statistic": "effect"}], "contrast goes with effect and asymmetry"),
        ([{"obtained": "digitised"}], "reading_error: goes with obtained: digitised"),
        ([{"obtained": "remembered"}], "'read', 'digitised' or 'computed', not 'remembered'"),
        ([{"form": "slider"}], "'levels' or 'direct', not 'slider'"),
        ([{}, {}], "mean of inflation, oil, households, fall stands twice"),
        ([{"valeu": 1}], "unknown key; did you mean value"),
        (
            [SHARE | {"of": of, "value": x, "rounding": 0.01} for of, x in TOO_FEW.items()],
            "the shares of inflation, households, fall in oil sum to 0.9, not to 1",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(changes, said):
    with pytest.raises(TargetError, match=said) as problem:
        load_targets(write(*changes))
    assert "\n" not in str(problem.value)


def test_a_file_without_figures_is_refused():
    with pytest.raises(TargetError, match="holds neither targets nor rows"):
        load_targets(write())
    with pytest.raises(TargetError, match=r"neither a \.yaml file nor shipped; did you mean aprw_households"):
        load_targets("aprw_household")


def test_directions_turn_with_their_signs():
    assert [turned_of(of, (-1,)) for of in ("fall", "same", "rise")] == ["rise", "same", "fall"]
    joint = ("both_fall", "fall_rise", "rise_fall", "both_rise", "other")
    assert [turned_of(of, (-1, 1)) for of in joint] == ["rise_fall", "both_rise", "both_fall", "fall_rise", "other"]
    assert [turned_of(of, (-1, -1)) for of in joint] == ["both_rise", "rise_fall", "fall_rise", "both_fall", "other"]


def test_transfer_looks_at_the_other_vignettes_alone():
    file = load_targets("aprw_experts")
    found = {target.label: target for target in file.targets}
    target = found["mean of inflation, income_tax, experts, rise"]
    # Oil and spending raise prices and the funds rate lowers them; taxes are turned to lower them.
    assert transfer(target, file.targets, file.textbook) == pytest.approx(-(0.449 + 0.299 + 0.152) / 3)
    share = found["share fall of inflation, income_tax, experts, pooled_reversed"]
    assert transfer(share, file.targets, file.textbook) == pytest.approx((0.84 + 0.80 + 0.67) / 3)
    moved = [one.model_copy(update={"value": 9.0}) if one.vignette == "income_tax" else one for one in file.targets]
    assert transfer(target, moved, file.textbook) == transfer(target, file.targets, file.textbook)


def test_reference_lines_of_directions():
    file = load_targets("aprw_households")
    key = ("federal_spending", "unemployment, households, pooled_reversed")
    lines = share_lines(file, "federal_spending", share_sets(file.targets)[key])
    assert lines["no_change"].tolist() == [0, 1, 0]
    assert lines["textbook"].tolist() == [1, 0, 0]
    assert lines["pooled_margin"][0] == pytest.approx((0.25 + 0.43 + 0.33 + 0.26) / 4, abs=0.005)
    # The others turned to a falling unemployment: 62, 51 and 55 % go along.
    assert lines["transfer"][0] == pytest.approx((0.62 + 0.51 + 0.55) / 3, abs=0.01)
