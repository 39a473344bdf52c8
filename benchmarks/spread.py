"""CPU time of spread: one cascade against NDlib, cynetdiff and a networkx loop, and many items over a million people.

    python benchmarks/spread.py [--people 100000] [--cascades 100] [--million]

All spread an item with the chance 0.05 per tie from the same 100 people over the same preferential-attachment graph of
mean degree 10 until nobody new hears it. Making each package's own form of the graph is timed apart. Medians over the
cascades, fewer for the slow ones; peers are asked where they are installed.
"""

import argparse
import importlib.util
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import networkx as nx
import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from popsim.network import (
    FollowNetwork,
    Item,
    PreferentialNetwork,
    build_network,
    cascade,
    first_hearers,
    followers,
    never_heard,
    spread_items,
    to_networkx,
)

CHANCE, FIRST, DEGREE = 0.05, 100, 10
Cascade = Callable[[int], int]


def ours(graph: csr_array) -> Cascade:
    """Spread with popsim."""
    turned, first = followers(graph), np.arange(graph.shape[0]) < FIRST
    return lambda key: int((cascade(turned, first, key, CHANCE) >= 0).sum())


def plain(graph: csr_array) -> Cascade:
    """Spread with a loop over a networkx graph."""
    tied = to_networkx(graph).reverse()

    def spread(key: int) -> int:
        rng = random.Random(key)
        reached, frontier = set(range(FIRST)), list(range(FIRST))
        while frontier:
            told = {j for i in frontier for j in tied.successors(i) if j not in reached and rng.random() < CHANCE}
            reached |= told
            frontier = list(told)
        return len(reached)

    return spread


def cynetdiff(graph: csr_array) -> Cascade:
    """Spread with cynetdiff, from its own arrays."""
    from cynetdiff.utils import networkx_to_ic_model

    tied = nx.DiGraph(to_networkx(graph).reverse())
    nx.set_edge_attributes(tied, CHANCE, "activation_prob")
    model, _ = networkx_to_ic_model(tied)

    def spread(key: int) -> int:
        del key
        model.set_seeds(set(range(FIRST)))
        model.reset_model()
        model.advance_until_completion()
        return int(model.get_num_activated_nodes())

    return spread


def ndlib(graph: csr_array) -> Cascade:
    """Spread with NDlib; its reset and steps are timed, its configuration is not."""
    from ndlib.models import ModelConfig
    from ndlib.models.epidemics import IndependentCascadesModel

    tied = to_networkx(graph).reverse()
    model = IndependentCascadesModel(tied)
    config = ModelConfig.Configuration()
    config.add_model_initial_configuration("Infected", list(range(FIRST)))
    for tie in tied.edges():
        config.add_edge_configuration("threshold", tie, CHANCE)
    model.set_initial_status(config)

    def spread(key: int) -> int:
        random.seed(key)
        np.random.seed(key)
        model.reset()
        while model.iteration()["node_count"][1]:
            pass
        return sum(status != 0 for status in model.status.values())

    return spread


PEERS: dict[str, tuple[Callable[[csr_array], Cascade], float]] = {
    "popsim": (ours, 1),
    "cynetdiff": (cynetdiff, 1),
    "networkx": (plain, 0.2),
    "ndlib": (ndlib, 0.03),
}


def one_item(n: int, cascades: int) -> None:
    """Print a table of one cascade with each package."""
    people = pd.DataFrame(index=range(n))
    graph = build_network(
        PreferentialNetwork(kind="preferential", mean_degree=DEGREE), people, np.random.default_rng(1)
    )
    print(
        "| package | version | making its graph, s | a cascade, ms | x popsim | median reach |\n|---|---|" + "---:|" * 4
    )
    fastest = None
    for name, (make, share) in PEERS.items():
        if name != "popsim" and importlib.util.find_spec(name) is None:
            continue
        start = time.process_time()
        spread = make(graph)
        made = time.process_time() - start
        seconds, reach = [], []
        for key in range(max(3, round(cascades * share))):
            start = time.process_time()
            reach.append(spread(key))
            seconds.append(time.process_time() - start)
        median = statistics.median(seconds)
        fastest = fastest or median
        shown = "" if name == "popsim" else version(name)
        print(f"| {name} | {shown} | {made:.2f} | {1000 * median:.2f} | ", end="")
        print(f"{median / fastest:.2f} | {statistics.median(reach):.0f} |", flush=True)


def million(n: int = 1_000_000, items: int = 20, steps: int = 10) -> None:
    """Print a table of many items over many people."""
    people = pd.DataFrame(index=range(n))
    graph = build_network(FollowNetwork(kind="follow", mean_degree=12), people, np.random.default_rng(1))
    turned = followers(graph)
    print(f"\n{n:,} people, follow of mean degree 12, {items} items from 1 % of people each, {steps} steps:\n")
    print("| chance per tie | CPU s | share of people who hear an item |\n|---:|---:|---:|")
    for chance in (0.05, 0.1, 0.2, 1.0):
        heard_at, told_by = never_heard(n, items), never_heard(n, items)
        for k in range(items):
            heard_at[first_hearers(k, n, 0.01), k] = 0
        moving = [Item(key=k, probability=chance) for k in range(items)]
        start = time.process_time()
        for step in range(1, steps + 1):
            spread_items(turned, moving, step, heard_at, told_by)
        print(f"| {chance:g} | {time.process_time() - start:.2f} | {(heard_at >= 0).mean():.3f} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--cascades", type=int, default=100)
    parser.add_argument("--million", action="store_true")
    given = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "networkx"))
    print(f"{given.people:,} people, chance {CHANCE}, {FIRST} first; Python {platform.python_version()}, {packages}\n")
    one_item(given.people, given.cascades)
    if given.million:
        million()


if __name__ == "__main__":
    main()
