"""Training of a LoRA adapter on people's answers, one stage after the other, through transformers and peft."""

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from popsim import streams
from popsim.engines.local import loading
from popsim.errors import TuneError
from popsim.files import write_whole
from popsim.tune.adapter_config import AdapterConfig, Stage
from popsim.tune.adapter_model import add_adapter, check_device, load_base
from popsim.tune.batches import Encoder, Row, batch_loss, log_probabilities
from popsim.tune.data import read_records
from popsim.tune.files import LOG, RECORD, claim
from popsim.tune.records import Answer, Shares
from popsim.tune.splits import check_leaks, part

_CHECKPOINT = "checkpoint.pt"


class Progress(NamedTuple):
    """How far a training is: told after every step.

    Attributes:
        step: Steps taken, of all stages.
        share: Of all steps, from 0 to 1.
        loss: Of the last batch.
        log: The latest line of the log; empty before the first epoch has ended.
    """

    step: int
    share: float
    loss: float
    log: dict[str, Any]


class Prepared(NamedTuple):
    """A stage with its data as rows.

    Attributes:
        stage: The settings.
        rows: To learn from.
        valid: To choose the best epoch by.
        left_out: Records without an answer or too long.
    """

    stage: Stage
    rows: list[Row]
    valid: list[Row]
    left_out: int

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self.rows) / self.stage.batch)


def tune_adapter(config: AdapterConfig, out: str | Path, progress: Callable[[Progress], object] | None = None) -> Path:
    """Train an adapter, or go on with a training that was interrupted.

    Args:
        config: From `popsim.tune.adapter_config.load_adapter_config`.
        out: The folder for the adapter as peft writes it, beside ``log.jsonl``, ``tune.json`` and, until the end,
            ``checkpoint.pt``. The engines ``transformers`` and ``vllm`` load it: ``adapters: {NAME: FOLDER}``.
        progress: Told after every step.

    Returns:
        The folder; where its training has ended before, nothing is done.

    Raises:
        RunError: The folder holds a training by another configuration.
        TuneError: The data cannot be learned from, leaks, or the adapter to start from was made for another base.
        EngineError: The base model cannot be loaded or has no chat template.
    """
    folder = Path(out)
    check_device(config)
    parts = [_read(stage, config.seed) for stage in config.stages]
    if (folder / RECORD).is_file() and claim(folder, config):
        return folder
    model, tokenizer = load_base(config)
    ends = loading.end_tokens(tokenizer, model.generation_config.to_dict())
    if not ends:
        raise TuneError(f"{config.base}: declares no token that ends a reply; set eos_token in its tokenizer")
    end = tokenizer.eos_token_id if tokenizer.eos_token_id in ends else min(ends)
    encoder = Encoder(tokenizer, loading.vocabulary(model), end)
    stages = []
    for stage, (records, valid) in zip(config.stages, parts, strict=True):
        rows, left_out = encoder.rows(records, stage, config.seed)
        stages.append(Prepared(stage, rows, encoder.rows(valid, stage, config.seed)[0] if valid else [], left_out))
    tuned = add_adapter(model, config)
    claim(folder, config)
    _Training(config, folder, tuned, stages, encoder).run(progress or (lambda _: None))
    return folder


