"""What a run may leave behind, and who removes it.

All that a run makes is in network namespaces of its own: links, addresses and rules go with them. The name
of a namespace says which process has made it, ``mptcpsim-PID-STARTED-LABEL``, so that what a killed
process has left can be told from what is in use: the kernel gives a pid again, but not with the same start.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import Final

NAMESPACES: Final = Path("/run/netns")
PREFIX: Final = "mptcpsim-"

_NAME: Final = re.compile(rf"{PREFIX}(\d+)-(\d+)-\w+")

#: How long processes in a namespace get to end once they were killed, s.
_PATIENCE: Final = 2.0


def started_at(pid: int) -> int:
    """Return when a process was started, in the kernel's ticks; -1 if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return -1
    # The name of the program, in parentheses, may have anything in it.
    return int(text.rpartition(")")[2].split()[19])


def name_for(label: str) -> str:
    """Return the name of a namespace of this process."""
    pid = os.getpid()
    return f"{PREFIX}{pid}-{started_at(pid)}-{label}"


def has_owner(name: str) -> bool:
    """Return whether the process that has made a namespace still runs; also if the name is none of ours."""
    found = _NAME.fullmatch(name)
    return found is None or started_at(int(found[1])) == int(found[2])


def left_behind() -> list[str]:
    """Return the namespaces of ours whose makers have ended."""
    try:
        names = sorted(entry.name for entry in NAMESPACES.iterdir())
    except OSError:
        return []
    return [name for name in names if not has_owner(name)]


def processes_in(name: str) -> list[int]:
    """Return the processes that are in a namespace."""
    try:
        inode = os.stat(NAMESPACES / name).st_ino
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(entry / "ns" / "net").st_ino == inode and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
    return found


def end_processes(name: str) -> int:
    """Kill the processes in a namespace of ours; return how many there were.

    Only what a run has started can be in there; as long as it is, links and addresses stay.
    """
    pids = processes_in(name)
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and processes_in(name):
        time.sleep(0.01)
    return len(pids)


def clean() -> list[str]:
    """Remove what killed runs have left behind; return the names of the namespaces.

    Raises:
        OSError: one cannot be removed.
    """
    from pyroute2 import netns

    names = left_behind()
    for name in names:
        end_processes(name)
        netns.remove(name)
    return names
