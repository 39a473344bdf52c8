"""Commands that field studies and read what came of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popsim.cli.printing import out, print_notices, print_table, progress_bar
from popsim.errors import ScenarioError
from popsim.slots import did_you_mean

_MOST = 0.5
"""Share of failed answers above which a run is said to have told nothing."""

if TYPE_CHECKING:
    from popsim.scenario import Point, Scenario

MOST_PROMPTS = 1_000_000
"""A sweep of more has to be asked for twice."""
ScenarioArgument = Annotated[str, typer.Argument(help="A scenario file, or the name of a shipped scenario.")]
EngineOption = Annotated[str | None, typer.Option(help="NAME[:MODEL][@URL] instead of the scenario's engine.")]
SizeOption = Annotated[int | None, typer.Option(help="Number of respondents instead of the scenario's.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed instead of the scenario's.")]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", envvar="POPSIM_CACHE", help="A file of replies that runs share; see popsim cache."),
]
WorkersOption = Annotated[int | None, typer.Option(help="Ray workers that load the engine; 1 is this process.")]
AddressOption = Annotated[str, typer.Option(help="HOST:PORT of a Ray cluster for the workers, or auto.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Ask nobody; say what it would cost.")]
ProbeOption = Annotated[
    bool, typer.Option("--probe/--no-probe", help="With --dry-run: ask a few prompts to see how long they take.")
]

FreezeOption = Annotated[
    bool, typer.Option("--freeze", help="Store the scenario's plan (analysis:) and its hash before anybody is asked.")
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
    workers: WorkersOption = None,
    ray_address: AddressOption = "",
    dry_run: DryRunOption = False,
    probe: ProbeOption = True,
    freeze: FreezeOption = False,
) -> None:
    """Field a study and write its Run folder; the same command again continues where it stopped."""
    from popsim import study
    from popsim.scenario import Point, load_scenario, single

    loaded = _on_workers(load_scenario(scenario, overrides(engine, size, seed)), workers, ray_address)
    if dry_run:
        _print_estimates([Point(0, {}, single(loaded))], 1, probe, cache)
        return
    with progress_bar() as tell:
        done = study.run(loaded, out_folder, progress=tell, cache=cache, freeze=freeze)
    _print_run(done)


def sweep(
    scenario: ScenarioArgument,
    out_folder: Annotated[Path | None, typer.Option("--out", help="The sweep folder.")] = None,
    engine: EngineOption = None,
    size: SizeOption = None,
    seed: SeedOption = None,
    cache: CacheOption = None,
    workers: WorkersOption = None,
    ray_address: AddressOption = "",
    dry_run: DryRunOption = False,
    probe: ProbeOption = True,
    freeze: FreezeOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask even more than a million prompts.")] = False,
) -> None:
    """Field every point and replicate of the scenario's sweep, pooled into shared engine calls."""
    from popsim import study
    from popsim.scenario import load_scenario, sweep_points

    given = overrides(engine, size, seed)
    base = load_scenario(scenario, given)
    points = [
        point._replace(scenario=_on_workers(point.scenario, workers, ray_address))
        for point in sweep_points(scenario, given)
    ]
    if points[0].values == {}:
        raise ScenarioError(
            f"{scenario}: has nothing under sweep; write paths and values to scan there, or use popsim run"
        )
    if dry_run:
        _print_estimates(points, base.replicates, probe, cache)
        return
    if out_folder is None:
        raise ScenarioError("popsim sweep: needs a folder; write --out FOLDER")
    prompts = base.replicates * sum(p.scenario.size * p.scenario.draws * len(p.scenario.waves) for p in points)
    if prompts > MOST_PROMPTS and not yes:
        raise ScenarioError(f"{scenario}: asks {prompts:,} prompts; see them with --dry-run, and ask them with --yes")
    with progress_bar() as tell:
        answers = study.sweep(points, base.replicates, out_folder, progress=tell, cache=cache, freeze=freeze)
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

    loaded = load_scenario(scenario, overrides(None, size, seed))
    if arm is not None and arm not in loaded.arms:
        allowed = ", ".join(loaded.arms)
        raise ScenarioError(f"--arm {arm}: no arm of {loaded.name}{did_you_mean(arm, loaded.arms)} Allowed: {allowed}")
    model = PopulationModel(loaded)
    pages = model.unanswered()
    prompts = pages[0]
    names = list(loaded.arms)
    shown = [i for i in range(len(prompts)) if arm is None or names[prompts.arm[i]] == arm][:people]
    for i in shown:
        out.print(f"=== person {prompts.person[i]}, arm {names[prompts.arm[i]]}, seed {prompts.seed(i)} ===")
        for role, text in prompts[i].messages:
            out.print(f"[{role}]\n{text}\n")
        for page in pages[1:]:
            for j in (page.sitting == prompts.sitting[i]).nonzero()[0].tolist():
                condition = page.condition(j)
                out.print(f"--- page {page.number + 1}{f', shown if {condition}' if condition else ''} ---")
                role, text = page[j].messages[-1]
                out.print(f"[{role}]\n{text}\n")


