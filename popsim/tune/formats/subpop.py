"""Distributions by subpopulation, in the shape of SubPOP (Suh et al. 2025): JSONL.

A row has ``qkey``, ``attribute``, ``group``, ``question``, ``options``, ``ordinal`` (places; negative: no place),
``responses`` and ``refusal_rate``. A last option that is a refusal has no share among the responses and is left out.
"""

from collections.abc import Iterable
from pathlib import Path

from popsim.tune.formats.rows import jsonl_rows, need, write_jsonl
from popsim.tune.records import Item, Shares, as_number, make_shares, same_unit

REFUSED = "Refused"


def read_subpop(path: str | Path) -> list[Shares]:
    """Read distributions by subpopulation; the group reads ``attribute: group``.

    Args:
        path: The file.

    Raises:
        TuneError: A row has another shape, its shares sum to neither 1 nor 100, or rows differ in unit.
    """
    found, raw = [], []
    for where, row in jsonl_rows(Path(path)):
        options = [str(option) for option in need(row, "options", where)]
        values = [as_number(value, f"{where}: responses") for value in need(row, "responses", where)]
        places = [as_number(place, f"{where}: ordinal") for place in row.get("ordinal") or []]
        if options and options[-1].strip().rstrip(".").lower() == REFUSED.lower():
            keep = len(options) - 1
            options, values, places = options[:keep], values[:keep], places[:keep]
        scale = tuple(None if place < 0 else place for place in places)
        item = Item(str(need(row, "qkey", where)), str(need(row, "question", where)), tuple(options), scale)
        group = f"{need(row, 'attribute', where)}: {need(row, 'group', where)}"
        found.append(make_shares(group, item, values, where))
        raw.append((where, values))
    same_unit(raw)
    return found


def write_subpop(path: str | Path, records: Iterable[Shares]) -> None:
    """Write distributions by subpopulation, in shares.

    Args:
        path: The file.
        records: Distributions; a group ``attribute: group`` is taken apart.
    """
    rows = []
    for one in records:
        attribute, _, group = one.group.rpartition(": ")
        rows.append(
            {
                "qkey": one.item.name,
                "attribute": attribute,
                "group": group,
                "question": one.item.text,
                "options": list(one.item.options),
                "ordinal": [-1.0 if place is None else place for place in one.item.places],
                "responses": list(one.shares),
                "refusal_rate": 0.0,
            }
        )
    write_jsonl(Path(path), rows)
