"""LoRA adapters as vLLM takes them: what is known of one before a model is loaded for it."""

import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from popsim.errors import EngineError

OUTPUT = "lm_head"
"""The layer that gives each token its probability, as peft and vLLM name it."""


def adapter_rank(where: str, name: str, folder: Path) -> int:
    """Read the rank of a LoRA adapter.

    Args:
        where: Begins the error message.
        name: Of the adapter.
        folder: What peft has written.

    Raises:
        EngineError: The folder holds no LoRA adapter.
    """
    try:
        return int(_config(folder)["r"])
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(
            f"{where}: adapters: {name}: {folder} holds no LoRA adapter; give a folder that peft has written"
        ) from None


def check_output_layer(where: str, architectures: list[str], folders: Mapping[str, Path]) -> None:
    """Refuse an adapter that changes the output layer where vLLM's own class of the model takes none for it.

    Args:
        where: Begins the error message.
        architectures: Of the model, as its config names them.
        folders: The folder of each adapter.

    Raises:
        EngineError: There is such an adapter.
    """
    changed = [name for name, folder in folders.items() if changes_output(folder)]
    if not changed:
        return
    known: Mapping[str, Any] = importlib.import_module("vllm.model_executor.models.registry").ModelRegistry.models
    classes = [known[name].load_model_cls() for name in architectures if name in known]
    if not classes or any(OUTPUT in getattr(one, "embedding_modules", ()) for one in classes):
        return
    raise EngineError(
        f"{where}: adapters: {changed[0]}: {folders[changed[0]]} changes the output layer ({OUTPUT}), for which vLLM "
        f"takes no adapter in {classes[0].__name__}; take the engine transformers, or tune without {OUTPUT}"
    )


def changes_output(folder: Path) -> bool:
    """Tell whether an adapter changes the output layer.

    Args:
        folder: What peft has written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "adapter_config.json").write_text('{"target_modules": ["q_proj", "lm_head"]}')
        >>> changes_output(folder)
        True
    """
    modules = _config(folder).get("target_modules") or []
    return bool(re.fullmatch(modules, OUTPUT)) if isinstance(modules, str) else OUTPUT in modules


def _config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return found
