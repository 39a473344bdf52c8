"""``methods.md``: a paragraph and a checklist for a paper's appendix, filled from a manifest alone."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from popsim.report.plans import contents, of_manifest

Manifest = Mapping[str, Any]
_LISTED = 12
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_COUNTS = {
    "prompts": "prompts",
    "asked": "asked of the engine, further attempts included",
    "from_journal": "answered from the journal",
    "from_cache": "answered from the cache",
    "distinct": "distinct prompts",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
}


def methods(manifest: Manifest, beside: Sequence[Manifest] = (), more: int = 0) -> str:
    """Write what a reader needs to judge and to repeat a run or a sweep, in Markdown.

    Args:
        manifest: Of a Run folder or of a sweep folder, finished or not; what is not in it yet is said to be missing.
        beside: Manifests of other studies that lie in the same folder, so that everything tried is told.
        more: How many older ones lie there besides.

    Example:
        >>> from popsim.scenario import load_scenario, to_plain
        >>> scenario = to_plain(load_scenario("oil_price_fall", {"size": 10}))
        >>> print(methods({"state": "running", "identity": {"engine": "x/1", "scenario": scenario}}).splitlines()[0])
        # Methods: An unexpected fall of the oil price by $30
    """
    scenario = manifest["identity"]["scenario"]
    lines = [f"# Methods: {plain(scenario['title'])}", "", _paragraph(manifest), "", "## Checklist", ""]
    lines += [f"- **{name}:** {_one_line(plain(value))}" for name, value in (*facts(manifest), *_outcome(manifest))]
    lines += _plan(manifest)
    lines += ["", "## Everything tried in this folder", "", *(f"- {line}" for line in _tried(manifest, beside, more))]
    lines += ["", "## Sources", "", *(f"- {plain(source)}" for source in sources(scenario))]
    lines += ["", "## Template of the prompt", "", *_template(manifest), ""]
    return "\n".join(lines)


def facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Give the settings of a study as names and words, the same for the page and for ``methods.md``."""
    identity, scenario = manifest["identity"], manifest["identity"]["scenario"]
    population, questionnaire = scenario["population"], scenario["questionnaire"]
    arms = ", ".join(f"{name} (share {arm['share']:g})" for name, arm in scenario["arms"].items())
    found = [
        ("Study", f"{scenario['name']}: {scenario['title']}"),
        ("Questionnaire", f"{questionnaire['name']} ({questionnaire['language']}): {_count(questionnaire)} questions"),
        ("Arms", arms),
        ("Population", f"{population['title']}, {scenario['size']:,} respondents drawn"),
        ("Fit of the population", _fit(manifest)),
        ("Weights", _weights(manifest)),
        ("Confidence", _confidence(scenario["people"])),
        ("Prior expectations", _settings(scenario["priors"])),
        ("Parts of a respondent shown", ", ".join(n for n, on in scenario["modules"].items() if on) or "none"),
        ("Network", _settings(scenario["network"])),
        ("News", "\n".join(_news(item) for item in scenario["news"]) or "none"),
        *_information(scenario),
        ("Plan", "\n".join(of_manifest(manifest))),
        ("Waves", f"at step {', '.join(map(str, scenario['waves']))}; draws of each person: {scenario['draws']}"),
        ("Engine", _engine(manifest)),
        ("Quantisation and options", _settings(scenario["engine"]["options"]) or "none named"),
        ("Sampling", _sampling(scenario)),
        ("Reading of answers", f"{scenario['readout']['kind']}; at most {scenario['attempts']} attempts a prompt"),
        ("Seed", f"{scenario['seed']}; every prompt's seed is a function of it, person, wave, round, draw and attempt"),
    ]  # fmt: skip
    if "points" in identity:
        found.insert(1, ("Sweep", _swept(identity)))
    return [(name, value) for name, value in found if value]


def is_by_construction(manifest: Manifest) -> bool:
    """Say whether the engine is the fitted respondent, or the small model that imitates it."""
    engine = manifest["identity"]["engine"]
    return all(re.match(r"(baseline/|nano@)", one) for one in ([engine] if isinstance(engine, str) else engine))


def engines_of(manifest: Manifest) -> list[Manifest]:
    """List what a manifest says of its engine, or of the several engines of a sweep."""
    return manifest.get("engines") or ([manifest["engine"]] if "engine" in manifest else [])


def sentence(text: str) -> str:
    """Begin with a capital and end with one full stop.

    Example:
        >>> sentence("made up")
        'Made up.'
    """
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def sources(scenario: Mapping[str, Any]) -> list[str]:
    """List the sources that population and questionnaire name, each once."""
    population, questionnaire = scenario["population"], scenario["questionnaire"]
    found = [questionnaire["source"]]
    found += [(v["reference"] or {}).get("source", "") for v in questionnaire["vignettes"]]
    for step in population["steps"]:
        found += [f"{margin['source']}, {margin['year']} ({margin['status']})" for margin in step["margins"]]
    found += [(population["priors"] or {}).get("source", ""), _confidence_source(population["confidence"])]
    named = [_one_line(str(one)) for one in found if one]
    return list(dict.fromkeys(named)) or ["none named"]


