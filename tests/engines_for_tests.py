"""Engines that answer by rule, for tests of what stands around an engine."""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from typing import ClassVar

from popsim.engines import Prompt, Reply

GOOD = {
    "Unemployment_rate_Scenario_1": "4.0%",
    "Inflation_rate_Scenario_1": "1.6%",
    "Unemployment_rate_Scenario_2": "3.9%",
    "Inflation_rate_Scenario_2": "1.2%",
    "Main_considerations_Scenario_2": "Cheaper petrol.",
}


def in_parts(answers: dict[str, str]) -> str:
    said = json.dumps(answers)
    return f"<recall>\nme\n</recall>\n<reasoning>\nso\n</reasoning>\n<final_answer>\n{said}\n</final_answer>"


class MadeUp:
    """What an engine of a test says of itself; its ``answer`` and its fingerprint are its own."""

    fingerprint = "made-up/1"
    reads = "text"
    abilities = frozenset()
    reproducible = "exact"
    notice = "Made up by a test."


class Seeded(MadeUp):
    """Answers the oil questionnaire with numbers that depend on the seed alone, and remembers its prompts."""

    fingerprint = "seeded/1"

    def __init__(self) -> None:
        self.seen: list[Prompt] = []

    def text(self, prompt: Prompt) -> str:
        inflation = 1 + prompt.seed % 500 / 100
        return in_parts(GOOD | {"Inflation_rate_Scenario_2": f"{inflation:.2f}%"})

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        for position in reversed(range(len(prompts))):
            prompt = prompts[position]
            self.seen.append(prompt)
            yield position, Reply(self.text(prompt), "stop", 10, 5)


class Stubborn(Seeded):
    """Is unreadable for a prompt whose seed is divisible by three."""

    fingerprint = "stubborn/1"

    def text(self, prompt: Prompt) -> str:
        return "I would rather talk about the weather." if prompt.seed % 3 == 0 else super().text(prompt)


class Silent(Seeded):
    """Is never readable."""

    fingerprint = "silent/1"

    def text(self, prompt: Prompt) -> str:
        return "..."


class Sided(MadeUp):
    """Answers records by who is asked: with the word after ``wants`` for some, the first option for the others.

    Where ``POPSIM_DIE`` is set the process is killed after so many replies, as by a power cut.
    """

    fingerprint = "sided/1"
    abilities = frozenset({"choice", "prefill", "adapter"})
    sides: ClassVar[dict[str, str]] = {"side: left": "no", "side: right": "yes"}

    def __init__(self) -> None:
        self.left = int(os.environ.get("POPSIM_DIE", "-1"))
        self.asked = 0

    def wanted(self, text: str) -> str:
        return next((word for side, word in self.sides.items() if side in text), "")

    def text(self, prompt: Prompt) -> str:
        said, word = prompt.messages[-1][1], self.wanted(prompt.messages[-1][1])
        if not prompt.choices:
            letter = next((line[1] for line in said.splitlines() if line[3:].strip() == word), "A")
            return f"{letter})"
        hit = [f"({letter}) {word}" in said or f"{letter}. {word}" in said for letter in prompt.choices]
        return json.dumps([0.6 if one else 0.3 / len(hit) for one in hit])

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        for position, prompt in enumerate(prompts):
            if self.asked == self.left:
                os.kill(os.getpid(), signal.SIGKILL)
            self.asked += 1
            yield position, Reply(self.text(prompt), "stop", 10, 5)


class Words(MadeUp):
    """Replies in free text by rule: JSON with a stance, a number, a remark, or, of everybody called mute, nothing."""

    fingerprint = "words/1"

    def text(self, prompt: Prompt) -> str:
        said = prompt.messages[-1][1]
        if "mute" in said:
            return ""
        if "Rate the reply" in said:
            return '{"naturalness": 4, "style": 3, "consistency": 5}' if "people say" in said else "I would rather not."
        if "stance" in said:
            return '```json\n{"predict": "Positive", "reason": "prices rise fast"}\n```'
        return "<think>Well, 3?</think> 5." if "integer" in said else "as people say"

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        yield from ((position, Reply(self.text(prompt))) for position, prompt in enumerate(prompts))


class Stating(Words):
    """States that all are satisfied, by the letter that the prompt puts before it, or a positive stance, in Chinese."""

    fingerprint = "stating/1"

    def text(self, prompt: Prompt) -> str:
        said = prompt.messages[-1][1]
        if "mute" in said:
            return "A: 10%"
        if "predict" in said:
            return '{"predict": "积极", "reason": "好"}'
        [line] = [line for line in said.splitlines() if line[3:] == "满意"]
        return f"I would say\n{line}: 100%"


class Moody(Words):
    """Rates by the length of what it was given, people as well as models."""

    fingerprint = "moody/1"

    def text(self, prompt: Prompt) -> str:
        [given] = [line for line in prompt.messages[-1][1].splitlines() if line.startswith("GIVEN: ")]
        naturalness = 1 + sum(map(ord, given)) % 5
        return f'{{"naturalness": {naturalness}, "style": 3, "consistency": 5}}'


class Graded(MadeUp):
    """Scores numbers by how near they are to the level that the prompt tells of the person."""

    fingerprint = "graded/1"
    abilities = frozenset({"choice", "prefill", "adapter"})

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        for position, prompt in enumerate(prompts):
            [level] = [line[9:] for line in prompt.messages[-1][1].splitlines() if line.startswith("- level: ")]
            masses = [2.0 ** -abs(float(number) - float(level) + 0.4) / 4 for number in prompt.choices]
            yield position, Reply(json.dumps(masses), "stop", 10, 0)


class Uneven(Seeded):
    """Cannot answer four in ten prompts of the rise arm at first, and one in ten in the end; says the same number."""

    fingerprint = "uneven/1"

    def text(self, prompt):
        said = prompt.messages[0][1]
        if "climbs" in said and prompt.seed % 10 < 5:
            return "I cannot say."
        inflation = 1.2 + prompt.seed % 7 / 100
        return in_parts(
            GOOD
            | {
                "Inflation_rate_Scenario_2": f"{inflation:.2f}%",
                "Main_considerations_Scenario_2": "Lower costs of firms mean lower prices and more spending.",
            }
        )
