"""Respondents per second: nano's numpy runtime, transformers at its best setting, and the model card's own loop.

    python benchmarks/nano_speed.py [--model FOLDER] [--prompts 128] [--runs 3]

All three answer the same oil prompts with the same files at temperature 1 without limits on the sampled tokens, in one
process, in turn; the medians of the runs are compared. The card's loop asks one prompt at a time.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import popsim
from popsim.engines import Prompt, answer_all, load_engine
from popsim.engines.nano import SHIPPED

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], batch: int
) -> list[str]:
    """Answer prompts in batches with transformers' own generate, longest first."""
    texts = [
        tokenizer.apply_chat_template(
            [{"role": role, "content": text} for role, text in prompt.messages],
            tokenize=False,
            add_generation_prompt=True,
        )
        for prompt in prompts
    ]
    texts.sort(key=len, reverse=True)
    replies: list[str] = []
    for start in range(0, len(texts), batch):
        given = tokenizer(texts[start : start + batch], return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            out = model.generate(
                input_ids=given["input_ids"],
                attention_mask=given["attention_mask"],
                max_new_tokens=1000,
                do_sample=True,
                temperature=1.0,
                top_p=1.0,
                top_k=0,
                pad_token_id=tokenizer.pad_token_id,
            )
        replies += tokenizer.batch_decode(out[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
    return replies


def rate(task: Callable[[], Sequence[object]], runs: int) -> float:
    """Median answers per second."""
    rates = []
    for _ in range(runs):
        start = time.perf_counter()
        rates.append(len(task()) / (time.perf_counter() - start))
    return statistics.median(rates)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(SHIPPED), help="a checkpoint folder instead of the shipped one")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    scenario = popsim.load_scenario("oil_price_fall", {"size": given.prompts})
    prompts = list(next(popsim.PopulationModel(scenario).waves()))
    nano = load_engine(f"nano:{given.model}")
    rows = [("popsim nano (numpy)", rate(lambda: answer_all(nano, prompts), given.runs))]
    tokenizer = AutoTokenizer.from_pretrained(Path(given.model), padding_side="left")
    for name, threads in product(DTYPES, (1, 2)):
        torch.set_num_threads(threads)
        model = AutoModelForCausalLM.from_pretrained(given.model, dtype=DTYPES[name]).eval()
        for batch in (1, 16, 64):
            some = prompts[: 16 if batch == 1 else None]
            what = "card's loop, one at a time" if batch == 1 else f"transformers, batch {batch}"
            measured = rate(lambda m=model, s=some, b=batch: generate(m, tokenizer, s, b), given.runs)  # type: ignore[misc]
            rows.append((f"{what}, {name}, threads {threads}", measured))
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch", "transformers"))
    print(f"Answers per second, medians of {given.runs} runs of {given.prompts} oil prompts (16 one at a time).")
    print(f"Python {platform.python_version()}, {packages}, torch's dtype and threads as said.")
    print("\n| who | answers/s | nano over it |\n|---|---:|---:|")
    for who, answers in rows:
        print(f"| {who} | {answers:.2f} | {rows[0][1] / answers:.2f} |")


if __name__ == "__main__":
    main()
