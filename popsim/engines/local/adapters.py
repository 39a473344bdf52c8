"""LoRA adapters on one model, each under its name, one at work at a time."""

import json
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from popsim.engines.local.loading import digest, first_line
from popsim.errors import EngineError

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


class Adapters:
    """Adapters from folders that peft has written.

    Args:
        network: The model, which they are put into.
        model: Its folder or hub name.
        folders: The folder of each name.

    Attributes:
        names: The adapters, sorted.
        name: Names them by content; empty where there is none.

    Raises:
        EngineError: peft is missing, or an adapter is not there or does not fit the model.
    """

    def __init__(self, network: Any, model: str, folders: Mapping[str, str]) -> None:
        self.names = tuple(sorted(folders))
        self._peft: Any = None
        self._now: str | None = None
        parts = []
        for index, name in enumerate(self.names):
            where = f"transformers:{model}: adapter {name}"
            parts.append(f"{name}@{content(where, model, Path(folders[name]))}")
            self._put(network, model, name, folders[name], index)
        self.name = f":{','.join(parts)}" if parts else ""

    def use(self, name: str) -> None:
        """Let an adapter, or with an empty name the model itself, compute from now on."""
        if self._peft is None or name == self._now:
            return
        tuner = self._peft.base_model
        if name:
            tuner.enable_adapter_layers()
            self._peft.set_adapter(_inner(self.names.index(name)), inference_mode=True)
        else:
            tuner.disable_adapter_layers()
        self._now = name

    def _put(self, network: Any, model: str, name: str, folder: str, index: int) -> None:
        """Load one adapter into the model."""
        from peft import PeftModel

        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning)
                warnings.filterwarnings("error", "Found missing adapter keys")
                if self._peft is None:
                    self._peft = PeftModel.from_pretrained(network, folder, _inner(index), autocast_adapter_dtype=False)
                else:
                    found = self._peft.load_adapter(folder, _inner(index), autocast_adapter_dtype=False)
                    if lacking := [key for key in found.missing_keys if _inner(index) in key]:
                        raise ValueError(f"it lacks {len(lacking)} weights, for example {lacking[0]}")
                self._peft.eval()
        except Exception as problem:
            why = first_line(problem)
            raise EngineError(
                f"transformers:{model}: adapter {name} in {folder} does not fit this model: {why}"
            ) from None


def check_names(adapters: object, where: str) -> dict[str, str]:
    """Check the option that names the adapters.

    Args:
        adapters: What was given.
        where: Begins the error message.

    Raises:
        EngineError: It is no mapping of names to folders.
    """
    if adapters is None:
        return {}
    texts = isinstance(adapters, Mapping) and all(isinstance(part, str) for pair in adapters.items() for part in pair)
    if not isinstance(adapters, Mapping) or not texts or "" in adapters:
        raise EngineError(f"{where}: adapters must map names to folders, {{NAME: FOLDER}}, not {adapters!r}")
    if adapters and find_spec("peft") is None:
        raise EngineError(f"{where}: adapters need peft; run: pip install 'popsim[tune]'")
    return dict(adapters)


def content(where: str, model: str, folder: Path) -> str:
    """Hash an adapter's files, once it is known to be LoRA and made for this model as far as names tell.

    Args:
        where: Begins the error message.
        model: The model's folder or hub name.
        folder: What peft has written.

    Raises:
        EngineError: The folder holds no such adapter.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
        kind, base = config.get("peft_type"), config.get("base_model_name_or_path") or ""
    except FileNotFoundError:
        raise EngineError(
            f"{where}: no adapter_config.json in {folder}; give the folder that peft has written"
        ) from None
    except (OSError, ValueError, AttributeError) as problem:
        raise EngineError(f"{where}: {folder}/adapter_config.json cannot be read: {first_line(problem)}") from None
    if kind != "LORA":
        raise EngineError(f"{where}: is a {kind} adapter; only LORA is allowed")
    hubs = base.count("/") == 1 and not Path(base).exists() and model.count("/") == 1 and not Path(model).exists()
    if hubs and base.lower().split("/")[1] != model.lower().split("/")[1]:
        raise EngineError(f"{where}: was made for {base}; load that model, or take an adapter made for this one")
    weights = next((folder / one for one in _WEIGHTS if (folder / one).is_file()), None)
    if weights is None:
        raise EngineError(f"{where}: {folder} lacks {_WEIGHTS[0]}")
    return digest(folder / "adapter_config.json", weights)[:16]


def _inner(index: int) -> str:
    """Name an adapter inside peft, which refuses some names."""
    return f"popsim{index}"
