"""The rows of the interoperation matrix with the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mptcpsim.core.mptcp.keys import derive
from mptcpsim.core.mptcp_options import VERSION_1
from mptcpsim.units import MILLISECOND, SECOND
from mptcpsim.wire.faults import IN, OUT, Change, FaultRates
from mptcpsim.wire.peer import AFTER_END, AFTER_SEND
from mptcpsim.wire.testbed import PACKET, TUN
from tests.wire.changes import DamageOnce, LoseUpdate, SmallMtu, mark, strip
from tests.wire.interop import ANY, KERNEL, SOME, US, Expected, Row, Run, Step

#: ADD_ADDR goes out again where its echo takes longer than an RTO (at most three times), and each is echoed.
REPEATED: Final = (1, 4)

ROLES: Final = (US, KERNEL)

CHECKSUM: Final = "net.mptcp.checksum_enabled"

#: Kinds of TCP options.
_WINDOW_SCALE, _SACK_PERMITTED, _TIMESTAMPS = 3, 4, 8


def other(client: str) -> str:
    """Return who does not connect."""
    return KERNEL if client == US else US


def family(ipv6: bool) -> str:
    """Return the name of an address family."""
    return "IPv6" if ipv6 else "IPv4"


def our_second(ipv6: bool = False) -> str:
    """Return our address of the second path."""
    return "fd00:2::1" if ipv6 else "10.2.0.1"


def their_second(ipv6: bool = False) -> str:
    """Return the kernel's address of the second path."""
    return "fd00:2::2" if ipv6 else "10.2.0.2"


# --- Steps ----------------------------------------------------------------------------------------


def joined(run: Run) -> bool:
    """Both paths have a subflow, and data flows."""
    return run.subflows() == 2 and run.progress() > 0.1


def both_used(run: Run) -> bool:
    """Both paths have carried data: one of them may now be taken away."""
    return all(run.is_used(path) for path in (1, 2))


def flowing(run: Run) -> bool:
    """Data flows."""
    return run.progress() > 0.02


def connected(run: Run) -> bool:
    """Our end has a connection, which is about to be opened or was accepted."""
    return run.transfer is not None


def at_once(run: Run) -> bool:
    """Before the first packet."""
    return True


def change(path: int, direction: str, make: Callable[[], Change | None]) -> Callable[[Run], None]:
    """Return an action that has packets of a path changed from then on."""
    return lambda run: run.faults[path].set_change(direction, make())


def both_ways(path: int, make: Callable[[], Change]) -> Callable[[Run], None]:
    """Return an action that has the packets of both directions changed."""

    def act(run: Run) -> None:
        for direction in (IN, OUT):
            run.faults[path].set_change(direction, make())

    return act


def cut(path: int) -> Callable[[Run], None]:
    """Return an action after which a path carries nothing; the interfaces stay up."""
    return lambda run: run.faults[path].set_cut(True)


def small_mtu(mtu: int) -> Callable[[Run], None]:
    """Return an action after which a router on path 1 knows a small MTU, in both directions."""

    def act(run: Run) -> None:
        faults = run.faults[1]
        loop = run.host.env.loop

        def tell_us(data: bytes) -> None:
            loop.schedule(loop.now, lambda: faults.sink(data))

        faults.set_change(OUT, SmallMtu(mtu, tell_us))
        faults.set_change(IN, SmallMtu(mtu, lambda data: faults.inner.write(data, run.bed.paths[0].theirs)))

    return act


# --- Groups ---------------------------------------------------------------------------------------


def handshakes() -> list[Row]:
    """One subflow, all devices, families and roles."""
    return [
        Row(f"MP_CAPABLE, {client} connects, {kind}, {family(ipv6)}", client, kind=kind, ipv6=ipv6)
        for client in ROLES
        for kind in (TUN, PACKET)
        for ipv6 in (False, True)
    ]


