"""The files of a training: a model as Hugging Face reads it, with its card, and the folder's own record."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import GenerationConfig, LlamaForCausalLM
from transformers.utils import logging

from popsim.errors import RunError, TuneError
from popsim.files import Frozen, write_whole
from popsim.tune.config import TuneConfig
from popsim.tune.pairs import draw_pairs
from popsim.tune.tokenizer import grow_tokenizer, train_tokenizer, write_tokenizer

LOG = "log.jsonl"
RECORD = "tune.json"
TOKENIZER = "tokenizer.json"


def claim(folder: Path, config: Frozen) -> bool:
    """Make a folder the folder of one training.

    Args:
        folder: New, empty, or left by the same training, or by one that got no further than its record.
        config: The training.

    Returns:
        Whether the training has ended before.

    Raises:
        RunError: It belongs to another training, or is taken by other files.
    """
    record, mine = folder / RECORD, config.model_dump(mode="json")
    others = folder.is_dir() and any(path != record for path in folder.iterdir())
    if not (record.is_file() and others):
        if others:
            raise RunError(f"{folder}: holds other files; choose a new folder")
        write_whole(record, lambda to: to.write_text(json.dumps(mine, indent=1, ensure_ascii=False), "utf-8"))
        return False
    theirs = json.loads(record.read_text(encoding="utf-8"))
    differing = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
    if differing:
        raise RunError(f"{folder}: was made by another training: {', '.join(differing)} differ; choose a new folder")
    log = folder / LOG
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return bool(lines) and json.loads(lines[-1])["share"] == 1


def get_tokenizer(folder: Path, config: TuneConfig) -> Tokenizer:
    """Read the tokenizer of a training, or learn it first; one that goes on from another model adds to that one's.

    Args:
        folder: Where its files are.
        config: The training.

    Raises:
        TuneError: There is no model to go on from.
    """
    if not (folder / "tokenizer_config.json").is_file():
        whole = config.draw.model_copy(update={"broken": 0.0})
        known = _known(config.start) if config.start else None
        pairs = draw_pairs(whole, "train", config.tokenizer.pairs)
        texts = [text for pair in pairs for text in (pair.messages[-1][1], *pair.answers)]
        size = config.tokenizer.vocabulary
        tokenizer = grow_tokenizer(known, texts, size) if known else train_tokenizer(texts, size)
        write_tokenizer(tokenizer, folder, config.model.context)
    return Tokenizer.from_file(str(folder / TOKENIZER))


def _known(start: str) -> Tokenizer:
    path = Path(start) / TOKENIZER
    if not path.is_file():
        raise TuneError(f"start: {start}: no {TOKENIZER} there; name the folder of a model by popsim tune")
    return Tokenizer.from_file(str(path))


def write_model(model: LlamaForCausalLM, folder: Path) -> None:
    """Write config, weights and generation settings: temperature 1, nothing cut off.

    Args:
        model: The model.
        folder: Where its files go.
    """
    ends = {"eos_token_id": model.config.eos_token_id, "pad_token_id": model.config.pad_token_id}
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **ends)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
    finally:
        if bars:
            logging.enable_progress_bar()


def model_card(config: TuneConfig, parameters: int, figures: dict[str, Any]) -> str:
    """Write the card that goes with a model.

    Args:
        config: The training.
        parameters: How many weights the model has.
        figures: What is known of its quality, by name.

    Example:
        >>> from popsim.tune import load_tune_config
        >>> "never evidence about people" in model_card(load_tune_config("nano"), 1_000_000, {"ok": 0.99})
        True
    """
    model, train = config.model, config.train
    rows = "\n".join(f"| {name.replace('_', ' ')} | {_figure(value)} |" for name, value in figures.items())
    broken = (
        f"; in {config.draw.broken:.0%} of the cells of people {config.draw.broken_answers} answers that share their "
        "words and end behind the last figure"
        if config.draw.broken
        else ""
    )
    brief = f"; for the first {train.brief:.0%} prompts and answers end after persona and recall" if train.brief else ""
    counted = f", of which a digit counts {train.figures:g} times" if train.figures != 1 else ""
    begun = (
        f"Trained on from {config.start}, with a larger vocabulary," if config.start else "Trained from random weights"
    )
    span = f"{train.steps} steps" if train.steps else f"{train.minutes:g} minutes"
    return f"""---
license: apache-2.0
language: [en, zh]
pipeline_tag: text-generation
library_name: transformers
---

# {config.name}: {config.title}

A language model of {parameters / 1e6:.2f} million parameters that fills in popsim's questionnaires.

**Its answers imitate a statistical respondent (`baseline`) that was fitted to published moments of human answers. They
are never evidence about people.** It exists so that every part of a study can be tried on any machine.

## Data

Nothing but simulated text: prompts that popsim renders for simulated people in {", ".join(config.draw.scenarios)},
with and without news and posts, in every wave, on every page and in both layouts, at all levels of confidence, with
each part of a respondent on and off, and {config.draw.answers} answers to each by `baseline` (one on pages). No text by
or about real people was used. Census margins and published survey moments stand behind the simulated people and
answers; popsim's population and questionnaire files name their sources; the invented respondents of a table are partly
recombined into new ones. The mix of what respondents say they considered follows wave 3 of Andre, Pizzinelli, Roth and
Wohlfart (2022), whose codes overlap, differ by vignette and were asked about rises only.

## Model and training

Llama architecture: hidden size {model.hidden}, {model.layers} layers, {model.heads} heads ({model.kv_heads} for keys
and values), intermediate size {model.intermediate}, context {model.context}, tied embeddings. Byte-level BPE with
phrases as tokens; digits, brackets, quotation marks and answer tags stand alone. Chat format: ChatML without a default
system prompt.

{begun} for {span} in batches of {train.prompts} prompts with {config.draw.answers} answers
each{broken}, loss on the answers only{counted}{brief}.
Muon for the matrices (peak rate {train.matrix_rate:g}), AdamW for the rest ({train.learning_rate:g}), linear decay.
`tune.json` holds all settings, `log.jsonl` the course of the training.

## Figures, on people held out from training

| figure | value |
|---|---|
{rows}

## Limits

- It knows the questionnaires and wordings that it was trained on and nothing else; a prompt of another kind gets
  nonsense in the right form, or none.
- It cannot be better than its teacher, whose assumptions about confidence, priors and news are stated in popsim's code.
- Reply lengths, phrases and facts are learned by heart; its reasons are composed, not reasoned.
"""


def _figure(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_figure(one)}" for name, one in value.items())
    return f"{value:g}" if isinstance(value, int | float) else str(value)
