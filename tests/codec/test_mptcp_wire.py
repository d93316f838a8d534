"""The seed's topologies on the wire: what tshark dissects is what the segments say, in both versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mptcpsim import Simulation, build, load
from mptcpsim.codec.pcap import CaptureWriter
from mptcpsim.core.mptcp_options import AddAddr, MpCapable, MpJoinAck, MpJoinSyn, MpJoinSynAck
from mptcpsim.core.segment import ACK, SYN, Packet, Segment
from mptcpsim.results.rundir import RunDirectory
from mptcpsim.scenario.run import run_scenario
from mptcpsim.scenario.schema import Scenario
from tests.codec.wire_record import (
    DATA_ACK,
    DSN,
    DSS_DSN,
    IDSN,
    MPTCP_STREAM,
    STREAM,
    SUBTYPE,
    TOKEN,
    Row,
    disagreements,
    own_record,
    tshark_record,
)
from tests.paths import SEED

NAMES = {"192.168.0.10": "A1", "192.168.0.11": "A2", "192.168.0.20": "B1"}
SHORT = ["flows.iperf.duration=1s", "duration=2s"]

both = pytest.mark.parametrize("version", [0, 1])
topologies = pytest.mark.parametrize("name", ["single-subflow", "one-network"])


def scenario(name: str, version: int, *changes: str) -> Scenario:
    return load(SEED / name / "scenario.toml", [*SHORT, f"defaults.mptcp.version={version}", *changes])


def expected(name: str) -> dict[str, Any]:
    text = (SEED / name / "expected.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)["scenario.toml"]
    return found


class Captured:
    """A run with a capture at each interface, and the packets themselves beside it."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self.simulation = build(scenario)
        self.packets: dict[str, list[Segment]] = {}
        self.files: dict[str, Path] = {}
        writers = [self._watch(self.simulation, end, directory) for end in scenario.output.capture]
        self.simulation.env.run(scenario.duration)
        for writer in writers:
            writer.close()

    def _watch(self, simulation: Simulation, end: str, directory: Path) -> CaptureWriter:
        interface = simulation.interface(end)
        file = self.files[end] = directory / f"{interface.label}.pcapng"
        packets = self.packets[end] = []
        writer = CaptureWriter(file)
        number = writer.add_interface(interface.label)

        def tap(packet: Packet, now: int, outgoing: bool) -> None:
            assert isinstance(packet, Segment)
            writer.write_packet(number, now, packet)
            packets.append(packet)

        interface.tap = tap
        return writer


def mended(theirs: list[Row], packets: list[Segment]) -> list[Row]:
    """Return tshark's rows with the right initial numbers on subflows that the server has opened.

    tshark takes who sends the SYN of a join for the client of the connection, and subtracts the
    IDSNs of the wrong ends.
    """
    own = own_record(packets)
    idsn: dict[str, int] = {}
    for packet, row in zip(packets, own, strict=True):
        if IDSN in row:
            idsn.setdefault(NAMES[packet.flow.src][0], row[IDSN][0])
    client = NAMES[packets[0].flow.src][0]
    opened = {
        row[STREAM][0]: NAMES[packet.flow.src][0]
        for packet, row in zip(packets, own, strict=True)
        if packet.flags & (SYN | ACK) == SYN
    }
    rows = []
    for packet, row in zip(packets, theirs, strict=True):
        if opened.get(row[STREAM][0], client) != client:
            sender, receiver = NAMES[packet.flow.src][0], NAMES[packet.flow.dst][0]
            shift = idsn[receiver] - idsn[sender]
            moved = {DSN: shift, DSS_DSN: shift, DATA_ACK: -shift}
            row = row | {f: [(row[f][0] + by) % (1 << 64)] for f, by in moved.items() if f in row}
        rows.append(row)
    return rows


