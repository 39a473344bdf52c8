"""Framework time per one-question prompt, with no model: microseconds of CPU by stage, beside EDSL's test model.

    python benchmarks/framework_time.py [--sizes 1000 10000 100000] [--runs 5] [--edsl PYTHON]

``--edsl`` names the Python of an environment that has EDSL installed; it is asked the same number of one-question
interviews (agents with three traits, one choice of three options, its test model without its 0.1 s of sleep, remote
services off). CPU time, not wall time, is compared: these are single processes and the machine may be shared.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from popsim.engines import Prompt, Reply
from popsim.engines.journal import Journal, prompt_key
from popsim.model import PopulationModel, draw_people
from popsim.scenario import Scenario, load_scenario
from popsim.study import run
from popsim.study.ask import Asked
from popsim.study.tables import answers_table, replies_table

QUESTIONNAIRE = """\
name: one_question
topic: prices
task: You will be asked one question.
vignettes:
  - name: prices
    pages:
      - questions:
          - {name: prices, kind: choice, text: "Where will prices go?", options: [Up, Same, Down]}
"""
SCENARIO = """\
name: one_question
title: One question
population: us_adults_2018
size: 10
questionnaire: one_question.yaml
arms: {all: {}}
"""
TEXT = """\
<recall>
I am one of them.
</recall>
<reasoning>
So it goes.
</reasoning>
<final_answer>
{"prices": "Up"}
</final_answer>"""

EDSL = """
import json, sys, time
from edsl import Agent, AgentList, Cache, Model, QuestionMultipleChoice, Survey
from importlib.metadata import version
n = int(sys.argv[1])
agents = AgentList([Agent(traits={"age": 20 + i % 60, "sex": i % 2, "income": i}) for i in range(n)])
options = ["Up", "Same", "Down"]
question = QuestionMultipleChoice("prices", question_text="Where will prices go?", question_options=options)
model = Model("test", canned_response="Up", rpm=10**9, tpm=10**12)
model.__class__.sleep = 0
survey = Survey([question])
start = time.process_time()
survey.by(agents).by(model).run(
    cache=Cache(), disable_remote_inference=True, disable_remote_cache=True, progress_bar=False, verbose=False
)
print("RESULT " + json.dumps({"seconds": time.process_time() - start, "version": version("edsl")}))
"""


class Canned:
    """Answers every prompt with the same text."""

    fingerprint = "canned/1"
    abilities = frozenset()
    reproducible = "exact"
    notice = "These answers are always the same."

    def __init__(self, reads: str) -> None:
        self.reads = reads

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield the same reply for each prompt."""
        for position, _ in enumerate(prompts):
            yield position, Reply(TEXT)


def cpu(task: Callable[[], object]) -> float:
    """CPU seconds of a task."""
    start = time.process_time()
    task()
    return time.process_time() - start


def stages(scenario: Scenario) -> dict[str, float]:
    """Microseconds of CPU per prompt, stage by stage."""
    people = draw_people(scenario)
    built: list[PopulationModel] = []
    model_seconds = cpu(lambda: built.append(PopulationModel(scenario, people=people)))
    asked = next(built[0].waves())
    prompts: list[Prompt] = []
    render = cpu(lambda: prompts.extend(asked))
    keys: list[bytes] = []
    key = cpu(lambda: keys.extend(prompt_key("canned/1", prompt) for prompt in prompts))
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:

        def store() -> None:
            for one in keys:
                journal.put(one, Reply(TEXT))

        write = cpu(store)
        found = cpu(lambda: journal.get_many(keys))
    readings: list[Asked] = []

    def read() -> None:
        for i in range(len(prompts)):
            reply = Reply(TEXT)
            readings.append(Asked(i, 0, reply, asked.read(i, reply), "ok"))

    reading = cpu(read)
    table = cpu(lambda: (answers_table(asked, readings, 0), replies_table(asked, readings)))
    parts = {
        "agents": model_seconds,
        "render": render,
        "key": key,
        "journal write": write,
        "journal read": found,
        "read": reading,
        "table": table,
    }
    return {name: 1e6 * seconds / scenario.size for name, seconds in parts.items()}


def whole(scenario: Scenario, reads: str) -> float:
    """Microseconds of CPU per prompt of `popsim.run`, from people to files, without drawing the population."""
    with tempfile.TemporaryDirectory() as folder:
        drawing = cpu(lambda: draw_people(scenario))
        total = cpu(lambda: run(scenario, Path(folder) / "run", engine=Canned(reads)))  # type: ignore[arg-type]
    return 1e6 * (total - drawing) / scenario.size


def edsl(python: str, n: int) -> tuple[float, str]:
    """Microseconds of CPU per interview in EDSL, and its version."""
    done = subprocess.run([python, "-c", EDSL, str(n)], capture_output=True, text=True, check=True)
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))[7:])
    return 1e6 * found["seconds"] / n, found["version"]


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--edsl", help="Python of an environment with EDSL")
    parser.add_argument("--edsl-most", type=int, default=2000, help="largest size to ask EDSL")
    given = parser.parse_args()
    columns: dict[str, dict[str, float]] = {}
    peer = ""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "one_question.yaml").write_text(QUESTIONNAIRE, encoding="utf-8")
        path = Path(folder) / "scenario.yaml"
        path.write_text(SCENARIO, encoding="utf-8")
        for size in given.sizes:
            scenario = load_scenario(path, {"size": size})
            repeated: dict[str, list[float]] = {}
            for _ in range(given.runs):
                measured = stages(scenario)
                measured["whole run, no journal"] = whole(scenario, "facts")
                measured["whole run, with journal"] = whole(scenario, "text")
                if given.edsl and size <= given.edsl_most:
                    measured["EDSL"], peer = edsl(given.edsl, size)
                for name, value in measured.items():
                    repeated.setdefault(name, []).append(value)
            columns[f"{size:,}"] = {name: statistics.median(values) for name, values in repeated.items()}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    print(f"Microseconds of CPU per prompt, medians of {given.runs} runs; Python {platform.python_version()}, ", end="")
    print(f"popsim {version('popsim')}" + (f", EDSL {peer}" if peer else ""))
    print("\n| stage | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for name in names:
        cells = [f"{column[name]:.1f}" if name in column else "" for column in columns.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
