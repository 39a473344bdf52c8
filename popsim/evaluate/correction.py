"""Simulated answers corrected by a few human ones: prediction-powered inference.

The estimators are those of Angelopoulos, Duchi and Zrnic (2023, "PPI++: Efficient Prediction-Powered Inference",
arXiv 2311.01453), power-tuned coefficient by coefficient, written for weighted answers with linearised (Hajek) errors.
An estimate is the human one plus lambda times what the simulated answers of the population say that those of the very
same humans do not. Lambda is 0 for a simulator that knows nothing, so nothing is lost; a biased simulator does no harm,
because its bias stands on both sides. It holds for humans who are a sample of that population, or whose weights make
them one (`popsim.evaluate.overlap`), and whose answers the simulator has never seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from popsim.errors import TargetError
from popsim.evaluate.statistics import Fit, Values, least_squares
from popsim.evaluate.targets import TargetFile
from popsim.population import effective_size

_LEVEL = 0.95
_FEWEST = 20
_POINTS = 400


@dataclass(frozen=True)
class Labelled:
    """Humans and their simulated twins, and the simulated population that they are a sample of."""

    human: Values
    """(n,) human answers."""
    twin: Values
    """(n,) what was simulated for those very people, the mean of several draws."""
    population: Values
    """(N,) what was simulated, in the same way, for the population."""
    weight: Values | None = None
    """(n,) weights that make the humans a sample of the population; equal unless given."""
    population_weight: Values | None = None
    """(N,) weights of the population; equal unless given."""
    seen: NDArray[np.bool_] | None = None
    """(n,) whose answers the simulator was tuned on; these are left out."""

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(n,) whom to use."""
        return np.ones(len(self.human), dtype=bool) if self.seen is None else ~self.seen

    @property
    def weights(self) -> tuple[Values, Values]:
        """Weights of the humans that are used and of the population, with mean 1."""
        ours = None if self.weight is None else self.weight[self.kept]
        return _scaled(ours, int(self.kept.sum())), _scaled(self.population_weight, len(self.population))

    def __post_init__(self) -> None:
        n, population = len(self.human), len(self.population)
        for name, values, length in (
            ("twin", self.twin, n),
            ("weight", self.weight, n),
            ("seen", self.seen, n),
            ("population_weight", self.population_weight, population),
        ):
            if values is not None and len(values) != length:
                raise TargetError(f"correction: {name} has {len(values)} rows, not {length}; give one for each person")
        used = int(self.kept.sum())
        if used < _FEWEST or population < _FEWEST:
            raise TargetError(
                f"correction: {used} human answers and {population} simulated ones; needs at least {_FEWEST} of each, "
                "without those that the simulator was tuned on"
            )
        for name, values in (("human", self.human), ("twin", self.twin), ("population", self.population)):
            if not np.isfinite(values).all():
                raise TargetError(f"correction: {name} holds a missing answer; drop the person on both sides")


class Corrected(NamedTuple):
    """A corrected figure, beside that of the humans alone."""

    value: float
    se: float
    low: float
    high: float
    human: float
    """The figure of the human answers alone."""
    human_se: float
    lam: float
    """How far the simulated answers are trusted: 0 not at all, 1 fully."""
    people: int
    """Human answers that were used."""
    worth: float
    """Human answers that would have been needed without the simulated ones for the same error."""
    human_low: float
    human_high: float
    simulated: float
    """The figure of the simulated population alone."""
    simulated_low: float
    simulated_high: float


def correct_mean(given: Labelled) -> Corrected:
    """Correct a mean, or a share where answers are 0 and 1.

    Args:
        given: Humans, their twins and the population.

    Raises:
        TargetError: There are too few answers, or they do not fit each other.

    Example:
        >>> random = np.random.default_rng(0)
        >>> truth = random.normal(size=5100)
        >>> guess = truth + 0.5 + random.normal(0, 0.3, 5100)      # a biased simulator that knows a lot
        >>> found = correct_mean(Labelled(truth[:100], guess[:100], guess[100:]))
        >>> found.low < 0 < found.high, found.se < found.human_se / 2, found.worth > 400
        (True, True, True)
    """
    return correct_ols(given, np.ones((len(given.human), 1)), np.ones((len(given.population), 1)))[0]