def plain(text: object) -> str:
    r"""Escape what Markdown or HTML would read as markup.

    Example:
        >>> plain("<b>*five*</b>")
        '\\<b\\>\\*five\\*\\</b\\>'
    """
    return _SPECIAL.sub(r"\\\1", str(text))


def _paragraph(manifest: Manifest) -> str:
    identity, scenario, failures = manifest["identity"], manifest["identity"]["scenario"], manifest.get("failures")
    engine = identity["engine"] if isinstance(identity["engine"], str) else ", ".join(identity["engine"])
    people = f"{scenario['size']:,} respondents drawn from {plain(scenario['population']['title'])}"
    asked = f"{_several(scenario['arms'], 'arm')} and {_several(scenario['waves'], 'wave')}"
    said = [
        f"We simulated {people} and put the questionnaire {plain(scenario['questionnaire']['name'])} to them "
        f"with popsim {identity.get('popsim', '')} and the engine {plain(engine)}, in {asked}."
    ]
    if "points" in identity:
        said.append(f"This was repeated at {len(identity['points'])} points, {identity['replicates']} times at each.")
    if failures:
        share = f"{failures['failed']:,} ({failures['share']:.2%})"
        said.append(f"Of {failures['answers']:,} answers {share} could not be read and count as missing.")
    if manifest["state"] != "complete":
        said.append(f"The run is {manifest['state']}, not complete.")
    said += [plain(sentence(engine["notice"])) for engine in engines_of(manifest)]
    return " ".join(said)


