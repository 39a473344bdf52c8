"""popsim code: open answers coded by a language model, beside the list of words and codes of your own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popsim.cli.printing import out, print_table, print_text, progress_bar
from popsim.cli.reporting import RunArgument

if TYPE_CHECKING:
    from popsim.study.coding import Coding


def code(
    folder: RunArgument,
    engine: Annotated[str, typer.Option(help="Who codes: a language model, NAME[:MODEL][@URL]; see popsim engines.")],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="A folder for the coding study; RUN/coding unless given.")
    ] = None,
    hand: Annotated[
        Path | None, typer.Option(help="Codes of your own: the sheet that this command writes, filled in with 1 and 0.")
    ] = None,
    wave: Annotated[int, typer.Option(help="Which fielding of the questionnaire.", min=0)] = 0,
) -> None:
    """Have a language model code the open answers of a run, and say how far it agrees with the list of words."""
    from popsim.study import load_run
    from popsim.study.coding import SHEET, code_by_engine

    to = out_folder or folder / "coding"
    with progress_bar() as tell:
        found = code_by_engine(load_run(folder), engine, to, hand=hand, wave=wave, progress=tell)
    found.answers.join(found.engine).to_csv(to / "codes.csv", index=False)
    _print(found, engine)
    out.print(f"Codes in {to / 'codes.csv'}; a sheet for codes of your own in {to / SHEET}")


def _print(found: "Coding", engine: str) -> None:
    from popsim.evaluate.coder import HANDS_AGREE
    from popsim.report.findings import channel_table

    for (group, vignette), here in found.channels.groupby(["group", "vignette"], sort=False):
        title = f"What open answers draw on, coded by {engine}: {vignette}, {group}, all arms, % of answers"
        print_table(channel_table(here.assign(column="engine")), title)
    for who, table in found.agreement.groupby("between", sort=False):
        shown = table.drop(columns="between").rename(
            columns=dict(zip(("first", "second"), str(who).split(" and "), strict=True))
        )
        print_table(shown, f"How far {who} agree: shares with the code, same code, Cohen's kappa")
        alpha = found.alpha[str(who)]
        out.print(f"All codes together: Krippendorff's alpha {alpha:.2f}" if alpha == alpha else "No code was given")
    if found.unreadable:
        out.print(f"\n{found.unreadable} answers are left out: what {engine} replied about them could not be read")
    note = (
        "kappa, alpha: 1 is perfect, 0 what chance gives, empty where both give every answer the same code. Two people "
        f"who coded for the published study agreed on {HANDS_AGREE:.0%} of codes. A model that codes its own answers "
        "is no independent coder."
    )
    print_text(note, "")
