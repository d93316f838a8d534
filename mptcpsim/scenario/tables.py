"""From the settings of a configuration (``mptcpsim.settings``) to the table of a scenario that sets them.

The model of a table has a key for each setting, read as the setting's kind demands and checked against its
range or choices. What a table gives is laid over a configuration, which the rest of the package reads.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, StrictBool, create_model

from mptcpsim.core.mptcp.profiles import PROFILES
from mptcpsim.scenario.catalogue import parameters
from mptcpsim.scenario.fields import Model, PluginChoice, PluginField
from mptcpsim.scenario.link_values import LossSpec, QueueLimit, QueueSpec, random_loss_values
from mptcpsim.scenario.quantities import (
    PositiveRate,
    PositiveSize,
    PositiveTime,
    Probability,
    Rate,
    Size,
    Time,
    Whole,
)
from mptcpsim.settings import (
    CHOICE,
    LIST,
    LOSS,
    NUMBER,
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
    settings_of,
)
from mptcpsim.suggest import did_you_mean

#: The types of the quantities with a unit: from zero on, and from one on.
_QUANTITIES: Final[dict[str, tuple[Any, Any]]] = {
    TIME: (Time, PositiveTime),
    SIZE: (Size, PositiveSize),
    RATE: (Rate, PositiveRate),
}


class SettingsTable(Model):
    """A table of settings; a key that is absent keeps its value.

    The keys are added by ``table_of``. Code reads them by name (``given``), or a configuration that
    ``fields`` has changed, which has types.
    """

    #: The configuration whose settings these are, and the settings by their keys.
    CONFIG: ClassVar[type[Any]]
    SETTINGS: ClassVar[Mapping[str, Setting]]

    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...

    def given(self) -> dict[str, Any]:
        """Return the keys that the table gives, and their values, in the order of the settings."""
        return {key: value for key in type(self).model_fields if (value := getattr(self, key)) is not None}

    def fields(self) -> dict[str, Any]:
        """Return the fields of the configuration that the table gives, and their values.

        Raises:
            PluginError: a plug-in or a parameter of it is unknown, or its value is wrong.
        """
        given = self.given()
        values: dict[str, Any] = {}
        for key, setting in self.SETTINGS.items():
            if key in given:
                values |= _in_configuration(setting, given[key])
            elif setting.single in given:
                values[setting.field] = (given[setting.single],)
        return values


T = TypeVar("T", bound=SettingsTable)


def table_of(
    config: type[Any], only: Container[str] | None = None, with_defaults: bool = False
) -> Callable[[type[T]], type[T]]:
    """Return a decorator that gives a model the keys of a configuration's settings.

    Args:
        config: the configuration.
        only: the keys that the table has; None: all.
        with_defaults: a key that is absent has the default of the configuration, else it is None.
    """
    settings, defaults = settings_of(config), defaults_of(config)

    def derive(model: type[T]) -> type[T]:
        keys: dict[str, Any] = {}
        for key, setting in settings.items():
            if only is not None and key not in only:
                continue
            kind, default = key_type(setting), None
            if setting.single:
                keys[setting.single] = _key(_one_of(setting.choices) | None, None, setting)
            if with_defaults:
                default = in_table(setting, defaults[key])
            keys[key] = _key(kind if with_defaults else kind | None, default, setting)
        made = create_model(
            model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **keys
        )
        made.CONFIG, made.SETTINGS = config, settings
        return made

    return derive


def _key(kind: Any, default: Any, setting: Setting) -> Any:
    return kind, Field(default=default, description=setting.help)


def in_table(setting: Setting, value: Any) -> Any:
    """Return what a table holds for the value of a configuration's field."""
    if setting.kind == PLUGIN:
        return PluginChoice(name=value)
    if setting.kind == QUEUE:
        return QueueLimit(slots=value)
    if setting.kind == LOSS:
        return value[0] if value else 0.0
    return value // setting.scale if setting.scale > 1 else value


def _in_configuration(setting: Setting, value: Any) -> dict[str, Any]:
    """Return the fields of a configuration that hold the value of a table's key."""
    name = setting.field
    if setting.kind == PLUGIN:
        given = parameters(setting.family, value.name, value.parameters)
        return {name: value.name, f"{name}_parameters": given}
    if setting.kind == QUEUE:
        return {name: value.slots or value.size, f"{name}_in_bytes": value.slots == 0}
    if setting.kind == LOSS:
        return {name: random_loss_values(value)}
    return {name: value * setting.scale if setting.scale > 1 else value}


def key_type(setting: Setting) -> Any:
    """Return the type, as pydantic takes it, of the values that a scenario may write for a setting."""
    if setting.kind in _QUANTITIES:
        return _quantity(setting)
    if setting.kind == NUMBER:
        return Annotated[Whole, Field(ge=setting.minimum, le=setting.maximum)]
    if setting.kind == CHOICE:
        return _one_of(setting.choices)
    if setting.kind == LIST:
        return Annotated[GenericAlias(tuple, (_one_of(setting.choices), ...)), Field(min_length=1)]
    return _PLAIN[setting.kind]


def _quantity(setting: Setting) -> Any:
    if setting.minimum not in (0, 1) or setting.maximum is not None:
        raise ValueError(f"a {setting.kind} has no other range than from 0 or from 1 on: {setting.help}")
    return _QUANTITIES[setting.kind][setting.minimum]


def _one_of(choices: tuple[str | int, ...]) -> Any:
    if isinstance(choices[0], str):
        return Literal[choices]

    def read(value: Any) -> Any:
        # A Literal would take ``true`` for 1.
        if type(value) is not int or value not in choices:
            raise ValueError(f"it must be {' or '.join(map(str, choices))} (got {value!r})")
        return value

    return Annotated[int, BeforeValidator(read)]


def _profile(value: Any) -> Any:
    if not isinstance(value, str) or value not in PROFILES:
        raise ValueError(f"unknown profile {value!r}; {did_you_mean(str(value), PROFILES)}")
    return value


#: The types of the kinds that have neither a range nor choices.
_PLAIN: Final[dict[str, Any]] = {
    SWITCH: StrictBool,
    PROBABILITY: Probability,
    PLUGIN: PluginField,
    QUEUE: QueueSpec,
    LOSS: LossSpec,
    PROFILE: Annotated[str, BeforeValidator(_profile)],
}
