"""Hosts, routers and switches of a scenario: interfaces, addresses, routes."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mptcpsim.scenario.fields import Model
from mptcpsim.scenario.mptcp_settings import MptcpField, MptcpSettings
from mptcpsim.scenario.tcp_settings import TcpSettings


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


def usable_name(name: str) -> bool:
    """Return whether a name can be part of a link's end and of a file's name."""
    return bool(name) and name.isprintable() and not any(mark in name for mark in ":/\\")


InterfaceAddress = Annotated[str, BeforeValidator(_interface_address)]
Address = Annotated[str, BeforeValidator(_address)]
Network = Annotated[str, BeforeValidator(_network)]


class InterfaceSpec(Model):
    """An interface: ``"192.168.0.10/24"``, a list of such, or a table."""

    addresses: Annotated[tuple[InterfaceAddress, ...], Field(min_length=1)]


def _interface(value: Any) -> Any:
    if isinstance(value, str):
        return {"addresses": [value]}
    if isinstance(value, list):
        return {"addresses": value}
    return value


class RouteSpec(Model):
    """A static route: packets for ``to`` go to the gateway ``via``."""

    to: Network
    via: Address


Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]

#: Where a node is drawn: x to the right and y upwards, or longitude and latitude.
Position = tuple[Coordinate, Coordinate] | None


class NodeSpec(Model):
    """What hosts and routers have in common."""

    interfaces: Annotated[
        dict[str, Annotated[InterfaceSpec, BeforeValidator(_interface)]], Field(min_length=1)
    ]
    default_route: Address | None = None
    routes: tuple[RouteSpec, ...] = ()
    position: Position = None


class HostSpec(NodeSpec):
    """An end system with a TCP stack."""

    tcp: TcpSettings = TcpSettings()
    mptcp: MptcpField = MptcpSettings()


class RouterSpec(NodeSpec):
    """A node that forwards between its interfaces."""


class SwitchSpec(Model):
    """A learning-free layer-2 switch: what its ports share is one network."""

    position: Position = None
