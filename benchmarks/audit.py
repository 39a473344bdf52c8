"""How often the dispersion audit speaks: silent on people, loud where spread is lost.

Answers like those of households (a spike at zero, round numbers, long tails) are drawn again, pulled towards their mean
by a factor, and audited beside 1,000 human ones; printed is the share of samples that get a warning.

    python benchmarks/audit.py [samples]
"""

import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from popsim.evaluate import Sample
from popsim.evaluate.audit import audit
from popsim.evaluate.causes import spread_warnings
from popsim.evaluate.rows import HumanRows, OutcomeColumns
from popsim.evaluate.targets import TargetFile
from popsim.survey import load_questionnaire

RATIOS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SIZES = (100, 200, 500)
_WHERE = {"group": "households", "arm": "fall", "vignette": "oil", "weight": 1.0, "draw": 0, "wave": 0, "label": ""}


def people_like(random, n):
    """Draw changes of inflation in points as households state them."""
    change = np.round((random.standard_t(3, n) * 0.6 - 0.3) * 4) / 4
    return np.clip(np.where(random.random(n) < 0.12, 0.0, change), -2, 8)


def human_file(folder, values):
    """Write human answers to a file of rows."""
    path = Path(folder) / "people.csv"
    pd.DataFrame({"arm": "fall", "before": 0.0, "after": values}).to_csv(path, index=False)
    outcomes = {"inflation": OutcomeColumns(shock="after", baseline="before")}
    about = {"population": "adults", "published": date(2024, 1, 1), "source": "made up"}
    rows = HumanRows(file=str(path), group="households", vignette="oil", arm="arm", outcomes=outcomes, **about)
    return TargetFile(name="people", title="People", rows=rows)


def sample(change):
    """Make a run of the oil vignette in which inflation moves by these changes."""
    n, vignette = len(change), load_questionnaire("oil_price").of_group("households").vignettes[0]
    who = {"unit": np.arange(n), "person": np.arange(n), **_WHERE}
    ends = (("inflation_1", np.zeros(n)), ("inflation_2", change))
    answers = pd.concat([pd.DataFrame({**who, "question": name, "value": value}) for name, value in ends])
    return Sample("model", False, answers, {("households", "oil"): vignette}, np.zeros(n, dtype=np.int64))


def main(samples):
    """Print the power curve."""
    random = np.random.default_rng(1)
    people = people_like(random, 1000)
    middle, started = people.mean(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = human_file(folder, people)
        print(f"share of {samples} samples with a warning, by spread on that of people")
        print("n    " + "".join(f"{ratio:>7.1f}" for ratio in RATIOS))
        for n in SIZES:
            told = []
            for ratio in RATIOS:
                drawn = (middle + ratio * (random.choice(people, n) - middle) for _ in range(samples))
                told.append(np.mean([bool(spread_warnings(audit(sample(one), [file], draws=60))) for one in drawn]))
            print(f"{n:<5}" + "".join(f"{100 * share:>6.1f}%" for share in told), flush=True)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
