"""Does a seed of microdata make whole people? One half of the records against the other.

The 2018 excerpt of the ACS published by NIST (adults; age in 7 bands, sex, marital status in 5, education in 5, income
in quintiles, tenure in 3, density in halves) is split in two at random. From one half come the seed and all one-way and
two-way margins; people are drawn from the fit, and their tables of three attributes are held against the other half.
Beside them: people drawn attribute by attribute, and people from the same margins raked without a seed.

    python benchmarks/population_nist.py nist_acs_excerpt_2018.csv.gz --splits 5
"""

import argparse
import platform
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from popsim.population import PopulationSpec, sample_people
from popsim.population.check import compare_people, read_truth
from popsim.population.load import bind_files
from popsim.population.sources import Column, level_codes_of

ATTRIBUTES = {
    "age": ["18-24", "25-34", "35-44", "45-54", "55-64", "65-74", "75+"],
    "sex": ["male", "female"],
    "marital": ["never_married", "married", "separated", "divorced", "widowed"],
    "education": ["no_diploma", "high_school", "some_college", "bachelor", "graduate"],
    "income": ["q1", "q2", "q3", "q4", "q5"],
    "tenure": ["group_quarters", "own", "rent"],
    "density": ["low", "high"],
}
COLUMNS = {
    "age": {"column": "AGEP", "lowest": dict(zip(ATTRIBUTES["age"], [18, 25, 35, 45, 55, 65, 75], strict=True))},
    "sex": {"column": "SEX", "recode": {1: "male", 2: "female"}},
    "marital": {
        "column": "MSP",
        "recode": {1: "married", 2: "married", 3: "widowed", 4: "divorced", 5: "separated", 6: "never_married"},
    },
    "education": {
        "column": "EDU",
        "lowest": {"no_diploma": 1, "high_school": 5, "some_college": 7, "bachelor": 9, "graduate": 10},
    },
    "income": {"column": "PINCP", "quantiles": {"q1": 0, "q2": 0.2, "q3": 0.4, "q4": 0.6, "q5": 0.8}},
    "tenure": {"column": "OWN_RENT", "recode": {0: "group_quarters", 1: "own", 2: "rent"}},
    "density": {"column": "DENSITY", "quantiles": {"low": 0, "high": 0.5}},
}


def read_adults(path: Path) -> pd.DataFrame:
    """Read the excerpt and write every attribute as its level."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame = frame[frame["AGEP"].astype(int) >= 18].reset_index(drop=True)
    weights = frame["PWGTP"].to_numpy(float)
    columns = {name: Column.model_validate(column) for name, column in COLUMNS.items()}
    codes = level_codes_of(frame, columns, ATTRIBUTES, weights)
    levels = {name: np.array(ATTRIBUTES[name])[code] for name, code in codes.items()}
    return pd.DataFrame(levels).assign(weight=weights)


def margin_of(records: pd.DataFrame, names: tuple[str, ...]) -> dict[str, object]:
    """Make the margin of one or two attributes."""
    sums = records.groupby(list(names))["weight"].sum()
    levels = [ATTRIBUTES[name] for name in names]
    table = sums.reindex(pd.MultiIndex.from_product(levels) if len(names) > 1 else levels[0], fill_value=0.0)
    rows = table.to_numpy().reshape(-1, len(levels[-1])).tolist()
    lead = [[level] for level in levels[0]] if len(names) > 1 else [[]]
    return {
        "name": " x ".join(names),
        "of": list(names),
        "unit": "adults",
        "year": 2018,
        "status": "assumption",
        "table": [[*names[:-1], *levels[-1]], *(head + row for head, row in zip(lead, rows, strict=True))],
    }


def population(records: pd.DataFrame, ways: int, seed: dict[str, object] | None) -> PopulationSpec:
    """Make the population of one half of the records."""
    tables = [names for k in range(1, ways + 1) for names in combinations(ATTRIBUTES, k)]
    step = {"adds": list(ATTRIBUTES), "margins": [margin_of(records, names) for names in tables]}
    step |= {"seed": seed} if seed else {}
    return PopulationSpec.model_validate(
        {"name": "half", "title": "Half", "unit": "adults", "attributes": ATTRIBUTES, "steps": [step]}
    )


def compare_split(adults: pd.DataFrame, number: int, size: int, repairs: list[float]) -> pd.DataFrame:
    """Fit one half each way and hold the people against the other half."""
    first = np.random.default_rng(number).permutation(len(adults)) % 2 == 0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        adults[first].to_csv(Path(folder) / "half.csv", index=False)
        adults[~first].to_csv(Path(folder) / "other.csv", index=False)
        seed = {"file": "half.csv", "weight": "weight", "status": "assumption"}
        ways: dict[str, tuple[int, dict[str, object] | None]] = {
            "independent": (1, None),
            "pairwise, no seed": (2, None),
        }
        ways |= {f"pairwise, seed, repair {repair:g}": (2, {**seed, "repair": repair}) for repair in repairs}
        for name, (depth, microdata) in ways.items():
            spec = bind_files(population(adults[first], depth, microdata), Path(folder))
            people = sample_people(spec, size, seed=number)
            truth = read_truth(spec, people, Path(folder) / "other.csv")
            found = compare_people(spec, people, truth, spec.steps[0].seed and spec.steps[0].seed._cells)
            row = {f"{way['ways']}-way": way["srmse"] for way in found["ways"]}
            row |= {"z_share": found["ways"][2]["z_share"], "cramers_v": _mean_gap(found["associations"])}
            row |= {"converged": people.attrs["fit"]["converged"], **found.get("combinations", {})}
            rows.append({"split": number, "way": name, **row})
    return pd.DataFrame(rows)


def _mean_gap(associations: list[dict[str, float]]) -> float:
    return float(np.mean([abs(one["difference"]) for one in associations]))


def main() -> None:
    """Print medians over the splits."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--repair", type=float, nargs="*", default=[0.0, 0.05, 0.2, 0.5])
    asked = parser.parse_args()
    adults = read_adults(asked.data)
    table = pd.concat([compare_split(adults, number, asked.size, asked.repair) for number in range(asked.splits)])
    three = table.pivot(index="split", columns="way", values="3-way")
    medians = table.drop(columns="split").groupby("way", sort=False).median()
    medians["below no seed"] = three.lt(three["pairwise, no seed"], axis=0).mean().reindex(medians.index)
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, pandas {pd.__version__}")
    print(f"{len(adults)} adults, {asked.size} people drawn, medians of {asked.splits} splits")
    print(medians.round(4).to_string())


if __name__ == "__main__":
    main()
