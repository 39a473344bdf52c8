"""Layouts: the whole prompt as a text with ``{{slots}}``, and the phrases of one language that fill them."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from popsim.errors import ScenarioError
from popsim.files import Frozen, merge, read_yaml, validate
from popsim.slots import did_you_mean, fill, slots_of, unknown_slot
from popsim.survey.questions import Text

PHRASES = ("role", "instructions")
SHARED = ("topic", "task", "as_of", "scope", "questionnaire", "specification", "answer")
PERSONAL = ("confidence", "persona", "priors", "social")


class Stance(Frozen):
    """The parts that read differently when a level of confidence is stated."""

    role: Text
    instructions: Text


class Prior(Frozen):
    """How one column of prior expectations is told."""

    words: dict[str, Text]
    """Level in the column -> words; they also fill the slot named like the column."""
    sentence: Text


class AsOf(Frozen):
    """How a date is told."""

    sentence: Text
    months: tuple[Text, ...] = Field(min_length=12, max_length=12)


class Heard(Frozen):
    """How things heard are told."""

    introduction: Text
    item: Text
    passed_on: Text
    """The source of an item that came from someone whom the person follows."""
    follower: Text
    """The source of a post by someone whom the person follows."""


class Earlier(Frozen):
    """How answers of an earlier wave are told."""

    introduction: Text
    item: Text


class Form(Frozen):
    """The blanks of the questionnaire, and what may stand in each field of the JSON answer."""

    blank: Text
    number: Text
    whole: Text
    choice: Text
    multiple: Text
    density: Text
    text: Text
    length: Text
    exactly: Text
    from_to: Text
    at_most: Text
    dont_know: Text
    refusal: Text
    comma: str


class PagesForm(Frozen):
    """How a questionnaire is put page by page, as a conversation."""

    first: Text
    """Stands in the place of the questionnaire in the first turn; ``{{questionnaire}}`` is its first page."""
    next: Text
    """A later turn, of ``{{page}}``, ``{{specification}}`` and ``{{answer}}``."""


class AnswerForm(Frozen):
    """How the reply is to be written."""

    reasoning: Text
    """Recall, reasoning and final answer."""
    plain: Text
    """The JSON object alone."""


class Layout(Frozen):
    """One layout in one language; the order of the prompt's sections is that of ``text``."""

    name: Text
    language: Text
    text: Text
    with_confidence: Stance
    without_confidence: Stance
    not_provided: Text
    confidence: dict[str, Text]
    """Level -> word."""
    priors: dict[str, Prior]
    """By column of the respondents."""
    scopes: dict[str, str]
    """What ties prior expectations to a scenario, by scope."""
    as_of: AsOf
    heard: Heard
    earlier: Earlier
    unweighed: Text
    """The instructions without a word on how confidence weighs prior expectations against what was heard."""
    form: Form
    answer: AnswerForm
    pages: PagesForm

    @property
    def paged(self) -> "Layout":
        """The same for a conversation, whose first turn shows the first page alone."""
        kept = {slot: f"{{{{{slot}}}}}" for slot in slots_of(self.text)}
        return self.model_copy(update={"text": fill(self.text, {**kept, "questionnaire": self.pages.first})})


def slot_names(layout: Layout) -> tuple[str, ...]:
    """Name the slots that a template may use besides the columns of the respondents.

    Example:
        >>> "questionnaire" in slot_names(load_layout())
        True
    """
    return (*PHRASES, *SHARED, *PERSONAL, *layout.priors)


@lru_cache
def load_layout(layout: str = "survey_v1", language: str = "en") -> Layout:
    """Read a layout of the package.

    Args:
        layout: Its name; ``shared_first`` takes what it does not word itself from the layout that it is based on.
        language: The language of the questionnaire, for example ``en`` or ``zh``.

    Raises:
        ScenarioError: There is no such layout, or none in this language.

    Example:
        >>> load_layout("survey_v1", "zh").confidence["weak"]
        '较弱'
    """
    files = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
    names = sorted({stem.partition(".")[0] for stem in files})
    if layout not in names:
        raise ScenarioError(f"layout {layout!r} is unknown{did_you_mean(layout, names)} Allowed: {', '.join(names)}")
    languages = [stem.partition(".")[2] for stem in files if stem.startswith(f"{layout}.")]
    if language not in languages:
        raise ScenarioError(
            f"layout {layout} does not exist in language {language!r}; allowed: {', '.join(languages)}; "
            "change the questionnaire's language"
        )
    path = files[f"{layout}.{language}"]
    data = read_yaml(path, ScenarioError)
    if "based_on" in data:
        data = merge(read_yaml(files[f"{data.pop('based_on')}.{language}"], ScenarioError), data)
    return validate(Layout, data, str(path), ScenarioError)


def load_template(text: str, layout: Layout, columns: Iterable[str] = (), where: str = "prompt.template") -> Layout:
    """Put a user's own text in the place of a layout's; its slots are filled with the layout's phrases.

    Args:
        text: The template: plain text with ``{{slots}}``.
        layout: Gives the phrases.
        columns: The respondents' columns, each of which is a slot too.
        where: The file that the text came from, for the message.

    Raises:
        ScenarioError: The text is empty, or a slot is unknown or could mean two things.

    Example:
        >>> load_template("You are {{age}}. {{questionnaire}}", load_layout(), ["age"]).text
        'You are {{age}}. {{questionnaire}}'
    """
    if not text.strip():
        raise ScenarioError(f"{where}: the template is empty; write the prompt with {{{{slots}}}} into it")
    names, columns = slot_names(layout), tuple(columns)
    problem = unknown_slot(text, (*names, *columns))
    if problem:
        raise ScenarioError(f"{where}: {problem}")
    own = set(names) - {"confidence", *layout.priors}
    for slot in sorted(slots_of(text) & own & set(columns)):
        raise ScenarioError(
            f"{where}: slot {{{{{slot}}}}} could mean a part of the prompt or the respondents' column {slot!r}; "
            "rename the column"
        )
    return layout.model_copy(update={"text": text})
