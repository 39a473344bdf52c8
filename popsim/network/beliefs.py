"""What people believe about a number, and how others and signals move it.

Every rule takes `Beliefs` and gives new ones. A belief is a mean and a precision in one unit; precision, one over the
variance, is the single measure of confidence: it is the weight of the prior in the Bayesian rule, and beside what was
heard it gives the stubbornness of the Friedkin-Johnsen rule, so that both rules move a person by the same amount.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import ndtri

from popsim.errors import NetworkError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What n people believe about one variable."""

    variable: str
    """For example ``inflation, next 12 months``."""
    unit: str
    """For example ``percentage points``."""
    mean: Floats
    """(n,) in the unit."""
    precision: Floats
    """(n,) one over the variance, in one over the unit squared; above 0."""

    @property
    def spread(self) -> Floats:
        """(n,) standard deviation of each person's belief, in the unit."""
        return np.asarray(self.precision**-0.5)


@dataclass(frozen=True, slots=True)
class Signal:
    """What an item says about a variable."""

    variable: str
    unit: str
    value: float
    sd: float
    """Standard deviation of its error, in the unit; above 0."""
    source: str
    """Whose figure it is: items with one source say the same thing once."""


def prior_beliefs(
    variable: str, unit: str, quantiles: Sequence[Mapping[float, float]], group: ArrayLike, sd: ArrayLike, draw: Floats
) -> Beliefs:
    """Draw prior beliefs from published quantiles by group.

    Args:
        variable: What the beliefs are about.
        unit: Of the quantiles and of ``sd``.
        quantiles: For each group, value by probability, at least two, for example ``{0.25: 1, 0.5: 3, 0.75: 5}``. In
            between and beyond, the value is a straight line in the normal score of the probability.
        group: (n,) position of each person's group in ``quantiles``.
        sd: Standard deviation of each person's own belief, (n,) or one for all; smaller for the confident.
        draw: (n,) uniform numbers from 0 to 1, for example ``popsim.streams.uniform(key, range(n))``.

    Returns:
        The beliefs.

    Raises:
        NetworkError: Fewer than two quantiles, probabilities outside 0 to 1, falling values, or sd not positive.

    Example:
        >>> quartiles = {0.25: 1.0, 0.5: 3.0, 0.75: 5.0}
        >>> prior_beliefs("inflation", "pp", [quartiles], [0, 0], 2, np.array([0.5, 0.75])).mean.tolist()
        [3.0, 5.0]
    """
    codes, own_sd = np.asarray(group), np.broadcast_to(np.asarray(sd, dtype=np.float64), draw.shape)
    if not (np.isfinite(own_sd) & (own_sd > 0)).all():
        raise NetworkError(f"beliefs.{variable}: sd {own_sd.min():g} {unit}; allowed: above 0")
    score, mean = ndtri(np.clip(draw, 1e-12, 1 - 1e-12)), np.empty(draw.shape)
    for k, table in enumerate(quantiles):
        chance, value = np.array(sorted(table.items()), dtype=np.float64).reshape(-1, 2).T
        if len(chance) < 2 or chance[0] <= 0 or chance[-1] >= 1 or (np.diff(value) < 0).any():
            raise NetworkError(
                f"beliefs.{variable}: quantiles {dict(table)} of group {k}; allowed: at least two, probabilities "
                f"between 0 and 1, values that do not fall"
            )
        knots, mine = ndtri(chance), codes == k
        slope = np.diff(value) / np.diff(knots)
        piece = np.clip(np.searchsorted(knots, score[mine]) - 1, 0, len(slope) - 1)
        mean[mine] = value[piece] + slope[piece] * (score[mine] - knots[piece])
    return Beliefs(variable, unit, mean, own_sd**-2.0)


