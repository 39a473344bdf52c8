"""What a server can do, found out by a handful of short requests before the first prompt is sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from popsim.engines.server.bodies import CONTINUE, Body, Can, Form, chat_body, form_fields
from popsim.engines.server.calls import MODELS, Calls, Got
from popsim.engines.wire import Prompt, Sampling, Shape
from popsim.errors import EngineError

_LETTERS = Prompt((("user", "Write ten random letters."),), Sampling(max_tokens=24))
_PREFILL = "Zq7"
_WORD = '{"word": "zqv7"}'
_SCHEMA: Body = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": ["zqv7"]}},
    "required": ["word"],
    "additionalProperties": False,
}
_BOUNDED: Body = _SCHEMA | {
    "properties": {"word": {"anyOf": [{"type": "string", "pattern": "^(zqv7)$"}, {"type": "string", "enum": ["zqv7"]}]}}
}
_FORMS: dict[Form, Shape] = {
    "structured_outputs": Shape(f"root ::= {json.dumps(_WORD)}", ""),
    "grammar": Shape(f"root ::= {json.dumps(_WORD)}", ""),
    "json_schema": Shape("", json.dumps(_BOUNDED)),
    "plain_json_schema": Shape("", json.dumps(_SCHEMA)),
}
_REMARKS = {
    "neutral": "it takes neither top-k nor repetition penalties, so its own settings for these apply",
    "obeys": "it ignores top-k, so its own settings for top-k, min-p and penalties may apply",
    "seed": "its replies do not follow the seed, so asking again gives other replies",
    "prefill": "it cannot go on from the beginning of a reply",
    "form": "it cannot hold a reply to a form: structured replies are asked for in words alone",
    "plain": "its schemas know no patterns and lengths: a structured reply may be out of range",
    "scores": "it gives no log-probabilities, so choices cannot be scored",
    "few": "it gives the log-probabilities of {} tokens at a time: a choice outside them counts as 0",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out about a server.

    Attributes:
        can: What it can do.
        root: What it says the model is, where that is more than the name it is asked for.
        remarks: What it cannot do, in words.
    """

    can: Can
    root: str
    remarks: tuple[str, ...]


def find_out(calls: Calls, model: str, where: str) -> Found:
    """Ask a server what it can do.

    Args:
        calls: The line to it.
        model: The model's name there.
        where: How errors name the engine.

    Raises:
        EngineError: It cannot be reached, refuses the key, or does not serve the model.
    """
    listed = _listed(calls, where)
    can, plain = _basics(calls, model, where, listed)
    asked: dict[str, Body] = {
        "seed 1": _letters(model, can, 1),
        "seed 1 again": _letters(model, can, 1),
        "seed 2": _letters(model, can, 2),
        "seed 3": _letters(model, can, 3),
        "top_k 2": _letters(model, can, 2, top_k=1),
        "top_k 3": _letters(model, can, 3, top_k=1),
        "prefill": _begun(plain),
        "scores 20": plain | {"logprobs": True, "top_logprobs": 20},
        "scores 5": plain | {"logprobs": True, "top_logprobs": 5},
    }
    asked |= {form: plain | {can.limit: 64} | form_fields(shape, form) for form, shape in _FORMS.items()}
    got = dict(calls.send(asked.items()))
    same = _text(got["seed 1"]) == _text(got["seed 1 again"])
    differ = len({_text(got[name]) for name in ("seed 1", "seed 2", "seed 3")}) > 1
    obeys = can.neutral and _text(got["top_k 2"]) == _text(got["top_k 3"])
    prompt_tokens = _prompt_tokens(calls.fetch_chat(plain))
    can = replace(
        can,
        seed=same and differ,
        prefill=_goes_on(got["prefill"], prompt_tokens),
        form=next((form for form in _FORMS if _is_word(_text(got[form]))), ""),
        scores=max(_scores(got["scores 20"]), _scores(got["scores 5"])),
        token_ids=can.vllm and _scores_by_id(calls, plain),
    )
    return Found(can, _root(listed, model), _remarks(can, obeys or not differ))


def _listed(calls: Calls, where: str) -> dict[str, dict[str, Any]] | None:
    """Give the models that a server lists, by name; None where it keeps no list."""
    got = calls.fetch(MODELS)
    if got.error and (got.status == 0 or got.status >= 500):
        raise EngineError(f"{where}: cannot be reached: {got.error}; start the server, or mend the address")
    raise_if_refused(got, where, calls.api_key_env)
    rows = got.data.get("data")
    if not isinstance(rows, list):
        return None
    return {str(row["id"]): row for row in rows if isinstance(row, dict) and "id" in row}


