"""Learning rates: how far people move towards what they are told, as the information-provision literature measures it.

update = b0 + b1 T (signal - prior) + b2 T + b3 (signal - prior), with T = 1 for those to whom the message was shown at
random; b1 is the weight on the signal (Haaland, Roth and Wohlfart 2023, "Designing Information Provision Experiments",
p. 26). With the control group in the regression neither regression to the mean nor a common drift passes for learning.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from scipy.special import stdtrit

from popsim.evaluate.statistics import least_squares

Floats = NDArray[np.float64]
COLUMNS = ["confidence", "rate", "se", "low", "high", "wrong_direction", "treated", "control"]
_FEWEST = 10
_UPPER = 0.975


def learning_rate(
    prior: Floats, posterior: Floats, shown: NDArray[np.bool_], signal: float, weight: Floats | None = None
) -> dict[str, float]:
    """Estimate the weight on a signal, by weighted least squares with robust standard errors (HC3).

    Args:
        prior: (n,) answers before.
        posterior: (n,) answers after, in the same unit.
        shown: (n,) who was shown the signal, at random.
        signal: Its value.
        weight: (n,) survey weights; equal unless given.

    Returns:
        ``rate``, ``se``, the 95 % interval ``low`` to ``high``, ``wrong_direction``, the share of those shown it who
        moved away from it, and the counts ``treated`` and ``control``. NaN where fewer than ten were shown it or not.

    Example:
        >>> prior = np.linspace(0, 6, 200)
        >>> shown = np.arange(200) % 2 == 0
        >>> round(learning_rate(prior, prior + 0.3 * shown * (4.0 - prior), shown, 4.0)["rate"], 6)
        0.3
    """
    known = np.isfinite(prior) & np.isfinite(posterior)
    prior, posterior, shown = prior[known], posterior[known], shown[known]
    weights = np.ones(len(prior)) if weight is None else weight[known]
    gap, update, treat = signal - prior, posterior - prior, shown.astype(np.float64)
    counts = {"treated": int(shown.sum()), "control": int((~shown).sum())}
    if min(counts.values()) < _FEWEST:
        return {**dict.fromkeys(COLUMNS[1:6], np.nan), **counts}
    terms = np.column_stack([treat * gap, np.ones(len(gap)), treat, gap])
    fit = least_squares(terms, update, weights)
    estimate, se = float(fit.value[0]), float(np.sqrt((fit.moves[:, 0] ** 2).sum()) / len(gap))
    wide = float(stdtrit(len(gap) - terms.shape[1], _UPPER))
    wrong = weights * shown * (np.sign(update) == -np.sign(gap)) * (update != 0)
    return {
        "rate": estimate,
        "se": se,
        "low": estimate - wide * se,
        "high": estimate + wide * se,
        "wrong_direction": float(wrong.sum() / (weights * shown).sum()),
        **counts,
    }


def learning_rates(before_after: pd.DataFrame, signal: float, levels: Sequence[str]) -> pd.DataFrame:
    """Estimate the weight on a signal for everybody and by level of confidence.

    Args:
        before_after: A row per person with ``prior``, ``posterior``, ``shown``, ``confidence`` and ``weight``.
        signal: The value of the signal.
        levels: The levels of confidence, in order.

    Returns:
        A row per level after one for all, with the columns of `COLUMNS`; see `learning_rate`.
    """
    groups = [("all", before_after)]
    groups += [(level, before_after[before_after["confidence"].eq(level)]) for level in levels]
    rows = []
    for level, people in groups:
        prior, posterior, weight = (people[name].to_numpy(np.float64) for name in ("prior", "posterior", "weight"))
        found = learning_rate(prior, posterior, people["shown"].to_numpy(bool), signal, weight)
        rows.append({"confidence": level, **found})
    return pd.DataFrame(rows, columns=COLUMNS)


@lru_cache
def published_learning_rates() -> pd.DataFrame:
    """Give published weights on signals, each in its own context: study, belief, signal, rate and rate at follow-up.

    Example:
        >>> float(published_learning_rates()["rate"].median())
        0.43
    """
    text = resources.files("popsim.evaluate").joinpath("learning_rates.yaml").read_text(encoding="utf-8")
    return pd.DataFrame(yaml.safe_load(text)["studies"])
