"""Open answers coded by words: which channels of the economy a respondent names, and what else an answer is.

A transparent coder: whoever doubts a code can look up the words (``considerations.en.yaml``). The channels ``costs``,
``demand`` and ``labour`` use the words that the study behind the human figures used, found anywhere in the answer as
there; everything else is our own list, and its human figure was coded by hand. Hand coders agreed on 77 % of codes.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import yaml

from popsim.errors import TargetError
from popsim.population import effective_size

LANGUAGES = ("en",)
HANDS_AGREE = 0.77
"""Share of codes on which two hand coders of the study agreed: as much as a coder can be expected to."""


def code_answers(texts: Iterable[str]) -> pd.DataFrame:
    """Code open answers.

    Args:
        texts: Answers in English.

    Returns:
        A row per answer and a boolean column per channel and kind of response; several may be true, and ``other`` is
        where none is.

    Example:
        >>> coded = code_answers(["Firms have lower costs.", "Just a guess."])
        >>> coded["costs"].tolist(), coded["guess"].tolist()
        ([True, False], [False, True])
    """
    folded = pd.Series([re.sub(r"\s+", " ", text.lower().replace("’", "'")) for text in texts], dtype="str")
    found = {name: folded.str.contains(pattern, regex=True) for name, pattern in _patterns().items()}
    coded = pd.DataFrame(found, dtype=bool)
    return coded.assign(other=~coded.any(axis=1))


def channel_table(
    texts: "pd.Series[Any]",
    vignette: str,
    group: str,
    weights: "pd.Series[Any] | None" = None,
    people: int | None = None,
    coded: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Set the shares of open answers that name each channel beside the human ones.

    Args:
        texts: (n,) answers in English.
        vignette: What they were about.
        group: Who answered.
        weights: (n,) weights; equal unless given.
        people: How many people gave them, where some answered several times.
        coded: Their codes, where they were not given by the list of words.

    Returns:
        A row per code: ``code, title, simulated, low, high`` (95 %, Wilson, on the effective number of answers),
        ``human``, ``human_by`` (``words`` for the same word list, ``hand`` for hand codes) and ``n``. A human share
        is missing where none is known for this vignette and group.
    """
    by = "words" if coded is None else "hand"
    coded = code_answers(texts) if coded is None else coded
    weight = np.ones(len(coded)) if weights is None else weights.to_numpy(np.float64)
    alone = 1.0 if people is None else people / max(len(coded), 1)
    effective = alone * effective_size(weight)
    rows = []
    for code, about in _codes().items():
        share = float(np.average(coded[code], weights=weight)) if len(coded) else np.nan
        human, human_by = _human(about, vignette, group, by)
        rows.append((code, about["title"], share, *_wilson(share, effective), human, human_by, len(coded)))
    return pd.DataFrame(rows, columns=["code", "title", "simulated", "low", "high", "human", "human_by", "n"])


