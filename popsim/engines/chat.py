"""How a Hugging Face model is spoken to: messages to token ids, ids to text, and the name of a model by its content."""

import hashlib
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
from transformers import AutoTokenizer, GenerationConfig

from popsim.errors import EngineError

_WHOLE = 64 * 2**20
_FROZEN_DATE = date(2025, 1, 1)
_KINDS = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors", ".bin"})


class Chat:
    """A model's tokenizer and chat template.

    A template that prints today's date prints 1 January 2025. A text that holds one of the model's control tokens is
    refused, for the model would read it as a command.

    Args:
        model: A folder, or a name on the Hugging Face hub; a folder is read without any network access.
        where: How errors name the model.

    Attributes:
        tokenizer: The Hugging Face tokenizer.

    Raises:
        EngineError: There is no such folder, its tokenizer cannot be read, or it has no chat template.
    """

    def __init__(self, model: str, where: str) -> None:
        local = Path(model).is_dir()
        if local and not (Path(model) / "config.json").is_file():
            raise EngineError(f"{where}: no config.json there; give the folder of a Hugging Face model")
        if not local and (model.startswith(("/", ".", "~")) or model.count("/") > 1):
            raise EngineError(f"{where}: no such folder")
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=local)
        except Exception as problem:
            raise EngineError(f"{where}: its tokenizer cannot be read: {first_line(problem)}") from problem
        try:
            self.tokenizer.get_chat_template()
        except ValueError:
            raise EngineError(
                f"{where}: has no chat template; use an instruction-tuned model, or put a chat_template.jinja beside it"
            ) from None
        special = [token for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        self._control = re.compile("|".join(re.escape(token.content) for token in special) or r"(?!)")

    def encode(self, messages: Sequence[tuple[str, str]], prefill: str = "") -> list[int]:
        """Turn messages into the token ids of a prompt that waits for the assistant, who has begun with the prefill.

        Args:
            messages: Pairs of role and text.
            prefill: What the reply begins with.

        Raises:
            EngineError: A text holds a control token, or the template refuses the messages.
        """
        for text in (*(text for _, text in messages), prefill):
            if found := self._control.search(text):
                raise EngineError(f"the text holds {found[0]!r}, which this model reads as a command; reword it")
        try:
            text = self._render(messages) + prefill
        except (jinja2.TemplateError, ValueError) as problem:
            raise EngineError(f"the model's chat template refuses these messages: {problem}") from None
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of what was written, without control tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def end_tokens(self, declared: int | Sequence[int] | None) -> frozenset[int]:
        """Collect the tokens that end a reply: those declared, and the one that closes a turn in the chat template.

        Args:
            declared: The end tokens that the model's files name.
        """
        listed = declared if isinstance(declared, Sequence) else [declared]
        ends = {token for token in (self.tokenizer.eos_token_id, *listed) if token is not None}
        try:
            whole = self._render([("user", "QUESTION"), ("assistant", "ANSWER")], reply=False)
        except jinja2.TemplateError:
            return frozenset(ends)
        if found := self._control.match(whole.rpartition("ANSWER")[2]):
            ends.add(self.tokenizer.convert_tokens_to_ids(found[0]))
        return frozenset(ends)

    def spelling(self) -> list[str]:
        """Give the text of every token as it stands after others; empty for control tokens and broken characters."""
        control = set(self.tokenizer.all_special_ids)
        control |= {token for token, added in self.tokenizer.added_tokens_decoder.items() if added.special}
        before = self.tokenizer("a", add_special_tokens=False)["input_ids"][-1]
        start = len(self.tokenizer.decode([before]))
        pairs = [[before, token] for token in range(len(self.tokenizer))]
        texts = self.tokenizer.batch_decode(pairs, clean_up_tokenization_spaces=False)
        return [
            "" if token in control or "\ufffd" in text[start:] else text[start:] for token, text in enumerate(texts)
        ]

    def first_tokens(self, choices: Sequence[str]) -> list[tuple[int, ...]]:
        """Find the tokens that each option may begin with, written with and without a space before it.

        Args:
            choices: Options, each with a first token of its own.

        Raises:
            EngineError: Two options begin with the same token, so their probabilities cannot be told apart.
        """
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        owner: dict[int, str] = {}
        for choice in choices:
            for token in self._firsts(choice, vocabulary):
                if owner.setdefault(token, choice) != choice:
                    raise EngineError(f"choices {owner[token]!r} and {choice!r} begin with the same token; use letters")
        return [tuple(sorted(token for token in owner if owner[token] == choice)) for choice in choices]

    def _firsts(self, choice: str, vocabulary: dict[str, int]) -> set[int]:
        """Find the first tokens of a text and of the same after a space, also those that only a context would bring."""
        found = set()
        for spelling in (choice, f" {choice}"):
            first = self.tokenizer(spelling, add_special_tokens=False)["input_ids"][0]
            if begins := self.tokenizer.decode([first]).strip():
                found |= {first, *(vocabulary[mark + begins] for mark in ("", "Ġ", "▁") if mark + begins in vocabulary)}
        return found

    def _render(self, messages: Sequence[tuple[str, str]], *, reply: bool = True) -> str:
        """Put messages into the model's own format, on a date that does not move."""
        turns = [{"role": role, "content": text} for role, text in messages]
        text: str = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=reply, strftime_now=_FROZEN_DATE.strftime
        )
        return text


def read_generation_config(model: str, config: Any) -> GenerationConfig:
    """Read a model's generation_config, or make one of its config where it has none.

    Args:
        model: The folder or hub name.
        config: The model's own config.
    """
    try:
        return GenerationConfig.from_pretrained(model, local_files_only=Path(model).is_dir())
    except OSError:
        return GenerationConfig.from_model_config(config)


def own_sampling(declared: GenerationConfig) -> dict[str, float]:
    """Give how a model's own generation_config draws; what it leaves open is neutral.

    Args:
        declared: The generation_config.

    Example:
        >>> own_sampling(GenerationConfig(do_sample=True, top_k=20))
        {'temperature': 1.0, 'top_p': 1.0, 'top_k': 20}
    """
    if declared.do_sample is False:
        return {"temperature": 0.0, "top_p": 1.0, "top_k": 0}
    neutral = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    told = declared.to_diff_dict()
    names = (*neutral, "min_p", "repetition_penalty")
    return neutral | {name: told[name] for name in names if told.get(name) is not None}


def identity(model: str, ends: frozenset[int], commit: str | None = None) -> str:
    """Name a model by content: a folder by its files, wherever it lies, and a hub name by its commit.

    Args:
        model: The folder or hub name.
        ends: The tokens that end a reply.
        commit: The commit of a hub name.
    """
    if not Path(model).is_dir():
        return f"{model}@{commit}"
    content = hashlib.sha256(repr(sorted(ends)).encode())
    content.update(folder_digest(Path(model)))
    return f"{Path(model).resolve().name}@{content.hexdigest()[:16]}"


def folder_digest(folder: Path) -> bytes:
    """Hash the files that make up a model or adapter, all but its generation_config."""
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _KINDS and path.name != "generation_config.json":
            content.update(path.name.encode() + file_digest(path))
    return content.digest()


def file_digest(path: Path) -> bytes:
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
    """Say in one line what an exception of somebody else's says."""
    details = getattr(problem, "errors", None)
    if callable(details) and (listed := details()) and "msg" in listed[0]:
        return str(listed[0]["msg"]).splitlines()[0]
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
