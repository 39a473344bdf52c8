"""One human figure, and a file of figures that differ from it."""

from pathlib import Path

import yaml

FIGURE = {
    "vignette": "oil",
    "outcome": "inflation",
    "group": "households",
    "statistic": "mean",
    "pooling": "fall",
    "value": -0.3,
    "se": 0.05,
    "n": 500,
    "wave": "1",
    "form": "levels",
    "population": "US adults",
    "weighted": False,
    "published": "2021-10-27",
    "source": "a table",
    "obtained": "read",
}
POOLED = {"pooling": "pooled_reversed", "arms": ["fall", "rise"], "reversed": ["fall"]}


def write(*changes, **file):
    """A file of targets, each the figure above with changes."""
    whole = {"name": "mine", "title": "Mine", "targets": [FIGURE | change for change in changes], **file}
    Path("mine.yaml").write_text(yaml.safe_dump(whole))
    return "mine.yaml"
