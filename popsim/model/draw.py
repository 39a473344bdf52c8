"""What is drawn before a run begins: respondents, who follows whom, and who is in which arm."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim.errors import ScenarioError
from popsim.network import build_network
from popsim.population import sample_people
from popsim.scenario import Scenario


def draw_people(scenario: Scenario) -> pd.DataFrame:
    """Draw the respondents of a scenario.

    Returns:
        A frame with a row per person; see `popsim.population.sample_people`.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> len(draw_people(load_scenario("oil_price_fall", {"size": 10})))
        10
    """
    people = sample_people(scenario.population, scenario.size, scenario.seed, scenario.priors.overrides)
    settings = scenario.people
    if settings.confidence == "drawn" and not settings.confidence_shift:
        return people
    if "confidence" not in people:
        raise ScenarioError("people.confidence: this population has no confidence levels; leave it 'drawn'")
    levels = people["confidence"].cat.categories
    codes = people["confidence"].cat.codes.to_numpy(np.intp) + settings.confidence_shift
    if settings.confidence != "drawn":
        codes = np.full(len(people), levels.get_loc(settings.confidence))
    moved = pd.Categorical.from_codes(codes.clip(0, len(levels) - 1), levels, ordered=True)
    return people.assign(confidence=moved)


def draw_graph(scenario: Scenario, people: pd.DataFrame) -> csr_array:
    """Draw the follow graph of a scenario: row ``i`` holds the attention of person ``i`` to those they follow.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> scenario = load_scenario("oil_price_fall", {"size": 10})
        >>> draw_graph(scenario, draw_people(scenario)).shape
        (10, 10)
    """
    return build_network(scenario.network, people, scenario.rng("network"))


def assign_arms(scenario: Scenario) -> NDArray[np.int64]:
    """Assign respondents to arms at random, with group sizes as near to the shares as whole people allow.

    Returns:
        For each person the position of the arm in ``scenario.arms``.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> assign_arms(load_scenario("oil_price_fall", {"size": 3})).tolist()
        [0, 0, 0]
    """
    shares = np.array([arm.share for arm in scenario.arms.values()])
    edges = np.cumsum(shares) / shares.sum()
    rng = scenario.rng("assignment")
    places = (np.arange(scenario.size) + rng.random()) / scenario.size
    arms = np.searchsorted(edges[:-1], places, side="right")
    return np.asarray(rng.permutation(arms), dtype=np.int64)
