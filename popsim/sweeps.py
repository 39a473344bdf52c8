"""What a sweep scans: values and ranges by dotted path, and the design that makes points of them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.stats import qmc

from popsim import streams
from popsim.errors import ScenarioError
from popsim.files import Frozen
from popsim.slots import did_you_mean

SPREAD = ("latin_hypercube", "sobol")


class Range(Frozen):
    """Numbers from one end to the other, for designs that spread points over them."""

    low: float
    high: float
    whole: bool = False
    """Whole numbers only, both ends included."""


class Design(Frozen):
    """How the scanned values become points; a bare word in the file is its ``kind``."""

    kind: Literal["grid", "paired", "latin_hypercube", "sobol"] = "grid"
    """``grid``: every combination; ``paired``: the first values of all lists, then the second ones, and so on;
    ``latin_hypercube`` and ``sobol``: so many points spread over ranges and lists together."""
    points: int | None = Field(default=None, ge=1)
    """How many points are spread."""


Swept = Mapping[str, Sequence[Any] | Range]


def check_design(sweep: Swept, design: Design) -> None:
    """Check that a design fits what is scanned.

    Raises:
        ValueError: It does not; the message says what to change.
    """
    spread = design.kind in SPREAD
    if spread and design.points is None:
        write = f"{{kind: {design.kind}, points: 16}}"
        raise ValueError(f"design: {design.kind} needs the number of points; write {write}")
    if not spread and design.points is not None:
        raise ValueError(f"design: points belong to {' and '.join(SPREAD)}, not to {design.kind}; take them out")
    if design.kind == "sobol" and design.points and design.points & (design.points - 1):
        below = 1 << design.points.bit_length() - 1
        raise ValueError(f"design: sobol needs a power of 2, not {design.points}; write {below} or {2 * below}")
    ranges = {path: values for path, values in sweep.items() if isinstance(values, Range)}
    for path, values in ranges.items():
        if values.low >= values.high:
            raise ValueError(f"sweep.{path}: low {values.low:g} must be below high {values.high:g}")
    if ranges and not spread:
        allowed = " or ".join(SPREAD)
        raise ValueError(
            f"sweep.{next(iter(ranges))}: a {design.kind} takes a list of values; a range needs design: {allowed}"
        )
    lengths = {path: len(values) for path, values in sweep.items() if not isinstance(values, Range)}
    if design.kind == "paired" and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{path} has {n}" for path, n in lengths.items())
        raise ValueError(f"design: paired lists must be of one length: {listed}")


def combinations(sweep: Swept, design: Design, seed: int) -> list[dict[str, Any]]:
    """Give the values of every point.

    Args:
        sweep: Dotted path -> values or range.
        design: One that fits it (`check_design`).
        seed: Of the scenario; points that are spread hang on it and on nothing else.

    Returns:
        Dotted path -> value, point by point.

    Example:
        >>> combinations({"a": [1, 2], "b": ["x", "y"]}, Design(kind="paired"), 0)
        [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'y'}]
        >>> len(combinations({"a": Range(low=0, high=1), "b": ["x", "y"]}, Design(kind="sobol", points=8), 0))
        8
    """
    paths = list(sweep)
    if design.kind == "grid" or not paths:
        return [dict(zip(paths, values, strict=True)) for values in itertools.product(*map(_listed, sweep.values()))]
    if design.kind == "paired":
        return [dict(zip(paths, values, strict=True)) for values in zip(*map(_listed, sweep.values()), strict=True)]
    rng = streams.rng(seed, "sweep.design")
    sampler = (qmc.LatinHypercube if design.kind == "latin_hypercube" else qmc.Sobol)(len(paths), rng=rng)
    return [
        {path: _at(values, float(share)) for (path, values), share in zip(sweep.items(), row, strict=True)}
        for row in sampler.random(design.points or 1)
    ]


def put(data: dict[str, Any], known: Any, dotted: str, value: Any, where: str) -> None:
    """Set the value that a dotted path addresses in a scenario's plain data.

    Args:
        data: As it stands in the file; changed.
        known: The whole scenario as plain data, which has every key that can be addressed.
        dotted: The path.
        value: What to put there.
        where: Begins the error message.

    Raises:
        ScenarioError: The path addresses nothing, or something that is read from another file.
    """
    steps = dotted.split(".")
    at: Any = data
    for depth, step in enumerate(steps):
        allowed = _keys(known)
        if step not in allowed:
            here = ".".join(steps[:depth]) or "the scenario"
            near = did_you_mean(step, allowed) if allowed else "."
            raise ScenarioError(
                f"{where}: {dotted} addresses nothing: {here} has no {step!r}{near} "
                f"Allowed: {', '.join(allowed) or 'nothing, it is a single value'}"
            )
        key: Any = int(step) if isinstance(known, list | tuple) else step
        known = known[key]
        if depth == len(steps) - 1:
            at[key] = value
        else:
            if isinstance(at, dict) and not isinstance(at.get(key), dict | list):
                if isinstance(at.get(key), str):
                    raise ScenarioError(
                        f"{where}: {dotted}: {step} is read from {at[key]!r}; write it into the scenario"
                    )
                at[key] = {}
            at = at[key]


def _keys(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        return [str(key) for key in node]
    if isinstance(node, list | tuple):
        return [str(i) for i in range(len(node))]
    return []


def _listed(values: Sequence[Any] | Range) -> Sequence[Any]:
    if isinstance(values, Range):
        raise TypeError(f"{values!r} is no list of values")
    return values


def _at(values: Sequence[Any] | Range, share: float) -> Any:
    """Give what lies at a share of the way through a list or a range."""
    if not isinstance(values, Range):
        return values[min(int(share * len(values)), len(values) - 1)]
    if values.whole:
        low, high = int(np.ceil(values.low)), int(np.floor(values.high))
        return min(low + int(share * (high - low + 1)), high)
    return round(values.low + share * (values.high - values.low), 9)
