"""Starting vLLM in this process: options that make sense, what its CPU build needs, what popsim's answers rest on."""

import importlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, GenerationConfig

from popsim.engines.local.loading import first_line, quiet
from popsim.errors import EngineError

MOST_LOGPROBS = 128
"""Log-probabilities that are told at once."""
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}


def check_options(where: str, dtype: str, share: float | None, **counts: int | None) -> None:
    """Refuse options of which no vLLM could make sense."""
    if dtype not in _DTYPES:
        raise EngineError(f"{where}: dtype {dtype!r} is unknown; allowed: {', '.join(_DTYPES)}")
    for name, value in counts.items():
        if value is not None and (type(value) is not int or value < 1):
            raise EngineError(f"{where}: {name} must be a whole number of 1 or more, not {value!r}")
    if share is not None and not (isinstance(share, int | float) and 0 < share <= 1):
        raise EngineError(f"{where}: gpu_memory_utilization must be a share above 0, up to 1, not {share!r}")


def import_vllm(where: str) -> Any:
    """Import vLLM, quiet and without its report of usage unless the environment says otherwise."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for part in ("platforms", "sampling_params", "lora.request"):
                importlib.import_module(f"vllm.{part}")
            return importlib.import_module("vllm")
    except (ImportError, RuntimeError) as problem:
        raise EngineError(f"{where}: vLLM cannot be imported: {first_line(problem)}") from problem


def settings_for(
    where: str, model: str, given: Mapping[str, Any], ranks: Sequence[int], *, on_cpu: bool
) -> dict[str, Any]:
    """Give the settings that vLLM is started with.

    Args:
        where: The engine, for messages.
        model: A folder, or a name on the Hugging Face hub.
        given: Options by vLLM's names; those that are None are left to vLLM.
        ranks: Of the LoRA adapters.
        on_cpu: Whether vLLM is its CPU build.
    """
    settings = {name: value for name, value in given.items() if value is not None}
    if ranks:
        # In a mixed batch the CPU build reads prompts without an adapter through the last slot: keep that empty.
        rank = next((allowed for allowed in _RANKS if allowed >= max(ranks)), max(ranks))
        settings |= {"enable_lora": True, "max_loras": len(ranks) + on_cpu, "max_lora_rank": rank}
    if on_cpu:
        settings = _cpu_settings(_context(where, model)) | settings
        settings["max_num_batched_tokens"] = max(settings["max_model_len"], 8192)
    return settings


def _cpu_settings(context: int) -> dict[str, Any]:
    """Give what vLLM's CPU build needs to run in this process and to draw by seeds."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(max(1, memory // 8)))
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    return {"max_model_len": context, "enable_chunked_prefill": False, "enforce_eager": True}


def start(where: str, names: Any, model: str, settings: dict[str, Any]) -> Any:
    """Start vLLM with what popsim's answers rest on and the settings given."""
    try:
        with quiet():
            return names.LLM(
                model,
                generation_config="vllm",
                enable_prefix_caching=True,
                logprobs_mode="raw_logprobs",
                max_logprobs=MOST_LOGPROBS,
                structured_outputs_config={"backend": "xgrammar"},
                use_tqdm_on_load=False,
                **settings,
            )
    except Exception as problem:
        said = ", ".join(f"{name}={value}" for name, value in settings.items())
        raise EngineError(f"{where}: vLLM cannot start ({said}): {first_line(problem)}") from problem


def read_config(where: str, model: str) -> Any:
    """Read a model's config.json."""
    try:
        return AutoConfig.from_pretrained(model, local_files_only=Path(model).is_dir())
    except Exception as problem:
        raise EngineError(f"{where}: its config.json cannot be read: {first_line(problem)}") from problem


def _context(where: str, model: str) -> int:
    """Count the tokens that a model can read and write together."""
    return getattr(read_config(where, model).get_text_config(), "max_position_embeddings", None) or 2048


def own_settings(model: str, config: Any) -> dict[str, Any]:
    """Read a model's generation_config, or make one of its config where it has none."""
    try:
        declared = GenerationConfig.from_pretrained(model, local_files_only=Path(model).is_dir())
    except OSError:
        declared = GenerationConfig.from_model_config(config)
    found: dict[str, Any] = declared.to_dict()
    return found
