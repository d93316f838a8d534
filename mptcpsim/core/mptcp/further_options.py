"""Options of MPTCP beyond those of the RFCs: where a new one is put in.

A new option takes three places:

1. here: its layout (a class derived from ``FurtherMptcpOption``), what a connection does with it (a
   class derived from ``MptcpOptionUse``), and its line in ``USES``;
2. its bytes: a writer and a reader in ``codec/mptcp.py``, with their lines in the two tables;
3. its key: a definition in ``core/mptcp_config.py`` with the name that it has in ``USES``.

RFC 8684 section 7.2 leaves the subtype 0xF (``SUBTYPE_EXPERIMENTAL``) to experiments. The options travel
like ADD_ADDR, on ACKs without data (``core.mptcp.signals``), and are not repeated. A peer that does not
know one passes it over.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.core.mptcp.signals import Signals
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.mptcp_options import FurtherMptcpOption


class MptcpOptionUse:
    """What one connection does with one option; this one does nothing."""

    __slots__ = ()

    def __init__(self, config: MptcpConfig) -> None:
        pass

    def ready_option(self) -> FurtherMptcpOption | None:
        """Return the option that is sent on each subflow when its handshake is complete; None for none."""
        return None

    def take(self, option: FurtherMptcpOption, now: int) -> FurtherMptcpOption | None:
        """Take an option of the peer's; return the answer to send on the same subflow. Times in ns."""
        return None


#: What to do with an option, by the key of the configuration that switches it on.
USES: Final[dict[str, type[MptcpOptionUse]]] = {
    # "key": ClassDerivedFromMptcpOptionUse,
}


class FurtherMptcpOptions:
    """The further options of one connection."""

    __slots__ = ("_uses",)

    def __init__(self, uses: list[MptcpOptionUse]) -> None:
        self._uses = uses

    def on_ready(self, signals: Signals, now: int) -> None:
        """A subflow has completed its handshake."""
        for use in self._uses:
            option = use.ready_option()
            if option is not None:
                signals.send(option, now)

    def take(self, option: FurtherMptcpOption, signals: Signals, now: int) -> None:
        """Act on an option that arrived on the subflow with these signals."""
        for use in self._uses:
            answer = use.take(option, now)
            if answer is not None:
                signals.send(answer, now)


def further_options(config: MptcpConfig) -> FurtherMptcpOptions | None:
    """Return the further options that are switched on, None if there is none."""
    uses = [use(config) for key, use in USES.items() if getattr(config, key)]
    return FurtherMptcpOptions(uses) if uses else None
