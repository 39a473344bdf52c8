"""Baselines without a language model: what the facts about people, or other groups' answers, give by themselves.

A tuned model that does not beat these on the same split has learned nothing that a table does not know.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from popsim.errors import TargetError
from popsim.evaluate.alignment import Cells

Values = NDArray[np.float64]
Learner = Literal["svr", "boosting", "catboost"]


def predict_numbers(
    facts: pd.DataFrame, answers: Values, wanted: pd.DataFrame, learner: Learner = "boosting", seed: int = 0
) -> Values:
    """Predict the numbers that people answer from what is known of them.

    Columns of text become one indicator a value; values that were not learned from have none. The answer before an
    intervention, or the condition, is a column like any other.

    Args:
        facts: A row per person learned from, numbers or text.
        answers: (n,) what they answered.
        wanted: The same columns of the people to predict.
        learner: ``svr`` (support vectors, on standardised columns), ``boosting`` (scikit-learn's histogram gradient
            boosting) or ``catboost`` where it is installed.
        seed: Of the learner.

    Returns:
        A prediction per row of ``wanted``.

    Raises:
        TargetError: The package is missing, the columns differ, or there is nothing to learn from.

    Example:
        >>> facts = pd.DataFrame({"side": ["a", "b"] * 40})
        >>> found = predict_numbers(facts, np.array([1.0, 5.0] * 40), pd.DataFrame({"side": ["b"]}))
        >>> found.round(1).tolist()
        [5.0]
    """
    _need("sklearn")
    before, after = _encoded(facts, wanted, len(answers))
    if learner == "catboost":
        _need("catboost")
        from catboost import CatBoostRegressor

        model: Any = CatBoostRegressor(random_seed=seed, verbose=False, allow_writing_files=False)
    elif learner == "svr":
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        model = make_pipeline(StandardScaler(), SVR())
    else:
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(random_state=seed)
    return np.asarray(model.fit(before, answers).predict(after), dtype=np.float64)


def predict_options(
    facts: pd.DataFrame, answers: Sequence[str], wanted: pd.DataFrame, options: Sequence[str], seed: int = 0
) -> Values:
    """Predict the probability of each option from what is known of people, by gradient boosting.

    Args:
        facts: As for `predict_numbers`.
        answers: The option that each person chose.
        wanted: The people to predict.
        options: All options, in the order of the columns that are returned.
        seed: Of the learner.

    Returns:
        (n, k) probabilities; 0 for an option that nobody chose.

    Raises:
        TargetError: As for `predict_numbers`, or an answer is no option.

    Example:
        >>> facts = pd.DataFrame({"side": ["a", "b"] * 40})
        >>> found = predict_options(facts, ["no", "yes"] * 40, pd.DataFrame({"side": ["b"]}), ["yes", "no"])
        >>> found.round(1).tolist()
        [[1.0, 0.0]]
    """
    _need("sklearn")
    from sklearn.ensemble import HistGradientBoostingClassifier

    if unknown := sorted(set(answers) - set(options)):
        raise TargetError(f"gradient boosting: {unknown[0]!r} is no option; allowed: {', '.join(options)}")
    before, after = _encoded(facts, wanted, len(answers))
    found: Values = np.zeros((len(wanted), len(options)))
    if len(set(answers)) == 1:
        found[:, list(options).index(answers[0])] = 1
        return found
    model = HistGradientBoostingClassifier(random_state=seed).fit(before, list(answers))
    found[:, [list(options).index(one) for one in model.classes_]] = model.predict_proba(after)
    return found


def nearest_questions(
    known: Cells, texts: Mapping[str, str], wanted: Mapping[tuple[str, str], int], neighbours: int = 1
) -> dict[tuple[str, str], Values]:
    """Answer a question as the same group answered the most similar ones with as many options.

    Likeness is the cosine of TF-IDF over words and pairs of words (Cao et al. take BERT, so figures differ). A cell
    whose group answered no question with as many options gets a uniform guess.

    Args:
        known: Shares by group and question.
        texts: The words of every question.
        wanted: Number of options by group and question.
        neighbours: How many questions are averaged.

    Raises:
        TargetError: scikit-learn is missing, or a question has no text.

    Example:
        >>> known = {("a", "q"): np.array([0.9, 0.1]), ("a", "r"): np.array([0.5, 0.5])}
        >>> texts = {"q": "Do you trust banks?", "r": "Is it warm?", "s": "Do you trust courts?"}
        >>> nearest_questions(known, texts, {("a", "s"): 2})["a", "s"].tolist()
        [0.9, 0.1]
    """
    _need("sklearn")
    from sklearn.feature_extraction.text import TfidfVectorizer

    names = list(dict.fromkeys(question for _, question in [*known, *wanted]))
    if lacks := [name for name in names if name not in texts]:
        raise TargetError(f"nearest questions: question {lacks[0]!r} has no text")
    vectors = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2)).fit_transform([texts[one] for one in names])
    likeness = (vectors @ vectors.T).toarray()
    at = {name: i for i, name in enumerate(names)}
    found = {}
    for (group, question), count in wanted.items():
        able = [one for who, one in known if who == group and len(known[who, one]) == count and one != question]
        able.sort(key=lambda one: (-likeness[at[question], at[one]], one))
        rows = [known[group, one] for one in able[:neighbours]]
        found[group, question] = np.mean(rows, axis=0) if rows else np.full(count, 1 / count)
    return found


def group_average(known: Cells, wanted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], Values]:
    """Answer a question as the other groups did on average; uniformly where no other group was asked it.

    Args:
        known: Shares by group and question.
        wanted: Number of options by group and question.

    Example:
        >>> known = {("a", "q"): np.array([0.9, 0.1]), ("b", "q"): np.array([0.5, 0.5])}
        >>> group_average(known, {("c", "q"): 2})["c", "q"].tolist()
        [0.7, 0.3]
    """
    found = {}
    for (group, question), count in wanted.items():
        rows = [shares for (who, one), shares in known.items() if one == question and who != group]
        found[group, question] = np.mean(rows, axis=0) if rows else np.full(count, 1 / count)
    return found


def swapped(cells: Cells, seed: int = 0) -> dict[tuple[str, str], Values]:
    """Give each group another group's answers, the same one for all questions where it can be: a control.

    A model that scores no worse when it is asked about the wrong group makes no use of the group.

    Args:
        cells: Predicted shares by group and question.
        seed: Of the exchange.

    Raises:
        TargetError: There is one group only.

    Example:
        >>> cells = {("a", "q"): np.array([1.0, 0.0]), ("b", "q"): np.array([0.0, 1.0])}
        >>> swapped(cells)["a", "q"].tolist()
        [0.0, 1.0]
    """
    groups = sorted({group for group, _ in cells})
    if len(groups) < 2:
        raise TargetError("swapped groups: needs two groups or more")
    ring = np.random.default_rng(seed).permutation(groups).tolist()
    found = {}
    for group, question in cells:
        start = ring.index(group)
        others = [ring[(start + step) % len(ring)] for step in range(1, len(ring))]
        other = next((one for one in others if (one, question) in cells), None)
        if other is not None:
            found[group, question] = cells[other, question]
    return found


def _encoded(facts: pd.DataFrame, wanted: pd.DataFrame, answers: int) -> tuple[Values, Values]:
    """Make numbers of both tables, by what the first holds."""
    if len(facts) != answers or answers == 0:
        raise TargetError(f"baseline: needs one answer for each row of facts, not {answers} for {len(facts)}")
    if lacks := [name for name in facts.columns if name not in wanted.columns]:
        raise TargetError(f"baseline: the people to predict lack the column {lacks[0]!r}")
    parts = []
    for name in facts.columns:
        if pd.api.types.is_numeric_dtype(facts[name]):
            parts.append((facts[[name]].to_numpy(np.float64), wanted[[name]].to_numpy(np.float64)))
            continue
        levels = np.array(sorted(facts[name].astype(str).unique()))
        both = [table[name].astype(str).to_numpy()[:, None] == levels for table in (facts, wanted)]
        parts.append((both[0].astype(np.float64), both[1].astype(np.float64)))
    return np.hstack([one for one, _ in parts]), np.hstack([other for _, other in parts])


def _need(package: str) -> None:
    if find_spec(package) is None:
        install = "pip install catboost" if package == "catboost" else "pip install 'popsim[evaluate]'"
        raise TargetError(f"baseline: needs {package}; run: {install}")
