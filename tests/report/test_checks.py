"""What the page says of what answers are worth: the same as `popsim compare`, without an option."""

import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from popsim.report.figures import figures
from popsim.report.page import page
from popsim.study import load_run
from popsim.study.auditing import examine
from popsim.study.comparing import compare
from popsim.study.pages import gather

HELD = ["arm", "replies", "outside", "mostly_outside"]


class Text(HTMLParser):
    """Collects what a reader sees, white space folded."""

    def __init__(self, html):
        super().__init__()
        self.said = []
        self.feed(html)

    def handle_data(self, data):
        self.said.append(data)

    @property
    def flat(self):
        return " ".join(" ".join(self.said).split())


@pytest.fixture(scope="module")
def text(uneven):
    return Text(page(gather(uneven))).flat


def test_the_page_shows_what_compare_prints(uneven, text):
    found = examine(uneven)
    assert len(found.warnings) >= 2
    for warning in found.warnings["warning"]:
        assert f"{warning}." in text
    assert "Likely cause: persons hardly differ" in text
    assert "50.2% at the first attempt, 25.0% in the end; DEPEND ON THE ARM (p < 0.001)" in text
    row = found.bounds[found.bounds["outcome"].eq("inflation") & found.bounds["arm"].eq("rise")].iloc[0]
    assert f"{row['low']:+.3f} to {row['high']:+.3f}".replace("-", "−") in text
    assert "firms' costs" in text
    assert "Gaps between groups: inflation, fall" in text
    assert "Effects of one arm against another" in text
    means = compare(uneven).targets.query("statistic == 'mean'")
    r = np.corrcoef(means["human"], means["simulated"])[0, 1]
    assert f"mean {r:.2f} ({len(means)} figures)" in text


def test_pictures_show_the_tables_of_the_audit(uneven):
    found, drawn = examine(uneven), figures(gather(uneven))
    spread = drawn["audit-spread"].data
    best = found.ratios[found.ratios["measure"].eq("trimmed SD") | found.ratios["arm"].eq("pooled")]
    assert sorted(spread["ratio"]) == pytest.approx(sorted(best["ratio"]))
    channels = drawn["audit-channels-households-oil"].data.set_index(["row", "group"])["mean"]
    costs = found.channels.set_index("code").loc["costs"]
    assert channels["firms' costs", "simulated"] == pytest.approx(100 * costs["simulated"])
    assert channels["firms' costs", "people"] == pytest.approx(100 * costs["human"])
    gaps = drawn["audit-groups-inflation-fall"].data.set_index(["row", "group"])["mean"]
    human = found.subgroups.query("level == 'male' and arm == 'fall'")["human_gap"].iloc[0]
    assert gaps["sex male", "people"] == pytest.approx(human)
    assert {"agreement-figures", "agreement-shares"} <= set(drawn)


def test_a_ratio_of_nothing_is_drawn_at_the_edge(uneven):
    frame = figures(gather(uneven))["audit-spread"].data
    assert frame["ratio"].min() == 0
    drawn = figures(gather(uneven))["audit-spread"].chart(340).to_dict()
    assert drawn["layer"]


def test_a_run_without_human_figures_says_so_and_still_shows_its_failures(evil):
    said = Text(page(gather(evil))).flat
    assert "No human figure says how far people spread here" in said
    assert "Failed prompts by subgroup" in said


def test_nothing_that_failed_is_no_table(fall):
    said = Text(page(gather(fall))).flat
    assert "Failed prompts: none of 300 prompts." in said
    assert "Failed prompts by arm" not in said
    assert "worst-case" not in said


def test_what_was_left_out_is_said_of_measured_answers_and_of_held_ones(fall):
    material = gather(fall)
    measured = pd.DataFrame({"vignette": "oil", "question": ["inflation_2"] * 2, "left_out": [0.1, 0.3]})
    held = pd.DataFrame([("nano", "fall", 300, 0.42, 0.25)], columns=["column", *HELD])
    with_both = replace(
        material,
        tables={**material.tables, "readouts": measured},
        findings={**material.findings, "held": held},
    )
    said = Text(page(with_both)).flat
    assert "inflation_2 20.0% 30.0%" in said
    assert "with probability fall: 42.0% on average, over half in 25% of 300 replies" in said
    assert "no plain draw from the model" in said
    assert "no plain draw" not in Text(page(material)).flat


def test_a_run_that_cannot_be_audited_says_why_and_has_its_page(fall, tmp_path):
    copy = shutil.copytree(fall.path, tmp_path / "run")
    people = pd.read_parquet(copy / "people.parquet")
    people.assign(weight=people["person"].ne(0).astype(float)).to_parquet(copy / "people.parquet")
    said = Text(page(gather(load_run(copy)))).flat
    assert "These answers could not be audited" in said
    assert "person 0 has weight 0" in said
    assert "Means by arm" in said
