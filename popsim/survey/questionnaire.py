"""Questionnaires: vignettes with parameters, shown page by page, each page with its questions."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, StrictFloat, StrictInt, model_validator

from popsim.errors import SurveyError
from popsim.files import Frozen, find_file, read_based, validate
from popsim.slots import did_you_mean, fill, slots_of, unknown_slot
from popsim.survey.lenient import fold_key
from popsim.survey.questions import Name, Question, Text

Parameter = str | StrictInt | StrictFloat
_KEPT = {"name", "parameters", "arms", "reference", "references"}
_MOST_VERSIONS = 500


class ArmMoments(Frozen):
    """Published moments of a change in one arm."""

    mean: float
    """Mean change, shock minus baseline."""
    se: float = Field(gt=0)
    """Its standard error."""
    trimmed_sd: float = Field(gt=0)
    """Standard deviation after cutting both tails."""


class Directions(Frozen):
    """Shares of respondents whose answer falls, stays and rises; scaled to sum to 1."""

    fall: float = Field(ge=0)
    same: float = Field(ge=0)
    rise: float = Field(ge=0)


class Change(Frozen):
    """A change between two questions of a vignette, with what humans answered."""

    shock: Name
    """The question under the shock."""
    baseline: Name
    """The same question without it."""
    arms: dict[str, ArmMoments]
    directions: Directions
    """Pooled over arms, with the ``reversed`` arms multiplied by -1."""


class JointDirections(Frozen):
    """Shares of respondents by the direction of two changes; ``other`` holds every pair with a zero."""

    of: tuple[Name, Name]
    """The two changes, in the order meant by the fields below."""
    both_fall: float = Field(ge=0)
    fall_rise: float = Field(ge=0)
    """The first falls, the second rises."""
    rise_fall: float = Field(ge=0)
    both_rise: float = Field(ge=0)
    other: float = Field(ge=0)


class VignetteReference(Frozen):
    """Published human answers to a vignette, which ``baseline`` is fitted to and ``compare`` finds its changes in."""

    source: Text
    n: int = Field(gt=0)
    """Respondents over all arms."""
    trim: float = Field(default=0.05, ge=0, lt=0.5)
    """Share that was cut from each tail before the standard deviation was taken."""
    reversed: tuple[str, ...] = ()
    """Arms that were multiplied by -1 before shares were pooled."""
    changes: dict[Name, Change] = Field(min_length=1)
    joint: JointDirections | None = None

    @model_validator(mode="after")
    def _known(self) -> "VignetteReference":
        if self.joint and not set(self.joint.of) <= set(self.changes):
            raise ValueError(f"joint.of names {self.joint.of}; the changes are {', '.join(self.changes)}")
        return self


class Page(Frozen):
    """What is shown at once: a text and its questions."""

    title: str = ""
    text: str = ""
    questions: tuple[Question, ...] = Field(min_length=1)


class Vignette(Frozen):
    """A situation that respondents imagine, and what they are asked about it."""

    name: Name
    title: str = ""
    introduction: str = ""
    parameters: dict[Name, Parameter] = {}
    """Values of the ``{{slots}}`` in its texts; an arm may replace them."""
    arms: dict[str, dict[Name, Parameter]] = {}
    """Values by arm. A vignette without arms reads the same in each."""
    pages: tuple[Page, ...] = Field(min_length=1)
    reference: VignetteReference | None = None
    """What humans answered."""
    references: dict[Name, VignetteReference] = {}
    """The same for a group of respondents that answered otherwise, by the scenario's ``group``."""

    @property
    def questions(self) -> tuple[Question, ...]:
        """All questions, in the order they are asked."""
        return tuple(question for page in self.pages for question in page.questions)

    @property
    def slots(self) -> frozenset[str]:
        """The slots of all its texts."""
        return frozenset(slot for text in _strings(self.model_dump(exclude=_KEPT)) for slot in slots_of(text))

    @model_validator(mode="after")
    def _consistent(self) -> "Vignette":
        names = [question.name for question in self.questions]
        asked = set(names)
        references = (self.reference, *self.references.values())
        for change in (change for one in references if one for change in one.changes.values()):
            for name in (change.shock, change.baseline):
                if name not in asked:
                    raise ValueError(f"reference names question {name!r}; the questions are {', '.join(names)}")
            if self.arms and not set(change.arms) <= set(self.arms):
                raise ValueError(f"reference names arms {sorted(change.arms)}; the arms are {', '.join(self.arms)}")
        known = self.slots | set(self.parameters)
        for arm, values in self.arms.items():
            for key in values:
                if key not in known:
                    raise ValueError(f"arms.{arm} sets {key}, {_not_used(key, known)}")
        return self


