"""A small population whose first margin stands in a file, for tests to change."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import yaml

from popsim.errors import PopulationError
from popsim.population import load_population
from popsim.population.fit import fit_population

SOURCED = {"source": "a table", "status": "found", "unit": "adults", "year": 2020}
LONG = "# a note\nzone,AGE,sex,year,n\nN,1,f,19,5\nN,2,f,19,7\nN,3,f,19,8\nN,1,m,19,5\nN,2,m,19,3\nN,3,m,19,2\n"
WIDE = "sex,1,2,3,total\nf,5,7,8,20\nm,5,3,2,10\nall,10,10,10,30\n"
RECODE = {"1": "young", 2: "old", 3: "old"}
BASE = {
    "name": "small",
    "title": "Small",
    "unit": "adults",
    "attributes": {"sex": ["f", "m"], "age": ["young", "old"], "home": ["own", "rent"]},
    "steps": [
        {
            "adds": ["sex", "age", "home"],
            "margins": [
                {
                    **SOURCED,
                    "name": "age by sex",
                    "of": ["sex", "age"],
                    "file": {"file": "t.csv", "numbers": "n", "columns": {"age": {"column": "AGE", "recode": RECODE}}},
                },
                {**SOURCED, "name": "home", "of": ["home"], "table": [["rent", "own"], [18, 12]]},
            ],
        }
    ],
}


def write(folder, change=None, **files):
    data = deepcopy(BASE)
    if change:
        change(data)
    for name, content in {"t": LONG, **files}.items():
        if isinstance(content, str):
            (folder / f"{name}.csv").write_text(content, encoding="utf-8")
        else:
            content.to_csv(folder / f"{name}.csv", index=False)
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def complaint(path):
    with pytest.raises(PopulationError) as problem:
        load_population(path)
    message = str(problem.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def table(data):
    return data["steps"][0]["margins"][0]["file"]


def seeded(data, **keys):
    data["steps"][0]["seed"] = {"file": "r.csv", "status": "assumption", **keys}


def joint(spec):
    """Give the fitted shares of a population of one step as a frame."""
    step = fit_population(spec).steps[0]
    frame = pd.DataFrame({name: np.array(spec.attributes[name])[codes] for name, codes in step.codes.items()})
    return frame.assign(share=step.chances[0])
