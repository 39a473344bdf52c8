"""The parts of the page: what stands in each, as plain text and tables; nothing here is HTML."""

from collections.abc import Container
from typing import Any

import pandas as pd

from popsim.report import surface
from popsim.report.blocks import Folded, Part, Quote, number, tabulate
from popsim.report.check_parts import (
    check_parts,
    failure_lines,
    failure_tables,
    human_lines,
    human_tables,
    left_out_table,
)
from popsim.report.findings import BOUNDS_NOTE, HELD_NOTE
from popsim.report.material import LEGAL, Material, label
from popsim.report.methods import facts, methods
from popsim.report.plans import contents, leaves_out, of_manifest
from popsim.report.summaries import means, status_counts
from popsim.survey.questions import option_labels

_QUOTES = 3
_VERDICTS = ((2.0, "near", "● within 2"), (3.0, "apart", "▲ 2 to 3"), (float("inf"), "far", "■ more than 3"))
_HOW_TO_READ = "Bars show how the answers are distributed, the dot below the mean with its interval."
_INTERVALS = (
    "Intervals are 95 % intervals over simulated respondents (Student's t for means, Wilson's for shares; a "
    "person's draws are averaged first). People count by their weights, where they have any; intervals are then those "
    "of a weighted mean, and of Kish's effective number for shares. They say how far another draw of as many "
    "respondents would come out, with this engine and these words; they say nothing about how far real people "
    "are from these answers."
)
_READ_OUT = (
    "Answers were measured in the model's probabilities: each is the mean of a whole distribution, so they spread less "
    "than answers would. The bars add up the distributions themselves."
)
_MARKS = "Bars: simulated changes. Dot: their mean with its 95 % interval. Diamond: the published human mean, likewise."
_GAPS = "The last column counts the gap in standard errors of both figures together: ● within 2, ▲ 2 to 3, ■ more."
_CONTRASTS = (
    "Contrasts are taken within a replicate, whose points share people and random draws, and averaged over replicates; "
    "n counts replicates, intervals are Student's t at 95 %."
)
_ALL_ANSWERS = (
    "All readable answers are in these figures. What the plan leaves out is left out of what it asks for, and of the "
    "comparison with human figures."
)
_SLOPES = (
    "The points are spread, so a plane is fitted through them in each replicate: a contrast is what it says of going "
    "from the lowest value of a path to its highest, the others held. R² is the share of the variance between points "
    "that it explains; where that is low, straight lines hide noise, a bend or an interaction: look at the pictures."
)
_LEARNED = (
    "Weight on the message: b1 of update = b0 + b1 shown (signal - prior) + b2 shown + b3 (signal - prior), with those "
    "to whom it was not shown as controls. rule: the beliefs that move by Bayes' rule; answers: what respondents said; "
    "wrong direction: share of those shown it who moved away. Intervals are Monte-Carlo, given model and prompt."
)


def parts(material: Material, pictured: Container[str]) -> list[Part]:
    """Give the parts that have something to show, in the order of the page."""
    made = [
        _asked(material),
        *([_sweep(material)] if material.paths else [_answers(material), _human(material), *check_parts(material)]),
        _planned(material),
        _failures(material),
        Part("waves", "Waves"),
        Part("news", "News"),
        _revision(material),
        _cost(material),
        _methods(material),
    ]
    return [p for p in made if p.id in pictured or p.facts or p.tables or p.quotes or p.folded or p.warnings]


def _asked(material: Material) -> Part:
    """Describe the study: its settings, its questions, its people, one whole prompt."""
    scenario = material.scenario
    folded = [Folded(f"What was asked in arm “{arm}”", text=_form(scenario.shown(arm))) for arm in scenario.arms]
    if shown := material.prompt:
        title = f"The whole prompt of one person (person {shown.person}, arm “{shown.arm}”, wave {shown.wave})"
        folded.append(Folded(title, shown.remark, shown.text))
        folded += [Folded("What this person replied", text=shown.reply)] if shown.reply else []
    if len(material.margins):
        folded.append(_fit(material.margins))
    return Part("asked", "What was asked", facts=facts(material.manifest), folded=folded)


