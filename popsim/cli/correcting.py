"""popsim correct: what a few real answers make of simulated ones, and how many answers these are worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popsim.cli.printing import out, print_table, print_text
from popsim.errors import RunError, TargetError

if TYPE_CHECKING:
    from popsim.study.correcting import Correction

_TABLES = ("overlap", "figures", "fit", "mapped")


def correct(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders whose population is a table of people (from_table), those who answered among them.",
        ),
    ],
    humans: Annotated[str, typer.Option(help="A file with rows: of human answers, as for popsim compare.")],
    outcome: Annotated[str, typer.Option(help="One outcome of those rows; all unless given.")] = "",
    population: Annotated[
        list[str] | None,
        typer.Option(
            help="Run folders of the population, answered alike; the people of RUN without a human answer unless given."
        ),
    ] = None,
    fold: Annotated[
        str,
        typer.Option(
            help="A column of the human rows: 1, 2, ... is the model (in the order of the runs) that was not tuned on "
            "this person, nothing: all were, so the row is left out."
        ),
    ] = "",
    within: Annotated[str, typer.Option(help="Attributes, with commas, within which quantiles are mapped.")] = "",
    quantiles: Annotated[str, typer.Option(help="Which quantiles, with commas.")] = "0.25,0.5,0.75",
    rescale: Annotated[
        bool, typer.Option("--rescale", help="First move simulated answers onto the human scale, fitted across folds.")
    ] = False,
    wave: Annotated[int, typer.Option(help="Which fielding of the questionnaire.", min=0)] = 0,
    tables: Annotated[Path | None, typer.Option(help="A folder for all tables as CSV.")] = None,
) -> None:
    """Correct simulated answers by a few human answers of the very people who were simulated."""
    from popsim.study import load_run
    from popsim.study.comparing import runs_of
    from popsim.study.correcting import correct as correct_runs
    from popsim.study.pairing import Options

    loaded, others = (
        [one for name in names for one in runs_of(load_run(_folder(name)))] for names in (runs, population or [])
    )
    names = tuple(name.strip() for name in within.split(",") if name.strip())
    options = Options(outcome, fold, names, _numbers(quantiles), rescale, wave)
    found = correct_runs(*loaded, humans=humans, population=others, options=options)
    if tables is not None:
        tables.mkdir(parents=True, exist_ok=True)
        for name in _TABLES:
            getattr(found, name).to_csv(tables / f"{name}.csv", index=False)
    _print(found)


def _folder(name: str) -> str:
    if not Path(name).is_dir():
        raise RunError(f"{name}: is no Run folder; popsim run makes one")
    return name


def _numbers(said: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in said.split(",") if one.strip())
    except ValueError:
        raise TargetError(f"--quantiles {said}: must be numbers between 0 and 1 with commas between them") from None


def _print(found: "Correction") -> None:
    if len(found.overlap):
        several = found.overlap["arm"].nunique() > 1
        shown = found.overlap if several else found.overlap.drop(columns="arm")
        print_table(shown, "Humans beside the population that they are to speak for (difference in SD)")
    for warning in found.warnings:
        print_text(f"LOOK AT {warning}.")
    for (outcome, arm), here in found.figures.groupby(["outcome", "arm"], sort=False):
        print_table(
            _figures(here), f"{outcome}, {arm}: {here['people'].iloc[0]} human answers, 95% intervals in brackets"
        )
        if len(said := _worth(here)):
            print_text(said)
    out.print()
    for note in found.notes:
        print_text(f"{note}.")
    print_text(_NOTE)
    if len(found.fit):
        print_table(found.fit, "How well each human's own answer is foretold, cross-validated")
        print_text(_FIT_NOTE)


def _figures(here: Any) -> Any:
    """Lay out every figure three ways."""
    import pandas as pd

    rows = [
        {
            "figure": f"{row.statistic} {row.of}".strip(),
            "humans alone": _with_interval(row.human, row.human_low, row.human_high),
            "simulated alone": _with_interval(row.simulated, row.simulated_low, row.simulated_high),
            "corrected": _with_interval(row.value, row.low, row.high),
            "trust": f"{row.lam:.2f}",
            "worth": _answers(row),
            "mapped*": "" if row.mapped != row.mapped else f"{row.mapped:.2f}",
        }
        for row in here.itertuples()
    ]
    return pd.DataFrame(rows)


def _worth(here: Any) -> str:
    """Say in a sentence what the simulated answers are worth for the first figure: a mean, or the first share."""
    row = next(here.itertuples())
    if row.worth != row.worth:
        return ""
    what = f"{row.statistic} {row.of}".strip()
    return (
        f"For the {what}, {row.people} human answers with the simulated ones say as much as {row.worth:.0f} alone: the "
        f"simulated answers are worth {_answers(row)} human answers."
    )


def _answers(row: Any) -> str:
    return "" if row.worth != row.worth else f"{max(row.worth - row.people, 0):.0f}"


def _with_interval(value: float, low: float, high: float) -> str:
    return "{:.2f} ({:.2f} to {:.2f})".format(*(round(one, 2) + 0.0 for one in (value, low, high)))


_NOTE = (
    "corrected: prediction-powered inference (Angelopoulos, Duchi and Zrnic 2023). Its interval keeps its 95 % whether "
    "the simulator is good, useless or biased, if the humans are a sample of the population or their weights make them "
    "one, and no model was tuned on them. trust: how far simulated answers are used, 0 to 1. worth: human answers that "
    "one would have to add for the same interval without them. The interval of simulated alone says how far another "
    "draw of as many would come out, nothing of people. effect: mean of the first arm less that of the second. "
    "coefficient: least squares on the attributes of the rows, errors robust. *calibration, no guarantee: simulated "
    "answers given the quantiles of the human ones."
)
_FIT_NOTE = (
    "simulated: the mean of the draws as it is. rescaled: by a line. OLS and boosting see the same attributes and "
    "other people's answers. r2 is negative where the mean of all would do better."
)
