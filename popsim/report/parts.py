"""The parts of the page: what stands in each, as plain text and tables; nothing here is HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from popsim.report import surface
from popsim.report.figures import LEGAL, NUMERIC, asked, label, responses
from popsim.report.material import Material
from popsim.report.methods import facts
from popsim.report.summaries import means, status_counts

_QUOTES = 3
_VERDICTS = ((2.0, "near", "● within 2"), (3.0, "apart", "▲ 2 to 3"), (float("inf"), "far", "■ more than 3"))
_HEADS = {
    "human_se": "± se (human)", "simulated_se": "± se (simulated)", "z": "gap in standard errors", "sd": "SD",
    "sampling_error": "sampling error of the source",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of a table, with the class that colours it."""

    cells: Sequence[str]
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table, every cell already text."""

    heads: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Row]
    caption: str = ""


@dataclass(frozen=True)
class Folded:
    """Something long that is opened by a click."""

    title: str
    note: str = ""
    text: str = ""
    table: Table | None = None


@dataclass(frozen=True)
class Quote:
    """Words that a respondent gave."""

    text: str
    who: str


@dataclass(frozen=True)
class Part:
    """One part of the page; its pictures are those whose section is its id."""

    id: str
    title: str
    lines: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    quotes: Sequence[Quote] = ()
    folded: Sequence[Folded] = field(default_factory=tuple)


def number(value: Any) -> str:
    """Write a value for a reader: three decimals at most, thousands apart, a real minus sign.

    Example:
        >>> [number(x) for x in (1234.5, -0.25, 12, "a", None)]
        ['1,234.5', '−0.25', '12', 'a', '']
    """
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool) or not hasattr(value, "__round__"):
        return str(value)
    said = f"{float(value):,.3f}".rstrip("0").rstrip(".")
    return "0" if said == "-0" else said.replace("-", "−")


def tabulate(frame: pd.DataFrame, caption: str = "", marks: Sequence[str] = ()) -> Table:
    """Turn a frame into a table; ``low`` and ``high`` become one column."""
    shown = frame
    if {"low", "high"} <= set(frame.columns):
        shown = frame.assign(low=_interval(frame["low"], frame["high"])).drop(columns="high").rename(columns={"low": "95 % interval"})
    numeric = [bool(pd.api.types.is_numeric_dtype(shown[name])) for name in shown]
    heads = [_HEADS.get(str(name), str(name).replace("_", " ")) for name in shown]
    columns = [_aligned(shown[name]) if is_number else shown[name].map(number) for name, is_number in zip(shown, numeric, strict=True)]
    rows = [Row(list(cells), marks[k] if marks else "") for k, cells in enumerate(zip(*columns, strict=True))]
    return Table(heads, numeric, rows, caption)


def _aligned(column: pd.Series) -> list[str]:
    """Write a column of numbers with as many decimals as the one that needs most, three at the most."""
    said = [number(value) for value in column]
    places = max((len(one.partition(".")[2]) for one in said), default=0)
    return [f"{float(value):,.{places}f}".replace("-", "−") if one else "" for value, one in zip(column, said, strict=True)]


def _interval(low: pd.Series, high: pd.Series) -> list[str]:
    """Put the two ends of each interval into one cell."""
    both = _aligned(pd.concat([low, high], ignore_index=True))
    return [f"{a} to {b}" if a else "" for a, b in zip(both[: len(low)], both[len(low) :], strict=True)]


def parts(material: Material, pictured: Mapping[str, object]) -> list[Part]:
    """Give the parts that have something to show, in the order of the page."""
    made = [
        _asked(material),
        *([_sweep(material)] if material.paths else [_answers(material), _human(material)]),
        _failures(material),
        Part("waves", "Waves"),
        Part("news", "News"),
        Part("revision", "Revision by confidence"),
        _cost(material),
        _methods(material),
    ]
    return [p for p in made if p.id in pictured or p.facts or p.tables or p.quotes or p.folded]


def _asked(material: Material) -> Part:
    """Describe the study: its settings, its questions, its people, one whole prompt."""
    scenario = material.scenario
    folded = []
    for arm in scenario.arms:
        folded.append(Folded(f"What was asked in arm “{arm}”", text=_questionnaire(scenario.shown(arm))))
    if shown := material.prompt:
        title = f"The whole prompt of one person (person {shown.person}, arm “{shown.arm}”, wave {shown.wave})"
        folded.append(Folded(title, shown.remark, shown.text))
        folded += [Folded("What this person replied", text=shown.reply)] if shown.reply else []
    if len(material.margins):
        folded.append(_fit(material.margins))
    return Part("asked", "What was asked", facts=facts(material.manifest), folded=folded)


def _questionnaire(questionnaire: Any) -> str:
    """Write a questionnaire down as respondents read it."""
    lines = [questionnaire.introduction]
    for vignette in questionnaire.vignettes:
        lines += [vignette.title, vignette.introduction]
        for page in vignette.pages:
            lines += [page.title, page.text]
            for question in page.questions:
                given = getattr(question, "options", ())
                lines.append(f"[{question.name}] {question.text}" + "".join(f"\n    – {option}" for option in given))
    return "\n\n".join(line.strip() for line in lines if line.strip())


def _fit(margins: pd.DataFrame) -> Folded:
    """Show the worst cell of each margin of the population."""
    worst = margins.loc[margins.groupby("margin", sort=False)["error"].apply(lambda e: e.abs().idxmax())]
    shown = worst[["margin", "cell", "unit"]].assign(
        **{name: (100 * worst[name]).round(2) for name in ("target", "achieved", "error", "sampling_error")}
    )
    note = "The worst cell of each margin, in percent of the people; what is off comes from drawing few people."
    return Folded("How well the people meet their population", note, table=tabulate(shown.assign(source=worst["source"])))


def _answers(material: Material) -> Part:
    answers, questions = material.table("answers"), asked(material)
    if answers.empty:
        return Part("answers", "Answers")
    names = {name: label(q) for name, q in questions.items() if q.kind in NUMERIC}
    found = means(answers, names)
    order = {key: k for k, key in enumerate([*names, *material.scenario.arms])}
    found = found.sort_values(["question", "arm", "wave"], key=lambda c: c if c.name == "wave" else c.astype(str).map(order))
    found = found.assign(question=found["question"].astype(str).map(names))
    if found["wave"].nunique() < 2:
        found = found.drop(columns="wave")
    lines = [
        "Bars show how the answers are distributed, the dot below them the mean with its interval.",
        "Intervals are 95 % intervals over simulated respondents (Student's t for means, Wilson's for shares; the draws of "
        "one person are averaged first). They say how far another draw of as many respondents would come out, with the "
        "same engine and the same words; they say nothing about how far real people are from these answers."
    ]
    if material.scenario.readout.kind != "generate":
        lines.append(
            f"Answers were read out by {material.scenario.readout.kind}: each is the mean of a whole distribution, so means "
            "spread less than answers would; the bars add up the distributions themselves."
        )
    tables = [tabulate(found, "Means by arm")] if len(found) else []
    return Part("answers", "Answers", lines, tables=tables, quotes=_quotes(answers, questions))


def _quotes(answers: pd.DataFrame, questions: Mapping[str, Any]) -> list[Quote]:
    """Take the first readable texts of each arm: not chosen for what they say."""
    quotes = []
    for question in questions.values():
        if question.kind == "text":
            here = answers[answers["question"].eq(question.name) & answers["status"].eq("ok")]
            first = here[here["wave"].eq(here["wave"].max())].groupby("arm", observed=True, sort=False).head(_QUOTES)
            for row in first.itertuples():
                quotes.append(Quote(str(row.label), f"person {row.person}, arm {row.arm}, on: {label(question)}"))
    return quotes


def _human(material: Material) -> Part:
    """Set figures beside the human ones, whatever columns the comparison has."""
    comparison = material.comparison
    lines = [f"{v.title or v.name}: {v.reference.source}" for v in material.scenario.questionnaire.vignettes if v.reference]
    if len(material.changes):
        lines.append("Bars: simulated changes. Dot: their mean with its 95 % interval. Diamond: the published human mean with its own.")
    if comparison.empty:
        return Part("human", "Beside human answers", lines if len(material.changes) else [])
    shown = comparison.drop(columns=[c for c in ("vignette",) if c in comparison and comparison[c].nunique() == 1])
    marks: list[str] = []
    if "z" in shown:
        verdicts = [next((mark, said) for end, mark, said in _VERDICTS if not abs(z) > end) for z in shown["z"]]
        marks = [mark for mark, _ in verdicts]
        shown = shown.assign(**{"apart by": [said for _, said in verdicts]})
        lines.append("The last column counts the gap in standard errors of both figures together: ● within 2, ▲ 2 to 3, ■ more.")
    return Part("human", "Beside human answers", lines, tables=[tabulate(shown, "Simulated beside published human figures", marks)])


def _failures(material: Material) -> Part:
    """Count statuses by arm, and what became of first attempts."""
    answers, replies = material.table("answers"), material.table("replies")
    if answers.empty:
        return Part("failures", "What could not be read")
    counts = status_counts(answers)
    wide = counts.pivot(index="status", columns="arm", values="count").fillna(0).astype(int).reset_index()
    wide["status"] = wide["status"].astype(str)
    tables = [tabulate(wide, "Answers by status and arm")]
    failed = material.manifest.get("failures", {})
    lines = []
    if failed:
        lines.append(f"{number(failed['failed'])} of {number(failed['answers'])} answers failed ({failed['share']:.2%}). None was clamped, filled in or dropped.")
    if len(replies):
        again = int((replies["attempt"] > 0).sum())
        first = replies["first_status"].astype(str).value_counts()
        lines.append(f"{number(again)} of {number(len(replies))} prompts were asked more than once.")
        tables.append(tabulate(first.rename_axis("status of the first attempt").rename("prompts").reset_index()))
    folded = []
    if len(replies) and len(bad := replies[~replies["status"].isin(LEGAL)]):
        text = "\n\n".join(f"— person {r.person}, wave {r.wave}, {r.status}:\n{_given(r)}" for r in bad.head(_QUOTES).itertuples())
        folded.append(Folded("The first replies that could not be read", text=text))
    return Part("failures", "What could not be read", lines, tables=tables, folded=folded)


def _given(reply: Any) -> str:
    return str(reply.text if isinstance(reply.text, str) and reply.text else reply.error)


def _sweep(material: Material) -> Part:
    """Show contrasts between the ends of each swept path, and interactions."""
    answers, labels = responses(material)
    if answers.empty:
        return Part("sweep", "Dose and response")
    found = surface.contrasts(surface.cells(answers, material.paths), material.paths)
    found = found.assign(question=found["question"].astype(str).map(labels))
    if found["arm"].nunique() < 2:
        found = found.drop(columns="arm")
    lines = ["Contrasts are taken within a replicate, whose points share people and random draws, and averaged over replicates; n counts replicates, intervals are Student's t at 95 %."]
    return Part("sweep", "Dose and response", lines, tables=[tabulate(found, "Contrasts of the ends of each path")])


def _cost(material: Material) -> Part:
    """Say what it took."""
    manifest = material.manifest
    counts = manifest.get("counts", {})
    by_engine = {manifest["engine"]["fingerprint"]: counts} if "prompts" in counts else counts
    rows = []
    for engine, found in by_engine.items():
        rows += [(f"{name.replace('_', ' ')} ({engine})" if len(by_engine) > 1 else name.replace("_", " "), number(value)) for name, value in found.items() if value is not None]
    rows += [(name.replace("_", " "), number(value)) for name, value in manifest.get("tokens", {}).items()]
    if seconds := manifest.get("seconds"):
        rows.append(("seconds", number(seconds)))
        prompts = sum(found.get("prompts") or 0 for found in by_engine.values())
        rows.append(("prompts a second", number(round(prompts / seconds, 1))))
    return Part("cost", "Cost", facts=rows)


def _methods(material: Material) -> Part:
    from popsim.report.methods import methods

    return Part("methods", "Methods", folded=[Folded("methods.md", "Filled from manifest.json; it also lies in the folder.", methods(material.manifest))])