def hear(beliefs: Beliefs, signals: Sequence[Signal], times: NDArray[np.number], *, once: bool = True) -> Beliefs:
    """Move beliefs by signals, each weighed by its precision (Bayes' rule for normal beliefs and independent errors).

    posterior = (k0 * prior + sum of k_j * m_j) / (k0 + sum of k_j), and the precision becomes the denominator.

    Args:
        beliefs: Before.
        signals: What was said.
        times: (n, signals) how often each person heard each signal; flags will do. For sources to count once over all
            steps, give the beliefs of the start and all that was heard since.
        once: Whether a source counts once however many friends or items brought it: its latest signal in this list
            is taken. Otherwise every time counts.

    Returns:
        Beliefs after. Someone who heard nothing keeps mean and precision.

    Raises:
        NetworkError: A signal is about another variable or in another unit, or its sd is not positive.

    Example:
        >>> prior = Beliefs("inflation", "pp", np.array([5.0, 5.0]), np.array([1.0, 3.0]))
        >>> forecast = Signal("inflation", "pp", value=3.0, sd=1.0, source="central bank")
        >>> hear(prior, [forecast], np.array([[1], [1]])).mean.tolist()
        [4.0, 4.5]
    """
    for signal in signals:
        if (signal.variable, signal.unit) != (beliefs.variable, beliefs.unit):
            raise NetworkError(
                f"signal of {signal.source}: it says {signal.variable} in {signal.unit}; this belief is about "
                f"{beliefs.variable} in {beliefs.unit}; leave the numbers out and let the text speak"
            )
        if not 0 < signal.sd < np.inf:
            raise NetworkError(f"signal of {signal.source}: sd {signal.sd:g} {signal.unit}; allowed: above 0")
    counted = latest_of_source(times, [signal.source for signal in signals]) if once else np.asarray(times)
    precision, shift = beliefs.precision.copy(), np.zeros_like(beliefs.mean)
    for k, signal in enumerate(signals):
        weight = counted[:, k] * signal.sd**-2.0
        precision += weight
        shift += weight * (signal.value - beliefs.mean)
    return replace(beliefs, mean=beliefs.mean + shift / precision, precision=precision)


def latest_of_source(times: NDArray[np.number], sources: Sequence[str]) -> NDArray[np.bool_]:
    """Keep of each source the last signal that a person heard.

    Args:
        times: (n, signals) how often each person heard each signal.
        sources: Of each signal, in the order in which they came out.

    Returns:
        (n, signals) whether the signal counts.

    Example:
        >>> latest_of_source(np.array([[2, 1, 1]]), ["bank", "paper", "bank"]).tolist()
        [[False, True, True]]
    """
    counts = np.asfortranarray(np.asarray(times) > 0)
    for later in range(1, len(sources)):
        for earlier in range(later):
            if sources[earlier] == sources[later]:
                counts[:, earlier] &= ~counts[:, later]
    return counts


def stubbornness(beliefs: Beliefs, heard_precision: ArrayLike) -> Floats:
    """Turn confidence into the weight that people keep on what they thought first: k0 / (k0 + sum of k_j).

    Args:
        beliefs: Whose precision is k0.
        heard_precision: Sum of the precisions of what each person hears, (n,) or one for all.

    Returns:
        (n,) from 0 to 1, for `friedkin_johnsen`.

    Example:
        >>> stubbornness(Beliefs("inflation", "pp", np.zeros(2), np.array([1.0, 3.0])), 1.0).tolist()
        [0.5, 0.75]
    """
    return np.asarray(beliefs.precision / (beliefs.precision + np.asarray(heard_precision)))


def agreement(beliefs: Beliefs, signal: Signal) -> Floats:
    """Say how well a signal fits what people believe: 1 at their mean, 0 about 1.2 of their sd away, -1 far away.

    Args:
        beliefs: What they believe.
        signal: What was said, about the same variable.

    Returns:
        (n,) 2 exp(-z**2 / 2) - 1 with z the gap in standard deviations, for `popsim.network.share_probability`.

    Example:
        >>> belief = Beliefs("inflation", "pp", np.array([3.0, 9.0]), np.array([1.0, 1.0]))
        >>> agreement(belief, Signal("inflation", "pp", 3.0, 1.0, "central bank")).round(2).tolist()
        [1.0, -1.0]
    """
    gap = (signal.value - beliefs.mean) ** 2 * beliefs.precision
    return np.asarray(2 * np.exp(-gap / 2) - 1)