def _read(stage: Stage, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """Read the records of a stage, and end where they leak."""
    records = read_records(stage.data)
    valid: Sequence[Answer] | Sequence[Shares] = read_records(stage.valid) if stage.valid else []
    for by in stage.apart:
        if not stage.valid:
            raise TuneError(f"stage {stage.name}: apart compares data with valid, and there is no valid")
        check_leaks({"data": records, "valid": valid}, [by], stage.facts)  # type: ignore[type-var]
    try:
        return part(records, stage.part, seed), valid
    except TuneError as problem:
        raise TuneError(f"stage {stage.name}: {problem}") from None


def rate(stage: Stage, at: float, epoch: int) -> float:
    """Give the learning rate when a share of a stage's steps is done.

    Args:
        stage: The settings.
        at: Share of the steps done, from 0 to 1.
        epoch: Epochs done.
    """
    peak = stage.learning_rate
    if at < stage.warm_up:
        return peak * at / stage.warm_up
    left = (1 - at) / (1 - stage.warm_up) if stage.warm_up < 1 else 1.0
    if stage.schedule == "linear":
        return peak * left
    if stage.schedule == "cosine":
        return peak * (1 - math.cos(math.pi * left)) / 2
    return peak * stage.gamma**epoch if stage.schedule == "step" else peak


class _Training:
    """The state of a training: adapter, optimiser, stage and step."""

    def __init__(
        self, config: AdapterConfig, folder: Path, model: Any, stages: Sequence[Prepared], encoder: Encoder
    ) -> None:
        self.config, self.folder, self.model, self.stages = config, folder, model, stages
        needs = [one.stage.loss.kind == "number" and any(row.digits for row in one.rows + one.valid) for one in stages]
        self.digits = encoder.digit_tokens() if any(needs) else []
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.at, self.step, self.losses, self.log = 0, 0, [0.0][:0], dict[str, Any]()
        self.best: tuple[float, list[torch.Tensor]] | None = None
        self.base: list[list[tuple[float, float]]] = []
        self.optimiser = self._fresh()
        self._since = time.monotonic()
        self._resume()

    def run(self, tell: Callable[[Progress], object]) -> None:
        """Train to the end and write the adapter."""
        total = sum(one.stage.epochs * one.steps for one in self.stages)
        while self.at < len(self.stages):
            prepared = self._beside_base(self.stages[self.at])
            for epoch, rows in self._batches(prepared):
                loss = self._learn(prepared.stage, rows, epoch, prepared.stage.epochs * prepared.steps)
                self.losses.append(loss)
                before = sum(one.stage.epochs * one.steps for one in self.stages[: self.at])
                if self.step % prepared.steps == 0:
                    self._end_epoch(prepared, epoch, (before + self.step) / total)
                elif self.step % prepared.stage.checkpoint == 0:
                    self._save()
                tell(Progress(before + self.step, (before + self.step) / total, loss, self.log))
            self.at, self.step, self.best = self.at + 1, 0, None
            self.optimiser = self._fresh()
        (self.folder / _CHECKPOINT).unlink(missing_ok=True)

    def _beside_base(self, prepared: Prepared) -> Prepared:
        """For preferences: give each row what the model thinks of its answers before the stage changes anything."""
        if prepared.stage.loss.kind != "preference":
            return prepared
        parts, size = [prepared.rows, prepared.valid], prepared.stage.at_once
        if self.step == 0:
            self.model.eval()
            self.base = [_base_log_probabilities(self.model, rows, size) for rows in parts]
        rows, valid = (
            [replace(row, base=one) for row, one in zip(*both, strict=True)]
            for both in zip(parts, self.base, strict=True)
        )
        return prepared._replace(rows=rows, valid=valid)

    def _fresh(self) -> torch.optim.AdamW:
        stage = self.config.stages[min(self.at, len(self.config.stages) - 1)]
        return torch.optim.AdamW(self.weights, lr=stage.learning_rate, weight_decay=stage.weight_decay)

    def _batches(self, prepared: Prepared) -> Iterator[tuple[int, list[Row]]]:
        """Give the batches that are left, each epoch in an order of its own."""
        stage = prepared.stage
        for epoch in range(self.step // prepared.steps, stage.epochs):
            rng = streams.rng(self.config.seed, f"tune.order.{stage.name}.{epoch}")
            order = by_prompt(prepared.rows, rng) if stage.merge else rng.permutation(len(prepared.rows))
            first = self.step - epoch * prepared.steps
            for start in range(first * stage.batch, len(order), stage.batch):
                yield epoch, [prepared.rows[i] for i in order[start : start + stage.batch]]

    def _learn(self, stage: Stage, rows: Sequence[Row], epoch: int, steps: int) -> float:
        """Take one step; its dropout depends on the step alone, so a resumed training is the same training."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = rate(stage, self.step / steps if stage.warm_up == 0 else (self.step + 1) / steps, epoch)
        total, whole = 0.0, sum(row.count for row in rows)
        with _seeded(f"tune.dropout.{self.config.seed}.{stage.name}.{self.step}"):
            for start in range(0, len(rows), stage.at_once):
                some = rows[start : start + stage.at_once]
                loss = batch_loss(self.model, some, stage.loss, self.digits) * (sum(row.count for row in some) / whole)
                loss.backward()
                total += float(loss.detach())
        if not math.isfinite(total):
            raise TuneError(f"{self.config.name}: the loss became {total} at step {self.step} of stage {stage.name}")
        torch.nn.utils.clip_grad_norm_(self.weights, stage.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return total

    def _end_epoch(self, prepared: Prepared, epoch: int, share: float) -> None:
        """Validate, keep the best weights, write a line of the log, and the adapter or a checkpoint."""
        stage, valid = prepared.stage, None
        if prepared.valid:
            valid = self._validate(prepared)
            if self.best is None or valid < self.best[0]:
                self.best = (valid, [weight.detach().clone() for weight in self.weights])
        last = epoch + 1 == stage.epochs
        if last and self.best is not None:
            with torch.no_grad():
                for weight, best in zip(self.weights, self.best[1], strict=True):
                    weight.copy_(best)
        if last and self.at + 1 == len(self.stages):
            self._write()
        figures = {"valid_loss": round(valid, 6)} if valid is not None else {}
        self.log = {
            "stage": stage.name,
            "epoch": epoch + 1,
            "records": sum(row.count for row in prepared.rows),
            "rows": len(prepared.rows),
            "left_out": prepared.left_out,
            "loss": round(float(np.mean(self.losses[-prepared.steps :])), 6),
            **figures,
            "minutes": round((time.monotonic() - self._since) / 60, 2),
            "share": share,
        }
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(self.log) + "\n")
        if share < 1:
            self._save()

    def _validate(self, prepared: Prepared) -> float:
        self.model.eval()
        size, total = prepared.stage.at_once, 0.0
        whole = sum(row.count for row in prepared.valid)
        with torch.no_grad():
            for start in range(0, len(prepared.valid), size):
                some = prepared.valid[start : start + size]
                loss = batch_loss(self.model, some, prepared.stage.loss, self.digits)
                total += float(loss) * sum(row.count for row in some)
        return total / whole

    def _write(self) -> None:
        """Write the adapter, its base under the name that the configuration gives it."""
        self.model.peft_config["default"].base_model_name_or_path = self.config.base
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning)
            self.model.save_pretrained(self.folder)

    def _save(self) -> None:
        state = {
            "weights": [weight.detach() for weight in self.weights],
            "optimiser": self.optimiser.state_dict(),
            "at": (self.at, self.step),
            "best": self.best,
            "base": self.base,
        }
        write_whole(self.folder / _CHECKPOINT, lambda to: torch.save(state, to))

    def _resume(self) -> None:
        path = self.folder / _CHECKPOINT
        if not path.is_file():
            return
        state: Mapping[str, Any] = torch.load(path, weights_only=True)
        self.at, self.step = state["at"]
        self.best, self.base = state["best"], state["base"]
        with torch.no_grad():
            for weight, saved in zip(self.weights, state["weights"], strict=True):
                weight.copy_(saved)
        prepared = self.stages[self.at]
        if self.step == prepared.stage.epochs * prepared.steps:
            self.at, self.step, self.best = self.at + 1, 0, None
            self.optimiser = self._fresh()
        else:
            self.optimiser = self._fresh()
            self.optimiser.load_state_dict(state["optimiser"])


def by_prompt(rows: Sequence[Row], rng: np.random.Generator) -> NDArray[np.int64]:
    """Order rows at random, those with the same prompt behind each other.

    Example:
        >>> by_prompt([Row([i % 2], []) for i in range(4)], np.random.default_rng(0)).tolist()
        [0, 2, 1, 3]
    """
    prompts: dict[tuple[int, ...], int] = {}
    code = np.array([prompts.setdefault(tuple(row.prompt), len(prompts)) for row in rows])
    return np.argsort(rng.permutation(len(prompts))[code], kind="stable")


def _base_log_probabilities(model: Any, rows: Sequence[Row], size: int) -> list[tuple[float, float]]:
    """Log-probability of answer and rejected of each row, some rows at once."""
    found: list[tuple[float, float]] = []
    with torch.no_grad():
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            found += zip(*log_probabilities(model, some).tolist(), strict=True)
    return found


@contextmanager
def _seeded(name: str) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(streams.stream(name))
        yield
