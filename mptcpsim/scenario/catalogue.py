"""Every plug-in of the package, registered, and its parameters as a scenario gives them."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

from mptcpsim.guard import Endless, begin, remember_file, running, shown
from mptcpsim.plugins import (
    Parameter,
    Plugin,
    PluginError,
    Scope,
    Value,
    collect,
    complete,
    enter_scope,
    find,
)
from mptcpsim.scenario.errors import Problem
from mptcpsim.scenario.hook_watch import hook_watch
from mptcpsim.scenario.plugin_checks import declare_checks
from mptcpsim.units import UnitError, parse_rate, parse_size, parse_time

#: The packages whose modules register plug-ins when they are imported.
PACKAGES = ("congestion", "schedulers", "pathmanagers", "qdiscs", "middleboxes")

#: The package that the user's plug-in files seem to be modules of.
USER_PLUGINS = "mptcpsim_user_plugins"


def load_plugins() -> None:
    """Import every module that registers plug-ins; a second call is free."""
    for name in PACKAGES:
        package = importlib.import_module(f"mptcpsim.{name}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    declare_checks()


#: What the files of scenarios have registered, by their paths, as they were read last.
_scopes: dict[str, Scope] = {}


def load_user_plugins(paths: Any, directory: Path) -> list[str]:
    """Import the plug-in files of a scenario and return their absolute paths.

    Only who enters their scope (``known``) knows them.

    Args:
        paths: the scenario's ``plugins``, as it was read.
        directory: what relative paths are relative to.

    Raises:
        Problem: a path is none, or the file cannot be imported; the text says why.
    """
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise Problem(("plugins",), 'write a list of Python files, such as ["my_congestion.py"]')
    found: list[str] = []
    for number, path in enumerate(paths):
        name, scope = _import(directory / path, number)
        for other in found:
            _check_names(_scopes[other], scope, other, name, number)
        _scopes[name] = scope
        found.append(name)
    return found


def _check_names(first: Scope, second: Scope, one: str, other: str, number: int) -> None:
    if one == other:
        raise Problem(("plugins", number), f"{one} is named twice: leave one of them out")
    for family in first:
        for name in set(first[family]) & set(second.get(family, ())):
            raise Problem(
                ("plugins", number), f"{family} {name!r} is in {one} and in {other}: give one another NAME"
            )


def _import(path: Path, number: int) -> tuple[str, Scope]:
    place = ("plugins", number)
    path = path.resolve()
    if not path.is_file():
        raise Problem(place, f"{path}: no such file; name a Python file beside the scenario")
    spec = importlib.util.spec_from_file_location(f"{USER_PLUGINS}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Problem(place, f"{path}: not a Python file; its name has to end in .py")
    loader, module = spec.loader, importlib.util.module_from_spec(spec)
    return str(path), _registered(lambda: loader.exec_module(module), str(path), place)


def load_plugin_text(name: str, text: str) -> Scope:
    """Return the plug-ins of a file that is not at hand, only its name and its text.

    Raises:
        Problem: it cannot be imported.
    """
    module = ModuleType(f"{USER_PLUGINS}.{Path(name).stem}")
    module.__file__ = name
    return _registered(lambda: exec(compile(text, name, "exec"), module.__dict__), name, ("plugins",))


def _registered(read: Callable[[], None], name: str, place: tuple[str | int, ...]) -> Scope:
    """Return what a file registers while it is read.

    Raises:
        Problem: it cannot be read; the text says why.
    """
    load_plugins()
    scope: Scope = {}
    former = collect(scope)
    begin(None, "import")
    try:
        with hook_watch():
            read()
        for members in scope.values():
            for cls in members.values():
                _check_class(cls)
                remember_file(cls, name)
    except (Exception, SystemExit, Endless) as error:
        lines = [number for frame, number in walk_tb(error.__traceback__) if frame.f_code.co_filename == name]
        line = f" line {lines[-1]}:" if lines else ""
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, Endless):
            text = "the file does not come to its end when it is imported"
        raise Problem(place, f"{name}:{line} {text}; mend the plug-in") from None
    finally:
        running.pop()
        collect(former)
    return scope


def _check_class(cls: type[Plugin]) -> None:
    """Judge what a class says of itself.

    Raises:
        PluginError: its parameters are none, or a switch of it is.
    """
    for name in ("AT_DEPARTURE", "DROPS_FROM_LONGEST", "REDUNDANT", "RENUMBERS"):
        if not isinstance(value := getattr(cls, name, False), bool):
            raise PluginError(f"{cls.FAMILY} {cls.NAME!r}: {name} is {shown(value)}; write True or False")
    listed: Any = cls.PARAMETERS
    for parameter in listed if isinstance(listed, tuple | list) else (listed,):
        if not isinstance(parameter, Parameter) or not isinstance(
            parameter.default, bool | int | float | str
        ):
            raise PluginError(
                f"{cls.FAMILY} {cls.NAME!r}: PARAMETERS has {shown(parameter)}; write a tuple of "
                "Parameter(name, default, help)"
            )


@contextmanager
def known(paths: Sequence[str]) -> Iterator[None]:
    """Have the plug-ins known, besides the package's own, that a scenario has named by its ``plugins``.

    A scenario that names none changes nothing.
    """
    if not paths:
        yield
        return
    for number, path in enumerate(paths):
        if path not in _scopes:  # the scenario was read in another process
            _scopes[path] = _import(Path(path), number)[1]
    with in_scope([_scopes[path] for path in paths]), hook_watch():
        yield


@contextmanager
def in_scope(scopes: Sequence[Scope]) -> Iterator[None]:
    """Have the plug-ins of some scopes known, besides the package's own."""
    merged: Scope = {}
    for scope in scopes:
        for family, members in scope.items():
            merged.setdefault(family, {}).update(members)
    former = enter_scope(merged)
    try:
        yield
    finally:
        enter_scope(former)


def parameters(family: str, name: str, given: dict[str, Value]) -> dict[str, Value]:
    """Return the parameters of a plug-in, defaults filled in.

    A whole number of nanoseconds, bit/s or bytes may be given with its unit: ``"5ms"``; what is a
    list in a string, its entries separated by commas, as a list.

    Raises:
        PluginError: an unknown plug-in or parameter, a wrong type or a value out of range.
    """
    cls = find(family, name)
    kinds = {p.name: type(p.default) for p in cls.PARAMETERS}
    return complete(cls, {key: _read(value, kinds.get(key)) for key, value in given.items()})


def _read(value: Any, kind: type | None) -> Any:
    if kind is int:
        return _quantity(value)
    if kind is str and isinstance(value, list | tuple) and all(type(item) in (int, str) for item in value):
        return ", ".join(str(item) for item in value)
    return value


def _quantity(value: Value) -> Value:
    """Return the number that a string with a unit stands for; anything else as it is."""
    if isinstance(value, str):
        for parse in (parse_time, parse_rate, parse_size):
            try:
                return parse(value)
            except UnitError:
                continue
    return value
