"""Every plug-in of the package, registered, and its parameters as a scenario gives them."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from mptcpsim.plugins import Value, complete, find
from mptcpsim.scenario.errors import Problem
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


def load_user_plugins(paths: Any, directory: Path) -> list[str]:
    """Import the plug-in files of a scenario and return their absolute paths.

    Args:
        paths: the scenario's ``plugins``, as it was read.
        directory: what relative paths are relative to.

    Raises:
        Problem: a path is none, or the file cannot be imported; the text says why.
    """
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise Problem(("plugins",), 'write a list of Python files, such as ["my_congestion.py"]')
    if paths:
        load_plugins()
    return [_import(directory / path, number) for number, path in enumerate(paths)]


def _import(path: Path, number: int) -> str:
    place = ("plugins", number)
    path = path.resolve()
    if not path.is_file():
        raise Problem(place, f"{path}: no such file; name a Python file beside the scenario")
    spec = importlib.util.spec_from_file_location(f"{USER_PLUGINS}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Problem(place, f"{path}: not a Python file; its name has to end in .py")
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as error:
        raise Problem(place, f"{path}: {type(error).__name__}: {error}; mend the plug-in") from None
    return str(path)


def load_plugin_text(name: str, text: str) -> None:
    """Register the plug-ins of a file that is not at hand, only its name and its text.

    Raises:
        Problem: it cannot be imported.
    """
    load_plugins()
    module = ModuleType(f"{USER_PLUGINS}.{Path(name).stem}")
    module.__file__ = name
    try:
        exec(compile(text, name, "exec"), module.__dict__)
    except Exception as error:
        raise Problem(("plugins",), f"{name}: {type(error).__name__}: {error}; mend the plug-in") from None


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
