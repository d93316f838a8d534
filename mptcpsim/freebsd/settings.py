"""sysctl(8): what variables of TCP and MPTCP mean, as keys of a scenario's ``tcp`` and ``mptcp`` tables.

The buffers of sockets have one size here and do not grow. What a connection takes is what is set when it
is opened, or when its server is started.
"""

from __future__ import annotations

from typing import Any, Final

from mptcpsim.freebsd.commands import Sysctl
from mptcpsim.freebsd.lines import Line

#: kern.ipc.maxsockbuf of FreeBSD.
LARGEST_BUFFER: Final = 2 << 20

_TCP: Final = "net.inet.tcp."
_MPTCP: Final = "net.inet.tcp.mptcp."
#: FreeBSD's names of congestion controls that are called otherwise here.
_CONGESTION: Final = {"newreno": "reno"}
_GROWTH: Final = ("sendbuf_auto", "recvbuf_auto", "sendbuf_max", "recvbuf_max")


def size_text(size: int) -> str:
    """Return a number of bytes as a scenario has it."""
    return f"{size}B"


class Settings:
    """The variables of TCP and MPTCP of one system.

    Attributes:
        tcp: keys of a ``tcp`` table.
        mptcp: keys of an ``mptcp`` table.
        lines: that set each key, as (table, key).
        accepts_ecn: connections that are accepted speak ECN when the client asks for it.
        largest_buffer: that a program may ask for.
    """

    def __init__(self) -> None:
        self.tcp: dict[str, Any] = {}
        self.mptcp: dict[str, Any] = {}
        self.lines: dict[tuple[str, str], Line] = {}
        self.accepts_ecn = False
        self.largest_buffer = LARGEST_BUFFER

    def set(self, command: Sysctl) -> bool:
        """Set a variable; return False if it is none of TCP's.

        Raises:
            DialectError: the value is not simulated.
        """
        at, name, value = command.at, command.name, command.value
        if name == "kern.ipc.maxsockbuf":
            assert isinstance(value, int)
            self.largest_buffer = value
        elif name.startswith(_MPTCP):
            self._put(at, "mptcp", self._of_mptcp(command, name.removeprefix(_MPTCP)))
        elif name.startswith(_TCP):
            self._put(at, "tcp", self._of_tcp(command, name.removeprefix(_TCP)))
        else:
            return False
        return True

    def buffer(self, at: Line, what: str, size: int) -> str:
        """Return the size of a buffer that a program asks for.

        Raises:
            DialectError: the system does not allow so much.
        """
        if size > self.largest_buffer:
            raise at.error(
                f"{what} {size} is beyond kern.ipc.maxsockbuf={self.largest_buffer} (No buffer space "
                "available): raise that first"
            )
        return size_text(size)

    def _put(self, at: Line, table: str, keys: dict[str, Any]) -> None:
        (self.tcp if table == "tcp" else self.mptcp).update(keys)
        self.lines.update({(table, key): at for key in keys})

    def _of_mptcp(self, command: Sysctl, name: str) -> dict[str, Any]:
        value = command.value
        if name == "mp_addresses":
            assert isinstance(value, tuple)
            return {"path_manager": {"name": "mp_addresses", "addresses": " ".join(value)}}
        if name == "max_subflows":
            return {"max_subflows": value}
        if value == 0:  # single_packet_maps
            raise command.at.error(
                "how many segments a mapping covers then is not known: write mapping_segments in the host's "
                "mptcp table instead"
            )
        return {"mapping_segments": 1}

    def _of_tcp(self, command: Sysctl, name: str) -> dict[str, Any]:
        at, value = command.at, command.value
        if name in _GROWTH:
            if value == 0 and name.endswith("_auto"):
                return {}  # buffers keep their size
            raise at.error(
                f"{command.name}: buffers do not grow here: leave it out, and set sendspace or recvspace"
            )
        if name in ("sendspace", "recvspace"):
            assert isinstance(value, int)
            text = self.buffer(at, name, value)
            return {"send_buffer" if name == "sendspace" else "receive_buffer": text}
        if name == "cc.algorithm":
            return {"congestion": _CONGESTION.get(str(value), str(value))}
        if name == "delayed_ack":
            return {"ack_every": 2 if value else 1}
        if name == "rfc1323":
            return {"window_scaling": bool(value), "timestamps": bool(value)}
        if name == "sack.enable":
            return {"sack": bool(value)}
        # ecn.enable: 1 asks for it and grants it, 2 grants it only.
        self.accepts_ecn = value == 2
        return {"ecn": value == 1}
