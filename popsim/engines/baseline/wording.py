"""How ``baseline`` puts its answers into words: recall, reasoning and considerations, composed from pieces.

The pieces stand in ``wording.<language>.yaml`` beside this file; a language without a file gets English.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from popsim.engines.baseline.draws import Drawn, Outlook, Spec, asked_in
from popsim.engines.baseline.scores import Group
from popsim.errors import EngineError
from popsim.files import Frozen, read_yaml, validate
from popsim.streams import hashed, stream

Kind = Literal["mechanism", "guess", "politics", "history", "restates", "other", "plain"]
Strength = Literal["weak", "moderate", "strong"]
Pieces = tuple[str, ...]

KINDS: tuple[Kind, ...] = ("mechanism", "guess", "politics", "history", "restates", "other")
"""What a consideration says about the economy; ``plain`` is for vignettes about anything else."""

# Households' answers to the open question in wave 3 of Andre et al. (2022), hand coded, all four vignettes, rise arm
# only; their codes overlap, here every text has one, and "other" takes the rest. That the unsure guess more is assumed.
_GUESS = np.array([0.26, 0.19, 0.12, 0.08, 0.05, 0.133])
_SHARES = np.array([0.39, 0.0, 0.10, 0.035, 0.06])
_SHARES_OF = {"experts": np.array([0.789, 0.067, 0.005, 0.059, 0.029])}
"""The same of groups that were coded apart, whatever their confidence."""
_CLAIMED = {"mechanism": 128, "guess": 40, "politics": 40, "history": 80, "restates": 256, "other": 40}
"""Of 256 texts of a kind, how many say where the variables go."""

_STRENGTH: tuple[Strength, ...] = ("weak", "weak", "moderate", "strong", "strong", "moderate")
_WORDS = 4


class Phrases(Frozen):
    """The pieces of one language."""

    space: str
    stop: str
    first_person: tuple[tuple[str, str], ...]
    """Replacements that turn a persona in the second person into the first."""
    recall: Pieces
    nobody: str
    confidence: Pieces
    levels: dict[str, str]
    priors: dict[str, dict[str, str]]
    expects: Pieces
    bearing: Pieces
    reactions: Pieces
    heard: dict[Strength, Pieces]
    own_view: dict[Strength, Pieces]
    """Said instead by people who heard nothing."""
    names: dict[str, str]
    moves: dict[int, Pieces]
    to: str
    both: Pieces
    situations: Pieces
    """What comes before where things go in the first, the second ... of several vignettes."""
    claims: Pieces
    leads: Pieces
    connectors: Pieces
    closers: Pieces
    cores: dict[Kind, Pieces]
    """Clauses without a full stop, by what they say; leads and connectors stand before one."""


@lru_cache
def phrases_of(language: str) -> Phrases:
    """Read the pieces of a language, or of English where there are none.

    Example:
        >>> phrases_of("zh").levels["weak"], phrases_of("fr").stop
        ('较弱', '.')
    """
    folder = Path(__file__).parent
    known = {path.name.split(".")[1]: path for path in folder.glob("wording.*.yaml")}
    path = known.get(language, known["en"])
    return validate(Phrases, read_yaml(path, EngineError), path.name, EngineError)


class Writer:
    """Writes the texts of a group of people, each from the hash of the person's seed.

    Args:
        group: The people.
        drawn: What they answered.
    """

    def __init__(self, group: Group, drawn: Drawn) -> None:
        self._group = group
        self._facts = group.facts
        self._outlooks = drawn.outlooks
        self._economic = {v["name"] for v in group.facts[0]["vignettes"] if _is_economic(v)}
        self._phrases = [phrases_of(facts["language"]) for facts in group.facts]
        self._strength = [_STRENGTH[level] for level in group.level.tolist()]
        shares = np.tile(_SHARES, (len(group), 1))
        shares[:, 1] = _GUESS[group.level]
        for i, facts in enumerate(group.facts):
            if facts.get("group") in _SHARES_OF:
                shares[i] = _SHARES_OF[facts["group"]]
        chosen = (group.uniform("kind")[:, None] >= np.cumsum(shares, axis=1)).sum(axis=1)
        self._kind = [KINDS[i] for i in chosen.tolist()]
        self._picks = self._bytes("words")

    def _bytes(self, name: str) -> list[bytes]:
        """Give every person 32 random bytes for a named purpose."""
        words = hashed(self._group.seeds[:, None], stream(name), np.arange(_WORDS))
        whole, size = words.astype("<u8").tobytes(), 8 * _WORDS
        return [whole[at : at + size] for at in range(0, len(whole), size)]

    def reply(self, i: int, answers: str) -> str:
        """Write the whole reply of one person around the JSON object of answers."""
        if not self._facts[i]["reasoning"]:
            return answers
        return (
            f"<recall>\n{self.recall(i)}\n</recall>\n<reasoning>\n{self.reasoning(i)}\n</reasoning>\n"
            f"<final_answer>\n{answers}\n</final_answer>"
        )

    def recall(self, i: int) -> str:
        """State the person's facts, confidence and priors."""
        facts, say, pick = self._facts[i], self._phrases[i], self._picks[i]
        person, modules = facts["person"], facts["modules"]
        parts = [say.recall[pick[0] % len(say.recall)]]
        if "personal" in modules and facts["persona"]:
            parts.append(_in_first_person(facts["persona"], say))
        if "confidence" in modules and person.get("confidence"):
            level = person["confidence"]
            parts.append(say.confidence[pick[1] % len(say.confidence)].format(say.levels.get(level, level)))
        if "priors" in modules:
            known = [words[person[c]] for c, words in say.priors.items() if person.get(c) in words]
            if known:
                expected = say.both[0].join(known)
                parts.append(say.expects[pick[2] % len(say.expects)].format(expected))
        if len(parts) == 1:
            parts = [say.nobody]
        parts.append(say.bearing[pick[3] % len(say.bearing)])
        return say.space.join(parts)

    def reasoning(self, i: int) -> str:
        """Say how the person thinks it over, what they heard, and where they see things going."""
        facts, say, pick = self._facts[i], self._phrases[i], self._picks[i]
        cores = say.cores[self._kind[i] if self._economic else "plain"]
        parts = [say.reactions[pick[4] % len(say.reactions)]]
        if facts["heard"] and "social" in facts["modules"]:
            heard = say.heard[self._strength[i]]
            parts.append(heard[pick[5] % len(heard)].format(_safe(facts["heard"][0]["source"])))
        else:
            own = say.own_view[self._strength[i]]
            parts.append(own[pick[5] % len(own)])
        parts.append(_sentence(say, say.leads[pick[6] % len(say.leads)] + cores[pick[7] % len(cores)]))
        if self._outlooks:
            parts.append(_claim(say, list(self._outlooks.values()), i, pick[8:16]))
        else:
            core = cores[(pick[7] + 1 + pick[8] % (len(cores) - 1)) % len(cores)]
            parts.append(_sentence(say, say.connectors[pick[9] % len(say.connectors)] + core))
            parts.append(say.closers[pick[10] % len(say.closers)])
        return say.space.join(parts)

    def considerations(self, vignette: str, name: str, longest: int) -> list[str]:
        """Write everybody's answer to a text question.

        Args:
            vignette: The vignette that the question belongs to.
            name: The question.
            longest: Most characters that are allowed; a longer text ends there.
        """
        outlooks = self._outlooks.get(vignette, [])
        texts = []
        for i, pick in enumerate(self._bytes(name)):
            say = self._phrases[i]
            kind: Kind = self._kind[i] if vignette in self._economic else "plain"
            cores = say.cores[kind]
            first, gap = pick[0] % len(cores), 1 + pick[1] % ((len(cores) - 1) // 2)
            parts = [_sentence(say, say.leads[pick[2] % len(say.leads)] + cores[first])]
            claims = bool(outlooks) and pick[3] < _CLAIMED[kind]
            if claims:
                parts.append(_claim(say, [outlooks], i, pick[8:16]))
            more = 0 if claims and pick[4] < 192 else 2 if kind == "plain" else 1
            for j in range(more):
                core = cores[(first + gap * (j + 1)) % len(cores)]
                parts.append(_sentence(say, say.connectors[pick[5 + j] % len(say.connectors)] + core))
            if pick[7] < 192:
                parts.append(say.closers[pick[16] % len(say.closers)])
            texts.append(say.space.join(parts)[:longest])
        return texts


def _is_economic(vignette: Spec) -> bool:
    """Say whether a vignette asks about the economy: it carries published moments or wants numbers in percent."""
    return bool(vignette["reference"]) or any(
        question["kind"] == "density" or question.get("reference") or question.get("unit") == "%"
        for question in asked_in(vignette)
    )


def _claim(say: Phrases, vignettes: Sequence[Sequence[Outlook]], i: int, pick: bytes) -> str:
    """Say where things go, in the first six situations one after the other where there are several."""
    each = []
    for where, outlooks in zip(say.situations, vignettes, strict=False):
        clauses = []
        for j, (variable, direction, level) in enumerate(outlooks):
            moves = say.moves[direction[i]]
            to = say.to.format(level[i]) if direction[i] and pick[j % 4] < 128 else ""
            name = say.names.get(variable) or variable.replace("_", " ")
            clauses.append(f"{name}{say.space}{moves[pick[j % 4] % len(moves)]}{to}")
        together = say.both[pick[4] % len(say.both)].join(clauses)
        each.append(f"{where}{together}" if len(vignettes) > 1 else together)
    return say.claims[pick[5] % len(say.claims)].format(say.both[0].join(each))


def _sentence(say: Phrases, clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}{say.stop}"


def _in_first_person(persona: str, say: Phrases) -> str:
    for second, first in say.first_person:
        persona = persona.replace(second, first)
    return _safe(persona.strip()) + ("\n" if "\n" in persona else "")


def _safe(text: str) -> str:
    """Keep a user's text from being read as one of the answer's tags."""
    return text.replace("<", "‹").replace(">", "›")
