"""One row of the interoperation matrix: our stack at one end, the kernel at the other.

What arrives is judged by its hash, what happened by the counters of the kernel and by our own ones, which
have the same names. Every row is bounded in time, and leaves nothing behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from simpy.events import Event

from mptcpsim import TcpConfig
from mptcpsim.codec.pcap import CaptureWriter
from mptcpsim.core.mptcp.connection import MptcpConnection
from mptcpsim.core.mptcp.profiles import profile
from mptcpsim.core.mptcp.stages import READY
from mptcpsim.core.mptcp_config import MptcpConfig
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.plugins import Value
from mptcpsim.scenario.catalogue import load_plugins
from mptcpsim.sim.sockets import Socket
from mptcpsim.units import MILLISECOND, SECOND
from mptcpsim.wire.devices import WireDevice
from mptcpsim.wire.driver import WireTimeout
from mptcpsim.wire.faults import IN, OUT, FaultRates, Faults
from mptcpsim.wire.host import WireHost
from mptcpsim.wire.kernel import KernelPaths, KernelPeer, kernel_counters
from mptcpsim.wire.peer import PeerOrders, random_bytes
from mptcpsim.wire.tap import CaptureTap
from mptcpsim.wire.testbed import TUN, Testbed
from mptcpsim.wire.transfer import Transfer

load_plugins()

PORT: Final = 5000
US: Final = "us"
KERNEL: Final = "kernel"

#: Seeds of what each end sends.
_OURS: Final = 11
_THEIRS: Final = 22

#: Bytes that each end sends before it waits for further subflows.
FIRST: Final = 5_000

#: The longest that a row may take, ns.
LIMIT: Final = 60 * SECOND

#: What is at least so often, or at most; a plain number is exact.
Expected = int | tuple[int, int]
MANY: Final = 1 << 60
SOME: Final = (1, MANY)
ANY: Final = (0, MANY)

#: Counters of the kernel that must be 0 where a row does not say otherwise: something went wrong.
QUIET: Final = (
    "MPTcpExtMPCapableFallbackACK",
    "MPTcpExtMPCapableFallbackSYNACK",
    "MPTcpExtMPFallbackTokenInit",
    "MPTcpExtMPJoinNoTokenFound",
    "MPTcpExtMPJoinSynAckHMacFailure",
    "MPTcpExtMPJoinAckHMacFailure",
    "MPTcpExtMPJoinRejected",
    "MPTcpExtDSSNotMatching",
    "MPTcpExtDSSCorruptionFallback",
    "MPTcpExtDSSCorruptionReset",
    "MPTcpExtDataCsumErr",
    "MPTcpExtInfiniteMapTx",
    "MPTcpExtInfiniteMapRx",
    "MPTcpExtMPFailTx",
    "MPTcpExtMPFailRx",
    "MPTcpExtMPFastcloseTx",
    "MPTcpExtMPFastcloseRx",
    "MPTcpExtMPRstTx",
    "MPTcpExtMPRstRx",
    "MPTcpExtDssFallback",
    "MPTcpExtMPCapableDataFallback",
    "MPTcpExtAddAddr",
    "MPTcpExtRmAddr",
    "MPTcpExtMPPrioRx",
    "MPTcpExtMPPrioTx",
    "MPTcpExtMPJoinSynRx",
    "MPTcpExtMPJoinSynTx",
)

#: Pairs of counters of which the sender's at one end is the receiver's at the other, if nothing is lost.
MIRRORED: Final = (
    ("MPTcpExtMPCapableSYNTX", "MPTcpExtMPCapableSYNRX"),
    ("MPTcpExtMPJoinSynTx", "MPTcpExtMPJoinSynRx"),
    ("MPTcpExtAddAddrTx", "MPTcpExtAddAddr"),
    ("MPTcpExtEchoAddTx", "MPTcpExtEchoAdd"),
    ("MPTcpExtRmAddrTx", "MPTcpExtRmAddr"),
    ("MPTcpExtMPPrioTx", "MPTcpExtMPPrioRx"),
    ("MPTcpExtMPFailTx", "MPTcpExtMPFailRx"),
    ("MPTcpExtMPFastcloseTx", "MPTcpExtMPFastcloseRx"),
)


@dataclass(frozen=True)
class Step:
    """Something that is done in the middle of a row.

    Attributes:
        when: it becomes true.
        action: what is done then.
        delay: ns from then on.
    """

    when: Callable[[Run], bool]
    action: Callable[[Run], None]
    delay: int = 0


@dataclass(frozen=True)
class Row:
    """What one row sets up, and what it expects.

    Attributes:
        name: of the row.
        client: ``us`` or ``kernel``.
        send, theirs: bytes that each end sends, in parts of the size of the matrix.
        tcp, mptcp: settings of ours that differ from the profile's; ``mptcp`` None is plain TCP.
        limits, kernel_limits: subflows beside the first one, and announcements that are used.
        endpoints, kernel_endpoints: of the path managers.
        faults: by the number of the path, outgoing and incoming.
        orders: of the kernel's program, beside what the row says already.
        transfer: of our application, likewise.
        subflows: each end sends a little first, and goes on when there are so many subflows, or after
            a second.
        steps: what is done in the middle.
        kernel, ours: counters; a name without prefix is one of ``MPTcpExt``.
        used: paths over which each end gets payload.
        error, kernel_error: a part of the message with which an end's application fails.
        arrives: all bytes of both directions.
        cuts: the kernel may end its stream before all that its program has written; what it sent arrives.
        plain: the connection speaks plain TCP at the end; None: it is not looked at.
        lossy: packets are lost, and counters of the two ends may differ.
    """

    name: str
    client: str = US
    kind: str = TUN
    ipv6: bool = False
    paths: int = 1
    gso: bool = False
    mtu: int = 1500
    send: float = 1.0
    theirs: float = 1.0
    profile: str = "linux-6.18"
    tcp: Mapping[str, Any] = field(default_factory=dict)
    mptcp: Mapping[str, Any] | None = field(default_factory=dict)
    limits: tuple[int, int] = (4, 4)
    endpoints: str = ""
    kernel_mptcp: bool = True
    kernel_limits: tuple[int, int] = (4, 4)
    kernel_endpoints: tuple[str, ...] = ()
    sysctls: Mapping[str, object] = field(default_factory=dict)
    faults: Mapping[int, tuple[FaultRates, FaultRates]] = field(default_factory=dict)
    orders: Mapping[str, Any] = field(default_factory=dict)
    transfer: Mapping[str, Any] = field(default_factory=dict)
    subflows: int = 1
    steps: tuple[Step, ...] = ()
    kernel: Mapping[str, Expected] = field(default_factory=dict)
    ours: Mapping[str, Expected] = field(default_factory=dict)
    used: tuple[int, ...] = (1,)
    error: str = ""
    kernel_error: str = ""
    arrives: bool = True
    cuts: bool = False
    plain: bool | None = False
    lossy: bool = False


@dataclass
class Outcome:
    """What came of a row.

    Attributes:
        problems: in a sentence each; none: the row is right.
        seconds: from the handshake to the end of both streams.
        bytes: that arrived, of both directions.
        kernel, ours: counters.
    """

    problems: list[str]
    seconds: float = 0.0
    bytes: int = 0
    kernel: dict[str, int] = field(default_factory=dict)
    ours: dict[str, int] = field(default_factory=dict)


class Run:
    """A row under way, as its steps see it."""

    def __init__(self, row: Row, size: int, bed: Testbed, host: WireHost, capture: CaptureWriter | None):
        self.row = row
        self.size = size
        self.bed = bed
        self.host = host
        self.paths = KernelPaths(bed.kernel)
        self.faults: dict[int, Faults] = {}
        self.transfer: Transfer | None = None
        self.peer: KernelPeer | None = None
        self.delivered: dict[str, int] = {}
        for path in bed.paths:
            device: WireDevice = path.device
            if capture is not None:
                device = CaptureTap(device, capture)
            out, into = row.faults.get(path.number, (FaultRates(), FaultRates()))
            self.faults[path.number] = Faults(device, host.env.loop, out, into, seed=path.number)
            bed.attach_path(host, path, self.faults[path.number])

    # --- What steps ask -----------------------------------------------------------------------

    @property
    def connection(self) -> Connection | None:
        """Our end."""
        return None if self.transfer is None else self.transfer.socket.connection

    def subflows(self) -> int:
        """Return how many subflows our end takes for established."""
        connection = self.connection
        if not isinstance(connection, MptcpConnection):
            return 0
        return sum(subflow.stage == READY for subflow in connection.open)

    def progress(self) -> float:
        """Return the part of all bytes that has come to us, or was acknowledged to us."""
        connection = self.connection
        if connection is None or not connection.established:
            return 0.0
        wanted = (self.row.send + self.row.theirs) * self.size
        return (connection.acked + connection.delivered) / max(1, wanted)

    def payload_by(self, path: int) -> tuple[int, int]:
        """Return the bytes of payload that our subflows of a path have sent and received."""
        sent = received = 0
        connection = self.connection
        if connection is not None:
            for tcp in connection.subflows:
                if max(_path_of(tcp.flow.src), _path_of(tcp.flow.dst)) == path:
                    sent += max(0, tcp.sender.una - 1)
                    received += max(0, tcp.receiver.nxt - 1)
        return sent, received

    def is_used(self, path: int) -> bool:
        """Return whether a path has carried payload that counts: a fiftieth of all."""
        return sum(self.payload_by(path)) > 0.02 * (self.row.send + self.row.theirs) * self.size

    # --- The two ends -------------------------------------------------------------------------

    def go(self) -> Outcome:
        """Carry the row out and judge it."""
        row, bed, host = self.row, self.bed, self.host
        env = host.env
        near, far = bed.paths[0].our_address(row.ipv6), bed.paths[0].their_address(row.ipv6)
        their_bytes = int(row.theirs * self.size)
        our_bytes = int(row.send * self.size)
        orders = PeerOrders(
            role="server" if row.client == US else "client",
            address=("::" if row.ipv6 else "") if row.client == US else near,
            port=PORT,
            source="" if row.client == US else far,
            mptcp=row.kernel_mptcp,
            send=their_bytes,
            seed=_THEIRS,
            first=FIRST if row.subflows > 1 else 0,
        )._replace(**row.orders)
        listening = None if row.client == US else host.sockets.listen(PORT)
        peer = self.peer = KernelPeer(bed.kernel, env, host.driver, orders)
        word = Event(env)
        problems: list[str] = []

        def give_word() -> Any:
            patience = env.now + SECOND
            while self.subflows() < row.subflows and (self.connection is None or env.now < patience):
                yield env.timeout(2 * MILLISECOND)
            word.succeed()
            peer.say()

        def end() -> Any:
            if listening is None:
                yield peer.ready
                socket: Socket = host.sockets.connect(near, (far, PORT))
            else:
                socket = yield listening.accept()
            told: dict[str, Any] = {"send": our_bytes, "seed": _OURS, **row.transfer}
            if row.subflows > 1:
                told |= {"first": FIRST, "word": word}
            self.transfer = Transfer(env, socket, **told)
            yield env.process(self.transfer.run())

        if row.subflows > 1:
            env.process(give_word())
        for step in row.steps:
            env.process(self._take(step))
        own = env.process(end())
        try:
            host.run(own & peer.done, LIMIT)
        except WireTimeout:
            problems.append(f"not done after {LIMIT // SECOND} s")
        self._judge_applications(problems, their_bytes, our_bytes)
        outcome = Outcome(
            problems,
            max([0.0 if self.transfer is None else self.transfer.seconds(), *self._their_seconds()]),
            0 if self.transfer is None else self.transfer.sent + self.transfer.received,
            kernel_counters(bed.kernel),
            {name: value for name, value in host.stack.counters.as_dict().items() if value},
        )
        self._judge_counters(outcome)
        return outcome

    def _take(self, step: Step) -> Any:
        env = self.host.env
        while not step.when(self):
            yield env.timeout(2 * MILLISECOND)
        if step.delay:
            yield env.timeout(step.delay)
        step.action(self)

    def _their_seconds(self) -> list[float]:
        """Return how long the connections of the kernel's program took, s."""
        return [] if self.peer is None else [report.get("seconds", 0.0) for report in self.peer.reports]

    # --- Judgement ----------------------------------------------------------------------------

    def _stream_of_the_kernel(self) -> int:
        """Return how many bytes the kernel has sent before the FIN of the only subflow."""
        assert self.connection is not None
        (tcp,) = self.connection.subflows
        return tcp.receiver.fin_at - 1

    def _judge_applications(self, problems: list[str], their_bytes: int, our_bytes: int) -> None:
        row, transfer = self.row, self.transfer
        if transfer is None:
            problems.append("our end has no connection")
            return
        assert self.peer is not None
        reports = self.peer.reports
        if not reports:
            problems.append("the kernel's end has said nothing")
            return
        report = reports[0]
        for whose, error, expected in (
            ("our", transfer.error, row.error),
            ("the kernel's", report["error"], row.kernel_error),
        ):
            if bool(error) != bool(expected) or expected not in error:
                problems.append(f"{whose} end says {error!r}, expected was {expected!r}")
        if row.arrives:
            if self.host.stack.fault is not None:
                problems.append(str(self.host.stack.fault))
            for whose, found, count, seed in (
                ("our", (transfer.received, transfer.sha256), their_bytes, _THEIRS),
                ("the kernel's", (report.get("received"), report.get("sha256")), our_bytes, _OURS),
            ):
                right = (count, hashlib.sha256(random_bytes(seed, count)).hexdigest())
                if found != right:
                    problems.append(f"{whose} end got {found}, right is {right}")
        elif not row.error and not row.kernel_error:
            found = transfer.received, report.get("received")
            sent = self._stream_of_the_kernel() if row.cuts else their_bytes
            if found != (sent, our_bytes) or sent > their_bytes:
                problems.append(f"{found} bytes arrived, not {(sent, our_bytes)}")
        for path, faults in self.faults.items():
            for direction in (IN, OUT):
                if getattr(faults.change_of(direction), "hits", 1) == 0:
                    problems.append(f"nothing was done to what goes {direction} by path {path}")
        for port in self.host.ports:
            if port.unencodable[0]:
                problems.append(f"packets without bytes: {port.unencodable}")
        connection = transfer.socket.connection
        if not row.lossy and not connection.closed:
            problems.append("our end has not closed")
        plain = bool(getattr(connection, "is_plain", True))
        if row.plain is not None and plain != row.plain:
            problems.append(f"our end {'speaks plain TCP' if plain else 'speaks MPTCP'}")
        if row.plain is not None and report.get("plain") not in (None, row.plain):
            problems.append(f"the kernel's end {'speaks plain TCP' if report['plain'] else 'speaks MPTCP'}")
        # How much a connection has carried that is broken off is open.
        for path in range(1, row.paths + 1) if row.arrives else ():
            sent, received = self.payload_by(path)
            used = self.is_used(path)
            # Of a path on which packets are lost it is open how far it comes.
            if used != (path in row.used) and not (row.lossy and used):
                problems.append(f"path {path} carried {sent} and {received} bytes of payload")

    def _judge_counters(self, outcome: Outcome) -> None:
        row, problems = self.row, outcome.problems
        wanted: dict[str, Expected] = dict.fromkeys(QUIET, 0) if not row.lossy else {}
        named = {_full(name): value for name, value in row.kernel.items()}
        for name, expected in {**wanted, **named}.items():
            _compare("the kernel's", name, outcome.kernel.get(name, 0), expected, problems)
        for name, expected in row.ours.items():
            _compare("our", _full(name), outcome.ours.get(_full(name), 0), expected, problems)
        if row.lossy or row.mptcp is None or not row.kernel_mptcp:
            return
        for sent, received in MIRRORED:
            for whose, one, other in (
                ("our", outcome.ours, outcome.kernel),
                ("the kernel's", outcome.kernel, outcome.ours),
            ):
                if _loose(row, sent) or _loose(row, received):
                    continue
                there, here = other.get(received, 0), one.get(sent, 0)
                if here != there:
                    problems.append(f"{whose} {sent} is {here}, the other's {received} {there}")


