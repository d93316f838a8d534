"""The timeline of a scenario: what changes at which instant.

Every event has ``at`` and ``action``, and the keys of its kind:

* ``down``, ``up``: a link, or one direction of it.
* ``set``: rate, delay, loss or queue of a link.
* ``interface-down``, ``interface-up``: an interface, as by ``ip link set``.
* ``add-address``, ``remove-address``: an address of an interface, as by ``ip address``.
* ``add-route``, ``delete-route``: a route of a node, in the words of ``ip route``.
* ``pause``, ``resume``: the application that reads a flow's data, or the one that writes them.

``scenario.timeline`` says what each of them does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Tag, ValidationInfo, model_validator

from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.ip_words import RouteWords, read_route, table_name
from mptcpsim.scenario.link_values import LossSpec, QueueSpec
from mptcpsim.scenario.nodes import InterfaceAddressText
from mptcpsim.scenario.quantities import Rate, Time


def _end(value: Any) -> str:
    if not isinstance(value, str) or not all(value.partition(":")):
        raise ValueError(f'{value!r} is no interface: write "NODE:INTERFACE", such as "mobile:wlan0"')
    return value


def _own_address(value: Any) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError("not a string")
        return str(ipaddress.ip_interface(value).ip)
    except ValueError:
        raise ValueError(f'{value!r} is not an address: write one such as "192.168.0.10"') from None


def _route(value: Any, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is no route: write a string such as "default via 10.0.0.254 dev eth0"')
    read_route(value, deletes=info.data.get("action") == "delete-route")
    return value


LinkEnd = Annotated[str, BeforeValidator(_end)]
TableName = Annotated[str, BeforeValidator(lambda value: table_name(str(value)))]


class _Event(Model):
    at: Time


class LinkEvent(_Event):
    """A link goes down or comes up."""

    action: Literal["down", "up"]
    link: str
    direction: Literal["both", "forward", "backward"] = "both"


class SetEvent(_Event):
    """A link becomes another one; ``queue`` is in slots or in bytes as it was before."""

    action: Literal["set"]
    link: str
    direction: Literal["both", "forward", "backward"] = "both"
    rate: Rate | None = None
    delay: Time | None = None
    loss: LossSpec | None = None
    queue: QueueSpec | None = None
    #: At which rate the packet in service is transmitted to its end; without it at the old one.
    in_service: Literal["old-rate", "new-rate"] | None = None

    @model_validator(mode="after")
    def _something_to_set(self) -> SetEvent:
        if all(getattr(self, name) is None for name in ("rate", "delay", "loss", "queue")):
            raise ValueError('action "set" sets nothing: add rate, delay, loss or queue')
        if self.in_service is not None and self.rate is None:
            raise ValueError("in_service belongs to rate, which the event does not set: add it, or drop this")
        return self


class InterfaceEvent(_Event):
    """An interface of a host or router goes down or comes up.

    ``addresses`` says what becomes of them: Linux keeps those of IPv4, network managers remove them.
    """

    action: Literal["interface-down", "interface-up"]
    interface: LinkEnd
    addresses: Literal["keep", "remove"] | None = None

    @model_validator(mode="after")
    def _only_down(self) -> InterfaceEvent:
        if self.addresses is not None and self.action == "interface-up":
            raise ValueError('addresses belongs to "interface-down": what that has removed comes back')
        return self


class AddAddressEvent(_Event):
    """An interface gets an address."""

    action: Literal["add-address"]
    interface: LinkEnd
    address: InterfaceAddressText


class RemoveAddressEvent(_Event):
    """An interface loses an address."""

    action: Literal["remove-address"]
    interface: LinkEnd
    address: Annotated[str, BeforeValidator(_own_address)]


class RouteEvent(_Event):
    """A node gets a route, or loses one: ``"default via 10.0.2.254 dev eth1"``."""

    action: Literal["add-route", "delete-route"]
    node: str
    route: Annotated[str, BeforeValidator(_route)]
    table: TableName = "main"

    @property
    def words(self) -> RouteWords:
        """The route, read."""
        return read_route(self.route, deletes=self.action == "delete-route")


class ApplicationEvent(_Event):
    """The application at one end of a flow stops, or goes on.

    ``reader`` is the one that gets the flow's data, ``writer`` the one that sends them.
    """

    action: Literal["pause", "resume"]
    flow: str
    side: Literal["reader", "writer"]


#: The model of each action.
EVENTS: Final[dict[str, type[_Event]]] = {
    "down": LinkEvent,
    "up": LinkEvent,
    "set": SetEvent,
    "interface-down": InterfaceEvent,
    "interface-up": InterfaceEvent,
    "add-address": AddAddressEvent,
    "remove-address": RemoveAddressEvent,
    "add-route": RouteEvent,
    "delete-route": RouteEvent,
    "pause": ApplicationEvent,
    "resume": ApplicationEvent,
}


def actions_with(key: str) -> list[str]:
    """Return the actions whose events have a key."""
    return [action for action, model in EVENTS.items() if key in model.model_fields]


def _kind(value: Any) -> str:
    """Tell the kinds apart; the tags never show, see ``scenario.validate``."""
    action = value.get("action") if isinstance(value, Mapping) else getattr(value, "action", None)
    model = EVENTS.get(action) if isinstance(action, str) else None
    return f"<{model.__name__}>" if model is not None else str(action)


AnyEvent = Annotated[
    Annotated[LinkEvent, Tag("<LinkEvent>")]
    | Annotated[SetEvent, Tag("<SetEvent>")]
    | Annotated[InterfaceEvent, Tag("<InterfaceEvent>")]
    | Annotated[AddAddressEvent, Tag("<AddAddressEvent>")]
    | Annotated[RemoveAddressEvent, Tag("<RemoveAddressEvent>")]
    | Annotated[RouteEvent, Tag("<RouteEvent>")]
    | Annotated[ApplicationEvent, Tag("<ApplicationEvent>")],
    Discriminator(_kind),
]
