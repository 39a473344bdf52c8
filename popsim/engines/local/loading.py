"""A model and its tokenizer from their files, what ends a reply, and a name made of their content.

The ``vllm`` engine reads a tokenizer, finds the end tokens and names a model in the same way.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping
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
_KINDS = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors", ".bin"})
_WHOLE = 64 * 2**20


def load(model: str, dtype: str, device: str) -> tuple[Any, Any]:
    """Load model and tokenizer, with every weight found and a chat template present."""
    where = f"transformers:{model}"
    if dtype not in _DTYPES:
        raise EngineError(f"{where}: dtype {dtype!r} is unknown; allowed: {', '.join(_DTYPES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    local = is_folder(model, where)
    try:
        with quiet():
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
    _check_template(tokenizer, where)
    return network, tokenizer


def load_tokenizer(model: str, where: str) -> Any:
    """Load a tokenizer alone, with a chat template.

    Args:
        model: A folder, or a name on the Hugging Face hub.
        where: Begins the error message.

    Raises:
        EngineError: There is no such folder, its tokenizer cannot be read, or it has no chat template.
    """
    local = is_folder(model, where)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=local)
    except Exception as problem:
        raise EngineError(f"{where}: its tokenizer cannot be read: {first_line(problem)}") from problem
    _check_template(tokenizer, where)
    return tokenizer


def is_folder(model: str, where: str) -> bool:
    """Tell a model's folder, to be read without any network access, from a name on the hub.

    Raises:
        EngineError: The folder holds no model, or what looks like a folder is not there.
    """
    local = Path(model).is_dir()
    if local and not (Path(model) / "config.json").is_file():
        raise EngineError(f"{where}: no config.json there; give the folder of a Hugging Face model")
    if not local and (model.startswith(("/", ".", "~")) or model.count("/") > 1):
        raise EngineError(f"{where}: no such folder")
    return local


def _check_template(tokenizer: Any, where: str) -> None:
    try:
        tokenizer.get_chat_template()
    except ValueError:
        raise EngineError(
            f"{where}: has no chat template; use an instruction-tuned model, or put a chat_template.jinja beside it"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
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


def end_tokens(tokenizer: Any, own: Mapping[str, Any]) -> frozenset[int]:
    """Collect the tokens that end a reply: those declared, and the one that closes a turn in the chat template.

    Args:
        tokenizer: Of transformers.
        own: The generation_config.
    """
    declared = own.get("eos_token_id")
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


def identity(model: str, config: Any, dtype: Any, own: Mapping[str, Any], ends: frozenset[int]) -> str:
    """Name a model by content: a folder by its files, wherever it lies, and a hub name by its commit.

    Args:
        model: The folder or hub name.
        config: Of transformers, which knows the commit.
        dtype: Of PyTorch, in which the model computes.
        own: The generation_config.
        ends: From `end_tokens`.
    """
    settings = str(dtype).removeprefix("torch.") + own_name(own)
    if not Path(model).is_dir():
        return f"{model}@{config._commit_hash}:{settings}"
    content = hashlib.sha256(repr(sorted(ends)).encode())
    for path in sorted(Path(model).iterdir()):
        if path.suffix in _KINDS and path.name != "generation_config.json":
            content.update(path.name.encode() + _digest(path))
    return f"{Path(model).resolve().name}@{content.hexdigest()[:16]}:{settings}"


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
    """Say in one line what an exception of somebody else's says; of one by pydantic, its first complaint."""
    details = getattr(problem, "errors", None)
    if callable(details) and (listed := details()) and "msg" in listed[0]:
        return str(listed[0]["msg"]).splitlines()[0]
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
