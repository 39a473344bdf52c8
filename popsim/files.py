"""Files: YAML read safely, checked with one clear line, shipped by name, and written whole or not at all."""

import os
import reprlib
import tempfile
import types
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from popsim.errors import PopsimError
from popsim.slots import did_you_mean

_SHORT = reprlib.Repr()
_LONGEST = 160
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80

ModelT = TypeVar("ModelT", bound=BaseModel)
Shelf = Literal["scenarios", "scenarios/questionnaires", "scenarios/targets", "populations", "presets"]


class Frozen(BaseModel):
    """A part of a user's file: unknown keys are refused, values never change after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


# lm-format-enforcer, which comes with vLLM, changes how every safe loader reads dates; ours keeps PyYAML's own way.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_timestamp)  # type: ignore[type-var]


def read_text(path: Path, error: type[PopsimError]) -> str:
    """Read a text file.

    Args:
        path: The file, in UTF-8.
        error: What to raise.

    Raises:
        PopsimError: Of the kind asked for: no such file, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read as UTF-8 text: {problem}") from None


def read_yaml(path: Path, error: type[PopsimError]) -> dict[str, Any]:
    """Read a YAML mapping without executing anything in it.

    Args:
        path: The file.
        error: What to raise.

    Raises:
        PopsimError: Of the kind asked for: no such file, not UTF-8, not YAML, a tag, a key twice, not a mapping.
    """
    text = read_text(path, error)
    try:
        data = yaml.load(text, _Loader)
    except RecursionError:
        raise error(f"{path}: not readable as YAML: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = str(getattr(problem, "problem", None) or problem).replace("\n", " ")
        hint = "; tags are not allowed in this file" if "constructor for the tag" in what else ""
        if "but got" in what or "mapping values" in what:
            hint = "; texts with a colon, comma, question mark or bracket may need quotes"
        raise error(f"{path}{where}: not readable as YAML: {what}{hint}") from None
    if not isinstance(data, dict):
        kind = "nothing" if data is None else f"a {type(data).__name__}"
        raise error(f"{path}: holds {kind}; a mapping of keys to values is needed")
    return data


def read_based(
    path: Path, shelf: Shelf, error: type[PopsimError], read: Callable[[Path], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Read a YAML mapping and, where it says ``based_on``, what it leaves out from the file that it names.

    Args:
        path: The file.
        shelf: Where a shipped file that it is based on lives.
        error: What to raise.
        read: Reads each of the files; `read_yaml` unless given.

    Raises:
        PopsimError: Of the kind asked for: a file cannot be read, or files are based on each other in a circle.
    """
    chain = [path]
    read = read or partial(read_yaml, error=error)
    layers = [read(path)]
    while isinstance(layers[-1].get("based_on"), str):
        chain.append(find_file(layers[-1].pop("based_on"), shelf, error, chain[-1].parent))
        if chain[-1] in chain[:-1]:
            raise error(f"{path}: based_on goes in a circle: {', '.join(one.name for one in chain)}")
        layers.append(read(chain[-1]))
    whole = layers.pop()
    for at, changes in zip(reversed(chain[:-1]), reversed(layers), strict=True):
        try:
            whole = merge(whole, changes)
        except ValueError as problem:
            raise error(f"{at}: {problem}") from None
    return whole


def merge(base: Any, changes: Any, path: str = "") -> Any:
    """Lay changes over plain data: mappings are merged key by key, anything else is replaced, and null takes a key out.

    A mapping that is laid over a list says which items change, by position or by the item's ``name``; a new item, which
    repeats its name, is put behind the others, or before the one that it names under ``before``.

    Args:
        base: The plain data below.
        changes: What is laid over it.
        path: Where both stand, for the message.

    Raises:
        ValueError: A list has no item of that position or name.

    Example:
        >>> merge({"a": 1, "b": [{"name": "x", "n": 2}]}, {"a": None, "b": {"x": {"n": 3}}})
        {'b': [{'name': 'x', 'n': 3}]}
    """
    if isinstance(base, dict) and isinstance(changes, dict):
        whole = dict(base)
        for key, value in changes.items():
            if value is None:
                whole.pop(key, None)
            else:
                whole[key] = merge(base[key], value, f"{path}{key}.") if key in base else value
        return whole
    if isinstance(base, list) and isinstance(changes, dict):
        items, added = list(base), []
        names = {one["name"]: i for i, one in enumerate(base) if isinstance(one, dict) and "name" in one}
        for key, value in changes.items():
            at = names.get(key, key)
            if isinstance(value, dict) and value.get("name") == key and at == key:
                added.append(value)
                continue
            if not isinstance(at, int) or not 0 <= at < len(base):
                allowed = [*names] or [f"0 to {len(base) - 1}"]
                raise ValueError(f"{path}{key}: the file below has no such item; allowed: {', '.join(allowed)}")
            items[at] = merge(base[at], value, f"{path}{key}.")
        for item in added:
            _add(items, item, path)
        return items
    return changes


def _add(items: list[Any], item: dict[str, Any], path: str) -> None:
    """Put a new item where it says."""
    new = {key: value for key, value in item.items() if key != "before"}
    names = [one.get("name") if isinstance(one, dict) else None for one in items]
    before = item.get("before")
    if before is not None and before not in names:
        known = ", ".join(name for name in names if name)
        raise ValueError(f"{path}{new['name']}.before: there is no item {before!r}; allowed: {known}")
    items.insert(len(items) if before is None else names.index(before), new)


def validate(model: type[ModelT], data: dict[str, Any], where: str, error: type[PopsimError]) -> ModelT:
    """Check plain data against a model and say in one line what is wrong.

    Args:
        model: The Pydantic model.
        data: The plain data.
        where: The file it came from, for the message.
        error: What to raise.

    Raises:
        PopsimError: Of the kind asked for, with file, path in the file, value and what is allowed.
    """
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        raise error(f"{where}: {describe(problem, model)}") from None
    except PopsimError as problem:
        raise type(problem)(f"{where}: {problem}") from None


def describe(problem: ValidationError, model: type[BaseModel]) -> str:
    """Put the first complaint of a failed validation into one line; where a union failed, the one that got furthest."""
    complaints = problem.errors(include_url=False)
    real = [one for one in complaints if one["type"] != "too_short" or not _has_deeper(complaints, one["loc"])]
    # A misspelled key is unknown and missing under its right name: the first says more.
    unknown = {one["loc"][:-1] for one in real if one["type"] == "extra_forbidden"}
    real.sort(key=lambda one: one["type"] == "missing" and one["loc"][:-1] in unknown)
    paths = [_path(model, one["loc"]) + "." for one in real]
    here = [i for i, path in enumerate(paths) if path.startswith(paths[0]) or paths[0].startswith(path)]
    furthest = max(here, key=lambda i: len(real[i]["loc"]))
    first, path = real[furthest], paths[furthest][:-1]
    others = len({path for i, path in enumerate(paths) if i not in here})
    more = f" ({others} more problem{'s' if others > 1 else ''})" if others else ""
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    if kind == "extra_forbidden":
        loc = first["loc"]
        allowed = sorted(_keys_at(model, loc[:-1]))
        return f"{path}: unknown key{did_you_mean(str(loc[-1]), allowed)} Allowed: {', '.join(allowed)}{more}"
    if kind == "missing":
        return f"{path}: this key is missing{more}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        path = f"{path}.{context['discriminator'].strip(chr(39))}".lstrip(".")
        if kind == "union_tag_not_found":
            return f"{path}: this key is missing{more}"
        allowed = context["expected_tags"].replace("'", "").split(", ")
        tag = context["tag"]
        return f"{path}: {tag!r} is unknown{did_you_mean(tag, allowed)} Allowed: {', '.join(allowed)}{more}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("\n", " ")
    if kind == "too_short":
        return f"{path}: needs at least {context['min_length']}, has {context['actual_length']}{more}"
    if kind == "tuple_type":
        message = "should be a list"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "should be a mapping of keys to values"
    if kind == "string_type" and isinstance(value, bool | int | float):
        message += "; put it in quotes"
    shown = "" if kind == "value_error" else f", not {_brief(value)}"
    return f"{path + ': ' if path or kind != 'value_error' else ''}{message}{shown}{more}"


def _has_deeper(complaints: list[Any], loc: tuple[int | str, ...]) -> bool:
    """Whether a list only seems too short because its items were refused."""
    return any(len(one["loc"]) > len(loc) and one["loc"][: len(loc)] == loc for one in complaints)


def _path(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """Write a location as a user would, without the tags that Pydantic adds for unions."""
    steps: list[str] = []
    at: Any = model
    for step in loc:
        at, is_tag = _step(at, step)
        if not is_tag:
            steps.append(str(step) if str(step).isprintable() else repr(step))
    return ".".join(steps)


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    at: Any = model
    for step in loc:
        at, _ = _step(at, step)
    at = _members(at)[0]
    if isinstance(at, type) and issubclass(at, BaseModel):
        return [field.alias or name for name, field in at.model_fields.items()]
    return []


def _members(at: Any) -> list[Any]:
    """List what a type may be, leaving None and annotations aside."""
    if get_origin(at) is Annotated:
        return _members(get_args(at)[0])
    if get_origin(at) in (Union, types.UnionType):
        return [member for one in get_args(at) if one is not type(None) for member in _members(one)]
    return [at]


def _step(at: Any, step: int | str) -> tuple[Any, bool]:
    """Follow one step of a location through a type; the second value says whether the step was a union's tag."""
    members = _members(at)
    if len(members) > 1:
        for member in members:
            kind = getattr(member, "model_fields", {}).get("kind")
            if kind is not None and get_origin(kind.annotation) is Literal and step in get_args(kind.annotation):
                return member, True
        named = [member for member in members if member.__name__ in str(step)]
        return (named[0] if named else None), True
    at = members[0]
    if isinstance(at, type) and issubclass(at, BaseModel):
        field = at.model_fields.get(str(step))
        return (field.annotation if field else None), False
    origin, arguments = get_origin(at), get_args(at)
    if origin in (tuple, list):
        place = step if isinstance(step, int) and step < len(arguments) and arguments[-1] is not Ellipsis else 0
        return arguments[place], False
    if origin in (dict, types.MappingProxyType) and len(arguments) == 2:
        return arguments[1], False
    return None, False


def shipped(kind: Shelf) -> dict[str, Path]:
    """List what is shipped of one kind, by name: inside an installed wheel, or beside the package in a checkout.

    Example:
        >>> "oil_price_fall" in shipped("scenarios")
        True
    """
    package = Path(__file__).resolve().parent
    installed = package / "shipped" / kind
    folder = installed if installed.is_dir() else package.parent / kind
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_file(name: str, kind: Shelf, error: type[PopsimError], beside: Path | None = None) -> Path:
    """Find a file by its path, or by its name alone when it is shipped.

    Args:
        name: A path (relative to ``beside`` or to the working directory) or the name of a shipped file.
        kind: Where shipped files of this kind live.
        error: What to raise.
        beside: The folder of the file that names it.

    Raises:
        PopsimError: Of the kind asked for, with the shipped names.
    """
    looks_like_path = name.endswith((".yaml", ".yml")) or "/" in name
    for path in ([beside / name] if beside else []) + [Path(name)]:
        if path.is_file() and looks_like_path:
            return path
    known = shipped(kind)
    if name in known:
        return known[name]
    if looks_like_path:
        raise error(f"{name}: no such file")
    raise error(f"{name}: neither a .yaml file nor shipped{did_you_mean(name, known)} Shipped: {', '.join(known)}")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file through a temporary one beside it, so that a kill leaves the old file or the new one.

    Args:
        path: The file to make or replace.
        write: Writes the content to the path that it is given.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "a.txt", lambda to: to.write_text("whole"))
        ...     sorted(p.name for p in Path(folder).iterdir())
        ['a.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _brief(value: object) -> str:
    """Show a value in few characters, however large it is."""
    shown = _SHORT.repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
