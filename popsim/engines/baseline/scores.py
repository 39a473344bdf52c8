"""How a person bends the fitted draws of ``baseline``: modelling assumptions in tables, and the latent they make.

Everything in capitals below is an assumption, not an estimate, except where a source is named. A draw is a quantile
function applied to a rank, and the rank comes from a latent: loading times score for the person's prior and traits,
plus standard normal noise. The latent is turned into a rank by its own distribution over a population with the shares
below (a mixture of normals), separately for each level of confidence. So whoever expects rising prices ranks higher
than others, while ranks over that population stay uniform and the fitted moments stay as they are: a Gaussian copula
between person and answer. What a person has heard moves the latent and the level without such a balance, because
hearing something is meant to move the population.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from popsim.engines.baseline.moments import Floats, Ints
from popsim.errors import EngineError
from popsim.streams import stream, uniform

LEVELS = ("extremely weak", "weak", "moderate", "strong", "extremely strong")
LEVEL_SHARES = (0.10, 0.20, 0.40, 0.20, 0.10)
"""Shares of the confidence levels that rounding is averaged over; no source."""

# One value or row per level, and a last one for people whose confidence is not known.
PRIOR_LOADING = np.array([0.30, 0.50, 0.70, 0.90, 1.10, 0.70])
"""Latent standard deviations per unit of a prior's score; the confident go by their priors."""
SIGNAL_WEIGHT = np.array([0.45, 0.38, 0.30, 0.22, 0.15, 0.30])
"""Weight of one heard signal against the own view; the band is read off Haaland, Roth and Wohlfart (2023), Table 1."""
SIGNAL_SHIFT = 0.2
"""Latent standard deviations of a change per SD of the change that a signal lies off the anchor, times its weight."""
_HEAPING = np.array(
    [
        [0.45, 0.30, 0.12, 0.10, 0.02, 0.01],
        [0.35, 0.30, 0.15, 0.14, 0.04, 0.02],
        [0.25, 0.28, 0.18, 0.20, 0.06, 0.03],
        [0.15, 0.25, 0.20, 0.26, 0.09, 0.05],
        [0.10, 0.20, 0.20, 0.30, 0.12, 0.08],
    ]
)
HEAPING = np.vstack([_HEAPING, LEVEL_SHARES @ _HEAPING])
"""Share of people who round to each of `popsim.engines.baseline.moments.STEPS`; the unsure round more."""

DENSITY_WIDTH = np.array([0.30, 0.24, 0.18, 0.14, 0.10, 0.18])
"""Width of a person's density over bins, as a share of the number of bins; the unsure spread theirs."""
DENSITY_SPREAD = 0.6
"""Standard deviation of the logarithm of that width between people of one level."""


class Driver(NamedTuple):
    """A column that bends the answers about a variable: loading (None: by confidence), and (share, score) by word."""

    column: str
    module: str
    loading: float | None
    words: dict[str, tuple[float, float]]


def ordered(*words: tuple[str, float]) -> dict[str, tuple[float, float]]:
    """Score ordered words by the mean of a standard normal that is cut into their shares.

    Example:
        >>> ordered(("less", 0.5), ("more", 0.5))["more"]
        (0.5, 0.7978845608028654)
    """
    shares = np.array([share for _, share in words]) / sum(share for _, share in words)
    cuts = ndtri(np.concatenate([[0.0], np.cumsum(shares)[:-1], [1.0]]))
    density = np.exp(-(cuts**2) / 2) / np.sqrt(2 * np.pi)
    scores = (density[:-1] - density[1:]) / shares
    return {word: (float(p), float(s)) for (word, _), p, s in zip(words, shares, scores, strict=True)}


# Shares of the priors: Michigan Surveys of Consumers, 2019Q1. Those of sex, age and income are rounded. That women, the
# old and the poor expect more inflation: Survey of Consumer Expectations, medians by group 2015-2019, and for women an
# Ohio survey of 1998-2001 (+2.1 points) and a Chicago Booth survey of 2015 (+0.5). Loadings are set, not estimated.
_SEX = {"female": (0.51, 0.98), "male": (0.49, -1.02)}
_INCOME = ordered(("low", 1 / 3), ("middle", 1 / 3), ("high", 1 / 3))
_AGES = ordered(("18-34", 0.30), ("35-54", 0.33), ("55+", 0.37))
_BANDS = {"18-34": ("18-24", "25-34"), "35-54": ("35-44", "45-54"), "55+": ("55-64", "65-74", "75+")}
_AGE = {band: (_AGES[ages][0] / len(bands), _AGES[ages][1]) for ages, bands in _BANDS.items() for band in bands}
DRIVERS: dict[str, tuple[Driver, ...]] = {
    "inflation": (
        Driver("prices_prior", "priors", None, ordered(("down", 2.7), ("same", 12.3), ("up", 84.7))),
        Driver("sex", "personal", 0.25, _SEX),
        Driver("age_band", "personal", 0.25, _AGE),
        Driver("income_level", "personal", -0.15, _INCOME),
    ),
    "unemployment": (
        Driver("unemployment_prior", "priors", None, ordered(("less", 22.3), ("same", 48.3), ("more", 28.7))),
        Driver("income_level", "personal", -0.10, _INCOME),
    ),
}
"""What bends the answers about a variable, which is found by its name within the name of a change or question. Party
has no row: it moves answers through the priors, and Andre et al. (2022) find no effect of it on the response itself."""