class Questionnaire(Frozen):
    """Everything a respondent is asked in one sitting."""

    name: Name
    language: str = "en"
    source: str = ""
    """Where the design of the questionnaire comes from."""
    topic: Text
    """What the survey is about, as a noun phrase that a prompt can put into a sentence."""
    task: Text
    """What the respondent is asked to do, in whole sentences."""
    introduction: str = ""
    """Stands before the first vignette."""
    vignettes: tuple[Vignette, ...] = Field(min_length=1)
    show: int | None = Field(default=None, ge=1)
    """How many of the vignettes each respondent gets, drawn at random; all unless given."""
    shuffle: tuple[Literal["vignettes", "questions"], ...] = ()
    """What comes in a random order for each respondent: the vignettes shown; the questions of every page, which are
    then asked forwards or backwards."""

    @property
    def questions(self) -> tuple[Question, ...]:
        """All questions of all vignettes, in the order they are asked."""
        return tuple(question for vignette in self.vignettes for question in vignette.questions)

    def of_group(self, group: str) -> "Questionnaire":
        """Give the questionnaire with the human answers of one group of respondents."""
        return self.model_copy(update={"vignettes": tuple(_of_group(vignette, group) for vignette in self.vignettes)})

    @model_validator(mode="after")
    def _distinct(self) -> "Questionnaire":
        for what, names in (
            ("vignette", [vignette.name for vignette in self.vignettes]),
            ("question", [question.name for question in self.questions]),
            ("JSON key", [fold_key(question.json_key) for question in self.questions]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what} {sorted(twice)[0]!r} stands twice")
        shown = len(self.vignettes) if self.show is None else self.show
        if shown > len(self.vignettes):
            raise ValueError(f"show: {shown} vignettes, but there are {len(self.vignettes)}")
        count = (math.perm if "vignettes" in self.shuffle else math.comb)(len(self.vignettes), shown)
        if count > _MOST_VERSIONS:
            raise ValueError(f"show and shuffle give {count} orders; at most {_MOST_VERSIONS}, so show fewer vignettes")
        for text in (self.topic, self.task, self.introduction):
            for slot in slots_of(text):
                raise ValueError(f"slot {{{{{slot}}}}} stands outside the vignettes, where nothing fills it")
        return self


def load_questionnaire(name: str | Path, beside: Path | None = None) -> Questionnaire:
    """Read a questionnaire from its file.

    A file may be ``based_on`` another questionnaire and say only what differs (`popsim.files.merge`), which makes
    another wording; or ``include`` others, each with a title for its vignettes, whose questions then get the name of
    their vignette in front.

    Args:
        name: A path, or the name of a shipped questionnaire.
        beside: The folder of the scenario that names it.

    Raises:
        SurveyError: The file, a path in it, or a value is wrong.

    Example:
        >>> load_questionnaire("oil_price").vignettes[0].name
        'oil'
    """
    path = find_file(str(name), "scenarios/questionnaires", SurveyError, beside)
    data = read_based(path, "scenarios/questionnaires", SurveyError)
    if "include" in data:
        data = _included(data, path)
    return validate(Questionnaire, data, str(path), SurveyError)


def _included(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Put the vignettes of other questionnaires into one."""
    included = data.pop("include")
    if not isinstance(included, dict) or "vignettes" in data:
        raise SurveyError(f"{path}: include: needs names of questionnaires with a title each, no vignettes beside it")
    vignettes = []
    for name, title in included.items():
        part = load_questionnaire(name, path.parent)
        if part.language != data.get("language", "en"):
            raise SurveyError(f"{path}: include.{name}: is in language {part.language!r}; all must be in one")
        vignettes += [{**_prefixed(vignette), "title": title} for vignette in part.vignettes]
    return {**data, "vignettes": vignettes}


def _prefixed(vignette: Vignette) -> dict[str, Any]:
    """Give a vignette as plain data in which the names and keys of its questions begin with its own name."""
    plain = vignette.model_dump()
    for page in plain["pages"]:
        for question in page["questions"]:
            question["key"] = f"{vignette.name.capitalize()}_{question['key'] or question['name']}"
            question["name"] = f"{vignette.name}_{question['name']}"
    for reference in (plain["reference"], *plain["references"].values()):
        for change in reference["changes"].values() if reference else ():
            change |= {end: f"{vignette.name}_{change[end]}" for end in ("shock", "baseline")}
    return plain


def set_arm(questionnaire: Questionnaire, arm: str, parameters: Mapping[str, Parameter] | None = None) -> Questionnaire:
    """Fill the ``{{slots}}`` of a questionnaire for one arm.

    Values are looked up in ``parameters`` first, then in the vignette's arm, then in its defaults.

    Args:
        questionnaire: The questionnaire with its slots.
        arm: The name of the arm.
        parameters: What the scenario says of this arm.

    Returns:
        The questionnaire as it is shown in this arm, without slots.

    Raises:
        SurveyError: A vignette does not know the arm, a slot has no value, nothing uses a parameter, or what comes of
            filling breaks a rule (two options that read alike).

    Example:
        >>> filled = set_arm(load_questionnaire("oil_price"), "fall")
        >>> "{{" in filled.model_dump_json()
        False
    """
    given = parameters or {}
    known = {key for v in questionnaire.vignettes for key in (*v.slots, *v.parameters, *v.arms.get(arm, {}))}
    for key in given:
        if key not in known:
            raise SurveyError(f"questionnaire {questionnaire.name}, arm {arm} sets {key}, {_not_used(key, known)}")
    vignettes = []
    for vignette in questionnaire.vignettes:
        if vignette.arms and arm not in vignette.arms:
            raise SurveyError(f"vignette {vignette.name}: no arm {arm!r}; allowed: {', '.join(vignette.arms)}")
        values = {**vignette.parameters, **vignette.arms.get(arm, {}), **given}
        words = {key: f"{value:.15g}" if isinstance(value, float) else str(value) for key, value in values.items()}
        for text in _strings(vignette.model_dump(exclude=_KEPT)):
            if problem := unknown_slot(text, words):
                raise SurveyError(f"vignette {vignette.name}, arm {arm}: {problem}")
        plain = vignette.model_dump()
        filled = {key: value if key in _KEPT else _fill(value, words) for key, value in plain.items()}
        vignettes.append({**filled, "parameters": values})
    where = f"questionnaire {questionnaire.name}, arm {arm}"
    return validate(Questionnaire, {**questionnaire.model_dump(), "vignettes": vignettes}, where, SurveyError)


def _of_group(vignette: Vignette, group: str) -> Vignette:
    pages = []
    for page in vignette.pages:
        questions = (one.model_copy(update=_reference(one, group)) for one in page.questions)
        pages.append(page.model_copy(update={"questions": tuple(questions)}))
    return vignette.model_copy(update={"pages": tuple(pages), **_reference(vignette, group)})


def _reference(asked: Vignette | Question, group: str) -> dict[str, Any]:
    return {"reference": asked.references.get(group, asked.reference), "references": {}}


def _not_used(key: str, known: Iterable[str]) -> str:
    return f"which nothing uses{did_you_mean(key, known)} Allowed: {', '.join(sorted(known)) or 'nothing'}"


def _strings(node: Any) -> Iterator[str]:
    """Walk every string below a node of plain data."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _strings(item)


def _fill(node: Any, words: Mapping[str, str]) -> Any:
    """Fill every string below a node of plain data."""
    if isinstance(node, str):
        return fill(node, words)
    if isinstance(node, dict):
        return {_fill(key, words): _fill(value, words) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return tuple(_fill(item, words) for item in node)
    return node
