"""What a run costs whose answers are all stored: CPU per answer of the oil questionnaire, whole and by stage.

    python benchmarks/rerun.py [--size 2000] [--runs 5] [--structured] [--cache]

Nobody is asked: every reply, three parts of some 150 words and five answers, is in the run's journal, or with
``--cache`` in the cache that runs share. CPU time is what is compared; the machine may be shared.
"""

import argparse
import cProfile
import json
import platform
import pstats
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from popsim.engines import Prompt, Reply
from popsim.scenario import Scenario, load_scenario
from popsim.study import run

ANSWERS = {
    "Unemployment_rate_Scenario_1": "4.0%",
    "Inflation_rate_Scenario_1": "1.6%",
    "Unemployment_rate_Scenario_2": "3.9%",
    "Inflation_rate_Scenario_2": "1.2%",
    "Main_considerations_Scenario_2": "Cheaper petrol leaves people more to spend on other things.",
}
STAGES = {
    "drawing people and graph": ("model.py", ("draw_people", "draw_graph")),
    "the model and its agents": ("model.py", ("__init__",)),
    "rendering": ("model.py", ("prompt",)),
    "keys": ("journal.py", ("prompt_key",)),
    "looking up": ("journal.py", ("get_many", "put_many")),
    "reading replies": ("reading.py", ("read_reply",)),
    "tables": ("tables.py", ("answers_table", "distributions_table", "replies_table", "states_table")),
    "writing files": ("growing.py", ("add", "keep")),
}
PROCESS = """
import sys, popsim
from rerun import Canned, study
popsim.run(study(int(sys.argv[1]), sys.argv[2] == "True"), sys.argv[3], engine=Canned())
"""


class Canned:
    """Answers with the same numbers and a number of its own for each prompt."""

    fingerprint, reads, reproducible, notice = "canned/1", "text", "exact", "Always the same."
    abilities = frozenset({"grammar"})

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield a reply for each prompt."""
        said = json.dumps(ANSWERS)
        for position, prompt in enumerate(prompts):
            recall, reasoning = (f"{word} {prompt.seed} and so it goes on. " * 10 for word in ("I recall", "I reason"))
            parts = f"<recall>\n{recall}\n</recall>\n<reasoning>\n{reasoning}\n</reasoning>\n"
            yield position, Reply(f"{parts}<final_answer>\n{said}\n</final_answer>", "stop", 1000, 200)


class Gone(Canned):
    """Must not be asked."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Refuse."""
        raise RuntimeError(f"{len(prompts)} prompts were asked again")


def study(size: int, structured: bool) -> Scenario:
    """Make the study."""
    return load_scenario("oil_price_fall", {"size": size, "sampling.structured": structured})


def rerun(scenario: Scenario, stored: Path, folder: Path, from_cache: bool) -> dict[str, Any]:
    """Field the study in a fresh folder from what is stored; its manifest."""
    if from_cache:
        return run(scenario, folder, engine=Gone(), cache=stored / "cache.sqlite").manifest  # type: ignore[arg-type]
    shutil.copytree(stored / "run", folder)
    for table in folder.glob("*.parquet"):
        table.unlink()
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"state": "complete"', '"state": "running"'))
    return run(scenario, folder, engine=Gone()).manifest  # type: ignore[arg-type]


def by_stage(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds under the profiler in each stage, callees included; the profiler itself makes them longer."""
    stats: Any = pstats.Stats(profile)
    found = dict.fromkeys(STAGES, 0.0)
    for (file, _, function), (_, _, _, seconds, _) in stats.stats.items():
        for stage, (module, functions) in STAGES.items():
            if "popsim" in file and file.endswith(f"/{module}") and function in functions:
                found[stage] += seconds
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--structured", action="store_true", help="hold replies to the grammar: it is part of the key")
    parser.add_argument("--cache", action="store_true", help="answer from the shared cache instead of the journal")
    given = parser.parse_args()
    scenario = study(given.size, given.structured)
    with tempfile.TemporaryDirectory() as name:
        stored = Path(name)
        first = time.process_time()
        run(scenario, stored / "run", engine=Canned(), cache=stored / "cache.sqlite")  # type: ignore[arg-type]
        first = time.process_time() - first
        seconds = []
        for number in range(given.runs):
            started = time.process_time()
            manifest = rerun(scenario, stored, stored / f"again{number}", given.cache)
            seconds.append(time.process_time() - started)
            assert manifest["counts"]["asked"] == 0
            assert manifest["failures"]["failed"] == 0
        answers = manifest["failures"]["answers"]
        profile = cProfile.Profile()
        profile.runcall(rerun, scenario, stored, stored / "profiled", given.cache)
        manifest_file = stored / "again0" / "manifest.json"
        manifest_file.write_text(manifest_file.read_text().replace('"state": "complete"', '"state": "running"'))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", PROCESS, str(given.size), str(given.structured), str(stored / "again0")]
        subprocess.run(command, check=True, cwd=Path(__file__).parent)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    again = statistics.median(seconds)
    print(f"{given.size} prompts, {answers} answers, Python {platform.python_version()}, median of {given.runs} runs")
    for title, value in (("run, asking", first), ("rerun", again), ("rerun, a whole process", process)):
        print(f"{title:26} {value:7.3f} s of CPU {1e3 * value / answers:8.4f} ms an answer")
    print("\nShares of the rerun under cProfile (tables render each prompt once more, for its hash):")
    total = pstats.Stats(profile).total_tt  # type: ignore[attr-defined]
    for stage, value in by_stage(profile).items():
        print(f"{stage:26} {value / total:6.1%}")


if __name__ == "__main__":
    main()
