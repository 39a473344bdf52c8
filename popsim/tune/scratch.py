"""Training a small Llama from nothing on what `baseline` answers.

A batch holds prompts, each with several answers. The prompts are read once; the answers are then read on top of them,
each seeing its own prompt and itself, so that all the loss (on the answers alone) costs one pass over the prompt.
"""

import json
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from popsim import streams
from popsim.errors import TuneError
from popsim.files import write_whole
from popsim.tune.attention import let_branch, read_answers, read_prompts
from popsim.tune.check import Validation, validate_replies
from popsim.tune.config import TuneConfig
from popsim.tune.files import LOG, claim, get_tokenizer, model_card, write_model
from popsim.tune.muon import make_optimisers, set_pace
from popsim.tune.pairs import Pair, draw_cell, draw_pairs
from popsim.tune.team import Team, team
from popsim.tune.tokenizer import END, PAD, chat
from popsim.tune.vocabulary_loss import weighted_loss
from popsim.tune.weights import make_model, take_over

_IGNORED = -100
_CHECKPOINT = "checkpoint.pt"


class Batch(NamedTuple):
    """Token ids of p prompts with k answers each; what all answers of a prompt begin with is read and counted once.

    Attributes:
        prompts: (p, n) each prompt and the common beginning of its answers, but the last token; padded on the right.
        lengths: (p,) how many of them are real.
        begun: (p, n) the labels within the common beginning; -100 where there is nothing to learn.
        answers: (p k, m) the token left out above and the rest of the answer but its last, padded on the right.
        labels: (p k, m) the rest of the answer; -100 behind it.
        counts: (v,) how many times each token of the vocabulary counts as a label.
    """

    prompts: torch.Tensor
    lengths: torch.Tensor
    begun: torch.Tensor
    answers: torch.Tensor
    labels: torch.Tensor
    counts: torch.Tensor


class Progress(NamedTuple):
    """How far a training is: told after every step.

    Attributes:
        step: Steps taken.
        share: Of the steps or minutes, from 0 to 1.
        loss: Of the last batch, nats per token.
        seconds: Since the beginning, pauses left out.
        log: What the latest validation found, by name; empty before the first.
    """

    step: int
    share: float
    loss: float
    seconds: float
    log: dict[str, Any]


def tune(config: TuneConfig, out: str | Path, progress: Callable[[Progress], object] | None = None) -> Path:
    """Train a tokenizer and a model, or go on with a training that was interrupted.

    Args:
        config: From `popsim.tune.load_tune_config`.
        out: The folder for the model, in Hugging Face's files, beside ``log.jsonl``, ``tune.json`` and, until the end,
            ``checkpoint.pt``.
        progress: Told after every step.

    Returns:
        The folder; where its training has ended before, nothing is done.

    Raises:
        RunError: The folder holds a training by another configuration.
        TuneError: The configuration does not fit the data.
    """
    folder = Path(out)
    if claim(folder, config):
        return folder
    get_tokenizer(folder, config)  # learned once, before other processes look for it
    threads = torch.get_num_threads()
    try:
        with team(config.train.processes, _train, (config, folder)) as place:
            _train(place, config, folder, progress)
    finally:
        torch.set_num_threads(threads)
    return folder


def _train(place: Team, config: TuneConfig, folder: Path, tell: Callable[[Progress], object] | None = None) -> None:
    torch.set_num_threads(config.train.threads)
    _Training(place, config, folder, tell or (lambda _: None)).run()


