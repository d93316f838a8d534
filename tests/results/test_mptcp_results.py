"""What a run says of MPTCP connections: summary, series, events, tables and figures."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from mptcpsim import loads
from mptcpsim.results.figures import draw_cwnd, draw_throughput
from mptcpsim.results.report import flow_table
from mptcpsim.results.rundir import RunDirectory
from mptcpsim.results.series import Series, SeriesKey, read_series
from mptcpsim.results.summary import FlowResult
from mptcpsim.scenario.run import run_scenario

#: Three links between two hosts; the server announces its second and its third address.
THREE_PATHS = """\
title = "Three paths"
duration = "6s"
[defaults]
mptcp = { profile = "rfc8684", path_manager = { name = "endpoints", add_addr_accepted = 2 } }
[hosts.A]
interfaces = { e0 = "10.0.0.1/24", e1 = "10.1.0.1/24", e2 = "10.2.0.1/24" }
[hosts.B]
interfaces = { e0 = "10.0.0.2/24", e1 = "10.1.0.2/24", e2 = "10.2.0.2/24" }
mptcp = { path_manager = { name = "endpoints", endpoints = "10.1.0.2 signal, 10.2.0.2 signal" } }
[[links]]
name = "first"
ends = ["A:e0", "B:e0"]
rate = "2Mbps"
delay = "5ms"
[[links]]
name = "far"
ends = ["A:e1", "B:e1"]
rate = "1Mbps"
delay = "50ms"
[[links]]
name = "near"
ends = ["A:e2", "B:e2"]
rate = "4Mbps"
delay = "1ms"
[[flows]]
name = "bulk"
client = "A"
server = "B"
bytes = "3MB"
"""

AGAIN = """\
[[flows]]
name = "again"
client = "A"
server = "B"
port = 5002
start = "2s"
bytes = "10kB"
"""

PLAIN_SERVER = "hosts.B.mptcp=false"


def flows(tmp_path: Path, *changes: str, text: str = THREE_PATHS) -> list[FlowResult]:
    with RunDirectory(tmp_path / "run", force=True) as directory:
        return run_scenario(loads(text, overrides=list(changes)), directory).flows


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]


def table(results: list[FlowResult], width: int = 110) -> str:
    out = io.StringIO()
    Console(width=width, file=out).print(flow_table({"flows": [asdict(flow) for flow in results]}))
    return out.getvalue()


class TestSummary:
    def test_a_connection_of_three_subflows(self, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path)
        assert (flow.multipath, flow.mptcp_version, flow.fallback, flow.fallback_reason) == (
            True,
            1,
            False,
            None,
        )
        assert flow.bytes_delivered == flow.bytes_written == 3_000_000
        assert (flow.goodput_bps or 0) > 5.5e6
        assert [s.local.split(":")[0] for s in flow.subflows] == ["10.0.0.1", "10.1.0.1", "10.2.0.1"]
        assert [s.initiated_by for s in flow.subflows] == ["local"] * 3
        assert [s.backup for s in flow.subflows] == [False] * 3
        assert sum(s.bytes_acked for s in flow.subflows) == 3_000_000 + sum(
            s.bytes_reinjected for s in flow.subflows
        )

    def test_the_version_is_that_of_the_connection(self, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path, "defaults.mptcp.version=0")
        assert (flow.multipath, flow.mptcp_version) == (True, 0)

    def test_a_client_that_remembers_offers_the_other_version(self, tmp_path: Path) -> None:
        versions = ["hosts.A.mptcp.versions=[1, 0]", "hosts.B.mptcp.versions=[0]"]
        first, second = flows(tmp_path, *versions, "flows.bulk.bytes=100kB", text=THREE_PATHS + AGAIN)
        assert (first.multipath, first.mptcp_version, first.fallback) == (False, None, True)
        assert (second.multipath, second.mptcp_version, second.fallback) == (True, 0, False)

    def test_a_backup(self, tmp_path: Path) -> None:
        endpoints = 'hosts.B.mptcp.path_manager.endpoints="10.1.0.2 signal backup"'
        (flow,) = flows(tmp_path, endpoints, "flows.bulk.bytes=500kB")
        assert [s.backup for s in flow.subflows] == [False, True]
        assert flow.subflows[1].bytes_acked == 0
        assert "backup" in table([flow])

    def test_what_a_lost_path_held_is_reinjected(self, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path, 'events=[{at="1s", link="first", action="down"}]')
        assert flow.bytes_delivered == 3_000_000
        lost, *others = flow.subflows
        assert lost.bytes_reinjected == 0
        assert sum(s.bytes_reinjected for s in others) > 0
        assert lost.bytes_acked < 500_000

    def test_plain_tcp_is_no_fallback_if_nobody_wanted_more(self, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path, "flows.bulk.mptcp=false", "flows.bulk.bytes=100kB")
        assert (flow.multipath, flow.mptcp_version, flow.fallback, flow.fallback_reason) == (
            False,
            None,
            False,
            None,
        )
        (flow,) = flows(tmp_path, "hosts.A.mptcp=false", "flows.bulk.bytes=100kB")
        assert not flow.fallback

    def test_a_plain_server_is_a_fallback_of_the_client(self, tmp_path: Path) -> None:
        text = THREE_PATHS + AGAIN
        first, second = flows(tmp_path, PLAIN_SERVER, "flows.bulk.bytes=100kB", text=text)
        assert (first.multipath, first.fallback) == (False, True)
        assert first.fallback_reason == "SYN/ACK without MP_CAPABLE"
        assert (second.multipath, second.fallback) == (False, True)
        assert second.fallback_reason == "the peer has refused every version before"
        assert first.bytes_delivered == 100_000
        assert "plain TCP: SYN/ACK without" in " ".join(table([first]).split())

    def test_who_sends_does_not_matter_for_the_reason(self, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path, PLAIN_SERVER, "flows.bulk.reverse=true", "flows.bulk.bytes=100kB")
        assert flow.fallback_reason == "SYN/ACK without MP_CAPABLE"
        (flow,) = flows(tmp_path, "flows.bulk.reverse=true", "flows.bulk.bytes=1MB")
        assert (flow.multipath, flow.fallback) == (True, False)
        assert [s.initiated_by for s in flow.subflows] == ["remote"] * 3

    def test_no_connection_is_no_fallback(self, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path, "links.first.loss=1.0", "duration=2s")
        assert (flow.multipath, flow.fallback) == (False, False)


class TestSeries:
    def test_each_subflow_has_its_series_under_one_number_at_both_ends(self, tmp_path: Path) -> None:
        """The SYN of the far path leaves first and arrives last: the server counts the other way round."""
        (flow,) = flows(tmp_path)
        found = {tuple(s.key): s for s in read_series(tmp_path / "run" / "series.parquet")}
        for subflow in flow.subflows:
            throughput = found["B", "bulk", subflow.id, "throughput_bps"]
            assert throughput.values.sum() * 0.1 / 8 == pytest.approx(subflow.bytes_acked)
            for metric in ("cwnd_bytes", "srtt_ms", "outstanding_bytes", "bytes_sent", "bytes_reinjected"):
                assert len(found["A", "bulk", subflow.id, metric].values) > 10
        srtt = [found["A", "bulk", number, "srtt_ms"].values[0] for number in range(3)]
        assert srtt[1] > 100 > srtt[0] > srtt[2]
        assert found["A", "bulk", None, "send_window_bytes"].values.max() > 0

    def test_a_subflow_that_has_ended_has_no_window(self, tmp_path: Path) -> None:
        gone = 'events=[{at="500ms", link="near", action="down"}]'
        changes = [gone, "defaults.mptcp.subflow_retries=2", "flows.bulk.bytes=2MB", "duration=8s"]
        (flow,) = flows(tmp_path, *changes)
        assert flow.bytes_delivered == 2_000_000
        assert flow.subflows[2].error
        found = {tuple(s.key): s for s in read_series(tmp_path / "run" / "series.parquet")}
        closed = next(line["time_s"] for line in lines(tmp_path) if line["event"] == "SF_CLOSED")
        assert found["A", "bulk", 2, "cwnd_bytes"].times[-1] <= closed
        assert found["A", "bulk", 0, "cwnd_bytes"].times[-1] > closed


def test_events_have_the_names_of_the_monitor(tmp_path: Path) -> None:
    endpoints = 'hosts.B.mptcp.path_manager.endpoints="10.1.0.2 signal backup, 10.2.0.2 signal"'
    flows(tmp_path, endpoints, "defaults.tcp.time_wait=1s", "flows.bulk.bytes=1MB")
    events = [line for line in lines(tmp_path) if line.get("connection") == "bulk"]
    names = [line["event"] for line in events if line["host"] == "A" and line["event"].isupper()]
    assert names[:4] == ["CREATED", "ESTABLISHED", "ANNOUNCED", "ANNOUNCED"]
    assert names.count("SF_ESTABLISHED") == 2
    assert names[-1] == "CLOSED"
    joined = [line["detail"] for line in events if line["event"] == "SF_ESTABLISHED" and line["host"] == "A"]
    assert [detail.split(":")[0] for detail in joined] == ["10.2.0.1", "10.1.0.1"]


class TestTable:
    def test_subflows_have_rows(self, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path)
        text = table([flow])
        assert "MPTCP version 1" in text
        for subflow in flow.subflows:
            assert subflow.local in text
            assert subflow.remote in text

    @pytest.mark.parametrize("width", [80, 110])
    def test_nothing_is_cut_off(self, width: int, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path)
        assert "…" not in table([flow], width)

    def test_plain_tcp_has_none(self, tmp_path: Path) -> None:
        (flow,) = flows(tmp_path, "defaults.mptcp=false", "flows.bulk.bytes=100kB")
        text = table([flow])
        assert "->" in text
        assert "10.0.0.1" not in text
        assert "MPTCP" not in text


class TestFigures:
    def series(self, name: str = "transfer") -> list[Series]:
        times: NDArray[np.float64] = np.linspace(0.1, 5.0, 50, dtype=np.float64)
        return [
            Series(SeriesKey("A", name, number, metric), times, np.asarray(values * (number + 1), np.float64))
            for number in range(2)
            for metric, values in (
                ("throughput_bps", times * 1e6),
                ("cwnd_bytes", times * 1e4),
                ("ssthresh_bytes", times * 5e3),
            )
        ]

    def test_subflows_and_their_total(self) -> None:
        figure = draw_throughput(self.series())
        assert figure is not None
        lines = figure.axes[0].get_lines()
        assert [line.get_label() for line in lines] == ["total", "transfer, subflow 0", "transfer, subflow 1"]
        total, *each = (np.asarray(line.get_ydata(), dtype=float) for line in lines)
        assert total == pytest.approx(sum(each))

    @pytest.mark.parametrize("name", ["bulk", "transfer", "a transfer with a rather long name"])
    def test_the_legend_is_inside_the_figure(self, name: str) -> None:
        figure = draw_cwnd(self.series(name))
        assert figure is not None
        figure.canvas.draw()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
