"""A quick look at what a half-trained model says to people it has never seen, through the engine that others use."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from popsim.engines import Prompt, Reply, Sampling, answer_all
from popsim.engines.baseline import Baseline
from popsim.engines.local import Transformers
from popsim.streams import hashed, stream
from popsim.survey import Reading, read_reply
from popsim.tune.pairs import Pair

_DRAWS = 16
_MAX_TOKENS = 600
_FEWEST = 8
_NUMBER = re.compile(r"\d+")

Column = dict[str, list[tuple[str, float, float]]]


@dataclass(frozen=True)
class Validation:
    """What the replies to held-out prompts are like.

    Attributes:
        replies: How many prompts were answered.
        ok: Share of the replies with status ``ok``.
        recall: Share of the recalls that repeat the numbers of the teacher's, all and in order.
        correlation: Between a question's answers and the teacher's mean for the same person, within scenario and arm.
    """

    replies: int
    ok: float
    recall: float
    correlation: dict[str, float]

    def figures(self) -> dict[str, Any]:
        """Give the figures for a log line; none where nobody was asked."""
        if not self.replies:
            return {}
        correlation = {name: round(value, 3) for name, value in self.correlation.items()}
        return {
            "replies": self.replies,
            "ok": round(self.ok, 4),
            "recall_numbers": round(self.recall, 4),
            "correlation": correlation,
        }


def validate_replies(folder: Path, pairs: Sequence[Pair]) -> Validation:
    """Ask a model about people and compare what it says with what the teacher says of them.

    Args:
        folder: The model, in Hugging Face's files.
        pairs: Held-out people; a model's reply is drawn once for each, at temperature 1.
    """
    if not pairs:
        return Validation(0, 0.0, 0.0, {})
    prompts = [Prompt(pair.messages, Sampling(max_tokens=_MAX_TOKENS), pair.seed) for pair in pairs]
    engine = Transformers(str(folder), dtype="float32", device="cpu")
    readings = [_read(pair, reply) for pair, reply in zip(pairs, answer_all(engine, prompts), strict=True)]
    recalled, columns = [], _columns(pairs, readings)
    for pair, reading in zip(pairs, readings, strict=True):
        wanted = _NUMBER.findall(_read(pair, Reply(pair.answers[0])).recall)
        if pair.reasoning and wanted:
            recalled.append(_NUMBER.findall(reading.recall) == wanted)
    correlation = {name: _correlation(rows) for name, rows in columns.items() if len(rows) >= _FEWEST}
    ok = float(np.mean([reading.status == "ok" for reading in readings]))
    return Validation(len(pairs), ok, float(np.mean(recalled)) if recalled else 0.0, correlation)


def _read(pair: Pair, reply: Reply) -> Reading:
    return read_reply(reply.text, pair.questions, reasoning=pair.reasoning, finish=reply.finish, error=reply.error)


def _columns(pairs: Sequence[Pair], readings: Sequence[Reading]) -> Column:
    """Set each numeric answer beside the teacher's mean, by question: (group, answer, mean)."""
    seeds = hashed(
        np.array([pair.seed for pair in pairs])[:, None], stream("tune.check"), np.arange(_DRAWS)
    ) >> np.uint64(1)
    told = [Prompt((), seed=int(s), facts=pair.facts) for pair, row in zip(pairs, seeds, strict=True) for s in row]
    replies = answer_all(Baseline(), told)
    columns: Column = defaultdict(list)
    for i, (pair, reading) in enumerate(zip(pairs, readings, strict=True)):
        if reading.status != "ok":
            continue
        teacher = [_numbers(pair, _read(pair, reply)) for reply in replies[i * _DRAWS : (i + 1) * _DRAWS]]
        for name, value in _numbers(pair, reading).items():
            columns[name].append((pair.group, value, float(np.mean([one[name] for one in teacher]))))
    return columns


def _numbers(pair: Pair, reading: Reading) -> dict[str, float]:
    numeric = {question.name for question in pair.questions if question.kind == "number"}
    return {
        answer.question: float(answer.value)
        for answer in reading.answers
        if answer.question in numeric and answer.value is not None
    }


def _correlation(rows: Sequence[tuple[str, float, float]]) -> float:
    """Correlate answers and means after taking each group's average away; 0 where nothing varies."""
    groups = np.array([group for group, _, _ in rows])
    values = np.array([row[1:] for row in rows], dtype=float)
    for group in np.unique(groups):
        values[groups == group] -= values[groups == group].mean(axis=0)
    spread = values.std(axis=0)
    return float((values[:, 0] * values[:, 1]).mean() / spread.prod()) if spread.all() else 0.0
