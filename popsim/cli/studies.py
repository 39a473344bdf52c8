"""Commands that field studies and read what came of them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from popsim.cli.printing import out, print_notices, print_table, progress_bar
from popsim.errors import ScenarioError
from popsim.slots import did_you_mean

ScenarioArgument = Annotated[str, typer.Argument(help="A scenario file, or the name of a shipped scenario.")]
EngineOption = Annotated[str | None, typer.Option(help="NAME[:MODEL][@URL] instead of the scenario's engine.")]
SizeOption = Annotated[int | None, typer.Option(help="Number of respondents instead of the scenario's.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed instead of the scenario's.")]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", envvar="POPSIM_CACHE", help="A file of replies that runs share; see popsim cache."),
]


def run(
    scenario: ScenarioArgument,
    engine: EngineOption = None,
    size: SizeOption = None,
    seed: SeedOption = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="The Run folder; made from the study's name unless given.")
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Field a study and write its Run folder; the same command again continues where it stopped."""
    from popsim import study
    from popsim.scenario import load_scenario

    loaded = load_scenario(scenario, _overrides(engine, size, seed))
    with progress_bar() as tell:
        done = study.run(loaded, out_folder, progress=tell, cache=cache)
    _print_run(done)


def sweep(
    scenario: ScenarioArgument,
    out_folder: Annotated[Path, typer.Option("--out", help="The sweep folder.")],
    engine: EngineOption = None,
    size: SizeOption = None,
    seed: SeedOption = None,
    cache: CacheOption = None,
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
    with progress_bar() as tell:
        answers = study.sweep(points, base.replicates, out_folder, progress=tell, cache=cache)
    paths = list(points[0].values)
    numbers = answers[answers["status"].eq("ok") & answers["value"].notna()]
    means = numbers.groupby([*paths, "arm", "question"], sort=False, observed=True)["value"].agg(
        ["mean", "std", "count"]
    )
    print_table(means.reset_index(), f"{len(points)} points, {base.replicates} replicates: mean answers")
    print_notices(json.loads((out_folder / "manifest.json").read_text(encoding="utf-8")), out_folder)


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
    print_table(shown, "Simulated beside published human figures (changes in the answers' unit, shares 0 to 1)")
    out.print(f"Largest |z|: {table['z'].abs().max():.2f} over {len(table)} figures, human standard errors included")
    for notice in dict.fromkeys(one.manifest["engine"]["notice"] for one in loaded):
        out.print(notice)


def _overrides(engine: str | None, size: int | None, seed: int | None) -> dict[str, Any]:
    given = {"engine": engine, "size": size, "seed": seed}
    return {key: value for key, value in given.items() if value is not None}


def _print_run(done: Any) -> None:
    from popsim.study.tables import summary

    answers, manifest = done.answers, done.manifest
    print_table(summary(answers, done.scenario), "Answers by arm (numbers: mean; options: share)")
    counts, failures = manifest["counts"], manifest["failures"]
    out.print(
        f"{counts['prompts']} prompts ({counts['from_journal'] or 0} answered from the journal, "
        f"{counts['from_cache'] or 0} from the cache), "
        f"{failures['failed']} of {failures['answers']} answers failed ({failures['share']:.2%}), "
        f"{manifest['seconds']:.1f} s"
    )
    print_notices(manifest, done.path)
    if any(vignette.reference for vignette in done.scenario.questionnaire.vignettes):
        out.print(f"Beside the published human figures: popsim compare {done.path}")