class Heard(NamedTuple):
    """Signals about one variable: (n,) precision-weighted mean, and (n,) weight of them all against the own view."""

    value: Floats
    weight: Floats


class Group:
    """People who are asked the same questions, as arrays over their n prompts.

    Args:
        seeds: The seeds of their prompts.
        facts: The facts of their prompts.

    Raises:
        EngineError: A confidence level or a prior is a word that the tables above do not know.

    Example:
        >>> facts = {"person": {"confidence": "weak"}, "modules": frozenset({"confidence"}), "heard": ()}
        >>> Group([1], [facts]).level.tolist()
        [1]
    """

    def __init__(self, seeds: Sequence[int], facts: Sequence[Mapping[str, Any]]) -> None:
        self.seeds: NDArray[np.uint64] = np.array(seeds, dtype=np.uint64)
        self.facts = facts
        self._codes: dict[str, Ints] = {}
        self.level = self._coded("confidence", "confidence", LEVELS)
        self.heaping = (self.uniform("step")[:, None] > np.cumsum(HEAPING, axis=1)[self.level, :-1]).sum(axis=1)

    def __len__(self) -> int:
        """Count the people."""
        return len(self.facts)

    def uniform(self, name: str) -> Floats:
        """Draw one number in [0, 1) per person for a named purpose."""
        return uniform(self.seeds, stream(name))

    @cached_property
    def hears(self) -> bool:
        """Whether anybody has heard anything."""
        return any(facts["heard"] for facts in self.facts)

    def earlier(self, name: str) -> Floats | None:
        """Give what people answered to a question in the wave before, NaN where nothing; None where nobody has.

        Args:
            name: The question.
        """
        if not any(facts.get("earlier") for facts in self.facts):
            return None
        given = np.array([facts.get("earlier", {}).get(name, np.nan) for facts in self.facts], dtype=np.float64)
        return None if np.isnan(given).all() else given

    def _coded(self, column: str, module: str, words: Sequence[str]) -> Ints:
        """Number the words of a column; -1 where a person has none or the module is off.

        A user's own table may code traits in any words: those that the tables above do not know have no effect.
        """
        if column not in self._codes:
            self._codes[column] = self._code(column, module, words)
        return self._codes[column]

    def _code(self, column: str, module: str, words: Sequence[str]) -> Ints:
        codes: dict[str | None, int] = {word: i for i, word in enumerate(words)}
        codes[None] = -1
        given = [facts["person"].get(column) if module in facts["modules"] else None for facts in self.facts]
        if module == "personal":
            return np.array([codes.get(word, -1) for word in given], dtype=np.int64)
        odd = set(given) - set(codes)
        if odd:
            allowed = ", ".join(words)
            raise EngineError(f"engine baseline: {column} {odd.pop()!r} of a person is unknown; allowed: {allowed}")
        return np.array([codes[word] for word in given], dtype=np.int64)

    def rank(self, variable: str, name: str, shift: Floats | float = 0.0) -> Floats:
        """Rank every person in the population for one draw.

        Args:
            variable: What the draw is about.
            name: Names the draw's own noise.
            shift: What moves the latent beside the person.

        Returns:
            (n,) ranks between 0 and 1, uniform over a population with the shares of `DRIVERS`.
        """
        drivers = next((rows for key, rows in DRIVERS.items() if key in variable), ())
        latent = ndtri(np.clip(self.uniform(name), 1e-16, 1 - 1e-16)) + shift
        cells: list[list[tuple[float, Floats]]] = []
        for driver in drivers:
            code = self._coded(driver.column, driver.module, tuple(driver.words))
            loading = np.where(code < 0, 0.0, PRIOR_LOADING[self.level] if driver.loading is None else driver.loading)
            shares_and_scores = np.array(list(driver.words.values()))
            latent = latent + loading * shares_and_scores[code, 1]
            scores = dict.fromkeys(shares_and_scores[:, 1].tolist(), 0.0)
            for share, score in shares_and_scores.tolist():
                scores[score] += share
            cells.append([(share, loading * score) for score, share in scores.items()])
        rank = np.zeros(len(self))
        for cell in product(*cells):
            share = float(np.prod([part[0] for part in cell]))
            rank += share * ndtr(latent - sum(part[1] for part in cell))
        return np.clip(rank, 0.0, 1.0)

    def heard(self, names: frozenset[str], unit: str) -> Heard | None:
        """Weigh the signals that people have heard about a variable.

        Signals are averaged by precision; k of them count as k observations of the precision that one has against the
        own view, so the weight of one is that of `SIGNAL_WEIGHT` (Bayes' rule for normal beliefs).

        Args:
            names: What a signal may call the variable.
            unit: The unit of the answer; a signal in another unit is about something else.

        Returns:
            Means and weights, both 0 where a person has heard nothing of it; None where nobody has.
        """
        if not self.hears:
            return None
        sums = np.zeros((len(self), 3))
        for i, facts in enumerate(self.facts):
            for item in facts["heard"] if "social" in facts["modules"] else ():
                signal = item["signal"]
                if signal and signal["variable"] in names and signal["unit"] in (unit, ""):
                    precision = signal["sd"] ** -2.0
                    sums[i] += precision * signal["value"], precision, 1
        total, precision, count = sums.T
        if not count.any():
            return None
        odds = count * (SIGNAL_WEIGHT / (1 - SIGNAL_WEIGHT))[self.level]
        return Heard(total / np.where(count > 0, precision, 1.0), odds / (1 + odds))
