"""Commands about what goes into a study: scenario, questionnaire and population files, and people."""

import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from popsim.cli.fits import print_fit, to_json
from popsim.cli.printing import err, out
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
            err.print(f"popsim: {'' if name in str(problem) else f'{name}: '}{problem}", soft_wrap=True)
    if problems:
        raise typer.Exit(2)


def people(
    spec: Annotated[str, typer.Argument(help="A population file, or the name of a shipped population.")],
    size: Annotated[int, typer.Option(help="Number of respondents.")],
    out_file: Annotated[Path, typer.Option("--out", help="A .parquet or .csv file.")],
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    truth: Annotated[Path | None, typer.Option(help="Held-out records to compare the people with.")] = None,
    draw: Annotated[str | None, typer.Option(help="systematic or multinomial instead of the file's own.")] = None,
) -> None:
    """Draw a population, print how well each margin is met, and save the whole account beside it (.fit.json)."""
    from popsim.population import fit_report, load_population, sample_people

    if out_file.suffix not in (".parquet", ".csv"):
        raise PopulationError(f"--out {out_file}: ends in {out_file.suffix or 'nothing'}; allowed: .parquet, .csv")
    loaded = load_population(spec)
    if draw not in (None, "systematic", "multinomial"):
        raise PopulationError(f"--draw {draw}: unknown; allowed: systematic, multinomial")
    if draw is not None:
        loaded = loaded.model_copy(update={"draw": draw})
    drawn = sample_people(loaded, size, seed)
    report = {"seed": seed, **fit_report(loaded, drawn, truth)}
    table = drawn.rename_axis("person").reset_index()
    save = table.to_parquet if out_file.suffix == ".parquet" else table.to_csv
    write_whole(out_file, lambda to: save(to, index=False))
    saved = out_file.with_suffix(".fit.json")
    write_whole(saved, lambda to: to.write_text(to_json(report), encoding="utf-8"))
    print_fit(report)
    out.print(f"{len(drawn)} respondents written to {out_file}, the account of the fit to {saved}")


def list_shipped() -> None:
    """List the shipped scenarios, questionnaires, targets, populations and presets."""
    for shelf in SHELVES:
        out.print(f"{shelf}:")
        for name, path in shipped(shelf).items():
            data = read_yaml(path, ScenarioError)
            about = data.get("title") or data.get("source") or data.get("topic") or ""
            out.print(f"  {name:28} {' '.join(str(about).split())}")


def copy(
    name: Annotated[
        str, typer.Argument(help="Something shipped (see popsim list); with --from-csv the file to write.")
    ],
    file: Annotated[Path | None, typer.Argument(help="The file to write.")] = None,
    from_csv: Annotated[
        Path | None, typer.Option("--from-csv", help="A table of people (CSV, Parquet) to write a population file for.")
    ] = None,
) -> None:
    """Write a shipped file to one of your own with all it reads, or a population file for a table of people."""
    if from_csv is not None:
        if file is not None:
            raise ScenarioError(f"{file}: one file is written with --from-csv; leave out {name} or {file}")
        _scaffold(from_csv, Path(name))
        return
    known = {stem: path for shelf in reversed(SHELVES) for stem, path in shipped(shelf).items()}
    if name not in known:
        raise ScenarioError(f"{name}: not shipped{did_you_mean(name, known)} Shipped: {', '.join(sorted(known))}")
    if file is None:
        raise ScenarioError(f"{name}: name the file to write: popsim copy {name} my_{name}.yaml")
    source = known[name]
    beside = dict.fromkeys(_files_named(read_yaml(source, ScenarioError)))
    copies = [(source, file)] + [(source.parent / one, file.parent / one) for one in beside]
    for _, target in copies:
        if target.exists():
            raise ScenarioError(f"{target}: exists already; choose another file")
    for original, target in copies:
        write_whole(target, lambda to, original=original: shutil.copyfile(original, to))  # type: ignore[misc]
        out.print(f"{target} written")


def _files_named(data: Any) -> list[str]:
    """List the data files that a population file names."""
    if isinstance(data, dict):
        own = [data["file"]] if isinstance(data.get("file"), str) else []
        return own + [name for value in data.values() for name in _files_named(value)]
    return [name for value in data for name in _files_named(value)] if isinstance(data, list) else []


def _scaffold(table: Path, target: Path) -> None:
    from popsim.population.scaffold import scaffold

    if target.suffix not in (".yaml", ".yml"):
        raise ScenarioError(f"{target}: a population file ends in .yaml")
    if target.exists():
        raise ScenarioError(f"{target}: exists already; choose another file")
    text = scaffold(table, os.path.relpath(table, target.parent))
    write_whole(target, lambda to: to.write_text(text, encoding="utf-8"))
    out.print(f"{target} written; read it, then: popsim check {target}")


def _check(name: str) -> str:
    """Read one file as what its keys say it is."""
    from popsim.engines import locate
    from popsim.engines.presets import load_preset
    from popsim.evaluate import load_targets
    from popsim.model import PopulationModel
    from popsim.population import load_population
    from popsim.population.report import check_population
    from popsim.scenario import load_scenario, sweep_points
    from popsim.study.plans import plan_record
    from popsim.survey import load_questionnaire, set_arm
    from popsim.tune.benchmark.config import is_benchmark, load_benchmark
    from popsim.tune.benchmark.parts import read_parts

    if is_benchmark(name):
        parts = read_parts(load_benchmark(name))
        return f"benchmark, {len(parts.held_out)} answers held out, {len(parts.known)} known, good"
    shelf: Shelf = next((shelf for shelf in SHELVES if name in shipped(shelf)), "scenarios")
    data = read_yaml(find_file(name, shelf, ScenarioError), ScenarioError)
    if "questionnaire" in data:
        points = list(sweep_points(name))
        for point in points:
            small = point.scenario.model_copy(update={"size": min(point.scenario.size, 20)})
            _ = next(PopulationModel(small).waves())[0]
            locate(small.engine.spec)
            for file in small.targets:
                load_targets(file)
        plan = plan_record([point.scenario for point in points], load_scenario(name).replicates)
        frozen = f"; --freeze gives its plan the SHA-256 {plan['sha256']}" if plan else ""
        return f"scenario, {len(points)} point{'s' if len(points) > 1 else ''}, good{frozen}"
    if {"vignettes", "include"} & set(data) or data.get("based_on") in shipped("scenarios/questionnaires"):
        questionnaire = load_questionnaire(name)
        for arm in {arm for vignette in questionnaire.vignettes for arm in vignette.arms} or {"all"}:
            set_arm(questionnaire, arm)
        return f"questionnaire, {len(questionnaire.questions)} questions, good"
    if {"attributes", "from_table", "steps"} & set(data) or data.get("based_on") in shipped("populations"):
        return check_population(load_population(name))
    if "targets" in data or "rows" in data:
        return f"targets, {len(load_targets(name).targets)} figures, good"
    if "spec" in data:
        load_preset(name)
        return "preset, good"
    raise SurveyError(
        f"{name}: is no scenario (questionnaire:), questionnaire (vignettes:), population (attributes:), preset "
        "(spec:), file of targets (targets:), benchmark (kind: benchmark)"
    )