def _path_of(address: str) -> int:
    """Return the number of the path that an address belongs to."""
    return int(address.split(":")[1], 16) if ":" in address else int(address.split(".")[1])


def _full(name: str) -> str:
    return name if name.startswith(("Tcp", "MPTcp")) else f"MPTcpExt{name}"


def _loose(row: Row, name: str) -> bool:
    """Return whether a row leaves open what a counter is."""
    short = name.removeprefix("MPTcpExt")
    return any(isinstance(side.get(short), tuple) for side in (row.kernel, row.ours))


def _compare(whose: str, name: str, found: int, expected: Expected, problems: list[str]) -> None:
    low, high = (expected, expected) if isinstance(expected, int) else expected
    if not low <= found <= high:
        wanted = str(low) if low == high else f"from {low} on" if high == MANY else f"{low} to {high}"
        problems.append(f"{whose} {name} is {found}, not {wanted}")


def our_config(row: Row) -> TcpConfig:
    """Return the behaviour of our end."""
    mptcp = MptcpConfig()
    if row.mptcp is not None:
        subflows, accepted = row.limits
        manager: dict[str, Value] = {
            "endpoints": row.endpoints,
            "subflows": subflows,
            "add_addr_accepted": accepted,
        }
        mptcp = replace(profile(row.profile), path_manager_parameters=manager, **row.mptcp)
    # TIME-WAIT and FIN-WAIT-2 are not worth a wait here.
    values = {"time_wait": 10 * MILLISECOND, "fin_timeout": SECOND, **row.tcp}
    return TcpConfig(payload="bytes", mptcp=mptcp, **values)


def run_row(row: Row, size: int, pcap: Path | None = None) -> Outcome:
    """Carry out a row.

    Args:
        row: the row.
        size: what the row's parts are parts of, bytes.
        pcap: where to write a capture of what crosses the wire.
    """
    capture = None if pcap is None else CaptureWriter(pcap)
    try:
        with Testbed(row.paths, row.kind, row.mtu, row.gso) as bed, WireHost(our_config(row)) as host:
            for name, value in row.sysctls.items():
                bed.kernel.set_sysctl(name, value)
            paths = KernelPaths(bed.kernel)
            paths.set_limits(*row.kernel_limits)
            for words in row.kernel_endpoints:
                paths.add_endpoint(words)
            outcome = Run(row, size, bed, host, capture).go()
    finally:
        if capture is not None:
            capture.close()
    return outcome
