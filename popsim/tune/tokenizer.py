"""A byte-level BPE whose tokens may be whole phrases, but never swallow what differs from one person to the next.

Text is first cut into pieces: answer tags, single digits, brackets, quotation marks, percent signs, option letters,
line ends and the marks between two fields of a JSON object stand alone, and what is left is cut after every punctuation
mark. Within a piece tokens are learned in two rounds. The first learns words (and single Chinese characters) as usual.
The second joins neighbours into phrases, the most frequent first, but only where one of the two hardly ever stands
without the other: so a fixed sentence becomes one or two tokens, while " divorced" stays apart from the words around
it, which others need as well.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from popsim.errors import TuneError

PAD, START, END = SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_ALONE = (
    r'</?(?:recall|reasoning|final_answer)>|%?", "|": "?|[:,] (?=["\[{])|\n+'
    r'|[\p{N}{}\[\]<>"“”%]|-(?=\p{N})|(?<!\p{L})[A-Z](?=[.):])'
)
_STOPS = r"[.,;:!?。，；：！？、]+(?: $)?"
_WORDS = r" ?[^\s\p{Han}]+|\p{Han}|\s+"
_LONGEST = 120
"""Most bytes in a phrase."""
_TOGETHER = 0.8
"""Share of the rarer half's occurrences that must be in the pair."""
_FEWEST = 8
"""A word or phrase needs so many occurrences."""

Piece = tuple[str, ...]
Two = tuple[str, str]


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Learn a vocabulary.

    Args:
        texts: Prompts and answers.
        vocabulary: Most tokens, of which 259 are single bytes and special tokens.

    Raises:
        TuneError: There is no text.

    Example:
        >>> tokenizer = train_tokenizer(["You are 40 years old."] * 20, 512)
        >>> tokenizer.encode("You are 40 years old.").tokens
        ['YouĠareĠ', '4', '0', 'ĠyearsĠold.']
    """
    if not texts:
        raise TuneError("tokenizer: there is no text to learn from; set tokenizer.pairs to 1 or more")
    return grow_tokenizer(_learn_words(texts, vocabulary), texts, vocabulary)


def grow_tokenizer(tokenizer: Tokenizer, texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Add phrases to a vocabulary, behind the tokens that it has; where no phrase is met, text is cut as before.

    Args:
        tokenizer: From `train_tokenizer`.
        texts: Prompts and answers that the phrases are learned from.
        vocabulary: Most tokens.

    Example:
        >>> few = train_tokenizer(["You are 40 years old."] * 20, 512)
        >>> grown = grow_tokenizer(few, ["Do you own your home?"] * 20, 600)
        >>> len(few.encode("Do you own your home?")), len(grown.encode("Do you own your home?"))
        (21, 1)
    """
    state = json.loads(tokenizer.to_str())["model"]
    merges, vocab = [(left, right) for left, right in state["merges"]], dict(state["vocab"])
    for left, right in _learn_phrases(_pieces(texts, tokenizer), vocabulary - len(vocab)):
        merges.append((left, right))
        vocab.setdefault(left + right, len(vocab))
    whole = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    whole.pre_tokenizer = pre_tokenizers.Sequence([*_cut(), _bytes()])
    whole.decoder = decoders.ByteLevel()
    whole.add_special_tokens(list(SPECIAL))
    return whole


def _cut() -> list[pre_tokenizers.PreTokenizer]:
    """Cut text into pieces."""
    return [
        pre_tokenizers.Split(Regex(_ALONE), "isolated"),
        pre_tokenizers.Split(Regex(_STOPS), "merged_with_previous"),
    ]


def _bytes() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _learn_words(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence([*_cut(), pre_tokenizers.Split(Regex(_WORDS), "isolated"), _bytes()])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary * 3 // 5,
        min_frequency=_FEWEST,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(texts, trainer)
    return words


def _pieces(texts: Iterable[str], words: Tokenizer) -> Counter[Piece]:
    """Count the pieces of some texts, each as a tuple of words."""
    cut = pre_tokenizers.Sequence(_cut())
    counts = Counter(piece for text in texts for piece, _ in cut.pre_tokenize_str(text))
    encoded = words.encode_batch(list(counts))
    pieces: Counter[Piece] = Counter()
    for one, count in zip(encoded, counts.values(), strict=True):
        pieces[tuple(one.tokens)] += count
    return pieces


def _learn_phrases(pieces: Counter[Piece], room: int) -> list[Two]:
    """Join neighbours that hardly ever stand apart, the most frequent first."""
    merges: list[Two] = []
    rows, counts = [list(piece) for piece in pieces], list(pieces.values())
    single: Counter[str] = Counter()
    pairs: Counter[Two] = Counter()
    where: defaultdict[Two, set[int]] = defaultdict(set)

    def count(i: int, sign: int) -> None:
        row = rows[i]
        for token in row:
            single[token] += sign * counts[i]
        for two in pairwise(row):
            pairs[two] += sign * counts[i]
            where[two].add(i)

    for i in range(len(rows)):
        count(i, 1)
    while len(merges) < room:
        best = max(
            (two for two in pairs if _belongs(two, pairs, single)), key=lambda two: (pairs[two], two), default=None
        )
        if best is None:
            break
        merges.append(best)
        for i in where.pop(best):
            count(i, -1)
            rows[i] = _join(rows[i], best)
            count(i, 1)
        del pairs[best]
    return merges


def _belongs(two: Two, pairs: Counter[Two], single: Counter[str]) -> bool:
    together = pairs[two]
    rarer = min(single[two[0]], single[two[1]])
    return together >= max(_FEWEST, _TOGETHER * rarer) and len(two[0]) + len(two[1]) <= _LONGEST


def _join(row: list[str], two: Two) -> list[str]:
    joined: list[str] = []
    for token in row:
        if joined and (joined[-1], token) == two:
            joined[-1] += token
        else:
            joined.append(token)
    return joined


def write_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Write a tokenizer with its chat template as transformers reads it.

    Args:
        tokenizer: From `train_tokenizer`.
        folder: Where ``tokenizer.json`` and ``tokenizer_config.json`` go.
        context: Most tokens that the model reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHATML,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")


def chat(messages: Sequence[tuple[str, str]]) -> str:
    r"""Put a conversation into the chat format, up to where the answer begins.

    Args:
        messages: (role, text), the first and the last by the user.

    Example:
        >>> chat([("user", "Hello")])
        '<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n'
    """
    said = "".join(f"{START}{role}\n{text}{END}\n" for role, text in messages)
    return f"{said}{START}assistant\n"