def degroot(beliefs: Beliefs, graph: csr_array, own: float = 0.0) -> Beliefs:
    """Let everyone take the mean of those they follow (DeGroot 1974, "Reaching a consensus").

    Args:
        beliefs: Before.
        graph: The follow graph, by attention.
        own: Weight that people keep on their own mean, 0 to 1.

    Returns:
        Beliefs after; precision stays, and who follows nobody keeps their mean.

    Example:
        >>> graph = csr_array(np.array([[0, 1], [0, 0]], dtype=np.float32))
        >>> degroot(Beliefs("inflation", "pp", np.array([1.0, 3.0]), np.ones(2)), graph, own=0.5).mean.tolist()
        [2.0, 3.0]
    """
    return replace(beliefs, mean=own * beliefs.mean + (1 - own) * _heard_mean(beliefs.mean, graph))


def friedkin_johnsen(beliefs: Beliefs, graph: csr_array, first: Beliefs, stubborn: ArrayLike) -> Beliefs:
    """Let everyone mix what they thought first with the mean of those they follow (Friedkin and Johnsen 1990).

    Args:
        beliefs: Before.
        graph: The follow graph, by attention.
        first: What they thought first.
        stubborn: (n,) or one weight for all of what they thought first, 0 to 1; from `stubbornness`.

    Returns:
        Beliefs after; precision stays, and who follows nobody mixes what they thought first and now.

    Example:
        >>> graph = csr_array(np.array([[0, 1], [0, 0]], dtype=np.float32))
        >>> first = Beliefs("inflation", "pp", np.array([1.0, 3.0]), np.ones(2))
        >>> friedkin_johnsen(first, graph, first, 0.75).mean.tolist()
        [1.5, 3.0]
    """
    weight = np.asarray(stubborn, dtype=np.float64)
    return replace(beliefs, mean=weight * first.mean + (1 - weight) * _heard_mean(beliefs.mean, graph))


def bounded_confidence(beliefs: Beliefs, graph: csr_array, tolerance: ArrayLike) -> Beliefs:
    """Let everyone take the mean of themselves and of those they follow who think alike.

    Hegselmann and Krause 2002, "Opinion dynamics and bounded confidence", on a graph; all who count, count the same.

    Args:
        beliefs: Before.
        graph: The follow graph.
        tolerance: Largest distance at which someone counts, in the unit of the belief; (n,) or one for all, for
            example ``2 * beliefs.spread``.

    Returns:
        Beliefs after; precision stays.

    Example:
        >>> graph = csr_array(np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]], dtype=np.float32))
        >>> before = Beliefs("inflation", "pp", np.array([1.0, 2.0, 9.0]), np.ones(3))
        >>> bounded_confidence(before, graph, 1.0).mean.tolist()
        [1.5, 2.0, 9.0]
    """
    n = len(beliefs.mean)
    follower = np.repeat(np.arange(n), np.diff(graph.indptr))
    gap = beliefs.mean[graph.indices] - beliefs.mean[follower]
    alike = np.abs(gap) <= np.broadcast_to(np.asarray(tolerance, dtype=np.float64), n)[follower]
    total = np.bincount(follower[alike], weights=gap[alike], minlength=n)
    count = np.bincount(follower[alike], minlength=n)
    return replace(beliefs, mean=beliefs.mean + total / (1 + count))


def _heard_mean(mean: Floats, graph: csr_array) -> Floats:
    """Take the mean of those whom each person follows; one's own where there is nobody."""
    follows = np.flatnonzero(np.diff(graph.indptr))
    told = np.asarray(graph @ mean, dtype=np.float64)[follows]
    heard = mean.copy()
    heard[follows] = told / np.add.reduceat(graph.data, graph.indptr[follows], dtype=np.float64)
    return heard
