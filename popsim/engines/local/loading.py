"""A model and its tokenizer from their files, what ends a reply, and a name made of their content."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from popsim.engines.local.texts import control_tokens, render
from popsim.engines.tokens import own_name
from popsim.errors import EngineError

_DTYPES = ("auto", "float64", "float32", "bfloat16", "float16")
_WHOLE = 64 * 2**20


def load(model: str, dtype: str, device: str) -> tuple[Any, Any]:
    """Load model and tokenizer, with every weight found and a chat template present."""
    where = f"transformers:{model}"
    if dtype not in _DTYPES:
        raise EngineError(f"{where}: dtype {dtype!r} is unknown; allowed: {', '.join(_DTYPES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    local = Path(model).is_dir()
    if local and not (Path(model) / "config.json").is_file():
        raise EngineError(f"{where}: no config.json there; give the folder of a Hugging Face model")
    if not local and (model.startswith(("/", ".", "~")) or model.count("/") > 1):
        raise EngineError(f"{where}: no such folder")
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=local)
            network, info = AutoModelForCausalLM.from_pretrained(
                model, dtype=dtype, local_files_only=local, output_loading_info=True
            )
            network = network.to(device).eval()
    except Exception as problem:
        raise EngineError(f"{where}: cannot be loaded on {device}: {first_line(problem)}") from problem
    if info["missing_keys"]:
        some = sorted(info["missing_keys"])[0]
        raise EngineError(f"{where}: its files lack {len(info['missing_keys'])} weights, for example {some}")
    try:
        tokenizer.get_chat_template()
    except ValueError:
        raise EngineError(
            f"{where}: has no chat template; use an instruction-tuned model, or put a chat_template.jinja beside it"
        ) from None
    return network, tokenizer


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and remarks off the screen."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def end_tokens(network: Any, tokenizer: Any) -> frozenset[int]:
    """Collect the tokens that end a reply: those declared, and the one that closes a turn in the chat template."""
    declared = network.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])} - {None}
    try:
        closing = render(tokenizer, [("user", "QUESTION"), ("assistant", "ANSWER")], reply=False).rpartition("ANSWER")
    except jinja2.TemplateError:
        return frozenset(ends)
    if found := control_tokens(tokenizer).match(closing[2]):
        ends.add(tokenizer.convert_tokens_to_ids(found[0]))
    return frozenset(ends)


def context(config: Any) -> int:
    """Count the tokens that a model can read and write together."""
    return getattr(config.get_text_config(), "max_position_embeddings", None) or sys.maxsize


def vocabulary(network: Any) -> int:
    """Count the logits that a model gives."""
    return int(network.config.get_text_config().vocab_size)


def identity(model: str, network: Any, ends: frozenset[int]) -> str:
    """Name a model by content: a folder by its files, wherever it lies, and a hub name by its commit."""
    dtype = str(network.dtype).removeprefix("torch.")
    own = own_name(network.generation_config.to_dict())
    if not Path(model).is_dir():
        return f"{model}@{network.config._commit_hash}:{dtype}{own}"
    kinds = {".json", ".jinja", ".txt", ".model", ".safetensors", ".bin"}
    content = hashlib.sha256(repr(sorted(ends)).encode())
    for path in sorted(Path(model).iterdir()):
        if path.suffix in kinds and path.name != "generation_config.json":
            content.update(path.name.encode() + _digest(path))
    return f"{Path(model).resolve().name}@{content.hexdigest()[:16]}:{dtype}{own}"


def digest(*paths: Path) -> str:
    """Hash the content of some files."""
    return hashlib.sha256(b"".join(_digest(path) for path in paths)).hexdigest()


def _digest(path: Path) -> bytes:
    """Hash a file; of one above 64 MiB its size and 1,024 blocks of 64 KiB, evenly spread from its start."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE:
            return hashlib.file_digest(file, "sha256").digest()
        blocks = hashlib.sha256(str(size).encode())
        for index in range(1024):
            file.seek(index * (size - 65536) // 1023)
            blocks.update(file.read(65536))
        return blocks.digest()


def first_line(problem: Exception) -> str:
    """Give the first line of what went wrong."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
