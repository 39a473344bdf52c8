"""The command line: each command is a public function plus printing."""

import sys
from pathlib import Path

import typer

from popsim.cli.coding import code
from popsim.cli.comparing import compare
from popsim.cli.correcting import correct
from popsim.cli.inputs import check, copy, list_shipped, people
from popsim.cli.models import cache, engines, tune
from popsim.cli.printing import err
from popsim.cli.probing import probe
from popsim.cli.reporting import export, report
from popsim.cli.studies import run, show, sweep
from popsim.errors import PopsimError

app = typer.Typer(
    help="How would this population answer this survey?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (run, sweep, show, check, people, compare, correct, code, report, export, probe, tune, engines, cache):
    app.command()(command)
app.command("list")(list_shipped)
app.command()(copy)


def main() -> None:
    """Run the command line; a problem that the user can mend is one line and exit status 2."""
    sys.path.append(str(Path.cwd()))  # an engine of your own may lie in the working directory
    try:
        app()
    except PopsimError as problem:
        err.print(f"popsim: {problem}", soft_wrap=True)
        sys.exit(2)