def steps(packets: list[Segment]) -> list[str]:
    """Return what happens for the first time, in order: option, kind of segment, from where to where."""
    found: dict[str, None] = {}
    for packet in packets:
        flags = {SYN: "SYN", SYN | ACK: "SYN/ACK"}.get(packet.flags & (SYN | ACK), "ACK")
        kind = "data" if packet.length else flags
        way = f"{NAMES[packet.flow.src]} {NAMES[packet.flow.dst]}"
        for option in packet.options or ():
            if isinstance(option, MpCapable):
                found.setdefault(f"MP_CAPABLE {kind} {way}")
            elif isinstance(option, MpJoinSyn | MpJoinSynAck | MpJoinAck):
                found.setdefault(f"MP_JOIN {kind} {way}")
            elif isinstance(option, AddAddr):
                found.setdefault(f"ADD_ADDR {'echo ' if option.echo else ''}{way}")
        if packet.dss is not None:
            found.setdefault(f"DSS {kind} {way}")
    return list(found)


@topologies
@both
@pytest.mark.tool("tshark")
def test_tshark_reads_what_was_sent(name: str, version: int, tmp_path: Path) -> None:
    run = Captured(scenario(name, version), tmp_path)
    for end, file in run.files.items():
        packets = run.packets[end]
        theirs, own = mended(tshark_record(file), packets), own_record(packets)
        assert len(packets) > 100
        assert disagreements(theirs, own) == [], end
    fields = {field for row in theirs for field in row}
    assert {TOKEN, DSN, DATA_ACK, MPTCP_STREAM} <= fields
    assert {row[MPTCP_STREAM][0] for row in theirs if MPTCP_STREAM in row} == {0}
    # At B the whole connection passes, and every packet of it says something of MPTCP.
    assert all(SUBTYPE in row for row in theirs)
    server = run.simulation.flows[0].server
    assert server is not None
    assert max(row[DATA_ACK][0] for row in own if DATA_ACK in row) == server.delivered + 2


@topologies
@both
def test_the_handshakes_come_in_order(name: str, version: int, tmp_path: Path) -> None:
    wanted = expected(name)["handshake"]
    packets = Captured(scenario(name, version), tmp_path).packets["B:B1"]
    assert [step for step in steps(packets) if step in wanted] == wanted
    assert ("MP_CAPABLE data A1 B1" in steps(packets)) == (version == 1)
    assert ("ADD_ADDR echo B1 A1" in steps(packets)) == (version == 1 and name == "one-network")


@topologies
@both
def test_the_goodput_is_what_the_headers_leave(name: str, version: int, tmp_path: Path) -> None:
    whole = ["flows.iperf.duration=5s", "duration=5500ms"]
    with RunDirectory(tmp_path / "run", force=False) as directory:
        summary = run_scenario(scenario(name, version, *whole), directory)
    (flow,) = summary.flows
    goodput = expected(name)["goodput_bps"]
    assert goodput["value"] == pytest.approx(10e6 * 1428 / 1514)
    assert flow.goodput_bps == pytest.approx(goodput["value"], rel=goodput["tolerance"])
    assert (flow.multipath, flow.mptcp_version, flow.fallback, flow.integrity) == (True, version, False, "ok")
    assert flow.bytes_delivered == flow.bytes_written == sum(s.bytes_acked for s in flow.subflows)
    opened = [subflow.initiated_by for subflow in flow.subflows]
    assert opened == ["local", "remote"][: len(opened)]
    assert len(opened) == (1 if name == "single-subflow" else 2)
    assert all(subflow.bytes_acked > 1_000_000 for subflow in flow.subflows)


@topologies
@both
def test_encoding_and_repetition_change_nothing(name: str, version: int, tmp_path: Path) -> None:
    results = []
    for number, roundtrip in enumerate((False, True, False)):
        with RunDirectory(tmp_path / str(number), force=False) as directory:
            run_scenario(scenario(name, version), directory, roundtrip=roundtrip)
        out = tmp_path / str(number)
        results.append([(out / f).read_bytes() for f in ("summary.json", "series.parquet", "events.jsonl")])
    assert results[0] == results[1]
    assert results[0] == results[2]
