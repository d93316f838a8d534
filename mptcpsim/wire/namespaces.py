"""Network namespaces of a run: made, entered, and removed again (ip-netns(8))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from mptcpsim.wire.devices import DeviceError
from mptcpsim.wire.leftovers import NAMESPACES, end_processes, name_for

_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that happens."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Namespace:
    """A network namespace of this process; a context manager that removes it.

    Attributes:
        name: as ``ip netns`` lists it.
        programs: what was started in it, ended or not.

    Args:
        label: a word for its part in the run; used once in a process at a time.

    Raises:
        DeviceError: it cannot be made.
    """

    def __init__(self, label: str) -> None:
        from pyroute2 import IPRoute, netns

        self.name = name_for(label)
        self.programs: list[subprocess.Popen[Any]] = []
        self._removed = False
        self._netlink: IPRoute | None = None
        try:
            netns.create(self.name)
        except OSError as error:
            raise DeviceError(
                f"no network namespace can be made ({error.strerror}): run as root, in a container with "
                "--privileged or --cap-add NET_ADMIN --cap-add SYS_ADMIN"
            ) from None
        try:
            with self.inside():
                self._netlink = IPRoute()
            self.netlink.link("set", index=self.index("lo"), state="up")
        except BaseException:
            self.remove()
            raise

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Have the calling thread in the namespace: what is opened or started there belongs to it."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(NAMESPACES / self.name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    # --- Configuration ----------------------------------------------------------------------------

    @property
    def netlink(self) -> Any:
        """The rtnetlink socket of the namespace (``pyroute2.IPRoute``)."""
        assert self._netlink is not None
        return self._netlink

    def index(self, interface: str) -> int:
        """Return the number of an interface.

        Raises:
            KeyError: there is none of that name.
        """
        found = self.netlink.link_lookup(ifname=interface)
        if not found:
            raise KeyError(interface)
        return int(found[0])

    def set_sysctl(self, name: str, value: object) -> None:
        """Set a variable of the namespace, by the name that sysctl(8) has for it.

        Raises:
            OSError: it does not exist, or not take the value.
        """
        path = Path("/proc/sys", *name.split("."))
        with self.inside():
            path.write_text(f"{value}\n", encoding="ascii")

    def set_up(self, interface: str, up: bool = True) -> None:
        """Set an interface up, or down."""
        self.netlink.link("set", index=self.index(interface), state="up" if up else "down")

    # --- Programs ---------------------------------------------------------------------------------

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program in the namespace; it ends with this process at the latest.

        Args:
            command: the program and its arguments.
            options: as of ``subprocess.Popen``.
        """
        with self.inside():
            program = subprocess.Popen(command, preexec_fn=_die_with_parent, **options)
        self.programs.append(program)
        return program

    def remove(self) -> None:
        """End its programs and remove it, with all that is in it; a second call does nothing."""
        from pyroute2 import netns

        if self._removed:
            return
        self._removed = True
        for program in self.programs:
            if program.poll() is None:
                program.kill()
            program.wait()
            for pipe in (program.stdin, program.stdout, program.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        end_processes(self.name)
        if self._netlink is not None:
            self._netlink.close()
        netns.remove(self.name)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
