"""Questionnaires: vignettes with parameters, shown page by page, each page with its questions."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, StrictFloat, StrictInt, model_validator

from popsim.errors import SurveyError
from popsim.files import Frozen, find_file, read_based, validate
from popsim.slots import did_you_mean, fill_in, slots_of, strings_in, unknown_slot
from popsim.survey.branches import ANSWER, Condition, check_branches
from popsim.survey.lenient import fold_key
from popsim.survey.questions import Name, NumberQuestion, Question, ScaleQuestion, Text, expand_grids

Parameter = str | StrictInt | StrictFloat
_KEPT = {"name", "parameters", "arms", "derived", "reference", "references"}
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


class Difference(Frozen):
    """An outcome derived from two questions of a vignette: ``shock - baseline``, as which a file may write it."""

    shock: Name
    """The question under the shock."""
    baseline: Name
    """The same question without it."""

    @model_validator(mode="before")
    @classmethod
    def _written(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        shock, minus, baseline = (part.strip() for part in given.partition(" - "))
        if not minus:
            raise ValueError(f"{given!r} is no difference; write QUESTION - QUESTION, with a space on both sides of -")
        return {"shock": shock, "baseline": baseline}


class Change(Difference):
    """A change between two questions of a vignette, with what humans answered."""

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
    show_if: tuple[Condition, ...] = ()
    """Earlier answers, all of which the page hangs on; a single one may stand without a list. Only with the
    scenario's ``presentation: pages``."""
    show_if_any: tuple[Condition, ...] = ()
    """Earlier answers, of which at least one must be so as well."""
    questions: tuple[Question, ...] = Field(min_length=1)
    """A ``kind: grid`` among them is several questions that are answered alike."""

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        alone = isinstance(given.get("show_if"), dict)
        return {
            **given,
            **({"show_if": (given["show_if"],)} if alone else {}),
            **({"questions": expand_grids(given["questions"])} if "questions" in given else {}),
        }

    @property
    def conditions(self) -> dict[str, tuple[Condition, ...]]:
        """What the page hangs on, by key; empty where it is shown to all."""
        return {key: some for key in ("show_if", "show_if_any") if (some := getattr(self, key))}

    def is_shown(self, met: Callable[[Condition], bool]) -> bool:
        """Say whether the page is shown.

        Args:
            met: Whether a condition is met.
        """
        return all(map(met, self.show_if)) and (not self.show_if_any or any(map(met, self.show_if_any)))

    def hangs_on(self) -> str:
        """Say in words on which earlier answers the page hangs; empty where it is shown to all."""
        said = [str(one) for one in self.show_if]
        either = " or ".join(map(str, self.show_if_any))
        return " and ".join([*said, *([f"({either})" if said else either] if either else [])])


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
    derived: dict[Name, Difference] = {}
    """Outcomes worked out from two answers, beside the changes of a reference, for example ``{change: shock - level}``:
    rows of the summary, and outcomes that targets may name."""
    reference: VignetteReference | None = None
    """What humans answered."""
    references: dict[Name, VignetteReference] = {}
    """The same for a group of respondents that answered otherwise, by the scenario's ``group``."""

    @property
    def questions(self) -> tuple[Question, ...]:
        """All questions, in the order they are asked."""
        return tuple(question for page in self.pages for question in page.questions)

    @property
    def changes(self) -> dict[str, Difference]:
        """All outcomes that are a difference of two answers: those with published moments first."""
        return {**(self.reference.changes if self.reference else {}), **self.derived}

    @property
    def slots(self) -> frozenset[str]:
        """The slots of all its texts, but for those of earlier answers."""
        every = (slot for text in strings_in(self.model_dump(exclude=_KEPT)) for slot in slots_of(text))
        return frozenset(slot for slot in every if not slot.startswith(ANSWER))

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
        self._check_derived()
        known = self.slots | set(self.parameters)
        for arm, values in self.arms.items():
            for key in values:
                if key not in known:
                    raise ValueError(f"arms.{arm} sets {key}, {_not_used(key, known)}")
        return self

    def _check_derived(self) -> None:
        numbers = {q.name: q for q in self.questions if isinstance(q, NumberQuestion | ScaleQuestion)}
        asked = {question.name for question in self.questions}
        for name, one in self.derived.items():
            for end in (one.shock, one.baseline):
                if end not in numbers:
                    problem = "is no number and no scale" if end in asked else "is no question of this vignette"
                    raise ValueError(f"derived.{name} names {end!r}, which {problem}. Allowed: {', '.join(numbers)}")
            if name in asked or any(name in one.changes for one in (self.reference,) if one):
                raise ValueError(
                    f"derived.{name}: a question or a change of the reference has this name; choose another"
                )


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
        check_branches(self)
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
        names = {question.name: f"{one.name}_{question.name}" for one in part.vignettes for question in one.questions}
        vignettes += [{**_prefixed(vignette, names), "title": title} for vignette in part.vignettes]
    return {**data, "vignettes": vignettes}


def _prefixed(vignette: Vignette, names: Mapping[str, str]) -> dict[str, Any]:
    """Give a vignette as plain data in which the names and keys of its questions begin with its own name."""
    plain = vignette.model_dump()
    slots = {slot: f"{{{{{slot}}}}}" for text in strings_in(plain) for slot in slots_of(text)}
    slots |= {f"{ANSWER}{name}": f"{{{{{ANSWER}{long}}}}}" for name, long in names.items()}
    plain["pages"] = fill_in(plain["pages"], slots)
    for page in plain["pages"]:
        for condition in (*page["show_if"], *page["show_if_any"]):
            condition["question"] = names[condition["question"]]
        for question in page["questions"]:
            question["key"] = f"{vignette.name.capitalize()}_{question['key'] or question['name']}"
            question["name"] = names[question["name"]]
    differences = list(plain["derived"].values())
    for reference in (plain["reference"], *plain["references"].values()):
        differences += reference["changes"].values() if reference else ()
    for one in differences:
        one |= {end: names[one[end]] for end in ("shock", "baseline")}
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
    answers = {slot: f"{{{{{slot}}}}}" for slot in (f"{ANSWER}{question.name}" for question in questionnaire.questions)}
    vignettes = []
    for vignette in questionnaire.vignettes:
        if vignette.arms and arm not in vignette.arms:
            raise SurveyError(f"vignette {vignette.name}: no arm {arm!r}; allowed: {', '.join(vignette.arms)}")
        values = {**vignette.parameters, **vignette.arms.get(arm, {}), **given}
        words = {key: f"{value:.15g}" if isinstance(value, float) else str(value) for key, value in values.items()}
        words |= answers
        for text in strings_in(vignette.model_dump(exclude=_KEPT)):
            if problem := unknown_slot(text, words):
                raise SurveyError(f"vignette {vignette.name}, arm {arm}: {problem}")
        plain = vignette.model_dump()
        filled = {key: value if key in _KEPT else fill_in(value, words) for key, value in plain.items()}
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
