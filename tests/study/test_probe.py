"""The leakage probe catches who recites a published table, and leaves alone who reads or knows nothing."""

import json
import re
import sys
from datetime import date

import numpy as np
import pytest
from engines_for_tests import GOOD, Seeded, in_parts

from popsim import cli
from popsim.errors import ScenarioError
from popsim.evaluate import load_targets
from popsim.scenario import load_scenario
from popsim.study import probe
from popsim.study.alterations import alterations
from popsim.study.probe import published

SIZE = 150


class Reciter(Seeded):
    """Knows the published table by the heading of the vignette, whatever the text below it says."""

    fingerprint = "reciter/1"
    table = {"Oil price falls": (-0.331, -0.210), "Oil price rises": (0.667, 0.445)}

    def means(self, text):
        return next((means for heading, means in self.table.items() if heading in text), (0.0, 0.0))

    def text(self, prompt):
        said = prompt.messages[0][1]
        if "surnames" in said:
            return "Andre, Pizzinelli, Roth and Wohlfart"
        if "title alone" in said:
            return "Subjective Models of the Macroeconomy"
        if "two decimals" in said:
            arm, place = ("falls" if "arm fall" in said else "rises"), "unemployment" in said
            return f"{self.table[f'Oil price {arm}'][place]:+.2f}"
        random = np.random.default_rng(prompt.seed)
        inflation, unemployment = self.means(said) + random.normal(0, 0.7, 2)
        return in_parts(
            GOOD
            | {
                "Unemployment_rate_Scenario_1": "4.0%",
                "Inflation_rate_Scenario_1": "1.6%",
                "Unemployment_rate_Scenario_2": f"{np.clip(4.0 + unemployment, 0, 10):.2f}%",
                "Inflation_rate_Scenario_2": f"{np.clip(1.6 + inflation, -2, 8):.2f}%",
            }
        )


class Reader(Reciter):
    """Answers in proportion to the shock that the text tells, and knows no paper."""

    fingerprint = "reader/1"

    def text(self, prompt):
        said = prompt.messages[0][1]
        return super().text(prompt) if "QUESTIONNAIRE" in said or "Scenario 2" in said else "I do not know."

    def means(self, text):
        dollars = int(re.search(r"\$(\d+) (less|more) than", text).group(1)) / 30
        sign = -1 if "less than" in text else 1
        return (0.4 * sign * dollars, 0.3 * sign * dollars)


def probed(tmp_path, **how):
    scenario = load_scenario("oil_price_fall", {"size": SIZE})
    if "engine" not in how:
        scenario = load_scenario("oil_price_fall", {"size": SIZE, "engine": "baseline"})
    return probe(scenario, tmp_path / "probe", **how)


def test_who_recites_the_published_table_is_caught_by_the_altered_vignettes(tmp_path):
    found = probed(tmp_path, engine=Reciter())
    judged = found.versions.set_index(["version", "outcome"])["verdict"]
    for version in ("altered numbers", "reversed cause"):
        assert judged[version, "inflation"] == "recited"
    assert {line.partition(":")[0] for line in found.leaks} >= {"altered numbers", "reversed cause"}
    assert judged["no persona", "inflation"] == "sign as published"
    assert found.recall["hits"].min() == 1.0
    assert any("Subjective Models" in line for line in found.leaks)


@pytest.mark.parametrize("who", ["baseline", "reader"])
def test_who_reads_or_knows_nothing_is_not_caught(tmp_path, who):
    found = probed(tmp_path, **({"engine": Reader()} if who == "reader" else {}))
    assert found.leaks == ()
    assert "recited" not in set(found.versions["verdict"])
    if who == "reader":
        left = found.versions.set_index(["version", "outcome"])["left"]
        assert left["reversed cause", "inflation"] == pytest.approx(-1, abs=0.5)
        assert left["altered numbers", "inflation"] == pytest.approx(0.03, abs=0.4)
        assert found.recall["hits"].max() == 0.0


def test_every_text_of_an_alteration_says_what_it_should():
    texts = {
        version.name: json.dumps(version.scenario.shown("fall").model_dump(mode="json"))
        for version in alterations(load_scenario("oil_price_fall"))
    }
    assert "$30" not in texts["altered numbers"].replace("${", "")
    assert "$53" in texts["altered numbers"]
    assert re.search(r"climbs.*\$30 more than.*\$84", texts["reversed cause"])
    assert "Oil price falls" in texts["reversed cause"]
    for word in ("Middle East", "in the US", "the US economy"):
        assert word not in texts["renamed region"]
    assert "Valdoria" in texts["renamed region"]
    assert "-0.331" not in texts["renamed region"]


@pytest.mark.parametrize(
    "name",
    [
        "macro_vignettes",
        "federal_funds_rate_shock",
        "income_tax_shock",
        "federal_spending_shock",
        "oil_price_2025_households",
    ],
)
def test_shipped_studies_can_be_altered(name):
    versions = list(alterations(load_scenario(name, {"size": 10})))
    for version in versions:
        for arm in version.scenario.arms:
            assert version.scenario.shown(arm)
    assert {"original", "renamed region"} <= {version.name for version in versions}


def test_targets_after_the_cutoff_come_first():
    file = load_targets("aprw_households")
    old = file.targets[0].model_copy(update={"published": date(2019, 1, 1)})
    both = file.model_copy(update={"targets": (old, *file.targets[1:])})
    assert published([both], date(2020, 6, 1))["known"].tolist() == ["after the cutoff", "public before the cutoff"]
    assert set(published([file], None)["known"]) == {"unknown"}


def test_a_study_without_a_response_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match="declare no changes"):
        probe(load_scenario("inflation_probabilities", {"size": 5, "engine": "baseline"}), tmp_path)


def test_too_few_respondents_are_no_clean_bill(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "probe"
    monkeypatch.setattr(sys, "argv", f"popsim probe oil_price_fall --engine baseline --size 12 --out {folder}".split())
    with pytest.raises(SystemExit):
        cli.main()
    text = capsys.readouterr().out
    assert "Nothing could be judged" in text
    assert "No sign" not in text
    assert max(map(len, text.splitlines())) <= 120 + len(str(folder))
