"""popsim compare: simulated answers beside human figures, for a reader in a window of 120 columns."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popsim.cli.auditing import print_findings
from popsim.cli.learning import print_learning
from popsim.cli.planning import print_planned
from popsim.cli.printing import out, print_table, print_text
from popsim.cli.records import compare_records, is_of_records
from popsim.cli.studies import CacheOption
from popsim.errors import RunError

if TYPE_CHECKING:
    from popsim.evaluate import Comparison
    from popsim.study.auditing import Findings
    from popsim.study.planned import Planned

_STATISTIC = {"trimmed_sd": "trimmed SD", "sd": "SD", "joint_share": "share"}
_ARM = {"pooled_reversed": "pooled", "contrast": "both"}
_COMPARED = ("targets", "effects", "contrasts", "distances", "joint")
_AUDITED = ("ratios", "parts", "warnings", "failures", "bounds", "channels", "subgroups", "held")
_PLANNED = ("contrasts", "models")
_PAIR = " and "
_SHOWN = {"ordinal EMD": "EMD", "total variation": "TV", "Wasserstein-1": "Wasserstein-1", "KS": "KS"}


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Run or sweep folders, whose arms and groups are put together; then, unless their scenarios name "
            "some, files of human figures, by path or shipped name. Or the file of a benchmark, to be answered and "
            "scored (docs/seeds.md), or folders of answered ones."
        ),
    ],
    wave: Annotated[int, typer.Option(help="Which fielding of the questionnaire.", min=0)] = 0,
    draws: Annotated[int, typer.Option(help="Resamples behind the intervals.", min=50)] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    tables: Annotated[
        Path | None,
        typer.Option(help="A folder for all tables as CSV, and regressions of answers on who people are."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Of benchmarks: a folder for pictures, as SVG, PNG and PDF, 90 and 190 mm wide.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="Of a benchmark: who answers, instead of its file's.")] = None,
    judge: Annotated[str | None, typer.Option(help="Of a benchmark: the engine that scores interviews.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Of a benchmark: its folder.")] = None,
    cache: CacheOption = None,
) -> None:
    """Set simulated answers beside human figures, with a verdict, intervals and reference lines."""
    if is_of_records(runs):
        wanted = {"tables": tables, "figures": figures}
        compare_records(runs, engine, judge, out_folder, cache, as_json=as_json, folders=wanted)
        return
    if engine or judge or out_folder or figures:
        what = "is no benchmark (kind: benchmark)" if Path(runs[0]).exists() else "no such file"
        hint = "; pictures of a run: popsim report RUN --figures FOLDER" if figures else ""
        raise RunError(f"{runs[0]}: {what}; --engine, --judge, --out and --figures go with one{hint}")
    from popsim.study import compare as compare_runs
    from popsim.study import load_run
    from popsim.study.auditing import examine, regressions
    from popsim.study.comparing import runs_of
    from popsim.study.learning import learning
    from popsim.study.planned import planned

    folders = [name for name in runs if Path(name).is_dir()]
    if not folders:
        what = "is no Run folder" if Path(runs[0]).exists() else "no such file or folder"
        raise RunError(f"{runs[0]}: {what}; give Run folders, which popsim run makes, or the file of a benchmark")
    loaded = [load_run(folder) for folder in folders]
    targets = [name for name in runs if name not in folders]
    whole = [one for run in loaded for one in runs_of(run)]
    rates = learning(*whole)
    cached = sum(run.manifest.get("counts", {}).get("from_cache") or 0 for run in whole)
    if len(rates) and not as_json:
        print_learning(rates)
    plans = planned(*loaded, wave=wave, draws=draws)
    own = {"learning": rates, **_tables(plans, _PLANNED, "planned_")}
    if not targets and not any(one.scenario.targets for one in whole) and (len(rates) or any(plans.records)):
        if as_json:
            typer.echo(json.dumps(_own(own, plans), indent=1, ensure_ascii=False))
        elif any(plans.records):
            print_planned(plans, cached)
        if tables is not None:
            _write(own | {"regressions": regressions(*loaded, wave=wave)}, tables)
        return
    found = compare_runs(*loaded, targets=targets, wave=wave, draws=draws)
    findings = examine(*loaded, targets=targets, wave=wave)
    if tables is not None:
        human = {**_tables(found, _COMPARED), **_tables(findings, _AUDITED)}
        _write(human | own | {"regressions": regressions(*loaded, wave=wave)}, tables)
    if as_json:
        typer.echo(_as_json(found, findings, own, plans))
        return
    _print(found)
    print_findings(findings, found.fitted)
    print_planned(plans, cached)
    for notice in dict.fromkeys(run.manifest["engine"]["notice"] for run in loaded if "engine" in run.manifest):
        print_text(notice, "")


def _write(tables: dict[str, Any], folder: Path) -> None:
    """Write tables as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def _tables(holder: Any, names: Sequence[str], before: str = "") -> dict[str, Any]:
    return {f"{before}{name}": getattr(holder, name) for name in names}


