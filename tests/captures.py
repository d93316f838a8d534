"""The captures that MPTCP is tested with, and what is written about them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mptcpsim.results.mptcp_capture import read_trace
from mptcpsim.results.mptcp_trace import CapturedMapping, ConnectionTrace, Frame
from tests.paths import DATA, SHARED

#: Linux 6.18 to Linux 6.18, made by the project.
KERNEL = sorted(DATA.glob("*.pcap"))
#: Other people's: not in the repository.
PUBLIC = sorted((SHARED / "captures").glob("public/*/*.pcap"))

#: One line of the table in kernel-6.18.md: file, frames, topology, events, remarks, counters.
_ROW = re.compile(r"^\| `(\w+)\.pcap` \| (\d+) \| .* \| (.*) \| .* \| C: .* \|$")


def public_captures() -> list[Any]:
    """Return the public captures as parameters, or one that says that they are absent."""
    if PUBLIC:
        return [pytest.param(path, id=path.stem) for path in PUBLIC]
    reason = f"captures outside the repository are not there: {SHARED}"
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


def public_capture(name: str) -> Path:
    """Return a public capture, or skip the test."""
    for path in PUBLIC:
        if path.stem == name:
            return path
    pytest.skip(f"captures outside the repository are not there: {SHARED}")


def connection(name: str) -> ConnectionTrace:
    """Return the only connection of a capture of the project."""
    (found,) = read_trace(DATA / f"{name}.pcap").connections
    return found


def frames_of(trace: ConnectionTrace) -> list[Frame]:
    """Return the frames of a connection, in their order."""
    frames = [frame for subflow in trace.subflows for frame in subflow.frames]
    return sorted(frames, key=lambda frame: frame.number)


def mappings_of(trace: ConnectionTrace) -> list[CapturedMapping]:
    """Return the mappings of a connection, subflow by subflow."""
    return [mapping for subflow in trace.subflows for end in subflow.ends for mapping in end.mappings]


def described() -> dict[str, tuple[int, dict[str, list[int]]]]:
    """Return frames and events (label to frame numbers) of each row of kernel-6.18.md."""
    rows: dict[str, tuple[int, dict[str, list[int]]]] = {}
    for line in (DATA / "kernel-6.18.md").read_text(encoding="utf-8").splitlines():
        if match := _ROW.match(line):
            name, frames, text = match.groups()
            events = {}
            for event in text.split("; "):
                label, _, places = event.rpartition(": ")
                events[label] = sorted(number for place in places.split(",") for number in _range(place))
            rows[name] = int(frames), events
    return rows


def _range(place: str) -> range:
    first, _, last = place.partition("-")
    return range(int(first), int(last or first) + 1)


def vectors() -> list[dict[str, Any]]:
    """Return what another decoder found in the captures of the project."""
    found: list[dict[str, Any]] = json.loads((DATA / "kernel-6.18.json").read_text(encoding="utf-8"))
    return found
