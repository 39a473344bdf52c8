"""A whole study of a million respondents on the statistical engine: people, graph, news, two waves, table.

    python benchmarks/population_million.py --size 1000000

The oil-price questionnaire with a follow graph of mean degree 12, one item of news that passes along it, and waves at
steps 0 and 3. CPU seconds and peak memory of the process; what of it is people, graph and model; and bare Mesa agents.
"""

import argparse
import platform
import resource
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import mesa
import yaml

from popsim import load_scenario, run
from popsim.model import PopulationModel
from popsim.population import sample_people

STUDY = {
    "name": "million",
    "title": "A million respondents",
    "population": "us_adults_2018",
    "seed": 1,
    "questionnaire": "oil_price",
    "arms": {"fall": {}},
    "network": {"kind": "follow", "mean_degree": 12},
    "news": [
        {
            "name": "tanker",
            "step": 0,
            "text": "A tanker accident has closed a port.",
            "source": "evening news",
            "reach": 0.05,
            "passed_on": 0.1,
        }
    ],
    "waves": [0, 3],
    "engine": "baseline",
}


class _Bare(mesa.Agent):
    """An agent with nothing in it."""


def main():
    """Time each part, the whole study last."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=100_000)
    size = parser.parse_args().size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.yaml"
        path.write_text(yaml.safe_dump({**STUDY, "size": size}), encoding="utf-8")
        scenario = load_scenario(path)
        print(f"Python {platform.python_version()}, Mesa {version('mesa')}, {size} respondents")
        for name, work in {
            "people": lambda: sample_people(scenario.population, size, scenario.seed),
            "bare Mesa agents": lambda: _Bare.create_agents(mesa.Model(), size),
            "model: people, graph, agents": lambda: PopulationModel(scenario),
            "study, start to table": lambda: len(run(scenario, Path(folder) / "run").answers),
        }.items():
            cpu, wall = time.process_time(), time.perf_counter()
            made = work()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            told = f", {made} answers" if isinstance(made, int) else ""
            del made
            print(f"{name}: {cpu:.1f} s of CPU, {wall:.1f} s, peak so far {peak:.0f} MB{told}", flush=True)


if __name__ == "__main__":
    main()
