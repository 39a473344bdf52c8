"""Everything popsim raises on purpose.

PopsimError               a problem that its reader can mend; the command line prints it in one line and exits with 2
├── PopulationError       a population file, a margin, a user's table of respondents
├── SurveyError           a question, a questionnaire, a vignette
├── NetworkError          a follow graph or a rule of spread
├── ScenarioError         a scenario file, a sweep, a prompt template
├── TargetError           human figures: a file of targets, a table of answers, a distance that cannot be taken
├── TuneError             a training file, or a training that cannot go on as asked
├── RunError              a Run folder: made by another scenario, locked by another process, incomplete
└── EngineError           an engine that is unknown, not installed or failing; ``retryable``: asking again may help
"""


class PopsimError(Exception):
    """A problem that its reader can mend.

    The message says what is wrong, where (file, path in the file, value), what is allowed and what to do.
    """


class PopulationError(PopsimError):
    """Something in a population file, a margin or a table of respondents is wrong."""


class SurveyError(PopsimError):
    """Something in a question, a questionnaire or a vignette is wrong."""


class NetworkError(PopsimError):
    """A follow graph or a rule of spread cannot be what was asked for."""


class ScenarioError(PopsimError):
    """Something in a scenario file, a sweep or a prompt template is wrong."""


class TargetError(PopsimError):
    """Human figures cannot be set beside simulated ones as asked."""


class TuneError(PopsimError):
    """Something in a training file is wrong, or a training cannot go on as asked."""


class RunError(PopsimError):
    """A Run folder cannot be used as asked."""


class EngineError(PopsimError):
    """An engine cannot answer.

    Args:
        message: What is wrong and what to do.
        retryable: Whether the same prompt may be answered when it is sent again.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
