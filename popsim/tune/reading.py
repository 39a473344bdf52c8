"""Three ways to read how a group's answers are distributed: first-token probabilities, drawn answers, stated percent.

They do not agree: an untuned chat model's first-token probabilities are often far worse than what it states (Meister et
al. 2024, arXiv 2411.05403, who compare all three), while a model tuned on first tokens can do nothing else. A
temperature can be fitted to any of them on validation cells (`popsim.evaluate.alignment.fit_temperature`).
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popsim import streams
from popsim.engines import Engine, Prompt, Sampling, answer_all
from popsim.errors import TuneError
from popsim.tune.asking import Asked
from popsim.tune.records import unit_of

Values = NDArray[np.float64]
_SHORT = 8
_LINES = 400
_LETTER = re.compile(r"\s*\(?([A-Z])(?![A-Za-z])")
_STATED = re.compile(r"^[\s>*\-\"(]*([A-Z])[\s)\".:=*\-]+(\d+(?:\.\d+)?)\s*%?", re.MULTILINE)
_STATE = (
    "Of 100 people like this, how many choose each option? Reply with one line for each option, "
    "its letter and the number, such as {}: 25, and nothing else. The numbers sum to 100."
)


class Read(NamedTuple):
    """What was read of one question.

    Attributes:
        shares: (k,) of the options, summing to 1; None where nothing could be read.
        read: How much stands behind it: the probability of all options together (`first_token`), the share of drawn
            replies that could be read (`sampled`), 1 or 0 (`verbalised`).
    """

    shares: Values | None
    read: float


def first_token(engine: Engine, asked: Sequence[Asked], adapter: str = "") -> list[Read]:
    """Read the probability of each option's letter at the first token of the answer, scaled to sum to 1.

    Args:
        engine: One that scores choices.
        asked: Questions with options (`popsim.tune.asking`).
        adapter: The adapter that answers.

    Raises:
        TuneError: A question has no options.
    """
    prompts = [_prompt(one, adapter, choices=tuple(one.letters)) for one in asked]
    found = []
    for reply in answer_all(engine, prompts):
        each = np.array(json.loads(reply.text)) if reply.finish != "error" else np.zeros(0)
        mass = float(each.sum())
        found.append(Read(each / mass if mass > 0 else None, mass))
    return found


def sampled(engine: Engine, asked: Sequence[Asked], draws: int = 30, seed: int = 0, adapter: str = "") -> list[Read]:
    """Let the model answer so many times at temperature 1, and count; unreadable replies are left out and counted.

    Of n draws the estimate alone is off by a total variation of about 0.4 sqrt((k - 1) / n) for k even options.

    Args:
        engine: One that writes.
        asked: Questions with options.
        draws: How many answers of each.
        seed: Of the draws.
        adapter: The adapter that answers.

    Raises:
        TuneError: A question has no options.
    """
    sampling = Sampling(max_tokens=_SHORT)
    prompts = [
        _prompt(one, adapter, sampling=sampling, seed=streams.stream(f"tune.reading.{seed}.{i}.{draw}"))
        for i, one in enumerate(asked)
        for draw in range(draws)
    ]
    texts = [reply.text for reply in answer_all(engine, prompts)]
    return [count_letters(texts[i * draws : (i + 1) * draws], one.letters) for i, one in enumerate(asked)]


def verbalised(engine: Engine, asked: Sequence[Asked], adapter: str = "") -> list[Read]:
    """Ask how many of 100 such people choose each option, and read the numbers; written greedily.

    Args:
        engine: One that writes.
        asked: Questions with options.
        adapter: The adapter that answers.

    Raises:
        TuneError: A question has no options.
    """
    sampling = Sampling(temperature=0, max_tokens=_LINES)
    prompts = []
    for one in asked:
        text = f"{one.text}\n\n{_STATE.format(one.letters[:1])}"
        prompts.append(_prompt(one._replace(text=text, prefill=""), adapter, sampling=sampling))
    return [read_stated(reply.text, one.letters) for reply, one in zip(answer_all(engine, prompts), asked, strict=True)]


def count_letters(texts: Sequence[str], letters: str) -> Read:
    """Count replies that begin with an option's letter.

    Args:
        texts: The replies.
        letters: Of the options.

    Example:
        >>> found = count_letters(["A) yes", " B", "Because", "(A)"], "AB")
        >>> found.shares.round(3).tolist(), found.read
        ([0.667, 0.333], 0.75)
    """
    said = [one[1] for one in map(_LETTER.match, texts) if one and one[1] in letters]
    if not said:
        return Read(None, 0.0)
    return Read(np.array([said.count(letter) for letter in letters]) / len(said), len(said) / len(texts))


def read_stated(text: str, letters: str) -> Read:
    r"""Read a line for each option, its letter and a share or percent; None where one is missing, twice or off the sum.

    Args:
        text: The reply.
        letters: Of the options.

    Example:
        >>> read_stated("A: 25\nB) 75 %", "AB").shares.tolist(), read_stated("A: 25", "AB").shares
        ([0.25, 0.75], None)
    """
    stated = _STATED.findall(text)
    if sorted(letter for letter, _ in stated) != sorted(letters):
        return Read(None, 0.0)
    values = [float(number) for _, number in sorted(stated)]
    try:
        unit_of(values, "stated")
    except TuneError:
        return Read(None, 0.0)
    return Read(np.array(values) / sum(values), 1.0)


def _prompt(one: Asked, adapter: str, **more: Any) -> Prompt:
    if not one.letters:
        raise TuneError(f"reading shares: a question without options ({one.text[-60:]!r}); give it some")
    return Prompt((("user", one.text),), prefill=one.prefill, adapter=adapter, **more)
