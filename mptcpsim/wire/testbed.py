"""A testbed: the kernel at one end, in a namespace of its own, and devices for our stack at the other.

Each path is a network of its own. Path number N, from 1 on, has 10.N.0.0/24 and fd00:N::/64; our end is
number 1 in it, the kernel's is number 2. A packet takes the path of its addresses, at both ends; one
between two paths takes the path with the higher number.
"""

from __future__ import annotations

from typing import Final

from mptcpsim.wire.devices import WireDevice
from mptcpsim.wire.host import WireHost
from mptcpsim.wire.namespaces import Namespace
from mptcpsim.wire.offloads import switch_off
from mptcpsim.wire.packet_socket import PacketSocket
from mptcpsim.wire.tun import Tun

TUN: Final = "tun"
PACKET: Final = "packet"
KINDS: Final = (TUN, PACKET)

DEFAULT_MTU: Final = 1500
_LEAST_IPV6_MTU: Final = 1280

#: Numbers of the kernel's routing tables, behind those that are taken already.
_FIRST_TABLE: Final = 100

#: Priority of the rule behind those of the paths.
_LAST_RULE: Final = 1000

_OUR_END: Final = 1
_KERNEL_END: Final = 2


def ipv4(path: int, end: int) -> str:
    """Return an IPv4 address of a path."""
    return f"10.{path}.0.{end}"


def ipv6(path: int, end: int) -> str:
    """Return an IPv6 address of a path."""
    return f"fd00:{path:x}::{end:x}"


class WirePath:
    """One link between the two ends.

    Attributes:
        number: from 1 on.
        interface: the name of the kernel's end.
        device: ours.
        ours, theirs: the IPv4 address of each end.
        ours6, theirs6: the IPv6 addresses.
    """

    def __init__(self, number: int, interface: str, device: WireDevice) -> None:
        self.number = number
        self.interface = interface
        self.device = device
        self.ours, self.theirs = ipv4(number, _OUR_END), ipv4(number, _KERNEL_END)
        self.ours6, self.theirs6 = ipv6(number, _OUR_END), ipv6(number, _KERNEL_END)

    def our_address(self, is_ipv6: bool) -> str:
        """Return our address of a family."""
        return self.ours6 if is_ipv6 else self.ours

    def their_address(self, is_ipv6: bool) -> str:
        """Return the kernel's address of a family."""
        return self.theirs6 if is_ipv6 else self.theirs


class Testbed:
    """The two ends and the paths between them; a context manager that removes everything.

    Attributes:
        kernel: the namespace of the kernel's end.
        paths: the paths.
        mtu: of each link, bytes.

    Args:
        paths: how many.
        kind: ``tun`` or ``packet`` (a veth and a packet socket).
        mtu: of each link, bytes.
        gso: the kernel maps and segments large pieces, as it does by default; without it each segment
            has a mapping of its own.

    Raises:
        DeviceError: something cannot be had; the text says what, and how to get it.
        ValueError: an argument is out of its range.
    """

    __test__ = False  # pytest: not a test, whatever its name

    def __init__(self, paths: int = 1, kind: str = TUN, mtu: int = DEFAULT_MTU, gso: bool = False) -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of device: {' or '.join(KINDS)}")
        if not 1 <= paths <= 99:
            raise ValueError(f"{paths} paths: there may be 1 to 99")
        self.mtu = mtu
        self.paths: list[WirePath] = []
        self._kind = kind
        self._gso = gso
        self._namespaces: list[Namespace] = []
        try:
            self.kernel = self._namespace("kernel")
            # Addresses of one path answer on others as well, as a host with several interfaces does.
            for scope in ("all", "default"):
                self.kernel.set_sysctl(f"net.ipv4.conf.{scope}.rp_filter", 0)
            # What one run learns of a path must not change the next one.
            self.kernel.set_sysctl("net.ipv4.tcp_no_metrics_save", 1)
            self._ours = self._namespace("stack") if kind == PACKET else self.kernel
            for number in range(1, paths + 1):
                self.paths.append(self._make_path(number))
        except BaseException:
            self.close()
            raise

    def _namespace(self, label: str) -> Namespace:
        made = Namespace(label)
        self._namespaces.append(made)
        return made

    def _make_path(self, number: int) -> WirePath:
        name = f"wire{number}"
        addresses = (ipv4(number, _OUR_END), ipv6(number, _OUR_END))
        device: WireDevice
        if self._kind == TUN:
            with self.kernel.inside():
                device = Tun(name)
        else:
            ours = f"stack{number}"
            self._ours.netlink.link(
                "add",
                ifname=ours,
                kind="veth",
                peer={"ifname": name, "net_ns_fd": self.kernel.name},
            )
            with self._ours.inside():
                # The kernel has no part in this end: no address, and nothing that it sends by itself.
                self._ours.set_sysctl(f"net.ipv6.conf.{ours}.disable_ipv6", 1)
                switch_off(ours)
                self._ours.netlink.link("set", index=self._ours.index(ours), mtu=self.mtu, state="up")
            with self.kernel.inside():
                switch_off(name, keep_gso=self._gso)
            with self._ours.inside():
                device = PacketSocket(ours, addresses)
        path = WirePath(number, name, device)
        self._configure(path)
        return path

    def _configure(self, path: WirePath) -> None:
        """Give the kernel's end its addresses, routes and rules."""
        netlink = self.kernel.netlink
        index = self.kernel.index(path.interface)
        options = {} if self._gso else {"gso_max_segs": 1}
        netlink.link("set", index=index, mtu=self.mtu, txqlen=10_000, **options)
        netlink.link("set", index=index, state="up")
        table = _FIRST_TABLE + path.number
        families = [(2, path.theirs, path.ours, 24, 32)]
        if self.mtu >= _LEAST_IPV6_MTU:
            families.append((10, path.theirs6, path.ours6, 64, 128))
        for family, own, other, length, whole in families:
            # IFA_F_NODAD: without it an IPv6 address can be used after a second or two only.
            flags = {"flags": 0x02} if family == 10 else {}
            netlink.addr("add", index=index, address=own, prefixlen=length, family=family, **flags)
            gateway = {} if self._kind == TUN else {"gateway": other}
            netlink.route(
                "add", dst="default", oif=index, table=table, family=family, priority=1024, **gateway
            )
            # The later path first, as ``WireHost.attach`` has it.
            order = {"table": table, "family": family, "priority": _LAST_RULE - path.number}
            netlink.rule("add", src=own, src_len=whole, **order)
            netlink.rule("add", dst=other, dst_len=length, **order)

    def attach(self, host: WireHost) -> None:
        """Give a host all the devices, with the addresses of their paths."""
        for path in self.paths:
            self.attach_path(host, path, path.device)

    def attach_path(self, host: WireHost, path: WirePath, device: WireDevice) -> None:
        """Give a host one device, or what was put around it."""
        addresses = [f"{path.ours}/24"]
        gateways = [path.theirs]
        if self.mtu >= _LEAST_IPV6_MTU:
            addresses.append(f"{path.ours6}/64")
            gateways.append(path.theirs6)
        host.attach(device, addresses, self.mtu, gateways)

    def close(self) -> None:
        """Remove everything; a second call does nothing."""
        for path in self.paths:
            path.device.close()
        for namespace in reversed(self._namespaces):
            namespace.remove()

    def __enter__(self) -> Testbed:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
