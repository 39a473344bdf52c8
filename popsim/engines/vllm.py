"""Any model that vLLM serves, in this process: every prompt of a wave goes to one engine, which batches them itself."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from popsim.engines.local import adapters as lora
from popsim.engines.local.loading import end_tokens, first_line, identity, load_tokenizer
from popsim.engines.local.texts import Texts
from popsim.engines.tokens import CLOSING, own_sampling
from popsim.engines.vllm_adapters import adapter_rank, check_output_layer
from popsim.engines.vllm_start import (
    MOST_LOGPROBS,
    check_options,
    import_vllm,
    own_settings,
    read_config,
    settings_for,
    start,
)
from popsim.engines.wire import NOTICE, Ability, Prompt, Reply
from popsim.errors import EngineError

_WINDOW = 4096
_AT_ONCE = 256


class VLLM:
    """A language model run by vLLM: continuous batches, a cache of common prefixes, and each reply as soon as it ends.

    Sampling is what the prompt says. The model's generation_config gives its end tokens and, where ``sampling.model``
    is set, its sampling; the reply's length is the prompt's in either case. A reply also ends as soon as its text
    holds ``</final_answer>``. Options have vLLM's own names, and what is not given is left to vLLM. On a CPU the engine
    runs in this process and reads each prompt in one piece, for vLLM's CPU build cannot draw by seeds otherwise; an
    eighth of the memory holds its key/value cache unless ``VLLM_CPU_KVCACHE_SPACE`` (GiB) is set. One `answer` at a
    time: end or close the one before.

    Args:
        model: A folder, or a name on the Hugging Face hub.
        dtype: ``auto`` (vLLM's choice: half precision for most models), ``float32``, ``bfloat16`` or ``float16``.
        quantization: A method that vLLM knows, such as ``fp8``; as the model's files say unless given.
        max_model_len: Tokens of prompt and reply together; what the model can read unless given.
        gpu_memory_utilization: The share of a GPU's memory that vLLM takes.
        tensor_parallel_size: GPUs that one copy of the model is spread over.
        enforce_eager: Whether to leave out compilation, which starts faster and runs slower; on a CPU unless given.
        adapters: LoRA adapters by name, each a folder that peft has written.

    Attributes:
        fingerprint: Name and content of the model, dtype, the generation_config's sampling, quantization and adapters.
        reproducible: ``exact`` in float32 on a CPU, else ``best_effort``.

    Raises:
        EngineError: The model or an adapter cannot be loaded, or an option is wrong.
    """

    def __init__(
        self,
        model: str,
        dtype: str = "auto",
        quantization: str | None = None,
        max_model_len: int | None = None,
        gpu_memory_utilization: float | None = None,
        tensor_parallel_size: int = 1,
        enforce_eager: bool | None = None,
        adapters: Mapping[str, str] | None = None,
    ) -> None:
        where = f"vllm:{model}"
        counts = {"max_model_len": max_model_len, "tensor_parallel_size": tensor_parallel_size}
        check_options(where, dtype, gpu_memory_utilization, **counts)
        folders = {name: Path(folder) for name, folder in (adapters or {}).items()}
        ranks = [adapter_rank(where, name, folder) for name, folder in folders.items()]
        kept = [f"{name}={lora.content(f'{where}: adapter {name}', model, folders[name])}" for name in folders]
        tokenizer = load_tokenizer(model, where)
        self._names = import_vllm(where)
        if folders:
            check_output_layer(where, read_config(where, model).architectures or [], folders)
        given = {
            "quantization": quantization,
            "max_model_len": max_model_len,
            "gpu_memory_utilization": gpu_memory_utilization,
            "enforce_eager": enforce_eager,
            "dtype": dtype,
            "tensor_parallel_size": tensor_parallel_size,
        }
        on_cpu = self._names.platforms.current_platform.is_cpu()
        self._llm = start(where, self._names, model, settings_for(where, model, given, ranks, on_cpu=on_cpu))
        self._engine, config = self._llm.llm_engine, self._llm.model_config
        self._context: int = config.max_model_len
        self._texts = Texts(tokenizer, config.get_vocab_size())
        self._own = own_settings(model, config.hf_config)
        self._ends = end_tokens(tokenizer, self._own)
        self._adapters = {
            name: self._names.lora.request.LoRARequest(name, number, str(folder.resolve()))
            for number, (name, folder) in enumerate(folders.items(), 1)
        }
        self._numbers = count()
        name = identity(model, config.hf_config, config.dtype, self._own, self._ends)
        self.fingerprint = ":".join(["vllm", name, *filter(None, [config.quantization]), *kept])
        self.reads: Literal["text", "facts"] = "text"
        own: set[Ability] = {"adapter"} if adapters else set()
        self.abilities: frozenset[Ability] = frozenset({"seed", "prefill", "grammar", "choice", "next", *own})
        exact = on_cpu and str(config.dtype) == "torch.float32" and not config.quantization
        self.reproducible: Literal["exact", "best_effort"] = "exact" if exact else "best_effort"
        self.notice = NOTICE

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield each reply as it ends; a prompt that cannot be asked comes back as an error.

        Raises:
            EngineError: vLLM broke down.
        """
        for position, task, output in self._work_off(len(prompts), lambda position: self._task(prompts[position])):
            if isinstance(output, EngineError):
                yield position, _failed(str(output))
            elif task.choices:
                yield position, self._scored(task, output)
            else:
                yield position, self._written(task, output)

    def spelling(self) -> Sequence[str]:
        """Give the text of every token, by its id; empty for control tokens and for pieces of a character."""
        return self._texts.spelling

    def next_logprobs(
        self, asked: Sequence[tuple[Prompt, tuple[int, ...]]], tokens: Sequence[int]
    ) -> NDArray[np.float64]:
        """Give the log-probability of tokens as the next, at temperature 1 and over the whole vocabulary.

        vLLM tells those of 128 tokens at once; more are asked for in turn, from the cache of the prompt.

        Args:
            asked: Prompts, read up to the end of their prefill, each with the ids of tokens that follow.
            tokens: The ids that are wanted.

        Returns:
            Shape (asked, tokens).

        Raises:
            EngineError: A prompt cannot be read, or vLLM broke down.
        """
        chunks = [list(tokens[start : start + MOST_LOGPROBS]) for start in range(0, len(tokens), MOST_LOGPROBS)]
        found = np.empty((len(asked), len(tokens)))

        def task(index: int) -> "_Task":
            prompt, follow = asked[index // len(chunks)]
            ids = [*self._texts.read(prompt.messages, prompt.prefill)[1].tolist(), *follow]
            self._room(ids)
            return _Task(ids, self._scoring(chunks[index % len(chunks)]), self._adapter(prompt))

        for index, _, output in self._work_off(len(asked) * len(chunks), task):
            if isinstance(output, EngineError):
                raise output
            row, chunk = divmod(index, len(chunks))
            told = output.outputs[0].logprobs[0]
            start = chunk * MOST_LOGPROBS
            found[row, start : start + len(chunks[chunk])] = [told[token].logprob for token in chunks[chunk]]
        return found

    def _work_off(self, total: int, make: Callable[[int], "_Task"]) -> Iterator[tuple[int, "_Task", Any]]:
        """Keep the engine full, and yield each task with its output as it ends, or with why it cannot be asked."""
        waiting = iter(range(total))
        flying: dict[str, tuple[int, _Task]] = {}
        try:
            while True:
                fresh = list(islice(waiting, min(_AT_ONCE, _WINDOW - len(flying))))
                for index in fresh:
                    name = str(next(self._numbers))
                    task = _NOTHING
                    try:
                        task = make(index)
                        self._submit(name, task)
                    except EngineError as problem:
                        yield index, task, problem
                    else:
                        flying[name] = (index, task)
                if not flying and not fresh:
                    return
                for output in self._step(flying):
                    if output.request_id in flying:
                        index, task = flying.pop(output.request_id)
                        yield index, task, output
        finally:
            if flying:
                self._engine.abort_request(list(flying))

    def _submit(self, name: str, task: "_Task") -> None:
        try:
            prompt = {"type": "token", "prompt_token_ids": task.ids}
            self._engine.add_request(name, prompt, task.params, lora_request=task.adapter)
        except Exception as problem:
            raise EngineError(f"vLLM refuses the prompt: {first_line(problem)}") from None

    def _step(self, flying: dict[str, Any]) -> list[Any]:
        """Let the engine write one token of every reply in its batch; gives the outputs that ended."""
        if not flying:
            return []
        if not self._engine.has_unfinished_requests():
            raise EngineError(f"{self.fingerprint}: another answer() ran in between; end one before the next")
        try:
            outputs: list[Any] = self._engine.step()
        except Exception as problem:
            flying.clear()
            raise EngineError(f"{self.fingerprint}: vLLM broke down: {first_line(problem)}") from problem
        return outputs

    def _task(self, prompt: Prompt) -> "_Task":
        """Turn a prompt into token ids and vLLM's parameters."""
        text, read = self._texts.read(prompt.messages, prompt.prefill)
        ids, adapter = read.tolist(), self._adapter(prompt)
        room = self._room(ids)
        if not prompt.choices:
            return _Task(ids, self._drawing(prompt, room), adapter, ids[-1:] if prompt.prefill else [])
        choices = self._texts.firsts(text, prompt.choices)
        tokens = [token for firsts in choices for token in firsts]
        return _Task(ids, self._scoring(tokens), adapter, choices=choices)

    def _room(self, ids: Sequence[int]) -> int:
        """Count the tokens that may follow."""
        room = self._context - len(ids)
        if room < 1:
            raise EngineError(f"the prompt has {len(ids)} tokens, the model reads {self._context}; shorten the prompt")
        return room

    def _adapter(self, prompt: Prompt) -> Any:
        if prompt.adapter and prompt.adapter not in self._adapters:
            known = ", ".join(self._adapters) or "none; give their folders in the engine's option adapters"
            raise EngineError(f"adapter {prompt.adapter!r} is unknown; known: {known}")
        return self._adapters.get(prompt.adapter)

    def _drawing(self, prompt: Prompt, room: int) -> Any:
        """Give vLLM's parameters for a reply; of a seed the CPU's generator reads the lower half alone."""
        names = self._names.sampling_params
        sampling, penalty = own_sampling(prompt.sampling, self._own)
        if prompt.shape and prompt.prefill:
            raise EngineError("vLLM holds a reply to a shape only from its start; leave out the prefill or the shape")
        shape = names.StructuredOutputsParams(grammar=prompt.shape.grammar) if prompt.shape else None
        try:
            params = names.SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                repetition_penalty=penalty,
                seed=None if sampling.greedy else prompt.seed ^ prompt.seed >> 32,
                max_tokens=min(sampling.max_tokens, room),
                stop=[CLOSING],
                include_stop_str_in_output=True,
                stop_token_ids=sorted(self._ends),
                structured_outputs=shape,
                output_kind=names.RequestOutputKind.FINAL_ONLY,
                skip_clone=True,
            )
        except Exception as problem:
            raise EngineError(f"vLLM cannot sample so: {first_line(problem)}") from None
        if params.temperature != sampling.temperature:
            raise EngineError(f"temperature {sampling.temperature}: vLLM takes 0 or {params.temperature} to 2")
        return params

    def _scoring(self, tokens: list[int]) -> Any:
        """Give vLLM's parameters for the log-probabilities of tokens as the next."""
        names = self._names.sampling_params
        if len(tokens) > MOST_LOGPROBS:
            raise EngineError(f"{len(tokens)} first tokens of choices; vLLM tells at most {MOST_LOGPROBS}")
        return names.SamplingParams(
            temperature=0.0,
            max_tokens=1,
            logprobs=len(tokens),
            logprob_token_ids=tokens,
            detokenize=False,
            output_kind=names.RequestOutputKind.FINAL_ONLY,
            skip_clone=True,
        )

    def _written(self, task: "_Task", output: Any) -> Reply:
        """Read a reply that was written; its end token counts, but is no part of the text."""
        done = output.outputs[0]
        if done.finish_reason not in ("stop", "length"):
            return _failed(f"vLLM gave the reply up: {done.finish_reason}; its log says why (VLLM_LOGGING_LEVEL=INFO)")
        ids = list(done.token_ids)
        ended = done.finish_reason == "stop" and done.stop_reason != CLOSING
        text = self._texts.write(ids[:-1] if ended else ids, task.behind)
        return Reply(text, done.finish_reason, len(output.prompt_token_ids), len(ids))

    def _scored(self, task: "_Task", output: Any) -> Reply:
        """Sum the probabilities of the first tokens of each choice."""
        told = output.outputs[0].logprobs[0]
        shares = [sum(math.exp(told[token].logprob) for token in firsts) for firsts in task.choices]
        return Reply(json.dumps(shares), "stop", len(output.prompt_token_ids), 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """A prompt as vLLM takes it, the token that its text stands behind, and the first tokens of each of its choices."""

    ids: list[int]
    params: Any
    adapter: Any = None
    behind: Sequence[int] = ()
    choices: Sequence[Sequence[int]] = ()


_NOTHING = _Task([], None)


def _failed(why: str) -> Reply:
    return Reply("", finish="error", error=why)
