"""Every picture of a run or a sweep, by name; the page, ``--figures`` and ``run.plot`` show the same ones."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from popsim.errors import RunError
from popsim.report import charts, surface
from popsim.report.blocks import Figure, Named
from popsim.report.check_figures import check_figures
from popsim.report.material import LEGAL, NUMERIC, Material, label
from popsim.report.style import SINGLE, save_sizes
from popsim.report.summaries import (
    bin_shares,
    histogram,
    mean_interval,
    means,
    option_shares,
    person_means,
    person_share,
    revisions,
    spread,
)
from popsim.slots import did_you_mean

_INTERVAL_OF_HUMANS = 1.96


class _Words(NamedTuple):
    """What is written around the rows of a distribution."""

    section: str
    title: str
    note: str
    axis: str


def figures(material: Material) -> dict[str, Figure]:
    """Name every picture that this material has the data for."""
    one_run = (_answers, _changes, _compared, check_figures, _failures, _waves, _spread, _revisions)
    parts = (_surfaces, _failures) if material.paths else one_run
    return {name: figure for part in parts for name, figure in part(material)}


def plot(material: Material, name: str, width: int = SINGLE) -> Any:
    """Give one picture as an Altair chart.

    Raises:
        RunError: There is none of this name; the message lists those that there are.
    """
    known = figures(material)
    if name not in known:
        near = did_you_mean(name, known) if known else "."
        raise RunError(f"plot: no picture is named {name!r}{near} There are: {', '.join(known) or 'none yet'}")
    return known[name].chart(width)


def save_figures(material: Material, folder: Path) -> list[Path]:
    """Draw every picture of a run to files, as `popsim.report.style.save_sizes` does."""
    return [file for name, figure in figures(material).items() for file in save_sizes(figure.chart, folder / name)]


def _answers(material: Material) -> Named:
    """Draw the answers to each question, a row per arm and wave."""
    if material.table("answers").empty:
        return
    for question in material.questions.values():
        if question.kind in NUMERIC:
            values, marks = _numbers(material, question)
            if len(values):
                words = _Words("answers", label(question), question.text, label(question))
                least = 1.0 if question.kind == "scale" else 0.0
                yield f"answers-{question.name}", _ridges(words, values, marks, least)
        elif question.kind != "text":
            found = _shares(material, question)
            if len(found):
                what = "Mean probability of each range" if question.kind == "density" else "Share of each option"
                note = f"{question.text} {what}, with its 95 % interval over respondents."
                draw = partial(charts.options, found, f"{what}: {question.text}")
                yield f"answers-{question.name}", Figure("answers", label(question), note, found, draw)


def _numbers(material: Material, question: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give weighted values by row, and the mean of each row."""
    answers, measured = material.table("answers"), material.table("distributions")
    found = material.in_order(means(answers, [question.name]))
    rows = _rows(found)
    text = [_said(*one) for one in zip(rows, found["mean"], found["n"], strict=True)]
    marks = found.assign(row=rows, who="simulated", text=text)
    if material.scenario.readout.kind == "number" and len(measured):
        values = measured[measured["question"].eq(question.name)]
        values = values.assign(weight=values["weight"] * values["probability"])
    else:
        values = answers[answers["question"].eq(question.name) & answers["status"].eq("ok")]
    return values.assign(row=_rows(values))[["row", "value", "weight"]], marks


def _shares(material: Material, question: Any) -> pd.DataFrame:
    """Give the share of each option, or the mean probability of each range, by row."""
    if question.kind == "density":
        found = bin_shares(material.table("distributions"), question)
    else:
        found = option_shares(material.table("answers"), question)
    found = material.in_order(found)
    return found.assign(row=_rows(found))[["row", "option", "share", "low", "high", "n"]]


def _changes(material: Material) -> Named:
    """Draw changes that the questionnaire carries human moments of, with the human mean and its interval."""
    for vignette, outcome, change in material.referenced:
        of = material.changes
        here = of[of["vignette"].eq(vignette) & of["outcome"].eq(outcome)] if len(of) else of
        if here.empty:
            continue
        here = material.in_order(here.assign(row=_rows(here)))
        marks: list[dict[str, object]] = []
        for (arm, row), part in here.groupby(["arm", "row"], observed=True, sort=False):
            persons = person_means(part)
            found = mean_interval(persons["value"], persons["weight"])
            text = _said(str(row), found["mean"], int(found["n"]))
            marks.append({"row": row, "arm": arm, "who": "simulated", "text": text, **found})
            if human := change.arms.get(str(arm)):
                half = _INTERVAL_OF_HUMANS * human.se
                ends = {"mean": human.mean, "low": human.mean - half, "high": human.mean + half}
                marks.append({"row": row, "arm": arm, "who": "human", "text": "", **ends})
        note = f"Answer to {change.shock} less answer to {change.baseline}, by the same respondent."
        words = _Words("human", f"Change of {outcome}", note, f"change of {outcome}")
        drawn = here.assign(weight=here["weight"] * here["probability"])
        yield f"changes-{vignette}-{outcome}", _ridges(words, drawn, pd.DataFrame(marks))


