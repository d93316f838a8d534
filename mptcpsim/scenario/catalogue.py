"""Every plug-in of the package, registered, and its parameters as a scenario gives them."""

from __future__ import annotations

import importlib
import pkgutil

from mptcpsim.plugins import Value, complete, find
from mptcpsim.units import UnitError, parse_rate, parse_size, parse_time

#: The packages whose modules register plug-ins when they are imported.
PACKAGES = ("congestion", "schedulers", "pathmanagers", "qdiscs")


def load_plugins() -> None:
    """Import every module that registers plug-ins; a second call is free."""
    for name in PACKAGES:
        package = importlib.import_module(f"mptcpsim.{name}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def parameters(family: str, name: str, given: dict[str, Value]) -> dict[str, Value]:
    """Return the parameters of a plug-in, defaults filled in.

    A whole number of nanoseconds, bit/s or bytes may be given with its unit: ``"5ms"``.

    Raises:
        PluginError: an unknown plug-in or parameter, a wrong type or a value out of range.
    """
    cls = find(family, name)
    whole = {p.name for p in cls.PARAMETERS if type(p.default) is int}
    read = {key: _quantity(value) if key in whole else value for key, value in given.items()}
    return complete(cls, read)


def _quantity(value: Value) -> Value:
    """Return the number that a string with a unit stands for; anything else as it is."""
    if isinstance(value, str):
        for parse in (parse_time, parse_rate, parse_size):
            try:
                return parse(value)
            except UnitError:
                continue
    return value
