"""What path managers have in common whose parameters name addresses of their host."""

from __future__ import annotations

import ipaddress

from mptcpsim.plugins import PathManager, PathView, PluginError, SubflowInfo


class AddressedManager(PathManager):
    """A path manager that uses addresses which the scenario names.

    Attributes:
        named: those addresses, in canonical form and in the order in which they were given;
            all of them have to be the host's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.named: tuple[str, ...] = ()
        self._first: SubflowInfo | None = None

    def first(self, view: PathView) -> SubflowInfo:
        """Return the first subflow: its addresses count even when it has ended."""
        if self._first is None:
            self._first = view.subflows[0]
        return self._first


def own_address(text: str, entry: str, example: str) -> str:
    """Return an address in canonical form.

    Args:
        text: the address as it was written.
        entry: the whole entry, for the message.
        example: an entry that is right.

    Raises:
        PluginError: it is no address.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        how = "leave the prefix length out" if "/" in text else "write one"
        raise PluginError(f"{entry!r}: {text!r} is no address: {how}, as in {example!r}") from None


def same_family(one: str, other: str) -> bool:
    """Return whether two addresses are of one IP version."""
    return (":" in one) == (":" in other)


def forbids_first_address(view: PathView) -> bool:
    """Return whether no subflow may be opened to the peer's address of the first one.

    By flag C of MP_CAPABLE (RFC 8684 section 3.1), or because the peer took it back.
    """
    return all(remote.identifier != 0 for remote in view.remote_addresses)
