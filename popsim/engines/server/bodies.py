"""A prompt as the body of a request, and the body of an answer as a reply."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from popsim.engines.tokens import CLOSING
from popsim.engines.wire import Prompt, Reply, Shape

Body = dict[str, Any]
Form = Literal["", "structured_outputs", "grammar", "json_schema", "plain_json_schema"]

NEUTRAL: Body = {
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""Switches off what a server may do to the distribution by settings of its own; the fourth is llama.cpp's name."""
CONTINUE: Body = {"continue_final_message": True, "add_generation_prompt": False}
_PARTS = ("recall", "reasoning", "final_answer")
_TAG = re.compile(rf"</?(?:{'|'.join(_PARTS)})>")
_BOUNDS = frozenset({"pattern", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems"})


@dataclass(frozen=True, slots=True)
class Can:
    """What a server can do.

    Attributes:
        vllm: Whether it is vLLM, which takes 63-bit seeds and keeps the stop string; elsewhere 31 bits are safe.
        limit: Its name for the length limit.
        neutral: Whether it takes top-k and the fields of `NEUTRAL`.
        seed: Whether the seed decides the reply.
        prefill: Whether it goes on from the beginning of a reply.
        form: How it is told the form of a reply; empty where it cannot be.
        scores: Of how many next tokens it gives the log-probability.
        token_ids: Whether it gives those of any token.
        adapters: The LoRA adapters that it offers; None where it does not list them.
        context: Tokens that it reads and writes together; it may refuse a higher length limit. 0 where it does not say.
    """

    vllm: bool = False
    limit: str = "max_tokens"
    neutral: bool = True
    seed: bool = False
    prefill: bool = False
    form: Form = ""
    scores: int = 0
    token_ids: bool = False
    adapters: frozenset[str] | None = None
    context: int = 0


def chat_body(model: str, prompt: Prompt, can: Can, tokens: Sequence[int] = ()) -> Body:
    """Write the body of the request that asks a prompt.

    Args:
        model: The model's name on the server.
        prompt: The prompt.
        can: What the server can do.
        tokens: The tokens whose log-probabilities are wanted, where the server takes them by id.

    Example:
        >>> body = chat_body("m", Prompt((("user", "Hi"),), seed=2**40 + 3), Can(neutral=False))
        >>> body["messages"], body["seed"], body["temperature"]
        ([{'role': 'user', 'content': 'Hi'}], 3, 1.0)
    """
    sampling = prompt.sampling
    messages = [{"role": role, "content": text} for role, text in prompt.messages]
    seed = prompt.seed & (2**63 - 1 if can.vllm else 2**31 - 1)
    longest = min(sampling.max_tokens, can.context or sampling.max_tokens)
    body: Body = {"model": prompt.adapter or model, "messages": messages, can.limit: longest, "seed": seed}
    if prompt.prefill:
        messages.append({"role": "assistant", "content": prompt.prefill})
        body |= CONTINUE
    if prompt.choices:
        body |= {can.limit: 1, "temperature": 1.0, "top_p": 1.0, "logprobs": True, "top_logprobs": can.scores}
        wanted = {"logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True}
        return body | (wanted if tokens else {}) | (NEUTRAL | {"top_k": 0} if can.neutral else {})
    if not sampling.model:
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
        body |= NEUTRAL | {"top_k": sampling.top_k} if can.neutral else {}
    if prompt.shape:
        body |= form_fields(prompt.shape, can.form)
    if can.vllm:  # a complete reply ends there; others would cut the tag away, so they are left to their end token
        body |= {"stop": [CLOSING], "include_stop_str_in_output": True}
    return body


def form_fields(shape: Shape, form: Form) -> Body:
    """Give the fields that hold a reply to its form."""
    if not form:
        return {}
    if form == "structured_outputs":
        return {"structured_outputs": {"grammar": shape.grammar}}
    if form == "grammar":
        return {"grammar": shape.grammar}
    schema = json.loads(shape.schema)
    if form == "plain_json_schema":
        schema = _without_bounds(schema)
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
    }


def to_reply(prompt: Prompt, data: Mapping[str, Any], can: Can, ids: Sequence[Sequence[int]] = ()) -> Reply:
    """Read the reply to a prompt from the body of an answer.

    Args:
        prompt: What was asked.
        data: What the server sent.
        can: What the server can do.
        ids: The first tokens of each choice, where log-probabilities were asked for by id.

    Example:
        >>> answer = {"choices": [{"message": {"content": "4%"}, "finish_reason": "stop"}]}
        >>> to_reply(Prompt(()), answer, Can()).text
        '4%'
    """
    choice = data["choices"][0]
    usage = data.get("usage") or {}
    counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    if prompt.choices:
        try:
            found = [
                (str(top["token"]), math.exp(float(top["logprob"])))
                for top in choice["logprobs"]["content"][0]["top_logprobs"]
            ]
        except (KeyError, IndexError, TypeError, ValueError):
            return Reply("", "error", error="the server gave no log-probabilities")
        shares = shares_by_id(found, ids) if ids else shares_by_text(found, prompt.choices)
        return Reply(json.dumps(shares), "stop", *counts)
    text = choice["message"].get("content") or choice["message"].get("refusal") or ""
    if prompt.shape and can.form in ("json_schema", "plain_json_schema"):
        text = in_parts(text)
    return Reply(text, "length" if choice.get("finish_reason") == "length" else "stop", *counts)


def in_parts(text: str) -> str:
    r"""Write the three parts of a reply, where they came as one JSON object, as a reply in text has them.

    Example:
        >>> print(in_parts('{"recall": "Me.", "reasoning": "So.", "final_answer": {"rate": "4%"}}'))
        <recall>
        Me.
        </recall>
        <reasoning>
        So.
        </reasoning>
        <final_answer>
        {"rate": "4%"}
        </final_answer>
    """
    try:
        parts = json.loads(text)
    except ValueError:
        return text
    if not isinstance(parts, dict) or set(parts) != set(_PARTS):
        return text
    said = [_TAG.sub("", str(parts[name])) for name in _PARTS[:2]] + [json.dumps(parts[_PARTS[2]], ensure_ascii=False)]
    return "\n".join(f"<{name}>\n{part}\n</{name}>" for name, part in zip(_PARTS, said, strict=True))


def shares_by_text(found: Sequence[tuple[str, float]], choices: Sequence[str]) -> list[float]:
    """Sum the probabilities of the tokens that begin each choice, with and without a space before it.

    A choice's token is the longest that begins it and no other choice.

    Example:
        >>> shares_by_text([("A", 0.5), (" A", 0.25), ("B", 0.125), (" ", 0.1)], ["A", "B"])
        [0.75, 0.125]
    """
    shares = []
    for choice in choices:
        others = [other for other in choices if other != choice]
        total = 0.0
        for spelling in (choice, f" {choice}"):
            fits = [
                token
                for token, _ in found
                if token.strip() and spelling.startswith(token) and not _begins_any(token.strip(), others)
            ]
            longest = max(fits, key=len, default="")
            total += sum(p for token, p in found if longest and token == longest)
        shares.append(total)
    return shares


def shares_by_id(found: Iterable[tuple[str, float]], ids: Sequence[Sequence[int]]) -> list[float]:
    """Sum the probabilities of the tokens of each choice, which the server names by id.

    Example:
        >>> shares_by_id([("token_id:7", 0.5), ("token_id:9", 0.25)], [[7, 9], [8]])
        [0.75, 0.0]
    """
    by_id = {token.removeprefix("token_id:"): p for token, p in found}
    return [float(sum(by_id.get(str(token), 0.0) for token in mine)) for mine in ids]


def _begins_any(token: str, others: Sequence[str]) -> bool:
    return any(other.startswith(token) for other in others)


def _without_bounds(schema: Any) -> Any:
    """Take the keywords out of a schema that some hosted servers refuse."""
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if key not in _BOUNDS or isinstance(value, dict)}
        return {key: _without_bounds(value) for key, value in kept.items()}
    return [_without_bounds(value) for value in schema] if isinstance(schema, list) else schema
