"""Taps, fault injectors and ports, around devices without an interface."""

from __future__ import annotations

import random
import struct
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mptcpsim.congestion
from mptcpsim import Host, Stack, TcpConfig
from mptcpsim.codec.packet import encode
from mptcpsim.codec.pcap import CaptureWriter
from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.net.walk import probe
from mptcpsim.sim.loop import Loop
from mptcpsim.units import MILLISECOND, SECOND
from mptcpsim.wire.faults import IN, OUT, FaultRates, Faults
from mptcpsim.wire.port import WirePort, kind_of
from mptcpsim.wire.tap import CaptureTap
from tests.wire.fakes import ListDevice

assert mptcpsim.congestion

OURS, PEER = "10.1.0.1", "10.1.0.2"


def packets(count: int) -> list[bytes]:
    return [struct.pack("!I", number) * 25 for number in range(count)]


class Faulty:
    """A fault injector, and what has come through it in each direction."""

    def __init__(self, rates: FaultRates, seed: int = 1) -> None:
        self.loop = Loop()
        self.inner = ListDevice()
        self.device = Faults(self.inner, self.loop, rates, rates, seed)
        self.came: list[bytes] = []
        self.device.sink = self.came.append

    def pass_through(self, sent: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Send packets in both directions, a millisecond apart; return what went out and what came in."""
        for data in sent:
            self.device.write(data, PEER)
            self.inner.arrive(data)
            self.loop.run(self.loop.now + MILLISECOND)
        self.loop.run(self.loop.now + SECOND)
        return [data for data, _ in self.inner.out], self.came


def test_without_rates_nothing_happens() -> None:
    sent = packets(100)
    assert Faulty(FaultRates()).pass_through(sent) == (sent, sent)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_happens_is_counted(seed: int) -> None:
    sent = packets(2000)
    faulty = Faulty(FaultRates(0.1, 0.05, 0.2, 0.15), seed)
    for direction, found in zip((OUT, IN), faulty.pass_through(sent), strict=True):
        counts = faulty.device.counts(direction)
        assert len(found) == len(sent) - counts["dropped"] + counts["duplicated"]
        strange = [data for data in found if data not in set(sent)]
        once = Counter(strange)
        doubled = sum(number - 1 for number in once.values())
        assert len(strange) == counts["corrupted"] + doubled
        assert all(150 < count < 250 for count in (counts["dropped"],)), counts
        assert 300 < counts["reordered"] < 430
        assert found != sorted(found)


def test_a_seed_decides_which() -> None:
    sent = packets(300)
    rates = FaultRates(0.1, 0.1, 0.1, 0.1)
    assert Faulty(rates, 7).pass_through(sent) == Faulty(rates, 7).pass_through(sent)
    assert Faulty(rates, 7).pass_through(sent) != Faulty(rates, 8).pass_through(sent)


def test_one_rate_changes_nothing_of_another_ones_choice() -> None:
    sent = packets(300)
    alone, _ = Faulty(FaultRates(drop=0.1)).pass_through(sent)
    both, _ = Faulty(FaultRates(drop=0.1, duplicate=0.3)).pass_through(sent)
    assert set(alone) == set(both)


def test_a_dead_path_and_a_change() -> None:
    faulty = Faulty(FaultRates())
    faulty.device.set_cut(True)
    assert faulty.pass_through(packets(5)) == ([], [])
    faulty.device.set_cut(False)
    faulty.device.set_change(OUT, lambda data: None if data[3] == 2 else data[::-1])
    out, came = faulty.pass_through(packets(5))
    assert out == [data[::-1] for data in packets(5) if data[3] != 2]
    assert came == packets(5)


def test_a_rate_is_a_probability() -> None:
    with pytest.raises(ValueError, match=r"corrupt is 1\.5: a probability"):
        Faulty(FaultRates(corrupt=1.5))


def test_a_tap_shows_both_directions(tmp_path: Path) -> None:
    times = iter(range(1000, 2000))
    syn = encode(probe(OURS, PEER))
    inner = ListDevice("tun7")
    with CaptureWriter(tmp_path / "a.pcapng") as capture:
        tap = CaptureTap(inner, capture, lambda: next(times))
        came: list[bytes] = []
        tap.sink = came.append
        tap.write(syn, PEER)
        inner.arrive(b"no packet at all")
    assert inner.out == [(syn, PEER)]
    assert came == [b"no packet at all"]
    records = list(read_capture(tmp_path / "a.pcapng"))
    assert [record.data for record in records] == [syn, b"no packet at all"]
    assert (tap.sent, tap.received) == (1, 1)


class Ported:
    """A host with one interface and a device."""

    def __init__(self) -> None:
        self.host = Host(Loop(), "h", Stack("h", random.Random(1), TcpConfig()))
        self.interface = self.host.add_interface("wire0", [f"{OURS}/24"])
        self.host.routes.add("default", self.interface, "10.1.0.254")
        self.device = ListDevice()
        self.port = WirePort(self.interface, self.device, self.host.stack.sequence_map)


def ip(protocol: int, body: bytes = b"x" * 8, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0)
    return head + bytes((10, 1, 0, 2, 10, 1, 0, 1)) + body


def ip6(protocol: int, body: bytes = b"x" * 8) -> bytes:
    return struct.pack("!IHBB", 0x60000000, len(body), protocol, 64) + bytes(32) + body


NOISE = {
    "udp": ip(17),
    "icmp": ip(1),
    "igmp": ip(2),
    "other": ip(89),
    "broken": ip(6, b"x"),
    "fragment": ip(6, bytes(40), 0x2000),
    "icmpv6": ip6(58),
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_is_counted_and_passed_by(kind: str) -> None:
    ported = Ported()
    ported.device.arrive(NOISE[kind])
    assert ported.port.passed_by == {kind: 1}
    assert ported.device.out == []


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "broken"),
        (b"\x45", "broken"),
        (bytes(60), "broken"),
        (ip6(0, bytes((58, 0)) + bytes(6)), "icmpv6"),
        (ip(17, b"", 0x0007), "fragment"),
    ],
)
def test_what_noise_is(data: bytes, kind: str) -> None:
    assert kind_of(data) == kind


def test_what_is_for_somebody_else_is_dropped() -> None:
    ported = Ported()
    ported.device.arrive(encode(probe(PEER, "10.1.0.99")))
    assert ported.host.drops == {"not-local": 1}
    assert ported.device.out == []


def test_a_syn_is_answered_by_way_of_the_gateway() -> None:
    ported = Ported()
    ported.device.arrive(encode(probe("10.9.0.1", OURS)))
    assert [hop for _, hop in ported.device.out] == ["10.1.0.254"]


def test_what_has_no_bytes_is_counted() -> None:
    ported = Ported()
    packet = probe(OURS, PEER)
    packet.size += 1
    ported.port.send(packet)
    assert ported.port.unencodable[0] == 1
    assert "says that it has" in ported.port.unencodable[1]


@given(st.binary(max_size=100), st.sampled_from([b"", b"\x45", b"\x60", b"\x4f"]))
def test_nothing_that_is_received_raises(noise: bytes, first: bytes) -> None:
    ported = Ported()
    ported.device.arrive(first + noise)
    assert sum(ported.port.passed_by.values()) + sum(ported.host.drops.values()) <= 1
