"""The definition of a setting: what a scenario may write for it, and its default, source and help.

A configuration is a frozen dataclass whose fields are settings::

    @dataclass(frozen=True)
    class TcpConfig:
        delayed_ack: int = setting(
            40 * MILLISECOND, "An ACK waits this long at most.", kind=TIME, source="Linux: TCP_DELACK_MIN"
        )

Nothing else is written to add a key: the model of the scenario's table (``scenario.tables``), the judgement
whether a key has an effect (``lint.effect``) and the reference (``mptcpsim list tcp``) are derived from the
definition. A field without one, such as the parameters of a plug-in, is no key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, Final, NamedTuple

# Kinds of settings: how a scenario writes a value, and what a configuration holds of it.

#: ``true`` or ``false``.
SWITCH: Final = "switch"
#: A whole number.
NUMBER: Final = "number"
#: A string such as ``"10ms"``; nanoseconds.
TIME: Final = "time"
#: A string such as ``"64KiB"``; bytes.
SIZE: Final = "size"
#: A string such as ``"8Mbps"``; bit/s.
RATE: Final = "rate"
#: A number from 0 to 1.
PROBABILITY: Final = "probability"
#: One of a few words or numbers.
CHOICE: Final = "choice"
#: A list of some of a few numbers; a tuple.
LIST: Final = "list"
#: A name, or a table with a name and parameters; the field NAME_parameters holds the parameters.
PLUGIN: Final = "plug-in"
#: The name of a profile of MPTCP.
PROFILE: Final = "profile"
#: The length of a queue; the field NAME_in_bytes holds whether it is in bytes.
QUEUE: Final = "queue"
#: Which packets are lost; the field holds a loss that is random.
LOSS: Final = "loss"

#: The ends of a connection that may be the only ones to look at a setting.
SENDER: Final = "sender"
RECEIVER: Final = "receiver"
CLIENT: Final = "client"

#: The source of a setting that no other implementation and no RFC has.
OWN: Final = "mptcpsim"

# What the definition and the key are called in the metadata of a field.
_SETTING: Final = "setting"
_KEY: Final = "key"


class Setting(NamedTuple):
    """The definition of a setting.

    Attributes:
        help: what the setting is for, in sentences.
        source: where the behaviour or its default comes from: an RFC section, an implementation, or ``OWN``.
        kind: how a scenario writes a value.
        unit: what a ``NUMBER`` counts.
        minimum: the least value that a scenario may write.
        maximum: the largest one; None is no limit.
        choices: of a ``CHOICE`` or a ``LIST``.
        family: of a ``PLUGIN``.
        single: a second key, for a ``LIST`` of one value.
        needs: the key without which, or while it is false or 0, the setting has no effect.
        used_by: the only end that looks at the setting; empty if both do.
        of_each_way: whether the two directions of a link may differ in it.
        scale: the field holds so many times what a scenario writes.
        field: the name of the field.
    """

    help: str
    source: str
    kind: str
    unit: str = ""
    minimum: int = 0
    maximum: int | None = None
    choices: tuple[str | int, ...] = ()
    family: str = ""
    single: str = ""
    needs: str = ""
    used_by: str = ""
    of_each_way: bool = True
    scale: int = 1
    field: str = ""


def setting(
    default: object,
    sentences: str,
    *,
    source: str,
    kind: str = "",
    unit: str = "",
    minimum: int = 0,
    maximum: int | None = None,
    choices: tuple[str | int, ...] = (),
    family: str = "",
    single: str = "",
    needs: str = "",
    used_by: str = "",
    key: str = "",
    of_each_way: bool = True,
    scale: int = 1,
) -> Any:  # of a compiled class, anything else would be taken for the value of the field
    """Return the field of a dataclass that is a setting; see ``Setting``.

    The kind need not be given where the default, the choices or the family of plug-ins tell it, and the key
    only where it is not the name of the field.
    """
    if not kind:
        kind = _kind(default, choices, family)
    definition = Setting(
        sentences,
        source,
        kind,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        choices=choices,
        family=family,
        single=single,
        needs=needs,
        used_by=used_by,
        of_each_way=of_each_way,
        scale=scale,
    )
    return field(default=default, metadata={_SETTING: definition, _KEY: key})


def _kind(default: object, choices: tuple[str | int, ...], family: str) -> str:
    if family:
        return PLUGIN
    if choices:
        return LIST if isinstance(default, tuple) else CHOICE
    return SWITCH if isinstance(default, bool) else NUMBER


def settings_of(config: type[Any]) -> Mapping[str, Setting]:
    """Return the settings of a configuration by their keys, in the order of its fields."""
    return {
        each.metadata[_KEY] or each.name: each.metadata[_SETTING]._replace(field=each.name)
        for each in fields(config)
        if _SETTING in each.metadata
    }


def defaults_of(config: type[Any]) -> dict[str, Any]:
    """Return the defaults of the fields of a configuration that are settings, by their keys."""
    defaults = {each.name: each.default for each in fields(config)}
    return {key: defaults[each.field] for key, each in settings_of(config).items()}


def plugins_of(config: type[Any]) -> dict[str, str]:
    """Return the keys of a configuration that choose a plug-in, and the family of each."""
    return {key: each.family for key, each in settings_of(config).items() if each.kind == PLUGIN}
