"""What a model thinks of answers: logits at the places where answers stand, and nowhere else.

A logit for each of the vocabulary at every token of the prompts would take most of the memory, and of a small model's
time. Rows of a batch with the same prompt compute it once, and go on from its keys and values.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch

from popsim.tune.losses import IGNORED

Tokens = Sequence[int]


def answer_logits(model: Any, pairs: Sequence[tuple[Tokens, Tokens]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the logits that predict each token of the answers.

    Args:
        model: Of transformers, with or without an adapter.
        pairs: (b) token ids of a prompt and of an answer to it, which may be empty.

    Returns:
        (b, m, v) logits for answers of at most m tokens, at least 1, and (b, m) labels, `IGNORED` behind an end.
    """
    prompts = list(dict.fromkeys(tuple(prompt) for prompt, _ in pairs))
    labels = _filled([answer for _, answer in pairs], IGNORED, model.device)
    if len(prompts) == len(pairs):
        inputs = [[*prompt, *answer[:-1]] for prompt, answer in pairs]
        return _logits(model, inputs, [len(prompt) for prompt in prompts], labels.shape[1]), labels
    at = {prompt: i for i, prompt in enumerate(prompts)}
    which = torch.tensor([at[tuple(prompt)] for prompt, _ in pairs], device=model.device)
    logits = _shared(model, prompts, which, [answer[:-1] for _, answer in pairs])
    return logits, labels


def _logits(model: Any, inputs: Sequence[Tokens], lengths: Sequence[int], count: int) -> torch.Tensor:
    """Run whole rows, and pick the logits from each prompt's last token on."""
    start = min(lengths) - 1
    ids = _filled(inputs, 0, model.device)
    found = model(input_ids=ids, attention_mask=_mask(inputs, model.device), **_keeping(model, ids.shape[1] - start))
    logits = found.logits[:, start - ids.shape[1] :]
    first = torch.tensor(lengths, device=model.device) - 1 - start
    places = (first[:, None] + torch.arange(count, device=model.device)).clamp_max(logits.shape[1] - 1)
    return logits[torch.arange(len(inputs), device=model.device)[:, None], places]


def _shared(model: Any, prompts: Sequence[Tokens], which: torch.Tensor, answers: Sequence[Tokens]) -> torch.Tensor:
    """Run each prompt once, and every answer behind its own."""
    lengths = [len(prompt) for prompt in prompts]
    start = min(lengths) - 1
    ids, mask = _filled(prompts, 0, model.device), _mask(prompts, model.device)
    found = model(input_ids=ids, attention_mask=mask, use_cache=True, **_keeping(model, ids.shape[1] - start))
    ends = torch.tensor(lengths, device=model.device)
    last = found.logits[:, start - ids.shape[1] :][torch.arange(len(prompts), device=model.device), ends - 1 - start]
    first = last[which][:, None]
    if not any(answers):
        return first
    cache = found.past_key_values
    cache.batch_select_indices(which)
    behind = _filled(answers, 0, model.device)
    rest = model(
        input_ids=behind,
        attention_mask=torch.cat([mask[which], _mask(answers, model.device)], 1),
        position_ids=ends[which][:, None] + torch.arange(behind.shape[1], device=model.device),
        past_key_values=cache,
        use_cache=True,
    )
    return torch.cat([first, rest.logits], 1)


def _keeping(model: Any, last: int) -> dict[str, int]:
    """Ask for the last logits alone, of a model that can leave the others out."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    return {"logits_to_keep": last} if "logits_to_keep" in signature(plain.forward).parameters else {}


def _filled(rows: Sequence[Tokens], filler: int, device: Any) -> torch.Tensor:
    """Put rows of token ids into a table, filled on the right, at least one wide."""
    table = torch.full((len(rows), max(1, *map(len, rows))), filler, dtype=torch.long)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return table.to(device)


def _mask(rows: Sequence[Tokens], device: Any) -> torch.Tensor:
    return _filled([[1] * len(row) for row in rows], 0, device)
