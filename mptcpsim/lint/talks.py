"""Flows as lint looks at them: both ends, the subflows that they will want, and the paths of these."""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.core.config import TcpConfig
from mptcpsim.lint.rehearsal import Rehearsal
from mptcpsim.net.node import Interface
from mptcpsim.route.report import why
from mptcpsim.route.way import MIDDLEBOX, Way
from mptcpsim.scenario.flows import AnyFlow

#: Port of the client of the first probe; each pair of addresses gets the next one, so that no probe
#: follows the state that another one has made.
FIRST_PORT: Final = 50000


class TalkEnd(NamedTuple):
    """One end of a flow.

    Attributes:
        host: its name.
        is_client: it opens the connection.
        address: of the first subflow.
        config: of its connections.
    """

    host: str
    is_client: bool
    address: str
    config: TcpConfig


class TalkLoss(NamedTuple):
    """Where a packet of a handshake is dropped.

    Attributes:
        what: "the SYN" or "the answer".
        way: its way.
    """

    what: str
    way: Way

    @property
    def node(self) -> str:
        """Name of the node where it ends."""
        return self.way.hops[-1].node.name

    @property
    def why(self) -> str:
        """Where and why, in words."""
        return why(self.way)


class SubflowPair(NamedTuple):
    """The addresses of a subflow, and the ways of its first packets.

    Attributes:
        client: address of the client of the flow.
        server: address of its server.
        by_client: the client opens it.
        out: the way of the SYN.
        back: the way of the answer; None if the SYN does not arrive.
    """

    client: str
    server: str
    by_client: bool
    out: Way
    back: Way | None

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways that there are."""
        return (self.out,) if self.back is None else (self.out, self.back)

    @property
    def arrived(self) -> bool:
        """The subflow can come up."""
        return self.out.arrived and self.back is not None and self.back.arrived

    @property
    def loss(self) -> TalkLoss | None:
        """What is lost of the handshake; None if nothing is, or by a middlebox, which is there for that."""
        for what, way in (("the SYN", self.out), ("the answer", self.back)):
            if way is not None and not way.arrived and way.reason != MIDDLEBOX:
                return TalkLoss(what, way)
        return None

    def interface_at(self, client: bool) -> Interface | None:
        """Return the interface by which packets leave the client, or the server, of the flow."""
        way = self.out if client == self.by_client else self.back
        return None if way is None else way.leaves


class Talk(NamedTuple):
    """A flow.

    Attributes:
        number: in the scenario, from 0.
        spec: what the scenario says.
        ends: client and server.
        rehearsal: what both ends want to do.
        pairs: its subflows, the first one first.
    """

    number: int
    spec: AnyFlow
    ends: tuple[TalkEnd, TalkEnd]
    rehearsal: Rehearsal
    pairs: tuple[SubflowPair, ...]

    def data_ways(self, pair: SubflowPair) -> tuple[Way, Way] | None:
        """Return the ways of the data of a subflow and of its acknowledgments, if it can come up."""
        if not pair.arrived or pair.back is None:
            return None
        from_server = getattr(self.spec, "reverse", False)
        return (pair.out, pair.back) if pair.by_client != from_server else (pair.back, pair.out)
