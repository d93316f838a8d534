"""What this machine can do: rights, TUN, namespaces, the kernel's MPTCP, offloads, programs.

Each finding says what it is about, whether it is there, and if not, how to get it. Nothing is left behind.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from mptcpsim.wire.devices import DeviceError
from mptcpsim.wire.namespaces import Namespace
from mptcpsim.wire.offloads import switch_off
from mptcpsim.wire.tun import Tun

IPPROTO_MPTCP: Final = 262

#: Numbers of capabilities(7).
_CAP_NET_ADMIN: Final = 12
_CAP_NET_RAW: Final = 13
_CAP_SYS_ADMIN: Final = 21

_MPTCP_SYSCTL: Final = Path("/proc/sys/net/mptcp/enabled")

# What can be asked for.
RIGHTS: Final = "rights"
PYROUTE2: Final = "pyroute2"
NAMESPACES: Final = "namespaces"
TUN: Final = "tun"
PACKET: Final = "packet"
MPTCP: Final = "mptcp"
H11: Final = "h11"

#: What every run needs.
ALWAYS: Final = (RIGHTS, PYROUTE2, NAMESPACES)

#: Programs that are good to have, by what they are for.
PROGRAMS: Final = {
    "iperf3": "measures against `wire serve --iperf3`",
    "mptcpize": "makes unmodified programs speak MPTCP",
    "curl": "fetches from `wire serve --http`",
    "tshark": "reads captures",
}


class Capability(NamedTuple):
    """What one look has found.

    Attributes:
        what: what was looked for, a word.
        there: it is there.
        detail: what it is, or what is missing and how to get it.
    """

    what: str
    there: bool
    detail: str


class Unavailable(Exception):
    """The machine cannot do what was asked for; the text says what is missing and how to get it."""


def rights() -> Capability:
    """Look for the rights that namespaces and raw interfaces take."""
    held = 0
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("CapEff:"):
                held = int(line.split()[1], 16)
    except OSError:
        return Capability(RIGHTS, False, f"{sys.platform} is not Linux: the live wire needs Linux")
    needed = {
        "CAP_NET_ADMIN": _CAP_NET_ADMIN,
        "CAP_NET_RAW": _CAP_NET_RAW,
        "CAP_SYS_ADMIN": _CAP_SYS_ADMIN,
    }
    missing = [name for name, number in needed.items() if not held >> number & 1]
    if missing:
        names = ", ".join(missing)
        return Capability(
            RIGHTS,
            False,
            f"{names} missing: run as root (sudo), or in a container with --cap-add NET_ADMIN --cap-add "
            "SYS_ADMIN --cap-add NET_RAW",
        )
    return Capability(RIGHTS, True, "root" if os.geteuid() == 0 else "by capabilities")


def _library(name: str) -> Capability:
    if importlib.util.find_spec(name) is None:
        return Capability(name, False, f"{name} is not installed: pip install 'mptcpsim[wire]'")
    return Capability(name, True, "installed")


def pyroute2() -> Capability:
    """Look for the library that makes namespaces, links and addresses."""
    return _library(PYROUTE2)


def h11() -> Capability:
    """Look for the library that speaks HTTP/1.1."""
    return _library(H11)


def namespaces() -> Capability:
    """Make a namespace and remove it."""
    try:
        with Namespace("probe"):
            return Capability(NAMESPACES, True, "can be made and removed")
    except (DeviceError, OSError) as error:
        return Capability(NAMESPACES, False, str(error))


def tun() -> Capability:
    """Make a TUN interface in a namespace."""
    try:
        with Namespace("probe") as namespace, namespace.inside():
            Tun("probe0").close()
    except (DeviceError, OSError) as error:
        return Capability(TUN, False, str(error))
    return Capability(TUN, True, "can be made")


def packet() -> Capability:
    """Make a veth in a namespace, and switch off its offloads, which packet sockets need."""
    try:
        with Namespace("probe") as namespace:
            namespace.netlink.link("add", ifname="probe0", kind="veth", peer={"ifname": "probe1"})
            with namespace.inside():
                switch_off("probe0")
    except (DeviceError, OSError) as error:
        return Capability(PACKET, False, str(error))
    except Exception as error:
        # NetlinkError of pyroute2, which may not be imported here: the kernel knows no veth.
        return Capability(PACKET, False, f"no veth can be made ({error}): modprobe veth, or use TUN")
    return Capability(PACKET, True, "veth can be made, its offloads switched off")


def mptcp() -> Capability:
    """Look for MPTCP in the kernel."""
    kernel = os.uname().release
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        return Capability(
            MPTCP,
            False,
            f"the kernel {kernel} makes no MPTCP socket ({error.strerror}): take Linux 5.6 or later with "
            "CONFIG_MPTCP, and set net.mptcp.enabled=1",
        )
    if _MPTCP_SYSCTL.read_text(encoding="ascii").strip() != "1":
        return Capability(MPTCP, False, "net.mptcp.enabled is 0: sysctl -w net.mptcp.enabled=1")
    return Capability(MPTCP, True, f"Linux {kernel}")


_LOOKS: Final[dict[str, Callable[[], Capability]]] = {
    RIGHTS: rights,
    PYROUTE2: pyroute2,
    NAMESPACES: namespaces,
    TUN: tun,
    PACKET: packet,
    MPTCP: mptcp,
    H11: h11,
}

#: What a look needs to be worth it.
_NEEDS: Final = {
    NAMESPACES: (RIGHTS, PYROUTE2),
    TUN: (RIGHTS, PYROUTE2),
    PACKET: (RIGHTS, PYROUTE2),
}


def look(wanted: Iterable[str] = tuple(_LOOKS)) -> list[Capability]:
    """Look for each of what is wanted, and for what that needs; what lacks its needs is not looked for."""
    found: dict[str, Capability] = {}

    def find(what: str) -> bool:
        if what not in found:
            needs = [find(need) for need in _NEEDS.get(what, ())]
            if not all(needs):
                return False
            found[what] = _LOOKS[what]()
        return found[what].there

    for what in wanted:
        find(what)
    return list(found.values())


def programs() -> list[Capability]:
    """Look for the programs that are good to have."""
    found = []
    for name, purpose in PROGRAMS.items():
        path = shutil.which(name)
        detail = path or f"not installed ({purpose}): apt-get install {name}"
        found.append(Capability(name, path is not None, detail))
    return found


def require(wanted: Iterable[str]) -> None:
    """Complain, in one message, of all that is missing.

    Raises:
        Unavailable: something is.
    """
    missing = [finding for finding in look([*ALWAYS, *wanted]) if not finding.there]
    if missing:
        raise Unavailable("; ".join(finding.detail for finding in missing))
