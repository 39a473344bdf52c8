"""The `Transformers` engine: prompts in, batches written token by token, replies out."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import jinja2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from popsim.engines.local.decoding import draw_tokens
from popsim.engines.local.loading import context, end_tokens, first_line, identity, load
from popsim.engines.local.texts import control_tokens, render
from popsim.engines.wire import Ability, Prompt, Reply, Sampling
from popsim.errors import EngineError
from popsim.streams import uniform

_WINDOW = 4096


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
        self._model, self._tokenizer = load(model, dtype, device)
        self._accepts = frozenset(inspect.signature(self._model.forward).parameters)
        if "past_key_values" not in self._accepts:
            raise EngineError(f"transformers:{model}: keeps no key/value cache; choose a model that does")
        self._ends = end_tokens(self._model, self._tokenizer)
        self._control = control_tokens(self._tokenizer)
        self._context = context(self._model.config)
        precise = self._model.dtype == torch.float64 and self._model.device.type == "cpu"
        self.batch_size = batch_size
        self.fingerprint = f"transformers:{identity(model, self._model, self._ends)}"
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
            text = render(self._tokenizer, prompt.messages)
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
            raise EngineError(f"{self.fingerprint}: cannot compute: {first_line(problem)}") from problem
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