def joins() -> list[Row]:
    """A second subflow, opened by the client."""
    rows = []
    for kind in (TUN, PACKET):
        for ipv6 in (False, True):
            rows.append(
                Row(
                    f"MP_JOIN by us, {kind}, {family(ipv6)}",
                    kind=kind,
                    ipv6=ipv6,
                    paths=2,
                    subflows=2,
                    endpoints=f"{our_second(ipv6)} subflow",
                    kernel={"MPJoinSynRx": 1, "MPJoinAckRx": 1},
                    used=(1, 2),
                )
            )
            rows.append(
                Row(
                    f"MP_JOIN by the kernel, {kind}, {family(ipv6)}",
                    KERNEL,
                    kind=kind,
                    ipv6=ipv6,
                    paths=2,
                    subflows=2,
                    kernel_endpoints=(f"{their_second(ipv6)} dev wire2 subflow",),
                    kernel={"MPJoinSynTx": 1, "MPJoinSynAckRx": 1},
                    ours={"MPJoinAckRx": 1},
                    used=(1, 2),
                )
            )
    rows.append(
        Row(
            "MP_JOIN by us, GSO on",
            paths=2,
            subflows=2,
            gso=True,
            endpoints="10.2.0.1 subflow",
            kernel={"MPJoinSynRx": 1, "MPJoinAckRx": 1},
            used=(1, 2),
        )
    )
    rows.append(
        Row(
            "MP_JOIN beyond the kernel's limits is refused",
            paths=2,
            subflows=2,
            endpoints="10.2.0.1 subflow",
            kernel_limits=(0, 0),
            kernel={"MPJoinSynRx": 1, "MPJoinAckRx": 0, "MPRstTx": ANY, "MPJoinRejected": 1},
            ours={"MPRstRx": 1},
        )
    )
    rows.append(
        Row(
            "MP_JOIN beyond our limits is refused",
            KERNEL,
            paths=2,
            subflows=2,
            limits=(0, 0),
            mptcp={"max_subflows": 1},
            kernel_endpoints=("10.2.0.2 dev wire2 subflow",),
            kernel={"MPJoinSynTx": 1, "MPJoinSynAckRx": 0, "MPRstRx": ANY},
            ours={"MPJoinRejected": 1},
        )
    )
    return rows


def announcements() -> list[Row]:
    """ADD_ADDR with its echo, with and without a port, and REMOVE_ADDR."""
    rows = []
    for ipv6 in (False, True):
        for port in ("", " port 5001"):
            named = f"{', with a port' if port else ''}, {family(ipv6)}"
            ported: dict[str, Expected] = {"PortAdd": REPEATED} if port else {}
            rows.append(
                Row(
                    f"ADD_ADDR by us{named}",
                    KERNEL,
                    ipv6=ipv6,
                    paths=2,
                    subflows=2,
                    endpoints=f"{our_second(ipv6)} signal{port}",
                    kernel={
                        "AddAddr": REPEATED,
                        "EchoAddTx": REPEATED,
                        "MPJoinSynTx": 1,
                        "MPJoinSynAckRx": 1,
                        **ported,
                    },
                    ours={"AddAddrTx": REPEATED, "EchoAdd": REPEATED},
                    used=(1, 2),
                )
            )
            rows.append(
                Row(
                    f"ADD_ADDR by the kernel{named}",
                    ipv6=ipv6,
                    paths=2,
                    subflows=2,
                    kernel_endpoints=(f"{their_second(ipv6)} dev wire2 signal{port}",),
                    # Beside timestamps Linux has no room for an IPv6 address, a port and the HMAC.
                    sysctls={"net.ipv4.tcp_timestamps": int(not (ipv6 and port))},
                    kernel={"AddAddrTx": REPEATED, "EchoAdd": REPEATED, "MPJoinSynRx": 1, "MPJoinAckRx": 1},
                    ours={"AddAddr": REPEATED, "EchoAddTx": REPEATED, **ported},
                    used=(1, 2),
                )
            )
    rows.append(
        Row(
            "ADD_ADDR by us beyond the kernel's limit is echoed and not used",
            KERNEL,
            paths=2,
            subflows=2,
            endpoints="10.2.0.1 signal",
            kernel_limits=(4, 0),
            kernel={"AddAddr": REPEATED, "EchoAddTx": REPEATED, "MPJoinSynTx": 0},
            ours={"AddAddrTx": REPEATED, "EchoAdd": REPEATED},
        )
    )
    rows.append(
        Row(
            "REMOVE_ADDR by us, of the address of a join",
            paths=2,
            subflows=2,
            theirs=2.0,
            endpoints="10.2.0.1 subflow",
            steps=(Step(both_used, lambda run: run.host.ports[1].interface.remove_address("10.2.0.1")),),
            kernel={"MPJoinSynRx": 1, "RmAddr": 1, "RmSubflow": ANY, "MPRstTx": ANY, "MPRstRx": ANY},
            ours={"RmAddrTx": 1},
            used=(1, 2),
        )
    )
    rows.append(
        Row(
            "REMOVE_ADDR by the kernel, of the address of a join",
            KERNEL,
            paths=2,
            subflows=2,
            theirs=2.0,
            kernel_endpoints=("10.2.0.2 dev wire2 subflow id 7",),
            steps=(Step(both_used, lambda run: run.paths.remove_endpoint(7)),),
            kernel={"MPJoinSynTx": 1, "RmAddrTx": 1, "RmSubflow": ANY},
            ours={"RmAddr": 1},
            used=(1, 2),
        )
    )
    rows.append(
        Row(
            "REMOVE_ADDR by the kernel, of an announced address",
            paths=2,
            subflows=2,
            theirs=2.0,
            kernel_endpoints=("10.2.0.2 dev wire2 signal id 7",),
            steps=(Step(both_used, lambda run: run.paths.remove_endpoint(7)),),
            kernel={
                "AddAddrTx": REPEATED,
                "EchoAdd": REPEATED,
                "MPJoinSynRx": 1,
                "RmAddrTx": 1,
                "RmSubflow": ANY,
            },
            ours={"AddAddr": REPEATED, "RmAddr": 1},
            used=(1, 2),
        )
    )
    return rows


