"""A language model of some 60,000 random weights, made where a test needs one."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "You are a person who lives in the West and rents a flat. How sure are you? Prices will rise, stay or fall.",
    "system user assistant recall reasoning final_answer inflation unemployment 2.50% 4.00% 10.25%",
    'Give your answer as JSON: {"inflation": 3.10, "unemployment": 4.75}. Nothing else is needed here.',
]


def make_tiny_checkpoint(
    folder: Path,
    dtype: str = "float64",
    *,
    seed: int = 0,
    context: int = 512,
    end_boost: float = 2.0,
    width: int = 32,
) -> Path:
    """Make a two-layer Llama with a byte-level BPE tokenizer and a ChatML template, and return its folder.

    The tokenizer has 300 entries. ``end_boost`` scales the output row of the end token, so that replies end early
    for some prompts and late for others. vLLM's CPU build needs heads of 32 and more: a width of 128.
    """
    logging.disable_progress_bar()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    with torch.no_grad():
        model.lm_head.weight[fast.eos_token_id] *= end_boost
    model.save_pretrained(folder)
    return folder
