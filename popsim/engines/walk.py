"""The walk: how probable each allowed text is, read token by token out of a language model's own probabilities.

A value is written by a path of tokens. The walk goes down all paths at once, one token a level, and keeps those that
are the beginning of an allowed text; a path ends as soon as it holds the first character of the text that closes the
value, so that 1 and 10 are told apart. What several paths spell adds up.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popsim.engines.wire import Prompt, Speller, Spelling
from popsim.errors import EngineError

_AT_ONCE = 2048
"""Beginnings that are put to the engine in one call."""

Floats = NDArray[np.float64]


class Walked(NamedTuple):
    """What a walk found.

    Attributes:
        probabilities: Shape (prompts, spellings): the model writes this text and begins to close it.
        left_out: Shape (prompts,): the rest, which is what the model writes else and what was too improbable to follow.
        read: Shape (prompts,): beginnings that the model was asked to go on from.
    """

    probabilities: Floats
    left_out: Floats
    read: NDArray[np.int64]


class Moves(NamedTuple):
    """The tokens that lead on from a beginning: first those that end a value, then those that lead to a longer one."""

    tokens: tuple[int, ...]
    ends: NDArray[np.intp]
    """The spelling that each of the first tokens ends."""
    onward: tuple[str, ...]
    """The beginning that each of the other tokens leads to."""


class Grid:
    """The allowed texts as a tree of their beginnings, and which tokens of a vocabulary lead along it.

    Args:
        spellings: The allowed texts, each with the text that closes it.
        vocabulary: The text of every token, by its id.

    Raises:
        EngineError: Two spellings cannot be told apart by their first characters after the value.
    """

    def __init__(self, spellings: Sequence[Spelling], vocabulary: Sequence[str]) -> None:
        self.size = len(spellings)
        self._beginnings = {text[:end] for text, _, _ in spellings for end in range(len(text) + 1)}
        self._ends: dict[str, tuple[int, str]] = {}
        for index, (text, close, _) in enumerate(spellings):
            decisive = text + close[:1]
            if not close or decisive in self._ends or decisive in self._beginnings:
                raise EngineError(
                    f"readout: {text + close!r} could be the beginning of another answer; give the options other words"
                )
            self._ends[decisive] = index, close
        self._next: dict[str, set[str]] = defaultdict(set)
        for text in self._beginnings | set(self._ends):
            self._next[text[:-1]] |= set(text[-1:])
        letters = set().union(*self._next.values())
        self._tokens: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for token, text in enumerate(vocabulary):
            if text and text[0] in letters:
                self._tokens[text[0]].append((token, text))
        self._moves: dict[str, Moves] = {}

    def moves(self, beginning: str) -> Moves:
        """Give the tokens that lead on from a beginning."""
        if beginning not in self._moves:
            ends, onward = [], []
            for letter in sorted(self._next[beginning]):
                for token, text in self._tokens[letter]:
                    spelling = self._follow(beginning, text)
                    if isinstance(spelling, int):
                        ends.append((token, spelling))
                    elif spelling is not None:
                        onward.append((token, spelling))
            self._moves[beginning] = Moves(
                tuple(token for token, _ in (*ends, *onward)),
                np.array([spelling for _, spelling in ends], dtype=np.intp),
                tuple(text for _, text in onward),
            )
        return self._moves[beginning]

    def _follow(self, beginning: str, token: str) -> int | str | None:
        """Say where a token leads: to the end of a spelling, to a longer beginning, or nowhere."""
        text = beginning + token
        for end in range(len(beginning) + 1, len(text) + 1):
            if text[:end] in self._ends:
                index, close = self._ends[text[:end]]
                rest = text[end - 1 :]
                return index if rest.startswith(close) or close.startswith(rest) else None
            if text[:end] not in self._beginnings:
                return None
        return text


class _Path(NamedTuple):
    """A beginning that the model may have written, as it is sorted: by prompt, then by text."""

    row: int
    beginning: str
    tokens: tuple[int, ...]
    probability: float


def walk(speller: Speller, asked: Sequence[Prompt], grid: Grid, floor: float = 0.0) -> Walked:
    """Give the probability of every allowed text as what a model writes next.

    Args:
        speller: The model.
        asked: Prompts whose prefill ends where the value begins; all are walked together, level by level.
        grid: The allowed texts over the vocabulary of this model.
        floor: Beginnings that are less probable than this are not followed.

    Raises:
        EngineError: A prompt cannot be read.

    Example:
        >>> class Coin:
        ...     def next_logprobs(self, asked, tokens):
        ...         return np.log([[0.5 if token < 2 else 0.25 for token in tokens] for _ in asked])
        >>> vocabulary = ["4", "44", '"']
        >>> grid = Grid([Spelling("4", '"', 4.0), Spelling("44", '"', 44.0)], vocabulary)
        >>> walk(Coin(), [Prompt(())], grid).probabilities.tolist()
        [[0.125, 0.1875]]
    """
    found = np.zeros((len(asked), grid.size))
    read = np.zeros(len(asked), dtype=np.int64)
    level = [_Path(row, "", (), 1.0) for row in range(len(asked))]
    while level:
        read += np.bincount([path.row for path in level], minlength=len(asked))
        deeper: list[_Path] = []
        for start in range(0, len(level), _AT_ONCE):
            deeper += _step(speller, asked, level[start : start + _AT_ONCE], grid, floor, found)
        level = sorted(deeper)
    return Walked(found, np.maximum(1 - found.sum(axis=1), 0.0), read)


def _step(
    speller: Speller, asked: Sequence[Prompt], paths: list[_Path], grid: Grid, floor: float, found: Floats
) -> list[_Path]:
    """Go one token on from each path: add what ends to ``found`` and return the longer paths."""
    by_place: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(paths):
        by_place[path.beginning].append(index)
    moves = {place: grid.moves(place) for place in sorted(by_place)}
    tokens = sorted({token for move in moves.values() for token in move.tokens})
    if not tokens:
        return []
    column = {token: index for index, token in enumerate(tokens)}
    logprobs = speller.next_logprobs([(asked[path.row], path.tokens) for path in paths], tokens)
    longer = []
    for place, move in moves.items():
        here = [paths[index] for index in by_place[place]]
        columns = [column[token] for token in move.tokens]
        mass = np.exp(logprobs[np.ix_(by_place[place], columns)]) * np.array([[path.probability] for path in here])
        ending = len(move.ends)
        np.add.at(found, (np.array([[path.row] for path in here]), move.ends[None, :]), mass[:, :ending])
        for which, to in np.argwhere((mass[:, ending:] > 0) & (mass[:, ending:] >= floor)).tolist():
            path, token = here[which], move.tokens[ending + to]
            longer.append(_Path(path.row, move.onward[to], (*path.tokens, token), float(mass[which, ending + to])))
    return longer
