"""People in words: what fills the slots of a prompt, prepared once for all of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from popsim.errors import PopulationError
from popsim.population.spec import PopulationSpec
from popsim.population.tables import unknown
from popsim.slots import fill, slots_of


class Words:
    """The words of a population in one language.

    Every column is coded once, so that a person costs a few microseconds however many there are.

    Args:
        spec: The population.
        language: The language of the prompts.
        people: From `popsim.population.sample_people`.

    Attributes:
        columns: The columns that have words, in the order of the people.

    Raises:
        PopulationError: The population is not described in this language, or a description lacks a value.

    Example:
        >>> from popsim.population import load_population, sample_people
        >>> spec = load_population("us_adults_2018")
        >>> words = Words(spec, "zh", sample_people(spec, 10))
        >>> words.of(0)["in_power"]
        '共和党'
    """

    def __init__(self, spec: PopulationSpec, language: str, people: pd.DataFrame) -> None:
        if language not in spec.persona:
            languages = ", ".join(spec.persona) or "none"
            raise PopulationError(f"{spec.name}: has no persona in language {language!r}; it has: {languages}")
        self.columns = tuple(str(column) for column in people.columns)
        self._persona = spec.persona[language]
        said = spec.words.get(language, {})
        coded = [_coded(people[column]) for column in people.columns]
        self._codes = np.column_stack([codes for codes, _ in coded])
        self._values = [[*values, None] for _, values in coded]
        self._words = [
            [*(said.get(column, {}).get(str(value), _plain(value)) for value in values), ""]
            for column, (_, values) in zip(self.columns, coded, strict=True)
        ]
        self._nested = [
            (place, column)
            for place, column in enumerate(self.columns)
            if any(slots_of(word) for word in self._words[place])
        ]
        self._check_missing(spec.name)

    def __len__(self) -> int:
        """Count the people."""
        return len(self._codes)

    def of(self, row: int) -> dict[str, str]:
        """Give a person's words by column; a value that does not apply has none."""
        codes = self._codes[row].tolist()
        words = {name: said[code] for name, said, code in zip(self.columns, self._words, codes, strict=True)}
        for place, name in self._nested:
            words[name] = fill(self._words[place][codes[place]], words)
        return words

    def person(self, row: int) -> dict[str, Any]:
        """Give a person's plain values by column; a value that does not apply is None."""
        codes = self._codes[row].tolist()
        return {name: values[code] for name, values, code in zip(self.columns, self._values, codes, strict=True)}

    def describe(self, words: Mapping[str, str]) -> str:
        """Write the description of a person, in the second person, from their words."""
        return fill(self._persona, words)

    def _check_missing(self, name: str) -> None:
        """Refuse a description with a hole in it."""
        place_of = {column: place for place, column in enumerate(self.columns)}
        used: list[tuple[str, np.ndarray]] = [(slot, np.ones(len(self), bool)) for slot in slots_of(self._persona)]
        for place, _ in self._nested:
            for code, word in enumerate(self._words[place]):
                used += [(slot, self._codes[:, place] == code) for slot in slots_of(word)]
        for slot, rows in used:
            if slot not in place_of:
                raise PopulationError(f"{name}: persona: {unknown('column', slot, self.columns)}")
            holes = np.flatnonzero(rows & (self._codes[:, place_of[slot]] < 0))
            if len(holes):
                raise PopulationError(
                    f"{name}: person {holes[0]} has no {slot}, which their description needs ({len(holes)} such people)"
                )


def _coded(column: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """Give one code per person, -1 for missing, and the plain value of each code."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy().astype(np.int32), [str(level) for level in column.cat.categories]
    codes, values = pd.factorize(column)
    return codes.astype(np.int32), values.tolist()


def _plain(value: Any) -> str:
    """Write a value without decoration; whole numbers without a decimal point."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)
