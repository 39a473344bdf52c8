"""A step of training nano: one reading of a prompt for all its answers, beside transformers reading each row in full.

    python benchmarks/tune_step.py [--batches 6] [--runs 3] [--threads 1]

Both take loss and gradients of the same answers to the same prompts with the weights that ship, in one process, in
turn. transformers gets rows of prompt and answer, sixteen at a time, with its fused attention ("sdpa") and PyTorch's
cross-entropy; both multiply matrices in bfloat16. Times are medians over the runs, summed over the batches.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from popsim.engines.nano import SHIPPED
from popsim.tune import TuneConfig, load_tune_config
from popsim.tune.attention import let_branch
from popsim.tune.scratch import Batch, answer_loss, draw_batches

ROWS = 16
IGNORED = -100


def whole_rows(batch: Batch) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Give each answer behind its prompt, and what is to be learned at each place."""
    times = len(batch.answers) // len(batch.prompts)
    for row, (answer, labels) in enumerate(zip(batch.answers, batch.labels, strict=True)):
        of, real = row // times, int((labels != IGNORED).sum())
        length = int(batch.lengths[of])
        ids = torch.cat([batch.prompts[of, :length], answer[:real]])
        yield ids, torch.cat([batch.begun[of, :length], labels[:real]])


def plain_step(model: LlamaForCausalLM, batch: Batch) -> None:
    """Take the gradients as transformers does."""
    rows = sorted(whole_rows(batch), key=lambda row: len(row[0]))
    total = sum(int((labels != IGNORED).sum()) for _, labels in rows)
    for start in range(0, len(rows), ROWS):
        ids, labels = zip(*rows[start : start + ROWS], strict=True)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=torch.nn.utils.rnn.pad_sequence(list(ids), batch_first=True)).logits
        wanted = torch.nn.utils.rnn.pad_sequence(list(labels), batch_first=True, padding_value=IGNORED)
        summed = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), reduction="sum")
        (summed / total).backward()


def shared_step(model: LlamaForCausalLM, batch: Batch) -> None:
    """Take the gradients as `popsim tune nano` does."""
    answer_loss(model, batch, torch.bfloat16).backward()


def seconds(step: Callable[[], None], runs: int) -> float:
    """Median seconds of a step."""
    took = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def only(config: TuneConfig, broken: float) -> TuneConfig:
    """Ask the oil vignette alone, with whole answers or with those that break off."""
    draw = config.draw.model_copy(update={"scenarios": {"oil_price_fall": 1.0}, "broken": broken})
    return config.model_copy(update={"draw": draw, "train": config.train.model_copy(update={"cells": 4})})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(
        f"Python {platform.python_version()}, torch {version('torch')}, transformers {version('transformers')}, ",
        end="",
    )
    print(f"{given.threads} thread(s), medians of {given.runs}")
    tokenizer = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    ours, theirs = (LlamaForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32) for _ in range(2))
    let_branch(ours)
    for broken, what in ((0.0, "whole answers"), (1.0, "answers that share their words and break off")):
        batches = draw_batches(only(load_tune_config("nano"), broken), tokenizer, 0)[: given.batches]
        took = {shared_step: 0.0, plain_step: 0.0}
        for batch in batches:
            for step, model in ((shared_step, ours), (plain_step, theirs)):
                took[step] += seconds(lambda step=step, model=model, batch=batch: step(model, batch), given.runs)  # type: ignore[misc]
        answers, prompts = (sum(len(getattr(b, name)) for b in batches) for name in ("answers", "prompts"))
        mine, plain = took[shared_step], took[plain_step]
        print(f"{answers} {what} to {prompts} prompts: popsim {mine:.2f} s, transformers {plain:.2f} s", end="")
        print(f", ratio {plain / mine:.1f}")


if __name__ == "__main__":
    main()
