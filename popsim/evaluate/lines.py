"""Reference lines: what somebody who knows little would have answered, to set beside every distance."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from popsim import streams
from popsim.evaluate.distances import (
    js_distance,
    js_divergence_bits,
    kl,
    ordinal_emd,
    rmse,
    total_variation,
)
from popsim.evaluate.statistics import Values
from popsim.evaluate.targets import DIRECTIONS, POOLED, Target, TargetFile, share_sets

LINES = ("uniform", "no_change", "textbook", "pooled_margin", "transfer", "floor")
Signs = Mapping[str, Mapping[str, Literal[-1, 0, 1]]]

_MIRROR = {"fall": "rise", "rise": "fall"}
_SMALLEST = 1e-3
_FLOOR_DRAWS = 200


def transfer(target: Target, targets: Sequence[Target], textbook: Signs) -> float:
    """Predict a figure from the same figure of the other vignettes alone, turned by the signs of textbooks.

    It is what ``baseline`` would answer if it had been fitted to the other vignettes: the mean of their figures, each
    first turned to a vignette whose outcomes rise.

    Args:
        target: The figure to predict.
        targets: All figures of its file.
        textbook: Vignette, outcome: the sign; 1 unless given.

    Returns:
        The prediction; missing where no other vignette has the figure.
    """
    turned = []
    for other in targets:
        same = (other.group, other.outcome, other.statistic, other.pooling) == (
            target.group,
            target.outcome,
            target.statistic,
            target.pooling,
        )
        if same and other.vignette != target.vignette:
            signs = tuple(
                _sign(textbook, target.vignette, name) * _sign(textbook, other.vignette, name)
                for name in target.outcomes
            )
            if turned_of(other.of, signs) == target.of:
                turned.append(_turned_value(other, signs[0]))
    return float(np.mean(turned)) if turned else float("nan")


def turned_of(of: str, signs: Sequence[int]) -> str:
    """Name a direction, or a pair of them, after outcomes were turned.

    Example:
        >>> turned_of("rise", [-1]), turned_of("both_rise", [1, -1]), turned_of("other", [1, -1])
        ('fall', 'rise_fall', 'other')
    """
    if len(signs) == 1:
        return _MIRROR.get(of, of) if signs[0] < 0 else of
    ways = of.removeprefix("both_").split("_") * (2 if of.startswith("both_") else 1)
    if len(ways) != 2:
        return of
    first, second = (_MIRROR.get(way, way) if sign < 0 else way for way, sign in zip(ways, signs, strict=True))
    return f"both_{first}" if first == second else f"{first}_{second}"


def _sign(textbook: Signs, vignette: str, outcome: str) -> int:
    return -1 if textbook.get(vignette, {}).get(outcome, 1) < 0 else 1


def _turned_value(target: Target, sign: int) -> float:
    return target.value * (sign if target.statistic in ("mean", "effect", "asymmetry") else 1)


def share_lines(file: TargetFile, vignette: str, shares: Mapping[str, Target]) -> dict[str, Values]:
    """Give the distributions over directions that know little: uniform, no change, textbook, pooled, transfer.

    Args:
        file: The targets.
        vignette: Whose directions these are.
        shares: The human share of each direction, a set of `share_sets`.

    Returns:
        Each line's shares in the order of ``shares``; a line that cannot be drawn is left out.
    """
    of = list(shares)
    one = next(iter(shares.values()))
    lines = {"uniform": np.full(len(of), 1 / len(of))}
    still = "same" if "same" in of else "other"
    lines["no_change"] = np.array([float(name == still) for name in of])
    signs = [file.textbook.get(vignette, {}).get(name) for name in one.outcomes]
    if one.pooling == POOLED and all(sign is not None for sign in signs):
        ways = [DIRECTIONS[1 + sign] for sign in signs if sign is not None]
        joined = ways[0] if len(ways) == 1 else f"both_{ways[0]}" if ways[0] == ways[1] else "_".join(ways)
        lines["textbook"] = np.array([float(name == joined) for name in of])
    alike = [
        [target.value for target in found.values()]
        for found in share_sets(file.targets).values()
        if list(found) == of and _alike(next(iter(found.values())), one)
    ]
    if len(alike) > 1:
        pooled = np.mean(alike, axis=0)
        lines["pooled_margin"] = pooled / pooled.sum()
    guessed = np.array([transfer(target, file.targets, file.textbook) for target in shares.values()])
    if not np.isnan(guessed).any():
        lines["transfer"] = guessed / guessed.sum()
    return lines


def _alike(first: Target, second: Target) -> bool:
    return (first.group, first.outcome, first.pooling) == (second.group, second.outcome, second.pooling)


def category_distances(human: Values, model: Values, *, ordered: bool) -> dict[str, float]:
    """Take every distance between two distributions over categories; an order is used only where there is one.

    In the two Kullback-Leibler divergences a share below 0.001 counts as that much, so that none is infinite.

    Args:
        human: (k,) shares.
        model: (k,) shares.
        ordered: Whether the categories ascend.

    Example:
        >>> found = category_distances(np.array([0.2, 0.1, 0.7]), np.array([0.3, 0.1, 0.6]), ordered=True)
        >>> round(found["ordinal EMD"], 3), round(found["total variation"], 3)
        (0.1, 0.1)
    """
    ordinal = {"ordinal EMD": ordinal_emd(human, model, ordered=True)} if ordered else {}
    smooth = [np.maximum(one, _SMALLEST) / np.maximum(one, _SMALLEST).sum() for one in (human, model)]
    return {
        **ordinal,
        "total variation": total_variation(human, model),
        "JS distance, nats": js_distance(human, model),
        "JS divergence, bits": js_divergence_bits(human, model),
        "KL of human from model": kl(smooth[0], smooth[1]),
        "KL of model from human": kl(smooth[1], smooth[0]),
        "RMSE": rmse(human, model),
    }


def sampling_floor(human: Values, n: int, *, ordered: bool) -> dict[str, float]:
    """Give the mean distance of another ``n`` respondents of the same distribution: no model can be asked for less.

    Args:
        human: (k,) shares.
        n: Human respondents.
        ordered: Whether the categories ascend.

    Example:
        >>> floor = sampling_floor(np.array([0.2, 0.8]), 400, ordered=False)
        >>> 0.01 < floor["total variation"] < 0.03
        True
    """
    random = streams.rng(0, "floor")
    drawn = random.multinomial(n, human / human.sum(), _FLOOR_DRAWS) / n
    found = [category_distances(human, one, ordered=ordered) for one in drawn]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}