def _form(questionnaire: Any) -> str:
    """Write a questionnaire down as respondents read it."""
    lines = [questionnaire.introduction]
    for vignette in questionnaire.vignettes:
        lines += [vignette.title, vignette.introduction]
        for page in vignette.pages:
            lines += [page.title, page.text]
            for question in page.questions:
                given = "".join(f"\n    – {option}" for option in option_labels(question))
                lines.append(f"[{question.name}] {question.text}{given}")
    return "\n\n".join(line.strip() for line in lines if line.strip())


def _fit(margins: pd.DataFrame) -> Folded:
    """Show the worst cell of each margin of the population."""
    worst = margins.loc[margins.groupby("margin", sort=False)["error"].apply(lambda e: e.abs().idxmax())]
    percent = {name: (100 * worst[name]).round(2) for name in ("target", "achieved", "error", "sampling_error")}
    shown = worst[["margin", "cell", "unit"]].assign(**percent, source=worst["source"])
    note = "The worst cell of each margin, in percent of the people; what is off comes from drawing few people."
    return Folded("How well the people meet their population", note, table=tabulate(shown))


def _answers(material: Material) -> Part:
    answers = material.table("answers")
    if answers.empty:
        return Part("answers", "Answers")
    found = material.in_order(means(answers, material.numeric))
    found = found.assign(question=[label(material.questions[name]) for name in found["question"]])
    if found["wave"].nunique() < 2:
        found = found.drop(columns="wave")
    lines = [_HOW_TO_READ, _INTERVALS]
    if material.scenario.readout.kind != "generate":
        lines.append(_READ_OUT)
    if leaves_out(material.manifest):
        lines.append(_ALL_ANSWERS)
    tables = [tabulate(found, "Means by arm")] if len(found) else []
    return Part("answers", "Answers", lines, tables=tables, quotes=_quotes(material))


def _quotes(material: Material) -> list[Quote]:
    """Take the first readable texts of each arm at the last wave: not chosen for what they say."""
    answers = material.table("answers")
    last = answers[answers["status"].eq("ok") & answers["wave"].eq(answers["wave"].max())]
    return [
        Quote(str(row.label), f"person {row.person}, arm {row.arm}, on: {label(question)}")
        for name, question in material.questions.items()
        if question.kind == "text"
        for row in last[last["question"].eq(name)].groupby("arm", observed=True, sort=False).head(_QUOTES).itertuples()
    ]


def _human(material: Material) -> Part:
    """Set figures beside the human ones, whatever columns the comparison has."""
    comparison, title = material.comparison, "Beside human answers"
    if material.changes.empty and comparison.empty:
        return Part("human", title)
    vignettes = material.scenario.questionnaire.vignettes
    lines = [f"{v.title or v.name}: {v.reference.source}" for v in vignettes if v.reference]
    if len(material.changes):
        lines.append(_MARKS)
    if comparison.empty:
        return Part("human", title, lines)
    shown = comparison.drop(columns=[c for c in ("vignette",) if c in comparison and comparison[c].nunique() == 1])
    marks: list[str] = []
    if "z" in shown:
        verdicts = [_verdict(z) for z in shown["z"]]
        marks = [mark for mark, _ in verdicts]
        shown = shown.assign(**{"apart by": [said for _, said in verdicts]})
        lines.append(_GAPS)
    tables, folded = human_tables(material)
    tables = [tabulate(shown, "Simulated beside published human figures", marks), *tables]
    return Part("human", title, [*lines, *human_lines(material)], tables=tables, folded=folded)


def _planned(material: Material) -> Part:
    """Show what a plan asked for, and what the plan was where it was frozen before the answers."""
    record = material.manifest.get("plan")
    frozen = contents(record) if record and record["frozen"] else ()
    captions = {"contrasts": "Contrasts of the plan", "models": "Regressions of the plan"}
    tables = [tabulate(found, captions[name]) for name, found in material.planned.items() if len(found)]
    lines = [*of_manifest(material.manifest), *material.notes]
    return Part("plan", "What was planned", lines, list(frozen), tables)


