"""The state machine of RFC 9293: opening, and every transition of the table."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import mptcpsim.core.tcp
from mptcpsim.core.config import TcpConfig
from mptcpsim.core.errors import LocalProtocolError
from mptcpsim.core.segment import (
    ACK,
    ICMP_FRAGMENTATION_NEEDED,
    NOT_ECT,
    RST,
    SYN,
    FourTuple,
    Packet,
    Segment,
    reset_for,
)
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.core.tcp.connection import Connection
from mptcpsim.core.tcp.states import ENDED, LISTEN, PASSIVE_OPEN, STATE_NAMES, TRANSITIONS
from mptcpsim.units import MILLISECOND, SECOND
from tests.core.tcp.pair import CLIENT, PORT, SERVER, Hook, Pair
from tests.core.tcp.script import PEER_PORT, Script
from tests.core.tcp.transfer_machine import numbers

MS = MILLISECOND

TCP = Path(mptcpsim.core.tcp.__file__).parent


def moves(pair: Pair) -> set[str]:
    """Return the transitions that either end went through, as the event log words them."""
    return {
        event.detail
        for stack in (pair.client, pair.server)
        for event in stack.events
        if event.what == "state"
    }


def state(connection: Connection) -> str:
    return STATE_NAMES[connection.subflows[0].state]


def flags_sent(pair: Pair, direction: str) -> list[int]:
    return [segment.flags for _, segment in pair.segments(direction)]


# --- Opening ------------------------------------------------------------------------------------


def test_handshake_timing() -> None:
    """One round trip r: established after r and 1.5 r, first byte of the answer after 2 r."""
    pair = Pair(delay=50 * MS)
    client = pair.connect()
    pair.run(100 * MS - 1)
    assert not client.established
    pair.run(100 * MS)
    assert client.subflows[0].established_at == 100 * MS
    client.write(100, pair.now)
    pair.run(150 * MS)
    (server,) = pair.listener.accepted
    assert server.subflows[0].established_at == 150 * MS
    assert server.readable == 100
    server.write(1, pair.now)
    pair.run(200 * MS - 1)
    assert client.readable == 0
    pair.run(200 * MS)
    assert client.readable == 1


def simultaneous_open(
    config: TcpConfig | None = None, hook: Hook | None = None
) -> tuple[Pair, Connection, Connection]:
    pair = Pair(config, config, hook=hook)
    del pair.server.listeners[PORT]
    one = pair.client.connect(CLIENT, (SERVER, 6000), 0, local_port=6001)
    other = pair.server.connect(SERVER, (CLIENT, 6001), 0, local_port=6000)
    pair.run(5 * SECOND)
    return pair, one, other


def test_simultaneous_open() -> None:
    """RFC 9293 figure 8: SYNs cross, each end answers with SYN,ACK; both are established."""
    pair, one, other = simultaneous_open()
    assert state(one) == state(other) == "ESTABLISHED"
    assert flags_sent(pair, "c>s")[:2] == [SYN, SYN | ACK]
    assert flags_sent(pair, "s>c")[:2] == [SYN, SYN | ACK]
    assert one.subflows[0].established_at == other.subflows[0].established_at == 100 * MS
    one.write(5000, pair.now)
    other.write(7000, pair.now)
    pair.run(10 * SECOND)
    assert (one.delivered, other.delivered) == (7000, 5000)


def test_simultaneous_open_takes_the_window_of_a_syn_ack_unscaled() -> None:
    """RFC 7323 section 2.2: the window field of a segment with SYN is never scaled."""
    script = Script(TcpConfig())
    script.connect()
    script.expect("S")
    script.inject("S", window=3000, window_scale=7)
    script.expect("SA", seq=0, ack=1)
    script.inject("SA", seq=0, ack=1, window=3000, window_scale=7)
    assert script.state == "ESTABLISHED"
    assert script.tcp.sender.wnd_end == 1 + 3000
    assert script.tcp.sender.max_window == 3000


def test_simultaneous_open_without_loss_is_no_time_out() -> None:
    """RFC 6298 section 5.7 speaks of a timer that expired; here none did."""
    _, one, _ = simultaneous_open()
    assert one.subflows[0].sender.rtt.rto == SECOND


def test_syn_of_the_peer_again_in_simultaneous_open() -> None:
    script = Script()
    script.connect()
    script.expect("S")
    script.inject("S")
    script.expect("SA")
    script.elapse(300)
    script.inject("S", seq=0)
    script.expect("SA", seq=0, ack=1)
    script.inject("A")
    assert script.state == "ESTABLISHED"


def test_syn_retransmission_and_giving_up() -> None:
    """RFC 6298: 1 s, doubled each time; after ``syn_retries`` the connection fails."""
    script = Script(TcpConfig(syn_retries=6))
    connection = script.connect()
    script.run(200 * SECOND)
    assert [when // SECOND for when, _ in script.fresh()] == [0, 1, 3, 7, 15, 31, 63]
    assert connection.closed
    assert "SYN was not answered" in connection.error
    closed = next(event for event in script.stack.events if event.what == "closed")
    assert closed.time == 127 * SECOND


def test_duplicate_syns_do_not_use_up_the_retries() -> None:
    """Answers to the peer's SYN are not time-outs of ours."""
    script = Script(TcpConfig(syn_retries=3))
    script.listen()
    script.inject("S")
    for _ in range(10):
        script.inject("S", seq=0)
    assert len(script.fresh()) == 11
    script.run(8 * SECOND)
    assert script.state == "SYN-RECEIVED"
    script.run(30 * SECOND)
    assert script.state == "CLOSED"


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("which", ["SYN", "SYN,ACK"])
def test_lost_syns_and_initial_window(lost: int, which: str) -> None:
    """RFC 6928 section 2: one loss leaves IW alone, more make it one segment (RFC 5681 section 3.1).

    RFC 6298 section 5.7: the RTO is 3 s when data begins after a SYN timed out.
    """
    script = Script()
    if which == "SYN":
        script.connect()
    else:
        script.listen()
        script.inject("S")
    script.run((0, 1, 3)[lost] * SECOND)
    assert len(script.fresh()) == lost + 1
    script.elapse(100)
    script.inject("SA" if which == "SYN" else "A")
    assert script.state == "ESTABLISHED"
    sender = script.tcp.sender
    expected = sender.mss if lost > 1 else 10 * sender.mss
    assert sender.congestion.cwnd == expected
    script.window = 65535
    script.write(100_000)
    assert sender.nxt - sender.una == expected
    assert sender.rtt.rto == (3 * SECOND if lost else 300 * MS)


