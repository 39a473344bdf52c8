"""A hundred or two real answers, and simulated ones of the same people and of many others: what are these worth?

python correct_with_people.py

Everything here is invented: `baseline` plays the people who answer, and with another seed the simulator too. With a
language model and a survey of your own, replace `people.csv`, `answers.csv` and the engine.
"""

from pathlib import Path

import yaml

import popsim
from popsim.study.correcting import correct

PEOPLE, ASKED = 1500, 200
ABOUT = {"sex": "sex", "age_band": "age_band", "party": "party"}

# 1. Everybody in the town, in a table: who they are is all that a simulation may know of them.
people = popsim.sample_people(popsim.load_population("us_adults_2018"), PEOPLE, 1).drop(columns="weight")
people.rename_axis("id").reset_index().to_csv("people.csv", index=False)
town = {
    "name": "town",
    "title": "An invented town",
    "from_table": {"file": "people.csv"},
    "persona": {"en": "Sex: {{sex}}. Age: {{age_band}}. Party: {{party}}."},
}
Path("town.yaml").write_text(yaml.safe_dump(town), encoding="utf-8")
study = {
    "name": "town_oil",
    "title": "The oil price rises and falls in an invented town",
    "population": "town.yaml",
    "size": PEOPLE,
    "questionnaire": "oil_price",
    "group": "households",
    "arms": {"fall": {}, "rise": {}},
    "assignment": "crossed",
    "engine": "baseline",
}
Path("town_oil.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")

# 2. Some of them answer a survey, one half in each arm.
survey = popsim.run(popsim.load_scenario("town_oil.yaml", {"seed": 1}), "runs/survey").answers
asked = people.sample(ASKED, random_state=2)
arm = dict(zip(asked.index, ["fall", "rise"] * (ASKED // 2), strict=True))
mine = survey[survey["arm"].astype(str) == survey["person"].map(arm)]
rows = mine.pivot_table(index=["person", "arm"], columns="question", values="value", observed=True).reset_index()
rows.join(asked[list(ABOUT)], on="person").to_csv("answers.csv", index=False)
humans = {
    "name": "our_survey",
    "title": "Our survey of an invented town",
    "rows": {
        "file": "answers.csv",
        "group": "households",
        "vignette": "oil",
        "arm": "arm",
        "person": "person",
        "attributes": ABOUT,
        "outcomes": {"inflation": {"shock": "inflation_2", "baseline": "inflation_1"}},
        "population": "an invented town",
        "published": "2026-01-01",
        "source": "made by baseline",
    },
}
Path("humans.yaml").write_text(yaml.safe_dump(humans), encoding="utf-8")

# 3. All of the town is simulated, five times each; `popsim correct runs/town --humans humans.yaml` prints all of it.
run = popsim.run(popsim.load_scenario("town_oil.yaml", {"seed": 2, "draws": 5}), "runs/town")
found = correct(run, humans="humans.yaml")
for warning in found.warnings:
    print(warning)
print(
    found.figures[["outcome", "arm", "statistic", "of", "human", "simulated", "value", "low", "high", "worth"]].round(2)
)