def _ridges(words: _Words, values: pd.DataFrame, marks: pd.DataFrame, least: float = 0.0) -> Figure:
    """Make the picture of distributions in rows; the few values far out are left to the note."""
    low, high = values["value"].quantile([0.002, 0.998])
    inside = values[values["value"].between(low, high)]
    beyond = len(values) - len(inside)
    note = words.note + (f" {beyond:,} of {len(values):,} values lie beyond the axis." if beyond else "")
    said = "; ".join(f"{m.row}, {m.who}: mean {m.mean:.2f}" for m in marks.itertuples())
    draw = partial(charts.ridges, histogram(inside, "row", least), marks, words.axis, f"{words.title}. {said}")
    return Figure(words.section, words.title, note, marks[["row", "who", "mean", "low", "high"]], draw)


def _compared(material: Material) -> Named:
    """Draw the gap to every published figure."""
    found = material.comparison
    if found.empty or not {"vignette", "arm", "outcome", "statistic", "z"} <= set(found):
        return
    several = found["vignette"].nunique() > 1
    rows = []
    for vignette, arm, outcome, statistic in zip(
        *(found[name] for name in ("vignette", "arm", "outcome", "statistic")), strict=True
    ):
        first = f"{vignette}: {outcome}" if several else outcome
        second = statistic.replace("_", " ") + ("" if arm == "pooled" else f", {arm}")
        rows.append(f"{first}\n{second}")
    frame = found.assign(row=rows)[["row", "z"]].dropna()
    if frame.empty:
        return
    note = "Simulated less human, over the standard errors of both. Shaded: within 2. By chance 1 in 20 lies outside."
    draw = partial(charts.gaps, frame, "Gap of each figure to the human one in standard errors")
    yield "compare", Figure("human", "Gaps to the published figures", note, frame, draw)


def _failures(material: Material) -> Named:
    """Draw how many answers could not be read and why, where any could not."""
    answers = material.table("answers")
    failed = sorted(set(answers["status"].astype(str)) - LEGAL) if len(answers) else []
    if not failed:
        return
    data = pd.DataFrame(
        {"row": str(arm), "option": status, **person_share(part, part["status"].eq(status))}
        for arm, part in answers.groupby("arm", observed=True)
        for status in failed
    )
    note = "Share of all answers of an arm, with Wilson's 95 % interval over respondents."
    draw = partial(charts.options, data, "Share of answers that failed, by reason")
    yield "failures", Figure("failures", "Answers that failed", note, data, draw)


def _waves(material: Material) -> Named:
    """Draw how means move from wave to wave."""
    answers = material.table("answers")
    if answers.empty or answers["wave"].nunique() < 2:
        return
    at = dict(enumerate(material.scenario.waves))
    for name, question in material.numeric.items():
        found = material.in_order(means(answers, [name]))
        if found.empty:
            continue
        frame = found.assign(x=found["wave"].map(at), group=found["arm"].astype(str))
        frame = frame[["x", "group", "mean", "low", "high", "n"]]
        title, data = label(question), frame.rename(columns={"x": "step", "group": "arm"})
        draw = partial(charts.lines, frame, ("step", title), f"Mean of {title} by step and arm")
        note = "Mean by step and arm. Vertical lines: 95 % intervals over respondents."
        yield f"waves-{name}", Figure("waves", title, note, data, draw)


def _spread(material: Material) -> Named:
    """Draw who has heard the news, step by step."""
    scenario, heard = material.scenario, material.table("heard")
    if not scenario.news or "heard" not in material.tables:
        return
    found = spread(heard, [item.name for item in scenario.news], scenario.size, scenario.waves[-1])
    frame = found.rename(columns={"step": "x", "item": "group", "share": "mean"})
    waves = " and ".join(map(str, scenario.waves))
    title = "Who has heard the news" + (f": {scenario.news[0].name}" if len(scenario.news) == 1 else "")
    note = f"Share of all respondents, who were asked at step {waves}. The numbers tell direct from passed on."
    titles = ("step", "have heard it")
    draw = partial(charts.lines, frame, titles, "Share who have heard each item, by step", form="%")
    yield "spread", Figure("news", title, note, found, draw)


