"""Answers in words that may be several: when a prediction counts as right (AlignSurvey, task 1).

The rules are those of the published scoring script, with two differences that only make it fairer: a list is read with
or without brackets and quotation marks, for every field, and case and white space do not matter. `overlap` is lenient:
whoever names everything is always right, so read `set_likeness` beside it.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from popsim.errors import TargetError

Rule = Literal["exact", "overlap", "first", "number"]
"""exact: the same items in the same order. overlap: an item in common. first: the same first item, whatever stands in
parentheses. number: the only number in the reply is the true one."""
ALIGN_SURVEY: dict[str, Rule] = {"家庭成员关系": "overlap", "主要支出": "first", "家里人口数": "number"}
"""The rule of a field whose name holds the word: household members, main spending, household size; others are exact."""
_QUOTED = re.compile(r"""'([^'\n]*)'|"([^"\n]*)\"""")
_BETWEEN = re.compile(r"[,，、;；\n]+(?![^（(]*[)）])")
_ASIDE = re.compile(r"（[^）]*）|\([^)]*\)")
_NUMBER = re.compile(r"\d+")


def rule_of(field: str) -> Rule:
    """Give the rule by which AlignSurvey scores a field.

    Example:
        >>> rule_of("家庭月消费主要支出项目"), rule_of("sex")
        ('first', 'exact')
    """
    return next((rule for word, rule in ALIGN_SURVEY.items() if word in field), "exact")


def items_of(text: str) -> list[str]:
    """List what a text names, in lower case: the quoted parts of a list in brackets, else what separators part.

    Example:
        >>> items_of("['Child', 'spouse']"), items_of("child; Spouse"), items_of("housing (rent, loans), food")
        (['child', 'spouse'], ['child', 'spouse'], ['housing (rent, loans)', 'food'])
    """
    bare = text.strip()
    if bare[:1] == "[" and bare[-1:] == "]":
        bare = bare[1:-1]
        if quoted := _QUOTED.findall(bare):
            return [_plain(one or other) for one, other in quoted]
    return [_plain(part) for part in _BETWEEN.split(bare) if part.strip()]


def matches(truth: str, predicted: str | None, rule: Rule) -> bool:
    """Tell whether a prediction is right; None (unreadable) never is.

    Args:
        truth: What is true of the person.
        predicted: What was predicted.
        rule: By which rule.

    Example:
        >>> matches("['child', 'spouse']", "Spouse", "overlap"), matches("['child', 'spouse']", "Spouse", "exact")
        (True, False)
        >>> matches("3", "We are 3.", "number"), matches("3", "3 or 4", "number")
        (True, False)
    """
    if predicted is None:
        return False
    if rule == "number":
        said = _NUMBER.findall(predicted)
        return len(said) == 1 and said == _NUMBER.findall(truth)
    true, named = items_of(truth), items_of(predicted)
    if rule == "overlap":
        return bool(set(true) & set(named))
    if rule == "first":
        true, named = ([_plain(_ASIDE.sub("", one)) for one in some[:1]] for some in (true, named))
    return true == named


def match_rate(truth: Sequence[str], predicted: Sequence[str | None], rules: Sequence[Rule]) -> float:
    """Share of predictions that are right, each by its rule.

    Args:
        truth: What is true.
        predicted: One prediction for each; None where it could not be read.
        rules: One for each.

    Raises:
        TargetError: They are not paired.

    Example:
        >>> match_rate(["Female", "male"], [" female", None], ["exact", "exact"])
        0.5
    """
    if not len(truth) == len(predicted) == len(rules) or not truth:
        raise TargetError(f"a score needs one prediction for each answer, not {len(predicted)} for {len(truth)}")
    return float(np.mean([matches(*one) for one in zip(truth, predicted, rules, strict=True)]))


def set_likeness(truth: str, predicted: str | None) -> float:
    """Jaccard index of what is true and what was named, as sets of items: the strict figure beside `overlap`.

    Example:
        >>> set_likeness("['child', 'spouse']", "spouse, parent")
        0.3333333333333333
    """
    true, named = set(items_of(truth)), set(items_of(predicted or ""))
    return len(true & named) / len(true | named) if true | named else 1.0


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip("'\"")
