"""Any Hugging Face causal language model with a chat template, run in this process by PyTorch."""

import hashlib
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import jinja2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging

from popsim.engines.wire import Ability, Prompt, Reply, Sampling
from popsim.errors import EngineError
from popsim.streams import uniform

_DTYPES = ("auto", "float64", "float32", "bfloat16", "float16")
_WINDOW = 4096
_WHOLE = 64 * 2**20
_FROZEN_DATE = date(2025, 1, 1)


class Transformers:
    """A causal language model whose answers do not depend on the batch that they were written in.

    Prompts are sorted by length within windows of some thousand, the longest first, padded on the left and written in
    batches; a row that ends leaves its batch at once. Token t of a prompt is drawn by inverting the distribution at
    one uniform number hashed from (seed, t), so only rounding, which differs with the padding, can change an answer.
    The model's generation_config gives its end-of-sequence tokens and nothing else, and a chat template that prints
    today's date prints 1 January 2025. PyTorch's thread count is left alone; on few cores a small model is often
    faster with ``OMP_NUM_THREADS=1``.

    Args:
        model: A folder, or a name on the Hugging Face hub; a folder is read without any network access.
        batch_size: Prompts written at once; halved whenever the accelerator's memory runs out.
        dtype: ``auto`` (as stored), ``float64``, ``float32``, ``bfloat16`` or ``float16``.
        device: ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Attributes:
        fingerprint: Name, identity of the files and dtype. The versions of transformers and PyTorch and the device
            are left out: they change rounding, and an upgrade shall not throw away what was answered before.
        reproducible: ``exact`` in float64 on a CPU, where rounding is too small to be met; else ``best_effort``.

    Raises:
        EngineError: The model cannot be loaded, has no chat template or no key/value cache, or an option is wrong.
    """

    def __init__(self, model: str, batch_size: int = 16, dtype: str = "auto", device: str = "auto") -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise EngineError(f"transformers:{model}: batch_size must be a whole number of 1 or more, not {batch_size}")
        self._model, self._tokenizer = _load(model, dtype, device)
        self._accepts = frozenset(inspect.signature(self._model.forward).parameters)
        if "past_key_values" not in self._accepts:
            raise EngineError(f"transformers:{model}: keeps no key/value cache; choose a model that does")
        self._ends = _end_tokens(self._model, self._tokenizer)
        self._control = _control_tokens(self._tokenizer)
        self._context = _context(self._model.config)
        precise = self._model.dtype == torch.float64 and self._model.device.type == "cpu"
        self.batch_size = batch_size
        self.fingerprint = f"transformers:{_identity(model, self._model, self._ends)}"
        self.reads: Literal["text", "facts"] = "text"
        self.abilities: frozenset[Ability] = frozenset({"seed"})
        self.reproducible: Literal["exact", "best_effort"] = "exact" if precise else "best_effort"
        self.notice = (
            "These answers were written by a language model: a simulation, "
            "which is no evidence about people before it has been compared with what people answered."
        )

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield each reply as its row ends; a prompt that the model cannot read comes back as an error."""
        for start in range(0, len(prompts), _WINDOW):
            alike: dict[Sampling, list[_Row]] = {}
            for position in range(start, min(start + _WINDOW, len(prompts))):
                prompt = prompts[position]
                try:
                    alike.setdefault(prompt.sampling, []).append(self._read(position, prompt))
                except EngineError as problem:
                    yield position, _failed(str(problem))
            for sampling, rows in alike.items():
                rows.sort(key=lambda row: -len(row.ids))
                yield from self._work_off(rows, sampling)

    def _read(self, position: int, prompt: Prompt) -> "_Row":
        """Turn a prompt into token ids."""
        for _, text in prompt.messages:
            if found := self._control.search(text):
                raise EngineError(f"the text holds {found[0]!r}, which this model reads as a command; reword it")
        try:
            text = _render(self._tokenizer, prompt.messages)
        except (jinja2.TemplateError, ValueError) as problem:
            raise EngineError(f"the model's chat template refuses these messages: {problem}") from None
        ids = np.array(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int32)
        room = min(prompt.sampling.max_tokens, self._context - len(ids))
        if room < 1:
            raise EngineError(f"the prompt has {len(ids)} tokens, the model reads {self._context}; shorten the prompt")
        return _Row(position, prompt.seed, ids, room)

    def _work_off(self, rows: list["_Row"], sampling: Sampling) -> Iterator[tuple[int, Reply]]:
        """Write all rows, the first ones first, in smaller batches once memory has run out."""
        while rows:
            batch, done = rows[: self.batch_size], set()
            full = False
            try:
                for position, reply in self._write(batch, sampling):
                    done.add(position)
                    yield position, reply
            except torch.OutOfMemoryError:
                full = True
            if full and len(batch) == 1:
                done.add(batch[0].position)
                yield batch[0].position, _failed("out of memory with one prompt at a time; shorten the prompt")
            elif full:
                self.batch_size = len(batch) // 2
                torch.cuda.empty_cache()
            rows = [row for row in rows if row.position not in done]

    def _write(self, batch: list["_Row"], sampling: Sampling) -> Iterator[tuple[int, Reply]]:
        """Write one batch token by token."""
        device = self._model.device
        ids, mask = (torch.from_numpy(array).to(device) for array in _pad_left([row.ids for row in batch]))
        cache = DynamicCache(config=self._model.config)
        rows: list[tuple[_Row, list[int]]] = [(row, []) for row in batch]
        step = 0
        while True:
            logits = self._forward(ids, mask, cache)
            tokens = draw_tokens(logits, sampling, uniform([row.seed for row, _ in rows], step)).tolist()
            step += 1
            going = []
            for index, ((row, written), token) in enumerate(zip(rows, tokens, strict=True)):
                reply = self._extend(row, written, token)
                if reply is None:
                    going.append(index)
                else:
                    yield row.position, reply
            if not going:
                return
            if len(going) < len(rows):
                kept = torch.tensor(going, dtype=torch.long, device=device)
                cache.reorder_cache(kept)
                mask, rows = mask[kept], [rows[index] for index in going]
            ids = torch.tensor([tokens[index] for index in going], device=device)[:, None]
            mask = torch.nn.functional.pad(mask, (0, 1), value=1)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """Read new tokens of each row, shape (rows, new), and return the logits of the next, (rows, vocabulary)."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        optional = {"position_ids": positions, "logits_to_keep": 1}
        given = {name: value for name, value in optional.items() if name in self._accepts}
        try:
            with torch.inference_mode():
                output = self._model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **given)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as problem:
            raise EngineError(f"{self.fingerprint}: cannot compute: {_first_line(problem)}") from problem
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _extend(self, row: "_Row", written: list[int], token: int) -> Reply | None:
        """Add a token to what a row has written; return its reply when it has ended."""
        if token < 0:
            return _failed("the model computed no finite probabilities; choose another dtype")
        ended = token in self._ends
        if not ended:
            written.append(token)
            if len(written) < row.room:
                return None
        text = self._tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(text, "stop" if ended else "length", len(row.ids), len(written) + ended)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A prompt as the model reads it, and how many tokens it may write."""

    position: int
    seed: int
    ids: NDArray[np.int32]
    room: int


def draw_tokens(logits: torch.Tensor, sampling: Sampling, uniforms: NDArray[np.float64]) -> torch.Tensor:
    """Draw one token per row by inverting its distribution, in float64 and in the order of the vocabulary.

    Args:
        logits: Shape (rows, vocabulary).
        sampling: Temperature, then top-k, then the smallest set of tokens that holds top-p of what is left.
        uniforms: One number in [0, 1) per row; greedy decoding ignores them.

    Returns:
        Token ids, shape (rows,); -1 where the logits of a row are not finite.

    Example:
        >>> draw_tokens(torch.tensor([[0.0, 9.0], [0.0, 0.0]]), Sampling(), np.array([0.5, 0.4])).tolist()
        [1, 0]
    """
    logits = logits.double()
    best = logits.amax(-1, keepdim=True)
    if sampling.greedy:
        tokens = logits.argmax(-1)
    else:
        mass = _filtered(((logits - best) / sampling.temperature).exp(), sampling).cumsum(-1)
        total = mass[:, -1:].contiguous()
        wanted = torch.from_numpy(uniforms).to(mass.device)[:, None] * total
        drawn = torch.searchsorted(mass, wanted, right=True)
        tokens = torch.minimum(drawn, torch.searchsorted(mass, total))[:, 0]
    return torch.where(best[:, 0].isfinite(), tokens, -1)


def _filtered(weights: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Set the weights of tokens that top-k and top-p leave out to zero."""
    if 0 < sampling.top_k < weights.shape[-1]:
        least = weights.topk(sampling.top_k).values[:, -1:]
        weights = weights.where(weights >= least, 0.0)
    if sampling.top_p < 1:
        ordered, order = weights.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        kept = before < sampling.top_p * ordered.sum(-1, keepdim=True)
        weights = weights.where(torch.zeros_like(kept).scatter(-1, order, kept), 0.0)
    return weights


