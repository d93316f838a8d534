"""What the words of ``mptcpsim route`` stand for: nodes, interfaces and addresses of a network."""

from __future__ import annotations

import ipaddress

from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.topology import Topology
from mptcpsim.scenario.errors import ScenarioError, did_you_mean


def node_called(topology: Topology, word: str) -> IpNode:
    """Return the host or router of a name, or that has an address.

    Raises:
        ScenarioError: there is none.
    """
    node = topology.nodes.get(word)
    if isinstance(node, IpNode):
        return node
    if node is not None:
        raise ScenarioError(f"{word!r} is a switch and sends nothing: name a host or a router")
    address = _address(word)
    if address:
        return _owner(topology, address)
    known = [name for name, node in topology.nodes.items() if isinstance(node, IpNode)]
    raise ScenarioError(f"no host or router is called {word!r}; {did_you_mean(word, known)}")


def source_address(node: IpNode, word: str, destination: str) -> str:
    """Return an own address of a node: written as such, or by the interface that has it.

    The name of the node itself stands for the address that routing chooses.

    Raises:
        ScenarioError: the node has no such address.
    """
    address = _address(word)
    if address:
        if address in node.addresses:
            return address
        own = ", ".join(node.addresses)
        raise ScenarioError(f"{address} is no address of {node.name!r}: it has {own}")
    if word == node.name:
        return node.source_for(destination) or _of_family(node, list(node.addresses), destination)
    return _of_interface(node, word.removeprefix(f"{node.name}:"), destination)


def destination_address(topology: Topology, word: str, ipv6: bool = False) -> str:
    """Return an address: written as such, or that of a node or of an interface (``B:em0``).

    An address that nobody has is taken as it is: where packets to it end is worth knowing.

    Args:
        topology: the network.
        word: what was written.
        ipv6: of several addresses the first IPv6 one is meant.

    Raises:
        ScenarioError: there is nothing of that name, or it has no address.
    """
    address = _address(word)
    if address:
        return address
    like = "::" if ipv6 else "0.0.0.0"
    name, colon, interface = word.partition(":")
    if colon:
        return _of_interface(node_called(topology, name), interface, like)
    if word in topology.nodes:
        node = node_called(topology, word)
        return _of_family(node, list(node.addresses), like)
    owners = [node for node in topology.nodes.values() if word in node.interfaces]
    if len(owners) == 1 and isinstance(owners[0], IpNode):
        return _of_interface(owners[0], word, like)
    if owners:
        meant = " or ".join(f"{node.name}:{word}" for node in owners[:4])
        raise ScenarioError(f"several nodes have an interface {word!r}: write {meant}")
    known = [name for name, node in topology.nodes.items() if isinstance(node, IpNode)]
    raise ScenarioError(f"no host, router or interface is called {word!r}; {did_you_mean(word, known)}")


def _address(word: str) -> str:
    """Return an address in canonical text form; empty: the word is none."""
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return ""


def _owner(topology: Topology, address: str) -> IpNode:
    for node in topology.nodes.values():
        if address in node.addresses and isinstance(node, IpNode):
            return node
    raise ScenarioError(f"nobody has the address {address}: name a host or router, or an address of one")


def _of_interface(node: IpNode, word: str, like: str) -> str:
    if word not in node.interfaces:
        known = list(node.interfaces)
        raise ScenarioError(f"{node.name!r} has no interface {word!r}; {did_you_mean(word, known)}")
    return _of_family(node, [entry.address for entry in node.interfaces[word].addresses], like)


def _of_family(node: IpNode, addresses: list[str], like: str) -> str:
    """Return the first address of the IP version of another one, else the first one."""
    if not addresses:
        raise ScenarioError(f"{node.name!r} has no address there: name another interface, or an address")
    return next((address for address in addresses if (":" in address) == (":" in like)), addresses[0])
