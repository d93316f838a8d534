"""What each kind of middlebox makes of the packets, and what becomes of the connections."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.codec.pcap import CaptureWriter
from mptcpsim.codec.roundtrip import Disagreement
from mptcpsim.core.errors import IntegrityError
from mptcpsim.core.mptcp_options import AddAddr, MpCapable, MpFail, MpJoinSyn
from mptcpsim.core.payload import content
from mptcpsim.core.segment import ACK, ICMP_NET_UNREACHABLE, SYN, FourTuple, IcmpError, Segment
from mptcpsim.core.sequences import UNKNOWN, SequenceMap
from mptcpsim.middleboxes.nat import Nat
from mptcpsim.middleboxes.payload import _Stream
from mptcpsim.plugins import complete
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.units import MILLISECOND, SECOND
from tests.middleboxes.boxes import TWO_PATHS, Run, run, text

MPTCP: dict[str, Any] = {"a": 'mptcp = "rfc8684"', "b": 'mptcp = "rfc8684"'}
CHECKED: dict[str, Any] = {
    end: lines.replace("{ profile", "{ checksum = true, profile") for end, lines in TWO_PATHS.items()
}
SMALL = 'tcp = { receive_buffer = "32KiB" }'
MPTCP_SMALL: dict[str, Any] = {end: f"{lines}\n{SMALL}" for end, lines in MPTCP.items()}
SMALL_PATHS = {end: f"{lines}\n{SMALL}" for end, lines in TWO_PATHS.items()}
LOSS = '{ name = "drop", match = "data", nth = [9, 11, 30, 31, 35] }'

#: Boxes through which every connection gets its bytes.
HARMLESS = (
    '"strip"',
    '{ name = "strip", options = ["timestamps", "sack", "wscale"], match = "syn" }',
    '{ name = "strip", options = ["add_addr", "mp_join"] }',
    '"sequence"',
    '{ name = "sequence", direction = "forward", sack = false }',
    '"nat"',
    '{ name = "nat", keep_ports = false, timeout = "1min" }',
    '"split"',
    '{ name = "split", options = "first", size = 100 }',
    '"ack"',
    '"sequence", "nat", "sequence", "split"',
)

#: Boxes that take away what a connection needs.
HARMFUL = (
    '{ name = "strip", options = "dss" }',
    '{ name = "coalesce", size = 3000, wait = "5ms" }',
    '{ name = "payload", nth = [12, 16], insert = 7, remove = 3 }',
)


@pytest.mark.parametrize("protocol", ["tcp", "mptcp"])
@pytest.mark.parametrize("box", HARMLESS)
def test_all_bytes_arrive_and_bytes_say_the_same(box: str, protocol: str) -> None:
    """By reference and encoded at every hop: the same packets at the same instants."""
    ends: dict[str, Any] = TWO_PATHS if protocol == "mptcp" else {}
    boxes = f"{box}, {LOSS}" if box != '"ack"' else f"{LOSS}, {box}"
    one, two = (run(boxes, two=box, roundtrip=encoded, **ends) for encoded in (False, True))
    assert one.delivered() == 200_000
    assert one.flow.completed_at > 0
    assert [(s.at, s.end, s.outgoing, s.packet.flow, s.packet.size) for s in one.seen] == [
        (s.at, s.end, s.outgoing, s.packet.flow, s.packet.size) for s in two.seen
    ]


@pytest.mark.tool("tshark")
def test_tshark_reads_what_leaves_every_box(tmp_path: Path) -> None:
    """The captures at both ends of each link, behind every kind of box, in one file."""
    file = tmp_path / "boxes.pcapng"
    packets = 0
    with CaptureWriter(file) as writer:
        for box in (*HARMLESS, *HARMFUL):
            simulation = build(loads(text(f"{box}, {LOSS}", two=box, flow='bytes = "60kB"', **CHECKED)))
            result = Run(simulation)
            try:
                simulation.env.run(2 * SECOND)
            except IntegrityError:
                assert "payload" in box
            ends = {
                end: writer.add_interface(f"{end} {box}") for end in ("a:eth0", "b:eth0", "a:eth1", "b:eth1")
            }
            for seen in result.seen:
                writer.write_packet(ends[seen.end], seen.at, seen.packet)
            packets += len(result.seen)
            assert len(result.segments("b:eth0", False)) > 10
    command = ["tshark", "-r", str(file), "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    command += [
        "-T",
        "fields",
        "-e",
        "_ws.malformed",
        "-e",
        "tcp.checksum.status",
        "-e",
        "ip.checksum.status",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["\t1\t1"] * packets


# --- strip -----------------------------------------------------------------------------------------


def test_strip_from_syns_only() -> None:
    result = run('{ name = "strip", options = ["timestamps", "sack", "wscale"], match = "syn" }')
    syns = [segment for segment in result.segments("b:eth0", False) if segment.flags & SYN]
    assert [(s.syn.window_scale, s.syn.sack_permitted, s.ts_val, s.size) for s in syns if s.syn] == [
        (UNKNOWN, False, UNKNOWN, 44)
    ]
    # Nobody offers what was not offered.
    assert all(s.ts_val == UNKNOWN for s in result.segments("b:eth0", True))


def test_strip_one_option_and_leave_the_others() -> None:
    result = run(two='{ name = "strip", options = "mp_join" }', **TWO_PATHS)
    joins = [s for s in result.segments("a:eth1", True) if s.flags & SYN]
    assert any(isinstance(option, MpJoinSyn) for s in joins for option in s.options or ())
    assert all(not s.options for s in result.segments("b:eth1", False) if s.flags & SYN)
    assert result.delivered() == 200_000
    kept = run('{ name = "strip", options = "add_addr" }', **TWO_PATHS)
    assert any(
        isinstance(option, AddAddr) for s in kept.segments("b:eth0", True) for option in s.options or ()
    )
    got = [option for s in kept.segments("a:eth0", False) for option in s.options or ()]
    assert not any(isinstance(option, AddAddr) for option in got)
    assert any(isinstance(option, MpCapable) for option in got)


def test_strip_sack_blocks() -> None:
    result = run(f'{{ name = "strip", options = "sack", match = "non-syn" }}, {LOSS}')
    assert any(s.sack for s in result.segments("b:eth0", True))
    assert not any(s.sack for s in result.segments("a:eth0", False))


# --- sequence --------------------------------------------------------------------------------------


def wire_seqs(segments: list[Segment]) -> list[int]:
    return [segment.sequences.wire_seq(segment.seq) for segment in segments]


def test_sequence_numbers_differ_by_a_constant() -> None:
    result = run('"sequence"', seed=3)
    for way, back in (("a:eth0", "b:eth0"), ("b:eth0", "a:eth0")):
        sent, got = wire_seqs(result.segments(way, True)), wire_seqs(result.segments(back, False))
        (shift,) = {(after - before) & 0xFFFFFFFF for before, after in zip(sent, got, strict=True)}
        assert shift >= 1 << 16


@pytest.mark.parametrize(("sack", "readable"), [("true", True), ("false", False)])
def test_sequence_and_sack(sack: str, readable: bool) -> None:
    result = run(f'{LOSS}, {{ name = "sequence", sack = {sack} }}')
    blocks = [(s.ack, s.sack[0]) for s in result.segments("a:eth0", False) if s.sack]
    assert blocks
    assert all((0 < left - ack < 1 << 20) == readable for ack, (left, _) in blocks)
    # What they say on the wire is what the receiver has said, if the box forgets them.
    sender = result.simulation.hosts["a"].stack.counters.as_dict()
    assert (sender.get("TcpExtTCPTimeouts", 0) == 0) or not readable
    assert result.delivered() == 200_000


def test_what_has_not_passed_the_box_is_read_from_its_bytes() -> None:
    """Shifted on the way there and not on the way back: no acknowledgment is one."""

    class Stack:
        numbers = SequenceMap(1000, 5_000)

        def sequence_map(self, flow: FourTuple) -> SequenceMap | None:
            return self.numbers

    reader = Disagreement(lambda address: Stack(), Random(1))
    flow = FourTuple("10.0.1.2", 5001, "10.0.1.1", 49152)

    def ack(irs: int) -> Segment:
        return Segment(flow, 40, SequenceMap(5_000, irs), ACK, 1, 101, 1000, 0, UNKNOWN, UNKNOWN, None, 0)

    same = ack(1000)
    assert reader(same) is same
    read = reader(ack(1000 + 70_000))
    assert isinstance(read, Segment)
    assert read.ack == 70_101


# --- nat -------------------------------------------------------------------------------------------


def test_nat_translates_and_a_join_finds_its_connection_by_token() -> None:
    result = run(two='{ name = "nat", address = "10.0.2.77", keep_ports = false }', **TWO_PATHS)
    inner = result.segments("a:eth1", True)
    outer = result.segments("b:eth1", False)
    assert {(s.flow.src, s.flow.sport) for s in outer} == {("10.0.2.77", 49152)}
    assert {s.flow.src for s in inner} == {"10.0.2.1"}
    assert {(s.flow.dst, s.flow.dport) for s in result.segments("a:eth1", False)} == {
        (inner[0].flow.src, inner[0].flow.sport)
    }
    assert len(result.flow.client.subflows) == 2
    assert result.flow.client.subflows[1].established_at > 0
    assert result.delivered() == 200_000


def test_an_inner_address_that_is_announced_cannot_be_reached() -> None:
    """The client announces its second address; the server's SYN to it does not get through."""
    announcing = TWO_PATHS["b"].replace("10.0.2.2", "10.0.2.1")
    opening = (
        'mptcp = { profile = "rfc8684", path_manager = { name = "mp_addresses", addresses = "10.0.2.2" } }'
    )
    ends: dict[str, Any] = {"a": announcing, "b": opening, "flow": 'duration = "5s"', "duration": 6 * SECOND}
    free = run(**ends)
    blocked = run(two='"nat"', **ends)
    assert any(s.flags & SYN for s in free.segments("b:eth1", True))
    syns = [s for s in blocked.segments("b:eth1", True) if s.flags == SYN]
    assert syns
    assert blocked.segments("a:eth1", False) == []
    assert blocked.box(0, "two").backward.dropped == len(syns)