def correct_ols(given: Labelled, terms: Values, population_terms: Values) -> list[Corrected]:
    """Correct the coefficients of a least-squares regression; errors are robust to heteroskedasticity.

    Args:
        given: Humans, their twins and the population.
        terms: (n, p) regressors of the humans, a column of ones among them where an intercept is wanted.
        population_terms: (N, p) the same of the population.

    Returns:
        One figure for each of the p coefficients.

    Raises:
        TargetError: The regressors do not fit the answers, or some are a combination of others.
    """
    keep, (w, v) = given.kept, given.weights
    x = terms[keep]
    human = _least_squares(x, given.human[keep], w)
    twin = _least_squares(x, given.twin[keep], w)
    whole = _least_squares(population_terms, given.population, v)
    return _combined(human, twin, whole, effective_size(w) - x.shape[1])


def correct_effect(given: Labelled, treated: Values, population_treated: Values) -> Corrected:
    """Correct the effect of a treatment: the mean of the treated less that of the others.

    Args:
        given: Humans, their twins and the population.
        treated: (n,) 1 for humans who were treated, else 0.
        population_treated: (N,) the same of the simulated population.
    """
    terms, others = (np.column_stack([np.ones(len(one)), one]) for one in (treated, population_treated))
    return correct_ols(given, terms, others)[1]


def correct_quantile(given: Labelled, share: float = 0.5) -> Corrected:
    """Correct a quantile, by finding where the corrected share of answers below is ``share``.

    The interval holds every value at which that share cannot be told from ``share``; ``se`` is a quarter of its width.

    Args:
        given: Humans, their twins and the population.
        share: Which quantile, between 0 and 1.
    """
    if not 0 < share < 1:
        raise TargetError(f"correction: a quantile is between 0 and 1, not {share:g}")
    keep, (w, v) = given.kept, given.weights
    grid = np.unique(np.concatenate([given.human, given.twin, given.population]))
    grid = grid[np.unique(np.linspace(0, len(grid) - 1, _POINTS).astype(np.intp))]
    freedom = effective_size(w) - 1
    people = _shares_below(given.human[keep], w, grid), _shares_below(given.twin[keep], w, grid)
    found = _combined(*people, _shares_below(given.population, v, grid), freedom)
    value, low, high = _inverted(grid, share, [(one.value, one.low, one.high) for one in found])
    human, a, b = _inverted(grid, share, [(one.human, one.human_low, one.human_high) for one in found])
    simulated, c, d = _inverted(grid, share, [(o.simulated, o.simulated_low, o.simulated_high) for o in found])
    at = found[int(np.argmin([abs(one.value - share) for one in found]))]
    width, human_width = high - low, b - a
    worth = at.people * (human_width / width) ** 2 if width > 0 else np.nan
    figures = value, width / 4, low, high, human, human_width / 4, at.lam, at.people, worth
    return Corrected(*figures, a, b, simulated, c, d)


