"""Tuning nano with each loss on the answers of a known respondent, and what it then knows of people it has not seen.

    python benchmarks/known_respondent.py --out known.jsonl [--first 11] [--seeds 5] [--losses "first_token_kl;number"]
    python benchmarks/known_respondent.py --out known.jsonl --seeds 0 --pictures benchmarks    # of what is there

500 people in 12 groups answer 40 questions (`respondent.py`): 20,000 answers. Half of the people, without a fifth of
the group x question cells (and a tenth that choose the best epoch) and without six questions, are trained on. Scored
are the other people: in the cells trained on (``people``), in those held out (``cells``) and on the questions held out
(``questions``). Every loss is a run of the same tune file with another ``loss`` on the same seeds, so differences are
paired. One line of JSON per result; the same command goes on where it was stopped.
Settings were chosen on seeds from 100 on.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from known_results import PARTS, print_tables, read_lines, save_pictures
from respondent import FACTS, HIGH, LOW, Known, ask, groups, make_respondent, name_of, shares_of

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
TEMPERATURES = (0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
SHARED = {"schedule": "cosine", "warm_up": 0.1, "learning_rate": 2e-3, "checkpoint": 100_000}
GROUPS = {"epochs": 16, "batch": 16, "at_once": 16}
PERSONS = {"epochs": 16, "batch": 24, "at_once": 24, "merge": True, "learning_rate": 3e-3}
LETTERS = {**PERSONS, "epochs": 24}
PREFERENCES = {**PERSONS, "epochs": 2, "learning_rate": 3e-4}
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {"rank": 32, "alpha": 64}
KL, ANSWER = {"kind": "first_token_kl"}, {"kind": "answer"}
PENALTY = {"kind": "number", "weight": 1.0, "slope": 1.0, "width": 0.0}
PREFERENCE = {"kind": "preference", "beta": 2.0}


class Plan(NamedTuple):
    """Which questions a tune learns, with which loss and settings, from which share of the people, and what follows it.

    What follows (a loss and its settings) is a tune of its own, which starts from the adapter of the first.
    """

    kind: str
    loss: dict[str, Any]
    settings: dict[str, Any]
    learned: float = 1.0
    then: tuple[dict[str, Any], dict[str, Any]] | None = None

    @property
    def grouped(self) -> bool:
        """Whether it learns shares of groups, and is asked about groups."""
        return self.loss["kind"] in DISTRIBUTIONS

    @property
    def letters(self) -> bool:
        """Whether it learns letters among all tokens; they are strange to nano, so this takes its output layer too."""
        return self.kind == "choice" and not self.grouped

    @property
    def start(self) -> str:
        """Who is asked in the same words, without a tune."""
        return f"untuned ({'groups' if self.grouped else 'persons'})"


PLANS = {
    "first_token_kl": Plan("choice", KL, GROUPS),
    "number": Plan("number", PENALTY, PERSONS),
    "answer (numbers)": Plan("number", ANSWER, PERSONS),
    "first_token_wasserstein": Plan("choice", {"kind": "first_token_wasserstein"}, GROUPS),
    "first_token_js": Plan("choice", {"kind": "first_token_js"}, GROUPS),
    "answer": Plan("choice", ANSWER, LETTERS, then=(PREFERENCE, PREFERENCES)),
    "first_token_ce": Plan("choice", {"kind": "first_token_ce"}, GROUPS),
    "first_token_kl, a quarter of the people": Plan("choice", KL, GROUPS, learned=0.25),
    "first_token_kl, half of the people": Plan("choice", KL, GROUPS, learned=0.5),
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
    people = [one for one in data.trained if int(one.person) < TRAINED * plan.learned]
    answers = [one for one in people if cell_of(one) in wanted]
    if plan.grouped:
        formats.write_subpop(path, pool(answers, list(FACTS)))
        return {"file": str(path), "format": "subpop"}
    return {"file": str(path), "format": "csv", "columns": formats.write_csv(path, answers).model_dump()}


def tune(data: Data, plan: Plan, folder: Path, seed: int, config: dict[str, Any]) -> Path:
    """Train an adapter, and give its folder."""
    check_leaks({"trained": data.trained, "others": data.others}, ["person"])
    folder.mkdir()
    files = {part: write_part(folder / f"{part}.data", data, plan, part) for part in ("people", "valid")}
    stage = {"name": "known", "data": files["people"], "valid": files["valid"], "loss": plan.loss, **SHARED}
    modules = [*LAYERS, "lm_head"] if plan.letters else LAYERS
    whole = {
        **{"kind": "adapter", "name": "known", "title": "A known respondent", "dtype": "float32", "device": "cpu"},
        **{"seed": seed, "lora": {**LORA, "modules": modules}, "stages": [stage | plan.settings], **config},
    }
    return tune_adapter(AdapterConfig.model_validate(whole), folder / "adapter")


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
    """The (seed, name) still to be done: each tune on all seeds before the next, since the first matter most."""
    names = ["baselines", *(args.losses.split(";") if args.losses else PLANS)]
    done = {(line["seed"], line["run"]) for line in read_lines(args.out)}
    seeds = range(args.first, args.first + args.seeds)
    return [(seed, name) for name in names for seed in seeds if (seed, name) not in done]


def load(base: str, adapters: dict[str, str] | None = None) -> Engine:
    """Load the model, perhaps with an adapter."""
    return load_engine(f"transformers:{base}", dtype="float32", device="cpu", adapters=adapters or {})


def run_baselines(data: Data, base: str) -> list[dict[str, Any]]:
    """Score what stands beside the tunes, and the untuned model."""
    engine, found = load(base), []
    for kind in ("choice", "number"):
        everybody = baselines(data, kind)
        for plan in (one for one in PLANS.values() if one.kind == kind):
            if plan.start not in everybody:
                everybody[plan.start] = read_shares(engine, data, kind, "", grouped=plan.grouped)
        found += [{"kind": kind, "who": who, **score(data, kind, cells)} for who, cells in everybody.items()]
    return found


def run_tune(
    data: Data, name: str, plan: Plan, folder: Path, seed: int, config: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Tune and score, and then what follows; each line says what it cost as well."""
    began, cpu = time.monotonic(), time.process_time()
    adapter = tune(data, plan, folder / name, seed, config)
    epochs = read_lines(adapter / "log.jsonl")
    minutes, spent = (time.monotonic() - began) / 60, (time.process_time() - cpu) / 60
    best = min(epochs, key=lambda one: one["valid_loss"])["epoch"]
    cost = {"minutes": round(minutes, 2), "cpu_minutes": round(spent, 2), "epochs": len(epochs), "best": best}
    engine = load(config["base"], {"known": str(adapter)})
    cells = read_shares(engine, data, plan.kind, "known", grouped=plan.grouped)
    tuned = {"kind": plan.kind, "who": name, "start": plan.start, "learned": plan.learned}
    yield {**tuned, **cost, **score(data, plan.kind, cells)}
    if plan.then:
        loss, settings = plan.then
        after = plan._replace(loss=loss, settings=settings, then=None)
        yield from run_tune(data, f"{name}, {loss['kind']}", after, folder, seed, {**config, "start": str(adapter)})