class _Training:
    """The state of a training: model, optimiser, place in the data, time spent."""

    def __init__(self, place: Team, config: TuneConfig, folder: Path, tell: Callable[[Progress], object]) -> None:
        self.team, self.config, self.folder, self.tell = place, config, folder, tell
        self.tokenizer = get_tokenizer(folder, config)
        self.model = make_model(config.model, self.tokenizer, config.draw.seed)
        let_branch(self.model)
        self.optimisers = make_optimisers(self.model, config.train)
        self.held_out = draw_pairs(config.draw, "held_out", config.draw.held_out)
        self.step, self.chunk, self.place, self.spent, self.brief = 0, 0, 0, 0.0, False
        self.share = 0.0
        self.log: dict[str, Any] = {}
        self._resume()
        self._since = time.monotonic() - self.spent

    @property
    def seconds(self) -> float:
        """Time spent, pauses left out."""
        return time.monotonic() - self._since

    def _look_up(self) -> None:
        """See how much of the training is done, by the clock of the first process."""
        train = self.config.train
        done = self.step / train.steps if train.steps else self.seconds / 60 / (train.minutes or 1)
        self.share = self.team.follow(min(done, 1.0))

    def run(self) -> None:
        """Train to the end, then leave only what a finished training leaves."""
        self._look_up()
        while self.share < 1:
            for batch in self._chunk()[self.place :]:
                if self.share >= 1:
                    break
                self.place += 1
                loss = self._learn(batch)
                self._look_up()
                if self.team.rank == 0:
                    self._report(loss)
            else:
                self.chunk, self.place = self.chunk + 1, 0
        if self.team.rank == 0:
            self._note(None)
            (self.folder / _CHECKPOINT).unlink(missing_ok=True)

    def _chunk(self) -> list[Batch]:
        """Draw this process's part of a chunk, so that the batches of all processes take about as long at each step."""
        if self.place == 0:
            self.brief = self.share < self.config.train.brief
        number = self.chunk * self.team.size + self.team.rank
        batches = draw_batches(self.config, self.tokenizer, number, brief=self.brief)
        order = streams.rng(self.config.draw.seed, f"tune.order.{self.chunk}")
        count = self.team.least(len(batches))
        spread = np.linspace(0, len(batches) - 1, count).round().astype(int)
        return [batches[spread[i]] for i in order.permutation(count)]

    def _report(self, loss: float) -> None:
        """Tell of a step; where it is time, validate and save."""
        train = self.config.train
        self.tell(Progress(self.step, self.share, loss, self.seconds, self.log))
        if self.step % train.evaluate == 0 and train.brief <= self.share < 1:
            self._note(loss)
        if self.step % train.checkpoint == 0:
            self._save()

    def _learn(self, batch: Batch) -> float:
        """Take one step."""
        train = self.config.train
        set_pace(self.optimisers, train, min(1.0, (self.step + 1) / train.warm_up) * (1 - self.share))
        loss = self._loss(batch)
        loss.backward()
        self.team.average(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), train.clip)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return float(loss.detach())

    def _loss(self, batch: Batch) -> torch.Tensor:
        return answer_loss(self.model, batch, getattr(torch, self.config.train.dtype))

    def _note(self, loss: float | None) -> None:
        """Validate; write the model, its card and a line of the log."""
        self.model.eval()
        pairs = self.held_out
        with torch.inference_mode():
            batches = collate(self.config, self.tokenizer, pairs)
            alike = [batch._replace(counts=torch.ones_like(batch.counts)) for batch in batches]
            held_out = float(np.mean([float(self._loss(batch)) for batch in alike]))
        write_model(self.model, self.folder)
        found = validate_replies(self.folder, pairs[: self.config.train.replies])
        self.model.train()
        self.log = self._line(loss, held_out, found)
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(self.log) + "\n")
        card = model_card(self.config, self.model.num_parameters(), self.log)
        write_whole(self.folder / "README.md", lambda to: to.write_text(card, "utf-8"))

    def _line(self, loss: float | None, held_out: float, found: Validation) -> dict[str, Any]:
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2), "share": round(self.share, 4)}
        learned = {} if loss is None else {"loss": round(loss, 4)}
        return {**line, **learned, "held_out_loss": round(held_out, 4), **found.figures()}

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "at": (self.step, self.chunk, self.place, self.seconds, self.brief),
            "log": self.log,
        }
        write_whole(self.folder / _CHECKPOINT, lambda to: torch.save(state, to))

    def _resume(self) -> None:
        path = self.folder / _CHECKPOINT
        if path.is_file():
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(kept)
            self.step, self.chunk, self.place, self.spent, self.brief = state["at"]
            self.log = state["log"]
        elif self.config.start:
            take_over(self.model, Path(self.config.start), self.tokenizer)


