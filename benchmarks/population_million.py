"""A whole study of a million respondents on the statistical engine: people, graph, news, two waves, table.

    python benchmarks/population_million.py --size 1000000

The oil-price questionnaire with a follow graph of mean degree 12, one item of news that passes along it, and waves at
steps 0 and 3. CPU seconds (with imports) and peak memory of each part in a process of its own, and of bare Mesa agents.
"""

import argparse
import platform
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import mesa
import yaml

from popsim import load_run, load_scenario, run
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


def people(study: Path):
    """Draw the people."""
    scenario = load_scenario(study)
    return sample_people(scenario.population, scenario.size, scenario.seed)


def bare_mesa_agents(study: Path):
    """Make agents with nothing in them."""
    return _Bare.create_agents(mesa.Model(), load_scenario(study).size)


def people_graph_agents(study: Path):
    """Make the model."""
    return PopulationModel(load_scenario(study))


def whole_study(study: Path):
    """Field the study and write its tables."""
    return run(load_scenario(study), study.parent / "run")


def answers_read(study: Path):
    """Read the answers of the study into one frame."""
    return load_run(study.parent / "run").answers


def measured(part, study: Path) -> str:
    """Carry out a part and say what it took of this process."""
    started = time.perf_counter()
    made = part(study)
    wall, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = f", {len(made)} rows" if hasattr(made, "columns") else ""
    return f"{part.__name__}: {time.process_time():.1f} s of CPU, {wall:.1f} s, peak {peak:.0f} MB{told}"


def main():
    """Measure each part in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=100_000)
    size = parser.parse_args().size
    print(f"Python {platform.python_version()}, Mesa {version('mesa')}, {size} respondents")
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "million.yaml"
        study.write_text(yaml.safe_dump({**STUDY, "size": size}), encoding="utf-8")
        for part in (people, bare_mesa_agents, people_graph_agents, whole_study, answers_read):
            with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                print(alone.submit(measured, part, study).result(), flush=True)


if __name__ == "__main__":
    main()
