"""ARP and neighbour discovery, judged by scapy; frames of any kind do no harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

from mptcpsim.codec.raw import address_bytes
from mptcpsim.wire.neighbours import ASK_AGAIN, MOST_KNOWN, MOST_WAITING, Neighbours

MAC, THEIRS, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
OURS, PEER = "10.1.0.1", "10.1.0.2"
OURS6, PEER6 = "fd00:1::1", "fd00:1::2"


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


class Link:
    """The neighbours of one end, and the frames that it sends."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.now = 0
        self.neighbours = Neighbours(packed(MAC), (OURS, OURS6), self.frames.append, lambda: self.now)

    def take(self, frame: Any) -> bool:
        return self.neighbours.take(bytes(frame))

    def sent(self) -> list[Any]:
        """Return the frames since the last call, as scapy reads them; checksums must be right."""
        found = [Ether(frame) for frame in self.frames]
        for frame in found:
            if ICMPv6ND_NS in frame or ICMPv6ND_NA in frame:
                again = frame.copy()
                del again[IPv6].payload.cksum
                assert bytes(again) == bytes(frame)
        self.frames.clear()
        return found


def packet(source: str, destination: str) -> bytes:
    layer = IPv6 if ":" in source else IP
    return bytes(layer(src=source, dst=destination) / b"data")


def test_arp_asks_once_a_second_and_sends_what_waits() -> None:
    link = Link()
    for _ in range(3):
        link.neighbours.send_to(address_bytes(PEER), packet(OURS, PEER))
    (question,) = link.sent()
    assert question.dst == "ff:ff:ff:ff:ff:ff"
    assert (question[ARP].op, question[ARP].pdst, question[ARP].psrc) == (1, PEER, OURS)
    assert question[ARP].hwsrc == MAC
    link.now += ASK_AGAIN
    link.neighbours.send_to(address_bytes(PEER), packet(OURS, PEER))
    assert len(link.sent()) == 1
    assert link.take(Ether(dst=MAC, src=THEIRS) / ARP(op=2, hwsrc=THEIRS, psrc=PEER, hwdst=MAC, pdst=OURS))
    frames = link.sent()
    assert [(frame.dst, frame.src, frame[IP].dst) for frame in frames] == [(THEIRS, MAC, PEER)] * 4
    link.neighbours.send_to(address_bytes(PEER), packet(OURS, PEER))
    assert len(link.sent()) == 1


def test_neighbour_solicitation_and_advertisement() -> None:
    link = Link()
    link.neighbours.send_to(address_bytes(PEER6), packet(OURS6, PEER6))
    (question,) = link.sent()
    assert question.dst == "33:33:ff:00:00:02"
    assert (question[IPv6].src, question[IPv6].dst, question[IPv6].hlim) == (OURS6, "ff02::1:ff00:2", 255)
    assert question[ICMPv6ND_NS].tgt == PEER6
    assert question[ICMPv6NDOptSrcLLAddr].lladdr == MAC
    answer = (
        Ether(dst=MAC, src=THEIRS)
        / IPv6(src=PEER6, dst=OURS6, hlim=255)
        / ICMPv6ND_NA(tgt=PEER6, S=1, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=THEIRS)
    )
    assert link.take(answer)
    (frame,) = link.sent()
    assert (frame.dst, frame[IPv6].dst) == (THEIRS, PEER6)


def test_it_answers_for_its_own_addresses_only() -> None:
    link = Link()
    ask = Ether(dst="ff:ff:ff:ff:ff:ff", src=THEIRS) / ARP(op=1, hwsrc=THEIRS, psrc=PEER, pdst=OURS)
    assert link.take(ask)
    (answer,) = link.sent()
    assert answer.dst == THEIRS
    assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc, answer[ARP].pdst) == (2, MAC, OURS, PEER)
    ask[ARP].pdst = "10.1.0.77"
    assert link.take(ask)
    assert link.sent() == []
    solicit = (
        Ether(dst="33:33:ff:00:00:01", src=THEIRS)
        / IPv6(src="fe80::2", dst="ff02::1:ff00:1", hlim=255)
        / ICMPv6ND_NS(tgt=OURS6)
        / ICMPv6NDOptSrcLLAddr(lladdr=THEIRS)
    )
    assert link.take(solicit)
    (answer,) = link.sent()
    assert (answer.dst, answer[IPv6].src, answer[IPv6].dst) == (THEIRS, OURS6, "fe80::2")
    assert (answer[ICMPv6ND_NA].tgt, answer[ICMPv6ND_NA].S, answer[ICMPv6ND_NA].O) == (OURS6, 1, 1)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == MAC


