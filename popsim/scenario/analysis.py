"""What a scenario plans to compute before there is an answer, in the parts that a pre-analysis plan has."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from popsim.files import Frozen
from popsim.slots import did_you_mean
from popsim.survey import Difference, Questionnaire
from popsim.survey.branches import Condition, check_condition
from popsim.survey.questions import Name, Question, Text, option_labels

ARM, GROUP = "arm", "group"
OWN = "own"
"""What a plan calls the study's own template."""
DIRECTIONS = ("fall", "same", "rise")
Statistic = Literal["mean", "sd", "trimmed_sd", "quantile", "share", "joint_share", "effect", "asymmetry"]
Above0 = Annotated[float, Field(gt=0)]
Levels = Mapping[str, Sequence[str]]
"""Column of people -> its levels; none of numbers."""


class Exclusions(Frozen):
    """What is left out before anything is computed. Where a person is asked several times, each time counts alone."""

    failed: bool = False
    """Leave out respondents any of whose answers could not be read."""
    recall: bool = False
    """Leave out respondents whose reply has no recall of who they are, where an engine was asked for one."""
    unless: tuple[Condition, ...] = ()
    """Leave out respondents who did not answer so, for example to an attention check; all conditions must hold."""
    outside: dict[Text, tuple[float, float]] = {}
    """By outcome: leave out answers below the first number or above the second."""
    trim: dict[Text, Annotated[float, Field(gt=0, lt=0.5)]] = {}
    """By outcome: leave out the floor of this share of the ranks at either end, arm by arm."""

    @field_validator("outside")
    @classmethod
    def _ascend(cls, outside: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in outside.items():
            if low > high:
                raise ValueError(f"{name}: {low:g} lies above {high:g}")
        return outside


class Contrast(Frozen):
    """A mean or a share against a number, or of some respondents against that of others."""

    outcome: Text
    """A change or a question; ``VIGNETTE.OUTCOME`` where only one of several vignettes is meant."""
    of: str = ""
    """Whose share is taken instead of the mean: ``fall``, ``same`` or ``rise`` of a number, an option of a choice."""
    arm: Name | None = None
    """Only the answers of this arm; all of them unless given."""
    between: dict[Name, tuple[Text, Text]] = Field(default={}, max_length=1)
    """``arm``, ``group`` or an attribute of people, and the two values of it: the first less the second."""
    against: float = 0.0
    """The number that the figure, or the difference, is held against."""
    expect: Literal["", "above", "below", "same"] = ""
    """What is expected of it; ``same`` is within the margin of the outcome."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Contrast":
        if ARM in self.between and self.arm:
            raise ValueError("arm: between compares two arms already; take arm out")
        for by, (one, other) in self.between.items():
            if one == other:
                raise ValueError(f"between.{by}: {one!r} stands twice; give two values")
        return self

    def __str__(self) -> str:
        """Say in a few words what is held against what."""
        sides = [f"{one} - {other}" for one, other in self.between.values()]
        where = [*([self.arm] if self.arm else []), *(f"by {by}" for by in self.between if by not in (ARM, GROUP))]
        number = [] if self.between and not self.against else [f"against {self.against:g}"]
        return ", ".join([*sides, *where, *number])


class Model(Frozen):
    """A regression of answers on attributes of people."""

    outcome: Text
    of: str = ""
    """Whose share is explained instead of the mean."""
    attributes: tuple[Name, ...] = Field(min_length=1)
    """Attributes of people, or ``arm``."""
    arm: Name | None = None
    """Only the answers of this arm; all of them unless given."""
    cluster: Name | None = None
    """An attribute by which errors are clustered. Otherwise they are clustered by person where a person answers several
    times, and robust where not."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Model":
        if ARM in self.attributes and self.arm:
            raise ValueError(f"attributes: {ARM} explains nothing within the arm {self.arm!r}; take one of them out")
        return self


class Analysis(Frozen):
    """A plan of the analysis. It is no part of what is asked, and no answer depends on it."""

    outcomes: tuple[Text, ...] = Field(min_length=1)
    """Primary outcomes: changes or questions, as ``OUTCOME`` or ``VIGNETTE.OUTCOME``."""
    statistics: tuple[Statistic, ...] = Field(default=("mean",), min_length=1)
    """Which human figures of these are planned to be compared."""
    wave: int = Field(default=0, ge=0)
    """Which fielding of the questionnaire; what is computed of another one is not planned."""
    margins: dict[Text, Above0] = {}
    """By outcome: the gap that does not matter, in the unit of its answers, or as a share of those of a choice."""
    contrasts: dict[Name, Contrast] = {}
    exclude: Exclusions = Exclusions()
    models: dict[Name, Model] = {}
    templates: tuple[Text, ...] = ()
    """Layouts of the prompt that are part of the plan, ``own`` for the study's own template; all unless given."""
    wordings: tuple[Name, ...] = ()
    """Questionnaires that are part of the plan; all unless given."""

    def margin(self, vignette: str, outcome: str) -> float | None:
        """Give the margin of an outcome, if it has one.

        Example:
            >>> margins = {"inflation": 0.2, "oil.inflation": 0.1}
            >>> Analysis(outcomes=["inflation"], margins=margins).margin("oil", "inflation")
            0.1
        """
        return self.margins.get(f"{vignette}.{outcome}", self.margins.get(outcome))


class Asked(NamedTuple):
    """An outcome of one vignette."""

    vignette: str
    name: str
    found: Difference | Question

    @property
    def options(self) -> tuple[str, ...]:
        """What there can be a share of."""
        found = self.found
        if not isinstance(found, Difference) and found.kind == "scale":
            return tuple(str(point) for point in range(found.minimum, found.maximum + 1))
        return DIRECTIONS if self.is_number else option_labels(found)

    @property
    def is_number(self) -> bool:
        """Whether it has a mean."""
        return isinstance(self.found, Difference) or self.found.kind in ("number", "scale")


def outcomes_of(questionnaire: Questionnaire) -> Iterator[Asked]:
    """List the outcomes of a questionnaire that can be planned: changes, and questions but for densities and texts.

    Example:
        >>> from popsim.survey import load_questionnaire
        >>> [asked.name for asked in outcomes_of(load_questionnaire("oil_price"))][:3]
        ['inflation', 'unemployment', 'unemployment_1']
    """
    for vignette in questionnaire.vignettes:
        for name, change in vignette.changes.items():
            yield Asked(vignette.name, name, change)
        for question in vignette.questions:
            if question.kind not in ("density", "text"):
                yield Asked(vignette.name, question.name, question)


def find_outcomes(name: str, questionnaire: Questionnaire) -> list[Asked]:
    """Find what an outcome of a plan means: in each vignette that has it, or the one of ``VIGNETTE.OUTCOME``.

    Example:
        >>> from popsim.survey import load_questionnaire
        >>> [asked.vignette for asked in find_outcomes("oil.inflation", load_questionnaire("oil_price"))]
        ['oil']
    """
    return [one for one in outcomes_of(questionnaire) if name in (one.name, f"{one.vignette}.{one.name}")]


class Known(NamedTuple):
    """What the names of a plan may be."""

    shown: Sequence[Questionnaire]
    """The questionnaire as each arm sees it."""
    arms: Sequence[str]
    groups: Sequence[str]
    people: Levels
    wordings: Sequence[str]
    waves: int


def check_analysis(plan: Analysis, known: Known) -> None:
    """Check every name in a plan.

    Args:
        plan: The plan.
        known: The study that it belongs to.

    Raises:
        ValueError: A name is unknown, or what is planned cannot be computed; the message begins with its path.
    """
    for i, name in enumerate(plan.outcomes):
        asked = _outcome(f"outcomes.{i}", name, known)
        if not asked.is_number and "share" not in plan.statistics:
            raise ValueError(f"analysis.statistics: {name} is a choice and has no mean; add share")
    if plan.wave >= known.waves:
        raise ValueError(f"analysis.wave: there is no wave {plan.wave}. Allowed: 0 to {known.waves - 1}")
    for name in plan.margins:
        _outcome(f"margins.{name}", name, known)
    for rule, names in (("outside", [*plan.exclude.outside]), ("trim", [*plan.exclude.trim])):
        for name in names:
            if not _outcome(f"exclude.{rule}.{name}", name, known).is_number:
                raise ValueError(
                    f"analysis.exclude.{rule}.{name}: is a choice, whose answers have no ends; take it out"
                )
    questions = {question.name: question for question in known.shown[0].questions}
    for i, condition in enumerate(plan.exclude.unless):
        _among(f"exclude.unless.{i}.question", "question", condition.question, questions)
        check_condition(f"analysis.exclude.unless.{i}", condition, questions[condition.question])
    for name, contrast in plan.contrasts.items():
        _check_contrast(f"contrasts.{name}", plan, contrast, known)
    for name, model in plan.models.items():
        path = f"models.{name}"
        _share(path, model.of, model.outcome, known)
        _arm(path, model.arm, known)
        for i, attribute in enumerate(model.attributes):
            _among(f"{path}.attributes.{i}", "attribute of people", attribute, [*known.people, ARM])
        if model.cluster:
            _among(f"{path}.cluster", "attribute of people", model.cluster, known.people)
    for i, wording in enumerate(plan.wordings):
        _among(f"wordings.{i}", "questionnaire of this study", wording, known.wordings)


def _check_contrast(path: str, plan: Analysis, contrast: Contrast, known: Known) -> None:
    asked = _share(path, contrast.of, contrast.outcome, known)
    _arm(path, contrast.arm, known)
    for by, values in contrast.between.items():
        allowed = {**known.people, ARM: known.arms, GROUP: known.groups}
        _among(f"{path}.between", "attribute of people", by, allowed)
        if not allowed[by]:
            levels = ", ".join(column for column, some in known.people.items() if some)
            raise ValueError(f"analysis.{path}.between: {by} is a number and has no levels. Allowed: {levels}")
        for value in values:
            _among(f"{path}.between.{by}", f"{by}", value, allowed[by])
    if contrast.expect == "same" and plan.margin(asked.vignette, asked.name) is None:
        raise ValueError(f"analysis.{path}.expect: same needs to know how near; write margins: {{{asked.name}: ...}}")
    if contrast.expect == "same" and contrast.of and asked.is_number:
        raise ValueError(
            f"analysis.{path}.expect: the margin of {asked.name} is in the unit of its answers, and of: {contrast.of} "
            "is a share; take one of them out"
        )


def _outcome(path: str, name: str, known: Known) -> Asked:
    found = find_outcomes(name, known.shown[0])
    if not found:
        every = list(outcomes_of(known.shown[0]))
        names = dict.fromkeys(asked.name for asked in every)
        _among(
            path,
            "outcome of the questionnaire",
            name,
            [*names, *(f"{one.vignette}.{one.name}" for one in every)],
            names,
        )
    return found[0]


def _share(path: str, of: str, name: str, known: Known) -> Asked:
    """Find an outcome of which a mean or a share is taken."""
    asked = _outcome(f"{path}.outcome", name, known)
    options = {option for shown in known.shown for one in find_outcomes(name, shown) for option in one.options}
    if of:
        _among(f"{path}.of", f"answer to {name}", of, sorted(options))
    elif not asked.is_number:
        raise ValueError(
            f"analysis.{path}.of: {name} is a choice; say whose share. Allowed: {', '.join(sorted(options))}"
        )
    return asked


def _arm(path: str, arm: str | None, known: Known) -> None:
    if arm is not None:
        _among(f"{path}.arm", "arm", arm, known.arms)


def _among(path: str, what: str, name: str, allowed: Iterable[str], shown: Iterable[str] | None = None) -> None:
    """Refuse a name that is not there, with the nearest that is."""
    there = list(allowed)
    if name not in there:
        listed = ", ".join(map(str, there if shown is None else shown))
        raise ValueError(f"analysis.{path}: there is no {what} {name!r}{did_you_mean(name, there)} Allowed: {listed}")


def known_names(value: Any) -> list[str]:
    """List the names of questionnaires that a sweep goes through; written out or by name."""
    return [one if isinstance(one, str) else str(one.get("name", "")) for one in value]
