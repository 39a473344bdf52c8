"""Tuning nano with each loss on the answers of a known respondent, and what it then knows of people it has not seen.

    python benchmarks/known_respondent.py --out known.jsonl [--seeds 5] [--losses "first_token_kl;number"] [--quick]
    python benchmarks/known_respondent.py --out known.jsonl --table      # of what is there, without training

500 people in 12 groups answer 40 questions (`respondent.py`): 20,000 answers. Half of the people, without a fifth of
the group x question cells (and a tenth that choose the best epoch) and without six questions, are trained on. Scored
are the other people: in the cells trained on (``people``), in those held out (``cells``) and on the questions held out
(``questions``). Every loss is a run of the same tune file with another ``loss`` on the same seeds, so differences are
paired. Losses over the whole vocabulary tune the output layer too: nano never writes a lone letter and hardly tells
letters from other unused tokens. One line of JSON per result; the same command goes on where it was stopped.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from respondent import FACTS, HIGH, LOW, Known, ask, groups, make_respondent, name_of, shares_of
from scipy.stats import t as student

from popsim import streams
from popsim.engines import Engine, Prompt, answer_all, load_engine
from popsim.engines.nano import SHIPPED
from popsim.evaluate.alignment import (
    Cells,
    fit_temperature,
    mean_over,
    mode_accuracy,
    one_minus_js,
    point_rmse,
    sweep_temperatures,
    temperature_scaled,
)
from popsim.evaluate.distances import ordinal_emd, total_variation
from popsim.evaluate.tabular import nearest_questions
from popsim.tune import formats
from popsim.tune.adapter import tune_adapter
from popsim.tune.adapter_config import DISTRIBUTIONS, AdapterConfig
from popsim.tune.asking import ask_group, ask_person
from popsim.tune.records import Answer, Item, Shares, pool
from popsim.tune.splits import check_leaks

PEOPLE, TRAINED = 500, 250
HELD_OUT = {"choice": 4, "number": 2}
"""Questions that nobody is trained on."""
PARTS = ("people", "cells", "questions")
TEMPERATURES = (0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
SHARED = {"schedule": "cosine", "warm_up": 0.1, "learning_rate": 4e-3, "checkpoint": 100_000}
GROUPS = {"epochs": 24, "batch": 16, "at_once": 16}
PERSONS = {"epochs": 30, "batch": 48, "at_once": 48, "merge": True}
NUMBERS = {**PERSONS, "epochs": 12}
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {"rank": 32, "alpha": 64}
PREFERENCE = {"kind": "preference", "beta": 0.5}


class Plan(NamedTuple):
    """A tune: which questions it learns, and its stages as (loss, settings)."""

    kind: str
    stages: tuple[tuple[dict[str, Any], dict[str, Any]], ...]

    @property
    def grouped(self) -> bool:
        """Whether it learns shares of groups, and is asked about groups."""
        return self.stages[0][0]["kind"] in DISTRIBUTIONS


PLANS = {
    "first_token_kl": Plan("choice", (({"kind": "first_token_kl"}, GROUPS),)),
    "number": Plan("number", (({"kind": "number", "weight": 1.0, "slope": 1.0, "width": 0.0}, NUMBERS),)),
    "answer (numbers)": Plan("number", (({"kind": "answer"}, NUMBERS),)),
    "first_token_wasserstein": Plan("choice", (({"kind": "first_token_wasserstein"}, GROUPS),)),
    "first_token_js": Plan("choice", (({"kind": "first_token_js"}, GROUPS),)),
    "answer": Plan("choice", (({"kind": "answer"}, PERSONS),)),
    "first_token_ce": Plan("choice", (({"kind": "first_token_ce"}, GROUPS),)),
    "answer, preference": Plan(
        "choice", (({"kind": "answer"}, PERSONS), (PREFERENCE, {**PERSONS, "epochs": 3, "learning_rate": 3e-4}))
    ),
}


class Data(NamedTuple):
    """What one seed gives: the respondent, the answers of the people trained on and of the others, and the parts."""

    known: Known
    trained: list[Answer]
    others: list[Answer]
    part: dict[tuple[str, str], str]

    def items(self, kind: str) -> dict[str, Item]:
        """The questions of a kind, by name."""
        return {item.name: item for item in (self.known.choices if kind == "choice" else self.known.numbers)}

    def cells(self, kind: str, *parts: str) -> list[tuple[str, str]]:
        """The cells of questions of a kind that stand in these parts."""
        names = self.items(kind)
        return [cell for cell, part in self.part.items() if cell[1] in names and part in parts]


def make_data(seed: int) -> Data:
    """Draw a respondent, people, answers and parts."""
    known = make_respondent(seed)
    answers = ask(known, PEOPLE, seed)
    rng, part = streams.rng(seed, "known.parts"), {}
    for kind, items in (("choice", known.choices), ("number", known.numbers)):
        held = set(rng.permutation([item.name for item in items])[: HELD_OUT[kind]].tolist())
        cells = [cell for cell in known.truth if cell[1] in {item.name for item in items}]
        part.update({cell: "questions" for cell in cells if cell[1] in held})
        rest = [cell for cell in cells if cell[1] not in held]
        for at, i in enumerate(rng.permutation(len(rest)).tolist()):
            part[rest[i]] = "cells" if at < len(rest) / 5 else "valid" if at < len(rest) * 0.3 else "people"
    trained = [one for one in answers if int(one.person) < TRAINED]
    others = [one for one in answers if int(one.person) >= TRAINED]
    return Data(known, trained, others, part)


def cell_of(answer: Answer) -> tuple[str, str]:
    """Group and question."""
    return name_of(dict(answer.facts)), answer.item.name


def write_part(path: Path, data: Data, plan: Plan, part: str) -> dict[str, Any]:
    """Write what people trained on said in some cells, and give the entry of a tune file."""
    wanted = set(data.cells(plan.kind, part))
    answers = [one for one in data.trained if cell_of(one) in wanted]
    if plan.grouped:
        formats.write_subpop(path, pool(answers, list(FACTS)))
        return {"file": str(path), "format": "subpop"}
    return {"file": str(path), "format": "csv", "columns": formats.write_csv(path, answers).model_dump()}


def tune(data: Data, plan: Plan, base: str, folder: Path, seed: int, share: float) -> Path:
    """Train an adapter; with a share below 1 for so much of the epochs."""
    check_leaks({"trained": data.trained, "others": data.others}, ["person"])
    files = {part: write_part(folder / part, data, plan, part) for part in ("people", "valid")}
    stages = [
        {"name": f"stage_{i}", "data": files["people"], "valid": files["valid"], "loss": loss, **SHARED, **settings}
        | {"epochs": max(1, round(settings["epochs"] * share))}
        for i, (loss, settings) in enumerate(plan.stages)
    ]
    config = {"kind": "adapter", "name": "known", "title": "A known respondent", "base": base, "dtype": "float32"}
    lora = {**LORA, "modules": LAYERS if plan.grouped else [*LAYERS, "lm_head"]}
    whole = AdapterConfig.model_validate({**config, "device": "cpu", "seed": seed, "lora": lora, "stages": stages})
    return tune_adapter(whole, folder / "adapter")


def read_shares(engine: Engine, data: Data, kind: str, adapter: str, *, grouped: bool) -> Cells:
    """Read the probability of each answer at the first token, of every group and question, scaled to sum to 1."""
    items, facts = data.items(kind), {name_of(one): one for one in groups()}
    cells = [cell for cell in data.part if cell[1] in items]
    prompts = []
    for who, name in cells:
        shares = Shares(who, items[name], ())
        asked = ask_group(shares) if grouped else ask_person(Answer("", items[name], None, facts=facts[who]))
        choices = tuple(asked.letters) or tuple(map(str, range(LOW, HIGH + 1)))
        prompts.append(Prompt((("user", asked.text),), prefill=asked.prefill, choices=choices, adapter=adapter))
    mass = [np.array(json.loads(reply.text)) for reply in answer_all(engine, prompts)]
    return {cell: one / one.sum() for cell, one in zip(cells, mass, strict=True)}


def baselines(data: Data, kind: str) -> dict[str, Cells]:
    """What stands beside every score: no knowledge, other groups, other questions, the other half, and the truth."""
    items = data.items(kind)
    seen = shares_of(data.trained)
    known = {cell: seen[cell] for cell in data.cells(kind, "people", "valid")}
    cells = data.cells(kind, *PARTS, "valid")
    sizes = {cell: len(seen[cell]) for cell in cells}
    uniform = {cell: np.full(sizes[cell], 1 / sizes[cell]) for cell in cells}
    by_question: dict[str, list[Any]] = {}
    for (_, name), shares in known.items():
        by_question.setdefault(name, []).append(shares)
    texts = {name: item.text for name, item in items.items()}
    return {
        "uniform": uniform,
        "pooled": {cell: np.mean(by_question.get(cell[1], [uniform[cell]]), axis=0) for cell in cells},
        "nearest questions": nearest_questions(known, texts, sizes, neighbours=3),
        "split-half floor": {cell: seen[cell] for cell in cells},
        "truth": {cell: data.known.truth[cell] for cell in cells},
    }


def score(data: Data, kind: str, model: Cells) -> dict[str, Any]:
    """Score on each part, as it is and at the temperature that fits the validation cells."""
    human, truth = shares_of(data.others), data.known.truth
    mine = shares_of(data.trained)
    valid = data.cells(kind, "valid")
    heat = fit_temperature({cell: mine[cell] for cell in valid}, {cell: model[cell] for cell in valid})
    found: dict[str, Any] = {"temperature": round(heat, 4)}
    for part in PARTS:
        cells = data.cells(kind, part)
        people, said = {cell: human[cell] for cell in cells}, {cell: model[cell] for cell in cells}
        fitted = {cell: temperature_scaled(shares, heat) for cell, shares in said.items()}
        found[part] = {
            "tv": mean_over(total_variation, people, said),
            "tv_fitted": mean_over(total_variation, people, fitted),
            "tv_truth": mean_over(total_variation, {cell: truth[cell] for cell in cells}, said),
            "one_minus_js": mean_over(one_minus_js, people, said),
            "emd": mean_over(lambda p, q: ordinal_emd(p, q, ordered=True), people, said),
            "mode": mode_accuracy(people, said),
            **(persons(data, said) if kind == "number" else {}),
        }
    return found


def persons(data: Data, said: Cells) -> dict[str, Any]:
    """KL of the population against RMSE of persons, over temperatures and for the most probable answer."""
    answers = [one for one in data.others if cell_of(one) in said]
    true = np.array([float(one.value or 0) for one in answers])
    shares, values = np.array([said[cell_of(one)] for one in answers]), np.arange(LOW, HIGH + 1, dtype=np.float64)
    swept = sweep_temperatures(true, shares, values, TEMPERATURES)
    plain = swept[TEMPERATURES.index(1.0)]
    return {
        "kl": plain.kl,
        "rmse": plain.rmse,
        "rmse_greedy": point_rmse(true, shares, values),
        "sweep": [one._asdict() for one in swept],
    }


def runs(args: argparse.Namespace) -> list[tuple[int, str]]:
    """The (seed, name) still to be done."""
    names = ["baselines", *(args.losses.split(";") if args.losses else PLANS)]
    done = {(line["seed"], line["run"]) for line in lines(args.out)}
    return [(seed, name) for seed in range(1, args.seeds + 1) for name in names if (seed, name) not in done]


def lines(path: Path) -> list[dict[str, Any]]:
    """What has been done before."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def run_one(seed: int, name: str, base: str, share: float) -> list[dict[str, Any]]:
    """Do one run and give its lines: ``run``, ``kind``, ``who`` answered, and the figures."""
    data = make_data(seed)
    if name == "baselines":
        plain = load_engine(f"transformers:{base}", dtype="float32", device="cpu")
        found = []
        for kind in ("choice", "number"):
            for who, cells in baselines(data, kind).items():
                found.append({"kind": kind, "who": who, **score(data, kind, cells)})
            for grouped in (True, False) if kind == "choice" else (False,):
                who = f"untuned ({'groups' if grouped else 'persons'})"
                cells = read_shares(plain, data, kind, "", grouped=grouped)
                found.append({"kind": kind, "who": who, **score(data, kind, cells)})
        return found
    plan, began, cpu = PLANS[name], time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        adapter = tune(data, plan, base, Path(folder), seed, share)
        epochs = [json.loads(line) for line in (adapter / "log.jsonl").read_text().splitlines()]
        minutes, spent = (time.monotonic() - began) / 60, (time.process_time() - cpu) / 60
        engine = load_engine(f"transformers:{base}", dtype="float32", device="cpu", adapters={"known": str(adapter)})
        cells = read_shares(engine, data, plan.kind, "known", grouped=plan.grouped)
    best = min(epochs, key=lambda one: one["valid_loss"])["epoch"]
    cost = {"minutes": round(minutes, 2), "cpu_minutes": round(spent, 2), "epochs": len(epochs), "best": best}
    return [{"kind": plan.kind, "who": name, **cost, **score(data, plan.kind, cells)}]


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval by Student's t over seeds."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:+.3f}"
    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