def agreement(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Say how far two coders agree, code by code.

    Args:
        first: A row per answer, a boolean column per code.
        second: The same answers in the same order, for example coded by hand; codes that only one has are left out.

    Returns:
        A row per code: ``code, first, second`` (shares), ``agree`` (share of answers) and ``kappa`` (Cohen 1960),
        missing where both give every answer the same code.

    Raises:
        TargetError: The tables have different lengths or no code in common.

    Example:
        >>> both = agreement(pd.DataFrame({"a": [1, 1, 0, 0]}), pd.DataFrame({"a": [1, 0, 0, 0]}))
        >>> both[["agree", "kappa"]].values.tolist()
        [[0.75, 0.5]]
    """
    codes = [code for code in first if code in second]
    if len(first) != len(second) or not codes:
        raise TargetError(
            f"agreement: needs the same answers and at least one code in common, not {len(first)} and {len(second)} "
            f"rows with {len(codes)} common codes"
        )
    rows = []
    for code in codes:
        x, y = first[code].to_numpy(bool), second[code].to_numpy(bool)
        rows.append((code, float(x.mean()), float(y.mean()), float((x == y).mean()), cohen_kappa(x, y)))
    return pd.DataFrame(rows, columns=["code", "first", "second", "agree", "kappa"])


def krippendorff_alpha(ratings: "np.typing.NDArray[np.float64]") -> float:
    """Agreement of any number of coders beyond chance (Krippendorff 2011), for codes without an order.

    Args:
        ratings: (coders, units) the code that each coder gave each unit, NaN where none.

    Returns:
        1 for perfect agreement, 0 for what chance gives; missing where all codes are the same.

    Example:
        >>> krippendorff_alpha(np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))
        1.0
    """
    codes = np.unique(ratings[~np.isnan(ratings)])
    counts = np.stack([(ratings == code).sum(axis=0) for code in codes], axis=1).astype(np.float64)
    counts = counts[counts.sum(axis=1) > 1]
    coders = counts.sum(axis=1, keepdims=True)
    agreed = float((counts * (counts - 1) / (coders - 1)).sum())
    total, by_code = float(counts.sum()), counts.sum(axis=0)
    chance = float((by_code * (by_code - 1)).sum()) / (total - 1) if total > 1 else float("nan")
    return 1 - (total - agreed) / (total - chance) if total > chance else float("nan")


def overall_agreement(coders: Iterable[pd.DataFrame]) -> float:
    """Krippendorff's alpha over all answers and codes at once, each answer and code being a unit: named or not.

    Args:
        coders: Tables as for `agreement`, one for each coder, of the same answers in the same order; codes that are not
            in all of them are left out.

    Raises:
        TargetError: They have no code in common.
    """
    tables = list(coders)
    codes = [code for code in tables[0] if all(code in table for table in tables)]
    if not codes:
        raise TargetError("agreement: the coders have no code in common")
    return krippendorff_alpha(np.stack([table[codes].to_numpy(np.float64).ravel() for table in tables]))


def meanings() -> dict[str, tuple[str, str]]:
    """Give the title of every code and what it stands for.

    Example:
        >>> meanings()["costs"][0]
        "firms' costs"
    """
    return {code: (str(about["title"]), str(about["meaning"])) for code, about in _codes().items()}


def cohen_kappa(first: "np.typing.NDArray[np.bool_]", second: "np.typing.NDArray[np.bool_]") -> float:
    """Agreement beyond chance (Cohen 1960): 1 is perfect, 0 what chance gives.

    Example:
        >>> cohen_kappa(np.array([True, False]), np.array([False, True]))
        -1.0
    """
    agree = float((first == second).mean())
    chance = float(first.mean() * second.mean() + (1 - first.mean()) * (1 - second.mean()))
    return (agree - chance) / (1 - chance) if chance < 1 else float("nan")


@lru_cache(maxsize=1)
def _codes() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files("popsim.evaluate").joinpath("considerations.en.yaml").read_text(encoding="utf-8")
    file = yaml.safe_load(text)
    return {**file["channels"], **file["responses"]}


@lru_cache(maxsize=1)
def _patterns() -> dict[str, str]:
    """Make a regular expression of each list of words."""
    return {
        code: "|".join(_pattern(word, anywhere=about.get("as_published", False)) for word in about["words"])
        for code, about in _codes().items()
    }


def _pattern(word: str, *, anywhere: bool) -> str:
    if anywhere:
        return re.escape(word)
    return rf"\b{re.escape(word[1:])}\b" if word.startswith("=") else rf"\b{re.escape(word)}"


def _human(about: Mapping[str, Any], vignette: str, group: str, by: str) -> tuple[float, str]:
    """Find the human share of a code, one that was counted in the same way first."""
    for one in sorted(about["human"], key=lambda one: one["by"] != by):
        if group in one and ("vignettes" not in one or vignette in one["vignettes"]):
            return float(one[group]), str(one["by"])
    return float("nan"), ""


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Give a 95 % interval of a share (Wilson 1927)."""
    if not n > 0:
        return float("nan"), float("nan")
    z2 = 1.959964**2
    middle, reach = share + z2 / (2 * n), float(np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))))
    return (middle - reach) / (1 + z2 / n), (middle + reach) / (1 + z2 / n)
