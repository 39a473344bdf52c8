"""Prompt tokens that a prefix cache leaves to compute, by layout, order of the prompts and size of the cache.

    python benchmarks/prefix_sharing.py [--model FOLDER] [--people 1000] [--sizes 128 256 1024 16384]

The cache is simulated: blocks of 16 tokens, each named by itself and all before it, the one used longest ago goes first
and a prompt's last blocks before its first ones. Prompts are read one after the other; replies take no room in it.
Without a checkpoint folder, whose tokenizer.json is read, four characters of English and one of Chinese are one token.
"""

import argparse
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from tokenizers import Tokenizer

import popsim

BLOCK = 16
STUDIES = {
    "oil, 1 arm": ("oil_price_fall", {"fall": {}}),
    "oil, 2 arms": ("oil_price_fall", {"fall": {}, "rise": {}}),
    "platform, 12 prices": (
        "learning_platform_cn",
        {f"price{price}": {"parameters": {"price": price}} for price in range(49, 649, 50)},
    ),
}
Tokens = Sequence[object]


class PrefixCache:
    """Blocks of tokens by what they hold and all that stands before it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def read(self, tokens: Tokens) -> int:
        """Read a prompt; gives the number of tokens that had to be computed."""
        names, name = [], 0
        for end in range(BLOCK, len(tokens) + 1, BLOCK):
            name = hash((name, *tokens[end - BLOCK : end]))
            names.append(name)
        known = next((k for k, name in enumerate(names) if name not in self._blocks), len(names))
        for name in reversed(names):
            self._blocks[name] = None
            self._blocks.move_to_end(name)
        while len(self._blocks) > self.size:
            self._blocks.popitem(last=False)
        return max(len(tokens) - known * BLOCK, 1)


def prompts(study: str, layout: str, people: int) -> list[tuple[int, str]]:
    """Give arm and text of each prompt, in the order in which people are drawn."""
    name, arms = STUDIES[study]
    scenario = popsim.load_scenario(name, {"size": people, "arms": arms, "prompt": {"layout": layout}})
    asked = next(popsim.PopulationModel(scenario).waves())
    return [(int(arm), prompt.messages[0][1]) for arm, prompt in zip(asked.arm, asked, strict=True)]


def tokens_of(text: str) -> Tokens:
    """Cut a text into runs of four characters, or of one where they are Chinese."""
    return list(text) if any(c > "\u2e80" for c in text) else [text[i : i + 4] for i in range(0, len(text), 4)]


def main() -> None:
    """Simulate and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a checkpoint folder, for its tokenizer.json")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 1024, 16384], help="blocks of 16 tokens")
    given = parser.parse_args()
    cut: Callable[[str], Tokens] = tokens_of
    if given.model:
        tokenizer = Tokenizer.from_file(str(given.model / "tokenizer.json"))
        cut = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    print(f"Share of the prompt tokens of {given.people} people that is computed, by blocks in the cache.\n")
    print("| study | layout | order | tokens a prompt | " + " | ".join(f"{size:,}" for size in given.sizes) + " |")
    print("|---|---|---|---:|" + "---:|" * len(given.sizes))
    for study, layout in product(STUDIES, ("survey_v1", "shared_first")):
        drawn = [(arm, text, cut(text)) for arm, text in prompts(study, layout, given.people)]
        total = sum(len(tokens) for _, _, tokens in drawn)
        orders = {
            "as drawn": drawn,
            "by arm": sorted(drawn, key=lambda one: one[0]),
            "by arm and text": sorted(drawn, key=lambda one: one[:2]),
        }
        for order, ordered in orders.items():
            shares = []
            for size in given.sizes:
                cache = PrefixCache(size)
                shares.append(sum(cache.read(tokens) for _, _, tokens in ordered) / total)
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {study} | {layout} | {order} | {total / len(drawn):,.0f} | {cells} |")


if __name__ == "__main__":
    main()
