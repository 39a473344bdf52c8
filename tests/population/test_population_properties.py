"""Random small populations: margins met, exactly N people, no structural zero, the same seed the same people."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from popsim.errors import PopulationError
from popsim.population import PopulationSpec, sample_people
from popsim.population.draw import serpentine
from popsim.population.fit import fit_population
from popsim.population.load import bind_files

SOURCED = {"source": "a table", "status": "found", "unit": "adults", "year": 2020}


def table_of(names, table):
    """Write a table of any dimension as a population file does."""
    levels = [[f"{name}{i}" for i in range(n)] for name, n in zip(names, table.shape, strict=True)]
    rows = [[*(levels[k][at[k]] for k in range(len(at))), *table[at].tolist()] for at in np.ndindex(table.shape[:-1])]
    return {**SOURCED, "name": "".join(names), "of": list(names), "table": [[*names[:-1], *levels[-1]], *rows]}


@st.composite
def populations(draw):
    """A spec whose margins come from one random joint table, in one or two steps, perhaps from a seed of records."""
    shape = tuple(draw(st.lists(st.integers(2, 3), min_size=2, max_size=4)))
    names = "abcd"[: len(shape)]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth = np.rint(random.gamma(0.8, size=shape) * 1000)
    rules = []
    for _ in range(draw(st.integers(0, 2))):
        one, two = random.choice(len(shape), 2, replace=False)
        rule = {names[k]: f"{names[k]}{random.integers(shape[k])}" for k in (one, two)}
        rules.append(rule)
        truth[tuple(int(rule[n][1:]) if n in rule else slice(None) for n in names)] = 0
    assume(truth.sum() > 0)

    def margin_over(kept):
        kept = list(random.permutation(sorted(kept)))
        rest = tuple(k for k in range(len(shape)) if k not in kept)
        order = np.argsort(np.argsort(kept))
        return table_of([names[k] for k in kept], truth.sum(axis=rest).transpose(np.argsort(order).argsort()))

    def margins(axes, must):
        chosen = [set(random.choice(axes, min(len(axes), random.integers(1, 3)), replace=False)) for _ in range(3)]
        chosen += [{k} for k in must if not any(k in one for one in chosen)]
        unique = [set(one) for one in dict.fromkeys(frozenset(one) for one in chosen)]
        return [margin_over(one) for one in unique if one & set(must)]

    cut = draw(st.integers(1, len(shape))) if len(shape) > 2 else len(shape)
    axes = list(range(len(shape)))
    steps = [{"adds": list(names[:cut]), "margins": margins(axes[:cut], axes[:cut])}]
    if cut < len(shape):
        steps.append({"adds": list(names[cut:]), "given": list(names[:cut]), "margins": margins(axes, axes[cut:])})
    records = None
    if draw(st.booleans()):
        at = random.choice(truth.size, 60, p=truth.ravel() / truth.sum())
        codes = np.unravel_index(at, shape)
        records = pd.DataFrame({n: [f"{n}{i}" for i in code] for n, code in zip(names, codes, strict=True)})
        for step in steps:
            step["seed"] = {"file": "records.csv", "status": "assumption", "repair": 0.1, "at_least": 5}
    data = {
        "name": "random",
        "title": "Random",
        "unit": "adults",
        "attributes": {n: [f"{n}{i}" for i in range(k)] for n, k in zip(names, shape, strict=True)},
        "impossible": [r for r in rules if any(set(r) <= {*s["adds"], *s.get("given", [])} for s in steps)],
        "steps": steps,
        "draw": draw(st.sampled_from(["systematic", "multinomial"])),
    }
    return data, truth, records


def joint_of(spec, fit):
    """Multiply the conditional distributions of all steps into one table."""
    table = {(): 1.0}
    order = []
    for step in fit.steps:
        grown = {}
        for at, weight in table.items():
            row = 0
            if step.given:
                codes = [np.array([at[order.index(name)]]) for name in step.given]
                row = int(serpentine(codes, [len(spec.attributes[name]) for name in step.given])[0])
            for outcome, chance in enumerate(step.chances[row]):
                if weight * chance > 0:
                    grown[(*at, *(int(step.codes[name][outcome]) for name in step.adds))] = weight * chance
        table, order = grown, [*order, *step.adds]
    whole = np.zeros([len(spec.attributes[name]) for name in order])
    for at, weight in table.items():
        whole[at] = weight
    return whole.transpose([order.index(name) for name in spec.attributes])


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(populations(), st.integers(1, 300), st.integers(0, 2**31))
def test_random_small_populations_hold_up(tmp_path_factory, population, size, seed):
    data, truth, records = population
    folder = tmp_path_factory.getbasetemp()
    if records is not None:
        records.to_csv(folder / "records.csv", index=False)
    spec = bind_files(PopulationSpec.model_validate(data), folder)
    told = ""
    try:
        fit = fit_population(spec)
    except PopulationError as problem:
        told = str(problem)
    refused = ("declared impossible", "no record has a possible", "contradict each other")
    assert told == "" or any(words in told for words in refused)
    assume(not told)
    joint = joint_of(spec, fit)
    names = list(spec.attributes)
    # The rows of a step are made to sum to one after its fit, each of which may move by the tolerance.
    allowed = sum(one.raked.tolerance * len(one.chances) for one in fit.steps) + 1e-12
    for step in fit.steps:
        for fitted in step.margins:
            axes = [names.index(name) for name in fitted.margin.of]
            rest = tuple(k for k in range(joint.ndim) if k not in axes)
            order = np.argsort(np.argsort(axes))
            reached = joint.sum(axis=rest).transpose(order) if len(axes) > 1 else joint.sum(axis=rest)
            wanted = truth.sum(axis=rest).transpose(order) if len(axes) > 1 else truth.sum(axis=rest)
            error = np.abs(reached - wanted / truth.sum()).max()
            if all(one.raked.converged for one in fit.steps):
                assert error <= allowed
            np.testing.assert_allclose(fitted.target, (wanted / truth.sum()).ravel(), atol=1e-12)
    people = sample_people(spec, size, seed)
    assert len(people) == size
    for rule in spec.impossible:
        assert not np.logical_and.reduce([people[name] == level for name, level in rule.items()]).any()
    pd.testing.assert_frame_equal(people, sample_people(spec, size, seed))
    if size > 20 and truth.size > 4 and people.drop(columns="weight").drop_duplicates().shape[0] > 3:
        assert not people.equals(sample_people(spec, size, seed + 1))
