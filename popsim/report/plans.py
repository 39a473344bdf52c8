"""What is said of a plan: whether it was frozen, what it holds, how it was edited; the same in every place."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
UNPLANNED = "No plan was frozen before these answers (popsim run --freeze), so everything here is exploratory."
_LONGEST = 80


def status(records: Sequence[Record | None], cached: int = 0) -> list[str]:
    """Say of runs whether their plans were frozen before the answers, and what was edited since.

    Args:
        records: What the manifest of each run keeps of its plan.
        cached: How many replies came from a cache, so that they may be older than a plan.

    Returns:
        Sentences; one where no plan was frozen.

    Example:
        >>> status([None])
        ['No plan was frozen before these answers (popsim run --freeze), so everything here is exploratory.']
    """
    frozen = [record for record in records if record and record["frozen"]]
    if not frozen:
        return [UNPLANNED]
    plans = {record["sha256"]: record for record in frozen}
    said = [_frozen(record) for record in plans.values()]
    for record in plans.values():
        said += [
            f"By the start of {_day(edit['when'])} the plan had been {_edit(edit['changes'])}"
            for edit in record["edits"]
        ]
    said.append("What is marked planned was decided then, and everything else is exploratory.")
    if len(frozen) < len(records):
        said.append(
            f"{len(records) - len(frozen)} of {len(records)} runs were not frozen; what rests on them is exploratory."
        )
    if cached:
        said.append(f"{cached:,} replies came from a cache and may be older than the plan.")
    return said


def contents(record: Record) -> Iterator[tuple[str, str]]:
    """List what a plan holds, as names and words.

    Args:
        record: What a manifest keeps of it.
    """
    for name, words in _contents(record["analysis"]):
        if words:
            yield name, words


def _contents(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Primary outcomes", f"{', '.join(plan['outcomes'])}; of these {', '.join(plan['statistics'])}"
    yield "Fielding", f"wave {plan['wave']}" if plan["wave"] else ""
    yield "Margins", ", ".join(f"{name} {margin:g}" for name, margin in plan["margins"].items())
    for name, contrast in plan["contrasts"].items():
        yield f"Contrast {name}", _words(contrast)
    yield "Left out", "; ".join(_left_out(plan["exclude"]))
    for name, model in plan["models"].items():
        yield f"Model {name}", _words(model)
    yield "Templates", ", ".join(plan["templates"])
    yield "Wordings", ", ".join(plan["wordings"])


def leaves_out(manifest: Mapping[str, Any]) -> bool:
    """Say whether the plan of a run leaves answers out."""
    record = manifest.get("plan")
    return record is not None and any(_left_out(record["analysis"]["exclude"]))


def _left_out(rules: Mapping[str, Any]) -> Iterator[str]:
    if rules["failed"]:
        yield "respondents with an answer that could not be read"
    if rules["recall"]:
        yield "respondents whose reply has no recall"
    for condition in rules["unless"]:
        yield f"respondents but for those of whom {_words(condition)}"
    for name, (low, high) in rules["outside"].items():
        yield f"answers outside {low:g} to {high:g}: {name}"
    for name, share in rules["trim"].items():
        yield f"{share:.2%} of the ranks from either end in each arm: {name}"


def _frozen(record: Record) -> str:
    return f"The plan was frozen on {_day(record['frozen'])}, before the first answer (SHA-256 {record['sha256']})."


def _day(when: str) -> str:
    return when.replace("T", " ").replace("+00:00", " UTC")


def _edit(changes: Sequence[Sequence[Any]]) -> str:
    if not changes:
        return "put back to what was frozen."
    listed = "; ".join(f"{path} {_change(old, new)}" for path, old, new in changes)
    return f"edited, but what was frozen stands: {listed}."


def _change(old: Any, new: Any) -> str:
    if old is None:
        return f"({_brief(new)}) was added"
    return f"({_brief(old)}) was taken out" if new is None else f"from {_brief(old)} to {_brief(new)}"


def _brief(value: Any) -> str:
    said = _words(value)
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def of_manifest(manifest: Mapping[str, Any]) -> list[str]:
    """Say the same of one run or one sweep (`status`)."""
    counts = manifest.get("counts", {})
    by_engine = [counts] if "prompts" in counts else counts.values()
    return status([manifest.get("plan")], sum(found.get("from_cache") or 0 for found in by_engine))


def _words(value: Any) -> str:
    """Write plain data as words, leaving out what says nothing.

    Example:
        >>> _words({"outcome": "inflation", "of": "", "between": {"arm": ["rise", "fall"]}, "against": 0.0})
        'outcome inflation, between (arm rise, fall), against 0'
    """
    if isinstance(value, Mapping):
        says_nothing = [name for name, one in value.items() if one is None or one is False or one in ("", [], {})]
        kept = {name: one for name, one in value.items() if name not in says_nothing}
        return ", ".join(
            name
            if one is True
            else f"{name.replace('_', ' ')} {f'({_words(one)})' if isinstance(one, dict) else _words(one)}"
            for name, one in kept.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(f"({_words(one)})" if isinstance(one, dict) else _words(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