HOME = """
title = "Home"
duration = "3s"
[hosts.c]
interfaces = { eth0 = "192.168.1.2/24" }
default_route = "192.168.1.1"
[hosts.s]
interfaces = { eth0 = "198.51.100.2/24" }
default_route = "198.51.100.1"
[routers.home]
interfaces = { lan = "192.168.1.1/24", wan = "203.0.113.2/24" }
default_route = "203.0.113.1"
[routers.isp]
interfaces = { cust = "203.0.113.1/24", srv = "198.51.100.1/24" }
[[links]]
ends = ["c:eth0", "home:lan"]
[[links]]
name = "wan"
ends = ["home:wan", "isp:cust"]
rate = "10Mbps"
delay = "5ms"
middleboxes = ["nat"]
[[links]]
ends = ["isp:srv", "s:eth0"]
[[flows]]
client = "c"
server = "s"
bytes = "1MB"
mptcp = true
"""


@pytest.mark.parametrize("encoded", [False, True])
def test_nat_with_the_address_of_the_router_behind_it(encoded: bool) -> None:
    """Nobody outside has a route to the inner network."""
    simulation = build(loads(HOME), roundtrip=encoded)
    sources = set()
    simulation.topology.nodes["s"].interfaces["eth0"].tap = lambda packet, now, out: sources.add(
        packet.flow.src
    )
    simulation.env.run(3 * SECOND)
    assert sources == {"203.0.113.2", "198.51.100.2"}
    assert simulation.flows[0].receiver is not None
    assert simulation.flows[0].receiver.delivered == 1_000_000
    free = build(loads(HOME.replace('middleboxes = ["nat"]', "")))
    free.env.run(3 * SECOND)
    assert free.flows[0].receiver is None