def test_retransmitted_syn_ack_is_answered() -> None:
    """The third ACK was lost: the SYN,ACK comes again and is acknowledged (RFC 5961 section 4.2)."""
    script = Script.connected()
    script.elapse(1000)
    script.inject("SA", seq=0, ack=1)
    script.expect("A", seq=1, ack=1)
    script.quiet()
    assert script.state == "ESTABLISHED"


def test_data_completes_the_handshake() -> None:
    script = Script()
    script.listen()
    script.inject("S")
    script.expect("SA")
    script.inject("A", length=100)
    assert script.state == "ESTABLISHED"
    assert script.stack.connections[0].delivered == 100


def test_wrong_ack_in_syn_received() -> None:
    """RFC 9293 section 3.10.7.4 step 5: a RST with the number that was acknowledged."""
    script = Script()
    script.listen()
    script.inject("S")
    script.expect("SA")
    script.inject("A", ack=777)
    script.expect("R", seq=777)
    assert script.state == "SYN-RECEIVED"


def test_segment_without_ack_is_dropped() -> None:
    script = Script.accepted()
    script.inject("", length=100)
    script.quiet()
    assert script.stack.connections[0].delivered == 0


# --- SYN-SENT (section 3.10.7.3) ------------------------------------------------------------------


def syn_sent() -> Script:
    script = Script()
    script.connect()
    script.expect("S")
    return script


def test_syn_sent_bad_ack_is_reset() -> None:
    script = syn_sent()
    script.inject("SA", ack=99)
    script.expect("R", seq=99)
    assert script.state == "SYN-SENT"
    script.inject("A", seq=5, ack=0)
    script.expect("R", seq=0)
    assert script.state == "SYN-SENT"


def test_syn_sent_reset() -> None:
    script = syn_sent()
    script.inject("R", seq=0)
    script.inject("RA", seq=0, ack=99)
    assert script.state == "SYN-SENT"
    script.inject("RA", seq=0, ack=1)
    assert script.state == "CLOSED"
    assert script.connection is not None
    assert script.connection.error == "connection refused"
    assert script.count("TcpAttemptFails") == 1
    script.quiet()


def test_syn_sent_ack_without_syn_is_ignored() -> None:
    script = syn_sent()
    script.inject("A", seq=5, ack=1)
    script.quiet()
    assert script.state == "SYN-SENT"


