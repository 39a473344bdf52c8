"""What scenarios need of an engine, checked before anything is written."""

from collections.abc import Sequence

from popsim.engines import Engine, require
from popsim.engines.readout import measured
from popsim.errors import EngineError
from popsim.scenario import Point, Scenario


def equipped(engine: Engine, scenarios: Sequence[Scenario]) -> Engine:
    """Give an engine that carries out studies as they say: itself, or itself with readouts measured.

    Args:
        engine: Who answers.
        scenarios: The studies.

    Raises:
        EngineError: The engine lacks an ability; the message names the setting, the engine and what it can do.

    Example:
        >>> from popsim.engines import load_engine
        >>> from popsim.scenario import load_scenario
        >>> equipped(load_engine("baseline"), [load_scenario("oil_price_fall", {"sampling": "model"})])
        Traceback (most recent call last):
        popsim.errors.EngineError: sampling: model: engine baseline/1 draws no tokens; take the setting out
    """
    for scenario in scenarios:
        if scenario.sampling.source == "model" and engine.reads == "facts":
            raise EngineError(f"sampling: model: engine {engine.fingerprint} draws no tokens; take the setting out")
        if scenario.sampling.structured:
            require(engine, "sampling.structured", "grammar")
        if scenario.engine.adapter:
            require(engine, "engine.adapter", "adapter")
    return measured(engine, [scenario.readout.kind for scenario in scenarios])


def by_engine(points: Sequence[Point]) -> dict[str, list[Scenario]]:
    """Group the scenarios of points by `engine_key`.

    Args:
        points: From `popsim.scenario.sweep_points`.
    """
    groups: dict[str, list[Scenario]] = {}
    for point in points:
        groups.setdefault(engine_key(point.scenario), []).append(point.scenario)
    return groups


def engine_key(scenario: Scenario) -> str:
    """Name all that a scenario says of its engine."""
    return scenario.engine.model_dump_json()