def _basics(calls: Calls, model: str, where: str, listed: Mapping[str, Mapping[str, Any]] | None) -> tuple[Can, Body]:
    """Find the fields that a plain request may have; gives such a request too."""
    vllm = any(row.get("owned_by") == "vllm" for row in (listed or {}).values())
    adapters = None
    if listed is not None:
        adapters = frozenset(name for name, row in listed.items() if row.get("parent") and name != model)
    context = int((listed or {}).get(model, {}).get("max_model_len") or 0)
    prompt = replace(_LETTERS, sampling=Sampling(max_tokens=1))
    ways = [("max_tokens", True), ("max_tokens", False), ("max_completion_tokens", False)]
    for limit, neutral in ways:
        can = Can(vllm, limit, neutral, adapters=adapters, context=context)
        body = chat_body(model, prompt, can)
        got = calls.fetch_chat(body)
        if not got.error:
            return can, body
        if got.status not in (400, 422):
            break
    raise_if_refused(got, where, calls.api_key_env, listed)
    raise EngineError(f"{where}: does not answer a plain request: {got.error}")


def raise_if_refused(got: Got, where: str, api_key_env: str, listed: Mapping[str, object] | None = None) -> None:
    """Raise what a failure means for all prompts, if it does.

    Args:
        got: What came of a request.
        where: How errors name the engine.
        api_key_env: The environment variable that holds the key.
        listed: The models that the server lists.

    Raises:
        EngineError: The server refuses the key, or does not serve the model.
    """
    if got.status in (401, 403):
        raise EngineError(
            f"{where}: the server refuses the key: {got.error}; set the environment variable {api_key_env} to a valid "
            "key, or name another variable in the option api_key_env"
        )
    if got.status == 404 and listed is not None:
        names = ", ".join(list(listed)[:10]) or "none"
        raise EngineError(f"{where}: the server has no such model; it lists: {names} ({got.error})")


def _letters(model: str, can: Can, seed: int, top_k: int = 0) -> Body:
    sampling = replace(_LETTERS.sampling, top_k=top_k)
    return chat_body(model, replace(_LETTERS, seed=seed, sampling=sampling), can)


def _begun(plain: Body) -> Body:
    messages = [*plain["messages"], {"role": "assistant", "content": _PREFILL}]
    return plain | {"messages": messages} | CONTINUE


def _goes_on(got: Got, prompt_tokens: int) -> bool:
    """Say whether the model went on: a finished turn and the opening of another take more tokens than three letters."""
    more = _prompt_tokens(got) - prompt_tokens
    return 1 <= more <= len(_PREFILL) and not _text(got).startswith(_PREFILL)


def _prompt_tokens(got: Got) -> int:
    return int((got.data.get("usage") or {}).get("prompt_tokens") or 0)


def _text(got: Got) -> str:
    return str(got.data["choices"][0]["message"].get("content") or "") if got.data else ""


def _is_word(text: str) -> bool:
    try:
        return bool(json.loads(text) == json.loads(_WORD))
    except ValueError:
        return False


def _scores(got: Got) -> int:
    """Count the tokens whose log-probabilities came."""
    try:
        return len(got.data["choices"][0]["logprobs"]["content"][0]["top_logprobs"])
    except (KeyError, IndexError, TypeError):
        return 0


def _scores_by_id(calls: Calls, plain: Body) -> bool:
    """Say whether the log-probabilities of given tokens can be had."""
    if not first_tokens(calls, str(plain["model"]), "A"):
        return False
    wanted = {"logprobs": True, "top_logprobs": 1, "logprob_token_ids": [1, 2, 3], "return_tokens_as_token_ids": True}
    return _scores(calls.fetch_chat(plain | wanted)) >= 3


def first_tokens(calls: Calls, model: str, choice: str) -> tuple[int, ...]:
    """Ask vLLM for the first token of a choice, without and with a space before it; empty where it does not tell."""
    url = f"{calls.url.removesuffix('/').removesuffix('/v1')}/tokenize"
    found = []
    for text in (choice, f" {choice}"):
        got = calls.fetch(url, {"model": model, "prompt": text, "add_special_tokens": False})
        found += got.data.get("tokens", [])[:1]
    return tuple(found)


def _root(listed: Mapping[str, Mapping[str, Any]] | None, model: str) -> str:
    """Name what stands behind a model's name: its root, or the one model that a server has whatever it is asked for."""
    if not listed:
        return ""
    row = listed.get(model) or (next(iter(listed.values())) if len(listed) == 1 else {})
    name = str(row.get("root") or row.get("id") or "")
    return "" if name == model else name


def _remarks(can: Can, obeys: bool) -> tuple[str, ...]:
    """Say what a server cannot do."""
    lacks = {
        "neutral": not can.neutral,
        "obeys": can.neutral and not obeys,
        "seed": not can.seed,
        "prefill": not can.prefill,
        "form": not can.form,
        "plain": can.form == "plain_json_schema",
        "scores": not can.scores,
        "few": bool(can.scores) and not can.token_ids,
    }
    return tuple(_REMARKS[name].format(can.scores) for name, lacking in lacks.items() if lacking)
