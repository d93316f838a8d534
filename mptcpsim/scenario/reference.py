"""The reference of the keys of a scenario's table, derived from the definitions of its settings."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.scenario.quantities import rate_text, size_text, time_text
from mptcpsim.settings import (
    CHOICE,
    LIST,
    NUMBER,
    PLUGIN,
    PROBABILITY,
    PROFILE,
    RATE,
    SIZE,
    SWITCH,
    TIME,
    Setting,
    defaults_of,
    settings_of,
)

#: The tables whose keys are settings, and the configuration that each of them sets.
CONFIGURATIONS: Final[dict[str, type[Any]]] = {"tcp": TcpConfig, "mptcp": MptcpConfig}

_TEXTS: Final = {TIME: time_text, SIZE: size_text, RATE: rate_text}


class KeyEntry(NamedTuple):
    """What the reference says of a key.

    Attributes:
        key: as a scenario writes it.
        values: what may be written for it.
        default: as a scenario writes it.
        help: what the key is for, in sentences.
        source: where the behaviour or its default comes from.
    """

    key: str
    values: str
    default: str
    help: str
    source: str


def reference(config: type[Any]) -> list[KeyEntry]:
    """Return an entry for each setting of a configuration, in the order of its fields."""
    defaults = defaults_of(config)
    return [
        KeyEntry(name, values_text(each), written(each, defaults[name]), each.help, each.source)
        for name, each in settings_of(config).items()
    ]


def values_text(setting: Setting) -> str:
    """Return what may be written for a setting, in words."""
    if setting.kind == NUMBER:
        to = "on" if setting.maximum is None else f"to {setting.maximum}"
        return f"{setting.unit or 'number'}, from {setting.minimum} {to}"
    if setting.kind in _TEXTS:
        return f"{setting.kind} above 0" if setting.minimum else setting.kind
    if setting.kind in (CHOICE, LIST):
        words = " or ".join(_toml(choice) for choice in setting.choices)
        return f"list of {words}" if setting.kind == LIST else words
    return {
        SWITCH: "true or false",
        PROBABILITY: "probability, from 0 to 1",
        PLUGIN: f"a plug-in: mptcpsim list {setting.family}",
        PROFILE: "a profile: mptcpsim list profile",
    }[setting.kind]


def written(setting: Setting, value: Any) -> str:
    """Return a value of a setting as a scenario writes it."""
    return _toml(_TEXTS[setting.kind](value) if setting.kind in _TEXTS else value)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
