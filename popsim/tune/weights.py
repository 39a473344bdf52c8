"""The weights that a training from scratch begins with: random ones that look back, or another model's."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from popsim import streams
from popsim.errors import TuneError
from popsim.tune.config import ModelSettings
from popsim.tune.tokenizer import END, PAD

_TOKENS = "model.embed_tokens.weight"
_EMBEDDING = 0.1
"""Standard deviation of new embeddings: so small a step of the optimiser does not wipe out who is who."""
_PAIRS = 4
_SHARPNESS = 8.0
"""Of the first layer's heads: the score of the token that they look at, per pair of features."""


def make_model(settings: ModelSettings, tokenizer: Tokenizer, seed: int) -> LlamaForCausalLM:
    """Make a Llama with random weights, but for the first layer, which begins by looking back (`look_back`).

    Args:
        settings: Its size.
        tokenizer: Gives the vocabulary.
        seed: Of the weights.
    """
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=settings.hidden,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    with torch.random.fork_rng():
        torch.manual_seed(streams.stream(f"tune.weights.{seed}"))
        model = LlamaForCausalLM(config)
        torch.nn.init.normal_(model.model.embed_tokens.weight, std=_EMBEDDING)
    look_back(model)
    return model


def take_over(model: LlamaForCausalLM, folder: Path, tokenizer: Tokenizer) -> None:
    """Give a model the weights of another; what only its vocabulary has begins as the mean of the tokens in it.

    Args:
        model: Changed in place.
        folder: The other, with its tokenizer.
        tokenizer: Of the model, grown from the other's.

    Raises:
        TuneError: The sizes differ.
    """
    weights = load_file(folder / "model.safetensors")
    vocab, merges = tokenizer.get_vocab(), json.loads(tokenizer.to_str())["model"]["merges"]
    known = weights.pop(_TOKENS).float()
    rows = [*known, *torch.zeros(len(vocab) - len(known), known.shape[1])]
    parts = [1] * len(rows)
    for left, right in merges:
        i, j, k = vocab[left], vocab[right], vocab[left + right]
        if k >= len(known):
            parts[k] = parts[i] + parts[j]
            rows[k] = (parts[i] * rows[i] + parts[j] * rows[j]) / parts[k]
    try:
        found = model.load_state_dict({**weights, _TOKENS: torch.stack(rows)}, strict=False)
    except RuntimeError as problem:
        raise TuneError(
            f"start: {folder}: its sizes are not those of model: {str(problem).splitlines()[1].strip()}"
        ) from None
    assert set(found.missing_keys) <= {"lm_head.weight"}


def look_back(model: LlamaForCausalLM) -> None:
    """Let head h of a new model's first layer attend to the token h places before, for h from 1.

    To copy what a prompt says, a model must find the place where the last few tokens stood before, which takes heads
    that look one, two, three tokens back. Learning these from nothing is most of what learning to copy takes; here they
    are there from the first step. One feature of the embedding is made constant; the query of a head is its key turned
    back by h positions, in the pairs of features that rotate fastest.

    Args:
        model: Changed in place.
    """
    size, attention = model.config.head_dim, model.model.layers[0].self_attn
    half = size // 2
    pairs = torch.arange(min(half, _PAIRS))
    turns = model.config.rope_parameters["rope_theta"] ** (-2 * pairs / size)
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        embedding[:, 0] = embedding.std() * len(embedding[0]) ** 0.5 / 2
        constant = (embedding[:, 0] / embedding.square().mean(1).sqrt()).mean()
        gain = (_SHARPNESS * size**0.5) ** 0.5 / constant
        keys = attention.k_proj.weight.unflatten(0, (-1, size))
        queries = attention.q_proj.weight.unflatten(0, (-1, size))
        back = torch.arange(1.0, len(queries) + 1)[:, None]
        for heads, angles in ((keys, torch.zeros(len(keys), 1)), (queries, -back)):
            for part, wave in ((pairs, torch.cos), (pairs + half, torch.sin)):
                heads[:, part] = 0
                heads[:, part, 0] = gain * wave(angles * turns)
