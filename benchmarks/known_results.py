"""What the results of `known_respondent.py` say: tables with paired differences over seeds, and two pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from popsim.report import charts, style
from popsim.report.summaries import mean_interval

PARTS = ("people", "cells", "questions")
FLOOR, PENALTY, PLAIN = "split-half floor", "number", "answer (numbers)"
CURVE = "first_token_kl"
"""The loss of the learning curve: its tunes differ in the share of people learned from."""
FRONTIER = ("truth", "pooled", "nearest questions", PLAIN, PENALTY)
_WIDTH, _DOTS = 460, 1.2
"""Of the pictures: pixels of a page, and dots for each of them."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read what has been done before: one line of JSON per result."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def interval(values: Sequence[float]) -> str:
    """Write a mean over seeds with its interval."""
    found = mean_interval(values)
    ends = f" [{found['low']:+.3f}, {found['high']:+.3f}]" if len(values) > 1 else ""
    return f"{found['mean']:+.3f}{ends}"


class Results:
    """All results on questions of one kind, by who answered."""

    def __init__(self, found: Sequence[dict[str, Any]], kind: str) -> None:
        self.by = {(line["who"], line["seed"]): line for line in found if line["kind"] == kind}
        self.who = list(dict.fromkeys(who for who, _ in self.by))
        self.starts = {who: line["start"] for (who, _), line in self.by.items() if "start" in line}
        """Each tune, and the untuned model that was asked in the same words."""
        self.learned = {who: line["learned"] for (who, _), line in self.by.items() if "learned" in line}
        """Each tune, and the share of the people that it learned from."""

    def values(self, who: str, part: str, figure: str) -> dict[int, float]:
        """Give a figure by seed."""
        return {seed: line[part][figure] for (name, seed), line in self.by.items() if name == who}

    def mean(self, who: str, part: str, figure: str) -> str:
        """Write a figure's mean over seeds."""
        return f"{np.mean(list(self.values(who, part, figure).values())):.3f}"

    def paired(self, first: str, second: str, part: str, figure: str) -> str:
        """Write first less second over the seeds that both have, with its interval."""
        one, other = self.values(first, part, figure), self.values(second, part, figure)
        return interval([one[seed] - other[seed] for seed in one if seed in other])

    def way(self, who: str, start: str, part: str) -> str:
        """Write which share of the way from somebody to the split-half floor is gone."""
        one, begin, floor = (self.values(name, part, "tv") for name in (who, start, FLOOR))
        return interval([(begin[seed] - one[seed]) / (begin[seed] - floor[seed]) for seed in one])

    def sweep(self, who: str, part: str) -> pd.DataFrame:
        """Give KL and RMSE by temperature, means over seeds."""
        sweeps = [pd.DataFrame(line[part]["sweep"]) for (name, _), line in self.by.items() if name == who]
        return pd.concat(sweeps).groupby("temperature", as_index=False)[["kl", "rmse"]].mean()


def row(cells: Sequence[object]) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(map(str, cells)) + " |")


def head(title: str, columns: Sequence[str]) -> None:
    """Print a title and the head of a table."""
    print(f"\n{title}\n")
    row(columns)
    row(["---", *["---:"] * (len(columns) - 1)])


def print_scores(results: Results, kind: str) -> None:
    """How far everybody is from held-out people, and from the truth."""
    names = {"tv": "TV", "tv_fitted": "TV, fitted temperature", "tv_truth": "TV to the truth", "mode": "mode"}
    names |= {"emd": "EMD", "kl": "KL", "rmse": "RMSE", "rmse_greedy": "RMSE, greedy"} if kind == "number" else {}
    for part in PARTS:
        head(f"{kind}, {part}", ["who", "seeds", *names.values()])
        for who in results.who:
            figures = [results.mean(who, part, figure) for figure in names]
            row([who, len(results.values(who, part, "tv")), *figures])


def print_differences(results: Results, kind: str) -> None:
    """Each tune against untuned, uniform and pooled, on the same seeds."""
    against = ["less untuned", "less uniform", "less pooled", "less pooled, both at their fitted temperature"]
    columns = ["tune", "part", *against, "way from untuned to the floor", "way from uniform"]
    head(f"{kind}: differences in total variation, mean [95 % interval] over seeds", columns)
    for who, start in results.starts.items():
        for part in PARTS:
            less = [results.paired(who, other, part, "tv") for other in (start, "uniform", "pooled")]
            fitted = results.paired(who, "pooled", part, "tv_fitted")
            row([who, part, *less, fitted, results.way(who, start, part), results.way(who, "uniform", part)])


