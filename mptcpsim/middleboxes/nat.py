"""Network address and port translation."""

from __future__ import annotations

from ipaddress import ip_address
from typing import ClassVar, Final

from mptcpsim.codec.checksum import finish, word_sum
from mptcpsim.codec.raw import RawIp, address_bytes, build_ip, parse_ip
from mptcpsim.core.segment import FourTuple, IcmpError, Packet, Segment, is_ipv6
from mptcpsim.net.middlebox import Middlebox
from mptcpsim.plugins import Parameter, PluginError, Value, register

#: The ports given out where the own one is taken (RFC 6335 section 6: the dynamic ones).
FIRST_PORT: Final = 49152
LAST_PORT: Final = 65535


class _Binding:
    """An inner address and port, and the outer port that stands for them.

    Attributes:
        inner: address and port.
        port: the outer port.
        used: when a packet has last used it, ns.
        remotes: addresses and ports that packets went to: only these may answer.
    """

    __slots__ = ("inner", "port", "remotes", "used")

    def __init__(self, inner: tuple[str, int], port: int) -> None:
        self.inner = inner
        self.port = port
        self.used: int = 0
        self.remotes: set[tuple[str, int]] = set()


@register
class Nat(Middlebox):
    """Source NAT (RFC 3022, RFC 5382): what goes forward leaves with an address of the box.

    The link's first end is the inner side. One inner address and port gets one outer port (RFC 5382
    REQ-1), its own where it is free; only those that were sent to may answer. Whatever else comes
    from outside is dropped, packets to inner addresses, too: an inner address that MPTCP announces
    is none that the peer can reach, and an MP_JOIN from inside finds its connection by the token. ICMP
    errors are translated with what they quote. A binding that was not used for ``timeout`` is gone,
    and what its connection sends afterwards gets another port.
    """

    NAME = "nat"
    SUMMARY = "source NAT with ports; the link's first end is inside"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("address", "", "the outer address; without it, the address of the link's first end"),
        Parameter("timeout", 0, "how long a binding outlives its last packet, ns; 0: for ever", 0),
        Parameter("keep_ports", True, "the outer port is the inner one where that is free"),
    )

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters.

        Raises:
            PluginError: the address cannot be read.
        """
        try:
            self._address = str(ip_address(str(values["address"]))) if values["address"] else ""
        except ValueError as error:
            raise PluginError(f"middlebox 'nat': address: {error}") from None
        timeout = values["timeout"]
        assert isinstance(timeout, int)
        self._timeout: int = timeout
        self._keep: bool = bool(values["keep_ports"])
        self._by_inner: dict[tuple[str, int], _Binding] = {}
        self._by_port: dict[tuple[bool, int], _Binding] = {}
        self._next = FIRST_PORT

    def outer(self, ipv6: bool) -> str:
        """Return the outer address of an IP version; empty if there is none."""
        if self._address:
            return self._address if is_ipv6(self._address) == ipv6 else ""
        return self.first_address(ipv6)

    def answers(self, address: str) -> bool:
        """Return whether an address is the outer one."""
        return address == self.outer(is_ipv6(address))

    def on_packet(self, packet: Packet, forward: bool, now: int) -> Packet | None:
        """Translate; None for what has no binding and may not make one."""
        outer = self.outer(is_ipv6(packet.flow.src))
        if not outer:
            return None
        if isinstance(packet, Segment):
            return self._out(packet, outer, now) if forward else self._in(packet, outer, now)
        if isinstance(packet, IcmpError):
            return self._error_out(packet, outer, now) if forward else self._error_in(packet, outer, now)
        return None

    # --- Segments -----------------------------------------------------------------------------

    def _out(self, segment: Segment, outer: str, now: int) -> Segment | None:
        flow = segment.flow
        binding = self._binding((flow.src, flow.sport), now)
        if binding is None:
            return None
        binding.used = now
        binding.remotes.add((flow.dst, flow.dport))
        changed = segment.clone()
        changed.flow = FourTuple(outer, binding.port, flow.dst, flow.dport)
        return changed

    def _in(self, segment: Segment, outer: str, now: int) -> Segment | None:
        flow = segment.flow
        binding = self._inbound(flow, outer, now)
        if binding is None:
            return None
        binding.used = now
        changed = segment.clone()
        changed.flow = FourTuple(flow.src, flow.sport, *binding.inner)
        # It is on its way to who has, or stands for, the outer address.
        changed.next_hop = segment.next_hop or flow.dst
        return changed

    def _binding(self, inner: tuple[str, int], now: int) -> _Binding | None:
        """Return the binding of an inner address and port, a new one if need be, None if no port is free."""
        binding = self._by_inner.get(inner)
        if binding is not None and self._lives(binding, now):
            return binding
        ipv6 = is_ipv6(inner[0])
        port = inner[1] if self._keep else self._next
        if (ipv6, port) in self._by_port or not self._keep:
            for _ in range(FIRST_PORT, LAST_PORT + 1):
                port = self._next
                self._next = port + 1 if port < LAST_PORT else FIRST_PORT
                old = self._by_port.get((ipv6, port))
                if old is None or not self._lives(old, now):
                    break
            else:
                return None
        binding = _Binding(inner, port)
        self._by_inner[inner] = self._by_port[ipv6, port] = binding
        return binding

    def _inbound(self, flow: FourTuple, outer: str, now: int) -> _Binding | None:
        """Return the binding that a packet from outside may use."""
        if flow.dst != outer:
            return None
        binding = self._by_port.get((is_ipv6(outer), flow.dport))
        if binding is None or not self._lives(binding, now) or (flow.src, flow.sport) not in binding.remotes:
            return None
        return binding

    def _lives(self, binding: _Binding, now: int) -> bool:
        """Return whether a binding is in use still; one that is not is forgotten."""
        if not self._timeout or now - binding.used <= self._timeout:
            return True
        self._by_inner.pop(binding.inner, None)
        self._by_port.pop((is_ipv6(binding.inner[0]), binding.port), None)
        return False

    # --- ICMP errors --------------------------------------------------------------------------

    def _error_in(self, error: IcmpError, outer: str, now: int) -> IcmpError | None:
        """An error about a segment that went out: it is for the inner host (RFC 5508 section 4.2)."""
        quoted = error.quoted_flow
        binding = self._inbound(quoted.reverse(), outer, now)
        if binding is None or error.flow.dst != outer:
            return None
        inner = FourTuple(*binding.inner, quoted.dst, quoted.dport)
        return _translated(error, error.flow._replace(dst=inner.src), inner)

    def _error_out(self, error: IcmpError, outer: str, now: int) -> IcmpError | None:
        """An error about a segment that came in: the sender knows the outer address only."""
        quoted = error.quoted_flow
        binding = self._by_inner.get((quoted.dst, quoted.dport))
        if binding is None or not self._lives(binding, now):
            return None
        return _translated(
            error,
            error.flow._replace(src=outer),
            FourTuple(quoted.src, quoted.sport, outer, binding.port),
        )


def _translated(error: IcmpError, flow: FourTuple, quoted: FourTuple) -> IcmpError:
    """Return an error with other addresses, outside and in what it quotes."""
    cause = error.cause.clone()
    cause.flow = quoted
    changed = IcmpError(flow.src, cause, error.kind, error.mtu)
    changed.take_header(error)
    changed.flow = flow
    changed.quoted_seq = error.quoted_seq
    changed.quoted_sequences = error.quoted_sequences
    if error.quote is not None:
        changed.quote = _requoted(error.quote, quoted)
    return changed


def _requoted(quote: bytes, quoted: FourTuple) -> bytes:
    """Return the bytes of a quoted segment, its end cut off or not, with other addresses and ports."""
    ip = parse_ip(quote)
    ports = quoted.sport.to_bytes(2, "big") + quoted.dport.to_bytes(2, "big")
    data = ports + ip.payload[4:]
    if len(data) >= 18:
        # RFC 1624: the checksum of a segment that is not all there changes with what it covers.
        old = int.from_bytes(data[16:18], "big")
        addresses = address_bytes(quoted.src) + address_bytes(quoted.dst)
        total = word_sum(addresses + ports) - _covered(ip) - old
        data = data[:16] + finish(total).to_bytes(2, "big") + data[18:]
    return build_ip(ip._replace(src=quoted.src, dst=quoted.dst, payload=data))


def _covered(ip: RawIp) -> int:
    return word_sum(address_bytes(ip.src) + address_bytes(ip.dst) + ip.payload[:4])
