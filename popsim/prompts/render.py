"""Rendering: what all respondents of an arm share is prepared once, what is one person's own is put in last."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from popsim.errors import ScenarioError
from popsim.prompts.form import questionnaire_text, specification
from popsim.prompts.layout import PHRASES, Layout, Stance
from popsim.slots import did_you_mean, fill, slots_of, split
from popsim.survey.questionnaire import Questionnaire

MODULES = frozenset({"personal", "priors", "confidence", "social"})
TEXT_LIMIT, SOURCE_LIMIT = 600, 80

_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKUP = str.maketrans(
    {"<": "‹", "＜": "‹", ">": "›", "＞": "›", "`": "'", "{": "(", "}": ")", '"': "'", "“": "‘", "”": "’"}
)


_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prompt in which only what belongs to one person is still open.

    Attributes:
        layout: Gives the words.
        modules: The parts of a respondent that are shown.
        confident: Text and slot in turn, for a person with a level of confidence.
        unsure: The same for a person without one.
        priors: Column -> level -> sentence; empty when priors are not shown.
    """

    layout: Layout
    modules: frozenset[str]
    confident: tuple[str, ...]
    unsure: tuple[str, ...]
    priors: Mapping[str, Mapping[str, str]]

    def render(
        self,
        words: Mapping[str, str],
        persona: str = "",
        heard: Sequence[Mapping[str, Any]] = (),
        earlier: Mapping[str, str] = _NOTHING,
    ) -> str:
        """Write the prompt of one person.

        Args:
            words: The person's words by column; ``confidence`` and the prior columns hold their levels.
            persona: The person described in the second person.
            heard: What they have heard, newest first, each with ``text`` and ``source``.
            earlier: What they answered in the wave before, by the words before the blank.

        Returns:
            The whole prompt.

        Raises:
            ScenarioError: A level has no words in this layout, or a column has no word for this person.
        """
        layout, modules = self.layout, self.modules
        nothing = layout.not_provided
        level = words.get("confidence") if "confidence" in modules else None
        values = {
            **dict.fromkeys(layout.priors, nothing),
            "confidence": _word("confidence", layout.confidence, level) if level else nothing,
            "persona": persona if persona and "personal" in modules else nothing,
            "social": _social(layout, heard) if heard and "social" in modules else nothing,
        }
        told = []
        for column, sentences in self.priors.items():
            if prior := words.get(column):
                values[column] = _word(column, layout.priors[column].words, prior)
                told.append(sentences[prior])
        if earlier and "priors" in modules:
            told.append(_answered(layout, earlier))
        values["priors"] = "\n".join(told) or nothing
        pieces = list(self.confident if level else self.unsure)
        for i in range(1, len(pieces), 2):
            slot = pieces[i]
            pieces[i] = values[slot] if slot in values else self._column(words, slot)
        return "".join(pieces)

    def _column(self, words: Mapping[str, str], slot: str) -> str:
        if "personal" not in self.modules:
            return self.layout.not_provided
        if slot not in words:
            raise ScenarioError(f"prompt slot {{{{{slot}}}}}: this respondent has no such word; has {', '.join(words)}")
        return words[slot]


def prepare(
    layout: Layout,
    questionnaire: Questionnaire,
    *,
    modules: frozenset[str] = MODULES,
    scope: str = "unconditional",
    as_of: date | None = None,
    reasoning: bool = True,
    weighing: bool = True,
    letters: bool = False,
) -> Prepared:
    """Fill everything that the respondents of an arm share.

    Args:
        layout: From `load_layout` or `load_template`.
        questionnaire: As the arm sees it, from `popsim.survey.set_arm`.
        modules: The parts of a respondent that are shown; the others read "[Not provided]".
        scope: Whether prior expectations are told ``unconditional`` or tied to ``scenario_2``.
        as_of: The date that the prompt states as today, if any.
        reasoning: Whether recall and reasoning are asked for before the answer.
        weighing: Whether the instructions say how confidence weighs prior expectations against what was heard.
        letters: Whether choices are answered by letter.

    Raises:
        ScenarioError: A module or the scope is unknown.

    Example:
        >>> from popsim.prompts import load_layout
        >>> from popsim.survey.questionnaire import load_questionnaire, set_arm
        >>> prepared = prepare(load_layout(), set_arm(load_questionnaire("oil_price"), "fall"))
        >>> "You are 40 years old." in prepared.render({"confidence": "weak"}, "You are 40 years old.")
        True
    """
    for module in sorted(modules - MODULES):
        raise ScenarioError(f"module {module!r} is unknown{did_you_mean(module, MODULES)} {_allowed(sorted(MODULES))}")
    tag = _word("priors.scope", layout.scopes, scope)
    shared = {
        "topic": questionnaire.topic.strip(),
        "task": questionnaire.task.strip(),
        "as_of": _today(layout, as_of) if as_of else "",
        "scope": tag,
        "questionnaire": questionnaire_text(questionnaire, layout.form, letters=letters),
        "specification": specification(questionnaire.questions, layout.form, letters=letters),
        "answer": layout.answer.reasoning if reasoning else layout.answer.plain,
    }
    priors = {
        column: {
            level: fill(prior.sentence, {column: words, "scope": tag}).strip() for level, words in prior.words.items()
        }
        for column, prior in layout.priors.items()
    }
    return Prepared(
        layout=layout,
        modules=modules,
        confident=_share(layout, _stance(layout, layout.with_confidence, weighing), shared),
        unsure=_share(layout, _stance(layout, layout.without_confidence, weighing), shared),
        priors=priors if "priors" in modules else {},
    )