def nat(**given: Any) -> Nat:
    box = Nat()
    box.configure(complete(Nat, {"address": "192.0.2.1", **given}))
    return box


def segment(src: str, sport: int, dst: str = "198.51.100.1", dport: int = 80) -> Segment:
    flow = FourTuple(src, sport, dst, dport)
    return Segment(flow, 40, SequenceMap(7, 8), ACK, 1, 1, 10, 0, UNKNOWN, UNKNOWN, None, 0)


def flow_of(packet: Any) -> FourTuple:
    assert packet is not None
    flow: FourTuple = packet.flow
    return flow


def test_nat_ports() -> None:
    box = nat()
    first = flow_of(box.take(segment("10.0.0.1", 4000), True, 0))
    second = flow_of(box.take(segment("10.0.0.2", 4000), True, 0))
    assert (first.src, first.sport) == ("192.0.2.1", 4000)
    assert (second.src, second.sport) == ("192.0.2.1", 49152)
    # Endpoint-independent mapping, and filtering by who was spoken to.
    other = flow_of(box.take(segment("10.0.0.1", 4000, "198.51.100.2"), True, 0))
    assert other.sport == 4000
    back = flow_of(box.take(segment("198.51.100.1", 80, "192.0.2.1", 49152), False, 0))
    assert (back.dst, back.dport) == ("10.0.0.2", 4000)
    assert box.take(segment("198.51.100.2", 80, "192.0.2.1", 49152), False, 0) is None
    assert box.take(segment("198.51.100.1", 80, "192.0.2.1", 5), False, 0) is None
    assert box.take(segment("198.51.100.1", 80, "10.0.0.2", 4000), False, 0) is None
    assert box.backward.dropped == 3


