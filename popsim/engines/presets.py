"""Presets: the settings that a known model wants, by name, under what a scenario says itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from popsim.engines import split_spec
from popsim.errors import ScenarioError
from popsim.files import Frozen, find_file, read_yaml, validate

_HOW_DRAWN = {"source", "temperature", "top_p", "top_k"}


class Preset(Frozen):
    """How one model is to be asked."""

    title: Annotated[str, Field(min_length=1)]
    spec: Annotated[str, Field(pattern=r"^\w+$")]
    """The engine that it is asked with, without the model."""
    options: dict[str, str | int | float | bool | dict[str, str]] = {}
    """Settings of that engine."""
    sampling: dict[str, str | int | float | bool] = {}
    """As under ``sampling`` in a scenario."""
    needs_template: bool = False
    """Whether the model was tuned on sentences that popsim does not have, so that the user's file must give them."""


def load_preset(name: str, beside: Path | None = None) -> Preset:
    """Read a preset.

    Args:
        name: The name of a shipped preset, or a path.
        beside: The folder of the file that names it.

    Raises:
        ScenarioError: There is no such preset, or a key or value in it is wrong.

    Example:
        >>> load_preset("survey_v1_3b").sampling
        {'source': 'model', 'max_tokens': 2000}
    """
    path = find_file(name, "presets", ScenarioError, beside)
    return validate(Preset, read_yaml(path, ScenarioError), str(path), ScenarioError)


def with_preset(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Fill in what a scenario leaves to the preset that its engine names; what the scenario says itself stays.

    Args:
        data: The scenario as plain data; values of the wrong kind are left for its own check.
        path: Its file.

    Returns:
        The same with ``engine.spec``, ``engine.options`` and ``sampling`` filled in. Options of the preset are left out
        where the scenario names another engine, and how the preset draws where the scenario says how it draws.

    Raises:
        ScenarioError: The preset is unknown, lacks its model or its template, or model and spec contradict each other.

    Example:
        >>> scenario = {"engine": {"preset": "survey_v1_3b", "model": "/weights"}, "prompt": {"template": "mine.txt"}}
        >>> with_preset(scenario, Path("study.yaml"))["engine"]["spec"]
        'vllm:/weights'
    """
    engine = data.get("engine")
    if not isinstance(engine, Mapping):
        return dict(data)
    name, model, spec = (engine.get(key) for key in ("preset", "model", "spec"))
    if model and not name:
        raise ScenarioError(f"{path}: engine.model: {model!r} goes with a preset; else write spec: NAME:MODEL")
    if not name or not isinstance(name, str):
        return dict(data)
    try:
        preset = load_preset(name, path.parent)
    except ScenarioError as problem:
        raise ScenarioError(f"{path}: engine.preset: {problem}") from None
    spec = _spec(preset, model, spec, f"{path}: engine: preset {name}")
    _check_template(preset, data.get("prompt"), f"{path}: engine: preset {name}")
    options = preset.options if split_spec(str(spec))[0] == preset.spec else {}
    filled = {**engine, "spec": spec, "options": _under(engine.get("options"), options)}
    return {**data, "engine": filled, "sampling": _sampling(data.get("sampling"), preset.sampling)}


def _spec(preset: Preset, model: Any, spec: Any, where: str) -> Any:
    """Put the engine of a preset and the model of the user together."""
    own = f"{preset.spec}:{model}"
    if not model and not spec:
        raise ScenarioError(f"{where}: needs the weights; write model: with their folder or hub name beside it")
    if model and spec and spec != own:
        raise ScenarioError(f"{where}: model {model!r} and spec {spec!r} contradict each other; leave one out")
    return spec or own


def _check_template(preset: Preset, prompt: Any, where: str) -> None:
    """Make the user decide in which sentences a model is asked that was tuned on others than popsim's."""
    if preset.needs_template and not {"template", "layout"} & set(prompt if isinstance(prompt, Mapping) else {}):
        raise ScenarioError(
            f"{where}: was tuned on sentences that popsim does not have; write prompt: {{template: FILE}} with a file "
            "that holds them, or prompt: {layout: survey_v1} to ask it in popsim's own"
        )


def _sampling(given: Any, preset: Mapping[str, Any]) -> Any:
    if isinstance(given, str):
        given = {"source": given}
    own = isinstance(given, Mapping) and _HOW_DRAWN & set(given)
    return _under(given, {key: value for key, value in preset.items() if not (own and key in _HOW_DRAWN)})


def _under(given: Any, preset: Mapping[str, Any]) -> Any:
    """Put the values of a preset under those that are given."""
    return {**preset, **(given or {})} if isinstance(given, Mapping | None) else given
