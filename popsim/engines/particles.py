"""The particles of a readout: what each prompt may have answered so far, and what comes of it for each field."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popsim import streams
from popsim.engines.walk import Floats, Walked
from popsim.engines.wire import Field, Readout

_PLACES = 6
"""Decimal places to which differences of values are rounded."""


class Particles:
    """Beginnings of the reply to each prompt, for each of its reasonings several; they grow field by field.

    Values are drawn among those that are allowed, so a later field is read given that the earlier ones were answered.
    A particle that has nothing to go on from, because its reasoning never came to an answer or no allowed value had
    any probability, counts as left out in every further field.

    Args:
        readout: What is read.
        seeds: Of the prompts.
        openings: For each prompt, what the reply begins with after each reasoning.

    Attributes:
        found: For each prompt the distributions of the fields taken so far, each change after the later of its two.
    """

    def __init__(self, readout: Readout, seeds: Sequence[int], openings: Sequence[Sequence[str | None]]) -> None:
        self.found: list[list[dict[str, Any]]] = [[] for _ in seeds]
        self._readout = readout
        self._shape = (len(seeds), *readout.shape)
        _, reasonings, each = self._shape
        self._begun = [opening for mine in openings for opening in mine for _ in range(each)]
        self._owner = np.repeat(np.arange(len(seeds)), reasonings * each)
        self._seeds = np.array(seeds, dtype=np.uint64)[:, None, None]
        self._which = np.full(len(self._begun), -1, dtype=np.intp)
        self._drawn: dict[str, Floats] = {}

    def distinct(self, place: int) -> tuple[list[int], list[str]]:
        """Give each different beginning of a field once: the prompt that it belongs to, and its text."""
        lead = self._readout.fields[place].lead
        known: dict[tuple[int, str], int] = {}
        for row, (owner, begun) in enumerate(zip(self._owner.tolist(), self._begun, strict=True)):
            self._which[row] = -1 if begun is None else known.setdefault((owner, begun), len(known))
        return [owner for owner, _ in known], [begun + lead for _, begun in known]

    def take(self, place: int, walked: Walked) -> None:
        """Take what was measured after each distinct beginning: work out distributions, and draw the field's values."""
        field = self._readout.fields[place]
        numbers, statuses, outcome = outcomes(field)
        alive = self._which >= 0
        summed = np.zeros((len(numbers) + len(statuses), len(walked.left_out)))
        np.add.at(summed, outcome, walked.probabilities.T)
        shares, left_out = np.zeros((len(alive), len(summed))), np.ones(len(alive))
        shares[alive], left_out[alive] = summed.T[self._which[alive]], walked.left_out[self._which[alive]]
        said = shares[:, : len(numbers)]
        masses = left_out, {status: shares[:, len(numbers) + i] for i, status in enumerate(statuses)}
        self._add(field.name, np.broadcast_to(numbers, said.shape), said, *masses)
        for name, shock, baseline in self._readout.changes:
            earlier = baseline if field.name == shock else shock
            if field.name in (shock, baseline) and earlier in self._drawn:
                sign = 1 if field.name == shock else -1
                values = np.round(sign * (numbers - self._drawn[earlier][:, None]), _PLACES) + 0.0
                weights = np.where(np.isnan(values), 0.0, said)
                self._add(name, values, weights, 1 - weights.sum(axis=1), {})
        if place + 1 < len(self._readout.fields):
            self._draw(place, walked.probabilities, np.append(numbers, [np.nan] * len(statuses))[outcome])

    def _draw(self, place: int, probabilities: Floats, values: Floats) -> None:
        """Draw a spelling for each particle, and let it go on from there."""
        field = self._readout.fields[place]
        _, reasonings, each = self._shape
        counters = (self._seeds, place, np.arange(reasonings)[:, None], np.arange(each))
        uniforms = streams.uniform(streams.stream("particle"), *counters).ravel()
        cumulated = probabilities.cumsum(axis=1)
        drawn = np.full(len(self._begun), np.nan)
        for row, (which, uniform) in enumerate(zip(self._which.tolist(), uniforms.tolist(), strict=True)):
            begun = self._begun[row]
            if begun is None or cumulated[which, -1] <= 0:
                self._begun[row] = None
                continue
            mass = cumulated[which]
            spelling = int(np.searchsorted(mass, min(uniform * mass[-1], np.nextafter(mass[-1], 0)), side="right"))
            text, close, _ = field.spellings[spelling]
            self._begun[row], drawn[row] = f"{begun}{field.lead}{text}{close}", values[spelling]
        self._drawn[field.name] = drawn

    def _add(self, name: str, values: Floats, weights: Floats, left_out: Floats, others: dict[str, Floats]) -> None:
        """Add the distribution of a field or a change to what was found for each prompt.

        Args:
            name: Of the field or the change.
            values: Shape (particles, values).
            weights: The probability of each.
            left_out: Shape (particles,).
            others: The probability of each answer that is no number.
        """
        prompts, reasonings, each = self._shape
        influence = _influence(values, weights, prompts).reshape(self._shape)
        for prompt in range(prompts):
            mine = slice(prompt * reasonings * each, (prompt + 1) * reasonings * each)
            kept = weights[mine] > 0
            points, where = np.unique(values[mine][kept], return_inverse=True)
            mass = np.bincount(where, weights[mine][kept], minlength=len(points)) / (reasonings * each)
            between, within = _errors(influence[prompt], self._readout.reasonings, given=bool(self._drawn))
            self.found[prompt].append(
                {
                    "name": name,
                    "values": points.tolist(),
                    "probabilities": mass.tolist(),
                    "left_out": float(left_out[mine].mean()),
                    **{status: float(shares[mine].mean()) for status, shares in others.items()},
                    "reasonings": self._readout.reasonings,
                    "reasoning_error": between,
                    "particles": reasonings * each,
                    "particle_error": within,
                }
            )