def _revision(material: Material) -> Part:
    """Say how far people moved towards messages that were shown to them at random, where any were."""
    title, found = "Revision by confidence", material.learning
    if found.empty:
        return Part("revision", title)
    shown = found.drop(columns=[name for name in ("item", "signal", "weighing") if found[name].nunique() == 1])
    item, signal = found["item"].iloc[0], found["signal"].iloc[0]
    caption = f"Weight on {item} ({signal}) by confidence" if found["item"].nunique() == 1 else "Weights on messages"
    return Part("revision", title, [_LEARNED], tables=[tabulate(shown, caption)])


def _verdict(z: float) -> tuple[str, str]:
    """Give the class and the words for a gap of so many standard errors; none where it is not known."""
    return next(((mark, said) for end, mark, said in _VERDICTS if abs(z) <= end), ("", ""))


def _failures(material: Material) -> Part:
    """Count statuses by arm, and what became of first attempts."""
    answers, replies = material.table("answers"), material.table("replies")
    if answers.empty:
        return Part("failures", "What could not be read")
    counts = status_counts(answers).astype({"status": str, "arm": str})
    wide = counts.pivot(index="status", columns="arm", values="count").fillna(0).astype(int).reset_index()
    failed = counts.loc[~counts["status"].isin(LEGAL), "count"].sum()
    share = f"{failed / len(answers):.2%}"
    lines = [f"{failed:,} of {len(answers):,} answers failed ({share}). None was clamped, filled in or dropped."]
    tables, folded = [tabulate(wide, "Answers by status and arm")], []
    if len(replies):
        lines.append(f"{(replies['attempt'] > 0).sum():,} of {len(replies):,} prompts were asked more than once.")
        first = replies["first_status"].astype(str).value_counts().rename_axis("status of the first attempt")
        tables.append(tabulate(first.rename("prompts").reset_index()))
        bad = replies[~replies["status"].isin(LEGAL)].head(_QUOTES)
        text = "\n\n".join(f"— person {r.person}, wave {r.wave}, {r.status}:\n{_given(r)}" for r in bad.itertuples())
        folded = [Folded("The first replies that could not be read", text=text)] if len(bad) else []
    more, by_group = failure_tables(material)
    lines, tables = [*lines, *failure_lines(material)], [*tables, *more, *left_out_table(material)]
    folded = [*by_group, *folded]
    notes = [BOUNDS_NOTE] * bool(len(material.found("bounds"))) + [HELD_NOTE] * bool(len(material.found("held")))
    note = " ".join(notes)
    return Part("failures", "What could not be read", lines, tables=tables, folded=folded, note=note)


def _given(reply: Any) -> str:
    return str(reply.text if isinstance(reply.text, str) and reply.text else reply.error)


def _sweep(material: Material) -> Part:
    """Show what each swept path does, and interactions."""
    answers, labels = material.responses
    if answers.empty:
        return Part("sweep", "Dose and response")
    cells = surface.cells(answers, material.paths)
    found = surface.compare(cells, material.paths)
    found = found.assign(question=[labels[str(name)] for name in found["question"]])
    if found["arm"].nunique() < 2:
        found = found.drop(columns="arm")
    lines = [_CONTRASTS] + [_SLOPES] * ("R²" in found)
    return Part("sweep", "Dose and response", lines, tables=[tabulate(found, "Contrasts")])


def _cost(material: Material) -> Part:
    """Say what it took."""
    manifest = material.manifest
    counts = manifest.get("counts", {})
    by_engine = {"": counts} if "prompts" in counts else counts
    rows = [
        (name.replace("_", " ") + (f" ({engine})" if len(by_engine) > 1 else ""), number(value))
        for engine, found in by_engine.items()
        for name, value in found.items()
        if value is not None
    ]
    rows += [(name.replace("_", " "), number(value)) for name, value in manifest.get("tokens", {}).items()]
    if seconds := manifest.get("seconds"):
        prompts = sum(found.get("prompts") or 0 for found in by_engine.values())
        rows += [("seconds", number(seconds)), ("prompts a second", number(round(prompts / seconds, 1)))]
    return Part("cost", "Cost", facts=rows)


def _methods(material: Material) -> Part:
    note = "Filled from manifest.json; a complete folder holds it too, with what was tried beside it."
    return Part("methods", "Methods", folded=[Folded("methods.md", note, methods(material.manifest))])
