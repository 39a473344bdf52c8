"""A respondent of whom everything is known: an ordered logit of low rank, for `known_respondent.py`.

Twelve groups of people (party x income x sex) stand somewhere on two axes; each of 40 questions leans on them by its
topic and a little of its own. The logit of answering above option k is
``lean . place - cut_k``, so the answers of a group to a question that it was never asked follow from its answers to
the others and from other groups' answers to this one. Persons of a group answer independently.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from popsim import streams
from popsim.evaluate.alignment import Cells
from popsim.tune.records import Answer, Item

Values = NDArray[np.float64]
FACTS = {"party": ("Democrat", "Republican", "independent"), "income": ("low", "high"), "person": ("woman", "man")}
PLACES = {
    "Democrat": (-1.0, 0.2), "Republican": (1.0, 0.3), "independent": (0.0, -0.6),
    "low": (-0.4, -0.6), "high": (0.4, 0.6), "woman": (-0.2, 0.2), "man": (0.2, -0.2),
}  # fmt: skip
"""Where a fact puts people: right of the middle, and trusting."""
TOPICS = {
    "business decisions on": (2.0, 0.2),
    "my own view of": (1.6, -0.6),
    "people who know about": (0.8, 1.4),
    "news about": (0.4, 1.6),
    "government power over": (-1.0, 1.2),
}
"""What a question is about, and how it leans on the two axes."""
SUBJECTS = ("prices", "wages", "jobs", "oil", "rent", "taxes", "transport", "business")
WORDINGS = {
    "I trust {}.": ("no", "in part", "yes"),
    "I like {}.": ("no", "a little", "mostly", "yes"),
    "We need more {}.": ("no", "hardly", "in part", "mostly", "yes"),
}
NUMBER = "How good is {}?"
LOW, HIGH = 0, 9
CHOICES, NUMBERS = 28, 12


@dataclass(frozen=True)
class Known:
    """The respondent's questions and the probabilities of their answers.

    Attributes:
        choices: Questions with options.
        numbers: Questions with a scale.
        truth: The probability of each answer by group and question.
    """

    choices: tuple[Item, ...]
    numbers: tuple[Item, ...]
    truth: Cells


def groups() -> list[dict[str, str]]:
    """The twelve groups, as facts."""
    return [dict(zip(FACTS, values, strict=True)) for values in product(*FACTS.values())]


def name_of(facts: dict[str, str]) -> str:
    """How `popsim.tune.records.pool` names a group."""
    return "; ".join(f"{name}: {value}" for name, value in facts.items())


def make_respondent(seed: int) -> Known:
    """Draw the questions; the axes, the topics and the groups' places are always the same but for a small part."""
    rng = streams.rng(seed, "known.respondent")
    who = [name_of(one) for one in groups()]
    places = np.array([np.sum([PLACES[value] for value in one.values()], axis=0) for one in groups()])
    places += rng.normal(0, 0.15, places.shape)
    about = [(topic, subject) for topic, subject in product(TOPICS, SUBJECTS)]
    order = [about[i] for i in rng.permutation(len(about))]
    found: dict[str, list[Item]] = {"choice": [], "number": []}
    truth = {}
    for i, (topic, subject) in enumerate(order):
        kind = "choice" if i < CHOICES else "number"
        words = f"{topic} {subject}"
        lean = np.array(TOPICS[topic]) + rng.normal(0, 0.3, 2)
        if kind == "choice":
            wording, options = list(WORDINGS.items())[i % len(WORDINGS)]
            item = Item(f"q{i:02}", wording.format(words), options, tuple(range(len(options))))
            cuts = _cuts(len(options), 1.6 * (len(options) - 2), rng.normal(0, 0.8))
        else:
            item = Item(f"q{i:02}", NUMBER.format(words), low=LOW, high=HIGH)
            cuts = _cuts(HIGH - LOW + 1, 7.0, rng.normal(0, 1.0))
        found[kind].append(item)
        truth.update({(g, item.name): _ordered(float(lean @ at), cuts) for g, at in zip(who, places, strict=True)})
    return Known(tuple(found["choice"]), tuple(found["number"]), truth)


def ask(known: Known, people: int, seed: int) -> list[Answer]:
    """Let so many people answer every question; groups differ by one person at most."""
    rng = streams.rng(seed, "known.answers")
    members = [groups()[i % 12] for i in rng.permutation(people)]
    found = []
    for person, facts in enumerate(members):
        for item in (*known.choices, *known.numbers):
            at = int(rng.choice(len(known.truth[name_of(facts), item.name]), p=known.truth[name_of(facts), item.name]))
            value = item.options[at] if item.options else float(LOW + at)
            found.append(Answer(str(person), item, value, facts=facts))
    return found


def shares_of(answers: Iterable[Answer]) -> Cells:
    """Count answers as shares, by group and question, of options and numbers alike."""
    counts: dict[tuple[str, str], Values] = {}
    for one in answers:
        size = len(one.item.options) or HIGH - LOW + 1
        at = one.item.options.index(str(one.value)) if one.item.options else int(float(one.value or 0)) - LOW
        row = counts.setdefault((name_of(dict(one.facts)), one.item.name), np.zeros(size))
        row[at] += 1
    return {cell: row / row.sum() for cell, row in counts.items()}


def _cuts(options: int, width: float, middle: float) -> Values:
    """Cuts between options, evenly spread over a width."""
    return middle + np.linspace(-width / 2, width / 2, options - 1)


def _ordered(lean: float, cuts: Values) -> Values:
    above = np.concatenate([[1.0], 1 / (1 + np.exp(cuts - lean)), [0.0]])
    return above[:-1] - above[1:]