def answer_loss(model: LlamaForCausalLM, batch: Batch, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Compute the weighted mean loss of the answers, in nats per token.

    Args:
        model: One that `let_branch` has changed.
        batch: Prompts with their answers.
        dtype: In which matrices are multiplied.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        begun, stem = read_prompts(model, batch.prompts)
        read = read_answers(model, batch.answers, stem, batch.lengths)
    parts = ((begun, batch.begun), (read, batch.labels))
    states = torch.cat([part[labels != _IGNORED] for part, labels in parts])
    labels = torch.cat([labels[labels != _IGNORED] for _, labels in parts])
    return weighted_loss(states, model.lm_head.weight, labels, batch.counts[labels], dtype)


def draw_batches(config: TuneConfig, tokenizer: Tokenizer, chunk: int, *, brief: bool = False) -> list[Batch]:
    """Draw the batches of one chunk of cells.

    Args:
        config: The training.
        tokenizer: Its tokenizer.
        chunk: Which chunk, from 0.
        brief: Only persona and recall; see `popsim.tune.pairs.draw_cell`.
    """
    cells = range(chunk * config.train.cells, (chunk + 1) * config.train.cells)
    pairs = [pair for cell in cells for pair in draw_cell(config.draw, "train", cell, brief=brief)]
    return collate(config, tokenizer, pairs)


def collate(config: TuneConfig, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> list[Batch]:
    """Put pairs of like length into batches, by answers to a prompt, then by length.

    Raises:
        TuneError: A prompt with its answer is longer than the model's context.
    """
    prompts = [encoded.ids for encoded in tokenizer.encode_batch([chat(pair.messages) for pair in pairs])]
    answers = [_taught(tokenizer, pair) for pair in pairs]
    total = [len(p) + max(map(len, a)) for p, a in zip(prompts, answers, strict=True)]
    if max(total, default=0) > config.model.context:
        raise TuneError(f"model.context: {config.model.context} is too short; a prompt with answer takes {max(total)}")
    chosen = []
    for k in sorted({len(some) for some in answers}):
        order = sorted((i for i, some in enumerate(answers) if len(some) == k), key=total.__getitem__)
        chosen += [order[i : i + config.train.prompts] for i in range(0, len(order), config.train.prompts)]
    pad = int(tokenizer.token_to_id(PAD) or 0)
    counts = _counts(tokenizer, config.train.figures)
    return [_batch([prompts[i] for i in rows], [answers[i] for i in rows], pad, counts) for rows in chosen]


def _taught(tokenizer: Tokenizer, pair: Pair) -> list[list[int]]:
    """Encode the answers of a pair, without what is behind the places where they break off."""
    if not pair.ends:
        return [encoded.ids for encoded in tokenizer.encode_batch([answer + END for answer in pair.answers])]
    encoded = tokenizer.encode_batch(list(pair.answers))
    return [
        [token for token, (_, until) in zip(one.ids, one.offsets, strict=True) if until <= end]
        for one, end in zip(encoded, pair.ends, strict=True)
    ]


def _counts(tokenizer: Tokenizer, figures: float) -> torch.Tensor:
    """How many times each token of the vocabulary counts: digits so many times, the others once."""
    counts = torch.ones(tokenizer.get_vocab_size())
    for token, i in tokenizer.get_vocab().items():
        if any(character.isdigit() for character in token):
            counts[i] = figures
    return counts


def _batch(prompts: Sequence[list[int]], answers: Sequence[list[list[int]]], pad: int, counts: torch.Tensor) -> Batch:
    """Pad p prompts and the k answers of each."""
    alike = [_alike(some) for some in answers]
    begun = [some[0][:n] for some, n in zip(answers, alike, strict=True)]
    read = [prompt + start for prompt, start in zip(prompts, begun, strict=True)]
    rest = [one[n:] for some, n in zip(answers, alike, strict=True) for one in some]
    last = [one[-1] for one, some in zip(read, answers, strict=True) for _ in some]
    return Batch(
        prompts=_padded([one[:-1] for one in read], pad),
        lengths=torch.tensor([len(one) - 1 for one in read]),
        begun=_padded([[_IGNORED] * (len(p) - 1) + start for p, start in zip(prompts, begun, strict=True)], _IGNORED),
        answers=_padded([[first, *one[:-1]] for first, one in zip(last, rest, strict=True)], pad),
        labels=_padded(rest, _IGNORED),
        counts=counts,
    )


def _alike(answers: Sequence[list[int]]) -> int:
    """Count the tokens that all answers begin with, leaving at least one of each."""
    columns = zip(*(answer[:-1] for answer in answers), strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def _padded(rows: Sequence[list[int]], filler: int) -> torch.Tensor:
    longest = max(map(len, rows))
    whole: NDArray[np.int64] = np.full((len(rows), longest), filler)
    for i, row in enumerate(rows):
        whole[i, : len(row)] = row
    return torch.from_numpy(whole)
