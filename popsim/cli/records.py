"""popsim compare on files of human answers: what a model predicts of each, beside baselines without one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from popsim.cli.printing import err, out, print_table, print_text, progress_bar
from popsim.cli.reporting import PICTURES, need
from popsim.errors import RunError

if TYPE_CHECKING:
    from popsim.tune.benchmark.field import Benchmark

_SAME = ("task", "part", "split", "groups", "orders", "rules", "seed", "draws")
"""What two benchmarks share whose scores can stand side by side, beside the file of held-out answers."""

_CONTROLS = ("shuffled options", "shuffled personas", "swapped groups")


def is_of_records(names: Sequence[str]) -> bool:
    """Tell whether what popsim compare is given is a benchmark's file, or folders of answered ones.

    Args:
        names: Paths.

    Example:
        >>> is_of_records(["runs/oil_price_fall"])
        False
    """
    from popsim.tune.benchmark.config import is_benchmark

    return any(is_benchmark(name) or _is_answered(Path(name)) for name in names)


def _is_answered(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return "benchmark" in manifest["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def compare_records(
    names: Sequence[str],
    engine: str | None,
    judge: str | None,
    out_folder: Path | None,
    cache: Path | None,
    *,
    as_json: bool,
    folders: Mapping[str, Path | None],
) -> None:
    """Field a benchmark and print its scores, or set answered ones side by side.

    Args:
        names: One benchmark's file, or folders.
        engine: Who answers, instead of the file's engine.
        judge: Who scores interviews, instead of the file's.
        out_folder: Where replies, predictions and scores go.
        cache: A file of replies that runs share.
        as_json: Print JSON instead of tables.
        folders: Of ``tables`` as CSV and of ``figures`` as SVG, PNG and PDF; None: none.

    Raises:
        RunError: Files and folders are mixed, or folders hold benchmarks of other data.
    """
    if folders["figures"] is not None:
        need("popsim compare --figures", PICTURES)
    from popsim.tune.benchmark.config import load_benchmark
    from popsim.tune.benchmark.field import default_folder, field, load_benchmark_folder

    if all(_is_answered(Path(name)) for name in names):
        if engine or judge or out_folder:
            raise RunError("--engine, --judge and --out go with a benchmark's file; folders are answered already")
        found = [load_benchmark_folder(name) for name in names]
        _check_same(found)
    elif len(names) == 1:
        config = load_benchmark(names[0], engine, judge)
        with progress_bar() as tell:
            folder = out_folder or default_folder(config)
            found = [field(config, folder, progress=tell, cache=cache)]
    else:
        raise RunError(
            f"{', '.join(names)}: give one benchmark's file to be answered, or folders of answered ones to be compared"
        )
    scores = _side_by_side(found)
    if (tables := folders["tables"]) is not None:
        _write(found, scores, tables)
    if (figures := folders["figures"]) is not None:
        _draw(found, figures)
    if as_json:
        about = [{"folder": str(one.folder), **one.manifest} for one in found]
        typer.echo(json.dumps({"scores": json.loads(scores.to_json(orient="records")), "benchmarks": about}, indent=1))
        return
    _print(found, scores)


def _check_same(found: Sequence["Benchmark"]) -> None:
    first = found[0]
    for one in found[1:]:
        for key in ("data", *_SAME):
            mine, theirs = (_part(x, key) for x in (first, one))
            if mine != theirs:
                raise RunError(f"{one.folder}: {key} differs from that of {first.folder}; compare what scores the same")


def _part(one: "Benchmark", key: str) -> Any:
    identity = one.manifest["identity"]
    return identity["files"]["data"] if key == "data" else identity["benchmark"].get(key)


def _side_by_side(found: Sequence["Benchmark"]) -> Any:
    """Lay out the models, of two their difference, and what stands beside the first; controls stay with their model."""
    scores = found[0].scores
    if len(found) == 1:
        return scores
    by_score = [one.scores.set_index("score") for one in found]
    merged = by_score[0][["better"]].copy()
    for name, figures in zip(_names(found), by_score, strict=True):
        merged[name], merged[f"s.e. {name}"] = figures["model"], figures["s.e."]
    if len(found) == 2:
        merged["difference"] = by_score[1]["model"] - by_score[0]["model"]
        merged["s.e. difference"] = _paired(*found)
    own = ["model", *_CONTROLS]
    beside = [name for name in by_score[0] if name not in ("better", "s.e.", *own, *(f"s.e. {x}" for x in own))]
    for other in beside:
        merged[f"{other} (baseline)" if other in merged else other] = by_score[0][other]
    return merged.reset_index()


def _names(found: Sequence["Benchmark"]) -> list[str]:
    """Name folders, by their whole path where two have one name."""
    short = [one.folder.name for one in found]
    return [
        name if short.count(name) == 1 and name != "better" else str(one.folder)
        for name, one in zip(short, found, strict=True)
    ]


def _paired(first: "Benchmark", second: "Benchmark") -> Any:
    """Give the standard error of the difference of each score, from the blocks that both left out."""
    from popsim.tune.benchmark.blocks import standard_error

    theirs, ours = (one.blocks.set_index(["score", "block"])["value"] for one in (first, second))
    return (ours - theirs).groupby("score").agg(standard_error)


def _write(found: Sequence["Benchmark"], scores: Any, tables: Path) -> None:
    import pandas as pd

    tables.mkdir(parents=True, exist_ok=True)
    scores.to_csv(tables / "scores.csv", index=False)
    for one in found:
        for name in ("predictions", "distributions", "temperatures"):
            path = one.folder / f"{name}.parquet"
            if path.is_file():
                before = f"{one.folder.name}-" if len(found) > 1 else ""
                pd.read_parquet(path).to_csv(tables / f"{before}{name}.csv", index=False)


def _draw(found: Sequence["Benchmark"], folder: Path) -> None:
    """Draw every picture that the folders have the data for."""
    from popsim.report.benchmarks import Answered, benchmark_figures
    from popsim.report.style import save_sizes

    names = _names(found)
    answered = [
        Answered(name, one.scores, one.temperatures, one.manifest.get("learned"))
        for name, one in zip(names, found, strict=True)
    ]
    drawn = benchmark_figures(answered)
    for name, figure in drawn.items():
        save_sizes(figure.chart, folder / name)
    what = "adapters tuned on different amounts of data, or numbers with readout: choice"
    err.print(
        f"Pictures in {folder}: {', '.join(drawn)}" if drawn else f"No pictures: they are of {what}", soft_wrap=True
    )


def _print(found: Sequence["Benchmark"], scores: Any) -> None:
    for one in found:
        benchmark, counts = one.manifest["identity"]["benchmark"], one.manifest["counts"]
        left_out = sum(counts["left_out"].values())
        beside = f"; {left_out} rows without a readable answer of people are left out" if left_out else ""
        print_text(
            f"{one.folder}: {benchmark['task']}, {counts['records']:,} held out, {counts['known']:,} known{beside}"
        )
        for who, statuses in counts["statuses"].items():
            print_text(f"  {who}: {_counted(statuses)}")
        for who, read in counts["verdicts"].items():
            print_text(f"  verdicts on {who}: {read['read']:,} of {read['asked']:,} could be read")
    if len(scores):
        name = found[0].manifest["identity"]["benchmark"]["name"]
        print_table(_bracketed(scores), f"{name}: scores, in brackets their standard errors")
    for one in found:
        if len(one.temperatures):
            marked = one.temperatures["frontier"].map({True: "yes", False: ""})
            heading = f"{one.folder}: KL of the population against RMSE of persons, by temperature"
            print_table(_bracketed(one.temperatures.assign(frontier=marked)), heading)
    if len({one.manifest["identity"]["files"].get("known") for one in found}) > 1:
        print_text(f"Known answers differ: the baselines are those of {found[0].folder}.")
    for note in dict.fromkeys(note for one in found for note in one.manifest["notes"]):
        print_text(f"{note}.")
    for notice in dict.fromkeys(one.manifest["engine"]["notice"] for one in found):
        print_text(notice)
    for one in found:
        out.print(f"Written to {one.folder}")
        if not one.manifest["counts"]["statuses"]["model"].get("ok"):
            err.print(f"popsim: {one.folder}: none of the model's answers could be read", soft_wrap=True)
        verdicts = one.manifest["counts"]["verdicts"].values()
        if verdicts and not any(said["read"] for said in verdicts):
            err.print(f"popsim: {one.folder}: none of the judge's verdicts could be read", soft_wrap=True)


def _bracketed(table: Any) -> Any:
    """Put standard errors into brackets behind what they belong to."""
    shown = table[[name for name in table if not name.startswith("s.e.")]].copy()
    for name in shown:
        error = next((one for one in (f"s.e. {name}", "s.e." if name == "model" else "") if one in table), "")
        if error:
            pairs = zip(table[name], table[error], strict=True)
            shown[name] = [_number(value) + (f" ({_number(one)})" if one == one else "") for value, one in pairs]
    return shown


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"


def _counted(statuses: dict[str, int]) -> str:
    total = sum(statuses.values())
    parts = [f"{count:,} {status} ({count / total:.1%})" for status, count in sorted(statuses.items())]
    return ", ".join(parts)