def next_page(layout: Layout, page: Questionnaire, *, reasoning: bool = True) -> str:
    """Write a later turn of a conversation, in which the questionnaire comes page by page.

    Args:
        layout: Gives the words.
        page: The questionnaire cut down to the page.
        reasoning: Whether recall and reasoning are asked for before the answer.

    Example:
        >>> from popsim.prompts import load_layout
        >>> from popsim.survey.questionnaire import load_questionnaire, set_arm
        >>> text = next_page(load_layout(), set_arm(load_questionnaire("oil_price"), "fall"), reasoning=False)
        >>> text.splitlines()[0]
        'Next page of the questionnaire:'
    """
    parts = {
        "page": questionnaire_text(page, layout.form),
        "specification": specification(page.questions, layout.form),
        "answer": layout.answer.reasoning if reasoning else layout.answer.plain,
    }
    return fill(layout.pages.next, parts)


def _share(layout: Layout, stance: Stance, shared: Mapping[str, str]) -> tuple[str, ...]:
    """Fill the shared slots of a layout's text; an empty one takes the white space before it along."""
    kept = {slot: f"{{{{{slot}}}}}" for slot in slots_of(layout.text)}
    text = fill(layout.text.strip(), {**kept, **{phrase: getattr(stance, phrase) for phrase in PHRASES}})
    for slot in (slot for slot, value in shared.items() if not value):
        text = re.sub(rf"\s*\{{\{{\s*{slot}\s*\}}\}}", "", text)
    pieces = [""]
    for i, piece in enumerate(split(text)):
        if i % 2 and piece not in shared:
            pieces += [piece, ""]
        else:
            pieces[-1] += shared[piece] if i % 2 else piece
    return tuple(pieces)


def _stance(layout: Layout, stance: Stance, weighing: bool) -> Stance:
    return stance if weighing else stance.model_copy(update={"instructions": layout.unweighed})


def _answered(layout: Layout, earlier: Mapping[str, str]) -> str:
    """Tell a person what they answered in an earlier wave."""
    words = layout.earlier
    items = (fill(words.item, {"label": label, "answer": answer}) for label, answer in earlier.items())
    return "\n".join((words.introduction, *items))


def _today(layout: Layout, day: date) -> str:
    month = layout.as_of.months[day.month - 1]
    return fill(layout.as_of.sentence, {"year": str(day.year), "month": month, "day": str(day.day)})


def _social(layout: Layout, heard: Sequence[Mapping[str, Any]]) -> str:
    items = (_heard_item(layout.heard.item, item["source"], item["text"]) for item in heard)
    return "\n".join((layout.heard.introduction, *items))


@lru_cache(maxsize=4096)
def _heard_item(item: str, source: str, text: str) -> str:
    return fill(item, {"source": quoted(source, SOURCE_LIMIT), "text": quoted(text, TEXT_LIMIT)})


def quoted(text: str, limit: int = TEXT_LIMIT) -> str:
    """Make a text that others wrote fit to stand between quotation marks on one line of a prompt.

    Angle brackets, braces, backticks and quotation marks become look-alikes, so that no tag, slot, code fence or
    control token of a chat template survives; invisible characters go; white space is folded; what is too long is cut.

    Args:
        text: Any text.
        limit: Most characters that are kept.

    Example:
        >>> quoted("Oil is up! </final_answer>")
        'Oil is up! ‹/final_answer›'
    """
    line = " ".join(_INVISIBLE.sub("", " ".join(text.split())).translate(_MARKUP).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _word(column: str, words: Mapping[str, str], level: str) -> str:
    if level not in words:
        raise ScenarioError(f"{column}: the layout has no words for {level!r}; {_allowed(words)}")
    return words[level]


def _allowed(names: Sequence[str] | Mapping[str, str]) -> str:
    return f"allowed: {', '.join(names)}"
