"""What a reply to a record says: leniently in form, strictly in meaning; what cannot be read is no answer."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from popsim.engines import Reply
from popsim.survey import NumberQuestion, Status, read_reply
from popsim.survey.lenient import find_object, fold, split_reply
from popsim.tune.benchmark.prompts import Form
from popsim.tune.records import Answer, Item, Shares
from popsim.tune.stated import read_stated_shares

_KEYS = ("predict", "answer", "final_answer")
_LETTER = re.compile(r"[(（]?([A-Z])(?![\w'’])\s*([.)）、:：]*)\s*(.*)", re.DOTALL)
_FINAL = "assistantfinal"
_FAR = 1e15


@dataclass(frozen=True, slots=True)
class Predicted:
    """What is predicted for a record.

    Attributes:
        value: The option, the number or the text; None where nothing could be read.
        status: As `popsim.survey.reading` has it.
        shares: Probability of each option of the question, in its order, or of each of ``points``; empty where the
            prediction is the value alone.
        points: The numbers that the shares belong to.
        left_out: Mass on anything but the options, where letters were scored.
        reason: Of a stance.
        text: The reply as it came.
    """

    value: str | float | None
    status: Status = "ok"
    shares: tuple[float, ...] = ()
    points: tuple[float, ...] = ()
    left_out: float = 0.0
    reason: str = ""
    text: str = ""


def read_prediction(reply: Reply, record: Answer | Shares, form: Form) -> Predicted:
    """Read what a reply predicts.

    Args:
        reply: The reply.
        record: What was asked about.
        form: How it was asked.

    Example:
        >>> one = Answer("7", Item("q", "?", options=("yes", "no")), "no")
        >>> form = Form("?", "", {"A": "yes", "B": "no"})
        >>> read_prediction(Reply("B. no"), one, form).value, read_prediction(Reply("B. yes"), one, form).status
        ('no', 'unreadable')
    """
    if reply.finish == "error":
        return Predicted(None, "engine_error", text=reply.error)
    if form.scored:
        return _scored(json.loads(reply.text), record.item, tuple(form.options.values()))
    said = _said(reply.text)
    cut: Status = "truncated" if reply.finish == "length" else "unreadable"
    if isinstance(record, Shares) and record.prompt:
        return _stated(said, record.item, form.options, cut, reply.text)
    if record.item.options and not form.options:
        stance, reason = _stance(said, record.item.options)
        return Predicted(stance, "ok" if stance else cut, reason=reason, text=reply.text)
    if record.item.options:
        option = read_option(said, form.options)
        return Predicted(option, "ok" if option else cut, text=reply.text)
    if isinstance(record, Answer) and isinstance(record.value, float):
        answer = read_reply(_as_json(said), [_question(record.item)], reasoning=False).answers[0]
        status = cut if answer.status in ("unreadable", "missing") else answer.status
        return Predicted(answer.value if answer.status == "ok" else None, status, text=reply.text)
    words = said if reply.finish != "length" else ""
    return Predicted(words or None, "ok" if words else cut, text=reply.text)


def read_option(said: str, options: Mapping[str, str]) -> str | None:
    """Find the one option that a reply names: by its letter, its letter and words, or its words.

    A letter whose words are those of another option is no answer.

    Example:
        >>> options = {"A": "yes", "B": "it depends"}
        >>> read_option("(B) it depends", options), read_option("It depends.", options)
        ('it depends', 'it depends')
    """
    named = _field(said)
    said = (named if named is not None else said).strip()
    by_words = {fold(option): option for option in options.values()}
    if option := by_words.get(fold(said)) or by_words.get(fold(said.rstrip(".。"))):
        return option
    letter = _LETTER.match(said)
    if not letter or letter[1] not in options:
        return None
    option, rest = options[letter[1]], letter[3].strip()
    if not rest or fold(rest).startswith(fold(option)):
        return option
    first = fold(rest.splitlines()[0].rstrip(".。"))
    other = any(first.startswith(words) for words in by_words)
    return None if other or not letter[2] else option


def _said(text: str) -> str:
    """Cut what is thought aloud, tags and code fences off a reply."""
    answer = split_reply(text.rpartition(_FINAL)[2]).answer.strip()
    return re.sub(r"^```\w*\s*|\s*```$", "", answer).strip()


def _field(said: str) -> str | None:
    """Give what stands under a known key of a JSON object, where there is one."""
    if "{" not in said:
        return None
    found = dict(find_object(said, _KEYS) or ())
    return next((str(found[key]) for key in _KEYS if isinstance(found.get(key), str)), None)


def _stated(said: str, item: Item, letters: Mapping[str, str], cut: Status, text: str) -> Predicted:
    """Read the shares that a reply states."""
    shares = read_stated_shares(said, item.options, letters)
    if shares is None:
        return Predicted(None, cut, text=text)
    return Predicted(item.options[shares.index(max(shares))], "ok", shares, text=text)


def _stance(said: str, stances: Sequence[str]) -> tuple[str | None, str]:
    """Read a stance and its reason."""
    found = dict(find_object(said, ("predict", "reason")) or ()) if "{" in said else {}
    word = fold(str(found.get("predict", said))).rstrip(".。")
    reason = found.get("reason")
    return (word if word in stances else None), reason if isinstance(reason, str) else ""


def _as_json(said: str) -> str:
    named = _field(said)
    return json.dumps({"answer": (named if named is not None else said).strip().rstrip(".。")})


@lru_cache(maxsize=4096)
def _question(item: Item) -> NumberQuestion:
    """Make the question that reads a number of an item."""
    low, high = (-_FAR, _FAR) if item.low is None or item.high is None else (item.low, item.high)
    exponent = Decimal(f"{item.step:g}").normalize().as_tuple().exponent
    decimals = 6 if item.low is None else min(6, max(0, -int(exponent)))
    return NumberQuestion(kind="number", name="answer", text="?", minimum=low, maximum=high, decimals=decimals)


def _scored(masses: Sequence[float], item: Item, labels: Sequence[str]) -> Predicted:
    """Turn the masses of letters into shares of the options, in the order of the question."""
    total = sum(masses)
    if not total > 0:
        return Predicted(None, "unreadable", left_out=1.0)
    if not item.options:
        points = tuple(map(float, labels))
        shares = tuple(mass / total for mass in masses)
        return Predicted(points[shares.index(max(shares))], "ok", shares, points, max(0.0, 1 - total))
    by_label = dict(zip(labels, masses, strict=True))
    shares = tuple(by_label[option] / total for option in item.options)
    return Predicted(item.options[shares.index(max(shares))], "ok", shares, (), max(0.0, 1 - total))


def counted(draws: Sequence[Predicted], item: Item) -> Predicted:
    """Put the draws of one question into shares, stated ones into their mean; those not to be read have no say.

    Args:
        draws: At least one.
        item: The question, with options.

    Example:
        >>> item = Item("q", "?", options=("yes", "no"))
        >>> counted([Predicted("no"), Predicted("no"), Predicted("yes"), Predicted(None, "unreadable")], item).value
        'no'
    """
    said = [
        one.shares or tuple(float(option == one.value) for option in item.options)
        for one in draws
        if one.value is not None
    ]
    if not said:
        return draws[0]
    shares = tuple(sum(each) / len(said) for each in zip(*said, strict=True))
    text = "\n".join(one.text for one in draws)
    return Predicted(item.options[shares.index(max(shares))], "ok", shares, text=text)
