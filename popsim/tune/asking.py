"""How a question is put to a model in training and in scoring: the words, where the answer begins, and the answer."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from popsim import streams
from popsim.errors import TuneError
from popsim.tune.formats.alpaca import output_line
from popsim.tune.records import Answer, Item, Shares

STEM = "If I had to choose one of these, my answer would be ("
"""What the reply begins with: it ends in an open parenthesis, so that the next token is a bare letter."""
Steering = Literal["qa", "bio", "portray"]


class Asked(NamedTuple):
    """A question as a model reads it.

    Attributes:
        text: The user's turn.
        prefill: What the reply begins with; empty for numbers and texts.
        letters: A letter for each option.
    """

    text: str
    prefill: str
    letters: str


def ask_group(shares: Shares, steering: Steering = "portray") -> Asked:
    """Ask how a group answers.

    Args:
        shares: The group and the question; a prompt of its own is taken to the letter.
        steering: Who answers is told as ``portray`` (answer as), ``bio`` (first person) or ``qa`` (a question answered
            before); the three forms of SubPOP, in our words.

    Example:
        >>> print(ask_group(Shares("Kenya", Item("q", "Do you agree?", options=("yes", "no")), (0.5, 0.5))).text)
        Answer the question as a person of this group would: Kenya.
        <BLANKLINE>
        Do you agree?
        (A) yes
        (B) no
    """
    if shares.prompt:
        return Asked(shares.prompt, "", "")
    who = {
        "portray": f"Answer the question as a person of this group would: {shares.group}.",
        "bio": f"I describe myself in this way: {shares.group}.",
        "qa": f"Question: Which group do you belong to?\nAnswer: {shares.group}\nKeep this answer in mind.",
    }[steering]
    return Asked(f"{who}\n\n{_question(shares.item)}", STEM, shares.item.letters)


def ask_person(answer: Answer, shots: Sequence[Answer] = (), *, reasoning: bool = False) -> Asked:
    """Ask what a person answers.

    Args:
        answer: The person, what was shown, and the question; a prompt of its own is taken to the letter.
        shots: Other answers of the same person, shown before.
        reasoning: Ask for recall and reasoning first.

    Example:
        >>> one = Answer("7", Item("q", "How warm?", low=1, high=7), 5.0, facts={"age": "44"})
        >>> print(ask_person(one).text)
        You answer a survey as the person described here.
        - age: 44
        <BLANKLINE>
        How warm?
        Reply with a number from 1 to 7 and nothing else.
    """
    if answer.prompt:
        return Asked(answer.prompt, "", "")
    parts = ["You answer a survey as the person described here."]
    parts += [f"- {name}: {value}" for name, value in answer.facts.items()]
    if shots:
        parts += ["", "The person has answered before:"]
        parts += [f"- {' '.join(one.item.text.split())} {answer_text(one)}" for one in shots]
    if answer.stimulus:
        parts += ["", answer.stimulus]
    parts += ["", _question(answer.item, reasoning=reasoning)]
    prefill = STEM if answer.item.options and not reasoning else ""
    return Asked("\n".join(parts), prefill, answer.item.letters if prefill else "")


def answer_text(answer: Answer) -> str:
    """Write an answer in words.

    Example:
        >>> answer_text(Answer("7", Item("q", "?", low=1, high=7), 5.0))
        '5'
    """
    return f"{answer.value:g}" if isinstance(answer.value, float) else str(answer.value)


def target_text(answer: Answer, *, reasoning: bool = False) -> str:
    """Write what the model should reply, behind the prefill.

    Args:
        answer: With status ``ok``.
        reasoning: Write recall, reasoning and final answer.

    Raises:
        TuneError: There is no answer, or no rationale to learn from.

    Example:
        >>> target_text(Answer("7", Item("q", "?", options=("yes", "no")), "no"))
        'B)'
    """
    if answer.status != "ok" or answer.value is None:
        raise TuneError(f"person {answer.person}: {answer.item.name} is {answer.status}; there is nothing to learn")
    if reasoning:
        if not answer.reasoning:
            raise TuneError(f"person {answer.person}: {answer.item.name} has no rationale; set reasoning: false")
        recall = "; ".join(f"{name}: {value}" for name, value in answer.facts.items())
        final = answer_text(answer)
        parts = (("recall", recall), ("reasoning", answer.reasoning), ("final_answer", final))
        return "\n".join(f"<{tag}>{text}</{tag}>" for tag, text in parts)
    if answer.prompt:
        return output_line(answer, answer.prompt)
    if not answer.item.options:
        return answer_text(answer)
    return f"{answer.item.letters[answer.item.options.index(str(answer.value))]})"


def other_answers(answers: Sequence[Answer], count: int, seed: int) -> list[tuple[Answer, ...]]:
    """Choose, for each answer, other answers of the same person to other questions.

    Args:
        answers: Of persons; only answers of the same sequence are shown, so a test person's show no other part.
        count: How many at most.
        seed: Of the choice.

    Example:
        >>> q, r = Item("q", "Q?", options=("a", "b")), Item("r", "R?", options=("a", "b"))
        >>> [shots[0].item.name for shots in other_answers([Answer("7", q, "a"), Answer("7", r, "b")], 1, 0)]
        ['r', 'q']
    """
    by_person: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.status == "ok":
            by_person.setdefault(answer.person, []).append(answer)
    found = []
    for answer in answers:
        others = [one for one in by_person.get(answer.person, []) if one.item.text != answer.item.text]
        rng = streams.rng(seed, f"tune.shots.{answer.person}.{answer.study}.{answer.item.name}")
        found.append(tuple(others[at] for at in rng.permutation(len(others))[:count]) if count else ())
    return found


def _question(item: Item, *, reasoning: bool = False) -> str:
    lines = [item.text, *(f"({x}) {text}" for x, text in zip(item.letters, item.options, strict=True))]
    if reasoning:
        lines.append(
            "Recall who you are in <recall>, write what you think in <reasoning>, and the answer in <final_answer>."
        )
    elif item.low is not None and item.high is not None:
        lines.append(f"Reply with a number from {item.low:g} to {item.high:g} and nothing else.")
    return "\n".join(lines)
