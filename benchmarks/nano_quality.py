"""How well nano imitates its teacher, on people that it was not trained on; the figures go into its model card.

    python benchmarks/nano_quality.py [--model FOLDER] [--json FILE] [--card] [--people 200] [--draws 16]

Figures: share of readable replies (temperature 1, first attempts, no constrained decoding), in the two oil arms and in
every shipped study, waves and pages included; rank correlation between nano's mean answer for a person and the
teacher's conditional mean, and Wasserstein-1 between all answers and the teacher's, each beside what as many answers of
the teacher reach, which is as good as any model can be; how often the recall repeats a fact correctly, by field; the
weight on a signal heard, by confidence, from paired prompts with and without it; trimmed SD over the teacher's, by arm.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open
from scipy.stats import spearmanr, wasserstein_distance

from popsim.engines import Engine, answer_all, load_engine
from popsim.engines.nano import SHIPPED
from popsim.evaluate import trimmed_sd
from popsim.files import shipped
from popsim.model import PopulationModel, Round
from popsim.population import CONFIDENCE_LEVELS, Words, sample_people
from popsim.scenario import News, Scenario, Signal, load_scenario
from popsim.survey import Reading
from popsim.tune import TuneConfig
from popsim.tune.files import model_card
from popsim.tune.pairs import is_held_out, small_network

CHANGES = {"inflation": ("inflation_2", "inflation_1"), "unemployment": ("unemployment_2", "unemployment_1")}
TEACHER_DRAWS = 1000
SAME = ("oil_price_crossed", "oil_modules", "oil_temperature")
"""Studies whose prompts are those of others."""


def held_out(scenario: Scenario, count: int) -> pd.DataFrame:
    """Draw people whose description was kept out of training."""
    people = sample_people(scenario.population, 40 * count, scenario.seed, scenario.priors.overrides)
    words = Words(scenario.population, scenario.questionnaire.language, people)
    kept = [row for row in range(len(people)) if is_held_out(words.describe(words.of(row)))]
    chosen = np.random.default_rng(scenario.seed).permutation(kept)[:count]
    return people.iloc[np.sort(chosen)].reset_index(drop=True)


def field(engine: Engine, scenario: Scenario, people: pd.DataFrame, draws: int) -> tuple[Round, list[Reading]]:
    """Ask every person so many times."""
    scenario = scenario.model_copy(update={"size": len(people), "draws": draws})
    asked = Round(PopulationModel(scenario, people=people, reads=engine.reads), 0)
    replies = answer_all(engine, asked)
    return asked, [asked.read(i, reply) for i, reply in enumerate(replies)]


def numbers(readings: Sequence[Reading]) -> pd.DataFrame:
    """The two changes of each reply, missing where a reply cannot be read."""
    values = pd.DataFrame([{a.question: a.value for a in reading.answers} for reading in readings])
    return pd.DataFrame({name: values[shock] - values[base] for name, (shock, base) in CHANGES.items()})


def readable(readings: Sequence[Reading]) -> float:
    """Share of replies that can be read."""
    return float(np.mean([reading.status == "ok" for reading in readings]))


def person_means(changes: pd.DataFrame, draws: int) -> pd.DataFrame:
    """The mean change of each person over their draws."""
    return changes.groupby(np.arange(len(changes)) // draws).mean()


def own_rank_correlation(taught: np.ndarray, draws: int) -> float:
    """Rank correlation of the teacher's means of so many answers with those of its others: (persons, answers)."""
    ranked = []
    for start in range(0, min(8, taught.shape[1] // draws) * draws, draws):
        some = np.arange(start, start + draws)
        pair = taught[:, some].mean(axis=1), np.delete(taught, some, axis=1).mean(axis=1)
        ranked.append(spearmanr(*pair)[0])
    return float(np.mean(ranked))


def recalled(asked: Round, readings: Sequence[Reading]) -> dict[str, float]:
    """Share of recalls that repeat a fact correctly, by field."""
    hits: dict[str, list[bool]] = {field: [] for field in ("age", "sex", "party", "income", "confidence")}
    for i, reading in enumerate(readings):
        words = asked.model.words.of(int(asked.person[i]))
        said = f" {reading.recall.replace('.', ' ').replace(',', ' ')} "
        sex = words["sex"]
        others = {"man": ("woman",), "woman": (" man ",)}.get(sex, ())
        hits["age"].append(f" {words['age']} " in said)
        hits["sex"].append(f" {sex} " in said and not any(other in said for other in others))
        hits["party"].append(words["party"].split()[-1] in said)
        hits["income"].append(f"${words['income']} " in said)
        level = words["confidence"]
        wrong = [other for other in CONFIDENCE_LEVELS if f" {other} " in said and other not in level]
        hits["confidence"].append(f" {level} " in said and not wrong)
    return {field: round(float(np.mean(values)), 3) for field, values in hits.items()}


def signal_weights(engine: Engine, scenario: Scenario, people: pd.DataFrame, draws: int) -> dict[str, float]:
    """Mean move of the baseline inflation answer towards a heard figure, over the distance to it, by confidence."""
    value, weights = 6.0, {}
    item = News(
        name="forecast",
        text=f"Experts now expect inflation of {value:.1f}% over the coming 12 months.",
        source="evening news",
        reach=1.0,
        signal=Signal(variable="inflation", value=value, sd=1.0, unit="%"),
    )
    for level in CONFIDENCE_LEVELS:
        same = people.assign(confidence=pd.Categorical([level] * len(people), dtype=people["confidence"].dtype))
        levels = []
        for news in ((), (item,)):
            _, readings = field(engine, scenario.model_copy(update={"news": news}), same, draws)
            levels.append(np.nanmean([reading.answers[1].value for reading in readings]))
        weights[level] = round(float((levels[1] - levels[0]) / (value - levels[0])), 3)
    return weights


def readable_in(engine: Engine, name: str, people: int) -> float:
    """Share of readable first replies in a whole study, every wave and page of it, of people held out."""
    loaded = load_scenario(name, {"seed": 77})
    if loaded.population.from_table:
        persons = sample_people(loaded.population, people, loaded.seed)
    else:
        persons = held_out(loaded, people)
    network = small_network(loaded, len(persons))
    scenario = loaded.model_copy(update={"size": len(persons), "draws": 1, "network": network})
    waves = PopulationModel(scenario, people=persons, reads=engine.reads).waves()
    asked, found = next(waves), []
    while True:
        readings = [asked.read(i, reply) for i, reply in enumerate(answer_all(engine, asked))]
        found += readings
        try:
            asked = waves.send(readings)
        except StopIteration:
            return round(readable(found), 4)


def measure(model: str, people: int, draws: int) -> dict[str, object]:
    """All figures, by name."""
    nano, teacher = load_engine(f"nano:{model}" if model else "nano"), load_engine("baseline")
    figures: dict[str, object] = {"people": people, "draws": draws}
    for arm in ("fall", "rise"):
        scenario = load_scenario(f"oil_price_{arm}", {"seed": 77, "people.confidence": "drawn"})
        persons = held_out(scenario, people)
        asked, readings = field(nano, scenario, persons, draws)
        _, taught = field(teacher, scenario, persons, TEACHER_DRAWS)
        ours, theirs = numbers(readings), numbers(taught)
        figures[f"readable, {arm}"] = round(readable(readings), 4)
        figures[f"recall, {arm}"] = recalled(asked, readings)
        for name in CHANGES:
            ours_all, theirs_all = ours[name].dropna(), theirs[name].to_numpy().reshape(-1, TEACHER_DRAWS)
            pair = person_means(ours, draws)[name], theirs_all.mean(axis=1)
            ranked = float(spearmanr(*pair, nan_policy="omit")[0]), own_rank_correlation(theirs_all, draws)
            figures[f"rank correlation, {arm}, {name}, beside the teacher's own"] = [round(one, 3) for one in ranked]
            spread = trimmed_sd(ours[name].dropna().to_numpy()) / trimmed_sd(theirs[name].to_numpy())
            figures[f"trimmed SD over the teacher's, {arm}, {name}"] = round(spread, 3)
            chance = wasserstein_distance(theirs_all[:, :draws].ravel(), theirs_all[:, draws:].ravel())
            apart = wasserstein_distance(ours_all, theirs_all.ravel())
            figures[f"Wasserstein-1, {arm}, {name}, beside the teacher's own"] = [round(apart, 3), round(chance, 3)]
            figures[f"mean change, {arm}, {name}"] = [round(float(c[name].mean()), 3) for c in (ours, theirs)]
        if arm == "rise":
            some = persons.iloc[: max(40, people // 4)].reset_index(drop=True)
            figures["weight on a signal"] = signal_weights(nano, scenario, some, max(2, draws // 2))
            figures["weight on a signal, teacher"] = signal_weights(teacher, scenario, some, 64)
    figures["readable, first replies, by study"] = {
        name: readable_in(nano, name, people) for name in shipped("scenarios") if name not in SAME
    }
    return figures


def write_card(folder: Path, figures: dict[str, object]) -> None:
    """Renew the card of a model with these figures."""
    config = TuneConfig.model_validate_json((folder / "tune.json").read_text(encoding="utf-8"))
    with safe_open(folder / "model.safetensors", "numpy") as weights:
        count = sum(int(np.prod(weights.get_slice(name).get_shape())) for name in weights.keys())  # noqa: SIM118
    (folder / "README.md").write_text(model_card(config, count, figures), encoding="utf-8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="", help="a checkpoint folder instead of the shipped one")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--card", action="store_true", help="also write them into the model's card")
    given = parser.parse_args()
    figures = measure(given.model, given.people, given.draws)
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    if given.card:
        write_card(Path(given.model or SHIPPED), figures)
    print(text)


if __name__ == "__main__":
    main()