def _as_json(found: "Comparison", findings: "Findings", own: dict[str, Any], plans: "Planned") -> str:
    """Give every table as a list of rows, and what is said of them."""
    human = _rows({**_tables(found, _COMPARED), **_tables(findings, _AUDITED)})
    about = {"fitted": found.fitted, "left_out": found.left_out, "intervals": found.intervals}
    return json.dumps({**_own(own, plans), **human, **about}, indent=1, ensure_ascii=False)


def _own(own: dict[str, Any], plans: "Planned") -> dict[str, Any]:
    """Give what is said of runs alone as lists of rows: learning rates, and what was planned."""
    return {**_rows(own), "plans": [record for record in plans.records if record], "notes": list(plans.notes)}


def _rows(tables: dict[str, Any]) -> dict[str, Any]:
    return {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}


def _print(found: "Comparison") -> None:
    from popsim.report.findings import contrast_lines, effects_table

    for (group, vignette), here in found.targets.groupby(["group", "vignette"], sort=False):
        sizes = f"{here['n'].min():,} to {here['n'].max():,}" if here["n"].nunique() > 1 else f"{here['n'].min():,}"
        shown = _one_column(here) if here["column"].nunique() == 1 else _columns(here)
        heading = _headed(here["column"].iloc[0], found) if here["column"].nunique() == 1 else "all columns"
        print_table(shown, f"{vignette}, {group}: {heading}, n = {sizes}")
    if len(found.effects):
        print_table(effects_table(found.effects), "Effects of one arm against another")
        for line in contrast_lines(found.contrasts):
            print_text(f"  {line}", "    ")
    for group, here in found.distances.groupby("group", sort=False):
        print_table(_distances(here), f"{group!s}: distance to the human distribution, and that of reference lines")
    out.print()
    for line in _closing(found):
        print_text(line, "")


def _headed(column: str, found: "Comparison") -> str:
    return f"{column} (fitted to these targets, so not judged)" if column in found.fitted else column


def _one_column(here: Any) -> Any:
    """Lay out one column of runs: a row per figure, its verdict before its z."""
    import pandas as pd

    rows: list[dict[str, str]] = []
    for outcome, these in here.groupby("outcome", sort=False):
        rows.append({"figure": outcome})
        for row in these.itertuples():
            judged = {"margin": _number(row, row.margin).strip(), "verdict": row.verdict} if row.verdict else {}
            holm = {"Holm p": f"{row.holm_p:.3f}" if row.holm_p == row.holm_p else ""} if judged else {}
            rows.append(
                {
                    **_human(row),
                    "model": _number(row, row.simulated),
                    "95% interval": _interval(row),
                    "gap": _number(row, row.gap, sign=True),
                    **judged,
                    "z": _z(row.z),
                    **holm,
                    "transfer": _number(row, row.transfer),
                    "plan": _mark(row),
                }
            )
    return pd.DataFrame(rows).fillna("")


def _mark(row: Any) -> str:
    """Mark what was planned; nothing marks the rest, so that there is no column where nothing was."""
    return "planned" if row.plan == "planned" else ""


def _columns(here: Any) -> Any:
    """Lay out several columns of runs side by side, and how far they lie apart."""
    import pandas as pd

    rows: list[dict[str, str]] = []
    for outcome, of_outcome in here.groupby("outcome", sort=False):
        rows.append({"figure": outcome})
        for _, these in of_outcome.groupby(["arm", "statistic", "of"], sort=False):
            first = next(these.itertuples())
            shown = _human(first)
            for row in these.itertuples():
                head = row.column if row.verdict else f"{row.column}\n(fitted to\nthese targets)"
                said = row.verdict or f"z {_z(row.z).strip()}"
                shown[head] = f"{_number(row, row.simulated)} {said}{', planned' if _mark(row) else ''}"
            band = f"{_number(first, first.band_low)} to {_number(first, first.band_high).strip()}"
            rows.append({**shown, "all columns": band, "transfer": _number(first, first.transfer)})
    return pd.DataFrame(rows).fillna("")


