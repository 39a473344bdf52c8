"""Language models small enough to be enumerated, for tests of what is read out of probabilities."""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from popsim.engines import Prompt, Reply
from popsim.errors import EngineError


class Markov:
    """Draws the next token given the last one; the first given the whole text of the prompt.

    What a vocabulary can spell is up to the test; control tokens have an empty text.
    """

    fingerprint = "markov/1"
    reads = "text"
    abilities = frozenset({"next", "seed", "prefill"})
    reproducible = "exact"
    notice = "Made up by a test."

    def __init__(self, vocabulary: Sequence[str], seed: int = 0, concentration: float = 1.0) -> None:
        self.vocabulary = list(vocabulary)
        self.seed, self.concentration = seed, concentration
        size = len(self.vocabulary)
        self.after = np.random.default_rng(seed).dirichlet(np.full(size, concentration), size=size)
        self.calls: list[int] = []

    def first(self, prompt: Prompt) -> np.ndarray:
        key = zlib.crc32(repr((prompt.messages, prompt.prefill)).encode())
        return np.random.default_rng([self.seed, key]).dirichlet(np.full(len(self.vocabulary), self.concentration))

    def next(self, prompt: Prompt, tokens: Sequence[int]) -> np.ndarray:
        return self.after[tokens[-1]] if tokens else self.first(prompt)

    def spelling(self) -> list[str]:
        return self.vocabulary

    def next_logprobs(self, asked, tokens):
        self.calls.append(len(asked))
        for prompt, _ in asked:
            if any("TOO LONG" in text for _, text in prompt.messages):
                raise EngineError("the prompt is too long")
        with np.errstate(divide="ignore"):
            return np.log([self.next(prompt, path)[list(tokens)] for prompt, path in asked])

    def sample(self, prompt: Prompt, count: int, length: int, rng: np.random.Generator) -> list[str]:
        """Draw texts of so many tokens."""
        first = rng.choice(len(self.vocabulary), size=count, p=self.first(prompt))
        paths = [first]
        for _ in range(length - 1):
            mass = self.after[paths[-1]].cumsum(axis=1)
            paths.append((mass < rng.random((count, 1))).sum(axis=1).clip(max=len(self.vocabulary) - 1))
        return ["".join(self.vocabulary[token] for token in path) for path in np.stack(paths, axis=1)]

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        for position, prompt in enumerate(prompts):
            if prompt.choices:
                mass = self.first(prompt)
                yield position, Reply(json.dumps([mass[self.vocabulary.index(one)] for one in prompt.choices]))
            elif prompt.seed % 5 == 4:
                yield position, Reply("I never come to the point.", "length", 7, 9)
            else:
                text = f"<reasoning>{prompt.seed % 3}</reasoning>\n<final_answer>\n{{}}\n</final_answer>"
                yield position, Reply(text, "stop", 7, 9)


class Clerk(Markov):
    """Writes numbers with two decimals and a per cent sign, each person in their own way; sometimes nonsense."""

    fingerprint = "clerk/1"

    def __init__(self) -> None:
        vocabulary = [*"0123456789", ".", "%", '"', "-", '%"', "10", "00", "4.", "50", '%",', "hm", ""]
        super().__init__(vocabulary, concentration=0.3)

    def next(self, prompt: Prompt, tokens: Sequence[int]) -> np.ndarray:
        said = "".join(self.vocabulary[token] for token in tokens)
        shares = self.first(replace(prompt, prefill=prompt.prefill + said))
        right = re.compile(r'[0-7](\.(\d(\d(%",?)?)?)?)?')
        allowed = [bool(text) and right.fullmatch(said + text) is not None for text in self.vocabulary]
        likely = np.where(allowed, shares + 1e-6, 0.0)
        return 0.98 * likely / likely.sum() + 0.02 * shares if likely.any() else shares