def test_nat_forgets() -> None:
    box = nat(timeout=SECOND)
    assert flow_of(box.take(segment("10.0.0.1", 4000), True, 0)).sport == 4000
    assert box.take(segment("198.51.100.1", 80, "192.0.2.1", 4000), False, SECOND) is not None
    assert box.take(segment("198.51.100.1", 80, "192.0.2.1", 4000), False, 2 * SECOND + 1) is None
    assert flow_of(box.take(segment("10.0.0.2", 4000), True, 3 * SECOND)).sport == 4000
    assert flow_of(box.take(segment("10.0.0.1", 4000), True, 3 * SECOND)).sport == 49152


def test_nat_runs_out_of_ports() -> None:
    box = nat(keep_ports=False)
    ports = {flow_of(box.take(segment("10.0.0.1", port), True, 0)).sport for port in range(1, 16385)}
    assert ports == set(range(49152, 65536))
    assert box.take(segment("10.0.0.1", 20000), True, 0) is None


@pytest.mark.parametrize("ipv6", [False, True])
def test_nat_translates_icmp_errors_and_what_they_quote(ipv6: bool) -> None:
    from mptcpsim.codec.packet import decode, encode

    inner, outer, remote, router = (
        ("fd00::1", "2001:db8::1", "2001:db8::9", "2001:db8::7")
        if ipv6
        else ("10.0.0.1", "192.0.2.1", "198.51.100.1", "198.51.100.7")
    )
    results = []
    for encoded in (False, True):
        box = nat(address=outer, keep_ports=False)
        sent = segment(inner, 4000, remote)
        sent.size += 20 if ipv6 else 0
        out = box.take(sent, True, 0)
        assert isinstance(out, Segment)
        error: Any = IcmpError(router, out, ICMP_NET_UNREACHABLE)
        if encoded:
            error = decode(encode(error), lambda flow: None)
        back = box.take(error, False, 0)
        assert isinstance(back, IcmpError)
        assert back.flow == FourTuple(router, 0, inner, 0)
        assert back.quoted_flow == sent.flow
        results.append(encode(back))
        # One about a segment that has come in.
        answer = segment(remote, 80, outer, 49152)
        answer.size = sent.size
        came = box.take(answer, False, 0)
        assert isinstance(came, Segment)
        error = IcmpError(inner, came, ICMP_NET_UNREACHABLE)
        error = decode(encode(error), lambda flow: None) if encoded else error
        gone = box.take(error, True, 0)
        assert isinstance(gone, IcmpError)
        assert gone.flow.src == outer
        assert gone.quoted_flow == answer.flow
        results.append(encode(gone))
        assert box.take(IcmpError(router, sent, ICMP_NET_UNREACHABLE), False, 0) is None
    assert results[:2] == results[2:]


