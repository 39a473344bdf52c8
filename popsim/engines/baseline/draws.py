"""How ``baseline`` draws the answers to each kind of question, for many people at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from popsim.engines.baseline.moments import Floats, Grid, Ints
from popsim.engines.baseline.scores import DENSITY_SPREAD, DENSITY_WIDTH, SIGNAL_SHIFT, Group, Heard

Spec = Mapping[str, Any]
"""A question, a vignette or a reference as plain data."""


def asked_in(vignette: Spec) -> list[Spec]:
    """List the questions of a vignette, page by page."""
    return [question for page in vignette["pages"] for question in page["questions"]]


class Outlook(NamedTuple):
    """Where people see a variable go: its name, and per person the direction (-1, 0, 1) and the level as written."""

    variable: str
    direction: list[int]
    level: list[Any]


class Drawn(NamedTuple):
    """Answers of a group of people: per question a list of JSON values, and per vignette its outlooks."""

    answers: dict[str, list[Any]]
    outlooks: dict[str, list[Outlook]]


class Draw(Protocol):
    """Draws one question, or questions that hang together."""

    def draw(self, group: Group, drawn: Drawn) -> None:
        """Add the answers of everybody in the group."""
        ...


def look_up(cdf: Floats, rank: Floats, row: Ints | int = 0) -> Ints:
    """Find the place of a rank in a cumulative distribution, by row where there are several.

    Args:
        cdf: (r, k) cumulative probabilities.
        rank: (n,) between 0 and 1.
        row: (n,) the row of each.

    Example:
        >>> look_up(np.array([[0.2, 0.7, 1.0]]), np.array([0.1, 0.2, 0.9])).tolist()
        [0, 1, 2]
    """
    rows, k = cdf.shape
    flat = (cdf + np.arange(rows)[:, None]).ravel()
    return np.asarray(np.clip(np.searchsorted(flat, rank + row, side="right") - np.asarray(row) * k, 0, k - 1))


def cumulate(pmf: Floats) -> Floats:
    """Add up probabilities by row, so that every row ends at 1.

    Example:
        >>> cumulate(np.array([0.5, 0.25, 0.25])).tolist()
        [[0.5, 0.75, 1.0]]
    """
    cdf = np.cumsum(np.atleast_2d(pmf), axis=1)
    return np.asarray(cdf / cdf[:, -1:])


@dataclass(frozen=True)
class Level:
    """A number: its grid, (6 or 1, k) cumulative probabilities by rounding step, and every answer as it is written."""

    name: str
    unit: str
    grid: Grid
    centre: float
    """The anchor in grid units, or the middle of the range."""
    cdf: Floats
    written: list[Any]

    def draw(self, group: Group, drawn: Drawn) -> None:
        """Draw the number on its own."""
        window = np.full(len(group), self.grid.lowest), np.full(len(group), self.grid.highest)
        at = self.choose(group, self.name, group.heard(frozenset({self.name}), self.unit), window)
        drawn.answers[self.name] = [self.written[i] for i in at.tolist()]

    def choose(self, group: Group, variable: str, heard: Heard | None, window: tuple[Ints, Ints]) -> Ints:
        """Draw levels within each person's window (lowest and highest legal level), as positions on the grid."""
        low, high = window[0] - self.grid.lowest, window[1] - self.grid.lowest
        row = group.heaping if len(self.cdf) > 1 else np.zeros(len(group), dtype=np.int64)
        below = np.where(low > 0, self.cdf[row, np.maximum(low, 1) - 1], 0.0)
        rank = group.rank(variable, f"{self.name}.level")
        at = look_up(self.cdf, below + rank * (self.cdf[row, high] - below), row)
        step = np.array(self.grid.steps)[group.heaping]
        before = group.earlier(self.name)
        if before is not None:
            at, step = self._remembered(before, at, step)
        if heard is not None:
            own = at + self.grid.lowest
            target = np.clip(self.grid.units(1.0) * heard.value, *window)
            # Rounded up or down at random, so that rounding to a step does not move the mean.
            moved = np.floor((own + heard.weight * (target - own)) / step + group.uniform(f"{self.name}.round"))
            moved = moved.astype(np.int64) * step
            at = np.where(heard.weight > 0, moved - self.grid.lowest, at)
        return np.clip(at, low, high)

    def _remembered(self, before: Floats, at: Ints, step: Ints) -> tuple[Ints, Ints]:
        """Let people say again what they remember to have answered, and round to what that was rounded to."""
        known = ~np.isnan(before)
        said = np.round(np.nan_to_num(before) * self.grid.units(1.0)).astype(np.int64)
        steps = np.array(self.grid.steps)
        fits = (said[:, None] % steps == 0) & (steps <= step[:, None])
        kept = np.clip(said - self.grid.lowest, 0, self.grid.highest - self.grid.lowest)
        return np.where(known, kept, at), np.where(known, np.where(fits, steps, steps.min()).max(axis=1), step)