def test_a_test_for_duplicates_is_answered_to_all() -> None:
    link = Link()
    link.take(
        Ether(dst="33:33:ff:00:00:01", src=THEIRS)
        / IPv6(src="::", dst="ff02::1:ff00:1", hlim=255)
        / ICMPv6ND_NS(tgt=OURS6)
    )
    (answer,) = link.sent()
    assert (answer.dst, answer[IPv6].dst, answer[ICMPv6ND_NA].S) == ("33:33:00:00:00:01", "ff02::1", 0)


@pytest.mark.parametrize("change", ["hop limit", "checksum"])
def test_discovery_from_elsewhere_is_not_believed(change: str) -> None:
    link = Link()
    frame = (
        Ether(dst=MAC, src=THEIRS)
        / IPv6(src=PEER6, dst=OURS6, hlim=254 if change == "hop limit" else 255)
        / ICMPv6ND_NA(tgt=PEER6)
        / ICMPv6NDOptDstLLAddr(lladdr=THEIRS)
    )
    data = bytes(frame)
    if change == "checksum":
        data = data[:-1] + bytes((data[-1] ^ 1,))
    assert link.take(data)
    assert link.neighbours.known == {}


def test_what_is_known_is_brought_up_to_date() -> None:
    link = Link()
    gratuitous = Ether(dst="ff:ff:ff:ff:ff:ff", src=OTHER) / ARP(op=1, hwsrc=OTHER, psrc=PEER, pdst=PEER)
    link.take(gratuitous)
    assert link.neighbours.known == {}, "nobody has asked for it"
    link.take(Ether(dst=MAC, src=THEIRS) / ARP(op=2, hwsrc=THEIRS, psrc=PEER, hwdst=MAC, pdst=OURS))
    link.take(gratuitous)
    assert link.neighbours.known == {address_bytes(PEER): packed(OTHER)}
    claim = Ether(dst="ff:ff:ff:ff:ff:ff", src=OTHER) / ARP(op=2, hwsrc=OTHER, psrc=OURS, pdst=OURS)
    link.take(claim)
    assert address_bytes(OURS) not in link.neighbours.known


def test_strangers_fill_no_memory() -> None:
    link = Link()
    frame = bytes(Ether(dst=MAC, src=THEIRS) / ARP(op=1, hwsrc=THEIRS, psrc="10.1.0.2", pdst=OURS))
    for number in range(3 * MOST_KNOWN):
        link.take(frame[:30] + number.to_bytes(2, "big") + frame[32:])
    assert len(link.neighbours.known) <= MOST_KNOWN
    data = packet(OURS, "10.9.0.1")
    for _ in range(3 * MOST_WAITING):
        link.neighbours.send_to(address_bytes("10.9.0.1"), data)
    assert link.neighbours.lost == 2 * MOST_WAITING


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x06", b"\x86\xdd", b"\x08\x00", b"\x00\x00"]))
def test_no_frame_raises(noise: bytes, kind: bytes) -> None:
    link = Link()
    link.neighbours.take(noise)
    link.neighbours.take(noise[:12].ljust(12, b"\0") + kind + noise[12:])


SOUND = [
    bytes(Ether(dst=MAC, src=THEIRS) / ARP(op=1, hwsrc=THEIRS, psrc=PEER, pdst=OURS)),
    bytes(
        Ether(dst=MAC, src=THEIRS)
        / IPv6(src=PEER6, dst=OURS6, hlim=255)
        / ICMPv6ND_NS(tgt=OURS6)
        / ICMPv6NDOptSrcLLAddr(lladdr=THEIRS)
    ),
]


@given(st.sampled_from(SOUND), st.data())
def test_no_damaged_frame_raises(frame: bytes, data: st.DataObject) -> None:
    link = Link()
    place = data.draw(st.integers(0, len(frame) - 1))
    value = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(frame)))
    link.neighbours.take((frame[:place] + bytes((value,)) + frame[place + 1 :])[:cut])
