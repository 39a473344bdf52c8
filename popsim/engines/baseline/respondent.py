"""The respondent itself: prompts with facts in, replies out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from popsim.engines.baseline.draws import Drawn
from popsim.engines.baseline.plan import Plan, plan_answers
from popsim.engines.baseline.scores import Group
from popsim.engines.baseline.wording import Writer
from popsim.engines.wire import Ability, Prompt, Reply

_CHUNK = 4096
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


class Baseline:
    """Answers from the facts of a prompt by drawing from distributions that meet published moments.

    The changes of a vignette with a ``reference`` meet its direction shares, means and standard deviations; questions
    with a ``reference`` of their own meet that; all others get a stated default draw (`uncalibrated` names them). A
    person's priors, traits, confidence and what they heard bend the draw (`popsim.engines.baseline.scores`). It never
    answers "don't know" and never refuses.

    Example:
        >>> question = {"kind": "number", "name": "rate", "key": "", "minimum": 0, "maximum": 10, "decimals": 1}
        >>> question |= {"unit": "%", "anchor": 4.0, "reference": None}
        >>> vignette = {"name": "v", "pages": [{"questions": [question]}], "reference": None}
        >>> facts = {"person": {}, "persona": "", "modules": frozenset(), "language": "en", "reasoning": False}
        >>> facts |= {"heard": (), "arm": "all", "vignettes": (vignette,)}
        >>> [reply.text for _, reply in Baseline().answer([Prompt((), seed=1, facts=facts)])]
        ['{"rate": "2.9%"}']
    """

    fingerprint = "baseline/1"
    reads: Literal["text", "facts"] = "facts"
    abilities: frozenset[Ability] = frozenset()
    reproducible: Literal["exact", "best_effort"] = "exact"
    notice = (
        "baseline is fitted to the published numbers that the questionnaire carries: agreement with them is by "
        "construction and never evidence about people"
    )

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield a reply for every prompt, each a function of that prompt alone.

        Args:
            prompts: Prompts with facts; each is taken once, and few are held at a time.

        Raises:
            EngineError: A reference of the questionnaire cannot be met, or a person's word is unknown.
        """
        for start in range(0, len(prompts), _CHUNK):
            groups: dict[tuple[int, object, object], list[tuple[int, Prompt]]] = {}
            for position in range(start, min(start + _CHUNK, len(prompts))):
                prompt = prompts[position]
                key = id(prompt.facts["vignettes"]), prompt.facts["arm"], prompt.facts.get("asked")
                groups.setdefault(key, []).append((position, prompt))
            for members in groups.values():
                positions, same = zip(*members, strict=True)
                for position, text in zip(positions, _answer_group(same), strict=True):
                    yield position, Reply(text)


def _answer_group(prompts: Sequence[Prompt]) -> Iterator[str]:
    """Answer prompts with the same vignettes and arm: all of their questions, or those that are asked on this page."""
    facts: list[Mapping[str, Any]] = [prompt.facts for prompt in prompts]
    plan = plan_answers(json.dumps(facts[0]["vignettes"], ensure_ascii=False), facts[0]["arm"])
    group = Group([prompt.seed for prompt in prompts], facts)
    drawn = Drawn({}, {})
    for draw in plan.draws:
        draw.draw(group, drawn)
    writer = Writer(group, drawn)
    asked = facts[0].get("asked")
    questions = [(vignette, one) for vignette, one in plan.questions if asked is None or one["name"] in asked]
    columns = [_column(plan, writer, vignette, question, drawn) for vignette, question in questions]
    keys = [question["key"] or question["name"] for _, question in questions]
    for i, row in enumerate(zip(*columns, strict=True)):
        yield writer.reply(i, _ENCODE(dict(zip(keys, row, strict=True))))


def _column(plan: Plan, writer: Writer, vignette: str, question: Mapping[str, Any], drawn: Drawn) -> list[Any]:
    if question["kind"] != "text":
        return drawn.answers[question["name"]]
    return writer.considerations(vignette, question["name"], question["max_characters"])