@dataclass(frozen=True)
class Changes:
    """The changes of a vignette that has published moments, with the levels that they start from."""

    vignette: str
    names: tuple[str, ...]
    levels: tuple[tuple[Level, Level], ...]
    values: tuple[Ints, ...]
    cdfs: tuple[Floats, ...]
    sds: tuple[float, ...]
    table: Floats | None
    """(3, 3) directions of the first two changes, where their joint directions were published."""

    def draw(self, group: Group, drawn: Drawn) -> None:
        """Draw the changes, then levels where both the level and the changed level are legal."""
        first = np.zeros(len(group), dtype=np.int64)
        for i, (name, (baseline, shock)) in enumerate(zip(self.names, self.levels, strict=True)):
            heard = group.heard(frozenset({name, baseline.name, shock.name}), shock.unit)
            rank = group.rank(name, f"{self.vignette}.{name}.change", self._shift(i, heard))
            if i == 1 and self.table is not None:
                rank = _condition(rank, np.sign(first) + 1, self.table)
            change = self.values[i][look_up(self.cdfs[i], rank, group.heaping)]
            low = np.maximum(baseline.grid.lowest, shock.grid.lowest - change)
            high = np.minimum(baseline.grid.highest, shock.grid.highest - change)
            before = baseline.choose(group, name, heard, (low, high))
            after = (before + baseline.grid.lowest + change - shock.grid.lowest).tolist()
            drawn.answers[baseline.name] = [baseline.written[j] for j in before.tolist()]
            drawn.answers[shock.name] = levels = [shock.written[j] for j in after]
            drawn.outlooks.setdefault(self.vignette, []).append(Outlook(name, np.sign(change).tolist(), levels))
            first = change if i == 0 else first

    def _shift(self, i: int, heard: Heard | None) -> Floats | float:
        if heard is None:
            return 0.0
        baseline = self.levels[i][0]
        off = baseline.grid.units(1.0) * heard.value - baseline.centre
        return np.asarray(SIGNAL_SHIFT * heard.weight * np.clip(off / self.sds[i], -2, 2))


def _condition(rank: Floats, given: Ints, table: Floats) -> Floats:
    """Turn ranks within people of one first direction into ranks over all, so that the table of directions is met."""
    edges = np.concatenate([[0.0], np.cumsum(table.sum(axis=0))])
    for direction in range(3):
        if table[direction].sum() > 0:
            within = np.concatenate([[0.0], np.cumsum(table[direction] / table[direction].sum())])
            rank = np.where(given == direction, np.interp(rank, within, edges), rank)
    return rank


@dataclass(frozen=True)
class OneOf:
    """A choice, a scale, or sets of options: the legal answers and their (1, k) cumulative probabilities."""

    name: str
    legal: list[Any]
    cdf: Floats

    def draw(self, group: Group, drawn: Drawn) -> None:
        """Draw one answer for each person."""
        at = look_up(self.cdf, group.uniform(self.name))
        drawn.answers[self.name] = [self.legal[i] for i in at.tolist()]