def priorities() -> list[Row]:
    """Backup subflows, by MP_JOIN and by MP_PRIO."""
    return [
        Row(
            "backup by us: the second subflow is not used",
            paths=2,
            subflows=2,
            endpoints="10.2.0.1 subflow backup",
            kernel={"MPJoinSynRx": 1, "MPJoinSynBackupRx": 1},
        ),
        Row(
            "backup by the kernel: the second subflow is not used",
            KERNEL,
            paths=2,
            subflows=2,
            kernel_endpoints=("10.2.0.2 dev wire2 subflow backup",),
            kernel={"MPJoinSynTx": 1},
            ours={"MPJoinSynBackupRx": 1},
        ),
        Row(
            "backup by us, and path 1 dies",
            paths=2,
            subflows=2,
            endpoints="10.2.0.1 subflow backup",
            steps=(Step(joined, cut(1)),),
            kernel={"MPJoinSynRx": SOME},
            used=(1, 2),
            lossy=True,
        ),
        Row(
            "MP_PRIO by us: the first subflow becomes a backup",
            paths=2,
            subflows=2,
            theirs=2.0,
            endpoints="10.1.0.1 subflow backup, 10.2.0.1 subflow",
            kernel={"MPJoinSynRx": 1, "MPPrioRx": 1},
            ours={"MPPrioTx": 1},
            used=(2,),
        ),
        Row(
            "MP_PRIO by the kernel: a join becomes a backup",
            KERNEL,
            paths=2,
            subflows=2,
            theirs=2.0,
            kernel_endpoints=("10.2.0.2 dev wire2 subflow id 7",),
            steps=(Step(both_used, lambda run: run.paths.change_endpoint("id 7 backup")),),
            kernel={"MPJoinSynTx": 1, "MPPrioTx": 1},
            ours={"MPPrioRx": 1},
            used=(1, 2),
        ),
    ]


def checksums() -> list[Row]:
    """DSS checksums demanded by either end and by both; many segments to a mapping with GSO."""
    return [
        Row(
            f"DSS checksums, {demands} demand{'s' if demands == 'the kernel' else ''} them, "
            f"{client} connects, GSO {'on' if gso else 'off'}",
            client,
            gso=gso,
            mptcp={"checksum": demands != "the kernel"},
            sysctls={CHECKSUM: int(demands != "we")},
        )
        for demands in ("we", "the kernel", "both")
        for client in ROLES
        for gso in (False, True)
    ]


