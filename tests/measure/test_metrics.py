"""The table of time series, and the fields of Linux that a scenario may have recorded."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mptcpsim import build, loads
from mptcpsim.cli import app
from mptcpsim.measure import sampler
from mptcpsim.measure.metrics import (
    ALWAYS,
    FIELDS,
    MPTCP_FIELDS,
    SENDING_SUBFLOW,
    TABLES,
    TCP_FIELDS,
    Metric,
    SubflowSample,
)
from mptcpsim.results.series import Series, SeriesRecorder, read_series
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.run import measure
from mptcpsim.units import MILLISECOND
from tests.paths import DOCS

SCENARIO = """
title = "recorded"
duration = "2s"
[output]
record = {record}
[hosts.A.interfaces]
x = {{addresses = ["10.0.1.1/24"]}}
y = {{addresses = ["10.0.2.1/24"]}}
[hosts.B.interfaces]
x = {{addresses = ["10.0.1.2/24"]}}
y = {{addresses = ["10.0.2.2/24"]}}
[[links]]
ends = ["A:x", "B:x"]
rate = "5Mbps"
delay = "10ms"
[[links]]
ends = ["A:y", "B:y"]
rate = "1Mbps"
delay = "30ms"
[[flows]]
name = "both"
client = "A"
server = "B"
mptcp = {{enabled = true, path_manager = {{name = "endpoints", endpoints = "10.0.2.1 subflow"}}}}
[[flows]]
name = "plain"
client = "A"
server = "B"
port = 5002
reverse = true
"""


def recorded(record: object, tmp_path: Path) -> list[Series]:
    """Run the scenario; return its series."""
    path = tmp_path / "series.parquet"
    with SeriesRecorder(path) as recorder:
        measure(build(loads(SCENARIO.format(record=record))), recorder)
    return read_series(path)


def message(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        loads(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_field_can_be_recorded(tmp_path: Path) -> None:
    """At both ends: those of a subflow for each one, those of a connection where it offers MPTCP."""
    series = recorded(list(FIELDS), tmp_path)
    found = {(s.key.host, s.key.connection, s.key.subflow, s.key.metric) for s in series}
    for host in ("A", "B"):
        for name in TCP_FIELDS:
            assert {(host, "both", 0, name), (host, "both", 1, name), (host, "plain", 0, name)} <= found
        for name in MPTCP_FIELDS:
            assert (host, "both", None, name) in found
            assert (host, "plain", None, name) not in found
    by = {tuple(one.key): one.values for one in series}
    # The exact series and Linux's field speak of the same: ms and µs, bytes and segments.
    assert list(by["A", "both", 1, "srtt_ms"] * 1000 // 1) == list(by["A", "both", 1, "tcpi_rtt"])
    window = by["A", "both", 0, "cwnd_bytes"] // by["A", "both", 0, "tcpi_snd_mss"]
    assert list(window) == list(by["A", "both", 0, "tcpi_snd_cwnd"])
    assert list(by["A", "both", 0, "bytes_sent"]) == list(by["A", "both", 0, "tcpi_bytes_sent"])
    received = by["B", "both", None, "mptcpi_bytes_received"]
    assert list(received) == list(by["B", "both", None, "bytes_delivered"])[-len(received) :]
    assert by["B", "both", None, "mptcpi_subflows_total"][-1] == 2
    # The data of the other flow goes from the server to the client.
    assert by["B", "plain", 0, "tcpi_bytes_acked"][-1] > by["A", "plain", 0, "tcpi_bytes_acked"][-1] == 0


def test_what_is_not_named_is_not_recorded(tmp_path: Path) -> None:
    plain = recorded([], tmp_path)
    more = recorded(["tcpi_rto"], tmp_path)
    assert {one.key.metric for one in plain} == set(ALWAYS)
    assert {one.key.metric for one in more} == {*ALWAYS, "tcpi_rto"}
    others = [one for one in more if one.key.metric != "tcpi_rto"]
    assert [one.key for one in others] == [one.key for one in plain]
    for one, other in zip(others, plain, strict=True):
        assert list(one.values) == list(other.values)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (["tcpi_rto", "tcpi_rtoo"], "line 5: output.record.1: there is no field 'tcpi_rtoo'"),
        (["mptcpi_una"], "did you mean 'mptcpi_snd_una'?"),
        (["cwnd_bytes"], "output.record.0: cwnd_bytes is recorded in any case: leave it out"),
        (["tcpi_rtt", "tcpi_rtt"], "output.record.1: tcpi_rtt stands twice here: write it once"),
    ],
)
def test_a_wrong_name_is_told(record: list[str], problem: str) -> None:
    assert problem in message(SCENARIO.format(record=record))


@pytest.mark.parametrize(
    ("series", "problem"),
    [
        (["tcpi_rtt"], "sweep.series.0: tcpi_rtt is not recorded: add it to output.record"),
        (["srtt_ms", "throughput"], "sweep.series.1: there is no series 'throughput'"),
    ],
)
def test_a_sweep_keeps_what_there_is(series: list[str], problem: str) -> None:
    assert problem in message(SCENARIO.format(record=[]) + f"[sweep]\nseries = {series}\n")


def test_a_sweep_may_keep_a_field() -> None:
    text = SCENARIO.format(record=["tcpi_rtt"]) + '[sweep]\nseries = ["tcpi_rtt", "srtt_ms"]\n'
    assert loads(text).sweep is not None


def test_the_command_line_and_the_documents_list_all_of_them() -> None:
    listed = CliRunner().invoke(app, ["list", "metrics"])
    assert listed.exit_code == 0
    document = (DOCS / "metrics.md").read_text(encoding="utf-8")
    for name, words in FIELDS.items():
        assert name in listed.stdout
        assert f"| `{name}` | {words} |" in document
    for table in TABLES.values():
        for metric in table:
            assert metric.name in listed.stdout
            assert f"| `{metric.name}` | {metric.words} |" in document


def test_each_series_says_what_it_is() -> None:
    names = [(scope, metric.name) for scope, table in TABLES.items() for metric in table]
    assert len(names) == len(set(names))
    assert all(metric.words for table in TABLES.values() for metric in table)
    assert all(FIELDS.values())
    assert not set(ALWAYS) & set(FIELDS)


def test_a_metric_is_a_line_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = Metric[SubflowSample]("rttvar_ms", "its variation", lambda s: s.tcp.rttvar / MILLISECOND or None)
    monkeypatch.setattr(sampler, "SENDING_SUBFLOW", (*SENDING_SUBFLOW, more))
    found = {one.key: one.values for one in recorded(["tcpi_rttvar"], tmp_path)}
    key = next(key for key in found if key.metric == "rttvar_ms" and key.connection == "both")
    assert list(found[key] * 1000 // 1) == list(found[key._replace(metric="tcpi_rttvar")])


def test_a_recorder_may_be_a_buffer() -> None:
    """As sweeps have it."""
    buffer = io.BytesIO()
    with SeriesRecorder(buffer) as recorder:
        measure(build(loads(SCENARIO.format(record=["tcpi_rto"]))), recorder)
    assert recorder.rows > 0