def run_one(seed: int, name: str, base: str) -> list[dict[str, Any]]:
    """Do one run and give its lines: ``kind`` of question, ``who`` answered, and the figures."""
    data = make_data(seed)
    if name == "baselines":
        return run_baselines(data, base)
    with tempfile.TemporaryDirectory() as folder:
        return list(run_tune(data, name, PLANS[name], Path(folder), seed, {"base": base}))


def main() -> None:
    """Do what is left, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="one line of JSON per result; runs in it are not repeated"
    )
    parser.add_argument("--first", type=int, default=11, help="first seed (11)")
    parser.add_argument("--seeds", type=int, default=5, help="how many (5); 0: only print")
    parser.add_argument("--losses", help=f"of: {', '.join(PLANS)}; separated by semicolons")
    parser.add_argument("--base", default=str(SHIPPED), help="a model's folder; nano unless given")
    parser.add_argument("--pictures", type=Path, help="folder for PNG files of the frontier and the learning curve")
    args = parser.parse_args()
    for seed, name in runs(args):
        found = run_one(seed, name, args.base)
        with args.out.open("a", encoding="utf-8") as out:
            for line in found:
                out.write(json.dumps({"seed": seed, "run": name, **line}) + "\n")
        parts = ", ".join(f"{part} {found[-1][part]['tv']:.3f}" for part in PARTS)
        print(f"seed {seed}, {name}: total variation {parts}", flush=True)
    print_tables(read_lines(args.out))
    if args.pictures:
        save_pictures(read_lines(args.out), args.pictures)


if __name__ == "__main__":
    main()