def closes() -> list[Row]:
    """DATA_FIN in every order, half-closed connections that carry data, fast closes."""
    rows = [
        Row(
            f"DATA_FIN: {client} connects, we close {ours}, the kernel {theirs}",
            client,
            transfer={"close": ours},
            orders={"close": theirs},
        )
        for client in ROLES
        for ours, theirs in ((AFTER_SEND, AFTER_END), (AFTER_END, AFTER_SEND))
    ]
    for client in ROLES:
        rows.append(Row(f"half-close by us, {client} connects", client, send=0.02, theirs=2.0))
        rows.append(Row(f"half-close by the kernel, {client} connects", client, send=2.0, theirs=0.02))
    for variant in ("rst", "ack"):
        rows.append(
            Row(
                f"MP_FASTCLOSE by us, variant {variant}",
                # So much that the kernel's program is still reading when it happens.
                send=20.0,
                mptcp={"fastclose": variant},
                transfer={"abort_at": 100_000},
                # Variant A is repeated until the peer answers with a RST.
                kernel={"MPFastcloseRx": SOME, "MPRstRx": ANY, "MPRstTx": ANY},
                ours={"MPFastcloseTx": SOME},
                kernel_error="reset",
                arrives=False,
                plain=None,
            )
        )
    rows.append(
        Row(
            "MP_FASTCLOSE by us, two subflows",
            paths=2,
            subflows=2,
            send=20.0,
            endpoints="10.2.0.1 subflow",
            transfer={"abort_at": 200_000},
            # How many segments carry it depends on the subflows that are there.
            kernel={"MPFastcloseRx": SOME, "MPRstRx": ANY, "MPRstTx": ANY, "MPJoinSynRx": 1},
            ours={"MPFastcloseTx": ANY},
            kernel_error="reset",
            arrives=False,
            plain=None,
            used=(1, 2),
        )
    )
    rows.append(
        Row(
            "MP_FASTCLOSE by the kernel",
            theirs=20.0,
            orders={"abort_at": 100_000},
            kernel={"MPFastcloseTx": SOME, "MPRstTx": SOME},
            ours={"MPFastcloseRx": SOME},
            error="reset",
            arrives=False,
            plain=None,
        )
    )
    return rows


def failures() -> list[Row]:
    """MP_FAIL: payload is changed on the way, so that a checksum fails."""
    rows = []
    checks = {"mptcp": {"checksum": True}, "sysctls": {CHECKSUM: 1}}
    for direction, whose in ((OUT, "our"), (IN, "the kernel's")):
        rows.append(
            Row(
                f"MP_FAIL: {whose} data is damaged on the only subflow",
                steps=(Step(flowing, change(1, direction, DamageOnce)),),
                kernel={
                    "MPFailTx": ANY,
                    "MPFailRx": ANY,
                    "InfiniteMapTx": ANY,
                    "InfiniteMapRx": ANY,
                    "DataCsumErr": ANY,
                    "DSSCorruptionFallback": ANY,
                    "DssFallback": ANY,
                },
                ours={"MPFailTx": SOME} if direction == IN else {"MPFailRx": SOME},
                arrives=False,
                # Linux 6.18 that falls back while its program has closed sends a FIN in front of what it has
                # not handed to the subflow yet: 41,808 of 500,000 bytes in 5 of 25 runs on a busy machine.
                cuts=direction == OUT,
                plain=None,
                **checks,  # type: ignore[arg-type]
            )
        )
        rows.append(
            Row(
                f"MP_FAIL: {whose} data is damaged on one of two subflows",
                paths=2,
                subflows=2,
                endpoints="10.2.0.1 subflow",
                steps=(Step(joined, change(1, direction, DamageOnce)),),
                kernel={
                    "MPFailTx": ANY,
                    "MPFailRx": ANY,
                    "MPRstTx": ANY,
                    "MPRstRx": ANY,
                    "DataCsumErr": ANY,
                    "DSSCorruptionReset": ANY,
                    "MPJoinSynRx": 1,
                },
                ours={"MPFailTx": 1} if direction == IN else {"MPFailRx": 1},
                used=(1, 2),
                **checks,  # type: ignore[arg-type]
            )
        )
    return rows


