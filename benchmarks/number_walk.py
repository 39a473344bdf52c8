"""What the distribution of a numeric answer costs: the walk over its tokens against sampled answers.

    python benchmarks/number_walk.py --model FOLDER [--engine nano] [--people 16] [--samples 100] [--particles 64]

Both ask the same people the oil questionnaire with reasoning off. The first number is compared with its exact
distribution (a walk that leaves nothing out); the last one, which depends on three others, by its standard error.
Tokens are those after the prompt, per person: written by a sample, or read by the walk.
"""

import argparse
import json
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

import popsim
from popsim.engines import Engine, Prompt, Reply, Sampling, answer_all, load_engine
from popsim.engines.readout import measured
from popsim.survey import read_reply
from popsim.weighted import moments

_VALUE = re.compile(r'-?[0-9]+(?:\.[0-9]*)?(?=%|")')


class Row(NamedTuple):
    """One way to learn the mean of each person's answer."""

    what: str
    tokens: float
    error: float
    lost: float
    seconds: float


def root_mean_square(values: Sequence[float] | np.ndarray) -> float:
    """Size of some errors; those that are unknown do not count."""
    return float(np.sqrt(np.nanmean(np.square(np.asarray(values, dtype=np.float64)))))


def timed(engine: Engine, prompts: Sequence[Prompt]) -> tuple[list[Reply], float]:
    """Ask, and say how long it took."""
    start = time.perf_counter()
    replies = answer_all(engine, prompts)
    for reply in replies:
        if reply.finish == "error":
            raise SystemExit(f"the engine failed: {reply.error}")
    return replies, time.perf_counter() - start


def walked(engine: Engine, prompts: Sequence[Prompt]) -> tuple[list[dict[str, float]], float, float]:
    """Measure: for each person mean, error and mass left out of the last field, then tokens a person and seconds."""
    replies, seconds = timed(engine, prompts)
    last = prompts[0].readout.fields[-1].name  # type: ignore[union-attr]
    found = []
    for reply in replies:
        one = next(one for one in json.loads(reply.text)["distributions"] if one["name"] == last)
        mean, _ = moments(one["values"], one["probabilities"])
        found.append({"mean": mean, "error": one["particle_error"], "left_out": one["left_out"]})
    return found, sum(reply.completion_tokens for reply in replies) / len(prompts), seconds


def sampled(
    engine: Engine, prompts: Sequence[Prompt], samples: int, value: re.Pattern[str] | None
) -> tuple[np.ndarray, float, float]:
    """Sample: the answers, NaN where unreadable, shape (people, samples), then tokens a person and seconds."""
    asked = [
        replace(prompt, readout=None, seed=(prompt.seed + 7919 * k) % 2**63)
        for prompt in prompts
        for k in range(samples)
    ]
    replies, seconds = timed(engine, asked)
    numbers = []
    for reply in replies:
        if value:
            match = value.match(reply.text)
            numbers.append(float(match[0]) if match else np.nan)
        else:
            questions = popsim.load_scenario("oil_price_fall").shown("fall").questions
            answers = read_reply(reply.text, questions, reasoning=False, finish=reply.finish).answers
            numbers.append(next(answer.value for answer in answers if answer.question == "inflation_2"))
    table = np.array(numbers).reshape(len(prompts), samples)
    return table, sum(reply.completion_tokens for reply in replies) / len(prompts), seconds


def measure(engine: Engine, people: int, samples: int, particles: int) -> tuple[list[Row], list[Row]]:
    """Measure the first number and the last."""
    settings = {"kind": "number", "particles": particles}
    scenario = popsim.load_scenario("oil_price_fall", {"size": people, "readout": settings, "prompt.reasoning": False})
    prompts = list(next(popsim.PopulationModel(scenario).waves()))
    whole = prompts[0].readout
    assert whole is not None
    first = [replace(one, readout=replace(whole, fields=whole.fields[:1], changes=())) for one in prompts]
    exact = [replace(one, readout=replace(one.readout, floor=0.0)) for one in first]  # type: ignore[type-var]
    rows = []
    truth, tokens, seconds = walked(engine, exact)
    means = np.array([one["mean"] for one in truth])
    left = float(np.mean([one["left_out"] for one in truth]))
    rows.append(Row("walk, nothing left out", tokens, 0.0, left, seconds))
    found, tokens, seconds = walked(engine, first)
    errors = [one["mean"] - mean for one, mean in zip(found, means, strict=True)]
    left = float(np.mean([one["left_out"] for one in found]))
    rows.append(Row(f"walk, floor {whole.floor:g}", tokens, root_mean_square(errors), left, seconds))
    lead = whole.fields[0].lead
    short = [replace(one, prefill=lead, sampling=Sampling(max_tokens=8)) for one in prompts]
    table, tokens, seconds = sampled(engine, short, samples, _VALUE)
    error = root_mean_square(np.nanmean(table, axis=1) - means)
    rows.append(Row(f"{samples} samples of this answer alone", tokens, error, float(np.isnan(table).mean()), seconds))
    last = []
    found, tokens, seconds = walked(engine, [replace(one, readout=replace(whole, changes=())) for one in prompts])
    left = float(np.mean([one["left_out"] for one in found]))
    error = root_mean_square([one["error"] for one in found])
    last.append(Row(f"walks, {particles} particles", tokens, error, left, seconds))
    table, tokens, seconds = sampled(engine, prompts, samples, None)
    readable = [row[~np.isnan(row)] for row in table]
    error = root_mean_square([row.std(ddof=1) / len(row) ** 0.5 for row in readable if len(row) > 1])
    last.append(Row(f"{samples} samples of all answers", tokens, error, float(np.isnan(table).mean()), seconds))
    return rows, last


def main() -> None:
    """Measure and print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a checkpoint folder")
    parser.add_argument("--engine", default="nano", choices=["nano", "transformers"])
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--particles", type=int, default=64)
    given = parser.parse_args()
    engine = measured(load_engine(f"{given.engine}:{given.model}"), ["number"])
    tables = measure(engine, given.people, given.samples, given.particles)
    print(f"{given.people} people, {engine.fingerprint}, Python {platform.python_version()}, NumPy {version('numpy')}.")
    for title, rows in zip(("first number (unemployment_1)", "last number (inflation_2)"), tables, strict=True):
        print(f"\n| {title} | tokens a person | error of the mean | left out or unreadable | seconds |")
        print("|---|---:|---:|---:|---:|")
        for row in rows:
            print(f"| {row.what} | {row.tokens:.0f} | {row.error:.4f} | {row.lost:.1%} | {row.seconds:.1f} |")


if __name__ == "__main__":
    main()
