"""popsim probe: does a model answer a study from what it reads, or from memory of the published result."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popsim.cli.printing import out, print_table, print_text, progress_bar
from popsim.cli.studies import EngineOption, ScenarioArgument, SeedOption, SizeOption, overrides

if TYPE_CHECKING:
    from popsim.study.probe import Probe


def probe(
    scenario: ScenarioArgument,
    engine: EngineOption = None,
    size: SizeOption = None,
    seed: SeedOption = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="A folder for the runs of all versions; runs/probe-NAME unless given.")
    ] = None,
    knowledge_cutoff: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The last day of what the model was trained on, if its maker says so."),
    ] = None,
) -> None:
    """Ask altered versions of a study, and for the published result outright, to see whether answers are recited."""
    from popsim import study
    from popsim.scenario import load_scenario

    loaded = load_scenario(scenario, overrides(engine, size, seed))
    folder = out_folder or Path("runs") / f"probe-{loaded.name}"
    cutoff = knowledge_cutoff.date() if knowledge_cutoff else None
    with progress_bar() as tell:
        found = study.probe(loaded, folder, knowledge_cutoff=cutoff, progress=tell)
    _print(found, loaded.engine.spec)
    out.print(f"Written to {folder}")


def _print(found: "Probe", spec: str) -> None:
    print_table(_versions(found.versions), f"{spec}: mean response to each version of the study")
    if len(found.recall):
        shown = found.recall.assign(hits=[f"{hits:.0%}" for hits in found.recall["hits"]])
        print_table(shown, "Asked outright, without a persona")
    else:
        out.print("\nAsked outright: nothing, since this engine reads facts and no text")
    if len(found.targets):
        print_table(found.targets, "When the human figures were published, against what the model may know")
    out.print()
    for line in (*(found.leaks or (_silence(found.versions),)), _NOTE):
        print_text(line)


_NOTE = (
    "left: share of the original response that is left. no persona: a sign that needs nobody to give it. altered "
    "numbers: a shock next to nothing, so it should vanish. reversed cause: the story of the other arm under this "
    "arm's heading, so it should turn around. recited: more than half of it is left (one-sided test at 5 %). placebo "
    "date, renamed region, shuffled personas: it should stay. persona R2: share of the variance that attributes "
    "explain, less chance; of shuffled personas it should be 0. Silence is no proof: a model may remember without "
    "showing it here."
)


def _silence(versions: Any) -> str:
    """Say what it means that nothing was found."""
    judged = versions.loc[versions["expected"].isin(["vanishes", "turns"]), "verdict"]
    if not judged.isin(["recited", "not recited"]).any():
        return (
            "Nothing could be judged: there is no altered version, or the original response is too small for so few "
            "respondents. Raise --size."
        )
    return "No sign that the answers are recited."


def _versions(versions: Any) -> Any:
    """Lay out a row per version, outcome and arm."""
    shown = versions[["version", "vignette", "outcome", "arm", "n"]].copy()
    for name in ("mean", "se", "published", "left"):
        shown[name] = ["" if value != value else f"{value:+.2f}" for value in versions[name]]
    shown["se"] = [text.removeprefix("+") for text in shown["se"]]
    shown["should"] = versions["expected"].replace({"vanishes": "vanish", "turns": "turn", "stays": "stay"})
    shown["verdict"] = versions["verdict"]
    shown["persona R2"] = ["" if value != value else f"{value:.2f}" for value in versions["persona_r2"]]
    return shown.drop(columns=[name for name in ("vignette", "arm") if shown[name].nunique() == 1])