def fallbacks() -> list[Row]:
    """The ways back to plain TCP."""
    rows = [
        Row(
            "the kernel speaks plain TCP, we connect",
            kernel_mptcp=False,
            plain=True,
            kernel={},
        ),
        Row("the kernel speaks plain TCP, kernel connects", KERNEL, kernel_mptcp=False, plain=True),
        Row(
            "we speak plain TCP, us connects",
            mptcp=None,
            plain=True,
            kernel={"MPCapableSYNRX": 0},
        ),
        Row(
            "we speak plain TCP, kernel connects",
            KERNEL,
            mptcp=None,
            plain=True,
            kernel={"MPCapableSYNTX": 1, "MPCapableFallbackSYNACK": 1},
        ),
    ]
    for client in ROLES:
        into = OUT if client == US else IN
        back = IN if client == US else OUT
        quiet: dict[str, Expected] = {
            "MPCapableFallbackACK": ANY,
            "MPCapableFallbackSYNACK": ANY,
            "DssFallback": ANY,
            "MPCapableDataFallback": ANY,
            "MPCapableSYNTX": ANY,
            "MPCapableSYNRX": ANY,
            "InfiniteMapRx": ANY,
            "InfiniteMapTx": ANY,
            "MPFailTx": ANY,
            "MPFailRx": ANY,
        }
        for name, direction, syn in (
            ("the SYN", into, True),
            ("the SYN/ACK", back, True),
            ("all behind the SYN, from the client", into, False),
            ("all behind the SYN/ACK, from the server", back, False),
        ):
            rows.append(
                Row(
                    f"fallback: options vanish from {name}, {client} connects",
                    client,
                    steps=(Step(at_once, change(1, direction, lambda syn=syn: strip(syn))),),  # type: ignore[misc]
                    # Once Linux has our ACK of its data it falls back without an infinite mapping, which we
                    # cannot tell from a path that has broken (section 3.7): let it have our data first.
                    orders={"wait": 0.1} if direction == OUT else {},
                    kernel=quiet,
                    ours={"MPCapableSYNTX": ANY, "MPFailTx": ANY, "MPFailRx": ANY},
                    plain=True,
                )
            )
    return rows


def cookies() -> list[Row]:
    """The kernel keeps no state before the third ACK."""
    return [
        Row("syncookies", sysctls={"net.ipv4.tcp_syncookies": 2}, kernel={"TcpExtSyncookiesRecv": 1}),
        Row(
            "syncookies and MP_JOIN",
            paths=2,
            subflows=2,
            endpoints="10.2.0.1 subflow",
            sysctls={"net.ipv4.tcp_syncookies": 2},
            kernel={"TcpExtSyncookiesRecv": ANY, "MPJoinSynRx": 1, "MPJoinAckRx": 1},
            used=(1, 2),
        ),
    ]


def tcp_options() -> list[Row]:
    """Options of TCP that one of the ends does without, and ECN."""
    rows = []
    for name, setting, sysctl in (
        ("SACK", "sack", "net.ipv4.tcp_sack"),
        ("timestamps", "timestamps", "net.ipv4.tcp_timestamps"),
        ("window scaling", "window_scaling", "net.ipv4.tcp_window_scaling"),
    ):
        rows.append(Row(f"no {name} at our end", tcp={setting: False}))
        rows.append(Row(f"no {name} at the kernel's end", KERNEL, sysctls={sysctl: 0}))
    loss = FaultRates(drop=0.01)
    rows.append(
        Row("no SACK at either end, 1 % loss", tcp={"sack": False}, faults={1: (loss, loss)}, lossy=True)
    )
    for client in ROLES:
        rows.append(
            Row(
                f"ECN, every 20th packet is marked, {client} connects",
                client,
                tcp={"ecn": True},
                sysctls={"net.ipv4.tcp_ecn": 1, "net.ipv4.tcp_congestion_control": "reno"},
                steps=(Step(at_once, both_ways(1, lambda: mark(20))),),
                kernel={"TcpExtTCPDeliveredCE": SOME},
            )
        )
    return rows


def wrapping_key(room: int) -> int:
    """Return a key whose initial data sequence number is less than ``room`` bytes below 2**32."""
    value = 1
    while derive(value, VERSION_1).idsn & 0xFFFFFFFF < (1 << 32) - room:
        value += 1
    return value


