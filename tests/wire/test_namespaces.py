"""Namespaces, testbeds, and what is left behind: nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mptcpsim.wire import leftovers
from mptcpsim.wire.devices import DeviceError
from mptcpsim.wire.namespaces import Namespace
from mptcpsim.wire.packet_socket import PacketSocket
from mptcpsim.wire.testbed import PACKET, TUN, Testbed
from mptcpsim.wire.tun import Tun


def test_names_tell_the_owner() -> None:
    name = leftovers.name_for("kernel")
    assert name.startswith(f"mptcpsim-{os.getpid()}-")
    assert leftovers.has_owner(name)
    pid, started = name.split("-")[1:3]
    assert not leftovers.has_owner(f"mptcpsim-{pid}-{int(started) + 1}-kernel"), "the pid was given again"
    assert not leftovers.has_owner(f"mptcpsim-4194305-{started}-kernel"), "no such process"
    assert leftovers.has_owner("blue"), "somebody else's"
    assert leftovers.has_owner("mptcpsim-blue"), "somebody else's"


def own_names() -> list[str]:
    """Return the namespaces that this process has."""
    if not leftovers.NAMESPACES.exists():
        return []
    start = leftovers.name_for("")
    return [entry.name for entry in leftovers.NAMESPACES.iterdir() if entry.name.startswith(start)]


@pytest.mark.kernel
class TestNamespace:
    def test_it_comes_and_goes(self) -> None:
        here = os.readlink("/proc/thread-self/ns/net")
        with Namespace("a") as namespace:
            assert own_names() == [namespace.name]
            with namespace.inside():
                assert os.readlink("/proc/thread-self/ns/net") != here
                namespace.set_sysctl("net.ipv4.tcp_sack", 0)
                assert Path("/proc/sys/net/ipv4/tcp_sack").read_text() == "0\n"
            assert os.readlink("/proc/thread-self/ns/net") == here
            assert Path("/proc/sys/net/ipv4/tcp_sack").read_text() == "1\n"
        assert own_names() == []
        namespace.remove()

    def test_an_exception_removes_it_and_what_runs_in_it(self) -> None:
        def fail() -> None:
            with Namespace("a") as namespace:
                programs.append(namespace.start(["sleep", "100"]))
                assert leftovers.processes_in(namespace.name) == [programs[0].pid]
                raise ZeroDivisionError

        programs: list[subprocess.Popen[bytes]] = []
        with pytest.raises(ZeroDivisionError):
            fail()
        assert own_names() == []
        assert programs[0].returncode == -signal.SIGKILL

    def test_grandchildren_go_too(self) -> None:
        with Namespace("a") as namespace:
            namespace.start(["sh", "-c", "sleep 100 & sleep 100 & echo ready; wait"], stdout=subprocess.PIPE)
            assert namespace.programs[0].stdout is not None
            assert namespace.programs[0].stdout.readline() == b"ready\n"
            assert len(leftovers.processes_in(namespace.name)) == 3
            name = namespace.name
        assert leftovers.processes_in(name) == []


@pytest.mark.kernel
class TestDevices:
    def test_a_name_in_use(self) -> None:
        with Namespace("a") as namespace, namespace.inside():
            tun = Tun("one")
            with pytest.raises(DeviceError, match="TUN interface one cannot be made"):
                Tun("one")
            tun.close()
            tun.close()
            Tun("one").close()

    def test_no_such_interface(self) -> None:
        with (
            Namespace("a") as namespace,
            namespace.inside(),
            pytest.raises(DeviceError, match="interface none cannot be used by a packet socket"),
        ):
            PacketSocket("none", [])

    def test_a_tun_that_is_deleted_is_gone(self) -> None:
        with Testbed(1, TUN) as bed:
            device = bed.paths[0].device
            bed.kernel.set_up("wire1", False)
            device.poll(64)
            device.write(b"\x45" + bytes(39), "")
            assert not device.gone
            assert device.send_failures == 1
            bed.kernel.netlink.link("del", index=bed.kernel.index("wire1"))
            device.poll(64)
            assert device.gone

    def test_a_veth_that_is_deleted_is_gone(self) -> None:
        with Testbed(1, PACKET) as bed:
            device = bed.paths[0].device
            bed.kernel.set_up("wire1", False)
            device.poll(64)
            assert not device.gone
            bed.kernel.set_up("wire1")
            device.poll(64)
            bed.kernel.netlink.link("del", index=bed.kernel.index("wire1"))
            device.poll(64)
            assert device.gone
            device.write(bytes(40), "10.1.0.2")
            assert device.send_failures == 1


@pytest.mark.kernel
class TestTestbed:
    @pytest.mark.parametrize("kind", [TUN, PACKET])
    def test_paths_have_addresses_routes_and_rules(self, kind: str) -> None:
        with Testbed(2, kind, mtu=1400) as bed:
            netlink = bed.kernel.netlink
            addresses = {a.get_attr("IFA_ADDRESS") for a in netlink.get_addr()}
            assert {"10.1.0.2", "10.2.0.2", "fd00:1::2", "fd00:2::2"} <= addresses
            sources = [rule.get_attr("FRA_SRC") for family in (2, 10) for rule in netlink.get_rules(family)]
            assert {"10.1.0.2", "10.2.0.2", "fd00:1::2", "fd00:2::2"} <= set(sources)
            links = {link.get_attr("IFLA_IFNAME"): link for link in netlink.get_links()}
            assert links["wire2"].get_attr("IFLA_MTU") == 1400
        assert own_names() == []

    def test_an_mtu_too_small_for_ipv6(self) -> None:
        with Testbed(1, TUN, mtu=600) as bed:
            families = {a["family"] for a in bed.kernel.netlink.get_addr() if a.get_attr("IFA_ADDRESS")}
            assert socket.AF_INET in families

    @pytest.mark.parametrize(("paths", "kind"), [(0, TUN), (100, TUN), (1, "tap")])
    def test_wrong_arguments(self, paths: int, kind: str) -> None:
        with pytest.raises(ValueError, match=r"paths|kind of device"):
            Testbed(paths, kind)
        assert own_names() == []


SCRIPT = """
import sys, time
from mptcpsim.wire.testbed import Testbed
bed = Testbed(2, sys.argv[1])
program = bed.kernel.start(["sleep", "1000"])
print(bed.kernel.name, program.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture(params=[TUN, PACKET])
def killed(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A run that was killed in the middle: its namespace, and the process that it had started there."""
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), request.param], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    with run.stdout:
        try:
            name, pid = run.stdout.readline().split()
        finally:
            run.kill()
            run.wait()
    yield name, int(pid)
    leftovers.clean()


@pytest.mark.kernel
@pytest.mark.xdist_group("leftovers of the wire")
def test_after_a_kill_the_next_run_works_and_clean_removes_all(killed: tuple[str, int]) -> None:
    name, pid = killed
    end = time.monotonic() + 5
    while leftovers.started_at(pid) >= 0 and time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.01)
    assert pid not in leftovers.processes_in(name), "it ends with who has started it"
    assert name in leftovers.left_behind()
    with Testbed(1) as bed:
        assert bed.kernel.name not in leftovers.left_behind()
        removed = leftovers.clean()
        assert name in removed
        assert bed.kernel.name in own_names(), "of a run that goes on"
    assert name not in leftovers.left_behind()
    assert not (leftovers.NAMESPACES / name).exists()
