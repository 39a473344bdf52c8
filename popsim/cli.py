"""The command line: each command is a public function plus printing."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from popsim.errors import PopsimError, PopulationError, ScenarioError, SurveyError
from popsim.files import Shelf, find_file, read_yaml, shipped, write_whole
from popsim.slots import did_you_mean

app = typer.Typer(
    help="How would this population answer this survey?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

ScenarioArgument = Annotated[str, typer.Argument(help="A scenario file, or the name of a shipped scenario.")]
EngineOption = Annotated[str | None, typer.Option(help="NAME[:MODEL][@URL] instead of the scenario's engine.")]
SizeOption = Annotated[int | None, typer.Option(help="Number of respondents instead of the scenario's.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed instead of the scenario's.")]

WorkersOption = Annotated[int | None, typer.Option(help="Ray workers that load the engine; 1 is this process.")]
AddressOption = Annotated[str, typer.Option(help="HOST:PORT of a Ray cluster for the workers, or auto.")]

SHELVES: tuple[Shelf, ...] = ("scenarios", "scenarios/questionnaires", "populations")


@app.command()
def run(
    scenario: ScenarioArgument,
    engine: EngineOption = None,
    size: SizeOption = None,
    seed: SeedOption = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="The Run folder; made from the study's name unless given.")
    ] = None,
    workers: WorkersOption = None,
    ray_address: AddressOption = "",
) -> None:
    """Field a study and write its Run folder; the same command again continues where it stopped."""
    from popsim import study
    from popsim.scenario import load_scenario

    loaded = load_scenario(scenario, _overrides(engine, size, seed))
    with _progress_bar() as tell:
        done = study.run(loaded, out_folder, progress=tell, workers=workers, ray_address=ray_address)
    _print_run(done)


@app.command()
def sweep(
    scenario: ScenarioArgument,
    out_folder: Annotated[Path, typer.Option("--out", help="The sweep folder.")],
    engine: EngineOption = None,
    size: SizeOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    ray_address: AddressOption = "",
) -> None:
    """Field every point and replicate of the scenario's sweep, pooled into shared engine calls."""
    from popsim import study
    from popsim.scenario import load_scenario, sweep_points

    overrides = _overrides(engine, size, seed)
    base = load_scenario(scenario, overrides)
    points = list(sweep_points(scenario, overrides))
    if points[0].values == {}:
        raise ScenarioError(
            f"{scenario}: has nothing under sweep; write paths and values to scan there, or use popsim run"
        )
    with _progress_bar() as tell:
        answers = study.sweep(
            points, base.replicates, out_folder, progress=tell, workers=workers, ray_address=ray_address
        )
    paths = list(points[0].values)
    numbers = answers[answers["status"].eq("ok") & answers["value"].notna()]
    means = numbers.groupby([*paths, "arm", "question"], sort=False, observed=True)["value"].agg(
        ["mean", "std", "count"]
    )
    _print_table(means.reset_index(), f"{len(points)} points, {base.replicates} replicates: mean answers")
    _print_notices(json.loads((out_folder / "manifest.json").read_text(encoding="utf-8")), out_folder)


@app.command()
def show(
    scenario: ScenarioArgument,
    people: Annotated[int, typer.Option(help="How many respondents.", min=1)] = 1,
    arm: Annotated[str | None, typer.Option(help="Only respondents of this arm.")] = None,
    size: SizeOption = None,
    seed: SeedOption = None,
) -> None:
    """Print whole prompts and ask nobody."""
    from popsim.model import PopulationModel
    from popsim.scenario import load_scenario

    loaded = load_scenario(scenario, _overrides(None, size, seed))
    if arm is not None and arm not in loaded.arms:
        allowed = ", ".join(loaded.arms)
        raise ScenarioError(f"--arm {arm}: no arm of {loaded.name}{did_you_mean(arm, loaded.arms)} Allowed: {allowed}")
    prompts = next(PopulationModel(loaded).waves())
    names = list(loaded.arms)
    shown = [i for i in range(len(prompts)) if arm is None or names[prompts.arm[i]] == arm][:people]
    for i in shown:
        out.print(f"=== person {prompts.person[i]}, arm {names[prompts.arm[i]]}, seed {prompts.seed(i)} ===")
        for role, text in prompts[i].messages:
            out.print(f"[{role}]\n{text}\n")


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(help="Scenario, questionnaire or population files, or shipped names.")],
) -> None:
    """Read files and say what is wrong with them: file, path in it, value, what is allowed."""
    problems = 0
    for name in files:
        try:
            out.print(f"{name}: {_check(name)}")
        except PopsimError as problem:
            problems += 1
            err.print(f"popsim: {problem}", soft_wrap=True)
    if problems:
        raise typer.Exit(2)


