"""What is drawn before a run begins: respondents, who follows whom, and who is in which arm."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from popsim.errors import ScenarioError
from popsim.network import build_network
from popsim.network.follow import column
from popsim.population import sample_people
from popsim.scenario import Scenario

_TINY = 1e-9


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
        values = [column(people, name, "assignment.by") for name in by]
        block = people.groupby(values, observed=True, dropna=False).ngroup().to_numpy().astype(np.int64)
        shares = np.array([arm.share for arm in scenario.arms.values()])
        return np.arange(n), assign_in_blocks(scenario.rng("assignment"), block, shares / shares.sum())
    return np.arange(n), assign_arms(scenario)


def assign_in_blocks(
    rng: np.random.Generator, block: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Assign people to arms at random, each block and all together in the shares of the arms.

    In every block, and over all people, an arm gets its share of them rounded down or up; everybody has the shares as
    their chances (controlled rounding, Cox 1987, "A constructive procedure for unbiased controlled rounding").

    Args:
        rng: Where the assignment comes from.
        block: (n,) the block of each person, from 0.
        shares: (arms,) which sum to 1.

    Returns:
        (n,) positions of arms.

    Example:
        >>> sorted(assign_in_blocks(np.random.default_rng(0), np.array([0, 1]), np.array([0.5, 0.5])).tolist())
        [0, 1]
    """
    sizes = np.bincount(block)
    counts = _rounded(rng, sizes[:, None] * shares)
    arm = np.zeros(len(block), dtype=np.int64)
    for one in range(len(sizes)):
        arm[rng.permutation(np.flatnonzero(block == one))] = np.repeat(np.arange(len(shares)), counts[one])
    return arm


def _rounded(rng: np.random.Generator, table: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round a table whose rows sum to whole numbers, so that every cell keeps its mean and every sum is rounded too."""
    whole = np.floor(table + _TINY)
    rest = np.clip(table - whole, 0, 1)
    rest = np.vstack([rest, -rest.sum(axis=0) % 1])
    while (cells := _cycle((rest > _TINY) & (rest < 1 - _TINY))) is not None:
        rows, columns = np.array(cells).T
        sign = np.where(np.arange(len(cells)) % 2, -1.0, 1.0)
        value = rest[rows, columns]
        up = np.where(sign > 0, 1 - value, value).min()
        down = np.where(sign > 0, value, 1 - value).min()
        rest[rows, columns] = value + sign * (up if rng.random() * (up + down) < down else -down)
    return np.asarray(whole + np.round(rest[:-1]), dtype=np.int64)


def _cycle(open_cells: NDArray[np.bool_]) -> list[tuple[int, int]] | None:
    """Find cells that go round, along a row and along a column in turn; every row and column has none or several."""
    first = np.argwhere(open_cells)[:1]
    if not len(first):
        return None
    row, column = (int(at) for at in first[0])
    cells, met = [(row, column)], [("column", column)]
    while True:
        along_row = len(cells) % 2 == 0
        line = open_cells[row] if along_row else open_cells[:, column]
        here = column if along_row else row
        other = int(next(at for at in np.flatnonzero(line) if at != here))
        row, column = (row, other) if along_row else (other, column)
        cells.append((row, column))
        node = ("column", column) if along_row else ("row", row)
        if node in met:
            return cells[met.index(node) + 1 :]
        met.append(node)


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
