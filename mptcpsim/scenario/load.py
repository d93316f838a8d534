"""Read a scenario file: TOML, overrides, model, check; any mistake becomes one ``ScenarioError``."""

from __future__ import annotations

import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import tomlkit
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mptcpsim.scenario.catalogue import load_user_plugins
from mptcpsim.scenario.check import check
from mptcpsim.scenario.errors import Path, Problem, ScenarioError, did_you_mean, dotted
from mptcpsim.scenario.flows import FLOWS
from mptcpsim.scenario.locate import line_of
from mptcpsim.scenario.overrides import Override
from mptcpsim.scenario.schema import Scenario


def load(path: str | pathlib.Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario from a file and change it by ``key.path=value`` overrides.

    Raises:
        ScenarioError: whatever is wrong with the file or the overrides, in one message with
            file, key and remedy.
    """
    name = str(path)
    where = pathlib.Path(path)
    return loads(_read(where, name), name, overrides, where.parent)


def loads(
    text: str,
    name: str = "scenario",
    overrides: Sequence[str] = (),
    directory: pathlib.Path = pathlib.Path(),
) -> Scenario:
    """Read a scenario from a TOML text; ``name`` stands for the file in messages.

    Paths in the scenario are relative to ``directory``.

    Raises:
        ScenarioError: as ``load``.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}: not valid TOML: {error}; mend the syntax there") from None
    changes: list[Override] = []
    try:
        for item in overrides:
            change = Override(item)
            change.apply(data)
            changes.append(change)
        scenario = _parse({**data, "plugins": load_user_plugins(data.get("plugins", []), directory)})
        check(scenario)
    except Problem as problem:
        raise ScenarioError(_message(name, text, problem, changes)) from None
    return scenario


def dumps(scenario: Scenario) -> str:
    """Return a scenario as TOML, every default written out; ``loads`` gives the same scenario back."""
    data = _pruned(scenario.model_dump(mode="json", exclude_none=True))
    switches = {switch: tomlkit.table() for switch in scenario.switches}
    return tomlkit.dumps({**data, "switches": switches} if switches else data)


def _pruned(value: Any) -> Any:
    """Return nested data without its empty tables and lists."""
    if isinstance(value, Mapping):
        inner = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _read(path: pathlib.Path, name: str) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ScenarioError(f"{name}: no such file; name an existing scenario file") from None
    except IsADirectoryError:
        raise ScenarioError(f"{name}: is a directory; name the scenario file in it") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{name}: not UTF-8 text (byte {error.start}); save the scenario in UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ScenarioError(f"{name}: cannot be read: {reason}; check the path and its permissions") from None


# --- From pydantic's errors to a Problem --------------------------------------------------------


def _parse(data: dict[str, Any]) -> Scenario:
    try:
        return Scenario.model_validate(data)
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
        raise _problem(_first(errors)) from None


def _first(errors: list[ErrorDetails]) -> ErrorDetails:
    """Return the error that most likely causes the others: an unknown key before a missing one."""
    return min(errors, key=lambda error: error["type"] != "extra_forbidden")


def _path(loc: tuple[int | str, ...]) -> Path:
    """Return the path of a key without the marks that tell the members of a union apart."""
    parts = [part for part in loc if not (isinstance(part, str) and part.startswith("<"))]
    if len(parts) > 2 and parts[0] == "flows" and parts[2] in FLOWS:
        del parts[2]
    return tuple(parts)


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the model whose fields may stand at a place, to suggest a key."""
    found: Any = Scenario
    for part in loc:
        if isinstance(part, str) and part in FLOWS:
            found = FLOWS[part]
        elif isinstance(found, type) and issubclass(found, BaseModel) and part in found.model_fields:
            found = found.model_fields[str(part)].annotation
        else:
            found = _element(found, part)
        if found is None:
            return None
    return next((item for item in _flatten(found) if issubclass(item, BaseModel)), None)


def _element(annotation: Any, part: int | str) -> Any:
    """Return the type of an entry of a list or a table type, or the member of a union by its tag."""
    for argument in get_args(annotation):
        if isinstance(part, str) and part.startswith("<"):
            tags = [getattr(mark, "tag", None) for mark in getattr(argument, "__metadata__", ())]
            if part in tags:
                return get_args(argument)[0]
    arguments = [item for item in get_args(annotation) if item not in (Ellipsis, str, type(None))]
    return arguments[0] if arguments else None


def _flatten(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _flatten(argument)]


def _problem(error: ErrorDetails) -> Problem:
    loc = error["loc"]
    path = _path(loc)
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        model = _model_at(loc[:-1])
        known = list(model.model_fields) if model else []
        return Problem(path, f"unknown key {str(loc[-1])!r}; {did_you_mean(str(loc[-1]), known)}")
    if kind == "missing":
        return Problem(path, f"the key {str(loc[-1])!r} is missing: add it")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = context.get("tag", "")
        return Problem((*path, "app"), f"unknown app {given!r}; {did_you_mean(str(given), list(FLOWS))}")
    if kind == "value_error":
        return Problem(path, str(context["error"]))
    if kind == "too_short":
        what = str(path[-1]) if path else "it"
        return Problem(path, f"{what} has too few entries: give at least {context['min_length']}")
    if kind == "too_long":
        return Problem(path, f"too many entries: give {context['max_length']} at most")
    return Problem(path, f"{_plain(error)} (got {error['input']!r})")


def _plain(error: ErrorDetails) -> str:
    """Return pydantic's text in the words of TOML."""
    texts = {
        "string_type": 'write a string in quotes, such as "name"',
        "string_too_short": "it is empty: write a name",
        "dict_type": "write a table of named entries here",
        "tuple_type": "write a list here, in brackets",
        "model_type": "write a table of keys here",
        "model_attributes_type": "write a table of keys here",
        "bool_type": "write true or false",
        "bool_parsing": "write true or false",
    }
    message = error["msg"].replace("Input should be", "it must be")
    return texts.get(error["type"], message)


# --- From a Problem to the message --------------------------------------------------------------


def _message(name: str, text: str, problem: Problem, changes: list[Override]) -> str:
    key = dotted(problem.path)
    if not key:
        return f"{name}: {problem.text}"
    change = next((c for c in reversed(changes) if _touches(c.path, problem.path)), None)
    if change is not None:
        return f"{name}: {key} (from --set {change.text}): {problem.text}"
    line = line_of(text, problem.path)
    return f"{name}: line {line}: {key}: {problem.text}" if line else f"{name}: {key}: {problem.text}"


def _touches(changed: Path, path: Path) -> bool:
    """Return whether an override may have caused a problem: it set that key, or something around it."""
    return bool(changed) and path[: len(changed)] == changed
