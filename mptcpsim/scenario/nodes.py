"""Hosts, routers and switches of a scenario: interfaces, addresses, routes."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, StrictBool, model_validator

from mptcpsim.core.tcp.send_state import LEAST_MSS
from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.freebsd_settings import FreebsdSpec
from mptcpsim.scenario.ip_words import read_route, read_rule, table_name
from mptcpsim.scenario.mptcp_settings import MptcpField, MptcpSettings
from mptcpsim.scenario.quantities import Whole
from mptcpsim.scenario.tcp_settings import TcpSettings

#: The least MTU of an interface, bytes: the headers of IPv4 and TCP, and the least MSS.
MIN_INTERFACE_MTU = 40 + LEAST_MSS


def _interface_address(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not an address: write a string such as "192.168.0.10/24"')
    if "/" not in value:
        raise ValueError(f'{value!r} has no prefix length: write it as "{value}/24"')
    try:
        address = ipaddress.ip_interface(value)
    except ValueError as error:
        raise ValueError(
            f'{value!r} is not an address: {error}; write one such as "192.168.0.10/24"'
        ) from None
    network = address.network
    if network.num_addresses > 2 and address.ip == network.network_address:
        raise ValueError(f"{value!r} is the address of the network itself: choose one of its hosts")
    if network.version == 4 and network.num_addresses > 2 and address.ip == network.broadcast_address:
        raise ValueError(f"{value!r} is the broadcast address of its network: choose one of its hosts")
    return str(address)


def _address(value: Any) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError("not a string")
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f'{value!r} is not an address: write one such as "192.168.0.1"') from None


def _network(value: Any) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError("not a string")
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(
            f'{value!r} is not a destination: {error}; write a network such as "10.0.1.0/24"'
        ) from None


#: Bytes of a name, at most: a capture is called NODE.INTERFACE.pcapng, and files have names of 255 bytes.
MOST_NAME_BYTES = 100

#: Which names can be used, for messages.
USABLE_NAMES = f"1 to {MOST_NAME_BYTES} bytes, printable, without : / and \\, not . or .."


def usable_name(name: str) -> bool:
    """Return whether a name can be part of a link's end and of a file's name."""
    if name in ("", ".", "..") or not name.isprintable() or any(mark in name for mark in ":/\\"):
        return False
    return len(name.encode()) <= MOST_NAME_BYTES


InterfaceAddressText = Annotated[str, BeforeValidator(_interface_address)]
AddressText = Annotated[str, BeforeValidator(_address)]
NetworkText = Annotated[str, BeforeValidator(_network)]


class InterfaceSpec(Model):
    """An interface: ``"192.168.0.10/24"``, a list of such, or a table."""

    #: None only where ``freebsd`` commands give it some later.
    addresses: tuple[InterfaceAddressText, ...] = ()
    up: StrictBool = True
    #: Bytes of the largest packet to send, instead of the link's.
    mtu: Annotated[Whole, Field(ge=MIN_INTERFACE_MTU, le=65535)] | None = None


def _interface(value: Any) -> Any:
    if isinstance(value, str):
        return {"addresses": [value]}
    if isinstance(value, list):
        return {"addresses": value}
    return value


def _destination(value: Any) -> str:
    return "default" if value == "default" else _network(value)


def _gateways(value: Any) -> tuple[str, ...]:
    return tuple(map(_address, value)) if isinstance(value, list | tuple) else (_address(value),)


def _one_or_list(value: tuple[str, ...]) -> str | list[str]:
    return value[0] if len(value) == 1 else list(value)


class RouteSpec(Model):
    """A static route: packets for ``to`` go to the gateway ``via``, or are on the link of ``dev``.

    With several gateways each flow takes one of them. ``dev`` is needed where the gateway is in no
    network of the node, or in another one than it looks.
    """

    to: Annotated[str, BeforeValidator(_destination)]
    via: Annotated[tuple[str, ...], BeforeValidator(_gateways), PlainSerializer(_one_or_list)] = ()
    dev: str | None = None

    @model_validator(mode="after")
    def _leads_somewhere(self) -> RouteSpec:
        if not self.via and self.dev is None:
            raise ValueError('the route leads nowhere: add via = "ADDRESS", dev = "INTERFACE", or both')
        if len(self.via) > 1 and self.dev is not None:
            raise ValueError(
                "several gateways by one interface: leave dev out, or write the route into tables.main "
                'as "default nexthop via ... dev ... nexthop via ... dev ..."'
            )
        return self


def _tables(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError('write a table of lists here, such as tables = {100 = ["default via 10.0.0.1"]}')
    found: dict[str, tuple[str, ...]] = {}
    for name, lines in value.items():
        if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
            raise ValueError(f'the table {name} must be a list, such as ["default via 10.0.0.1 dev em0"]')
        for line in lines:
            read_route(line)
        known = table_name(str(name))
        if known in found:
            raise ValueError(f"the table {known} is there twice, by name and by number: join the two")
        found[known] = tuple(lines)
    return found


def _rule(value: Any) -> Any:
    if isinstance(value, str):
        read_rule(value)
    return value


Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]

#: Where a node is drawn: x to the right and y upwards, or longitude and latitude.
Position = tuple[Coordinate, Coordinate] | None


class NodeSpec(Model):
    """What hosts and routers have in common."""

    interfaces: Annotated[
        dict[str, Annotated[InterfaceSpec, BeforeValidator(_interface)]], Field(min_length=1)
    ]
    default_route: AddressText | None = None
    routes: tuple[RouteSpec, ...] = ()
    #: The networks of the interfaces are in the routing table; false: it is what is listed, and no more.
    connected_routes: bool = True
    #: Tables besides ``main``, and more routes for that, in the words of ``ip route``.
    tables: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_tables)] = Field(default_factory=dict)
    #: Which table is asked, in the words of ``ip rule``.
    rules: tuple[Annotated[str, BeforeValidator(_rule)], ...] = ()
    position: Position = None
    freebsd: FreebsdSpec | None = None

    @property
    def changes(self) -> bool:
        """Its addresses and routes may be others later."""
        return self.freebsd is not None and bool(self.freebsd.later)


class HostSpec(NodeSpec):
    """An end system with a TCP stack."""

    tcp: TcpSettings = TcpSettings()
    mptcp: MptcpField = MptcpSettings()


class RouterSpec(NodeSpec):
    """A node that forwards between its interfaces."""


class SwitchSpec(Model):
    """A learning-free layer-2 switch: what its ports share is one network."""

    position: Position = None
