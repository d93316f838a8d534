"""Path MTU discovery and other ICMP errors (RFC 1191, 8201, 5927; RFC 9293 section 3.9.2.2)."""

from __future__ import annotations

import pytest

from mptcpsim.core.config import TcpConfig
from mptcpsim.core.segment import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_HOST_UNREACHABLE,
    ICMP_NET_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_PROTOCOL_UNREACHABLE,
    ICMP_TIME_EXCEEDED,
    IcmpError,
    Packet,
    Segment,
)
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.units import SECOND
from tests.core.tcp.pair import Pair
from tests.core.tcp.script import Script


def flight(segments: int = 10, **config: object) -> tuple[Script, list[Segment]]:
    """Return a script with full segments (1460 bytes) in flight, and them."""
    script = Script.connected(TcpConfig(**config), rtt=100_000_000, ts_val=UNKNOWN)  # type: ignore[arg-type]
    script.write(segments * 1460)
    return script, [segment for _, segment in script.fresh()]


# --- Fragmentation needed ------------------------------


def test_flight_is_sent_again_in_smaller_pieces() -> None:
    """At once, without waiting for a time-out, and without taking it for congestion (RFC 8201 5.4)."""
    script, sent = flight()
    script.icmp(sent[0], ICMP_FRAGMENTATION_NEEDED, 1040)
    tcp = script.tcp
    assert tcp.mtu == 1040
    assert tcp.sender.mss == 1000
    again = [segment for _, segment in script.fresh()]
    assert again
    assert {segment.size <= 1040 for segment in again} == {True}
    assert again[0].seq == 1
    assert tcp.sender.congestion.cwnd == 10 * 1000
    assert tcp.sender.congestion.ssthresh > 1 << 40
    assert script.count("TcpExtTCPTimeouts") == 0


def test_during_a_recovery() -> None:
    """The reduction under way is completed, and not undone."""
    script, sent = flight(100, initial_window_segments=20, congestion="reno")
    for right in range(2, 8):
        script.inject("A", ack=1, sack=((1461, 1 + right * 1460),))
    assert script.tcp.sender.congestion.cwnd > 12 * 1460
    ssthresh = script.tcp.sender.congestion.ssthresh
    script.icmp(sent[19], ICMP_FRAGMENTATION_NEEDED, 1040)
    assert script.tcp.sender.congestion.ssthresh == ssthresh
    assert script.tcp.sender.congestion.cwnd <= ssthresh


def test_all_arrives_with_boundaries_moved() -> None:
    pieces: list[tuple[int, int]] = []
    script, sent = flight()
    script.icmp(sent[0], ICMP_FRAGMENTATION_NEEDED, 1040)
    acked = 1
    for _ in range(40):
        for _, segment in script.fresh():
            pieces.append((segment.seq, segment.end))
        arrived = [end for seq, end in pieces if seq <= acked < end]
        if not arrived:
            break
        acked = max(arrived)
        script.inject("A", ack=acked)
    assert acked == 1 + 10 * 1460
    assert all(right - left <= 1000 for left, right in pieces)
    assert script.tcp.sender.pipe() == 0


def test_last_segment_with_the_fin_fits_exactly() -> None:
    """The FIN takes no room: a segment of the new size needs no resending."""
    script = Script.connected(TcpConfig(), rtt=100_000_000, ts_val=UNKNOWN)
    script.write(1460 + 1000)
    script.close()
    sent = [segment for _, segment in script.fresh()]
    assert [segment.length for segment in sent] == [1460, 1000]
    script.icmp(sent[0], ICMP_FRAGMENTATION_NEEDED, 1040)
    script.expect("A", seq=1, length=1000)
    script.expect("A", seq=1001, length=460)
    script.quiet()


def test_one_error_for_each_segment_changes_the_mtu_once() -> None:
    script, sent = flight()
    for segment in sent:
        script.icmp(segment, ICMP_FRAGMENTATION_NEEDED, 1040)
    assert script.tcp.mtu == 1040
    resent = [segment.seq for _, segment in script.fresh()]
    assert len(resent) == len(set(resent))


def test_mtu_only_shrinks() -> None:
    script, sent = flight()
    script.icmp(sent[0], ICMP_FRAGMENTATION_NEEDED, 1500)
    script.icmp(sent[0], ICMP_FRAGMENTATION_NEEDED, 9000)
    script.quiet()
    assert script.tcp.mtu == 1500


@pytest.mark.parametrize("mtu", [1, 67, 295])
def test_floor(mtu: int) -> None:
    """A forged or absurd MTU does not cut segments to nothing (RFC 5927 section 7.2)."""
    script, sent = flight()
    script.icmp(sent[0], ICMP_FRAGMENTATION_NEEDED, mtu)
    assert script.tcp.mtu == 296


@pytest.mark.parametrize(
    ("told", "believed"), [(0, 1500), (600, 1500), (1279, 1500), (1280, 1280), (1400, 1400)]
)
def test_floor_of_ipv6(told: int, believed: int) -> None:
    """RFC 8201 section 4: a message with less than 1280 "must be discarded"; there are no plateaus."""
    pair = Pair(addresses=("2001:db8::1", "2001:db8::2"))
    client, _ = pair.establish()
    client.write(50_000, pair.now)
    segment = next(packet for packet in pair.client.outbox if isinstance(packet, Segment) and packet.length)
    pair.client.receive_packet(IcmpError("2001:db8::9", segment, ICMP_FRAGMENTATION_NEEDED, told), pair.now)
    assert client.subflows[0].mtu == believed


