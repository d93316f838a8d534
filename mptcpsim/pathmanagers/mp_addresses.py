"""The full mesh of the FreeBSD implementation: the sysctl ``mp_addresses``."""

from __future__ import annotations

from typing import ClassVar

from mptcpsim.pathmanagers.addresses import AddressedManager, own_address, same_family
from mptcpsim.plugins import (
    Action,
    Announce,
    OpenSubflow,
    Parameter,
    PathView,
    RemoteAddress,
    Value,
    Withdraw,
    register,
)


class MpAddresses(AddressedManager):
    """Announce all own addresses at once; who receives an announcement opens the subflows to it.

    The receiver joins from the address of its first subflow and from each of its own
    ``addresses``, so that two ends with two addresses each get a full mesh of four. An end
    without ``addresses`` announces nothing and joins all the same.
    """

    NAME: ClassVar[str] = "mp_addresses"
    SUMMARY: ClassVar[str] = "full mesh of the FreeBSD patch: the receiver of an ADD_ADDR joins it"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("addresses", "", 'further own addresses, such as "192.168.0.11 192.168.0.12"'),
    )

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        for text in str(values["addresses"]).replace(",", " ").split():
            address = own_address(text, text, "192.168.0.11")
            if address not in self.named:
                self.named = (*self.named, address)

    def on_established(self, view: PathView) -> list[Action]:
        """Announce every address that the peer does not know yet."""
        initial, present = self.first(view).local, view.local_addresses
        return [Announce(address) for address in self.named if address != initial and address in present]

    def on_announced(self, view: PathView, remote: RemoteAddress) -> list[Action]:
        """Join the new address from every own one."""
        existing = {(subflow.local, subflow.remote) for subflow in view.subflows}
        return [
            OpenSubflow(local, remote.address, remote.port)
            for local in self._sources(view)
            if same_family(local, remote.address) and (local, remote.address) not in existing
        ]

    def _sources(self, view: PathView) -> list[str]:
        """Return the own addresses from which this end opens subflows to an announced address."""
        initial = self.first(view).local
        sources = [initial]
        if view.is_client:
            # A pair of two announced addresses would be opened by both ends, and their SYNs may
            # cross: it is left to the client, which hears of the server's address, too.
            sources += [address for address in self.named if address != initial]
        return [address for address in sources if address in view.local_addresses]

    def on_local_address(self, view: PathView, address: str, up: bool) -> list[Action]:
        """Announce an address that came back, withdraw one that went."""
        if address not in self.named:
            return []
        if not up:
            return [Withdraw(address)]
        return [] if address in view.announced else [Announce(address)]


register(MpAddresses)