@app.command()
def people(
    spec: Annotated[str, typer.Argument(help="A population file, or the name of a shipped population.")],
    size: Annotated[int, typer.Option(help="Number of respondents.")],
    out_file: Annotated[Path, typer.Option("--out", help="A .parquet or .csv file.")],
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Draw a population and print how well each margin is met."""
    from popsim.population import load_population, margin_report, sample_people

    if out_file.suffix not in (".parquet", ".csv"):
        raise PopulationError(f"--out {out_file}: ends in {out_file.suffix or 'nothing'}; allowed: .parquet, .csv")
    loaded = load_population(spec)
    drawn = sample_people(loaded, size, seed)
    table = drawn.rename_axis("person").reset_index()
    save = table.to_parquet if out_file.suffix == ".parquet" else table.to_csv
    write_whole(out_file, lambda to: save(to, index=False))
    report = margin_report(loaded, drawn)
    if len(report):
        worst = report.loc[report.groupby("margin", sort=False)["error"].apply(lambda e: e.abs().idxmax())]
        shares = ["target", "achieved", "error", "sampling_error"]
        shown = worst[["margin", "cell", "unit"]].join((100 * worst[shares]).round(3))
        _print_table(
            shown, "The worst cell of each margin, in percent of the people (sampling error: of the source itself)"
        )
        far = report.iloc[int(report["error"].abs().to_numpy().argmax())]
        out.print(f"Worst of all: {far['margin']}, {far['cell']}: {100 * far['error']:+.4f} percentage points")
    out.print(_fit_line(drawn.attrs.get("fit", {})))
    out.print(f"{len(drawn)} respondents written to {out_file}")


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders of one questionnaire; arms may be spread over several.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Set simulated answers beside the published human figures that the questionnaire carries."""
    from popsim.study import compare as compare_runs
    from popsim.study import load_run

    loaded = [load_run(path) for path in runs]
    table = compare_runs(*loaded)
    if as_json:
        typer.echo(table.to_json(orient="records", indent=1))
        return
    shown = table.drop(columns="vignette") if table["vignette"].nunique() == 1 else table
    _print_table(shown, "Simulated beside published human figures (changes in the answers' unit, shares 0 to 1)")
    out.print(f"Largest |z|: {table['z'].abs().max():.2f} over {len(table)} figures, human standard errors included")
    for notice in dict.fromkeys(one.manifest["engine"]["notice"] for one in loaded):
        out.print(notice)


@app.command()
def tune(
    config: Annotated[str, typer.Argument(help="A training file, or the name of a shipped one.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The folder for the model.")],
) -> None:
    """Train a small model on simulated respondents; the same command again continues where it stopped."""
    from popsim.tune import load_tune_config

    loaded = load_tune_config(config)
    missing = [module for module in ("torch", "transformers") if find_spec(module) is None]
    if missing:
        raise PopsimError(f"popsim tune: needs {', '.join(missing)}; run: pip install 'popsim[tune]'")
    from popsim.tune.scratch import Progress as Training
    from popsim.tune.scratch import tune as train

    columns = (
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TextColumn("{task.fields[found]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, refresh_per_second=2) as bar:
        task = bar.add_task("training", total=1.0, step=0, found="")

        def tell(state: Training) -> None:
            found = "  ".join(f"{name} {value:.3f}" for name, value in state.log.items() if isinstance(value, float))
            bar.update(task, completed=state.share, step=state.step, found=f"loss {state.loss:.3f}  {found}")

        train(loaded, out_folder, tell)
    out.print(f"Written to {out_folder}; ask it with --engine nano:{out_folder}")


@app.command()
def engines() -> None:
    """List the engines: what each is, whether it is installed, what to install."""
    import pandas as pd

    from popsim.engines import ENGINES

    rows = [
        (name, "yes" if entry.installed else f"pip install 'popsim[{entry.extra}]'", entry.about)
        for name, entry in ENGINES.items()
    ]
    _print_table(pd.DataFrame(rows, columns=["engine", "ready", "what it is"]), "Engines")


@app.command("list")
def list_shipped() -> None:
    """List the shipped scenarios, questionnaires and populations."""
    for shelf in SHELVES:
        out.print(f"{shelf}:")
        for name, path in shipped(shelf).items():
            data = read_yaml(path, ScenarioError)
            about = data.get("title") or data.get("source") or data.get("topic") or ""
            out.print(f"  {name:28} {' '.join(str(about).split())}")


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="The name of something shipped; see popsim list.")],
    file: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write a shipped scenario, questionnaire or population to a file of your own."""
    known = {stem: path for shelf in reversed(SHELVES) for stem, path in shipped(shelf).items()}
    if name not in known:
        raise ScenarioError(f"{name}: not shipped{did_you_mean(name, known)} Shipped: {', '.join(sorted(known))}")
    source = known[name]
    table = read_yaml(source, ScenarioError).get("from_table")
    beside = table.get("file") if isinstance(table, dict) else table
    copies = [(source, file)] + ([(source.parent / beside, file.parent / beside)] if isinstance(beside, str) else [])
    for _, target in copies:
        if target.exists():
            raise ScenarioError(f"{target}: exists already; choose another file")
    for original, target in copies:
        write_whole(target, lambda to, original=original: shutil.copyfile(original, to))  # type: ignore[misc]
        out.print(f"{target} written")


def main() -> None:
    """Run the command line; a problem that the user can mend is one line and exit status 2."""
    sys.path.append(str(Path.cwd()))  # an engine of your own may lie in the working directory
    try:
        app()
    except PopsimError as problem:
        err.print(f"popsim: {problem}", soft_wrap=True)
        sys.exit(2)


def _overrides(engine: str | None, size: int | None, seed: int | None) -> dict[str, Any]:
    given = {"engine": engine, "size": size, "seed": seed}
    return {key: value for key, value in given.items() if value is not None}


def _check(name: str) -> str:
    """Read one file as what its keys say it is."""
    from popsim.model import PopulationModel
    from popsim.population import load_population
    from popsim.scenario import sweep_points
    from popsim.survey import load_questionnaire, set_arm

    shelf: Shelf = next((shelf for shelf in SHELVES if name in shipped(shelf)), "scenarios")
    data = read_yaml(find_file(name, shelf, ScenarioError), ScenarioError)
    if "questionnaire" in data:
        points = list(sweep_points(name))
        for point in points:
            small = point.scenario.model_copy(update={"size": min(point.scenario.size, 20)})
            _ = next(PopulationModel(small).waves())[0]
        return f"scenario, {len(points)} point{'s' if len(points) > 1 else ''}, good"
    if "vignettes" in data:
        questionnaire = load_questionnaire(name)
        for arm in {arm for vignette in questionnaire.vignettes for arm in vignette.arms} or {"all"}:
            set_arm(questionnaire, arm)
        return f"questionnaire, {len(questionnaire.questions)} questions, good"
    if "attributes" in data or "from_table" in data or "margins" in data:
        load_population(name)
        return "population, good"
    raise SurveyError(
        f"{name}: is no scenario (questionnaire:), questionnaire (vignettes:) or population (attributes:)"
    )


@contextmanager
def _progress_bar() -> Iterator[Any]:
    """Draw answers, failures, answers per second and time left on the terminal."""
    columns = (
        TextColumn("answers"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=err, refresh_per_second=4)
    task = bar.add_task("answers", total=None, failed=0, rate=0.0)

    def tell(state: Any) -> None:
        if not bar.live.is_started:
            bar.start()
        if state.replies % 64 == 1 or state.settled == state.total:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = state.replies / elapsed if elapsed else 0.0
            bar.update(task, total=state.total, completed=state.settled, failed=state.failed, rate=rate)

    try:
        yield tell
    except KeyboardInterrupt:
        bar.stop()
        err.print("popsim: interrupted; what is done is stored, the same command goes on from here", soft_wrap=True)
        sys.exit(130)
    finally:
        if bar.live.is_started:
            bar.stop()


def _print_run(done: Any) -> None:
    from popsim.study.tables import summary

    answers, manifest = done.answers, done.manifest
    _print_table(summary(answers, done.scenario), "Answers by arm (numbers: mean; options: share)")
    counts, failures = manifest["counts"], manifest["failures"]
    out.print(
        f"{counts['prompts']} prompts ({counts['from_journal'] or 0} answered from the journal), "
        f"{failures['failed']} of {failures['answers']} answers failed ({failures['share']:.2%}), "
        f"{manifest['seconds']:.1f} s"
    )
    _print_notices(manifest, done.path)
    if any(vignette.reference for vignette in done.scenario.questionnaire.vignettes):
        out.print(f"Beside the published human figures: popsim compare {done.path}")


def _print_notices(manifest: dict[str, Any], folder: Path) -> None:
    if manifest.get("engine"):
        out.print(manifest["engine"]["notice"])
    if manifest.get("uncalibrated"):
        out.print(f"Uncalibrated (no published figures, stated default draws): {', '.join(manifest['uncalibrated'])}")
    fit = manifest.get("population_fit")
    if fit and not fit.get("converged", True):
        out.print(_fit_line(fit))
    out.print(f"Written to {folder}")


def _fit_line(fit: dict[str, Any]) -> str:
    if not fit:
        return "Drawn from a table of respondents: no margins were fitted"
    state = "converged" if fit["converged"] else "DID NOT CONVERGE"
    worst = f"worst control {fit['worst_control']}: {fit['worst_error']:.2e}"
    return f"Raking {state} after {fit['iterations']} iterations; {worst}"


def _print_table(frame: Any, title: str) -> None:
    """Print a frame without its empty columns, numbers to the right; wide where no window is narrower."""
    table = Table(box=None, pad_edge=False)
    shown = frame.loc[:, [bool(frame[column].notna().any() and frame[column].ne("").any()) for column in frame]]
    for column in shown.columns:
        numeric = shown[column].dtype.kind in "if"
        table.add_column(str(column), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in shown.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    wide = None if sys.stdout.isatty() else 160
    out.print(f"\n{title}")
    Console(highlight=False, markup=False, emoji=False, width=wide).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
    return str(value)
