"""Every picture of a run or a sweep, by name; the page, ``--figures`` and ``run.plot`` show the same ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from popsim.errors import RunError
from popsim.report import charts, surface
from popsim.report.material import Material
from popsim.report.style import DOUBLE, SINGLE, save
from popsim.report.summaries import (
    bin_shares,
    histogram,
    mean_interval,
    means,
    option_shares,
    revisions,
    share_interval,
    spread,
    status_counts,
)
from popsim.slots import did_you_mean

NUMERIC = ("number", "scale")
LEGAL = frozenset({"ok", "dont_know", "refused"})
_LISTED = ("choice", "multiple")


@dataclass(frozen=True)
class Figure:
    """One picture: drawn when it is asked for, at the width that is asked for.

    Attributes:
        section: Which part of the page it belongs to.
        title: What it shows, in a few words.
        note: How to read it.
        data: The figures behind it.
        chart: Draws it at a width in pixels.
    """

    section: str
    title: str
    note: str
    data: pd.DataFrame
    chart: Callable[[int], Any]


def figures(material: Material) -> dict[str, Figure]:
    """Name every picture that this material has the data for."""
    parts = (_surfaces, _failures) if material.paths else (_answers, _changes, _compared, _failures, _waves, _spread, _revisions)
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
    """Draw every picture as SVG, PNG and PDF: NAME for a single column (90 mm), NAME-double for both (190 mm)."""
    return [
        file
        for name, figure in figures(material).items()
        for ending, width in (("", SINGLE), ("-double", DOUBLE))
        for file in save(figure.chart(width), folder / f"{name}{ending}")
    ]


def asked(material: Material) -> dict[str, Any]:
    """List the questions by name, as the first arm sees them."""
    scenario = material.scenario
    return {question.name: question for question in scenario.shown(next(iter(scenario.arms))).questions}


def label(question: Any) -> str:
    """Name a question for a reader."""
    unit = getattr(question, "unit", "")
    return (question.label or question.name) + (f", {unit}" if unit else "")


def responses(material: Material) -> tuple[pd.DataFrame, dict[str, str]]:
    """Give what a sweep's surfaces show: numeric answers, and changes as if they had been asked; with their labels."""
    answers, labels = material.table("answers"), {q.name: label(q) for q in asked(material).values() if q.kind in NUMERIC}
    if answers.empty:
        return answers, labels
    numeric = answers[answers["question"].isin(list(labels))].astype({"question": str})
    if material.changes.empty:
        return numeric, labels
    changes = material.changes.assign(question="change-" + material.changes["outcome"], status="ok")
    labels |= {f"change-{outcome}": f"Change of {outcome}" for outcome in dict.fromkeys(changes["outcome"])}
    return pd.concat([changes, numeric]), labels


def _answers(material: Material) -> Iterator[tuple[str, Figure]]:
    """Draw the answers to each question, a row per arm and wave."""
    answers = material.table("answers")
    if answers.empty:
        return
    several = answers["wave"].nunique() > 1
    for question in asked(material).values():
        if question.kind in NUMERIC:
            values, marks = _numbers(material, answers, question)
            if len(values):
                least = 1.0 if question.kind == "scale" else 0.0
                texts = ("answers", label(question), question.text, label(question))
                yield _ridge_figure(f"answers-{question.name}", texts, values, marks, least)
        elif question.kind in (*_LISTED, "density"):
            density = question.kind == "density"
            shares = bin_shares(material.table("distributions"), question) if density else option_shares(answers, question)
            if len(shares):
                shares = shares.assign(row=[_row(arm, wave, several) for arm, wave in zip(shares["arm"], shares["wave"], strict=True)])
                note = "Mean probability put on each range" if density else "Share of readable answers that name each option"
                words = f"Bars: {question.text}"
                data = shares[["row", "option", "share", "low", "high", "n"]]
                yield f"answers-{question.name}", Figure(
                    "answers", label(question), f"{question.text} {note}, with its 95 % interval.", data,
                    lambda width, shares=data, words=words: charts.options(shares, words, width),  # type: ignore[misc]
                )  # fmt: skip


