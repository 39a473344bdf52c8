"""The oil shock of Andre, Pizzinelli, Roth and Wohlfart (2022), beside what simulated people say.

python reproduce_oil_shock.py [RESPONDENTS OF BASELINE PER ARM] [RESPONDENTS OF NANO PER ARM]

`baseline` is fitted to these very figures and `nano` was taught by it what households and experts say here, so neither
agrees by merit.
"""

import sys
from tempfile import TemporaryDirectory

import pandas as pd

import popsim
from popsim.evaluate import changes_by_person, trimmed_sd

TEXTBOOK = {"inflation": 1.4, "unemployment": 0.42}
"""Empirical estimates for a rise that the study quotes (Table A.10, p. 74), in points; mirrored for a fall."""
SCENARIOS = {"households": ("oil_price_fall", "oil_price_rise"), "experts": ("oil_price_experts",)}
GIVEN = [int(size) for size in sys.argv[1:]]
SIZES = dict(zip(("baseline", "nano"), GIVEN + [2000, 20][len(GIVEN) :], strict=True))


def answered(engine: str, group: str, folder: str) -> pd.DataFrame:
    """Ask one group in both arms and give their answers."""
    names = SCENARIOS[group]
    size = 2 * SIZES[engine] // len(names)
    scenarios = [popsim.load_scenario(name, {"size": size, "engine": engine, "attempts": 1}) for name in names]
    runs = [popsim.run(scenario, f"{folder}/{scenario.name}.{engine}") for scenario in scenarios]
    return pd.concat([run.answers for run in runs], ignore_index=True)


def rows(group: str, folder: str) -> list[dict[str, object]]:
    """Set all figures of one group beside each other."""
    questionnaire = popsim.load_scenario(SCENARIOS[group][0]).questionnaire.of_group(group)
    reference = questionnaire.vignettes[0].reference
    answers = {engine: answered(engine, group, folder) for engine in SIZES}
    table = []
    for name, change in reference.changes.items():
        for arm, human in change.arms.items():
            textbook = TEXTBOOK[name] * (-1 if arm in reference.reversed else 1)
            row = {"group": group, "arm": arm, "change of": name, "human": human.mean, "s.e.": human.se}
            row |= {"no change": 0.0, "textbook": textbook}
            for engine, given in answers.items():
                mine = given[given["arm"].eq(arm)]
                values = changes_by_person(mine, change)["change"].to_numpy()
                asked = mine[mine["question"].isin([change.shock, change.baseline])]
                row[engine] = round(float(values.mean()), 3) if len(values) else None
                row[f"{engine} SD"] = round(trimmed_sd(values), 2) if len(values) > 2 else None
                row[f"{engine} failed"] = f"{(asked['status'] != 'ok').mean():.0%}"
            table.append({**row, "human SD": human.trimmed_sd})
    return table


with TemporaryDirectory() as folder:
    found = pd.DataFrame([row for group in SCENARIOS for row in rows(group, folder)])
means = ["human", "s.e.", "no change", "textbook", "baseline", "nano"]
spreads = ["human SD", "baseline SD", "nano SD", "baseline failed", "nano failed"]
print(f"Mean change in points, shock minus baseline; respondents per arm: {SIZES}")
print(found[["group", "arm", "change of", *means]].to_string(index=False))
print("\nStandard deviation after cutting 5 % of each tail, and failed answers (each prompt was asked once):")
print(found[["group", "arm", "change of", *spreads]].to_string(index=False))
print("\nbaseline is fitted to these figures and nano imitates it: agreement is by construction and never evidence.")
