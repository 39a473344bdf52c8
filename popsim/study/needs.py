"""What a scenario needs of an engine, checked before anything is written."""

from popsim.engines import Ability, Engine
from popsim.errors import EngineError
from popsim.scenario import Scenario


def needs(scenario: Scenario) -> dict[str, Ability]:
    """Name the settings of a scenario that not every engine can follow, each with the ability that it takes.

    Args:
        scenario: The study.

    Example:
        >>> from popsim.scenario import load_scenario
        >>> needs(load_scenario("oil_price_fall", {"sampling.structured": True}))
        {'sampling.structured': 'grammar'}
    """
    found: dict[str, Ability] = {}
    if scenario.sampling.structured:
        found["sampling.structured"] = "grammar"
    if scenario.engine.adapter:
        found["engine.adapter"] = "adapter"
    return found


def check_abilities(scenario: Scenario, engine: Engine) -> None:
    """Refuse to begin a study that its engine cannot carry out as the scenario says.

    Args:
        scenario: The study.
        engine: Who answers.

    Raises:
        EngineError: The engine lacks an ability; the message names the setting, the engine and what it can do.

    Example:
        >>> from popsim.engines import load_engine
        >>> from popsim.scenario import load_scenario
        >>> check_abilities(load_scenario("oil_price_fall", {"sampling": "model"}), load_engine("baseline"))
        Traceback (most recent call last):
        popsim.errors.EngineError: sampling: model: engine baseline/1 draws no tokens; take the setting out
    """
    if scenario.sampling.source == "model" and engine.reads == "facts":
        raise EngineError(f"sampling: model: engine {engine.fingerprint} draws no tokens; take the setting out")
    for setting, ability in needs(scenario).items():
        if ability not in engine.abilities:
            raise EngineError(
                f"{setting}: engine {engine.fingerprint} lacks the ability {ability!r} that this needs (it has: "
                f"{', '.join(sorted(engine.abilities)) or 'none'}); choose another engine, or take the setting out"
            )
