"""Reading a population file."""

from pathlib import Path

from popsim.errors import PopulationError
from popsim.files import find_file, read_based, validate
from popsim.population.fit import fit_population
from popsim.population.respondents import bind_table
from popsim.population.spec import PopulationSpec


def load_population(name: str | Path, beside: Path | None = None) -> PopulationSpec:
    """Read a population from its file, and check that its margins fit together.

    Args:
        name: A path, or the name of a shipped population.
        beside: The folder of the scenario that names it.

    Raises:
        PopulationError: The file, a path in it, or a value is wrong, or margins contradict each other.

    Example:
        >>> load_population("us_adults_2018").unit
        'adults'
    """
    path = find_file(str(name), "populations", PopulationError, beside)
    spec = validate(PopulationSpec, read_based(path, "populations", PopulationError), str(path), PopulationError)
    if spec.from_table:
        return bind_table(spec, path)
    try:
        fit_population(spec)
    except PopulationError as problem:
        raise PopulationError(f"{path}: {problem}") from None
    return spec
