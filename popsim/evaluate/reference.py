"""Simulated answers beside the published human moments that a questionnaire carries."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from popsim import streams
from popsim.errors import SurveyError
from popsim.evaluate.statistics import (
    Values,
    bootstrap_se,
    direction_shares,
    joint_direction_shares,
    trimmed_sd,
)
from popsim.survey import Change, Questionnaire, Vignette, VignetteReference

COLUMNS = ["vignette", "arm", "outcome", "statistic", "human", "human_se", "simulated", "simulated_se", "z", "n"]

_ROUNDING_OF_SHARES = 0.01 / np.sqrt(12)
_ROUNDING_OF_SDS = 0.01 / np.sqrt(12)
_BOOTSTRAP_DRAWS = 200


def compare_with_reference(answers: pd.DataFrame, questionnaire: Questionnaire) -> pd.DataFrame:
    """Set simulated means, trimmed SDs, directions and joint directions beside the published ones.

    Means and trimmed SDs are compared by arm. Directions were published pooled over arms with some arms reversed, so
    they are compared only when ``answers`` hold every arm, each arm with equal weight. The standard error of a human
    mean is the published one; that of a human SD is not published and is taken from resampling the simulated answers at
    the human sample size; shares carry a binomial one and their rounding to whole percent.

    Args:
        answers: The answers table of a run, or of several with the same questionnaire.
        questionnaire: Whose vignettes carry a ``reference``.

    Returns:
        A row per published figure; ``z`` is the gap over both standard errors. Changes are in the unit of the answers,
        shares between 0 and 1.

    Raises:
        SurveyError: No vignette carries published figures, or no answer belongs to them.
    """
    referenced = [vignette for vignette in questionnaire.vignettes if vignette.reference]
    if not referenced:
        raise SurveyError(f"questionnaire {questionnaire.name}: carries no published figures to compare with")
    rows = [row for vignette in referenced for row in _vignette_rows(answers, vignette)]
    if not rows:
        raise SurveyError(
            f"questionnaire {questionnaire.name}: no readable answer to a question with published figures"
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def changes_by_person(answers: pd.DataFrame, change: Change) -> pd.DataFrame:
    """Take shock minus baseline for every person and draw with two readable answers.

    Returns:
        A frame indexed by replicate, person, wave, draw and arm with the column ``change``.
    """
    keys = ["replicate", "person", "wave", "draw", "arm"]
    readable = answers[answers["status"].eq("ok") & answers["question"].isin([change.shock, change.baseline])]
    wide = readable.pivot(index=keys, columns="question", values="value").dropna()
    if not {change.shock, change.baseline} <= set(wide.columns):
        return pd.DataFrame({"change": []}, index=pd.MultiIndex.from_arrays([[]] * len(keys), names=keys))
    # Differences of decimals are rounded so that 4.3 - 4.0 counts as 0.3 and equal answers as no change.
    return (wide[change.shock] - wide[change.baseline]).round(9).rename("change").to_frame()


def _vignette_rows(answers: pd.DataFrame, vignette: Vignette) -> list[tuple[object, ...]]:
    reference = vignette.reference
    assert reference is not None
    here = answers[answers["vignette"].eq(vignette.name)]
    changes = {name: changes_by_person(here, change) for name, change in reference.changes.items()}
    rows: list[tuple[object, ...]] = []
    for name, change in reference.changes.items():
        for arm in change.arms:
            rows += _arm_rows(vignette.name, arm, name, _of_arm(changes[name], arm), change, reference)
    arms = next(iter(reference.changes.values())).arms
    if all(len(_of_arm(frame, arm)) > 1 for frame in changes.values() for arm in arms):
        rows += _pooled_rows(vignette.name, changes, reference, list(arms))
    return rows


def _of_arm(changes: pd.DataFrame, arm: str) -> Values:
    values = changes.loc[changes.index.get_level_values("arm") == arm, "change"]
    return values.to_numpy(dtype=np.float64)


def _arm_rows(
    vignette: str, arm: str, name: str, values: Values, change: Change, reference: VignetteReference
) -> list[tuple[object, ...]]:
    n = len(values)
    if n < 2:
        return []
    human = change.arms[arm]
    human_n = reference.n / len(change.arms)
    rng = streams.rng(0, f"bootstrap.{vignette}.{arm}.{name}")
    sd_se = bootstrap_se(values, lambda v: trimmed_sd(v, reference.trim), rng, _BOOTSTRAP_DRAWS)
    human_sd_se = float(np.hypot(sd_se * np.sqrt(n / human_n), _ROUNDING_OF_SDS))
    mean_se = float(np.std(values, ddof=1) / np.sqrt(n))
    return [
        _row((vignette, arm, name, "mean"), (human.mean, human.se), (float(values.mean()), mean_se), n),
        _row(
            (vignette, arm, name, "trimmed SD"),
            (human.trimmed_sd, human_sd_se),
            (trimmed_sd(values, reference.trim), sd_se),
            n,
        ),
    ]


def _pooled_rows(
    vignette: str, changes: dict[str, pd.DataFrame], reference: VignetteReference, arms: Sequence[str]
) -> list[tuple[object, ...]]:
    def flipped(frame: pd.DataFrame, arm: str) -> Values:
        return _of_arm(frame, arm) * (-1 if arm in reference.reversed else 1)

    rows = []
    for name, frame in changes.items():
        by_arm = [direction_shares(flipped(frame, arm)) for arm in arms]
        n = sum(len(_of_arm(frame, arm)) for arm in arms)
        published = reference.changes[name].directions.model_dump()
        rows += _share_rows(vignette, name, published, by_arm, n, reference.n)
    if reference.joint:
        first, second = (changes[name] for name in reference.joint.of)
        both = first.rename(columns={"change": "first"}).join(second.rename(columns={"change": "second"}), how="inner")
        by_arm = []
        for arm in arms:
            part = both[both.index.get_level_values("arm") == arm] * (-1 if arm in reference.reversed else 1)
            by_arm.append(joint_direction_shares(part["first"].to_numpy(), part["second"].to_numpy()))
        published = reference.joint.model_dump(exclude={"of"})
        rows += _share_rows(vignette, " and ".join(reference.joint.of), published, by_arm, len(both), reference.n)
    return rows


def _share_rows(
    vignette: str, name: str, published: dict[str, float], by_arm: list[dict[str, float]], n: int, human_n: int
) -> list[tuple[object, ...]]:
    total = sum(published.values())
    scale = 100 if total > 2 else 1
    rows = []
    for direction, figure in published.items():
        p = figure / scale
        simulated = float(np.mean([shares[direction] for shares in by_arm]))
        human_se = float(np.hypot(np.sqrt(p * (1 - p) / human_n), _ROUNDING_OF_SHARES))
        se = float(np.sqrt(simulated * (1 - simulated) / n))
        rows.append(_row((vignette, "pooled", name, f"share {direction}"), (p, human_se), (simulated, se), n))
    return rows


def _row(
    what: tuple[str, str, str, str], human: tuple[float, float], simulated: tuple[float, float], n: int
) -> tuple[object, ...]:
    z = (simulated[0] - human[0]) / float(np.hypot(human[1], simulated[1]))
    return (*what, *human, *simulated, z, n)