def _pad_left(rows: list[NDArray[np.int32]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Make one array of token ids, shape (rows, longest), and its mask, 0 where padded."""
    longest = max(map(len, rows))
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, longest - len(row) :] = row
        mask[index, longest - len(row) :] = 1
    return ids, mask


def _failed(why: str) -> Reply:
    return Reply("", finish="error", error=why)


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


def _load(model: str, dtype: str, device: str) -> tuple[Any, Any]:
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
        raise EngineError(f"{where}: cannot be loaded on {device}: {_first_line(problem)}") from problem
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


def _render(tokenizer: Any, messages: Sequence[tuple[str, str]], *, reply: bool = True) -> str:
    """Put messages into the model's own format, on a date that does not move."""
    turns = [{"role": role, "content": text} for role, text in messages]
    text: str = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=reply, strftime_now=_FROZEN_DATE.strftime
    )
    return text


def _control_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Match the special tokens of a model, which a text from outside must not hold."""
    special = [re.escape(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(special) or r"(?!)")


def _end_tokens(network: Any, tokenizer: Any) -> frozenset[int]:
    """Collect the tokens that end a reply: those declared, and the one that closes a turn in the chat template."""
    declared = network.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])} - {None}
    try:
        closing = _render(tokenizer, [("user", "QUESTION"), ("assistant", "ANSWER")], reply=False).rpartition("ANSWER")
    except jinja2.TemplateError:
        return frozenset(ends)
    if found := _control_tokens(tokenizer).match(closing[2]):
        ends.add(tokenizer.convert_tokens_to_ids(found[0]))
    return frozenset(ends)


def _context(config: Any) -> int:
    """Count the tokens that a model can read and write together."""
    return getattr(config.get_text_config(), "max_position_embeddings", None) or sys.maxsize


def _identity(model: str, network: Any, ends: frozenset[int]) -> str:
    """Name a model by content: a folder by its files, wherever it lies, and a hub name by its commit."""
    dtype = str(network.dtype).removeprefix("torch.")
    if not Path(model).is_dir():
        return f"{model}@{network.config._commit_hash}:{dtype}"
    kinds = {".json", ".jinja", ".txt", ".model", ".safetensors", ".bin"}
    content = hashlib.sha256(repr(sorted(ends)).encode())
    for path in sorted(Path(model).iterdir()):
        if path.suffix in kinds and path.name != "generation_config.json":
            content.update(path.name.encode() + _digest(path))
    return f"{Path(model).resolve().name}@{content.hexdigest()[:16]}:{dtype}"


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
