"""The questionnaire as a form on paper, and the JSON object in which its answers are wanted."""

import json
from collections.abc import Sequence
from itertools import groupby

from popsim.prompts.layout import Form
from popsim.slots import fill
from popsim.survey.questionnaire import Questionnaire
from popsim.survey.questions import (
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    Question,
    ScaleQuestion,
    option_labels,
)
from popsim.survey.readout import lettered


def questionnaire_text(questionnaire: Questionnaire, form: Form, *, letters: bool = False) -> str:
    """Write a questionnaire as respondents see it.

    Args:
        questionnaire: As one arm sees it.
        form: The phrases of its language.
        letters: Whether the options of a choice have letters to answer with.

    Example:
        >>> from popsim.prompts import load_layout
        >>> from popsim.survey.questionnaire import load_questionnaire, set_arm
        >>> text = questionnaire_text(set_arm(load_questionnaire("oil_price"), "fall"), load_layout().form)
        >>> text.splitlines()[-1]
        'Main considerations (Scenario 2): ___'
    """
    blocks = [questionnaire.introduction]
    for vignette in questionnaire.vignettes:
        blocks += [vignette.title, vignette.introduction]
        for page in vignette.pages:
            blocks.append(_lines(page.title, page.text))
            for (lead, _), alike in groupby(page.questions, key=lambda one: (one.lead, _offered(one, form, letters))):
                asked = list(alike)
                blocks += [_grid(asked, form, letters)] if lead else [_asked(one, form, letters) for one in asked]
    return "\n\n".join(block.strip() for block in blocks if block.strip())


def specification(questions: Sequence[Question], form: Form, *, letters: bool = False) -> str:
    """Write the JSON object of the answers with blanks, and under each field what may stand in it.

    Args:
        questions: In the order they are asked.
        form: The phrases of their language.
        letters: Whether a choice is answered by the letter of its option.

    Example:
        >>> from popsim.prompts import load_layout
        >>> age = NumberQuestion(kind="number", name="age", text="How old are you?", minimum=18, maximum=99)
        >>> print(specification([age], load_layout().form))
        {
          "age": "___"
          // a whole number from 18 to 99
        }
    """
    lines = ["{"]
    for place, question in enumerate(questions, start=1):
        comma = "," if place < len(questions) else ""
        lines.append(f"  {_json(question.json_key)}: {_skeleton(question)}{comma}")
        lines.append(f"  // {_requirement(question, form, letters)}")
    return "\n".join((*lines, "}"))


def _asked(question: Question, form: Form, letters: bool) -> str:
    """Write one question with its options and its blank."""
    label = question.label or question.json_key
    if isinstance(question, DensityQuestion):
        bins = (fill(form.blank, {"label": f"- {one}", "unit": "%"}) for one in option_labels(question))
        return _lines(question.text, *bins)
    return _lines(question.text, *_offered(question, form, letters), _blank(question, label, form))


def _grid(items: Sequence[Question], form: Form, letters: bool) -> str:
    """Write questions that share their lead and how they are answered: both once, then the blank of each item."""
    blanks = (_blank(item, item.text, form) for item in items)
    return _lines(items[0].lead, *_offered(items[0], form, letters), *blanks)


def _offered(question: Question, form: Form, letters: bool) -> list[str]:
    """List what may be answered, where the form shows it: the points of a scale, or options."""
    if isinstance(question, ScaleQuestion):
        return [form.comma.join(f"{point} = {words}" for point, words in sorted(question.labels.items()))]
    if letters and isinstance(question, ChoiceQuestion):
        return [f"({letter}) {words}" for letter, words in lettered(question)]
    return [f"- {option}" for option in option_labels(question)]


def _blank(question: Question, label: str, form: Form) -> str:
    return fill(form.blank, {"label": label, "unit": question.unit if isinstance(question, NumberQuestion) else ""})


def _skeleton(question: Question) -> str:
    if isinstance(question, NumberQuestion):
        return _json(f"___{question.unit}")
    if isinstance(question, ScaleQuestion):
        return _json("___")
    if isinstance(question, DensityQuestion):
        bins = ",\n".join(f'    {_json(one)}: "___%"' for one in option_labels(question))
        return f"{{\n{bins}\n  }}"
    return '["..."]' if isinstance(question, MultipleQuestion) else '"..."'


def _requirement(question: Question, form: Form, letters: bool) -> str:
    if letters and isinstance(question, ChoiceQuestion):
        return fill(form.choice, {"options": form.comma.join(_json(f"({letter})") for letter, _ in lettered(question))})
    said = _allowed(question, form)
    if question.dont_know is not None:
        said += fill(form.dont_know, {"words": _json(question.dont_know)})
    if question.refusal is not None:
        said += fill(form.refusal, {"words": _json(question.refusal)})
    return said


def _allowed(question: Question, form: Form) -> str:
    if isinstance(question, NumberQuestion | ScaleQuestion):
        decimals = question.decimals if isinstance(question, NumberQuestion) else 0
        low, high = (f"{end:.{decimals}f}" for end in (question.minimum, question.maximum))
        ends = {"minimum": low, "maximum": high, "decimals": str(decimals)}
        return fill(form.number if decimals else form.whole, ends)
    options = form.comma.join(_json(option) for option in option_labels(question))
    if isinstance(question, ChoiceQuestion):
        return fill(form.choice, {"options": options})
    if isinstance(question, MultipleQuestion):
        return fill(form.multiple, {"options": options, "count": _count(question, form)})
    if isinstance(question, DensityQuestion):
        return form.density
    return form.text + (fill(form.length, {"length": question.length}) if question.length else "")


def _count(question: MultipleQuestion, form: Form) -> str:
    low, high = question.at_least, question.most
    phrase = form.exactly if low == high else form.from_to if low else form.at_most
    return fill(phrase, {"low": str(low), "high": str(high)})


def _lines(*lines: str) -> str:
    return "\n".join(line.strip() for line in lines if line.strip())


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
