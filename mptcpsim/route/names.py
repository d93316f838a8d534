"""What the words of ``mptcpsim route`` stand for: nodes, interfaces and addresses of a network."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from mptcpsim.freebsd.names import InterfaceNames
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.node import Node
from mptcpsim.net.topology import Topology
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.suggest import did_you_mean


class Names:
    """The names in a network.

    An interface may be called as the scenario calls it, or as the FreeBSD system of its node does.

    Raises, all methods:
        ScenarioError: there is nothing of that name, or it has no address.
    """

    def __init__(self, topology: Topology, systems: Mapping[str, InterfaceNames]) -> None:
        self._nodes = topology.nodes
        self._systems = systems

    def node(self, word: str) -> IpNode:
        """Return the host or router of a name, or that has an address."""
        node = self._nodes.get(word)
        if isinstance(node, IpNode):
            return node
        if node is not None:
            raise ScenarioError(f"{word!r} is a switch and sends nothing: name a host or a router")
        address = _address(word)
        if not address:
            raise ScenarioError(f"no host or router is called {word!r}; {did_you_mean(word, self._known())}")
        for node in self._nodes.values():
            if address in node.addresses and isinstance(node, IpNode):
                return node
        raise ScenarioError(f"nobody has the address {address}: name a host or router, or an address of one")

    def source(self, node: IpNode, word: str, destination: str) -> str:
        """Return an own address of a node: written as such, or by the interface that has it.

        The name of the node itself stands for the address that routing chooses.
        """
        address = _address(word)
        if address:
            if address in node.addresses:
                return address
            own = ", ".join(node.addresses) or "none"
            raise ScenarioError(f"{address} is no address of {node.name!r}: it has {own}")
        if word == node.name:
            return node.source_for(destination) or _first(node, list(node.addresses), destination)
        return self._of_interface(node, word.removeprefix(f"{node.name}:"), destination)

    def destination(self, word: str, like: str) -> str:
        """Return an address: written as such, or that of a node or of an interface (``B:em0``).

        An address that nobody has is taken as it is: where packets to it end is worth knowing.

        Args:
            word: what was written.
            like: of several addresses the first one of the IP version of this one is meant.
        """
        address = _address(word)
        if address:
            return address
        name, colon, interface = word.partition(":")
        if colon:
            return self._of_interface(self.node(name), interface, like)
        if word in self._nodes:
            node = self.node(word)
            return _first(node, list(node.addresses), like)
        owners = [node for node in self._nodes.values() if self._interface(node, word)]
        if len(owners) == 1 and isinstance(owners[0], IpNode):
            return self._of_interface(owners[0], word, like)
        if owners:
            meant = " or ".join(f"{node.name}:{word}" for node in owners[:4])
            raise ScenarioError(f"several nodes have an interface {word!r}: write {meant}")
        known = did_you_mean(word, self._known())
        raise ScenarioError(f"no host, router or interface is called {word!r}; {known}")

    def _known(self) -> list[str]:
        return [name for name, node in self._nodes.items() if isinstance(node, IpNode)]

    def _interface(self, node: Node, word: str) -> str:
        """Return the scenario's name of an interface; empty: the node has none that is called so."""
        if word in node.interfaces:
            return word
        names = self._systems.get(node.name)
        found = [] if names is None else [name for name in node.interfaces if names.system_of(name) == word]
        return found[0] if found else ""

    def _of_interface(self, node: IpNode, word: str, like: str) -> str:
        name = self._interface(node, word)
        if not name:
            hint = did_you_mean(word, list(node.interfaces))
            raise ScenarioError(f"{node.name!r} has no interface {word!r}; {hint}")
        return _first(node, [entry.address for entry in node.interfaces[name].addresses], like)


def _address(word: str) -> str:
    """Return an address in canonical text form; empty: the word is none."""
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return ""


def _first(node: IpNode, addresses: list[str], like: str) -> str:
    """Return the first address of the IP version of another one, else the first one."""
    if not addresses:
        raise ScenarioError(f"{node.name!r} has no address there: name another interface, or an address")
    return next((address for address in addresses if (":" in address) == (":" in like)), addresses[0])