def _outcome(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Say what came of it: counts, failures, time, versions."""
    counts = manifest.get("counts", {})
    by_engine = {"": counts} if "prompts" in counts else counts
    for engine, found in by_engine.items():
        said = [f"{found[key]:,} {words}" for key, words in _COUNTS.items() if found.get(key) is not None]
        yield f"Prompts{f' ({plain(engine)})' if engine else ''}", "; ".join(said)
    failures = manifest.get("failures")
    if failures:
        listed = [
            f"{status} in {arm}: {n}" for status, arms in failures["by_status"].items() for arm, n in arms.items()
        ]
        total = f"{failures['failed']} of {failures['answers']} answers ({failures['share']:.2%})"
        yield "Failures", "; ".join([total, *listed])
    if drawn := manifest.get("uncalibrated"):
        yield "Uncalibrated, by stated defaults", ", ".join(drawn)
    if "seconds" in manifest:
        yield "Time", f"{manifest['seconds']:.1f} s from {manifest.get('started', '?')}"
    if "versions" in manifest:
        yield "Versions", _settings(manifest["versions"])
    for engine in engines_of(manifest):
        yield "Reproducible", f"{engine['fingerprint']}: {engine['reproducible']} on the same machine"


def _tried(manifest: Manifest, beside: Sequence[Manifest], more: int) -> Iterator[str]:
    """Tell every start of this study, and the studies beside it."""
    starts = manifest.get("starts") or [manifest.get("started", "at an unknown time")]
    times = "once" if len(starts) == 1 else f"{len(starts)} times"
    yield f"This study was started {times}: {', '.join(starts)}. Its state is {manifest['state']}."
    for point in manifest["identity"].get("points", ()):
        yield f"Point: {plain(_settings(point['values']))}"
    for other in beside:
        scenario, engine = other["identity"]["scenario"], other["identity"]["engine"]
        what = f"{scenario['name']}, {scenario['size']:,} respondents, seed {scenario['seed']}, engine {engine}"
        yield f"Beside it: {plain(what)}; {other['state']}, started {other.get('started', '?')}"
    if more:
        yield f"Beside it: {more} older ones"
    yield "What was tried elsewhere is not known to popsim; report it too."


def _plan(manifest: Manifest) -> list[str]:
    """List what was planned before there were answers; nothing where no plan was frozen."""
    record = manifest.get("plan")
    if not record or not record["frozen"]:
        return []
    listed = (f"- **{plain(name)} (planned):** {_one_line(plain(words))}" for name, words in contents(record))
    return ["", "## Plan, frozen before the first answer", "", *listed]


def _template(manifest: Manifest) -> list[str]:
    """Give the template's text in a fence that nothing in it can close."""
    prompt = manifest["identity"]["scenario"]["prompt"]
    text = prompt["template"] or manifest.get("template", "")
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`+", text))])
    whose = "the study's own template" if prompt["template"] else f"layout {prompt['layout']} of popsim"
    return [f"{whose[:1].upper()}{whose[1:]}; its slots are filled for each respondent.", "", fence, text, fence]


def _fit(manifest: Manifest) -> str:
    fit = manifest.get("population_fit")
    if fit is None:
        return "not known before the run is complete"
    if not fit:
        return "drawn from a table of respondents; no margins were fitted"
    how = "converged" if fit["converged"] else "DID NOT CONVERGE"
    worst = f"worst control {fit['worst_control']} ({fit['worst_error']:.1e})"
    return f"raking {how} after {fit['iterations']} iterations; {worst}"


def _weights(manifest: Manifest) -> str:
    weights = manifest.get("weights")
    if not weights:
        return ""
    n, size = weights["effective_n"], weights["n"]
    if abs(n - size) < 1e-6 * size:
        return f"equal: people are drawn in proportion to the raked weights; effective n {n:,.0f}"
    return f"unequal; effective n {n:,.1f} of {size:,}, design effect {weights['design_effect']:.2f} (Kish)"


def _engine(manifest: Manifest) -> str:
    settings, engine = manifest["identity"]["scenario"]["engine"], manifest["identity"]["engine"]
    name = engine if isinstance(engine, str) else ", ".join(engine)
    said = f"{name} (asked for as {settings['spec']}; the fingerprint names the model's revision by content)"
    return said + (f", adapter {settings['adapter']}" if settings["adapter"] else "")


def _sampling(scenario: Mapping[str, Any]) -> str:
    sampling = scenario["sampling"]
    if sampling["source"] == "model":
        return "as the model's own generation_config says" + (", held to a grammar" if sampling["structured"] else "")
    drawn = f"temperature {sampling['temperature']:g}, top-p {sampling['top_p']:g}, top-k {sampling['top_k'] or 'off'}"
    most = f", at most {sampling['max_tokens']} tokens" if sampling["max_tokens"] else ""
    return drawn + most + (", held to a grammar" if sampling["structured"] else ", not held to a grammar")


def _swept(identity: Mapping[str, Any]) -> str:
    points = identity["points"]
    listed = "\n".join(f"{path}: {_scanned([p['values'][path] for p in points])}" for path in points[0]["values"])
    total = (
        f"{len(points)} points, {identity['replicates']} replicates each; what is swept stands below as at the first"
    )
    return f"{total}\n{listed}"


def _scanned(values: Sequence[Any]) -> str:
    """List the values of a path; many numbers by their ends."""
    known = list(dict.fromkeys(map(str, values)))
    if len(known) > _LISTED and all(isinstance(one, int | float) for one in values):
        return f"{len(known)} values from {min(values):.4g} to {max(values):.4g}"
    return ", ".join(known)


def _information(scenario: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give what else a scenario says about information; empty where it says nothing."""
    beliefs = (f"{name} in {one['unit']}, moved by rule ({one['source']})" for name, one in scenario["beliefs"].items())
    posts = scenario["share_opinions"]
    shared = (
        f"{posts['share']:.0%} post what they wrote; a follower sees a post with probability {posts['seen']:g}"
        if posts
        else ""
    )
    return [
        ("Placebo news", "every item says its placebo text and carries no signal" if scenario["placebo_news"] else ""),
        ("Beliefs", "; ".join(beliefs)),
        ("Opinions that travel", shared),
        ("Memory", "later prompts tell what was answered in the wave before" if scenario["remember"] else ""),
        ("Instruction on confidence", "" if scenario["prompt"]["weighing"] else "left out of the prompt"),
    ]


def _news(item: Mapping[str, Any]) -> str:
    how = [f"step {item['step']}"]
    if item["reach"]:
        whom = "those with the most followers" if item["first"] == "most_followed" else "at random"
        how.append(f"reaches {item['reach']:.0%} directly, {whom}")
    if item["assigned"]:
        how.append(f"shown by experiment to {item['assigned']:.0%}, drawn at random")
    if item["rule"] == "threshold":
        how.append("taken up by a threshold")
    elif item["passed_on"]:
        how.append(f"passed on with probability {item['passed_on']:g}")
    signal = item["signal"]
    text = item["text"].replace("{{value}}", f"{signal['value']:g}") if signal else item["text"]
    return f"{item['name']}: “{text}” ({item['source']}; {', '.join(how)})"


def _settings(values: Mapping[str, Any]) -> str:
    def said(value: Any) -> str:
        return (
            f"({_settings(value)})"
            if isinstance(value, Mapping)
            else f"{value:g}"
            if isinstance(value, float)
            else str(value)
        )

    return ", ".join(f"{name.replace('_', ' ')} {said(v)}" for name, v in values.items() if v not in (None, {}, ""))


def _confidence(people: Mapping[str, Any]) -> str:
    shift = people.get("confidence_shift")
    moved = f", shifted by {shift:+d} levels" if shift else ""
    return f"{people['confidence']}{moved}"


def _confidence_source(confidence: Mapping[str, Any] | None) -> str:
    return f"levels of confidence: {confidence['status']}. {confidence['note']}".strip() if confidence else ""


def _several(things: Sequence[Any] | Mapping[str, Any], name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _count(questionnaire: Mapping[str, Any]) -> int:
    return sum(len(page["questions"]) for vignette in questionnaire["vignettes"] for page in vignette["pages"])


def _one_line(text: str) -> str:
    return " / ".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
