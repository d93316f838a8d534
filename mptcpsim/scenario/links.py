"""Links of a scenario: rates, delays, queues, losses."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from mptcpsim.net.pipe_settings import PipeSettings
from mptcpsim.scenario.fields import PluginField
from mptcpsim.scenario.quantities import Whole
from mptcpsim.scenario.tables import SettingsTable, table_of
from mptcpsim.settings import settings_of

#: The least MTU that a link may have, bytes (RFC 791: every host takes 576; RFC 8200: 1280 for IPv6).
MIN_MTU = 576
MAX_MTU = 65535

Mtu = Annotated[Whole, Field(ge=MIN_MTU, le=MAX_MTU)]


#: The keys in which the two directions of a link may differ, and of the others those of transmission.
_OF_EACH_WAY: Final = [key for key, each in settings_of(PipeSettings).items() if each.of_each_way]
_OF_BOTH: Final = ["overhead_bytes"]


@table_of(PipeSettings, only=_OF_EACH_WAY)
class DirectionSpec(SettingsTable):
    """Properties of one direction of a link; what is absent is as in the link itself."""


@table_of(PipeSettings, only=_OF_BOTH)
class _Both(DirectionSpec):
    """Those of both directions, too."""


class LinkDefaults(_Both):
    """Keys of links: those of ``[[links]]`` that all of them may have."""

    mtu: Mtu | None = None

    def given_in_toml(self) -> dict[str, Any]:
        """Return the keys that are stated, as a scenario has them."""
        keys = set(LinkDefaults.model_fields)
        return self.model_dump(mode="json", exclude_none=True, include=keys)


# A table lists its keys in the order of its bases: ends, transmission, mtu, what happens to a link that
# goes down, middleboxes.


class _Ends(SettingsTable):
    name: Annotated[
        str, Field(min_length=1, title="a name", description="The name of the link; by default its two ends.")
    ]
    ends: Annotated[
        tuple[str, ...],
        Field(
            min_length=2,
            max_length=2,
            title='two of "HOST:INTERFACE", "ROUTER:INTERFACE" and "SWITCH"',
            description="What the link connects. The direction from the first end to the second is forward.",
        ),
    ]


@table_of(PipeSettings, only=[*_OF_EACH_WAY, *_OF_BOTH], with_defaults=True)
class _Transmission(_Ends):
    pass


class _Size(_Transmission):
    mtu: Annotated[
        Mtu,
        Field(
            title=f"bytes, from {MIN_MTU} to {MAX_MTU}",
            description="The MTU of the interfaces at both ends, unless they have their own.",
        ),
    ] = 1500


@table_of(
    PipeSettings,
    only=[key for key in settings_of(PipeSettings) if key not in (*_OF_EACH_WAY, *_OF_BOTH)],
    with_defaults=True,
)
class _Down(_Size):
    pass


class LinkSpec(_Down):
    """A duplex link between two ends; ``forward`` runs from the first end to the second.

    An end is ``"HOST:INTERFACE"``, ``"ROUTER:INTERFACE"`` or ``"SWITCH"``.
    """

    middleboxes: Annotated[
        tuple[PluginField, ...],
        Field(
            title="a list of plug-ins: mptcpsim list middlebox",
            description="Middleboxes at the second end, in order from the first one.",
        ),
    ] = ()
    forward: Annotated[
        DirectionSpec,
        Field(
            title="a table of keys",
            description="Keys in which the direction from the first end to the second differs.",
        ),
    ] = DirectionSpec()
    backward: Annotated[
        DirectionSpec,
        Field(
            title="a table of keys",
            description="Keys in which the direction from the second end to the first differs.",
        ),
    ] = DirectionSpec()

    @model_validator(mode="before")
    @classmethod
    def _name_by_ends(cls, data: Any) -> Any:
        return {"name": default_link_name(data), **data} if isinstance(data, dict) else data

    def direction(self, forward: bool) -> DirectionSpec:
        """Return all properties of one direction, none of them None."""
        own = self.forward if forward else self.backward
        values = {
            name: given if (given := getattr(own, name)) is not None else getattr(self, name)
            for name in DirectionSpec.model_fields
        }
        return DirectionSpec.model_construct(**values)


def default_link_name(link: dict[str, Any]) -> str:
    """Return the name of a link that states none: its ends."""
    ends = link.get("ends")
    return "--".join(str(end) for end in ends) if isinstance(ends, list | tuple) else ""
