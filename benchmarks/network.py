"""Seconds to make a follow graph of a million people, against igraph's and networkx's preferential attachment.

    python benchmarks/network.py [--people 1000000] [--runs 3] [--networkx]

Each graph is made in a process of its own, so that its peak memory is its own; CPU seconds and peak memory are medians
of the runs. igraph and networkx are asked where they are installed.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd

from popsim.network import NetworkSpec, build_network, summarise

DEGREE = 12
PLAIN = {"kind": "follow", "mean_degree": DEGREE}
KINDS = {
    "follow": PLAIN,
    "follow, homophily": {**PLAIN, "homophily": {"party": 3}},
    "follow, homophily, reciprocity": {**PLAIN, "homophily": {"party": 3}, "reciprocity": 0.22},
    "follow, homophily, reciprocity, closure": {
        **PLAIN,
        "homophily": {"party": 3},
        "reciprocity": 0.22,
        "closure": 0.3,
    },
    "follow, all of it, rewired": {
        **PLAIN,
        "homophily": {"party": 3},
        "reciprocity": 0.22,
        "closure": 0.3,
        "placebo": "rewired",
    },
    "small_world": {"kind": "small_world", "mean_degree": DEGREE},
    "preferential": {"kind": "preferential", "mean_degree": DEGREE},
}


def build(name: str, n: int) -> dict[str, float]:
    """Make one graph here and say what it took."""
    party = np.random.default_rng(0).choice(list("abc"), n)
    people = pd.DataFrame({"party": pd.Categorical(party)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name == "igraph":
        import igraph

        start = time.process_time()
        ties = igraph.Graph.Barabasi(n, DEGREE, directed=True).ecount()
        figures = {"seconds": time.process_time() - start}
    elif name == "networkx":
        import networkx

        start = time.process_time()
        ties = networkx.barabasi_albert_graph(n, DEGREE, seed=1).number_of_edges()
        figures = {"seconds": time.process_time() - start}
    else:
        from pydantic import TypeAdapter

        spec = TypeAdapter(NetworkSpec).validate_python(KINDS[name])
        start = time.process_time()
        graph = build_network(spec, people, np.random.default_rng(1))
        figures, ties = {"seconds": time.process_time() - start}, graph.nnz
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures |= {"ties": ties, "start_mb": before / 1024, "peak_mb": peak / 1024}
    if name in KINDS:
        start = time.process_time()
        found = summarise(graph, people, ["party"])
        kept = ("tail_exponent", "reciprocity", "clustering", "assortativity.party")
        figures |= {key: found[key] for key in kept if key in found}
        figures["summary_seconds"] = time.process_time() - start
    return figures


def measured(name: str, n: int, runs: int) -> dict[str, float]:
    """Make one graph in fresh processes and take the medians."""
    command = [sys.executable, __file__, "--people", str(n), "--only", name]
    results = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(runs)]
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def installed(name: str) -> str | None:
    """Version of a package, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--networkx", action="store_true", help="minutes at a million")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(build(given.only, given.people)))
        return
    peers = [name for name, wanted in (("igraph", True), ("networkx", given.networkx)) if wanted and installed(name)]
    versions = ", ".join(f"{name} {installed(name)}" for name in ("numpy", "scipy", "pandas", *peers))
    print(f"{given.people:,} people, mean degree {DEGREE}, medians of {given.runs} runs; ", end="")
    print(f"Python {platform.python_version()}, {versions}\n")
    print("| graph | CPU s | x igraph | peak MB | tail | reciprocity | clustering | assortativity | summary s |")
    print("|---|" + "---:|" * 8)
    first = None
    for name in [*peers, *KINDS]:
        row = measured(name, given.people, given.runs)
        first = row["seconds"] if name == "igraph" else first
        ratio = f"{row['seconds'] / first:.2f}" if first else ""
        keys = ("tail_exponent", "reciprocity", "clustering", "assortativity.party", "summary_seconds")
        shown = [f"{row[key]:.3g}" if key in row else "" for key in keys]
        print(f"| {name} | {row['seconds']:.2f} | {ratio} | {row['peak_mb']:.0f} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
