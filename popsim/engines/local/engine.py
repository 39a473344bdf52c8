"""The `Transformers` engine: prompts in, batches written token by token, replies out."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from popsim.engines.local import grammar, memory
from popsim.engines.local.adapters import Adapters, check_names
from popsim.engines.local.decoding import draw_tokens, penalised
from popsim.engines.local.loading import context, end_tokens, first_line, identity, load, vocabulary
from popsim.engines.local.prefix import can_share, families, spread
from popsim.engines.local.texts import Texts
from popsim.engines.tokens import choice_reply, log_softmax, own_sampling
from popsim.engines.wire import NOTICE, Ability, Prompt, Reply, Sampling
from popsim.errors import EngineError
from popsim.streams import uniform

_WINDOW = 4096
_BATCH = 16

Logits = NDArray[np.float64]


class Transformers:
    """A causal language model whose answers do not depend on the batch that they were written in.

    Within windows of some thousand, prompts that begin alike are put together and what they share is computed once;
    they are sorted by length, the longest first, padded on the left and written in batches; a row that ends leaves its
    batch at once. Token t of a prompt is drawn by inverting the distribution at one uniform number hashed from
    (seed, t), so only rounding, which differs with the padding, can change an answer. A reply ends at the model's own
    end tokens or as soon as its text holds ``</final_answer>``. Unless a prompt asks for ``Sampling.model``, the
    generation_config gives the end tokens and nothing else. A chat template that prints today's date prints 1 January
    2025. PyTorch's thread count is left alone; on few cores a small model is often faster with ``OMP_NUM_THREADS=1``.

    Args:
        model: A folder, or a name on the Hugging Face hub; a folder is read without any network access.
        batch_size: Prompts written at once; unless given 16 on a CPU, and what the memory holds on a GPU. It is halved,
            with a warning, whenever the memory runs out.
        dtype: ``auto`` (as stored), ``float64``, ``float32``, ``bfloat16`` or ``float16``.
        device: ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        adapters: Folders of LoRA adapters by the names that prompts call them.

    Attributes:
        fingerprint: Name, identity of the files, dtype, what the generation_config says about sampling, and adapters
            by content. The versions of transformers and PyTorch and the device are left out: they change rounding,
            and an upgrade shall not throw away what was answered before.
        reproducible: ``exact`` in float64 on a CPU, where rounding is too small to be met; else ``best_effort``.

    Raises:
        EngineError: The model cannot be loaded, has no chat template or no key/value cache, or an option is wrong.
    """

    def __init__(
        self,
        model: str,
        batch_size: int | None = None,
        dtype: str = "auto",
        device: str = "auto",
        adapters: dict[str, str] | None = None,
    ) -> None:
        where = f"transformers:{model}"
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise EngineError(f"{where}: batch_size must be a whole number of 1 or more, not {batch_size}")
        folders = check_names(adapters, where)
        self._model, tokenizer = load(model, dtype, device)
        self._accepts = frozenset(inspect.signature(self._model.forward).parameters)
        if "past_key_values" not in self._accepts:
            raise EngineError(f"{where}: keeps no key/value cache; choose a model that does")
        self._own = self._model.generation_config.to_dict()
        self._ends = end_tokens(tokenizer, self._own)
        self._texts = Texts(tokenizer, vocabulary(self._model))
        self._grammars = grammar.Grammars(tokenizer, vocabulary(self._model), self._ends, self._texts.special)
        self._context = context(self._model.config)
        self._shares = can_share(self._new_cache())
        cpu = self._model.device.type == "cpu"
        precise = self._model.dtype == torch.float64 and cpu
        self._footprint = (
            None if cpu or batch_size else memory.footprint(self._model.config, self._model.dtype.itemsize)
        )
        self.batch_size = batch_size or (_BATCH if self._footprint is None else memory.MOST)
        name = identity(model, self._model.config, self._model.dtype, self._own, self._ends)
        self._adapters = Adapters(self._model, model, folders)
        self.fingerprint = f"transformers:{name}{self._adapters.name}"
        self.reads: Literal["text", "facts"] = "text"
        able: set[Ability] = {"seed", "prefill", "choice", "next"}
        if grammar.INSTALLED:
            able.add("grammar")
        if folders:
            able.add("adapter")
        self.abilities: frozenset[Ability] = frozenset(able)
        self.reproducible: Literal["exact", "best_effort"] = "exact" if precise else "best_effort"
        self.notice = NOTICE

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield each reply as its row ends; a prompt that the model cannot read comes back as an error."""
        for start in range(0, len(prompts), _WINDOW):
            alike: dict[tuple[str, Sampling | None], list[_Row]] = {}
            for position in range(start, min(start + _WINDOW, len(prompts))):
                prompt = prompts[position]
                try:
                    row = self._read(position, prompt)
                except EngineError as problem:
                    yield position, _failed(str(problem))
                    continue
                alike.setdefault((prompt.adapter, None if prompt.choices else prompt.sampling), []).append(row)
            for (_, sampling), rows in alike.items():
                yield from self._work_off(rows, partial(self._write, sampling=sampling) if sampling else self._score)

    def spelling(self) -> Sequence[str]:
        """Give the text of every token, by its id; empty for control tokens and for pieces of a character."""
        return self._texts.spelling

    def next_logprobs(
        self, asked: Sequence[tuple[Prompt, tuple[int, ...]]], tokens: Sequence[int]
    ) -> NDArray[np.float64]:
        """Give the log-probability of tokens as the next, at temperature 1 and over the whole vocabulary.

        Args:
            asked: Prompts, read up to the end of their prefill, each with the ids of tokens that follow.
            tokens: The ids that are wanted.

        Returns:
            Shape (asked, tokens).

        Raises:
            EngineError: A prompt cannot be read.
        """
        found = np.empty((len(asked), len(tokens)))
        alike: dict[str, list[_Row]] = {}
        for position, (prompt, more) in enumerate(asked):
            alike.setdefault(prompt.adapter, []).append(self._read(position, prompt, more))
        for rows in alike.values():
            for position, made in self._work_off(rows, self._look):
                if isinstance(made, Reply):
                    raise EngineError(f"{self.fingerprint}: {made.error}")
                found[position] = log_softmax(made)[list(tokens)]
        return found

    def _read(self, position: int, prompt: Prompt, more: tuple[int, ...] | None = None) -> "_Row":
        """Turn a prompt into token ids, with those that follow it; with these or with choices nothing is written."""
        if prompt.adapter and prompt.adapter not in self._adapters.names:
            known = ", ".join(self._adapters.names) or "none"
            raise EngineError(
                f"adapter {prompt.adapter!r} is unknown; loaded: {known}; give the option adapters: {{NAME: FOLDER}}"
            )
        text, ids = self._texts.read(prompt.messages, prompt.prefill)
        writes = more is None and not prompt.choices
        if prompt.shape and writes:
            self._grammars.begin(prompt.shape, prompt.prefill)
        if writes:
            own_sampling(prompt.sampling, self._own)
        if more:
            ids = np.append(ids, np.array(more, dtype=np.int32))
        room = min(prompt.sampling.max_tokens, self._context - len(ids)) if writes else 0
        if room < writes or len(ids) > self._context:
            raise EngineError(f"the prompt has {len(ids)} tokens, the model reads {self._context}; shorten the prompt")
        firsts = self._texts.firsts(text, prompt.choices) if prompt.choices and more is None else []
        return _Row(position, prompt, ids, room, firsts)

    def _work_off(
        self, rows: list["_Row"], run: "Callable[[list[_Row], DynamicCache | None], Iterator[tuple[int, Any]]]"
    ) -> Iterator[tuple[int, Any]]:
        """Take rows of one adapter through a pass in batches, the longest first; smaller ones once memory has run out.

        Args:
            rows: What is asked.
            run: Computes a batch, given the keys and values that its rows share, and yields positions and results.

        Returns:
            What ``run`` yields, and a failed reply for a row that does not fit into memory alone.
        """
        groups = [([*range(len(rows))], 0)]
        if self._shares:
            groups = families([row.ids for row in rows], min(self.batch_size, _BATCH))
        for members, length in groups:
            waiting = sorted((rows[i] for i in members), key=lambda row: -len(row.ids))
            shared: DynamicCache | None = None
            while waiting:
                batch, done, full = waiting[: self._size(waiting)], set(), False
                try:
                    if length and shared is None:
                        shared = self._read_shared(batch[0], length)
                    for position, made in run(batch, shared):
                        done.add(position)
                        yield position, made
                except torch.OutOfMemoryError:
                    full = True
                if full and len(batch) == 1:
                    done.add(batch[0].position)
                    yield batch[0].position, _failed("out of memory with one prompt at a time; shorten the prompt")
                elif full:
                    self._halve(len(batch))
                waiting = [row for row in waiting if row.position not in done]

    def _size(self, waiting: list["_Row"]) -> int:
        """Say how many rows to take at once."""
        if self._footprint is None:
            return self.batch_size
        device = self._model.device
        free = torch.cuda.mem_get_info(device)[0]
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        row = self._footprint.row(len(waiting[0].ids), max(row.room for row in waiting))
        return min(self.batch_size, memory.rows_that_fit(free, row))

    def _halve(self, size: int) -> None:
        self.batch_size = size // 2
        torch.cuda.empty_cache()
        warnings.warn(
            f"transformers: out of memory with {size} prompts at once; going on with {self.batch_size}", stacklevel=2
        )

    def _score(self, batch: list["_Row"], shared: DynamicCache | None) -> Iterator[tuple[int, Reply]]:
        """Give the probabilities of the choices of each row."""
        for row, (position, logits) in zip(batch, self._look(batch, shared), strict=True):
            yield position, choice_reply(logits, row.firsts, len(row.ids))

    def _look(self, batch: list["_Row"], shared: DynamicCache | None) -> Iterator[tuple[int, Logits]]:
        """Give the logits of the token that follows each row."""
        logits, _, _ = self._begin(batch, shared)
        yield from zip((row.position for row in batch), logits.double().cpu().numpy(), strict=True)

    def _write(
        self, batch: list["_Row"], shared: DynamicCache | None, sampling: Sampling
    ) -> Iterator[tuple[int, Reply]]:
        """Write one batch token by token."""
        sampling, penalty = own_sampling(sampling, self._own)
        logits, mask, cache = self._begin(batch, shared)
        drafts = [self._draft(row) for row in batch]
        step = 0
        while True:
            if penalty != 1:
                logits = penalised(logits, [draft.read_and_written for draft in drafts], penalty)
            free, logits = logits, grammar.hold(logits, [draft.matcher for draft in drafts])
            if logits is not free:
                for draft, kept_mass in zip(drafts, grammar.mass_kept(free, logits), strict=True):
                    draft.kept.append(kept_mass)
            uniforms = uniform([draft.row.prompt.seed for draft in drafts], step)
            tokens = draw_tokens(logits, sampling, uniforms).tolist()
            step += 1
            going = []
            for index, (draft, token) in enumerate(zip(drafts, tokens, strict=True)):
                reply = self._extend(draft, token)
                if reply is None:
                    going.append(index)
                else:
                    yield draft.row.position, reply
            if not going:
                return
            if len(going) < len(drafts):
                kept = torch.tensor(going, dtype=torch.long, device=mask.device)
                cache.reorder_cache(kept)
                mask, drafts = mask[kept], [drafts[index] for index in going]
            ids = torch.tensor([tokens[index] for index in going], device=mask.device)[:, None]
            mask = torch.nn.functional.pad(mask, (0, 1), value=1)
            logits = self._forward(ids, mask, cache, batch[0].prompt.adapter)

    def _begin(
        self, batch: list["_Row"], shared: DynamicCache | None
    ) -> tuple[torch.Tensor, torch.Tensor, DynamicCache]:
        """Read the prompts of a batch: the logits of their next tokens, the mask, and the keys and values."""
        rows = [row.ids for row in batch]
        ids, mask = (torch.from_numpy(array).to(self._model.device) for array in _pad_left(rows))
        cache = self._new_cache()
        if shared is not None:
            cache = spread(shared, [ids.shape[1] - len(row) for row in rows], cache)
            ids = ids[:, shared.get_seq_length() :]
        return self._forward(ids, mask, cache, batch[0].prompt.adapter), mask, cache

    def _read_shared(self, row: "_Row", length: int) -> DynamicCache:
        """Compute keys and values of the first tokens of a row."""
        ids = torch.from_numpy(row.ids[None, :length].astype(np.int64)).to(self._model.device)
        cache = self._new_cache()
        self._forward(ids, torch.ones_like(ids), cache, row.prompt.adapter)
        return cache

    def _new_cache(self) -> DynamicCache:
        return DynamicCache(config=self._model.config)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache, adapter: str) -> torch.Tensor:
        """Read new tokens of each row, shape (rows, new), and return the logits of the next, (rows, vocabulary)."""
        self._adapters.use(adapter)
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

    def _draft(self, row: "_Row") -> "_Draft":
        prompt = row.prompt
        return _Draft(row, [], [], self._grammars.begin(prompt.shape, prompt.prefill) if prompt.shape else None)

    def _extend(self, draft: "_Draft", token: int) -> Reply | None:
        """Add a token to what a row has written; return its reply when it has ended."""
        row, written = draft.row, draft.written
        if token < 0 and draft.matcher is not None:
            return _failed("the model has no possible token that goes on with the grammar")
        if token < 0:
            return _failed("the model computed no finite probabilities; choose another dtype")
        ended = token in self._ends
        closed = False
        if not ended:
            written.append(token)
            closed = self._texts.closes(written)
            if draft.matcher is not None:
                draft.matcher.accept_token(token)
            if not closed and len(written) < row.room:
                return None
        text = self._texts.write(written, row.ids[-1:].tolist() if row.prompt.prefill else ())
        finish: Literal["stop", "length"] = "stop" if ended or closed else "length"
        outside = None if draft.matcher is None else -math.expm1(min(sum(draft.kept), 0.0))
        return Reply(text, finish, len(row.ids), len(written) + ended, outside=outside)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A prompt as the model reads it, how many tokens it may write, and the first tokens of its choices."""

    position: int
    prompt: Prompt
    ids: NDArray[np.int32]
    room: int
    firsts: list[list[int]]


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A reply that is being written, and what follows its grammar."""

    row: _Row
    written: list[int]
    kept: list[float]
    """Of each token, the logarithm of the probability that the model left to the grammar."""
    matcher: Any | None

    @property
    def read_and_written(self) -> NDArray[np.int64]:
        """All tokens so far."""
        return np.append(self.row.ids, self.written).astype(np.int64)


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