# --- split and coalesce ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["each", "first"])
def test_pieces(options: str) -> None:
    result = run(f'{{ name = "split", size = 500, options = "{options}" }}', flow='bytes = "30kB"', **MPTCP)
    sent = [s for s in result.segments("a:eth0", True) if s.length]
    got = [s for s in result.segments("b:eth0", False) if s.length]
    assert b"".join(map(content, sent)) == b"".join(map(content, got))
    assert max(s.length for s in got) == 500
    with_dss = [s for s in got if s.dss is not None or s.options]
    assert (len(with_dss) == len(got)) == (options == "each")
    assert result.flow.client.is_plain is False
    assert result.delivered() == 30_000


def test_two_become_one_and_the_second_mapping_is_lost() -> None:
    """The bytes without a mapping block the subflow until a window is full of them; then it is reset."""
    box = '{ name = "coalesce", size = 3000, match = "data", after = 20, first = 2 }'
    result = run(box, **MPTCP_SMALL)
    counts = result.box().forward
    assert (counts.changed, counts.dropped) == (1, 0)
    assert counts.sent == counts.packets - 1
    (large,) = [s for s in result.segments("b:eth0", False) if s.length > 1500]
    sent = [s for s in result.segments("a:eth0", True) if large.seq <= s.seq < large.end]
    assert content(large) == b"".join(map(content, sent[:2]))
    assert large.dss is not None
    assert large.dss.data_level_length == sent[0].length
    assert "data without mapping" in result.flow.server.subflows[0].error
    # A second subflow has everything.
    ends: dict[str, Any] = {
        end: lines.replace("{ profile", '{ scheduler = "roundrobin", profile')
        for end, lines in SMALL_PATHS.items()
    }
    second = run(two='{ name = "coalesce", size = 3000 }', flow='bytes = "600kB"', **ends)
    assert second.box(0, "two").forward.changed > 0
    assert second.flow.server.subflows[1].error
    assert second.delivered() == 600_000


def test_segments_that_do_not_follow_each_other_stay_apart() -> None:
    alone = run('{ name = "coalesce", size = 1000 }', flow='bytes = "30kB"')
    assert alone.box().forward.changed == 0
    assert alone.delivered() == 30_000
    plain = run('{ name = "coalesce", size = 3000, wait = "4ms" }')
    assert plain.box().forward.changed > 50
    assert plain.delivered() == 200_000


# --- payload ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["flip = 3", "insert = 5", "remove = 5", "insert = 3, remove = 9"])
def test_tcp_does_not_notice_and_the_run_fails(change: str) -> None:
    with pytest.raises(IntegrityError):
        run(f'{{ name = "payload", nth = [20], offset = 100, {change} }}')


@pytest.mark.parametrize("change", ["flip = 3", "insert = 5", "remove = 5", "insert = 3, remove = 9"])
def test_a_dss_checksum_notices_and_the_other_subflow_has_the_bytes(change: str) -> None:
    result = run(
        two=f'{{ name = "payload", nth = [8], offset = 100, {change} }}', flow='bytes = "600kB"', **CHECKED
    )
    server = result.simulation.hosts["b"].stack.counters.as_dict()
    assert server["MPTcpExtDataCsumErr"] == 1
    failed = [
        s for s in result.segments("b:eth1", True) for option in s.options or () if isinstance(option, MpFail)
    ]
    assert failed
    assert result.flow.client.subflows[1].error
    assert result.delivered() == 600_000


def test_without_checksums_nobody_notices() -> None:
    with pytest.raises(IntegrityError):
        run(two='{ name = "payload", nth = [8] }', flow='bytes = "600kB"', **TWO_PATHS)