def test_syn_sent_close_and_abort_are_silent() -> None:
    for command in ("close", "abort"):
        script = syn_sent()
        getattr(script, command)()
        script.quiet()
        assert script.state == "CLOSED"


# --- CLOSED and LISTEN (sections 3.10.7.1 and 3.10.7.2) ---------------------------------------------


def test_connection_refused() -> None:
    pair = Pair()
    connection = pair.client.connect(CLIENT, (SERVER, 99), 0)
    pair.run(SECOND)
    assert connection.error == "connection refused"
    assert flags_sent(pair, "s>c") == [RST | ACK]
    with pytest.raises(LocalProtocolError):
        connection.write(1, pair.now)


@pytest.mark.parametrize("listening", [False, True])
def test_segments_without_connection(listening: bool) -> None:
    script = Script()
    if listening:
        script.listen()
    script.inject("A", seq=10, ack=20)
    script.expect("R", seq=20)
    script.inject("R", seq=10)
    script.inject("RA", seq=10, ack=20)
    script.quiet()
    script.inject("F", seq=10, length=5)
    if not listening:
        script.expect("RA", seq=0, ack=16)
    script.quiet()
    script.inject("SA", seq=10, ack=20)
    script.expect("R", seq=20)


def test_reset_in_syn_received_frees_the_listener() -> None:
    script = Script()
    listener = script.listen()
    script.inject("S")
    script.expect("SA")
    script.inject("R")
    assert script.state == "CLOSED"
    assert not listener.accepted
    script.seq = 0
    script.inject("S")
    script.expect("SA")
    assert script.state == "SYN-RECEIVED"


# --- The table ------------------------------------------------------------------------------------


def test_every_transition_is_visited() -> None:
    """The table in ``core.tcp.states`` holds what happens, and nothing that cannot."""
    visited: set[str] = set()
    pair = Pair()
    client, server = pair.establish()
    client.close(pair.now)
    pair.run(pair.now + SECOND)
    server.close(pair.now)
    pair.run()
    visited |= moves(pair)
    pair, one, other = simultaneous_open()
    one.close(pair.now)
    other.close(pair.now)
    pair.run()
    visited |= moves(pair)
    pair = Pair()
    client, _ = pair.establish()
    client.release(pair.now)
    pair.run()
    visited |= moves(pair)
    # What begins at a listener and what ends a connection is noted otherwise.
    table = {
        f"{STATE_NAMES[a]} -> {STATE_NAMES[b]} ({cause})"
        for (a, cause), b in TRANSITIONS.items()
        if cause not in (PASSIVE_OPEN, ENDED)
    }
    assert visited == table


def test_wrong_commands() -> None:
    script = Script()
    script.listen()
    with pytest.raises(LocalProtocolError):
        script.listen()
    with pytest.raises(LocalProtocolError):
        script.stack.connect("10.9.9.9", ("10.0.0.2", 80), 0)
    script.stack.connect("10.0.0.1", ("10.0.0.2", PEER_PORT), 0, local_port=7)
    with pytest.raises(LocalProtocolError):
        script.stack.connect("10.0.0.1", ("10.0.0.2", PEER_PORT), 0, local_port=7)
    with pytest.raises(LocalProtocolError):
        script.stack.connections[0].write(-1, 0)
    with pytest.raises(LocalProtocolError):
        script.stack.connections[0].read(-1, 0)


def test_listen_is_no_state_of_a_connection() -> None:
    """A connection exists from its SYN on; what listens is the ``Listener``."""
    script = Script()
    script.listen()
    script.inject("S")
    states: list[Any] = [connection.subflows[0].state for connection in script.stack.connections]
    assert states
    assert LISTEN not in states


@pytest.mark.parametrize("irs", [UNKNOWN, 77])
def test_a_reset_for_a_segment_without_an_ack_has_the_number_0_on_the_wire(irs: int) -> None:
    """RFC 9293 section 3.5.2: whatever initial sequence number of ours the sender of the segment knows."""
    flow = FourTuple("10.0.0.1", 1000, "10.0.0.2", PORT)
    late = Segment(flow, 40, SequenceMap(1234, irs), SYN, 0, 0, 0, 0, UNKNOWN, UNKNOWN, None, NOT_ECT)
    reset = reset_for(late)
    assert reset.sequences.wire_seq(reset.seq) == 0
    assert reset.sequences.wire_ack(reset.ack) == 1235