def print_numbers(results: Results) -> None:
    """The penalty against plain cross-entropy, and the frontier over temperature."""
    columns = ["part", "TV", "EMD", "KL", "RMSE", "RMSE, greedy"]
    head(f"{PENALTY} less {PLAIN}, mean [95 % interval] over seeds", columns)
    for part in PARTS:
        figures = ("tv", "emd", "kl", "rmse", "rmse_greedy")
        row([part, *(results.paired(PENALTY, PLAIN, part, figure) for figure in figures)])
    for part in PARTS:
        swept = {who: results.sweep(who, part) for who in FRONTIER}
        head(f"KL / RMSE by temperature on {part}, mean over seeds", ["who", *map(str, swept[PLAIN]["temperature"])])
        for who, frame in swept.items():
            row([who, *(f"{kl:.3f} / {rmse:.2f}" for kl, rmse in zip(frame["kl"], frame["rmse"], strict=True))])


def print_tables(found: Sequence[dict[str, Any]]) -> None:
    """Print what the results say."""
    for kind in ("choice", "number"):
        results = Results(found, kind)
        print_scores(results, kind)
        print_differences(results, kind)
        if {PENALTY, PLAIN} <= set(results.who):
            print_numbers(results)
    if spent := [line["cpu_minutes"] for line in found if "cpu_minutes" in line]:
        print(f"\n{len(spent)} tunes, {np.median(spent):.2f} CPU minutes each (median)")


def draw_frontier(results: Results) -> Any:
    """Draw KL of the population over RMSE of persons, a curve over temperature for each who answered."""
    frames = [results.sweep(who, "cells").assign(who=who) for who in FRONTIER if who in results.who]
    frame = pd.concat(frames)
    names = list(dict.fromkeys(frame["who"]))
    legend = alt.Legend(columns=3, symbolSize=60)
    axis = alt.Axis(values=[0.003, 0.01, 0.03, 0.1, 0.3, 1], format="~r")
    base = alt.Chart(frame).encode(
        x=alt.X(
            "rmse:Q", title="RMSE of persons (scale 0 to 9)", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)
        ),
        y=alt.Y("kl:Q", title="KL of the population", scale=alt.Scale(type="log", nice=False), axis=axis),
        color=alt.Color("who:N", scale=alt.Scale(domain=names, range=style.PALETTE), sort=names, legend=legend),
        shape=alt.Shape("who:N", scale=alt.Scale(domain=names, range=style.SHAPES), sort=names, legend=legend),
        order="temperature:Q",
    )
    plain = frame[frame["temperature"].eq(1.0)]
    layers = [
        base.mark_line(strokeWidth=2),
        base.mark_point(size=25, filled=True, opacity=1),
        alt.Chart(plain).mark_point(size=140, shape="circle", color=style.INK).encode(x="rmse:Q", y="kl:Q"),
    ]
    words = "KL of the population against RMSE of persons over temperature, on held-out cells; ringed: temperature 1"
    return style.finish(alt.layer(*layers), _WIDTH, 340, words)


def draw_curve(results: Results) -> Any:
    """Draw total variation over the share of people learned from, a line for each part, with intervals over seeds."""
    rows = [
        {"x": f"{share:.0%}", "group": f"held-out {part}", **mean_interval([*results.values(who, part, "tv").values()])}
        for part in PARTS
        for who, share in sorted(results.learned.items(), key=lambda one: one[1])
        if who.startswith(CURVE)
    ]
    words = "Total variation over the share of people that the tune learns from"
    return charts.lines(
        pd.DataFrame(rows), ("share of the people that the tune learns from", "total variation"), words, _WIDTH
    )


def save_pictures(found: Sequence[dict[str, Any]], folder: Path) -> None:
    """Draw the frontier and the learning curve as PNG files for README, on white."""
    pictures = {
        "known_frontier.png": draw_frontier(Results(found, "number")),
        "known_people.png": draw_curve(Results(found, "choice")),
    }
    for name, chart in pictures.items():
        chart.config["background"] = "white"
        (folder / name).write_bytes(vl_convert.svg_to_png(style.draw(chart), scale=_DOTS))
