"""nano: a small language model in the box, run by NumPy from ordinary Hugging Face files."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from popsim.engines.nano.checkpoint import read_config, read_generation, read_network, read_tokenizer
from popsim.engines.nano.decoding import draw_tokens
from popsim.engines.nano.forward import Cache, Floats, is_steady, prefill, step
from popsim.engines.tokens import CLOSING, choice_reply, first_tokens, log_softmax, own_name, own_sampling, token_texts
from popsim.engines.wire import Ability, Prompt, Reply, Sampling
from popsim.errors import EngineError
from popsim.streams import uniform

SHIPPED = Path(__file__).resolve().parent / "files"
"""The checkpoint that popsim ships."""
_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_WINDOW = 4096
_THREADS = 4
_ASSISTANT = "assistant\n"


class Nano:
    """A Llama of a few million weights that speaks ChatML, without PyTorch.

    Prompts are read one at a time, the longest first, into a batch that writes token by token; a row that ends makes
    room for the next prompt at once. A reply ends at ``<|im_end|>``, at the model's own end token, or as soon as its
    text holds ``</final_answer>``. Text from outside that looks like a control token is read as plain text. It has no
    grammars and no adapters.

    Args:
        model: The folder of a Llama checkpoint; the files that popsim ships when empty.
        batch_size: Replies written at once.
        threads: How many share them; 0 for one a core, at most 4.

    Attributes:
        fingerprint: Name and content of the files, and what a generation_config.json says about sampling.
        reproducible: ``exact``: on one machine the text depends on prompt and seed alone, to the bit. Where the
            matrix products of this machine are found not to treat all rows alike it is ``best_effort``.

    Raises:
        EngineError: A file is missing or broken, or the checkpoint is not of the kind that nano computes.

    Example:
        >>> from popsim.engines import answer_all
        >>> answer_all(Nano(), [Prompt((("user", "Good morning."),))])  # doctest: +SKIP
        [Reply(text='<recall>...', finish='stop', ...)]
    """

    def __init__(self, model: str = "", batch_size: int = 64, threads: int = 0) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise EngineError(f"nano: batch_size must be a whole number of 1 or more, not {batch_size!r}")
        if not isinstance(threads, int) or threads < 0:
            raise EngineError(f"nano: threads must be a whole number, 0 for one a core, not {threads!r}")
        folder = Path(model) if model else SHIPPED
        if not folder.is_dir():
            where = f"nano:{model}: no such folder" if model else "nano: this installation lacks the files of the model"
            raise EngineError(f"{where}; write nano:FOLDER with the folder of a Llama checkpoint")
        config = read_config(folder / "config.json")
        self._network = read_network(folder / "model.safetensors", config)
        self._tokenizer = read_tokenizer(folder / "tokenizer.json", config["vocab_size"])
        self._start, self._end = (self._control(folder, name) for name in ("<|im_start|>", "<|im_end|>"))
        declared = config.get("eos_token_id")
        self._ends = {self._end, *(declared if isinstance(declared, list) else [declared])}
        vocabulary = range(self._tokenizer.get_vocab_size())
        self._brackets = {token for token in vocabulary if ">" in self._tokenizer.decode([token])}
        self.batch_size = batch_size
        self.threads = threads or min(os.cpu_count() or 1, _THREADS)
        self._own = read_generation(folder / "generation_config.json")
        self.fingerprint = _identity(folder, model) + own_name(self._own)
        self.reads: Literal["text", "facts"] = "text"
        self.abilities: frozenset[Ability] = frozenset({"seed", "prefill", "choice", "next"})
        self.reproducible: Literal["exact", "best_effort"] = "exact" if is_steady(self._network) else "best_effort"
        self.notice = (
            "nano is a small language model trained to imitate a statistical respondent fitted to published moments; "
            "its answers are never evidence about people."
        )

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield each reply as its row ends; a prompt that the model cannot read comes back as an error."""
        for start in range(0, len(prompts), _WINDOW):
            alike: dict[Sampling, list[_Row]] = {}
            scored: list[_Row] = []
            for position, prompt in enumerate(prompts[start : start + _WINDOW], start):
                try:
                    row = self._read(position, prompt, writes=not prompt.choices)
                    sampling = self._sampling(prompt)
                except EngineError as problem:
                    yield position, Reply("", finish="error", error=str(problem))
                    continue
                (scored if prompt.choices else alike.setdefault(sampling, [])).append(row)
            yield from self._score(scored)
            for sampling, rows in alike.items():
                rows.sort(key=lambda row: -len(row.ids))
                yield from self._write(deque(rows), sampling)

    def spelling(self) -> Sequence[str]:
        """Give the text of every token, by its id; empty for control tokens and for pieces of a character."""
        return self._spelling

    def next_logprobs(
        self, asked: Sequence[tuple[Prompt, tuple[int, ...]]], tokens: Sequence[int]
    ) -> NDArray[np.float64]:
        """Give the log-probability of tokens as the next, at temperature 1 and over the whole vocabulary.

        A prompt that is asked several times is read once.

        Args:
            asked: Prompts, read up to the end of their prefill, each with the ids of tokens that follow.
            tokens: The ids that are wanted.

        Returns:
            Shape (asked, tokens).

        Raises:
            EngineError: A prompt cannot be read.
        """
        found = np.empty((len(asked), len(tokens)))
        alike: dict[tuple[int, ...], list[int]] = {}
        for position, (prompt, more) in enumerate(asked):
            row = self._read(position, prompt, len(more), writes=False)
            alike.setdefault(tuple(row.ids), []).append(position)
        size = self.batch_size
        groups = [(ids, places[k : k + size]) for ids, places in alike.items() for k in range(0, len(places), size)]
        with ThreadPoolExecutor(self.threads) as pool:
            made = pool.map(lambda one: self._follow(one[0], [asked[i][1] for i in one[1]]), groups)
            for (_, positions), logits in zip(groups, made, strict=True):
                found[positions] = log_softmax(logits)[:, list(tokens)]
        return found

    def encode(self, messages: Sequence[tuple[str, str]], prefill: str = "") -> list[int]:
        """Turn messages into the token ids of a ChatML prompt that waits for the assistant.

        Args:
            messages: Pairs of role and text.
            prefill: What the assistant has said already.
        """
        ids: list[int] = []
        for role, text in messages:
            ids += [self._start, *self._plain(f"{role}\n{text}"), self._end, *self._plain("\n")]
        return [*ids, self._start, *self._plain(_ASSISTANT + prefill)]

    def next_logits(self, token_ids: Sequence[Sequence[int]]) -> Floats:
        """Compute the logits of the token that follows each sequence of tokens.

        Args:
            token_ids: Sequences of 1 to context-size ids, for example from `encode`, each read alone.

        Returns:
            Shape (sequences, vocabulary); their log-softmax are the log-probabilities of options and digits.
        """
        return np.stack([prefill(self._network, ids) for ids in token_ids])

    def _control(self, folder: Path, name: str) -> int:
        token: int | None = self._tokenizer.token_to_id(name)
        if token is None:
            raise EngineError(f"{folder / 'tokenizer.json'}: lacks the token {name}; nano speaks ChatML only")
        return token

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _spell(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text

    @cached_property
    def _spelling(self) -> list[str]:
        control = [token for token, added in self._tokenizer.get_added_tokens_decoder().items() if added.special]
        return token_texts(self._spell, self._network.vocabulary, control, self._plain("x")[-1])

    def _sampling(self, prompt: Prompt) -> Sampling:
        """Work out how a prompt's tokens are drawn; of no account for choices."""
        if prompt.choices:
            return prompt.sampling
        sampling, penalty = own_sampling(prompt.sampling, self._own)
        if penalty != 1:
            why = f"the model's generation_config sets repetition_penalty to {penalty:g}, which nano does not compute"
            raise EngineError(f"{why}; say in the scenario how to sample")
        return sampling

    def _read(self, position: int, prompt: Prompt, more: int = 0, *, writes: bool) -> "_Row":
        """Turn a prompt into token ids, with room for tokens that follow it and for a reply."""
        if prompt.adapter:
            raise EngineError(f"adapter {prompt.adapter!r}: nano has no adapters; choose transformers or vllm")
        if prompt.shape and writes:
            raise EngineError("nano cannot hold a reply to a grammar; choose transformers or vllm")
        ids, read = self.encode(prompt.messages, prompt.prefill), self._network.context
        if len(ids) + more + writes > read:
            raise EngineError(f"the prompt has {len(ids) + more} tokens, the model reads {read}; shorten the prompt")
        room = min(prompt.sampling.max_tokens, read - len(ids))
        firsts = first_tokens(self._plain, self._spell, _ASSISTANT + prompt.prefill, prompt.choices)
        return _Row(position, prompt.seed, ids, room, firsts, ids[-1:] if prompt.prefill else [])

    def _score(self, rows: "Sequence[_Row]") -> Iterator[tuple[int, Reply]]:
        """Give the probabilities of the choices of each row."""
        with ThreadPoolExecutor(self.threads) as pool:
            made = pool.map(lambda row: prefill(self._network, row.ids), rows)
            for row, logits in zip(rows, made, strict=True):
                yield row.position, choice_reply(logits, row.firsts, len(row.ids))

    def _follow(self, ids: Sequence[int], ways: Sequence[Sequence[int]]) -> Floats:
        """Compute the logits behind each of several ways on from one prompt, which is read once."""
        found = np.empty((len(ways), self._network.vocabulary), dtype=np.float32)
        order = sorted(range(len(ways)), key=lambda i: -len(ways[i]))
        cache = Cache(self._network, len(ways), len(ids) + len(ways[order[0]]))
        found[:] = prefill(self._network, ids, cache)
        cache.repeat(len(ways))
        for depth in range(len(ways[order[0]])):
            while len(ways[order[len(cache.lengths) - 1]]) <= depth:
                cache.drop(len(cache.lengths) - 1)
            going = order[: len(cache.lengths)]
            found[going] = step(self._network, [ways[i][depth] for i in going], cache)
        return found

    def _text(self, row: "_Row") -> str:
        """Turn what a row has written into text; behind a prefill its first space counts."""
        head: str = self._tokenizer.decode(row.behind) if row.behind else ""
        text: str = self._tokenizer.decode([*row.behind, *row.written])
        return text[len(head) :]

    def _write(self, waiting: "deque[_Row]", sampling: Sampling) -> Iterator[tuple[int, Reply]]:
        """Write all rows, the first ones first, in one batch a thread."""
        slots = -(-min(self.batch_size, len(waiting)) // self.threads)
        length = max(len(row.ids) + row.room for row in waiting)
        batches = [_Batch(Cache(self._network, slots, length), slots) for _ in range(self.threads)]
        with ThreadPoolExecutor(self.threads) as pool:
            while waiting or any(batch.rows for batch in batches):
                for replies in pool.map(lambda batch: self._advance(batch, waiting, sampling), batches):
                    yield from replies

    def _advance(self, batch: "_Batch", waiting: "deque[_Row]", sampling: Sampling) -> list[tuple[int, Reply]]:
        """Fill a batch up, let each row write one more token, and return the replies that ended."""
        done = []
        if batch.rows:
            logits = step(self._network, [row.written[-1] for row in batch.rows], batch.cache)
            done = self._extend(batch, logits, sampling, 0)
        while len(batch.rows) < batch.slots:
            try:
                row = waiting.popleft()
            except IndexError:
                break
            batch.rows.append(row)
            logits = prefill(self._network, row.ids, batch.cache)
            done += self._extend(batch, logits[None], sampling, len(batch.rows) - 1)
        return done

    def _extend(self, batch: "_Batch", logits: Floats, sampling: Sampling, first: int) -> list[tuple[int, Reply]]:
        """Add a token to the rows from the first on; those that end leave the batch with a reply."""
        rows = batch.rows[first:]
        uniforms = uniform([row.seed for row in rows], [len(row.written) for row in rows])
        tokens = draw_tokens(logits, sampling, uniforms).tolist()
        replies = [self._reply(row, token) for row, token in zip(rows, tokens, strict=True)]
        for slot in reversed(range(first, len(batch.rows))):
            if replies[slot - first] is not None:
                batch.cache.drop(slot)
                batch.rows[slot] = batch.rows[-1]
                batch.rows.pop()
        return [(row.position, reply) for row, reply in zip(rows, replies, strict=True) if reply is not None]

    def _reply(self, row: "_Row", token: int) -> Reply | None:
        """Add a token to what a row has written; return its reply when it has ended."""
        if token < 0:
            return Reply("", finish="error", error="the model computed no finite probabilities; its files are broken")
        ended = token in self._ends
        if not ended:
            row.written.append(token)
        closed = token in self._brackets and CLOSING in self._tokenizer.decode(row.written[-len(CLOSING) :])
        if not (ended or closed or len(row.written) == row.room):
            return None
        finish: Literal["stop", "length"] = "stop" if ended or closed else "length"
        return Reply(self._text(row), finish, len(row.ids), len(row.written) + ended)


@dataclass(slots=True, eq=False)
class _Row:
    """A prompt as the model reads it, how many tokens it may write, its choices, and what it has written."""

    position: int
    seed: int
    ids: list[int]
    room: int
    firsts: list[list[int]]
    behind: list[int]
    written: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Batch:
    """Rows that are being written and what the model remembers of each, in the same order."""

    cache: Cache
    slots: int
    rows: list[_Row] = field(default_factory=list)


def _identity(folder: Path, model: str) -> str:
    """Name the files by their content, wherever they lie."""
    content = hashlib.sha256()
    for name in _FILES:
        content.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return f"nano{f':{folder.resolve().name}' if model else ''}@{content.hexdigest()[:16]}"