def _inverted(grid: Values, share: float, found: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Find the point of a grid below which a share lies, and the first and the last one where it might."""
    at = int(np.argmin([abs(value - share) for value, _, _ in found]))
    inside = [float(point) for point, (_, low, high) in zip(grid, found, strict=True) if low <= share <= high]
    return float(grid[at]), *((inside[0], inside[-1]) if inside else (float(grid[at]), float(grid[at])))


def calibrated(human: Values, twin: Values, population: Values, folds: int = 5, seed: int = 0) -> tuple[Values, Values]:
    """Bring simulated answers onto the human scale by a straight line, fitted across folds so that none sees itself.

    Every human's twin is moved by a line fitted to the humans of the other folds, the population by the mean of the
    lines (Zrnic and Candès 2024, "Cross-prediction-powered inference"). The results may be corrected as if the
    simulator had not been tuned on these humans.

    Args:
        human: (n,) human answers.
        twin: (n,) what was simulated for them.
        population: (N,) what was simulated for the population.
        folds: In how many parts the humans are split.
        seed: Of the split.

    Returns:
        (n,) twins and (N,) population, on the human scale.

    Example:
        >>> human = np.arange(40.0)
        >>> twin, population = calibrated(human, 3 + 2 * human, np.array([3.0, 23.0]))
        >>> bool(np.allclose(twin, human)), population.round(6).tolist()
        (True, [0.0, 10.0])
    """
    fold = np.random.default_rng(seed).permutation(np.arange(len(human)) % folds)
    moved: Values = np.empty(len(human))
    lines = []
    for k in range(folds):
        train = fold != k
        flat = np.ptp(twin[train]) == 0
        line = np.array([0.0, human[train].mean()]) if flat else np.polyfit(twin[train], human[train], 1)
        moved[~train] = np.polyval(line, twin[~train])
        lines.append(line)
    return moved, np.asarray(np.polyval(np.mean(lines, axis=0), population))


def quantile_map(simulated: Values, human: Values) -> Values:
    """Give simulated answers the distribution of human ones, rank by rank: a calibration, no guarantee.

    It says nothing that the human answers do not say, and the order of the simulated respondents is kept whether it
    is right or not. Do it for each subgroup by itself.

    Args:
        simulated: (n,) answers.
        human: (m,) answers.

    Example:
        >>> quantile_map(np.array([5.0, 1.0, 3.0]), np.array([10.0, 20.0, 30.0])).tolist()
        [30.0, 10.0, 20.0]
    """
    rank = (stats.rankdata(simulated) - 0.5) / len(simulated)
    return np.asarray(np.quantile(human, rank, method="hazen"))


def refuse_aggregates(files: Sequence[TargetFile]) -> None:
    """Refuse to correct by published figures.

    Raises:
        TargetError: A file holds figures and no rows of answers.
    """
    for file in files:
        if file.rows is None:
            raise TargetError(
                f"{file.name}: holds published figures; a correction needs rows of human answers with their "
                "covariates, so that the same people can be simulated (rows: here, from_table: in a population)"
            )


def _scaled(weight: Values | None, n: int) -> Values:
    """Give weights with mean 1."""
    given = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    if not (given > 0).all():
        raise TargetError(f"correction: weights must be positive, not {given[~(given > 0)][0]:g}; leave these out")
    return np.asarray(given / given.mean())


def _least_squares(x: Values, y: Values, w: Values) -> Fit:
    """Fit weighted least squares to regressors that are fit for it."""
    if len(x) != len(y):
        raise TargetError(f"correction: {len(x)} rows of regressors for {len(y)} answers; give one row per answer")
    if np.linalg.matrix_rank(x) < x.shape[1]:
        raise TargetError("correction: a regressor is a combination of others; leave one out")
    return least_squares(x, y, w)


def _shares_below(values: Values, w: Values, grid: Values) -> Fit:
    """Take the share of answers up to each point of a grid."""
    marks = (values[:, None] <= grid).astype(np.float64)
    shares = w @ marks / w.sum()
    return Fit(shares, (w / (1 - w / w.sum()))[:, None] * (marks - shares))


def _combined(human: Fit, twin: Fit, population: Fit, freedom: float) -> list[Corrected]:
    """Correct k figures, each with the lambda that gives it the least variance."""
    n, size = len(human.moves), len(population.moves)
    noise = population.moves.var(axis=0) / size
    total = twin.moves.var(axis=0) / n + noise
    together = np.mean(human.moves * twin.moves, axis=0) / n
    lam = np.clip(np.divide(together, total, out=np.zeros_like(total), where=total > 0), 0.0, 1.0)
    value = human.value - lam * (twin.value - population.value)
    se = np.sqrt((human.moves - lam * twin.moves).var(axis=0, ddof=1) / n + lam**2 * noise)
    alone = np.sqrt(human.moves.var(axis=0, ddof=1) / n)
    times = stats.t.ppf((1 + _LEVEL) / 2, freedom)
    worth = n * np.divide(alone, se, out=np.full_like(se, np.nan), where=se > 0) ** 2
    far = stats.norm.ppf((1 + _LEVEL) / 2) * np.sqrt(noise)
    columns = {
        "value": value, "se": se, "low": value - times * se, "high": value + times * se,
        "human": human.value, "human_se": alone, "lam": lam, "worth": worth,
        "human_low": human.value - times * alone, "human_high": human.value + times * alone,
        "simulated": population.value,
        "simulated_low": population.value - far, "simulated_high": population.value + far,
    }  # fmt: skip
    return [
        Corrected(people=n, **{name: float(figures[k]) for name, figures in columns.items()}) for k in range(len(se))
    ]
