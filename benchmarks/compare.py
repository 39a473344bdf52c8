"""How long a whole comparison takes: the four vignettes, all published figures of households, 1,000 resamples.

    python benchmarks/compare.py [--people 10000] [--draws 1000] [--crossed]

Answers are drawn at random; each person answers two of the four vignettes in one arm, or all of them in both arms
(``--crossed``). What is timed is `popsim.evaluate.compare`: cutting the answers, the bootstrap, distances and verdicts.
"""

import argparse
import platform
import resource
import time

import numpy as np
import pandas as pd

from popsim.evaluate import Sample, compare, load_targets
from popsim.survey import load_questionnaire

VIGNETTES = ("oil", "federal_spending", "federal_funds_rate", "income_tax")
QUESTIONS = ("inflation_1", "inflation_2", "unemployment_1", "unemployment_2")


def made_up(people: int, crossed: bool) -> Sample:
    """Draw answers on the grid of the questionnaire."""
    rng = np.random.default_rng(0)
    arms = rng.integers(0, 2, people)
    asked = np.argsort(rng.random((people, len(VIGNETTES))), axis=1) < (len(VIGNETTES) if crossed else 2)
    parts = []
    for place, vignette in enumerate(VIGNETTES):
        who = np.flatnonzero(asked[:, place])
        for arm in (0, 1) if crossed else (None,):
            for question in QUESTIONS:
                level = rng.normal(2, 1, len(who)).round(2)
                parts.append(
                    pd.DataFrame(
                        {
                            "unit": who,
                            "person": who,
                            "group": "households",
                            "arm": np.array(["fall", "rise"])[arms[who] if arm is None else np.full(len(who), arm)],
                            "vignette": vignette,
                            "question": question,
                            "draw": 0,
                            "value": level,
                            "label": None,
                            "weight": 1.0,
                        }
                    )
                )
    oil = load_questionnaire("oil_price").vignettes[0]
    vignettes = {("households", name): oil.model_copy(update={"name": name}) for name in VIGNETTES}
    return Sample("random", False, pd.concat(parts), vignettes, np.zeros(people, np.int64) if crossed else arms)


def main() -> None:
    """Time one comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--crossed", action="store_true")
    given = parser.parse_args()
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, pandas {pd.__version__}")
    sample, targets = made_up(given.people, given.crossed), load_targets("aprw_households")
    wall, cpu = time.perf_counter(), time.process_time()
    found = compare([sample], [targets], draws=given.draws)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{given.people} people, {len(sample.answers)} answers, {len(found.targets)} figures, {given.draws} resamples: "
        f"{wall:.1f} s, {cpu:.1f} s of CPU, peak {peak:.0f} MB"
    )


if __name__ == "__main__":
    main()
