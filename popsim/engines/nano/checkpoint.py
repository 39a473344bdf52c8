"""Reading the Hugging Face files of a small Llama into NumPy arrays, or saying in one line why it cannot be done."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from tokenizers import Tokenizer

from popsim.engines.nano.forward import Floats, Layer, Network, blocked
from popsim.errors import EngineError
from popsim.files import read_text

_ALLOWED: dict[str, tuple[object, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "rope_type": ("default",),
    "partial_rotary_factor": (1,),
    "tie_word_embeddings": (False, True),
}
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_config(path: Path) -> dict[str, Any]:
    """Read a config.json with its rotary settings lifted to the top.

    Args:
        path: The file.

    Returns:
        Its keys, checked: a Llama that `popsim.engines.nano.forward` computes, head size and counts filled in.

    Raises:
        EngineError: The file is missing, is no JSON object, or asks for something else.
    """
    config = _read_object(path)
    rope = (config.get("rope_scaling") or {}) | (config.get("rope_parameters") or {})
    config |= {"rope_type": "default", **({"rope_type": rope["type"]} if "type" in rope else {}), **rope}
    for key, allowed in _ALLOWED.items():
        value = config.setdefault(key, None if key == "model_type" else allowed[0])
        if value not in allowed:
            shown = ", ".join(json.dumps(one) for one in allowed)
            raise EngineError(f"{path}: {key} is {json.dumps(value)}; nano computes only {shown}")
    config.setdefault("num_key_value_heads", config.get("num_attention_heads"))
    whole = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "max_position_embeddings"]
    for key in [*whole, "num_attention_heads", "num_key_value_heads"]:
        _check(path, config, key, _is_count(config.get(key)), "a whole number of 1 or more")
    heads = config["num_attention_heads"]
    if config.get("head_dim") is None:
        config["head_dim"] = config["hidden_size"] // heads
    even = _is_count(config["head_dim"]) and config["head_dim"] % 2 == 0
    _check(path, config, "head_dim", even, "an even whole number")
    _check(path, config, "num_key_value_heads", heads % config["num_key_value_heads"] == 0, f"a divisor of {heads}")
    for key, usual in (("rms_norm_eps", 1e-6), ("rope_theta", 10000.0)):
        value = config.setdefault(key, usual)
        _check(path, config, key, isinstance(value, int | float) and value > 0, "a number above 0")
    return config


def read_generation(path: Path) -> dict[str, Any]:
    """Read a generation_config.json; empty where there is none.

    Args:
        path: The file.

    Raises:
        EngineError: The file is no JSON object.
    """
    return _read_object(path) if path.is_file() else {}


def read_network(path: Path, config: Mapping[str, Any]) -> Network:
    """Read the weights of a model, stored as float32, float16 or bfloat16.

    Args:
        path: A safetensors file.
        config: What `read_config` gave.

    Raises:
        EngineError: The file is missing or broken, or a tensor is missing or of another shape or type.
    """
    weights = _Weights(path)
    hidden, size = config["hidden_size"], config["head_dim"]
    heads, kv_heads, inner = config["num_attention_heads"], config["num_key_value_heads"], config["intermediate_size"]
    layers = []
    for index in range(config["num_hidden_layers"]):
        at = f"model.layers.{index}."
        query = weights.get(f"{at}self_attn.q_proj", heads * size, hidden) / np.float32(np.sqrt(size))
        key, value = (weights.get(f"{at}self_attn.{name}_proj", kv_heads * size, hidden) for name in "kv")
        gate, up = (weights.get(f"{at}mlp.{name}_proj", inner, hidden) for name in ("gate", "up"))
        layers.append(
            Layer(
                qkv=blocked(np.concatenate([query, key, value]) * weights.get(f"{at}input_layernorm", hidden)),
                out=blocked(weights.get(f"{at}self_attn.o_proj", hidden, heads * size)),
                gate_up=blocked(np.concatenate([gate, up]) * weights.get(f"{at}post_attention_layernorm", hidden)),
                down=blocked(weights.get(f"{at}mlp.down_proj", hidden, inner)),
            )
        )
    embedding = weights.get("model.embed_tokens", config["vocab_size"], hidden)
    head = embedding if config["tie_word_embeddings"] else weights.get("lm_head", config["vocab_size"], hidden)
    turns = 1 / np.float32(config["rope_theta"]) ** (np.arange(0, size, 2, dtype=np.float32) / np.float32(size))
    angles = np.arange(config["max_position_embeddings"], dtype=np.float32)[:, None] * turns
    return Network(
        embedding=embedding,
        layers=tuple(layers),
        head=blocked(head * weights.get("model.norm", hidden)),
        cos=np.cos(angles),
        sin=np.sin(angles),
        heads=heads,
        kv_heads=kv_heads,
        epsilon=config["rms_norm_eps"],
    )


def read_tokenizer(path: Path, vocabulary: int) -> Tokenizer:
    """Read a tokenizer.json that takes every text for text, even one that spells a control token.

    Args:
        path: The file.
        vocabulary: How many tokens the model knows.

    Raises:
        EngineError: The file is missing or broken, or holds tokens that the model does not know.
    """
    try:
        tokenizer = Tokenizer.from_str(read_text(path, EngineError))
    except EngineError:
        raise
    except Exception as problem:
        raise EngineError(f"{path}: not readable as a tokenizer: {problem}") from None
    if tokenizer.get_vocab_size() > vocabulary:
        raise EngineError(f"{path}: has {tokenizer.get_vocab_size()} tokens, the model beside it only {vocabulary}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


class _Weights:
    """The tensors of a safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.tensors: dict[str, Any] = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
        except FileNotFoundError:
            raise EngineError(f"{path}: no such file") from None
        except (OSError, SafetensorError) as problem:
            raise EngineError(f"{path}: not readable as safetensors: {problem}") from None

    def get(self, name: str, *shape: int) -> Floats:
        """Take one matrix or vector as float32."""
        name += ".weight"
        if name not in self.tensors:
            raise EngineError(f"{self.path}: lacks the tensor {name}")
        tensor = self.tensors[name]
        if tensor["dtype"] not in _DTYPES:
            raise EngineError(f"{self.path}: {name} is {tensor['dtype']}; nano reads only {', '.join(_DTYPES)}")
        if list(shape) != tensor["shape"]:
            raise EngineError(f"{self.path}: {name} has shape {tensor['shape']}; config.json asks for {list(shape)}")
        stored: NDArray[Any] = np.frombuffer(tensor["data"], dtype=_DTYPES[tensor["dtype"]]).reshape(shape)
        if tensor["dtype"] == "BF16":
            return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return stored.astype(np.float32)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(read_text(path, EngineError))
    except json.JSONDecodeError as problem:
        raise EngineError(f"{path}: not readable as JSON: {problem}") from None
    if not isinstance(config, dict):
        raise EngineError(f"{path}: holds a {type(config).__name__}; an object of keys and values is needed")
    return config


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check(path: Path, config: Mapping[str, Any], key: str, fits: bool, needed: str) -> None:
    if not fits:
        raise EngineError(f"{path}: {key} is {json.dumps(config.get(key))}; {needed} is needed")
