"""The regressions that the field expects: answers on who people are, with robust or clustered errors."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.errors import TargetError
from popsim.evaluate.statistics import Values

_MOST_LEVELS = 12
_FOLDS = 5


def regress(
    answers: Values, attributes: pd.DataFrame, weights: Values | None = None, cluster: NDArray[np.int64] | None = None
) -> pd.DataFrame:
    """Regress answers on attributes by (weighted) least squares.

    Args:
        answers: (n,) answers.
        attributes: A row per answer; categories become a column for each level but the most frequent one.
        weights: (n,) survey weights; equal unless given.
        cluster: (n,) what errors are clustered by, such as the person where each answers several times; without it
            they are robust to heteroskedasticity (HC1).

    Returns:
        A row per term: ``term, estimate, se, low, high, p, n, r2, errors``.

    Raises:
        TargetError: There are too few answers for so many terms, or statsmodels is not installed.

    Example:
        >>> sex = pd.DataFrame({"sex": ["f", "m"] * 50})
        >>> table = regress(np.where(sex["sex"] == "m", 3.0, 1.0) + np.tile([0.1, -0.1, -0.1, 0.1], 25), sex)
        >>> table[["term", "estimate"]].round(2).values.tolist()
        [['intercept', 1.0], ['sex: m', 2.0]]
    """
    try:
        import statsmodels.api as sm
    except ImportError:
        raise TargetError("a regression needs statsmodels; run: pip install 'popsim[evaluate]'") from None
    terms = design(attributes)
    if len(answers) <= terms.shape[1] + 1:
        raise TargetError(f"a regression of {len(answers)} answers on {terms.shape[1]} terms; give fewer attributes")
    model = sm.WLS(answers, terms, weights=np.ones(len(answers)) if weights is None else weights)
    clustered = cluster is not None
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": cluster}) if clustered else model.fit(cov_type="HC1")
    with np.errstate(divide="ignore", invalid="ignore"):  # answers that are all the same have no R2
        ends = np.asarray(fit.conf_int(0.05))
        r2 = float(fit.rsquared) if np.ptp(answers) > 0 else float("nan")
        found = {"estimate": fit.params, "se": fit.bse, "low": ends[:, 0], "high": ends[:, 1], "p": fit.pvalues}
    columns = {name: np.asarray(values) for name, values in found.items()}
    kind = "clustered" if clustered else "robust (HC1)"
    return pd.DataFrame({"term": terms.columns, **columns, "n": len(answers), "r2": r2, "errors": kind})


def individual_fit(human: Values, simulated: Values, attributes: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Say how well simulated answers foretell those of the very same people, beside models fitted to their answers.

    Args:
        human: (n,) human answers.
        simulated: (n,) what was simulated for the same people.
        attributes: What the simulation knew of them.
        seed: Of the folds.

    Returns:
        A row for ``simulated``, ``simulated, rescaled`` (a line fitted across folds), ``OLS`` and ``boosting``, each
        fitted to other people's answers: ``correlation`` and ``r2``, which is negative where the mean does better.

    Raises:
        TargetError: There are too few people, or scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.linear_model import LinearRegression
        from sklearn.model_selection import KFold, cross_val_predict
    except ImportError:
        raise TargetError("models to compare with need scikit-learn; run: pip install 'popsim[evaluate]'") from None
    if not len(human) == len(simulated) == len(attributes) >= 2 * _FOLDS:
        raise TargetError(
            f"{len(human)} human and {len(simulated)} simulated answers of {len(attributes)} people; give one of each "
            f"for {2 * _FOLDS} people or more"
        )
    terms = design(attributes).drop(columns="intercept").to_numpy(np.float64)
    folds = KFold(_FOLDS, shuffle=True, random_state=seed)
    guesses = {
        "simulated": simulated,
        "simulated, rescaled": cross_val_predict(LinearRegression(), simulated[:, None], human, cv=folds),
        "OLS": cross_val_predict(LinearRegression(), terms, human, cv=folds),
        "boosting": cross_val_predict(HistGradientBoostingRegressor(random_state=seed), terms, human, cv=folds),
    }
    rows = [(name, _correlation(human, guess), _r2(human, guess)) for name, guess in guesses.items()]
    return pd.DataFrame(rows, columns=["who", "correlation", "r2"])


def adjusted_r2(answers: Values, attributes: pd.DataFrame) -> float:
    """Share of the variance of answers that attributes explain, less what chance would.

    Example:
        >>> round(adjusted_r2(np.arange(100.0), pd.DataFrame({"x": np.arange(100.0)})), 6)
        1.0
    """
    terms = design(attributes).to_numpy(np.float64)
    rank = int(np.linalg.matrix_rank(terms))
    spread = float(((answers - answers.mean()) ** 2).sum()) if len(answers) else 0.0
    if len(answers) <= rank or spread == 0:
        return float("nan")
    left = answers - terms @ np.linalg.lstsq(terms, answers, rcond=None)[0]
    return 1 - float((left**2).sum()) / spread * (len(answers) - 1) / (len(answers) - rank)


def design(attributes: pd.DataFrame) -> pd.DataFrame:
    """Turn attributes into regressors: an intercept, numbers as they are, a mark for each level but the most frequent.

    Example:
        >>> list(design(pd.DataFrame({"sex": ["f", "m", "f"], "age": [30, 40, 50]})))
        ['intercept', 'sex: m', 'age']
    """
    columns: dict[str, Sequence[float]] = {"intercept": [1.0] * len(attributes)}
    for name in attributes:
        values = attributes[name]
        if pd.api.types.is_numeric_dtype(values) and not isinstance(values.dtype, pd.CategoricalDtype):
            columns[str(name)] = values.to_numpy(np.float64).tolist()
            continue
        said = values.astype("str")
        levels = said.value_counts(sort=True).index.tolist()
        for level in sorted(levels[1:_MOST_LEVELS]):
            columns[f"{name}: {level}"] = said.eq(level).to_numpy(np.float64).tolist()
    return pd.DataFrame(columns, index=attributes.index)


def _correlation(human: Values, guess: Values) -> float:
    return float(np.corrcoef(human, guess)[0, 1]) if np.ptp(guess) > 0 and np.ptp(human) > 0 else float("nan")


def _r2(human: Values, guess: Values) -> float:
    return 1 - float(((human - guess) ** 2).sum() / ((human - human.mean()) ** 2).sum())
