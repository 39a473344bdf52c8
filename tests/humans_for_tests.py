"""Answers of invented people, as a file that stands beside a run."""

import yaml


def write_rows(folder, run, arm):
    """Write the answers of a run as those of people, a row each, and the file that describes them.

    Args:
        folder: Gets ``people.csv`` and ``mine.yaml``.
        run: Whose answers they are.
        arm: The arm of each person, or of all.
    """
    wide = run.answers.pivot_table(index="person", columns="question", values="value", observed=True)
    wide.assign(arm=arm, gender=run.people["sex"].astype("str")).to_csv(folder / "people.csv", index=False)
    rows = {
        "file": "people.csv",
        "group": "households",
        "vignette": "oil",
        "arm": "arm",
        "attributes": {"sex": "gender"},
        "outcomes": {"inflation": {"shock": "inflation_2", "baseline": "inflation_1"}},
        "population": "adults",
        "published": "2024-01-01",
        "source": "made up",
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "title": "Mine", "rows": rows}))
