"""The model that is tuned: a base, in 4 bits where asked for, with a LoRA adapter in it that learns."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from popsim import streams
from popsim.engines.local import adapters, loading
from popsim.errors import EngineError, TuneError
from popsim.tune.adapter_config import AdapterConfig


def check_device(config: AdapterConfig) -> None:
    """Refuse 4 bits where there is nothing to compute them with.

    Raises:
        TuneError: There is no GPU, or no bitsandbytes.
    """
    if config.bits is None:
        return
    if not torch.cuda.is_available():
        raise TuneError(f"{config.name}: bits: 4 needs a GPU, and PyTorch finds none; take bits out (LoRA)")
    if find_spec("bitsandbytes") is None:
        raise TuneError(f"{config.name}: bits: 4 needs bitsandbytes; run: pip install bitsandbytes, or take bits out")


def load_base(config: AdapterConfig) -> tuple[Any, Any]:
    """Load the model that the adapter is for, and its tokenizer.

    Raises:
        EngineError: It cannot be loaded, or has no chat template.
    """
    if config.bits is None:
        return loading.load(config.base, config.dtype, config.device)
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    where = f"transformers:{config.base}"
    tokenizer = loading.load_tokenizer(config.base, where)
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )
    try:
        with loading.quiet():
            model = AutoModelForCausalLM.from_pretrained(config.base, quantization_config=settings, device_map={"": 0})
    except Exception as problem:
        raise EngineError(f"{where}: cannot be loaded in 4 bits: {loading.first_line(problem)}") from problem
    return model, tokenizer


def add_adapter(model: Any, config: AdapterConfig) -> Any:
    """Put a new adapter, or the one to start from, into a model.

    Raises:
        TuneError: There is no such adapter, it was made for another base, or a named module is not in the model.
    """
    from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training

    if config.bits is not None:
        model = prepare_model_for_kbit_training(model)
    lora = config.lora
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear" if lora.modules == "all" else list(lora.modules),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        torch.manual_seed(streams.stream(f"tune.adapter.{config.seed}"))
        try:
            if config.start:
                adapters.content(f"{config.name}: start", config.base, Path(config.start))
                warnings.filterwarnings("error", "Found missing adapter keys")
                return PeftModel.from_pretrained(model, config.start, is_trainable=True)
            return get_peft_model(model, settings)
        except EngineError as problem:
            raise TuneError(str(problem)) from None
        except Exception as problem:
            what = f"start: {config.start} does not fit" if config.start else f"lora.modules: {lora.modules} do not fit"
            raise TuneError(f"{config.name}: {what} {config.base}: {loading.first_line(problem)}") from None
