"""Field types that read strings with a unit, and write them again.

In a scenario a time, a rate or a size is a string with a unit; in the model it is an
``int`` of nanoseconds, bits per second or bytes. A plain 0 needs no unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from mptcpsim.units import parse_rate, parse_size, parse_time

_TIME_STEPS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))
_RATE_STEPS = ((1_000_000_000, "Gbps"), (1_000_000, "Mbps"), (1_000, "kbps"), (1, "bps"))
_SIZE_STEPS = ((1024**3, "GiB"), (1000**3, "GB"), (1024**2, "MiB"), (1000**2, "MB"), (1024, "KiB"),
               (1000, "kB"), (1, "B"))  # fmt: skip


def _exact(value: int, steps: tuple[tuple[int, str], ...], zero: str) -> str:
    """Return the value in the largest unit in which it is a whole number."""
    for factor, unit in steps:
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return f"0{zero}"


def time_text(ns: int) -> str:
    """Return a time as a scenario has it, without loss: ``time_text(1_500_000) == "1500us"``."""
    return _exact(ns, _TIME_STEPS, "s")


def rate_text(bps: int) -> str:
    """Return a rate as a scenario has it, without loss: ``rate_text(8_000_000) == "8Mbps"``."""
    return _exact(bps, _RATE_STEPS, "bps")


def size_text(size: int) -> str:
    """Return a size as a scenario has it, without loss: ``size_text(65536) == "64KiB"``."""
    return _exact(size, _SIZE_STEPS, "B")


def _reader(parse: Callable[[str], int], what: str, example: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, int) and not isinstance(value, bool) and value == 0:
            return 0
        raise ValueError(f"{value!r} is not a {what}: write a string with a unit, such as {example}")

    return read


def _positive(value: int) -> int:
    if value <= 0:
        raise ValueError("must be more than zero")
    return value


def _probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a probability: write a number from 0 to 1, such as 0.01")
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{value!r} is not a probability: it must lie between 0 and 1")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a whole number")
    return value


_time = _reader(parse_time, "time", '"10ms"')
_rate = _reader(parse_rate, "rate", '"8Mbps"')
_size = _reader(parse_size, "size", '"64KiB"')

Time = Annotated[int, BeforeValidator(_time), PlainSerializer(time_text, return_type=str)]
PositiveTime = Annotated[
    int, BeforeValidator(lambda v: _positive(_time(v))), PlainSerializer(time_text, return_type=str)
]
#: A time, or "never", which is -1.
TimeOrNever = Annotated[
    int,
    BeforeValidator(lambda value: -1 if value == "never" else _time(value)),
    PlainSerializer(lambda ns: "never" if ns < 0 else time_text(ns), return_type=str),
]
#: A rate; 0 is unlimited, as in dummynet.
Rate = Annotated[int, BeforeValidator(_rate), PlainSerializer(rate_text, return_type=str)]
PositiveRate = Annotated[
    int, BeforeValidator(lambda v: _positive(_rate(v))), PlainSerializer(rate_text, return_type=str)
]
Size = Annotated[int, BeforeValidator(_size), PlainSerializer(size_text, return_type=str)]
PositiveSize = Annotated[
    int, BeforeValidator(lambda v: _positive(_size(v))), PlainSerializer(size_text, return_type=str)
]
Probability = Annotated[float, BeforeValidator(_probability)]
Whole = Annotated[int, BeforeValidator(_whole)]
