"""Distributions by country, in the shape of SimLLMCultureDist (Cao et al. 2025): a JSON list.

A row has ``id``, ``instruction`` (names the country), ``input`` (the question and a line that announces options),
``options`` (``(A)text``), ``options_dist`` (letter -> share or percent) and ``data_type``.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from popsim.errors import TuneError
from popsim.tune.formats.rows import json_rows, need, write_json
from popsim.tune.records import Item, Shares, as_number, make_shares, same_unit

COUNTRY = r"\b(?:from|in|来自)\s*(?P<group>.+?)\s*(?:answer\b|would\b|会|如何|[,?:：，？]|$)"
_OPTION = re.compile(r"\(?([A-Z])\)\s*(.*)", re.DOTALL)
_ANNOUNCED = re.compile(r"\s*Here are the options:\s*$")


def read_cultures(path: str | Path, group: str = COUNTRY) -> list[Shares]:
    """Read distributions by country.

    Args:
        path: The file.
        group: A regular expression that finds the group in the instruction, under the name ``group``.

    Raises:
        TuneError: A row has another shape, its shares sum to neither 1 nor 100, or rows differ in unit.
    """
    pattern, found = re.compile(group), []
    raw: list[tuple[str, list[float]]] = []
    for where, row in json_rows(Path(path)):
        named = pattern.search(str(need(row, "instruction", where)))
        if not named:
            raise TuneError(f"{where}: no group found in the instruction {str(row['instruction'])[:60]!r}; give group")
        cut = [_OPTION.fullmatch(str(option)) for option in need(row, "options", where)]
        if None in cut:
            raise TuneError(f"{where}: option {row['options'][cut.index(None)]!r} does not begin with a letter A to Z")
        letters = [one[1] for one in cut if one]
        given = need(row, "options_dist", where)
        if extra := sorted(set(given) - set(letters)):
            raise TuneError(f"{where}: a share for {extra[0]!r}, which is no option; options: {', '.join(letters)}")
        values = [as_number(given.get(letter, 0.0), f"{where}: option {letter}") for letter in letters]
        text = _ANNOUNCED.sub("", str(need(row, "input", where)))
        item = Item(str(need(row, "id", where)), text, tuple(one[2].strip() for one in cut if one))
        found.append(make_shares(named["group"], item, values, where, split=str(row.get("data_type", ""))))
        raw.append((where, values))
    same_unit(raw)
    return found


def write_cultures(path: str | Path, records: Iterable[Shares]) -> None:
    """Write distributions by country, in percent.

    Args:
        path: The file.
        records: Distributions.

    Raises:
        TuneError: A question has more than 26 options.
    """
    write_json(
        Path(path),
        (
            {
                "id": one.item.name,
                "instruction": f"How would someone from {one.group} answer this question:\n",
                "input": f"{one.item.text} \nHere are the options: \n",
                "options": [f"({x}){text}" for x, text in zip(one.item.letters, one.item.options, strict=True)],
                "options_dist": {x: 100 * share for x, share in zip(one.item.letters, one.shares, strict=True)},
                "data_type": one.split,
            }
            for one in records
        ),
    )