@pytest.mark.parametrize("iss", [0, 1, 0xFFFF_FFF0])
def test_a_reset_of_who_knows_of_no_connection_is_the_same_by_reference_and_as_bytes(iss: int) -> None:
    """It has the number 0 on the wire, which may lie in the window: then it is challenged (RFC 5961 3.2)."""

    def wire(encode: bool) -> list[tuple[Any, ...]]:
        pair = Pair(TcpConfig(initial_sequence=iss), encode=encode)
        client = pair.client.connect(CLIENT, (SERVER, PORT), 0, local_port=PEER_PORT)
        pair.server.connect(SERVER, (CLIENT, PEER_PORT), 0, local_port=PORT)
        pair.pump()
        client.abort(0)
        pair.pump()
        pair.run(SECOND)
        return [(when, way, numbers(packet)) for when, way, packet in pair.wire]

    found = wire(encode=False)
    assert any(packet[0] == RST | ACK and packet[1] == 0 for _, _, packet in found)
    assert found == wire(encode=True)


def conversation(encode: bool, second_iss: int) -> list[tuple[Any, ...]]:
    """Two connections of one four-tuple; what both ends said in the first arrives again during the second."""
    config = TcpConfig(timestamps=False, time_wait=SECOND, initial_sequence=1_000)
    pair = Pair(config, config, encode=encode)
    late: list[tuple[str, Packet]] = []
    for iss in (1_000, second_iss):
        config = TcpConfig(timestamps=False, time_wait=SECOND, initial_sequence=iss)
        client = pair.client.connect(CLIENT, (SERVER, PORT), pair.now, local_port=PEER_PORT, config=config)
        pair.run(pair.now + 200 * MS)
        server = pair.server.connections[-1]
        client.write(20_000, pair.now)
        server.write(20_000, pair.now)
        pair.pump()
        for way, packet in late:
            pair.inject(pair.server if way == "c>s" else pair.client, packet)
            pair.run(pair.now + 10 * MS)
        for _ in range(4):
            pair.run(pair.now + SECOND)
            for connection in (client, server):
                connection.read(connection.readable, pair.now)
                connection.close(pair.now)
            pair.pump()
        late = [(way, packet) for _, way, packet in pair.wire]
        pair.run(pair.now + 10 * SECOND)
        assert client.closed
    assert (client.delivered, server.delivered) == (20_000, 20_000)
    return [(when, way, numbers(packet)) for when, way, packet in pair.wire]


@pytest.mark.parametrize("second_iss", [1_000_000, 50_000, 0x9000_0000])
def test_late_segments_of_an_earlier_connection_are_the_same_by_reference_and_as_bytes(
    second_iss: int,
) -> None:
    """By reference they have relative numbers, which mean something else in the new one."""
    assert conversation(False, second_iss) == conversation(True, second_iss)


def test_an_icmp_error_about_an_earlier_connection_means_nothing_to_the_new_one() -> None:
    """RFC 5927 section 4.1: the number on the wire is not in flight."""
    script = Script.accepted()
    script.write(1_000)
    (sent,) = [segment for _, segment in script.fresh() if segment.length]
    earlier = sent.clone()
    earlier.sequences = SequenceMap(sent.sequences.iss - 100_000, sent.sequences.irs)
    script.icmp(earlier, ICMP_FRAGMENTATION_NEEDED, 600)
    assert script.tcp.mtu == 1500
    script.icmp(sent, ICMP_FRAGMENTATION_NEEDED, 600)
    assert script.tcp.mtu == 600


def writers_of_state(source: str) -> list[str]:
    """Return the functions, each as often as it does so, that write or delete an attribute ``state``."""
    return [
        function.name
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "state" and not isinstance(node.ctx, ast.Load)
    ]


def test_the_state_changes_in_one_method() -> None:
    places = {path.name: writers_of_state(path.read_text(encoding="utf-8")) for path in TCP.glob("*.py")}
    found = {name: writers for name, writers in places.items() if writers}
    assert found == {"control_block.py": ["__init__", "_enter"]}


@pytest.mark.parametrize(
    "line",
    [
        "self.state = CLOSED",
        "tcp.state: int = CLOSED",
        "self.tcp.state += 1",
        "self.error, self.state = '', CLOSED",
        "del self.state",
    ],
)
def test_another_writer_of_the_state_is_found(line: str) -> None:
    """The method that consults the table, and reads the state before, is found as well."""
    source = (TCP / "control_block.py").read_text(encoding="utf-8")
    header = "    def move(self, cause: str) -> None:\n"
    assert header in source
    changed = source.replace(header, f"    def wrong(self) -> None:\n        {line}\n\n{header}")
    assert writers_of_state(changed) == ["__init__", "_enter", "wrong"]
