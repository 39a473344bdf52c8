"""Asking an engine about records, in the order of the file's options and again in another, and reading what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from popsim.engines import Engine
from popsim.errors import EngineError
from popsim.study.ask import Progress, ProgressCallback
from popsim.tune.benchmark.config import BenchmarkConfig
from popsim.tune.benchmark.predictors import exchanged
from popsim.tune.benchmark.prompts import RecordPrompts, shuffled
from popsim.tune.benchmark.replies import Predicted, counted, read_prediction

SHUFFLED = "shuffled options"


@dataclass(frozen=True)
class Answered:
    """What an engine predicts.

    Attributes:
        rows: The records, each as often as it has predictions.
        predicted: One prediction for each row: of the ``model``, and with ``shuffled options`` where these were asked.
        given: The prompt of each row, where replies are to be judged.
        draws: How many rows each record has.
    """

    rows: list[Any]
    predicted: Mapping[str, list[Predicted]]
    given: list[str]
    draws: int

    def replies(self, seed: int) -> dict[str, list[str | None]]:
        """Give the words of the model, of people, and what the model said for somebody else."""
        model = self.predicted["model"]
        found = {"model": [None if one.value is None else str(one.value) for one in model]}
        found["people"] = [str(row.value) for row in self.rows]
        if (others := exchanged(self.rows, model, seed)) is not None:
            found["shuffled personas"] = [None if one.value is None else str(one.value) for one in others]
        return found


def ask_records(
    config: BenchmarkConfig, records: Sequence[Any], engine: Engine, progress: ProgressCallback | None = None
) -> Answered:
    """Ask an engine about records and read its replies.

    Args:
        config: The benchmark.
        records: What is asked about.
        engine: Who answers.
        progress: Told after every reply.

    Raises:
        EngineError: Not one reply came, for example because a letter is no token of this model.
    """
    asked = {"model": RecordPrompts(records, config, prefill="prefill" in engine.abilities)}
    if config.shuffle_options and records[0].item.options and asked["model"].form(0).options:
        again = [shuffled(one, config.seed) for one in records]
        asked[SHUFFLED] = RecordPrompts(again, config, prefill="prefill" in engine.abilities)
    state = Progress(sum(map(len, asked.values())))
    predicted = {name: _ask(engine, prompts, records, state, progress) for name, prompts in asked.items()}
    draws = config.draws
    given = [asked["model"].form(i).text for i in range(len(asked["model"]))] if config.judge else []
    if config.task != "shares" or draws == 1:
        return Answered([one for one in records for _ in range(draws)], predicted, given, draws)
    pooled = {
        name: [counted(said[i * draws : (i + 1) * draws], row.item) for i, row in enumerate(records)]
        for name, said in predicted.items()
    }
    return Answered(list(records), pooled, given, 1)


def _ask(
    engine: Engine,
    prompts: RecordPrompts,
    records: Sequence[Any],
    state: Progress,
    progress: ProgressCallback | None,
) -> list[Predicted]:
    """Ask every prompt; a reply is read against the record as it is, whatever order its options were asked in."""
    found: list[Predicted | None] = [None] * len(prompts)
    for position, reply in engine.answer(prompts):
        record = records[position // prompts.draws]
        found[position] = one = read_prediction(reply, record, prompts.form(position))
        state.replies += 1
        state.settled += 1
        state.failed += one.status != "ok"
        if progress:
            progress(state)
    said = [one for one in found if one is not None]
    if len(said) < len(found):
        raise EngineError(f"engine {engine.fingerprint}: no reply to {len(found) - len(said)} of {len(found)} prompts")
    if all(one.status == "engine_error" for one in said):
        raise EngineError(f"engine {engine.fingerprint}: answers nothing: {said[0].text}")
    return said
