"""The survey: questions, questionnaires with vignettes and arms, and reading the answers out of a reply."""

from popsim.survey.grammar import longest_reply, number_texts, reply_grammar, reply_schema
from popsim.survey.questionnaire import (
    Change,
    Page,
    Parameter,
    Questionnaire,
    Vignette,
    VignetteReference,
    load_questionnaire,
    set_arm,
)
from popsim.survey.questions import (
    Bin,
    ChoiceQuestion,
    DensityQuestion,
    MultipleQuestion,
    NumberQuestion,
    Question,
    ScaleQuestion,
    TextQuestion,
    option_labels,
)
from popsim.survey.reading import FAILURES, STATUSES, Answer, Reading, Status, read_reply

__all__ = [
    "FAILURES",
    "STATUSES",
    "Answer",
    "Bin",
    "Change",
    "ChoiceQuestion",
    "DensityQuestion",
    "MultipleQuestion",
    "NumberQuestion",
    "Page",
    "Parameter",
    "Question",
    "Questionnaire",
    "Reading",
    "ScaleQuestion",
    "Status",
    "TextQuestion",
    "Vignette",
    "VignetteReference",
    "load_questionnaire",
    "longest_reply",
    "number_texts",
    "option_labels",
    "read_reply",
    "reply_grammar",
    "reply_schema",
    "set_arm",
]
