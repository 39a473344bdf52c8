"""Run the oil-price study in both directions and set it beside the published human figures.

python run_a_study.py
"""

import popsim

runs = [
    popsim.run(popsim.load_scenario(name, {"size": 500, "engine": "baseline"}))
    for name in ("oil_price_fall", "oil_price_rise")
]
for run in runs:
    print(run)
    print(run.answers.groupby("question", observed=True)["value"].describe().round(2))

print("baseline is fitted to these figures; that it meets them says nothing about people:")
found = popsim.compare(*runs)
figures = ["outcome", "arm", "statistic", "of", "human", "human_se", "simulated", "low", "high", "z"]
print(found.targets[figures].round(3).to_string(index=False))
print(found.intervals)
