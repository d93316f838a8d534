"""Who on the link has which hardware address: ARP (RFC 826) and neighbour discovery (RFC 4861).

``Neighbours`` answers for the addresses of this end, asks for those of others, and keeps the packets that
wait for an answer. It sees and makes Ethernet frames only; it has no socket and no clock of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final

from mptcpsim.codec.checksum import finish, word_sum
from mptcpsim.codec.raw import PROTOCOL_ICMPV6, address_bytes
from mptcpsim.units import SECOND

ETHERNET_HEADER: Final = 14
TYPE_IPV4: Final = b"\x08\x00"
TYPE_ARP: Final = b"\x08\x06"
TYPE_IPV6: Final = b"\x86\xdd"

BROADCAST: Final = b"\xff" * 6

_ARP_HEAD: Final = b"\x00\x01\x08\x00\x06\x04"  # Ethernet, IPv4, and the lengths of their addresses
_ARP_LENGTH: Final = ETHERNET_HEADER + 28
_REQUEST: Final = 1
_REPLY: Final = 2

_SOLICITATION: Final = 135
_ADVERTISEMENT: Final = 136
_SOURCE_OPTION: Final = 1
_TARGET_OPTION: Final = 2
_SOLICITED_OVERRIDE: Final = 0x60000000
#: RFC 4861 section 7.1: what has crossed a router is no neighbour's.
_HOP_LIMIT: Final = 255
_SOLICITED_NODE: Final = bytes.fromhex("ff0200000000000000000001ff")
_UNSPECIFIED: Final = bytes(16)

#: Linux: unres_qlen and the limit of the table; both keep a flood of strangers from filling the memory.
MOST_WAITING: Final = 64
MOST_KNOWN: Final = 1024

#: RFC 1122 section 2.3.2.1: at most one request a second and destination.
ASK_AGAIN: Final = SECOND

Clock = Callable[[], int]


class Neighbours:
    """The neighbours on one link.

    Attributes:
        own: the addresses that are answered for, packed.
        known: hardware addresses by address, both packed.
        questions, answers: requests and replies sent, of both protocols.
        lost: packets that were dropped while they waited.
    """

    def __init__(
        self, hardware: bytes, own: Iterable[str], send: Callable[[bytes], None], clock: Clock
    ) -> None:
        """Begin without any neighbour.

        Args:
            hardware: the own hardware address, 6 bytes.
            own: the own addresses, in text form.
            send: takes a frame.
            clock: gives the time, ns.
        """
        self._hardware = hardware
        self.own: set[bytes] = {address_bytes(address) for address in own}
        self.known: dict[bytes, bytes] = {}
        self.questions: int = 0
        self.answers: int = 0
        self.lost: int = 0
        self._send = send
        self._clock = clock
        self._waiting: dict[bytes, list[bytes]] = {}
        self._asked_at: dict[bytes, int] = {}

    # --- Out --------------------------------------------------------------------------------------

    def send_to(self, next_hop: bytes, data: bytes) -> None:
        """Send an IP packet to a neighbour, as soon as its hardware address is known."""
        hardware = self.known.get(next_hop)
        if hardware is not None:
            self._send(hardware + self._hardware + _type_of(data) + data)
            return
        waiting = self._waiting.setdefault(next_hop, [])
        if len(waiting) >= MOST_WAITING:
            del waiting[0]
            self.lost += 1
        waiting.append(data)
        if len(self._waiting) > MOST_KNOWN:
            self.lost += len(self._waiting.pop(next(iter(self._waiting))))
        now = self._clock()
        asked_at = self._asked_at.get(next_hop)
        if asked_at is None or now - asked_at >= ASK_AGAIN:
            _limit(self._asked_at)
            self._asked_at[next_hop] = now
            self._ask(next_hop, _source_of(data))

    def _ask(self, target: bytes, source: bytes) -> None:
        self.questions += 1
        if len(target) == 4:
            self._send(BROADCAST + self._hardware + TYPE_ARP + self._arp(_REQUEST, source, bytes(6), target))
            return
        group = _SOLICITED_NODE + target[13:]
        option = bytes((_SOURCE_OPTION, 1)) + self._hardware
        body = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + target + option
        self._send_icmpv6(b"\x33\x33" + group[12:], source, group, body)

    # --- In ---------------------------------------------------------------------------------------

    def take(self, frame: bytes) -> bool:
        """Take a frame; return whether it was about neighbours (right or wrong, it is dealt with)."""
        kind = frame[12:14]
        if kind == TYPE_ARP:
            self._take_arp(frame)
            return True
        if kind == TYPE_IPV6 and len(frame) > ETHERNET_HEADER + 40 and frame[20] == PROTOCOL_ICMPV6:
            number = frame[ETHERNET_HEADER + 40]
            if number in (_SOLICITATION, _ADVERTISEMENT):
                self._take_discovery(frame, number)
                return True
        return False

    def _take_arp(self, frame: bytes) -> None:
        if len(frame) < _ARP_LENGTH or frame[14:20] != _ARP_HEAD:
            return
        operation = int.from_bytes(frame[20:22], "big")
        hardware, sender, target = frame[22:28], frame[28:32], frame[38:42]
        if sender == target and sender in self.own:
            return  # somebody claims an address of ours: that is not learnt
        for_us = target in self.own
        # RFC 826: what is known is brought up to date, what is new is learnt if it is for us.
        if sender != bytes(4) and (for_us or sender in self.known):
            self._learn(sender, hardware)
        if operation == _REQUEST and for_us:
            self.answers += 1
            self._send(hardware + self._hardware + TYPE_ARP + self._arp(_REPLY, target, hardware, sender))

    def _take_discovery(self, frame: bytes, number: int) -> None:
        ip = frame[ETHERNET_HEADER:]
        length = int.from_bytes(ip[4:6], "big")
        source, body = ip[8:24], ip[40 : 40 + length]
        if ip[7] != _HOP_LIMIT or len(body) < 24 or len(body) != length or body[1]:
            return
        if (word_sum(ip[8:40] + struct.pack("!I3xB", length, PROTOCOL_ICMPV6)) + word_sum(body)) % 0xFFFF:
            return
        target = body[8:24]
        if number == _ADVERTISEMENT:
            self._learn(target, _option(body, _TARGET_OPTION) or frame[6:12])
            return
        if target not in self.own:
            return
        # RFC 4861 section 7.2.4: to all nodes, if somebody tests whether the address is free.
        to = source
        hardware = _option(body, _SOURCE_OPTION) or frame[6:12]
        flags = _SOLICITED_OVERRIDE
        if source == _UNSPECIFIED:
            to = bytes.fromhex("ff020000000000000000000000000001")
            hardware = b"\x33\x33" + to[12:]
            flags = 0x20000000
        else:
            self._learn(source, hardware)
        self.answers += 1
        option = bytes((_TARGET_OPTION, 1)) + self._hardware
        self._send_icmpv6(
            hardware, target, to, struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, flags) + target + option
        )

    def _learn(self, address: bytes, hardware: bytes) -> None:
        if address in self.own or hardware[0] & 1:
            return  # ours, or a group address, which is nobody's
        _limit(self.known)
        self.known[address] = hardware
        self._asked_at.pop(address, None)
        for data in self._waiting.pop(address, ()):
            self._send(hardware + self._hardware + _type_of(data) + data)

    # --- Frames -----------------------------------------------------------------------------------

    def _arp(self, operation: int, sender: bytes, hardware: bytes, target: bytes) -> bytes:
        return b"".join((_ARP_HEAD, operation.to_bytes(2, "big"), self._hardware, sender, hardware, target))

    def _send_icmpv6(self, hardware: bytes, source: bytes, to: bytes, body: bytes) -> None:
        total = word_sum(source + to + struct.pack("!I3xB", len(body), PROTOCOL_ICMPV6)) + word_sum(body)
        body = body[:2] + finish(total).to_bytes(2, "big") + body[4:]
        header = struct.pack("!IHBB", 0x60000000, len(body), PROTOCOL_ICMPV6, _HOP_LIMIT) + source + to
        self._send(hardware + self._hardware + TYPE_IPV6 + header + body)


def _option(body: bytes, wanted: int) -> bytes:
    """Return the hardware address in an option of a neighbour discovery message, or nothing."""
    position = 24
    while position + 8 <= len(body):
        kind, length = body[position], body[position + 1] * 8
        if not length:
            break
        if kind == wanted:
            return body[position + 2 : position + 8]
        position += length
    return b""


def _limit(table: dict[bytes, bytes] | dict[bytes, int]) -> None:
    """Forget the oldest entry of a table that is full."""
    if len(table) >= MOST_KNOWN:
        del table[next(iter(table))]


def _type_of(data: bytes) -> bytes:
    return TYPE_IPV6 if data[0] >> 4 == 6 else TYPE_IPV4


def _source_of(data: bytes) -> bytes:
    return data[8:24] if data[0] >> 4 == 6 else data[12:16]
