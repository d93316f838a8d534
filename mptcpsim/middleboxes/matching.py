"""Which packets a middlebox acts on: kind, number, direction, subflow, time."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from mptcpsim.core.mptcp_options import (
    AddAddr,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MpTcprst,
    RemoveAddr,
)
from mptcpsim.core.segment import ACK, FIN, RST, SYN, FourTuple, Packet, Segment
from mptcpsim.net.middlebox import Middlebox
from mptcpsim.plugins import Parameter, PluginError, Value
from mptcpsim.units import NEVER

#: The option classes behind each name, but for the DSS, which has a slot of its own.
OPTION_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "mp_capable": (MpCapable,),
    "mp_join": (MpJoinSyn, MpJoinSynAck, MpJoinAck),
    "add_addr": (AddAddr,),
    "remove_addr": (RemoveAddr,),
    "mp_prio": (MpPrio,),
    "mp_fail": (MpFail,),
    "mp_fastclose": (MpFastclose,),
    "mp_tcprst": (MpTcprst,),
}


def has_mptcp(segment: Segment) -> bool:
    """Return whether a segment carries an option of MPTCP."""
    return segment.dss is not None or bool(segment.options)


def is_pure_ack(segment: Segment) -> bool:
    """Return whether a segment is an ACK and nothing else."""
    return segment.length == 0 and segment.flags & (ACK | SYN | FIN | RST) == ACK


def _has(name: str) -> Callable[[Segment], bool]:
    wanted = OPTION_TYPES[name]
    return lambda segment: any(isinstance(option, wanted) for option in segment.options or ())


#: What can be said of a segment by itself.
KINDS: Final[dict[str, Callable[[Segment], bool]]] = {
    "any": lambda segment: True,
    "syn": lambda segment: segment.flags & SYN != 0,
    "non-syn": lambda segment: segment.flags & SYN == 0,
    "syn-with-options": lambda segment: segment.flags & SYN != 0 and has_mptcp(segment),
    "mptcp": has_mptcp,
    "dss": lambda segment: segment.dss is not None,
    **{name: _has(name) for name in OPTION_TYPES},
    "pure-ack": is_pure_ack,
    "zero-window": lambda segment: segment.window == 0 and segment.flags & (ACK | SYN | RST) == ACK,
    "data": lambda segment: segment.length > 0,
    "fin": lambda segment: segment.flags & FIN != 0,
    "rst": lambda segment: segment.flags & RST != 0,
}

#: What can be said only by who has seen the packets before.
WATCHED: Final = ("window-update", "probe")

KIND_NAMES: Final = (*KINDS, *WATCHED, "icmp")

DIRECTIONS: Final = ("both", "forward", "backward")

MATCH_PARAMETERS: Final = (
    Parameter("match", "any", f"kinds of packets, any of the list: {', '.join(KIND_NAMES)}"),
    Parameter("direction", "both", "forward: from the first end of the link to the second; backward; both"),
    Parameter("subflow", "", "addresses that the packet must have, as source or destination: one, or two"),
    Parameter("from", 0, "instant from which on the box acts, ns", 0),
    Parameter("until", 0, "instant up to which it acts, ns; 0: to the end", 0),
    Parameter("after", 0, "let the first so many matching packets pass", 0),
    Parameter("first", 0, "act on the first so many of the others only; 0: on all", 0),
    Parameter("nth", "", "act on the packets with these numbers only, such as [1, 3]; the first is 1"),
    Parameter("every", 1, "act on every n-th packet only", 1),
)


def words(text: str) -> list[str]:
    """Return the entries of a list as a parameter gives it: separated by commas or spaces."""
    return text.replace(",", " ").split()


def chosen(box: Middlebox, name: str, value: Value, known: tuple[str, ...]) -> list[str]:
    """Return the entries of a list parameter, all of them known.

    Raises:
        PluginError: one of them is not, or there are none.
    """
    found = words(str(value))
    for word in found or [""]:
        if word not in known:
            raise PluginError(f"middlebox {box.NAME!r}: {name} {word!r} is none of {', '.join(known)}")
    return found


class _Watched:
    """The segments of one direction of a subflow, as far as they have been seen; numbers as on the wire."""

    __slots__ = ("ack", "data_ack", "end", "window")

    def __init__(self) -> None:
        self.ack: int = -1
        self.data_ack: int = -1
        self.window: int = 0
        self.end: int = -1


@mypyc_attr(allow_interpreted_subclasses=True)
class MatchingBox(Middlebox):
    """A box that acts on packets of certain kinds and lets everything else pass.

    A subclass has ``MATCH_PARAMETERS`` among its ``PARAMETERS`` and says in ``on_match`` what happens.

    The kinds ``window-update`` (a pure ACK that does nothing but move the right edge on, compared with
    the ACK sent before it, whether that has passed or not) and ``probe`` (one byte into a closed window, or
    an empty segment with the number before the next one, as a keepalive is, too) need what went before.
    """

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = MATCH_PARAMETERS

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters.

        Raises:
            PluginError: a word, an address or a number in a list cannot be read, or no packet can match.
        """
        kinds = chosen(self, "match", values["match"], KIND_NAMES)
        self._kinds: list[Callable[[Segment], bool]] = [KINDS[kind] for kind in kinds if kind in KINDS]
        self._icmp: bool = "icmp" in kinds or "any" in kinds
        self._updates: bool = "window-update" in kinds
        self._probes: bool = "probe" in kinds
        self._watches: bool = self._updates or self._probes
        (direction,) = chosen(self, "direction", values["direction"], DIRECTIONS)[:1]
        self._forward: bool = direction != "backward"
        self._backward: bool = direction != "forward"
        try:
            self._addresses: list[str] = [str(ip_address(word)) for word in words(str(values["subflow"]))]
        except ValueError as error:
            raise PluginError(f"middlebox {self.NAME!r}: subflow: {error}") from None
        self._from: int = _whole(values["from"])
        self._until: int = _whole(values["until"]) or NEVER
        self._after: int = _whole(values["after"])
        self._first: int = _whole(values["first"])
        self._every: int = _whole(values["every"])
        numbers = words(str(values["nth"]))
        if not all(number.isdecimal() and int(number) > 0 for number in numbers):
            raise PluginError(f"middlebox {self.NAME!r}: nth {values['nth']!r} is no list such as [1, 3]")
        self._nth: frozenset[int] = frozenset(int(number) for number in numbers)
        self._last: int = max(self._nth, default=0)
        self._count: int = 0
        self._flows: dict[FourTuple, _Watched] = {}
        if self._until <= self._from:
            raise self._never("until is not after from", "raise until, or leave it out")
        if len(set(self._addresses)) > 2:
            raise self._never("a packet has two addresses, not more", "name one or two in subflow")
        if not self._nth and self._first and self._first < self._every:
            raise self._never("first is below every", "raise first, or leave one of them out")
        if self._nth and not any(self._acts_on(number) for number in self._nth):
            raise self._never("first and every leave none of nth", "leave them out, or choose other numbers")

    def _never(self, why: str, remedy: str) -> PluginError:
        return PluginError(f"middlebox {self.NAME!r} acts on nothing: {why}; {remedy}")

    def on_match(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Return what goes on in the place of a packet that matches; see ``Middlebox.on_packet``."""
        raise NotImplementedError

    def on_other(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Return what goes on in the place of any other packet."""
        return packet

    def on_packet(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Act on what matches."""
        if self.matches(packet, forward, now):
            return self.on_match(packet, forward, now)
        return self.on_other(packet, forward, now)

    def matches(self, packet: Packet, forward: bool, now: int) -> bool:
        """Return whether the box acts on a packet; to be asked once for each."""
        if isinstance(packet, Segment):
            watched = self._watch(packet) if self._watches else False
            if not self._applies(packet, forward, now):
                return False
            if not watched and not any(kind(packet) for kind in self._kinds):
                return False
        elif not self._icmp or not self._applies(packet, forward, now):
            return False
        self._count += 1
        return self._acts_on(self._count - self._after)

    def _acts_on(self, number: int) -> bool:
        """Return whether the box acts on the matching packet of this number; the first is 1."""
        if number <= 0 or (self._first and number > self._first) or number % self._every:
            return False
        return not self._nth or number in self._nth

    def _applies(self, packet: Packet, forward: bool, now: int) -> bool:
        """Return whether direction, time and addresses are those that the box acts on."""
        if not (self._forward if forward else self._backward) or not self._from <= now < self._until:
            return False
        addresses = self._addresses
        if not addresses:
            return True
        flow = packet.flow
        return all(address in (flow.src, flow.dst) for address in addresses)

    def _watch(self, segment: Segment) -> bool:
        """Note a segment; return whether it is one of the kinds that need to know those before it."""
        flow = segment.flow
        own = self._flows.get(flow)
        if own is None:
            own = self._flows[flow] = _Watched()
        numbers = segment.sequences
        found = False
        if self._probes and not segment.flags & (SYN | RST):
            back = self._flows.get(flow.reverse())
            closed = back is not None and back.window == 0 and back.ack != -1
            seq = numbers.wire_seq(segment.seq)
            old = is_pure_ack(segment) and own.end != -1 and (seq + 1) & 0xFFFFFFFF == own.end
            found = old or (segment.length == 1 and closed)
        end = numbers.wire_seq(segment.end)
        if not found and (own.end == -1 or (end - own.end) & 0xFFFFFFFF < 1 << 31):
            own.end = end
        if segment.flags & (ACK | SYN | RST) == ACK:
            ack = numbers.wire_ack(segment.ack)
            data_ack = segment.dss.data_ack if segment.dss is not None else -1
            if self._updates and is_pure_ack(segment) and not segment.sack:
                same = ack == own.ack and data_ack == own.data_ack
                found = found or (same and segment.window > own.window)
            own.ack = ack
            own.data_ack = data_ack
            own.window = segment.window
        return found


def _whole(value: Value) -> int:
    assert isinstance(value, int)
    return value