def _human(row: Any) -> dict[str, str]:
    """Name a figure and give the human one."""
    of = row.of.replace("both_", "both ").replace("_", "/")
    figure = f"{_STATISTIC.get(row.statistic, row.statistic)} {of}".strip()
    arm = _ARM.get(row.arm, row.arm)
    return {
        "figure": f"  {arm}: {figure}",
        "human": _number(row, row.human),
        "s.e.": _number(row, row.human_se).strip(),
    }


def _number(row: Any, value: float, sign: bool = False) -> str:
    """Write a figure in its own unit: shares in per cent."""
    if value != value:
        return ""
    plus = "+" if sign else ""
    if "share" in row.statistic:
        return f"{round(100 * value, 1) + 0.0:{plus}5.1f}%"
    return f"{round(value, 3) + 0.0:{plus}6.3f}"


def _z(value: float) -> str:
    return "" if value != value else f"{round(value, 1) + 0.0:5.1f}"


def _interval(row: Any) -> str:
    if row.low != row.low:
        return "none"
    low, high = (_number(row, end).strip().removesuffix("%") for end in (row.low, row.high))
    return f"{low} to {high}"


def _distances(distances: Any) -> Any:
    """Show the distance that is read most of each distribution, all columns side by side; JSON holds the others."""
    import pandas as pd

    from popsim.report.findings import without_constant

    cell = ["vignette", "outcome", "arm"]
    ordered = pd.MultiIndex.from_frame(distances.loc[distances["distance"].eq("ordinal EMD"), cell])
    twice = distances["distance"].eq("total variation") & pd.MultiIndex.from_frame(distances[cell]).isin(ordered)
    distances = distances[distances["distance"].isin(_SHOWN) & ~twice].drop(columns=["file", "group"])
    figure = [name for name in distances if name not in ("column", "simulated")]
    labels = list(dict.fromkeys(distances["column"]))
    wide = distances.pivot(index=figure, columns="column", values="simulated")[labels]
    shown = wide.reindex(pd.MultiIndex.from_frame(distances[figure].drop_duplicates())).reset_index()
    shown = shown[[*cell, "distance", *labels, *figure[len(cell) + 1 :]]]
    for line in shown.select_dtypes("number"):
        shown[line] = ["" if value != value else f"{value:.3f}" for value in shown[line]]
    named = {"arm": _ARM, "distance": _SHOWN}
    shown["outcome"] = ["both" if _PAIR in outcome else outcome for outcome in shown["outcome"]]
    shown = shown.replace(named).rename(columns=lambda name: name.replace("_", " "))
    return without_constant(shown, "arm")


def _closing(found: "Comparison") -> Iterator[str]:
    """Say what the tables hold together, and what they do not say."""
    from popsim.report.findings import correlation_lines, joint_lines

    yield from correlation_lines(found.targets)
    yield from joint_lines(found.joint, found.fitted)
    if found.left_out:
        lacks = "; ".join(f"{count} ({what})" for what, count in found.left_out.items())
        yield f"Left out, {sum(found.left_out.values())} targets that do not apply to these runs: {lacks}"
    if len(found.distances):
        yield (
            "Distances are 0 between equal distributions. EMD: moves along fall, same, rise, from end to end 1. "
            "TV: the share of respondents who would have to answer otherwise. pooled margin: the same answer to every "
            "vignette or arm. floor: another sample of as many humans."
        )
    yield found.intervals
    if set(found.targets.get("column", ())) - set(found.fitted):
        yield (
            "Verdict: inside where the gap is shown to be below the margin by two one-sided tests at 5 %, outside "
            "where it is shown to be above, else undecided. Margin: 0.2 human SD, 5 points of a share, unless a "
            "plan or a target sets its own. Holm p: of no gap at all, adjusted for the figures of the same family, "
            "those planned apart from the others."
        )
    yield (
        "transfer: the same figure of the other vignettes, turned by textbook signs. pooled: the mean of the arms, "
        "some reversed as the target says. Shares in %; fall/rise: the first outcome falls and the second rises."
    )
