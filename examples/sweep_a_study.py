"""Sweep the confidence of respondents and how many hear a piece of news, twice over.

python sweep_a_study.py
"""

from pathlib import Path

import yaml

import popsim

study = {
    "name": "news_and_confidence",
    "title": "Oil news and confidence",
    "population": "us_adults_2018",
    "size": 200,
    "seed": 3,
    "questionnaire": "oil_price",
    "arms": {"rise": {}},
    "network": {"kind": "follow", "mean_degree": 8, "homophily": {"party": 2.0}},
    "news": [
        {
            "name": "forecast",
            "text": "Economists expect consumer prices to rise by five percent over the next year.",
            "source": "evening news",
            "reach": 0.2,
            "passed_on": 0.1,
            "signal": {"variable": "inflation", "value": 5.0, "sd": 1.0, "unit": "percent"},
        }
    ],
    "waves": [2],
    "engine": "baseline",
    "sweep": {"people.confidence": ["extremely weak", "moderate", "extremely strong"], "news.0.reach": [0.0, 1.0]},
    "replicates": 2,
}
Path("news_and_confidence.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")

points = list(popsim.sweep_points("news_and_confidence.yaml"))
answers = popsim.sweep(points, study["replicates"], "runs/news_and_confidence")
inflation = answers[answers["question"] == "inflation_2"]
print(inflation.groupby(["people.confidence", "news.0.reach"])["value"].mean().unstack().round(2))