def numbers() -> list[Row]:
    """Sequence numbers and timestamps that wrap in the middle of a transfer."""
    return [
        Row(
            f"numbers wrap, {client} connects",
            client,
            tcp={"initial_sequence": (1 << 32) - 60_000, "initial_timestamp": (1 << 32) - 100},
            mptcp={"initial_key": wrapping_key(400_000)},
        )
        for client in ROLES
    ]


def faults() -> list[Row]:
    """Packets are lost, late, doubled and damaged; paths die."""
    rows = []
    for per_cent in (1, 3):
        loss = FaultRates(drop=per_cent / 100)
        for client in ROLES:
            rows.append(
                Row(f"{per_cent} % loss, {client} connects", client, faults={1: (loss, loss)}, lossy=True)
            )
        rows.append(
            Row(
                f"{per_cent} % loss on both of two paths",
                paths=2,
                subflows=2,
                endpoints="10.2.0.1 subflow",
                faults={1: (loss, loss), 2: (loss, loss)},
                kernel={"MPJoinAckRx": SOME},
                used=(1, 2),
                lossy=True,
            )
        )
    noisy = FaultRates(duplicate=0.05, reorder=0.05, corrupt=0.01, delay=3 * MILLISECOND)
    rows.append(
        Row(
            "5 % late, 5 % doubled, 1 % damaged",
            faults={1: (noisy, noisy)},
            kernel={"TcpInCsumErrors": ANY},
            lossy=True,
        )
    )
    for path in (1, 2):
        for client in ROLES:
            endpoints = "10.2.0.1 subflow" if client == US else ""
            theirs = ("10.2.0.2 dev wire2 subflow",) if client == KERNEL else ()
            rows.append(
                Row(
                    f"path {path} dies, {client} connects",
                    client,
                    paths=2,
                    subflows=2,
                    endpoints=endpoints,
                    kernel_endpoints=theirs,
                    steps=(Step(joined, cut(path)),),
                    used=(3 - path,),
                    lossy=True,
                )
            )
    return rows


def zero_windows() -> list[Row]:
    """An application stops reading for a second; the window closes, and the update may be lost."""
    rows = []
    for paths in (1, 2):
        for who, direction in (("we", OUT), ("the kernel", IN)):
            ours = who == "we"
            pause = {"pause_at": 20_000, "pause": SECOND if ours else 1.0}
            for lost in range(paths + 1):
                where = "" if not lost else f", the update is lost on {lost} of {paths}"
                rows.append(
                    Row(
                        f"zero window: {who} stop{'' if ours else 's'} reading for 1 s, {paths} subflow"
                        f"{'s' if paths > 1 else ''}{where}",
                        paths=paths,
                        subflows=paths,
                        send=0.02 if ours else 1.0,
                        theirs=1.0 if ours else 0.02,
                        endpoints="10.2.0.1 subflow" if paths > 1 else "",
                        tcp={"receive_buffer": 65536} if ours else {},
                        transfer=pause if ours else {},
                        orders={"receive_buffer": 65536, **pause} if not ours else {},
                        steps=tuple(
                            Step(at_once, change(path, direction, LoseUpdate)) for path in range(1, lost + 1)
                        ),
                        used=(),
                        lossy=True,
                    )
                )
    return rows


def sizes() -> list[Row]:
    """Large and small MTUs, and one that only a router knows."""
    rows = [Row(f"MTU {mtu}", mtu=mtu) for mtu in (600, 9000)]
    rows += [
        Row(
            f"path MTU 1300, told by ICMP, {family(ipv6)}",
            ipv6=ipv6,
            steps=(Step(at_once, small_mtu(1300)),),
            lossy=True,
        )
        for ipv6 in (False, True)
    ]
    return rows


ROWS: Final[list[Row]] = [
    *handshakes(),
    *joins(),
    *announcements(),
    *priorities(),
    *checksums(),
    *closes(),
    *failures(),
    *fallbacks(),
    *cookies(),
    *tcp_options(),
    *numbers(),
    *faults(),
    *zero_windows(),
    *sizes(),
]