@pytest.mark.parametrize(
    ("interface", "tried"),
    [
        (9000, [8166, 4352, 2002, 1492, 1006, 508, 296]),
        (1500, [1492, 1006, 508, 296]),
        (1492, [1006, 508, 296]),
        (400, [296]),
    ],
)
def test_router_that_does_not_tell_its_mtu(interface: int, tried: list[int]) -> None:
    """RFC 1191 sections 5 and 7: the next plateau below the packet that was too big, and the floor stays."""
    config = TcpConfig(initial_window_segments=1000)
    script = Script.connected(config, rtt=100_000_000, ts_val=UNKNOWN, mtu=interface, mss=interface - 40)
    script.write(40 * interface)
    seen = []
    for _ in range(len(tried) + 1):
        sent = [segment for _, segment in script.fresh()]
        full = [segment for segment in sent if segment.size == script.tcp.mtu]
        assert full
        for segment in (*full, full[0]):
            # Each packet of a flight brings an error, and one may come twice: that is no further step.
            script.icmp(segment, ICMP_FRAGMENTATION_NEEDED, 0)
        seen.append(script.tcp.mtu)
        if seen[-1] == tried[-1]:
            break
    assert seen == tried
    for _, segment in script.fresh():
        script.icmp(segment, ICMP_FRAGMENTATION_NEEDED, 0)
    assert script.tcp.mtu == 296


def test_error_about_nothing_in_flight_is_ignored() -> None:
    """RFC 5927 section 4.1: the quoted sequence number must be one that is outstanding."""
    script, sent = flight()
    script.inject("A", ack=1 + 5 * 1460)
    script.fresh()
    old = sent[0]
    future = sent[9].clone()
    future.seq = script.tcp.sender.nxt
    for segment in (old, future):
        script.icmp(segment, ICMP_FRAGMENTATION_NEEDED, 600)
        assert script.tcp.mtu == 1500
    script.icmp(sent[9], ICMP_FRAGMENTATION_NEEDED, 600)
    assert script.tcp.mtu == 600


def test_error_about_another_connection_is_ignored() -> None:
    script, sent = flight()
    other = sent[0].clone()
    other.flow = other.flow._replace(sport=1)
    script.icmp(other, ICMP_FRAGMENTATION_NEEDED, 600)
    assert script.tcp.mtu == 1500


def test_discovery_can_be_off() -> None:
    script, sent = flight(path_mtu_discovery=False)
    script.icmp(sent[0], ICMP_FRAGMENTATION_NEEDED, 600)
    assert script.tcp.mtu == 1500
    script.quiet()


@pytest.mark.parametrize("sack", [True, False])
@pytest.mark.parametrize("rack", [True, False])
@pytest.mark.parametrize(("told", "found"), [(600, 600), (0, 508)])
def test_transfer_through_a_narrow_hop(sack: bool, rack: bool, told: int, found: int) -> None:
    """A router with an MTU of 600 in the path, which it tells or not: everything arrives, promptly."""
    config = TcpConfig(sack=sack, rack_tlp=rack)
    pair = Pair(config, config)

    def hook(direction: str, packet: Packet, now: int) -> list[Packet]:
        if packet.size <= 600 or direction != "c>s":
            return [packet]
        assert isinstance(packet, Segment)
        assert packet.df
        error = IcmpError("10.0.0.254", packet, ICMP_FRAGMENTATION_NEEDED, told)
        pair.at(now + pair.delay, lambda: pair.client.receive_packet(error, pair.now))
        return []

    pair.hook = hook
    client, server = pair.establish()
    server.eager = True
    begin = pair.now
    client.write(300_000, begin)
    while client.acked < 300_000:
        assert pair.step()
    assert server.delivered == 300_000
    assert client.subflows[0].mtu == found
    assert pair.now - begin < 3 * SECOND
    assert pair.client.counters["TcpExtTCPTimeouts"] == 0


# --- Unreachable ------------------------------


@pytest.mark.parametrize("kind", [ICMP_PORT_UNREACHABLE, ICMP_PROTOCOL_UNREACHABLE])
def test_hard_errors_refuse_a_connection(kind: str) -> None:
    script = Script()
    script.connect()
    syn = script.expect("S")
    script.icmp(syn, kind)
    assert script.state == "CLOSED"
    assert script.stack.connections[0].error == "connection refused"


@pytest.mark.parametrize("kind", [ICMP_NET_UNREACHABLE, ICMP_HOST_UNREACHABLE, ICMP_TIME_EXCEEDED])
def test_soft_errors_are_remembered(kind: str) -> None:
    """RFC 9293 section 3.9.2.2: they abort nothing, and are what the user is told in the end."""
    script = Script(TcpConfig(syn_retries=1))
    script.connect()
    script.icmp(script.expect("S"), kind)
    assert script.state == "SYN-SENT"
    script.run(10 * SECOND)
    assert script.state == "CLOSED"
    assert script.stack.connections[0].error == kind


@pytest.mark.parametrize(
    "kind",
    [ICMP_PORT_UNREACHABLE, ICMP_PROTOCOL_UNREACHABLE, ICMP_NET_UNREACHABLE, ICMP_HOST_UNREACHABLE],
)
def test_an_established_connection_survives_errors(kind: str) -> None:
    """RFC 5927 section 5.2: hard errors are soft in synchronized states."""
    script, sent = flight()
    script.icmp(sent[0], kind)
    assert script.state == "ESTABLISHED"
    script.inject("A", ack=1 + 10 * 1460)
    assert script.tcp.sender.una == 1 + 10 * 1460


def test_forged_refusal() -> None:
    """An error about a SYN that was never sent so."""
    script = Script()
    script.connect()
    forged = script.expect("S").clone()
    forged.seq = 12345
    script.icmp(forged, ICMP_PORT_UNREACHABLE)
    assert script.state == "SYN-SENT"
