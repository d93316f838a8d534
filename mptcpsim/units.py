"""Time, rates and sizes: integer constants and the parser of unit strings.

Inside the package time is an ``int`` of nanoseconds, a rate an ``int`` of bits
per second and a size an ``int`` of bytes. A string with a unit is parsed once,
when a scenario is read. Decimal prefixes are powers of 1000, ``Ki``/``Mi``/``Gi``
powers of 1024.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from fractions import Fraction
from typing import Final

NANOSECOND: Final = 1
MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND

#: A time that never comes; larger than any simulated instant (about 146 years).
NEVER: Final = (1 << 62) - 1

_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z/%µ]*)\s*")

_TIME: dict[str, Fraction] = {
    "ns": Fraction(NANOSECOND),
    "us": Fraction(MICROSECOND),
    "µs": Fraction(MICROSECOND),
    "ms": Fraction(MILLISECOND),
    "s": Fraction(SECOND),
    "min": Fraction(MINUTE),
    "h": Fraction(60 * MINUTE),
}

_PREFIX: dict[str, int] = {
    "": 1,
    "k": 1000,
    "M": 1000**2,
    "G": 1000**3,
    "T": 1000**4,
    "Ki": 1024,
    "Mi": 1024**2,
    "Gi": 1024**3,
}

_RATE: dict[str, Fraction] = {}
_SIZE: dict[str, Fraction] = {}
for _prefix, _factor in _PREFIX.items():
    for _name in ("bps", "bit/s", "b/s"):
        _RATE[_prefix + _name] = Fraction(_factor)
    for _name in ("Bps", "B/s", "Byte/s"):
        _RATE[_prefix + _name] = Fraction(8 * _factor)
    for _name in ("B", "Byte", "Bytes"):
        _SIZE[_prefix + _name] = Fraction(_factor)
# Engineers write K for kilo in front of bits and bytes alike.
for _table in (_RATE, _SIZE):
    for _unit in [u for u in _table if u.startswith("k")]:
        _table["K" + _unit[1:]] = _table[_unit]


class UnitError(ValueError):
    """A quantity whose number or unit cannot be read; the message says what is accepted."""


def _near(unit: str, units: Iterable[str]) -> list[str]:
    """Return one or two units that may be meant: of another case, cut short or written out, or misspelt."""

    def likeness(known: str) -> tuple[float, float]:
        folded = SequenceMatcher(None, unit.casefold(), known.casefold()).ratio()
        return folded, SequenceMatcher(None, unit, known).ratio()

    def begins(known: str) -> bool:
        one, other = unit.casefold(), known.casefold()
        return one.startswith(other) or other.startswith(one)

    near = sorted(units, key=likeness, reverse=True)
    return ([known for known in near if begins(known)] or [k for k in near if likeness(k)[0] >= 0.6])[:2]


def _listed(units: dict[str, Fraction]) -> str:
    """Return the units for a message; those with a prefix are not listed one by one."""
    if units is _TIME:
        return ", ".join(units)
    plain = [unit for unit in units if "M" + unit in units]
    return f"{', '.join(plain)}, with {', '.join(filter(None, _PREFIX))} in front"


def _parse(text: str, units: dict[str, Fraction], what: str, example: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UnitError(f"{text!r} is not a {what}: write a number and a unit, such as {example}")
    number, unit = match.groups()
    if unit not in units:
        if not unit:
            raise UnitError(f"{text!r} has no unit: write a {what} such as {example}")
        near = " or ".join(repr(number + known) for known in _near(unit, units))
        remedy = f"did you mean {near}?" if near else f"known are {_listed(units)}"
        raise UnitError(f"{text!r}: unknown unit {unit!r} for a {what}; {remedy}")
    if len(number) > 40 or abs(int(re.split("[eE]", number)[1]) if "e" in number.lower() else 0) > 30:
        raise UnitError(f"{text!r} is out of range for a {what}")
    value = Fraction(number) * units[unit]
    if value < 0:
        raise UnitError(f"{text!r} is negative: a {what} is zero or more")
    result = int(value)
    if result >= NEVER:
        raise UnitError(f"{text!r} is out of range for a {what}")
    if value > 0 and result == 0:
        raise UnitError(f"{text!r} is smaller than the smallest {what} that can be represented")
    return result


def parse_time(text: str) -> int:
    """Return nanoseconds for a string such as ``"10ms"``, ``"1.5s"`` or ``"250us"``.

    Raises:
        UnitError: the number or the unit cannot be read, or is negative or out of range.
    """
    return _parse(text, _TIME, "time", '"10ms" or "1.5s"')


def parse_rate(text: str) -> int:
    """Return bits per second for a string such as ``"8Mbps"``, ``"10Mbit/s"`` or ``"1MB/s"``.

    Raises:
        UnitError: the number or the unit cannot be read, or is negative or out of range.
    """
    return _parse(text, _RATE, "rate", '"8Mbps" or "512kbit/s"')


def parse_size(text: str) -> int:
    """Return bytes for a string such as ``"64KiB"``, ``"10MB"`` or ``"1500B"``.

    Raises:
        UnitError: the number or the unit cannot be read, or is negative or out of range.
    """
    return _parse(text, _SIZE, "size", '"64KiB" or "10MB"')


def _format(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    for factor, unit in steps:
        if abs(value) >= factor:
            return f"{value / factor:.4g} {unit}"
    factor, unit = steps[-1]
    return f"{value / factor:.4g} {unit}"


def format_time(ns: int) -> str:
    """Return a time in nanoseconds for people: ``format_time(1_500_000) == "1.5 ms"``."""
    if ns == 0:
        return "0 s"
    return _format(ns, ((SECOND, "s"), (MILLISECOND, "ms"), (MICROSECOND, "us"), (1, "ns")))


def format_rate(bps: float) -> str:
    """Return a rate in bit/s for people: ``format_rate(8e6) == "8 Mbit/s"``."""
    return _format(bps, ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1, "bit/s")))


def format_size(size: float) -> str:
    """Return a number of bytes for people: ``format_size(65536) == "65.54 kB"``."""
    return _format(size, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")))
