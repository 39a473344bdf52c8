"""One self-contained HTML page of a run or a sweep: no script, no network, everything escaped."""

from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from popsim.report.blocks import Figure, number, tabulate
from popsim.report.figures import figures
from popsim.report.material import Material
from popsim.report.methods import engines_of, is_by_construction, sentence
from popsim.report.parts import parts
from popsim.report.style import SINGLE, draw

_HERE = Path(__file__).parent


def page(material: Material) -> str:
    """Write the page.

    Args:
        material: A run or a sweep, finished or not.

    Returns:
        HTML that holds its pictures, its style and its tables, and runs no script.
    """
    pictures: dict[str, list[dict[str, Any]]] = {}
    for name, figure in figures(material).items():
        pictures.setdefault(figure.section, []).append(_picture(name, figure))
    manifest, scenario = material.manifest, material.scenario
    by_construction = is_by_construction(manifest)
    return _template().render(
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        title=scenario.title,
        kind="Sweep" if material.paths else "Simulated survey",
        under=_under(material),
        notice=_notice(material, by_construction),
        by_construction=by_construction,
        missing=material.missing,
        cards=_cards(material),
        parts=parts(material, pictures),
        pictures=pictures,
        version=version("popsim"),
        source=f"{scenario.name}, started {manifest.get('started', 'at an unknown time')}",
    )


@lru_cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja")


def _picture(name: str, figure: Figure) -> dict[str, Any]:
    chart = figure.chart(SINGLE)
    return {
        "name": name,
        "title": figure.title,
        "note": figure.note,
        "words": chart.to_dict()["description"],
        "svg": Markup(draw(chart)),
        "data": tabulate(figure.data),
    }


def _under(material: Material) -> str:
    engine = material.manifest.get("engine", {}).get("fingerprint") or ", ".join(
        material.manifest["identity"]["engine"]
    )
    return f"{material.scenario.name} · {material.scenario.population.title} · answered by {engine}"


def _notice(material: Material, by_construction: bool) -> dict[str, Any]:
    lines = [sentence(engine["notice"]) for engine in engines_of(material.manifest)]
    if drawn := material.manifest.get("uncalibrated"):
        lines.append(f"Uncalibrated, drawn by stated defaults: {', '.join(drawn)}.")
    if not by_construction:
        return {"title": "What these answers are worth", "lines": lines}
    what = "The surface below is what was coded," if material.paths else "Any agreement below is"
    return {"title": f"These answers are not evidence about people. {what} by construction.", "lines": lines}


def _cards(material: Material) -> list[tuple[str, str]]:
    manifest, scenario = material.manifest, material.scenario
    cards = [("Respondents", number(scenario.size))]
    if material.paths:
        identity = manifest["identity"]
        cards += [("Points", number(len(identity["points"]))), ("Replicates", number(identity["replicates"]))]
    else:
        cards += [("Arms", number(len(scenario.arms))), ("Waves", number(len(scenario.waves)))]
    if failures := manifest.get("failures"):
        cards.append(("Answers that failed", f"{failures['share']:.1%}"))
    if seconds := manifest.get("seconds"):
        cards.append(("Time", f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.1f} s"))
    return [*cards, ("State", str(manifest["state"]))]
