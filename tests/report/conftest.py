"""Runs that the tests of pages, pictures, methods and exports read; each is made once."""

import pytest
import yaml
from engines_for_tests import Uneven
from evil_study import Evil, evil_study
from humans_for_tests import write_rows

import popsim


@pytest.fixture(scope="session")
def evil(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evil")
    return popsim.run(evil_study(folder), folder / "run", engine=Evil())


@pytest.fixture(scope="session")
def oil(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oil")
    study = {
        "name": "oil",
        "title": "Oil up or down",
        "population": "us_adults_2018",
        "size": 300,
        "seed": 7,
        "questionnaire": "oil_price",
        "targets": ["aprw_households"],
        "group": "households",
        "arms": {"fall": {}, "rise": {}},
        "network": {"kind": "follow", "mean_degree": 8},
        "news": [{"name": "tanker", "text": "A port is closed.", "source": "radio", "reach": 0.2, "passed_on": 0.2}],
        "waves": [0, 3],
        "engine": "baseline",
    }
    (folder / "oil.yaml").write_text(yaml.safe_dump(study))
    return popsim.run(popsim.load_scenario(folder / "oil.yaml"), folder / "run")


@pytest.fixture(scope="session")
def fall(tmp_path_factory):
    scenario = popsim.load_scenario("oil_price_fall", {"size": 300, "engine": "baseline"})
    return popsim.run(scenario, tmp_path_factory.mktemp("fall") / "run")


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    study = {
        "name": "dose",
        "title": "Dose",
        "population": "us_adults_2018",
        "size": 40,
        "questionnaire": "oil_price",
        "targets": ["aprw_households"],
        "group": "households",
        "arms": {"rise": {}},
        "news": [{"name": "tanker", "text": "A port is closed.", "source": "radio", "reach": 0.2}],
        "engine": "baseline",
        "sweep": {"people.confidence": ["weak", "strong"], "news.0.reach": [0.0, 0.5, 1.0]},
        "replicates": 3,
    }
    (folder / "dose.yaml").write_text(yaml.safe_dump(study))
    popsim.sweep(list(popsim.sweep_points(folder / "dose.yaml")), 3, folder / "out")
    return popsim.load_run(folder / "out")


@pytest.fixture(scope="session")
def uneven(tmp_path_factory):
    """Answers that are too much alike, fail in one arm alone, and stand beside rows of people with attributes."""
    folder = tmp_path_factory.mktemp("uneven")
    arms = {"fall": {"share": 1}, "rise": {"share": 1}}
    people = {"size": 400, "engine": "baseline", "seed": 9, "arms": arms}
    humans = popsim.run(popsim.load_scenario("oil_price_fall", people), folder / "humans")
    write_rows(folder, humans, humans.assignment.set_index("person")["arm"].astype("str"))
    targets = ["aprw_households", str(folder / "mine.yaml")]
    asked = {"size": 400, "arms": arms, "attempts": 2, "draws": 2, "targets": targets}
    return popsim.run(popsim.load_scenario("oil_price_fall", asked), folder / "run", engine=Uneven())