def _numbers(material: Material, answers: pd.DataFrame, question: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give weighted values by row, and the mean of each row."""
    several = answers["wave"].nunique() > 1
    found = means(answers, [question.name])
    place = {arm: k for k, arm in enumerate(material.scenario.arms)}
    found = found.sort_values(["arm", "wave"], key=lambda c: c.astype(str).map(place) if c.name == "arm" else c)
    names = [_row(arm, wave, several) for arm, wave in zip(found["arm"], found["wave"], strict=True)]
    marks = found.assign(row=names, who="simulated", text=[_said(*r) for r in zip(names, found["mean"], found["n"], strict=True)])
    measured = material.table("distributions")
    if material.scenario.readout.kind == "number" and len(measured):
        values = measured[measured["question"].eq(question.name)].merge(material.table("assignment"), on="person")
        values = values.assign(weight=values["probability"])
    else:
        values = answers[answers["question"].eq(question.name) & answers["status"].eq("ok")].assign(weight=1.0)
    rows = [_row(arm, wave, several) for arm, wave in zip(values["arm"], values["wave"], strict=True)]
    return values.assign(row=rows)[["row", "value", "weight"]], marks


def _changes(material: Material) -> Iterator[tuple[str, Figure]]:
    """Draw changes that the questionnaire carries human moments of, with the human mean and its interval."""
    changes = material.changes
    for vignette in material.scenario.questionnaire.vignettes:
        for outcome, change in (vignette.reference.changes if vignette.reference else {}).items():
            here = changes[changes["vignette"].eq(vignette.name) & changes["outcome"].eq(outcome)] if len(changes) else changes
            if here.empty:
                continue
            several, rows, marks = here["wave"].nunique() > 1, [], []
            for (arm, wave), part in here.groupby(["arm", "wave"], observed=True, sort=False):
                row = _row(str(arm), int(wave), several)
                rows.append(part.assign(row=row))
                persons = part.groupby("person")["value"].mean()
                found = mean_interval(persons)
                marks.append({"row": row, "arm": arm, "who": "simulated", **found, "text": _said(row, found["mean"], int(found["n"]))})
                if human := change.arms.get(str(arm)):
                    half = 1.96 * human.se
                    marks.append({"row": row, "arm": arm, "who": "human", "mean": human.mean, "low": human.mean - half, "high": human.mean + half, "text": ""})
            note = f"Answer to {change.shock} less answer to {change.baseline}, by the same respondent."
            texts = ("human", f"Change of {outcome}", note, f"change of {outcome}")
            yield _ridge_figure(f"changes-{vignette.name}-{outcome}", texts, pd.concat(rows), pd.DataFrame(marks))


def _compared(material: Material) -> Iterator[tuple[str, Figure]]:
    """Draw the gap to every published figure."""
    found = material.comparison
    if found.empty or "z" not in found:
        return
    several = found["vignette"].nunique() > 1
    rows = [
        f"{vignette}: {outcome}\n" * several + f"{outcome}\n" * (not several) + ", ".join([statistic.replace("_", " "), *([arm] * (arm != "pooled"))])
        for vignette, arm, outcome, statistic in found[["vignette", "arm", "outcome", "statistic"]].itertuples(index=False)
    ]
    frame = found.assign(row=rows)[["row", "z"]]
    frame = frame.dropna()
    note = "Simulated less human, over the standard errors of both. Shaded: within 2. By chance 1 in 20 lies outside."
    yield "compare", Figure(
        "human", "Gaps to the published figures", note, frame,
        lambda width: charts.gaps(frame, "Gap of each figure to the human one in standard errors", width),
    )  # fmt: skip


def _ridge_figure(
    name: str, texts: tuple[str, str, str, str], values: pd.DataFrame, marks: pd.DataFrame, least: float = 0.0
) -> tuple[str, Figure]:
    section, title, note, axis = texts
    low, high = values["value"].quantile([0.002, 0.998])
    inside = values[values["value"].between(low, high)]
    beyond = len(values) - len(inside)
    bins = histogram(inside, "row", least)
    if beyond:
        note += f" {beyond:,} of {len(values):,} values lie beyond the axis."
    said = "; ".join(f"{m.row}, {m.who}: mean {m.mean:.2f}" for m in marks.itertuples())
    data = marks[["row", "who", "mean", "low", "high"]]
    return name, Figure(
        section, title, note, data, lambda width: charts.ridges(bins, marks, axis, f"{title} {said}", width)
    )


def _failures(material: Material) -> Iterator[tuple[str, Figure]]:
    """Draw how many answers could not be read and why, where any could not."""
    counts = status_counts(material.table("answers")) if len(material.table("answers")) else pd.DataFrame()
    failed = sorted(set(counts["status"].astype(str)) - LEGAL) if len(counts) else []
    if not failed:
        return
    total = counts.groupby("arm", observed=True)["count"].sum()
    found = counts.astype({"status": str, "arm": str}).set_index(["arm", "status"])["count"]
    data = pd.DataFrame(
        {"row": arm, "option": status, **share_interval(int(found.get((arm, status), 0)), int(n))}
        for arm, n in total.items()
        for status in failed
    )
    yield "failures", Figure(
        "failures", "Answers that failed", "Share of all answers of an arm, with Wilson's 95 % interval.", data,
        lambda width: charts.options(data, "Share of answers that failed, by reason", width),
    )  # fmt: skip


def _waves(material: Material) -> Iterator[tuple[str, Figure]]:
    """Draw how means move from wave to wave."""
    answers = material.table("answers")
    if answers.empty or answers["wave"].nunique() < 2:
        return
    at = dict(enumerate(material.scenario.waves))
    for question in asked(material).values():
        found = means(answers, [question.name]) if question.kind in NUMERIC else pd.DataFrame()
        if len(found):
            frame = found.assign(x=found["wave"].map(at), group=found["arm"].astype(str))
            frame = frame[["x", "group", "mean", "low", "high", "n"]]
            yield f"waves-{question.name}", Figure(
                "waves", label(question), "Mean by step and arm. Vertical lines: 95 % intervals over respondents.",
                frame.rename(columns={"x": "step", "group": "arm"}),
                lambda width, frame=frame, y=label(question): charts.lines(frame, ("step", y), f"Mean by step: {y}", width),  # type: ignore[misc]
            )  # fmt: skip


def _spread(material: Material) -> Iterator[tuple[str, Figure]]:
    """Draw who has heard the news, step by step."""
    items = [item.name for item in material.scenario.news]
    heard = material.table("heard")
    if not items or "heard" not in material.tables:
        return
    found = spread(heard, items, material.scenario.size, material.scenario.waves[-1])
    frame = found.rename(columns={"step": "x", "item": "group", "share": "mean"})
    waves = ", ".join(map(str, material.scenario.waves))
    note = f"Share of all respondents; the questionnaire was fielded at step {waves}. The table tells direct from passed on."
    yield "spread", Figure(
        "news", "Who has heard the news", note, found,
        lambda width: charts.lines(frame, ("step", "have heard it"), "Share who have heard each item, by step", width, "%"),
    )  # fmt: skip


def _revisions(material: Material) -> Iterator[tuple[str, Figure]]:
    """Draw how far answers moved, by confidence."""
    answers, people = material.table("answers"), material.table("people")
    if answers.empty or people.empty:
        return
    questions = {q.name: q for q in asked(material).values() if q.kind in NUMERIC}
    found = revisions(answers, people, material.table("states"), questions)
    for name, part in found.groupby("question", sort=False):
        question = questions[str(name)]
        frame = part.rename(columns={"confidence": "row", "news": "group"})
        groups = ["heard news", "heard none"]
        yield f"revision-{name}", Figure(
            "revision", label(question),
            "Last wave less first: mean change within a respondent, by stated confidence, with 95 % intervals over respondents.",
            part.drop(columns="question"),
            lambda width, frame=frame, q=question: charts.dots(frame, groups, f"change of {label(q)}", f"Revision by confidence: {label(q)}", width),  # type: ignore[misc]
        )  # fmt: skip


def _surfaces(material: Material) -> Iterator[tuple[str, Figure]]:
    """Draw the mean answer over the swept values: a heat map of the first two, a line for a single one."""
    answers, labels = responses(material)
    paths = list(material.paths)[:2]
    if answers.empty:
        return
    found = surface.surface(surface.cells(answers, material.paths), paths)
    arms = found["arm"].nunique() > 1
    averaged = f" Averaged over {', '.join(material.paths[2:])}." if material.paths[2:] else ""
    for (arm, name), part in found.groupby(["arm", "question"], sort=False, observed=True):
        title = labels[str(name)] + (f" ({arm})" if arms else "")
        note = f"Mean over {int(part['n'].max())} replicates at each point.{averaged}"
        yield f"sweep-{arm}-{name}", Figure(
            "sweep", title, note, part.drop(columns=["arm", "question"]),
            lambda width, part=part, title=title: _draw_surface(part, paths, title, width),  # type: ignore[misc]
        )  # fmt: skip


def _draw_surface(part: pd.DataFrame, paths: list[str], title: str, width: int) -> Any:
    words = f"Mean of {title} over {' and '.join(paths)}"
    if len(paths) == 1:
        frame = part.rename(columns={paths[0]: "x"}).assign(group="mean")
        return charts.lines(frame, (paths[0], title), words, width)
    order = {path: {value: k for k, value in enumerate(surface.levels(part, path))} for path in paths}
    frame = part.sort_values(paths, key=lambda c: c.map(order[str(c.name)]))
    frame = frame.rename(columns={paths[1]: "x", paths[0]: "y"})[["x", "y", "mean", "low", "high"]]
    return charts.heat(frame, (paths[1], paths[0]), words, width)


def _row(arm: str, wave: int, several: bool) -> str:
    return f"{arm}, wave {wave}" if several else str(arm)


def _said(row: str, mean: float, n: int) -> str:
    return f"{row}: mean {mean:.2f}, n {n:,}".replace("-", "−")
