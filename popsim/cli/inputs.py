"""Commands about what goes into a study: scenario, questionnaire and population files, and people."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from popsim.cli.printing import err, fit_line, out, print_table
from popsim.errors import PopsimError, PopulationError, ScenarioError, SurveyError
from popsim.files import Shelf, find_file, read_yaml, shipped, write_whole
from popsim.slots import did_you_mean

SHELVES: tuple[Shelf, ...] = ("scenarios", "scenarios/questionnaires", "scenarios/targets", "populations", "presets")


def check(
    files: Annotated[list[str], typer.Argument(help="Files of any kind that popsim reads, or shipped names.")],
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
        print_table(
            shown, "The worst cell of each margin, in percent of the people (sampling error: of the source itself)"
        )
        far = report.iloc[int(report["error"].abs().to_numpy().argmax())]
        out.print(f"Worst of all: {far['margin']}, {far['cell']}: {100 * far['error']:+.4f} percentage points")
    out.print(fit_line(drawn.attrs.get("fit", {})))
    out.print(f"{len(drawn)} respondents written to {out_file}")


def list_shipped() -> None:
    """List the shipped scenarios, questionnaires, targets, populations and presets."""
    for shelf in SHELVES:
        out.print(f"{shelf}:")
        for name, path in shipped(shelf).items():
            data = read_yaml(path, ScenarioError)
            about = data.get("title") or data.get("source") or data.get("topic") or ""
            out.print(f"  {name:28} {' '.join(str(about).split())}")


def copy(
    name: Annotated[str, typer.Argument(help="The name of something shipped; see popsim list.")],
    file: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write a shipped scenario, questionnaire, population, preset or file of targets to a file of your own."""
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


def _check(name: str) -> str:
    """Read one file as what its keys say it is."""
    from popsim.engines.presets import load_preset
    from popsim.evaluate import load_targets
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
    if "vignettes" in data or "include" in data:
        questionnaire = load_questionnaire(name)
        for arm in {arm for vignette in questionnaire.vignettes for arm in vignette.arms} or {"all"}:
            set_arm(questionnaire, arm)
        return f"questionnaire, {len(questionnaire.questions)} questions, good"
    if {"attributes", "from_table", "steps"} & set(data):
        load_population(name)
        return "population, good"
    if "targets" in data or "rows" in data:
        return f"targets, {len(load_targets(name).targets)} figures, good"
    if "spec" in data:
        load_preset(name)
        return "preset, good"
    raise SurveyError(
        f"{name}: is no scenario (questionnaire:), questionnaire (vignettes:), population (attributes:), preset "
        "(spec:), file of targets (targets:)"
    )
