"""Time of raking and of drawing a million people, against ipfn, humanleague and PopulationSim's balancer.

    python benchmarks/population_fit.py --runs 5 --ipfn PYTHON --populationsim PYTHON --humanleague PYTHON
    python benchmarks/population_fit.py --draw

PYTHON is an interpreter that has the peer. The workload: 9 attributes, 7 x 2 x 5 x 4 x 5 x 3 x 6 x 2 x 4 or
201,600 cells, 75,600 of them structural zeros (renters have no home value), 9 one-way and 9 two-way targets.
The dense seed has every possible cell, the sparse one 30,000 records. Every code runs in its own process on the same
arrays, one after the other; CPU seconds of the fit alone (popsim's includes the making of its controls), medians.
"""

import argparse
import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

SHAPE = (7, 2, 5, 4, 5, 3, 6, 2, 4)
PAIRS = [(0, 2), (0, 3), (3, 4), (2, 6), (4, 6), (6, 7), (7, 8), (0, 7), (2, 4)]
AXES = [(axis,) for axis in range(9)] + PAIRS
PEOPLE = 1_000_000


def collapse(table, axes):
    """Sum over all other axes."""
    return table.sum(axis=tuple(axis for axis in range(table.ndim) if axis not in axes))


def make_workload(folder):
    """Make a correlated truth, its targets, and two seeds that know less of who goes with whom."""
    random = np.random.default_rng(20)
    strengths = {(one, two): 0.2 for two in range(9) for one in range(two)} | dict.fromkeys(PAIRS, 0.6)
    log, known = random.normal(scale=0.3, size=SHAPE), random.normal(scale=0.6, size=SHAPE)
    for (one, two), strength in strengths.items():
        shape = [length if axis in (one, two) else 1 for axis, length in enumerate(SHAPE)]
        tie = random.normal(scale=strength, size=shape)
        log, known = log + tie, known + tie / 3
    truth, dense = np.exp(log), np.exp(known)
    truth[..., 1, 1:] = dense[..., 1, 1:] = 0
    records = random.choice(dense.size, 30_000, p=dense.ravel() / dense.sum())
    truth *= PEOPLE / truth.sum()
    np.savez(
        folder / "workload.npz",
        dense=dense,
        sparse=np.bincount(records, minlength=dense.size).reshape(SHAPE).astype(float),
        **{f"t{i}": collapse(truth, axes) for i, axes in enumerate(AXES)},
    )


def fit_popsim(seed, targets):
    """Fit with popsim."""
    from popsim.population import margin, rake

    start = time.process_time()
    controls = [margin(str(axes), SHAPE, axes, target) for axes, target in zip(AXES, targets, strict=True)]
    fit = rake(seed, controls, tolerance=1e-8)
    return time.process_time() - start, fit.weights, fit.iterations


def fit_popsim_tight(seed, targets):
    """Fit with popsim to a hundredth of the error."""
    from popsim.population import margin, rake

    start = time.process_time()
    controls = [margin(str(axes), SHAPE, axes, target) for axes, target in zip(AXES, targets, strict=True)]
    fit = rake(seed, controls, tolerance=1e-10)
    return time.process_time() - start, fit.weights, fit.iterations


def fit_ipfn(seed, targets):
    """Fit with ipfn, numpy form."""
    from ipfn import ipfn

    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        code = ipfn.ipfn(
            seed.copy(), [t.copy() for t in targets], [list(axes) for axes in AXES], convergence_rate=1e-8,
            rate_tolerance=0, verbose=2,
        )  # fmt: skip
        table, _, rounds = code.iteration()
    return time.process_time() - start, table, len(rounds)


def fit_humanleague(seed, targets):
    """Fit with humanleague's ipf."""
    import humanleague

    start = time.process_time()
    table, account = humanleague.ipf(seed, [np.array(axes) for axes in AXES], targets)
    return time.process_time() - start, table, account.get("iterations", 0)


def fit_populationsim(seed, targets):
    """Fit the cells that are not zero with PopulationSim's list balancer (numba), controls as important as can be."""
    import pandas as pd
    from populationsim.balancing.single_balancer import ListBalancer

    alive = np.flatnonzero(seed.ravel())
    codes = np.unravel_index(alive, SHAPE)
    columns = []
    for axes, target in zip(AXES, targets, strict=True):
        index = np.ravel_multi_index([codes[axis] for axis in axes], target.shape)
        columns += [(index == cell).astype(float) for cell in range(target.size)]
    totals = np.concatenate([target.ravel() for target in targets])
    kept = totals > 0
    incidence = pd.DataFrame(np.array(columns)[kept].T)
    weights = seed.ravel()[alive] * (PEOPLE / seed.sum())
    importance = np.full(int(kept.sum()), 1e9)
    start = time.process_time()
    balancer = ListBalancer(incidence, weights, totals[kept], importance, None, None, None, 10_000, True, "float64")
    account, found, _ = balancer.balance()
    seconds = time.process_time() - start
    table = np.zeros(seed.size)
    table[alive] = found["final"]
    return seconds, table.reshape(SHAPE), account["iter"]


