"""The captures that a run writes: of chosen interfaces, each or all in one file, and those of tcpdump."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from mptcpsim.codec.pcap import INBOUND, OUTBOUND, CaptureWriter
from mptcpsim.core.segment import Packet
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.simulation import Simulation

#: Where in a run directory the files of tcpdump stand: ``tcpdump/HOST/FILE``.
DUMPS = "tcpdump"

#: The capture of all chosen interfaces; no host's capture is called so, for those have two names.
MERGED = "merged.pcapng"


def chosen(scenario: Scenario) -> list[str]:
    """Return the interfaces to capture, ``HOST:INTERFACE``: ``output.capture``, or those of every host."""
    if scenario.output.capture:
        return list(scenario.output.capture)
    return [f"{name}:{interface}" for name, host in scenario.hosts.items() for interface in host.interfaces]


def write_captures(
    simulation: Simulation, directory: Path, files: ExitStack, merged: bool, snap_length: int
) -> list[Path]:
    """Begin to capture the chosen interfaces; return the files, which are complete when ``files`` ends.

    Args:
        simulation: as it was built.
        directory: where the files go.
        files: closes them.
        merged: one file of all interfaces instead of one for each; packets are in the order of time.
        snap_length: bytes kept of each packet; 0 keeps all.
    """
    ends = chosen(simulation.scenario)
    if merged:
        path = directory / MERGED
        writer = files.enter_context(CaptureWriter(path, snap_length))
        for end in ends:
            _capture(simulation, end, writer)
        return [path]
    paths: list[Path] = []
    for end in ends:
        paths.append(directory / f"{end.replace(':', '.')}.pcapng")
        _capture(simulation, end, files.enter_context(CaptureWriter(paths[-1], snap_length)))
    return paths


def write_dumps(simulation: Simulation, directory: Path, files: ExitStack) -> None:
    """Begin to write what the hosts' tcpdump commands write, now or when they are given."""
    for dump in simulation.scenario.output.dumps:
        path = directory / DUMPS / dump.interface.partition(":")[0] / dump.file
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = files.enter_context(CaptureWriter(path, dump.snap_length))
        start = partial(_capture, simulation, dump.interface, writer)
        if dump.start:
            simulation.env.loop.schedule(dump.start, start)
        else:
            start()


def labels(simulation: Simulation) -> dict[str, str]:
    """Return the host of each chosen interface, by the name that a capture has for the interface."""
    ends = chosen(simulation.scenario)
    return {simulation.interface(end).label: end.partition(":")[0] for end in ends}


def _capture(simulation: Simulation, end: str, writer: CaptureWriter) -> None:
    """Write what passes an interface from now on."""
    interface = simulation.interface(end)
    number = writer.add_interface(interface.label)
    before = interface.tap

    def tap(packet: Packet, now: int, outgoing: bool) -> None:
        if before is not None:
            before(packet, now, outgoing)
        writer.write_packet(number, now, packet, OUTBOUND if outgoing else INBOUND)

    interface.tap = tap