def test_on_the_only_subflow_the_gateway_has_its_way() -> None:
    """The checksum finds it, MPTCP falls back, and what is delivered is not what was written."""
    checked: dict[str, Any] = dict.fromkeys("ab", 'mptcp = { profile = "rfc8684", checksum = true }')
    simulation = build(loads(text('{ name = "payload", nth = [20] }', flow='bytes = "600kB"', **checked)))
    with pytest.raises(IntegrityError):
        simulation.env.run(20 * SECOND)
    counters = simulation.hosts["b"].stack.counters.as_dict()
    assert counters["MPTcpExtDataCsumErr"] == counters["MPTcpExtDSSCorruptionFallback"] == 1


@given(
    size=st.integers(1, 400),
    edits=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 30), st.binary(max_size=30)), max_size=5),
    cuts=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 120)), max_size=12),
    start=st.sampled_from((0, 1000, (1 << 32) - 150)),
)
def test_a_stream_is_changed_in_one_way_however_it_is_cut(
    size: int,
    edits: list[tuple[int, int, bytes]],
    cuts: list[tuple[int, int]],
    start: int,
) -> None:
    data = bytes(index % 251 for index in range(size))
    stream = _Stream()
    for at, removed, given_text in edits:
        if at < size and (removed or given_text):
            stream.add((start + at) & 0xFFFFFFFF, min(removed, size - at), given_text)
    whole = stream.apply(start, data)
    for begin, length in cuts:
        piece = data[begin : begin + length]
        seq = (start + begin) & 0xFFFFFFFF
        if not piece:
            continue
        place = begin + stream.shift_at(seq)
        changed = stream.apply(seq, piece)
        assert whole[place : place + len(changed)] == changed
    for received in range(len(whole) + 1):
        acked = received + stream.shift_back((start + received) & 0xFFFFFFFF)
        assert 0 <= acked <= size
        # Nothing is acknowledged that has not arrived.
        assert len(stream.apply(start, data[:acked])) <= received or acked == 0
    assert len(whole) + stream.shift_back((start + len(whole)) & 0xFFFFFFFF) == size


# --- ack -------------------------------------------------------------------------------------------


def test_data_that_is_lost_behind_an_early_ack_is_gone_for_its_subflow() -> None:
    boxes = '{ name = "ack", after = 5 }, { name = "drop", match = "data", nth = [30] }'
    plain = run(boxes)
    assert plain.flow.completed_at < 0
    assert plain.delivered() < 200_000
    assert plain.flow.client.subflows[0].sender.una > plain.delivered() + 1
    # The connection has not heard a DATA_ACK, and sends again on the other subflow, piece by piece.
    multi = run(two=boxes, flow='bytes = "600kB"', duration=60 * SECOND, **TWO_PATHS)
    assert multi.flow.client.subflows[1].sender.una > multi.flow.server.subflows[1].receiver.nxt
    assert multi.delivered() == 600_000


def test_the_first_data_acknowledged_without_data_ack_is_a_fallback() -> None:
    result = run('"ack"', **MPTCP)
    assert result.flow.client.is_plain
    assert result.delivered() == 200_000


def test_early_acks_are_early() -> None:
    result = run('"ack", { name = "hold", match = "data", time = "300ms", first = 1 }')
    first = next(s.at for s in result.seen if s.end == "a:eth0" and not s.outgoing and s.packet.size < 60)
    assert first < 100 * MILLISECOND
    assert result.delivered() == 200_000


# --- Mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ('{ name = "strip", options = "mptpc" }', "options 'mptpc' is none of mptcp, dss"),
        ('{ name = "nat", address = "10.0.0" }', "address: '10.0.0' does not appear to be"),
        ('{ name = "split", options = "all" }', "options 'all' is none of each, first"),
        ('{ name = "payload", insert = 2000 }', "insert 2000 fits into no segment"),
        ('{ name = "sequence", direction = "there" }', "direction 'there' is none of"),
    ],
)
def test_mistakes(box: str, told: str) -> None:
    from mptcpsim.scenario.errors import ScenarioError

    with pytest.raises(ScenarioError) as caught:
        loads(text(box))
    assert told in str(caught.value)
