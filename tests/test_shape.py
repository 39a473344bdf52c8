"""The shape of the package: names, floors, light imports, shipped files, examples, and a README that is true."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

import popsim
from popsim.cli import app
from popsim.cli.inputs import SHELVES
from popsim.engines import ENGINES
from popsim.files import shipped
from popsim.population import load_population
from popsim.scenario import sweep_points
from popsim.survey import load_questionnaire, set_arm

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "popsim"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FLOORS = {
    1: {"errors", "slots", "streams", "files", "weighted"},
    2: {"population", "survey", "network", "engines", "sweeps"},
    3: {"scenario", "prompts"},
    4: {"model", "evaluate", "report"},
    5: {"study"},
    6: {"tune"},
    7: {"cli"},
}
LIVE = ROOT / "examples" / "live.py"
"""Is opened in a browser by test_live.py."""
HEAVY = {"torch", "transformers", "vllm", "ray", "altair", "mesa", "pandas"}


def test_public_names_exist_and_are_all_there_is():
    assert {name for name in dir(popsim) if not name.startswith("_")} == set(popsim.__all__)
    for name in popsim.__all__:
        assert getattr(popsim, name).__module__.startswith("popsim")


def test_import_popsim_is_light():
    code = f"import sys, popsim, popsim.cli; print(sorted(set(sys.modules) & {HEAVY!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_imports_point_downward():
    floor_of = {part: floor for floor, parts in FLOORS.items() for part in parts}
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", [])]
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            for name in names:
                if not (name or "").startswith("popsim."):
                    continue
                target = name.split(".")[1]
                same_floor_file = floor_of[part] == 1
                if target != part and floor_of[target] >= floor_of[part] and not same_floor_file:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_every_part_has_a_floor():
    parts = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"__init__"} <= {part for names in FLOORS.values() for part in names}


def test_no_name_is_shipped_twice():
    names = [name for shelf in SHELVES for name in shipped(shelf)]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("name", shipped("scenarios"))
def test_every_scenario_loads(name):
    assert next(sweep_points(name)).scenario.name == name


@pytest.mark.parametrize("name", shipped("scenarios/questionnaires"))
def test_every_questionnaire_loads(name):
    questionnaire = load_questionnaire(name)
    arms = {arm for vignette in questionnaire.vignettes for arm in vignette.arms} or {"all"}
    for arm in arms:
        assert "{{" not in set_arm(questionnaire, arm).model_dump_json().replace("{{answer.", "")


@pytest.mark.parametrize("name", shipped("populations"))
def test_every_population_loads(name):
    assert load_population(name)


@pytest.mark.parametrize("path", sorted(set((ROOT / "examples").glob("*.py")) - {LIVE}), ids=lambda p: p.stem)
def test_every_example_runs(path, tmp_path):
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_readme_names_every_command_engine_and_example():
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for command in commands:
        assert f"popsim {command}" in README
    assert set(re.findall(r"popsim (\w+)", re.sub(r"(?s)```python.*?```", "", README))) & {"import"} == set()
    for engine in ENGINES:
        assert f"`{engine}" in README
    for path in (ROOT / "examples").glob("*.py"):
        assert path.name in README


def test_readme_commands_take_the_options_they_show():
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in re.findall(r"^.*\bpopsim (?:run|sweep|show|check|people|engines|list|copy|compare) .*$", README, re.M):
        for name, rest in re.findall(r"popsim (\w+)((?: [^|&`#]+)?)", line):
            if name not in commands:
                continue
            known = {option for parameter in commands[name].params for option in parameter.opts}
            assert set(re.findall(r"(--[a-z-]+)", rest)) <= known, line


def test_ci_runs_the_readme_test_command():
    command = next(line.strip() for line in README.splitlines() if "bin/pytest" in line)
    assert command in [line.strip() for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()]


def test_readme_tree_names_every_part():
    for part in {p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - {
        "__init__.py"
    }:
        assert part in README


def test_extras_are_those_that_errors_name():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {entry.extra for entry in ENGINES.values() if entry.extra} <= set(extras)
