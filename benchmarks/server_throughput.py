"""Replies per second through ``server:``, beside a bare asyncio loop over the openai client on the same server.

    python benchmarks/server_throughput.py URL MODEL [--prompts 200] [--max-tokens 30] [--rounds 3]

Three ways to ask the same prompts of the oil price study with the same sampling: the bare loop, with the texts rendered
before, at several concurrencies of which the best counts; ``engine.answer`` on the same list; and a whole study, with
rendering, journal, reading and tables. The ways take turns within a round, and the order turns round from one round to
the next. All ask the same prompts with the same seeds, so that the model does the same work each time; a pass before
the first round warms the server's prefix cache up for all of them.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version

import openai

from popsim.engines import Prompt, load_engine
from popsim.model import PopulationModel
from popsim.scenario import load_scenario
from popsim.study import run


def main() -> None:
    """Time all ways in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 32, 64, 128])
    given = parser.parse_args()
    start = time.perf_counter()
    engine = load_engine(f"server:{given.model}@{given.url}")
    print(f"popsim {version('popsim')}, openai {openai.__version__}, {engine.fingerprint}")
    print(f"{given.prompts} prompts, {given.max_tokens} tokens each at most; the probe took", end=" ")
    print(f"{time.perf_counter() - start:.1f} s; {'; '.join(engine.remarks) or 'nothing lacks'}")
    settings = {"size": given.prompts, "engine": "baseline", "attempts": 1, "sampling.max_tokens": given.max_tokens}

    scenario = load_scenario("oil_price_fall", settings)
    prompts = list(next(PopulationModel(scenario).waves()))

    def study() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run(scenario, folder, engine=engine)

    ways: dict[str, Callable[[], object]] = {
        f"bare loop, {n} at once": lambda n=n: asyncio.run(bare(given, prompts, n))  # type: ignore[misc]
        for n in given.concurrency
    }
    ways |= {"engine.answer": lambda: list(engine.answer(prompts)), "popsim.run": study}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    ways["engine.answer"]()
    for number in range(given.rounds):
        order = list(ways) if number % 2 == 0 else list(reversed(ways))
        for name in order:
            start = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - start)
    rates = {name: given.prompts / statistics.median(times) for name, times in seconds.items()}
    best = max(rate for name, rate in rates.items() if name.startswith("bare"))
    for name, rate in rates.items():
        each = " ".join(f"{given.prompts / s:.1f}" for s in seconds[name])
        print(f"{name:26} {rate:8.1f} replies/s  {rate / best:6.1%} of the best bare loop  ({each})")


async def bare(given: argparse.Namespace, prompts: list[Prompt], concurrency: int) -> list[str]:
    """Ask all prompts the way a script would that has nothing else to do."""
    slots = asyncio.Semaphore(concurrency)
    key = os.environ.get("OPENAI_API_KEY", "none-needed")
    extra = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "include_stop_str_in_output": True}

    async with openai.AsyncOpenAI(base_url=given.url, api_key=key) as client:

        async def one(prompt: Prompt) -> str:
            async with slots:
                answer = await client.chat.completions.create(
                    model=given.model,
                    messages=[{"role": role, "content": text} for role, text in prompt.messages],  # type: ignore[misc]
                    max_tokens=given.max_tokens,
                    temperature=1.0,
                    top_p=1.0,
                    seed=prompt.seed,
                    stop=["</final_answer>"],
                    extra_body=extra,
                )
            return answer.choices[0].message.content or ""

        return await asyncio.gather(*(one(prompt) for prompt in prompts))


if __name__ == "__main__":
    main()