class Results:
    """All lines, by who answered."""

    def __init__(self, found: Sequence[dict[str, Any]], kind: str) -> None:
        self.by = {(line["who"], line["seed"]): line for line in found if line["kind"] == kind}
        self.who = list(dict.fromkeys(who for who, _ in self.by))

    def values(self, who: str, part: str, figure: str) -> dict[int, float]:
        """A figure by seed."""
        return {seed: line[part][figure] for (name, seed), line in self.by.items() if name == who}

    def mean(self, who: str, part: str, figure: str) -> str:
        """A figure's mean over seeds."""
        return f"{np.mean(list(self.values(who, part, figure).values())):.3f}"

    def paired(self, first: str, second: str, part: str, figure: str) -> str:
        """First less second over the seeds that both have, with its interval."""
        one, other = self.values(first, part, figure), self.values(second, part, figure)
        return interval([one[seed] - other[seed] for seed in one if seed in other])

    def way(self, who: str, start: str, part: str) -> str:
        """Which share of the way from the untuned model to the split-half floor is gone."""
        one, from_, floor = (self.values(name, part, "tv") for name in (who, start, "split-half floor"))
        return interval([(from_[seed] - one[seed]) / (from_[seed] - floor[seed]) for seed in one])


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
    """Each loss against untuned, uniform and pooled, on the same seeds."""
    columns = ["loss", "part", "less untuned", "less uniform", "less pooled", "way to the floor"]
    head(f"{kind}: differences in total variation, mean [95 % interval] over seeds", columns)
    for who in [name for name in results.who if name in PLANS]:
        start = f"untuned ({'groups' if PLANS[who].grouped else 'persons'})"
        for part in PARTS:
            less = [results.paired(who, other, part, "tv") for other in (start, "uniform", "pooled")]
            row([who, part, *less, results.way(who, start, part)])


