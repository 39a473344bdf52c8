"""Attention for training: many answers read on top of one prompt, whose keys and values are kept once for all of them.

Exponents are taken of one matrix of scores in place, and its sums are a column more of the product with the values, so
that batched products do nearly all of the work; on processors they are much faster than fused attention.
"""

from typing import Any

import torch
from transformers import AttentionInterface, DynamicCache, LlamaForCausalLM

_NAME = "popsim_branches"


def let_branch(model: LlamaForCausalLM) -> None:
    """Let a model read answers on top of prompts: see `read_prompts` and `read_answers`.

    Args:
        model: Changed in place; what it computes stays the same.
    """
    AttentionInterface.register(_NAME, _attention)
    model.set_attn_implementation(_NAME)


def read_prompts(model: LlamaForCausalLM, prompts: torch.Tensor) -> tuple[torch.Tensor, DynamicCache]:
    """Read prompts.

    Args:
        model: One that `let_branch` has changed.
        prompts: (p, n) token ids, padded on the right.

    Returns:
        Its last states, (p, n, hidden), and what the answers look back at.
    """
    stem = DynamicCache(config=model.config)
    return model.model(input_ids=prompts, past_key_values=stem, use_cache=True).last_hidden_state, stem


def read_answers(
    model: LlamaForCausalLM, answers: torch.Tensor, stem: DynamicCache, lengths: torch.Tensor
) -> torch.Tensor:
    """Read k answers to each of p prompts, each on top of its own prompt.

    Args:
        model: One that `let_branch` has changed.
        answers: (p k, m) token ids, those to one prompt together, padded on the right.
        stem: From `read_prompts`.
        lengths: (p,) how many tokens of each prompt are real.

    Returns:
        Its last states, (p k, m, hidden).
    """
    times, m = len(answers) // len(lengths), answers.shape[1]
    n = stem.get_seq_length()
    hidden = torch.zeros(len(lengths), 1, n).masked_fill(torch.arange(n) >= lengths[:, None, None], -torch.inf)
    places = lengths.repeat_interleave(times)[:, None] + torch.arange(m)
    read = model.model(input_ids=answers, position_ids=places, use_cache=False, stem=stem, hidden=hidden)
    return read.last_hidden_state


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    stem: DynamicCache | None = None,
    hidden: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend to what came before in one's own row, and to the prompt, if there is one; shapes as in transformers."""
    rows, heads, m, size = query.shape
    query, groups = query * scaling, heads // key.shape[1]
    causal = query.new_zeros(m, m).masked_fill(torch.ones(m, m, dtype=torch.bool).triu(1), -torch.inf)
    own = _scores(query.flatten(0, 1), _flat(key, groups), causal)
    top = own.detach().amax(-1, keepdim=True)
    if stem is None or hidden is None:
        seen = _weighted(own, top, _flat(value, groups)).view(rows, heads, m, size + 1)
    else:
        layer = stem.layers[module.layer_idx]
        p = len(hidden)
        swap = (p, rows // p, heads, m)
        above = _scores(_by_prompt(query, swap), _flat(layer.keys, groups), hidden.repeat_interleave(heads, 0))
        top = torch.maximum(top, _by_answer(above.detach().amax(-1, keepdim=True), swap).flatten(0, 1))
        both = _by_prompt(top.view(rows, heads, m, 1), swap)
        seen = _weighted(own, top, _flat(value, groups)).view(rows, heads, m, size + 1)
        seen = seen + _by_answer(_weighted(above, both, _flat(layer.values, groups)), swap)
    return (seen[..., :-1] / seen[..., -1:]).transpose(1, 2), None


def _scores(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.baddbmm(mask.to(query.dtype).expand(len(query), -1, -1), query, key.transpose(1, 2))


def _weighted(scores: torch.Tensor, top: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Sum values, each as many times as e to its score less the row's highest; last, the sum of these weights."""
    return torch.bmm(scores.sub_(top).exp_(), torch.cat([value, value.new_ones(*value.shape[:-1], 1)], -1))


def _flat(kept: torch.Tensor, groups: int) -> torch.Tensor:
    return kept.repeat_interleave(groups, 1).flatten(0, 1) if groups > 1 else kept.flatten(0, 1)


def _by_prompt(answers: torch.Tensor, swap: tuple[int, int, int, int]) -> torch.Tensor:
    """Put the k answers to a prompt behind each other: (p k, h, m, x) becomes (p h, k m, x)."""
    p, k, h, m = swap
    return answers.view(p, k, h, m, -1).transpose(1, 2).reshape(p * h, k * m, -1)


def _by_answer(prompts: torch.Tensor, swap: tuple[int, int, int, int]) -> torch.Tensor:
    """Undo `_by_prompt`."""
    p, k, h, m = swap
    return prompts.view(p, h, k, m, -1).transpose(1, 2).reshape(p * k, h, m, -1)
