"""What is drawn before a run begins: respondents, who follows whom, and who is in which arm."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim.errors import ScenarioError
from popsim.network import build_network
from popsim.population import sample_people
from popsim.scenario import Scenario
from popsim.slots import did_you_mean


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
    if scenario.people.confidence != "drawn":
        if "confidence" not in people:
            raise ScenarioError("people.confidence: this population has no confidence levels; leave it 'drawn'")
        levels = people["confidence"].cat.categories
        fixed = pd.Categorical([scenario.people.confidence] * len(people), categories=levels, ordered=True)
        people = people.assign(confidence=fixed)
    return people


def draw_graph(scenario: Scenario, people: pd.DataFrame) -> csr_array:
    """Draw the follow graph of a scenario: row ``i`` holds the attention of person ``i`` to those they follow.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> scenario = load_scenario("oil_price_fall", {"size": 10})
        >>> draw_graph(scenario, draw_people(scenario)).shape
        (10, 10)
    """
    return build_network(scenario.network, people, scenario.rng("network"))


def seat_people(scenario: Scenario, people: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Seat every person in an arm, or where arms are crossed in each of them.

    Args:
        scenario: Says how.
        people: Its respondents, n rows.

    Returns:
        For each seat the person and the position of the arm in ``scenario.arms``: n seats in the order of people, or
        where arms are crossed as many for each person as there are arms.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> scenario = load_scenario("oil_price_fall", {"size": 3})
        >>> [seats.tolist() for seats in seat_people(scenario, draw_people(scenario))]
        [[0, 1, 2], [0, 0, 0]]
    """
    n, arms = len(people), len(scenario.arms)
    if scenario.assignment.kind == "crossed":
        return np.repeat(np.arange(n), arms), np.tile(np.arange(arms), n)
    by = scenario.assignment.by
    if by:
        odd = [name for name in by if name not in people]
        if odd:
            near = did_you_mean(odd[0], people.columns)
            raise ScenarioError(
                f"scenario {scenario.name}: assignment.by: people have no {odd[0]!r}{near} "
                f"Allowed: {', '.join(people.columns)}"
            )
        block = people.groupby(list(by), observed=True, sort=True, dropna=False).ngroup().to_numpy().astype(np.int64)
        shares = np.array([arm.share for arm in scenario.arms.values()])
        return np.arange(n), assign_in_blocks(scenario.rng("assignment"), block, shares / shares.sum())
    return np.arange(n), assign_arms(scenario)


def assign_in_blocks(
    rng: np.random.Generator, block: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Assign people to arms at random, each block in the shares of the arms as nearly as whole people allow.

    In every block an arm gets its share rounded down or up; who rounds up are the arms that are furthest behind over
    the blocks before, so that the arms meet their shares over all people too.

    Args:
        rng: Where the assignment comes from.
        block: (n,) the block of each person, from 0.
        shares: (arms,) which sum to 1.

    Returns:
        (n,) positions of arms.

    Example:
        >>> assign_in_blocks(np.random.default_rng(0), np.array([0, 0, 1, 1]), np.array([0.5, 0.5])).tolist()
        [1, 0, 0, 1]
    """
    arm = np.zeros(len(block), dtype=np.int64)
    behind = np.zeros(len(shares))
    for one in rng.permutation(int(block.max(initial=-1)) + 1):
        people = np.flatnonzero(block == one)
        wanted = shares * len(people)
        counts = np.floor(wanted + 1e-9).astype(np.int64)
        room = np.where(wanted - counts > 1e-9, behind + wanted - counts, -np.inf)
        most = np.lexsort((rng.random(len(shares)), -room))[: len(people) - counts.sum()]
        counts[most] += 1
        behind += wanted - counts
        arm[rng.permutation(people)] = np.repeat(np.arange(len(shares)), counts)
    return arm


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