def print_numbers(results: Results) -> None:
    """The penalty against plain cross-entropy, and the frontier over temperature."""
    columns = ["part", "TV", "EMD", "KL", "RMSE", "RMSE, greedy"]
    head("number less answer (numbers), mean [95 % interval] over seeds", columns)
    figures = ("tv", "emd", "kl", "rmse", "rmse_greedy")
    for part in PARTS:
        row([part, *(results.paired("number", "answer (numbers)", part, figure) for figure in figures)])
    head("KL / RMSE by temperature, mean over seeds", ["part, loss", *map(str, TEMPERATURES)])
    for part in PARTS:
        for who in ("answer (numbers)", "number"):
            sweeps = [line[part]["sweep"] for (name, _), line in results.by.items() if name == who]
            both = [[(one["kl"], one["rmse"]) for one in sweep] for sweep in sweeps]
            row([f"{part}, {who}", *(f"{kl:.3f} / {rmse:.2f}" for kl, rmse in np.mean(both, axis=0))])


def print_table(path: Path) -> None:
    """Print what the lines say."""
    found = lines(path)
    for kind in ("choice", "number"):
        results = Results(found, kind)
        print_scores(results, kind)
        print_differences(results, kind)
        if {"number", "answer (numbers)"} <= set(results.who):
            print_numbers(results)
    spent = [line["cpu_minutes"] for line in found if "cpu_minutes" in line]
    print(f"\n{len(spent)} tunes, {np.median(spent):.2f} CPU minutes each (median)" if spent else "")


def main() -> None:
    """Do what is left, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="one line of JSON per result; runs in it are not repeated"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--losses", help=f"of: {', '.join(PLANS)}; separated by semicolons")
    parser.add_argument("--quick", action="store_true", help="a tenth of the epochs, to see that it runs")
    parser.add_argument("--base", default=str(SHIPPED), help="a model's folder; nano unless given")
    parser.add_argument("--table", action="store_true", help="only print")
    args = parser.parse_args()
    for seed, name in [] if args.table else runs(args):
        found = run_one(seed, name, args.base, 0.1 if args.quick else 1.0)
        with args.out.open("a", encoding="utf-8") as out:
            for line in found:
                out.write(json.dumps({"seed": seed, "run": name, **line}) + "\n")
        parts = ", ".join(f"{part} {found[-1][part]['tv']:.3f}" for part in PARTS)
        print(f"seed {seed}, {name}: total variation {parts}", flush=True)
    print_table(args.out)


if __name__ == "__main__":
    main()
