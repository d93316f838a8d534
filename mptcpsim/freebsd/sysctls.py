"""The sysctl variables that can be set here, each with what its value is."""

from __future__ import annotations

from typing import Final, NamedTuple

from mptcpsim.freebsd.addresses import read_address
from mptcpsim.freebsd.lines import Line, whole_number

SysctlValue = int | str | tuple[str, ...]


class Variable(NamedTuple):
    """What a variable takes.

    Attributes:
        kind: "number", "switch" (0 or 1), "word" or "addresses".
        what: it stands for.
        lowest: of a number.
        highest: of a number.
    """

    kind: str
    what: str
    lowest: int = 0
    highest: int = (1 << 31) - 1


#: Those of the kernel patch are named in its notes; the others in tcp(4), inet(4), ipfw(8).
VARIABLES: Final[dict[str, Variable]] = {
    "net.inet.tcp.mptcp.mp_addresses": Variable("addresses", "further addresses of MPTCP connections"),
    "net.inet.tcp.mptcp.max_subflows": Variable("number", "subflows of a connection, at most", 1, 255),
    "net.inet.tcp.mptcp.single_packet_maps": Variable("switch", "a mapping covers one segment only"),
    "net.inet.tcp.sack.enable": Variable("switch", "selective acknowledgments"),
    "net.inet.tcp.rfc1323": Variable("switch", "window scaling and timestamps"),
    "net.inet.tcp.ecn.enable": Variable("number", "explicit congestion notification", 0, 2),
    "net.inet.tcp.delayed_ack": Variable("switch", "delayed acknowledgments"),
    "net.inet.tcp.cc.algorithm": Variable("word", "congestion control"),
    "net.inet.tcp.sendspace": Variable("number", "send buffer, bytes", 1),
    "net.inet.tcp.recvspace": Variable("number", "receive buffer, bytes", 1),
    "net.inet.tcp.sendbuf_auto": Variable("switch", "the send buffer grows"),
    "net.inet.tcp.recvbuf_auto": Variable("switch", "the receive buffer grows"),
    "net.inet.tcp.sendbuf_max": Variable("number", "largest send buffer, bytes", 1),
    "net.inet.tcp.recvbuf_max": Variable("number", "largest receive buffer, bytes", 1),
    "kern.ipc.maxsockbuf": Variable("number", "largest buffer of a socket, bytes", 1),
    "net.inet.ip.forwarding": Variable("switch", "the host is a router of IPv4"),
    "net.inet6.ip6.forwarding": Variable("switch", "the host is a router of IPv6"),
    "net.inet.ip.fw.enable": Variable("switch", "ipfw is asked at all"),
    "net.inet.ip.fw.one_pass": Variable("switch", "packets out of a pipe have passed ipfw"),
    "net.inet.ip.dummynet.io_fast": Variable("switch", "packets below the bandwidth are not delayed"),
    "net.inet.ip.dummynet.pipe_slot_limit": Variable("number", "longest queue of a pipe, packets", 1),
    "net.inet.ip.dummynet.pipe_byte_limit": Variable("number", "longest queue of a pipe, bytes", 1),
    "net.inet.ip.dummynet.hash_size": Variable("number", "buckets of a mask", 16, 65536),
    "net.inet.ip.dummynet.red_lookup_depth": Variable("number", "accuracy of RED while idle", 1),
    "net.inet.ip.dummynet.red_avg_pkt_size": Variable("number", "RED: expected size of a packet, bytes", 1),
    "net.inet.ip.dummynet.red_max_pkt_size": Variable("number", "RED: largest size of a packet, bytes", 1),
}


def read_value(at: Line, name: str, text: str) -> SysctlValue:
    """Return the value that a text gives to a variable: a number, a word or addresses.

    ``mp_addresses`` takes addresses with spaces between them; 0, or nothing, clears them.

    Raises:
        DialectError: the variable is not known, or does not take this value.
    """
    variable = VARIABLES.get(name)
    if variable is None:
        raise at.error(f"sysctl {name!r} is not simulated: known are {', '.join(VARIABLES)}")
    text = text.strip()
    if variable.kind == "addresses":
        words = text.replace(",", " ").split()
        return () if words == ["0"] else tuple(read_address(at, word) for word in words)
    if variable.kind == "switch" and text not in ("0", "1"):
        raise at.error(f"{name} ({variable.what}) is a switch: write 0 or 1 instead of {text!r}")
    if variable.kind == "word":
        if not text.isidentifier():
            raise at.error(f"{text!r} is no value of {name} ({variable.what}): write one word")
        return text
    return whole_number(at, text, f"value of {name} ({variable.what})", variable.lowest, variable.highest)
