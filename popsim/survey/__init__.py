"""The survey: questions, questionnaires with vignettes and arms, and reading the answers out of a reply."""

from popsim.survey.distribution import QUANTILES, moments, quantiles, read_readout
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
from popsim.survey.reading import FAILURES, STATUSES, Answer, Distribution, Reading, Status, read_reply
from popsim.survey.readout import (
    ReadoutSettings,
    check_readout,
    lettered,
    measured_changes,
    measured_questions,
    spellings,
)
from popsim.survey.versions import assign_versions, versions

__all__ = [
    "FAILURES",
    "QUANTILES",
    "STATUSES",
    "Answer",
    "Bin",
    "Change",
    "ChoiceQuestion",
    "DensityQuestion",
    "Distribution",
    "MultipleQuestion",
    "NumberQuestion",
    "Page",
    "Parameter",
    "Question",
    "Questionnaire",
    "Reading",
    "ReadoutSettings",
    "ScaleQuestion",
    "Status",
    "TextQuestion",
    "Vignette",
    "VignetteReference",
    "assign_versions",
    "check_readout",
    "lettered",
    "load_questionnaire",
    "longest_reply",
    "measured_changes",
    "measured_questions",
    "moments",
    "number_texts",
    "option_labels",
    "quantiles",
    "read_readout",
    "read_reply",
    "reply_grammar",
    "reply_schema",
    "set_arm",
    "spellings",
    "versions",
]