def overrides(engine: str | None, size: int | None, seed: int | None) -> dict[str, Any]:
    """Give what the command line says in place of the scenario file."""
    given = {"engine": engine, "size": size, "seed": seed}
    return {key: value for key, value in given.items() if value is not None}


def _on_workers(scenario: "Scenario", workers: int | None, ray_address: str) -> "Scenario":
    """Set on how many workers the engine runs, and on which cluster, where the command line says so."""
    given = {"workers": workers, "ray_address": ray_address or None}
    engine = scenario.engine.model_copy(update={key: value for key, value in given.items() if value is not None})
    return scenario.model_copy(update={"engine": engine})


def _print_estimates(points: "Sequence[Point]", replicates: int, probe: bool, cache: Path | None) -> None:
    """Print what every engine would be asked, what that makes in tokens, and how long it may take."""
    from popsim.study import estimate
    from popsim.study.estimate import PROBE

    found = estimate(points, replicates, probe=PROBE if probe else 0, cache=cache)
    out.print(f"{len(points)} point{'s' * (len(points) > 1)}, {replicates} replicate{'s' * (replicates > 1)}")
    for one in found:
        known = one.prompts - one.unknown
        later = f", and {one.unknown} later on, whose text news or earlier replies decide" if one.unknown else ""
        out.print(f"{one.engine}: {one.prompts} prompts: {one.distinct} distinct of {known}{later}")
        out.print(f"  prompt tokens: about {one.prompt_tokens:,} ({one.counted})")
        likely = "" if one.reply_tokens is None else f", about {one.reply_tokens:,} by the probe"
        out.print(f"  reply tokens: at most {one.most_reply_tokens:,}{likely}")
        if one.failed:
            out.print(f"  the probe failed: {one.failed}")
        if one.seconds is not None:
            out.print(f"  time: about {_duration(one.seconds)}, by a probe of {one.probed} prompts")
    total = sum(one.distinct + one.unknown for one in found)
    out.print(f"To ask: {total} prompts, and those again whose reply cannot be read. No Run folder was written.")


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _network_line(figures: dict[str, float]) -> str:
    said = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())
    estimator = " (tail exponent by Clauset, Shalizi and Newman's estimator)" if "tail_exponent" in figures else ""
    return f"Network: {said}{estimator}"


def _print_run(done: Any) -> None:
    from popsim.study.tables import summary

    answers, manifest = done.answers, done.manifest
    means = summary(answers, done.people, done.scenario)
    shown = means.drop(columns="wave") if len(done.scenario.waves) == 1 else means
    if len(shown):
        print_table(shown, "Answers by arm (numbers: mean; options: share)")
    if manifest.get("network"):
        out.print(_network_line(manifest["network"]))
    counts, failures = manifest["counts"], manifest["failures"]
    out.print(
        f"{counts['prompts']} prompts ({counts['from_journal'] or 0} answered from the journal, "
        f"{counts['from_cache'] or 0} from the cache), "
        f"{failures['failed']} of {failures['answers']} answers failed ({failures['share']:.2%}), "
        f"{manifest['seconds']:.1f} s"
    )
    if failures["share"] > _MOST:
        out.print(
            f"Most answers could not be read; what was replied stands in {done.path / 'replies.parquet'}. An engine "
            "may not know this questionnaire: nano knows only those of its card. Give another with --engine"
        )
    print_notices(manifest, done.path)
    if done.scenario.targets:
        out.print(f"Beside the published human figures: popsim compare {done.path}")