def _revisions(material: Material) -> Named:
    """Draw how far answers moved, by confidence."""
    answers, people = material.table("answers"), material.table("people")
    if answers.empty or people.empty:
        return
    found = revisions(answers, people, material.table("states"), material.numeric)
    for name, part in found.groupby("question", sort=False):
        title = label(material.numeric[str(name)])
        frame = part.rename(columns={"confidence": "row", "news": "group"})
        words = f"Revision of {title} by confidence"
        draw = partial(charts.dots, frame, ("heard news", "heard none"), f"change of {title}", words)
        note = "Last wave less first: mean change within a respondent by stated confidence, with 95 % intervals."
        yield f"revision-{name}", Figure("revision", title, note, part.drop(columns="question"), draw)


def _surfaces(material: Material) -> Named:
    """Draw the mean answer over the swept values: a heat map of the first two, a line for a single one."""
    answers, _ = material.responses
    if answers.empty:
        return
    cells = surface.cells(answers, material.paths)
    grid = surface.is_grid(cells, material.paths)
    if not grid and surface.is_scattered(cells, material.paths):
        yield from _slopes(material, cells)
        return
    paths = list(material.paths)[:2] if grid else list(material.paths)
    found = surface.surface(cells, paths)
    averaged = f" Averaged over {', '.join(material.paths[2:])}." if grid and material.paths[2:] else ""
    for (arm, name), part in found.groupby(["arm", "question"], sort=False, observed=True):
        title = _outcome(material, str(arm), str(name))
        note = f"Mean over {int(part['n'].max())} replicates at each point, whose people differ.{averaged}"
        note += "" if grid and len(paths) > 1 else " Lines: 95 % intervals over replicates."
        draw = partial(_draw_surface if grid else _draw_points, part, paths, title)
        data = part.drop(columns=["arm", "question"])
        yield f"sweep-{arm}-{name}", Figure("sweep", title, note, data, draw)


def _slopes(material: Material, cells: pd.DataFrame) -> Named:
    """Draw scattered points along each swept path of numbers, a picture each."""
    for plane in surface.planes(cells, material.paths):
        title = _outcome(material, plane.arm, plane.question)
        for path in plane.numeric:
            found = surface.along(plane, path)
            note = (
                f"Mean over {len(plane.means)} replicates at each point, with the other paths at their average by the "
                f"plane through all points, which explains {plane.explained:.0%} of the variance between them (line)."
            )
            draw = partial(charts.scatter, found, (path, title), f"{title} over {path}, and a straight line")
            named, data = f"sweep-{plane.arm}-{plane.question}-{path}", found.rename(columns={"x": path})
            yield named, Figure("sweep", f"{title} over {path}", note, data, draw)


def _outcome(material: Material, arm: str, name: str) -> str:
    """Name an outcome, and the arm where there are several."""
    answers, labels = material.responses
    return labels[name] + (f" ({arm})" if answers["arm"].nunique() > 1 else "")


def _draw_points(part: pd.DataFrame, paths: list[str], title: str, width: int) -> Any:
    """Draw points that are no grid one under the other."""
    frame = part.assign(row=surface.named_points(part, paths), group="mean")
    return charts.dots(frame, ("mean",), title, f"Mean of {title} at each point", width)


def _draw_surface(part: pd.DataFrame, paths: list[str], title: str, width: int) -> Any:
    words = f"Mean of {title} over {' and '.join(paths)}"
    order = {path: {value: k for k, value in enumerate(surface.levels(part, path))} for path in paths}
    part = part.sort_values(paths, key=lambda column: column.map(order[str(column.name)]))
    if len(paths) == 1:
        frame = part.rename(columns={paths[0]: "x"}).assign(group="mean")
        return charts.lines(frame, (paths[0], title), words, width)
    frame = part.rename(columns={paths[1]: "x", paths[0]: "y"})[["x", "y", "mean", "low", "high"]]
    return charts.heat(frame, (paths[1], paths[0]), words, width)


def _rows(frame: pd.DataFrame) -> list[str]:
    """Name the rows of a picture by arm, and by wave where there are several."""
    several = frame["wave"].nunique() > 1
    pairs = zip(frame["arm"], frame["wave"], strict=True)
    return [f"{arm}, wave {wave}" if several else str(arm) for arm, wave in pairs]


def _said(row: str, mean: float, n: int) -> str:
    return f"{row}: mean {f'{mean:.2f}'.replace('-', '−')}, n {n:,}"