FITS = {
    "popsim": (fit_popsim, "popsim"),
    "popsim, to 1e-10": (fit_popsim_tight, "popsim"),
    "ipfn": (fit_ipfn, "ipfn"),
    "humanleague": (fit_humanleague, "humanleague"),
    "populationsim": (fit_populationsim, "populationsim"),
}


def time_one(name, folder, runs):
    """Time one code in this process and print what it did."""
    with np.load(folder / "workload.npz") as saved:
        arrays = dict(saved)
    targets = [arrays[f"t{i}"] for i in range(len(AXES))]
    found = {"version": version(FITS[name][1]), "numpy": np.__version__}
    for kind in ("dense", "sparse"):
        if name == "populationsim" and kind == "dense":
            continue
        if name == "populationsim":
            fit_populationsim(arrays[kind], targets)  # compiles
        seconds = []
        for _ in range(runs):
            took, table, rounds = FITS[name][0](arrays[kind], targets)
            seconds.append(took)
        gaps = [np.abs(collapse(table, axes) - t).max() for axes, t in zip(AXES, targets, strict=True)]
        found[kind] = [statistics.median(seconds), int(rounds), float(max(gaps) / PEOPLE)]
    print(json.dumps(found))


def draw_people():
    """Draw a million people of two populations and print time, memory and the error of the margins."""
    from popsim.population import PopulationSpec, load_population, margin_report, sample_people

    with tempfile.TemporaryDirectory() as folder:
        make_workload(Path(folder))
        with np.load(Path(folder) / "workload.npz") as saved:
            targets = [saved[f"t{i}"] for i in range(len(AXES))]
    names = [f"a{axis}" for axis in range(9)]
    levels = {name: [f"{name}_{i}" for i in range(n)] for name, n in zip(names, SHAPE, strict=True)}
    margins = []
    for axes, target in zip(AXES, targets, strict=True):
        last = levels[names[axes[-1]]]
        lead = levels[names[axes[0]]] if len(axes) > 1 else [None]
        rows = [
            [head, *row] if head else row
            for head, row in zip(lead, target.reshape(-1, len(last)).tolist(), strict=True)
        ]
        head = [names[axes[0]], *last] if len(axes) > 1 else last
        one = {"name": str(axes), "unit": "people", "year": 2018, "status": "assumption", "table": [head, *rows]}
        margins.append({**one, "of": [names[axis] for axis in axes]})
    steps = [{"adds": names, "margins": margins}]
    rules = [{"a7": "a7_1", "a8": levels["a8"][1:]}]
    made = {"name": "workload", "title": "Workload", "attributes": levels, "steps": steps, "impossible": rules}
    specs = {"201,600 cells": PopulationSpec.model_validate(made), "us_adults_2018": load_population("us_adults_2018")}
    for name, spec in specs.items():
        fitted = time.process_time()
        sample_people(spec, 10)
        fitted = time.process_time() - fitted
        seconds = []
        for seed in range(5):
            start = time.process_time()
            people = sample_people(spec, PEOPLE, seed)
            seconds.append(time.process_time() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report = margin_report(spec, people)
        errors = report.groupby("margin")["error"].apply(lambda gap: gap.abs().sum())
        print(
            f"{name}: fit and 10 people {fitted:.2f} s, 1,000,000 people {statistics.median(seconds):.2f} s of CPU, "
            f"{len(people.columns)} columns, peak {peak:.0f} MB, total absolute error of a margin: mean "
            f"{errors.mean():.1e}, largest {errors.max():.1e}"
        )


def main():
    """Time every code that is at hand."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--draw", action="store_true")
    for peer in ("ipfn", "humanleague", "populationsim"):
        parser.add_argument(f"--{peer}")
    parser.add_argument("--time", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.time:
        time_one(asked.time[0], Path(asked.time[1]), asked.runs)
        return
    if asked.draw:
        draw_people()
        return
    with tempfile.TemporaryDirectory() as folder:
        make_workload(Path(folder))
        for name, (_, package) in FITS.items():
            python = sys.executable if package == "popsim" else getattr(asked, package)
            if python:
                command = [python, __file__, "--runs", str(asked.runs), "--time", name, folder]
                print(
                    name, subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), flush=True
                )


if __name__ == "__main__":
    main()
