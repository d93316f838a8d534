"""Connections from our stack to a server of the kernel: what `wire send` and `wire request` do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator
from typing import Any, Final

from mptcpsim.sim.apps import Process
from mptcpsim.sim.sockets import ConnectionFailed, Socket
from mptcpsim.units import MILLISECOND, SECOND
from mptcpsim.wire.kernel import KernelPeer
from mptcpsim.wire.measure import WireMeter
from mptcpsim.wire.peer import AFTER_END, AFTER_SEND, PeerOrders
from mptcpsim.wire.session import FlowSettings, WireSession
from mptcpsim.wire.transfer import Transfer

#: How long a program gets until it listens, and how often it is tried, ns.
_PATIENCE: Final = 5 * SECOND
_TRY_EVERY: Final = 100 * MILLISECOND

#: Seeds of what the kernel sends are further away from ours than there are connections.
_THEIR_SEED: Final = 1000


class Exchange:
    """Some connections at the same time, and what came of them.

    Attributes:
        transfers: our ends, in the order of the connections.
        reports: what the kernel's ends say, ``connection`` being the number of ours; none where a
            program of the user's is at the other end.
        meter: what happened when.
        errors: of connections that failed.
        wrong: what was delivered wrongly, or an empty string.
    """

    def __init__(
        self,
        session: WireSession,
        flows: list[FlowSettings],
        amount: int,
        duration: int,
        port: int,
        reverse: bool,
        command: list[str] | None,
    ) -> None:
        """Prepare connections.

        Args:
            session: testbed and host.
            flows: the connections.
            amount: bytes of each.
            duration: ns that each sends, in place of ``amount``.
            port: of the server.
            reverse: the kernel sends.
            command: a server to run in the kernel's namespace, in place of our own witness.
        """
        self.session = session
        self.transfers: list[Transfer] = []
        self.reports: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.wrong: str = ""
        self._flows = flows
        self._amount = amount
        self._duration = duration
        self._port = port
        self._reverse = reverse
        self._command = command
        self._env = session.host.env
        self.meter = WireMeter(self._env, self.transfers)

    def run(self, limit: int, show: Callable[[Any], None]) -> None:
        """Carry it out; ``show`` is called with what happened in each second.

        Raises:
            WireTimeout: it takes longer than ``limit`` ns.
        """
        host, env = self.session.host, self._env
        peer: KernelPeer | None = None
        if self._command:
            self.session.bed.kernel.start(self._command, stdin=subprocess.DEVNULL)
        else:
            orders = PeerOrders(
                role="server",
                address="::" if self.session.settings.ipv6 else "",
                port=self._port,
                connections=len(self._flows),
                send=self._amount if self._reverse else 0,
                seconds=self._duration / SECOND if self._reverse else 0.0,
                seed=_THEIR_SEED,
                close=AFTER_SEND if self._reverse else AFTER_END,
            )
            peer = KernelPeer(self.session.bed.kernel, env, host.driver, orders)
        process = env.process(self._all(peer))
        env.process(self.meter.run(show))
        host.run(process, limit)
        if peer is not None:
            host.run(peer.done, 10 * SECOND)
            self._judge(peer.reports)
        self.errors += [
            f"connection {number}: {transfer.error}"
            for number, transfer in enumerate(self.transfers, 1)
            if transfer.error
        ]
        self.errors += [
            f"interface {port.interface.name}: a packet has no bytes: {port.unencodable[1]}"
            for port in host.ports
            if port.unencodable[0]
        ]

    def _all(self, peer: KernelPeer | None) -> Process:
        env = self._env
        if peer is not None:
            yield peer.ready
        processes = []
        for number, flow in enumerate(self._flows):
            socket: Socket = yield env.process(self._connect(flow, peer is None))
            transfer = Transfer(
                env,
                socket,
                send=0 if self._reverse else self._amount,
                duration=0 if self._reverse else self._duration,
                seed=number,
                # Who is asked for data hears no end before it has sent it: Linux takes no joins after one.
                close=AFTER_END if self._reverse else AFTER_SEND,
            )
            self.transfers.append(transfer)
            processes.append(env.process(transfer.run()))
        yield env.all_of(processes)

    def _connect(self, flow: FlowSettings, patient: bool) -> Generator[Any, Any, Socket]:
        """Open a connection; a program that was just started gets some time until it listens."""
        session, env = self.session, self._env
        config = session.config(flow, "subflow")
        end = env.now + _PATIENCE
        while True:
            socket = session.host.sockets.connect(session.near, (session.far, self._port), config)
            if not patient:
                return socket
            try:
                yield socket.established()
                return socket
            except ConnectionFailed:
                if env.now >= end:
                    return socket
                yield env.timeout(_TRY_EVERY)

    def _judge(self, reports: list[dict[str, Any]]) -> None:
        """Find the kernel's end of each connection, by what it has received or sent, and compare."""
        left = list(reports)
        for number, transfer in enumerate(self.transfers):
            ours = (transfer.sent_sha256, transfer.sha256)
            match = next((r for r in left if (r.get("sha256"), r.get("sent_sha256")) == ours), None)
            if match is None:
                if not transfer.error:
                    self.wrong = (
                        self.wrong or f"connection {number + 1}: no end of the kernel has the same hashes"
                    )
                continue
            left.remove(match)
            self.reports.append({**match, "connection": number})
        self.errors += [f"the kernel's end: {r['error']}" for r in reports if r.get("error")]

    def summary(self) -> list[str]:
        """Return the lines at the end."""
        lines = []
        for number, transfer in enumerate(self.transfers):
            count = transfer.received if self._reverse else transfer.sent
            seconds = max(1e-9, transfer.seconds())
            subflows = len(transfer.socket.connection.subflows)
            plain = getattr(transfer.socket.connection, "is_plain", True)
            how = "TCP" if plain else f"MPTCP, {subflows} subflow{'s' if subflows > 1 else ''}"
            checked = any(r["connection"] == number for r in self.reports)
            lines.append(
                f"[{number + 1}] {count / 1e6:.2f} MB in {seconds:.2f} s, "
                f"{count * 8 / seconds / 1e6:.2f} Mbit/s, {how}{', SHA-256 right' if checked else ''}"
            )
        return lines