@dataclass(frozen=True)
class SomeOf:
    """A multiple question without moments: any number of options that is legal, and any options, at random."""

    name: str
    options: tuple[str, ...]
    at_least: int
    at_most: int

    def draw(self, group: Group, drawn: Drawn) -> None:
        """Draw a list of options for each person."""
        count = self.at_least + np.floor(group.uniform(f"{self.name}.count") * (self.at_most - self.at_least + 1))
        keys = np.stack([group.uniform(f"{self.name}.{i}") for i in range(len(self.options))], axis=1)
        chosen = keys.argsort(axis=1).argsort(axis=1) < count[:, None]
        drawn.answers[self.name] = [
            [option for option, yes in zip(self.options, row, strict=True) if yes] for row in chosen.tolist()
        ]


@dataclass(frozen=True)
class Density:
    """Probabilities of bins: spread around a personal centre, rounded to fives, summing to 100."""

    name: str
    labels: tuple[str, ...]

    def draw(self, group: Group, drawn: Drawn) -> None:
        """Draw a density for each person; the unsure spread theirs wider."""
        m = len(self.labels)
        centre = (m - 1) / 2 + (group.uniform(f"{self.name}.centre") - 0.5) * m / 2
        wide = m * DENSITY_WIDTH[group.level]
        weight = np.exp(-np.abs(np.arange(m) - centre[:, None]) / wide[:, None])
        drawn.answers[self.name] = _in_fives(weight, self.labels)


@dataclass(frozen=True)
class FittedDensity:
    """Probabilities of bins whose means and widths are spread over people as published: normal densities, in fives.

    Means are a quantile function of the person's rank, linear in the log odds of the rank between and beyond the
    published points. Widths are log-normal around the published median, times those of the confidence levels.
    """

    name: str
    labels: tuple[str, ...]
    limits: Floats
    """(m - 1,) limits between the m bins."""
    odds: Floats
    means: Floats
    """The published quantiles of the means, and the log odds of their shares."""
    iqr: float

    def draw(self, group: Group, drawn: Drawn) -> None:
        """Draw a density for each person."""
        rank = np.clip(group.rank(self.name, f"{self.name}.centre"), 1e-4, 1 - 1e-4)
        centre = self._mean(np.log(rank / (1 - rank)))
        spread = np.exp(DENSITY_SPREAD * ndtri(np.clip(group.uniform(f"{self.name}.width"), 1e-9, 1 - 1e-9)))
        wide = self.iqr * spread * DENSITY_WIDTH[group.level] / DENSITY_WIDTH[2]
        sd = wide / (2 * ndtri(0.75))
        below = ndtr((self.limits - centre[:, None]) / sd[:, None])
        ends = np.zeros((len(group), 1)), np.ones((len(group), 1))
        drawn.answers[self.name] = _in_fives(np.diff(np.hstack([ends[0], below, ends[1]]), axis=1), self.labels)

    def _mean(self, odds: Floats) -> Floats:
        at = np.clip(np.searchsorted(self.odds, odds), 1, len(self.odds) - 1)
        slope = (self.means[at] - self.means[at - 1]) / (self.odds[at] - self.odds[at - 1])
        return np.asarray(self.means[at] + slope * (odds - self.odds[at]))


def _in_fives(weight: Floats, labels: Sequence[str]) -> list[dict[str, int]]:
    """Round the (n, m) weights of bins to multiples of five that sum to 100, by the largest remainder."""
    fives = 20 * weight / weight.sum(axis=1, keepdims=True)
    whole = np.floor(fives).astype(np.int64)
    rest = np.argsort(np.argsort(whole - fives, axis=1), axis=1)
    whole += rest < (20 - whole.sum(axis=1, keepdims=True))
    return [dict(zip(labels, row, strict=True)) for row in (5 * whole).tolist()]