def outcomes(field: Field) -> tuple[Floats, tuple[str, ...], NDArray[np.intp]]:
    """Sort the values of a field: its numbers, its other answers, and for each spelling the place among both.

    Example:
        >>> from popsim.engines.wire import Spelling
        >>> spellings = Spelling("2.0", '"', 2.0), Spelling("2", '"', 2.0), Spelling("no idea", '"', "dont_know")
        >>> numbers, statuses, place = outcomes(Field("v.q", "", spellings))
        >>> numbers.tolist(), statuses, place.tolist()
        ([2.0], ('dont_know',), [0, 0, 1])
    """
    values = [spelling.value for spelling in field.spellings]
    numbers = sorted({value for value in values if isinstance(value, float)})
    statuses = sorted({value for value in values if isinstance(value, str)})
    order: list[float | str] = [*numbers, *statuses]
    place = {value: index for index, value in enumerate(order)}
    return np.array(numbers), tuple(statuses), np.array([place[value] for value in values], dtype=np.intp)


def _influence(values: Floats, weights: Floats, prompts: int) -> Floats:
    """Say how far each particle pulls the mean of its prompt's distribution to its side (a ratio of two means)."""
    total = weights.sum(axis=1)
    product = (np.where(weights > 0, values, 0.0) * weights).sum(axis=1)
    totals, products = total.reshape(prompts, -1), product.reshape(prompts, -1)
    mass = totals.sum(axis=1, keepdims=True)
    scale = np.divide(totals.shape[1], mass, out=np.zeros_like(mass), where=mass > 0)
    mean = np.divide(products.sum(axis=1, keepdims=True), mass, out=np.zeros_like(mass), where=mass > 0)
    return np.asarray((products - mean * totals) * scale)


def _errors(influence: Floats, reasonings: int, *, given: bool) -> tuple[float | None, float | None]:
    """Give the standard errors of a mean that come from drawing reasonings and, within them, particles.

    Args:
        influence: Shape (reasonings, particles of each).
        reasonings: How many were drawn.
        given: Whether the particles hold drawn values, so that they may differ.

    Returns:
        0 where nothing was drawn, None where a single draw says nothing of its error.
    """
    groups, each = influence.shape
    between: float | None = None if reasonings else 0.0
    if groups > 1:
        between = float(influence.mean(axis=1).std(ddof=1) / np.sqrt(groups))
    within: float | None = None if given else 0.0
    if given and each > 1:
        within = float(np.sqrt(influence.var(axis=1, ddof=1).mean() / (groups * each)))
    return between, within
