"""Commands that show a Run folder to readers and hand it to other programs."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from popsim.cli.printing import out
from popsim.errors import RunError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A Run folder, or the folder of a sweep.")]

PICTURES = {"altair": "altair", "vl_convert": "vl-convert-python"}
"""What draws pictures: modules, and the packages that they come in."""


def report(
    folder: RunArgument,
    figures: Annotated[
        Path | None, typer.Option(help="Draw every picture here too, as SVG, PNG and PDF, 90 and 190 mm wide.")
    ] = None,
) -> None:
    """Write report.html: one page that needs no network; of a run that is not finished, what is there."""
    need("popsim report", {**PICTURES, "jinja2": "Jinja2"})
    from popsim.study.pages import report as write_report

    out.print(f"Written to {write_report(folder, figures)}")
    if figures is not None:
        out.print(f"Pictures in {figures}")


def export(
    folder: RunArgument,
    to: Annotated[str, typer.Option(help="csv, dta (Stata) or sav (SPSS).")],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Where the files go; RUN/export unless given.")
    ] = None,
) -> None:
    """Write answers, people and one row per respondent for other programs, with labels and a codebook."""
    from popsim.report.exports import FORMATS
    from popsim.report.exports import export as write_export
    from popsim.study import load_run
    from popsim.study.pages import gather

    if to not in FORMATS:
        raise RunError(f"--to {to}: is unknown; allowed: {', '.join(FORMATS)}")
    if to != "csv":
        need("popsim export", {"pyreadstat": "pyreadstat"})
    for path in write_export(gather(load_run(folder)), out_folder or folder / "export", to):
        out.print(f"{path} written")


def need(command: str, packages: dict[str, str]) -> None:
    """Refuse in one line where a package of the extra is missing."""
    missing = [name for module, name in packages.items() if find_spec(module) is None]
    if missing:
        raise RunError(f"{command}: needs {', '.join(missing)}; run: pip install 'popsim[report]'")
