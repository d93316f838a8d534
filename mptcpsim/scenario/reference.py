"""The reference of the keys of a scenario's table, derived from the definitions of its settings."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pydantic.fields import FieldInfo

from mptcpsim.scenario.fields import Model, PluginChoice
from mptcpsim.scenario.link_values import QueueLimit
from mptcpsim.scenario.links import LinkSpec
from mptcpsim.scenario.mptcp_settings import MptcpSettings
from mptcpsim.scenario.quantities import rate_text, size_text, time_text
from mptcpsim.scenario.tables import SettingsTable, in_table
from mptcpsim.scenario.tcp_settings import TcpSettings
from mptcpsim.settings import (
    CHOICE,
    LIST,
    LOSS,
    NUMBER,
    OWN,
    PLUGIN,
    PROBABILITY,
    PROFILE,
    QUEUE,
    RATE,
    SIZE,
    SWITCH,
    TIME,
    Setting,
    defaults_of,
)

#: The tables whose keys are settings.
TABLES: Final[dict[str, type[SettingsTable]]] = {"tcp": TcpSettings, "mptcp": MptcpSettings, "link": LinkSpec}

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


def reference(table: type[SettingsTable]) -> list[KeyEntry]:
    """Return an entry for each key of a table, in the order of the table."""
    settings, defaults = table.SETTINGS, defaults_of(table.CONFIG)
    singles = {each.single for each in settings.values()}
    entries = []
    for key, field in table.model_fields.items():
        if key in settings:
            each, default = settings[key], written(settings[key], defaults[key])
            entries.append(KeyEntry(key, values_text(each), default, each.help, each.source))
        elif key not in singles:
            entries.append(_own(key, field))
    return entries


def _own(key: str, field: FieldInfo) -> KeyEntry:
    """Return the entry of a key that only the scenario knows."""
    default = "" if field.is_required() else _toml(field.default)
    return KeyEntry(key, field.title or "", default, field.description or "", OWN)


def values_text(setting: Setting) -> str:
    """Return what may be written for a setting, in words."""
    if setting.kind == NUMBER:
        to = "on" if setting.maximum is None else f"to {setting.maximum}"
        return f"{setting.unit or 'number'}, from {setting.minimum} {to}"
    if setting.kind in _TEXTS:
        return f"{setting.kind} above 0" if setting.minimum else setting.kind
    if setting.kind in (CHOICE, LIST):
        words = " or ".join(_toml(choice) for choice in setting.choices)
        return f"list of {words}; {setting.single}: one" if setting.kind == LIST else words
    return {
        SWITCH: "true or false",
        PROBABILITY: "a probability, from 0 to 1",
        QUEUE: "packets, or a size above 0",
        LOSS: "a probability, or a table",
        PLUGIN: f"a plug-in: mptcpsim list {setting.family}",
        PROFILE: "a profile: mptcpsim list profile",
    }[setting.kind]


def written(setting: Setting, value: Any) -> str:
    """Return the value of a configuration's field as a scenario writes it."""
    value = in_table(setting, value)
    return _toml(_TEXTS[setting.kind](value) if setting.kind in _TEXTS else value)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, PluginChoice):
        return _toml(value.name)
    if isinstance(value, QueueLimit):
        return _toml(value.slots)
    if isinstance(value, Model):
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
