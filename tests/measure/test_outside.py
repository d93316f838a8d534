"""Who measures looks at the core from outside: at snapshots and event logs, never at its objects.

Twice: the modules are read (which names of the core they may import, which attributes they may use), and
runs are watched: the classes of the core notice who reads their attributes.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mptcpsim
from mptcpsim import build, loads
from mptcpsim.measure.metrics import FIELDS
from mptcpsim.measure.segment_trace import SegmentTrace
from mptcpsim.results.segments import SegmentRecorder
from mptcpsim.results.series import NoSeries
from mptcpsim.scenario.run import measure
from mptcpsim.scenario.subflow_paths import subflow_paths
from mptcpsim.scenario.summarise import event_lines
from tests.conftest import compiled_modules

PACKAGE = Path(mptcpsim.__file__).resolve().parent

#: The packages that measure, tell and draw.
OUTSIDE = ("measure", "results", "scenario", "sweep")

#: What they may import of the core: records, logs, formats of the wire, settings, and what builds hosts.
ALLOWED = {
    "core.config",
    "core.errors",
    "core.events",
    "core.mptcp.dss_checksum",
    "core.mptcp.info",
    "core.mptcp.keys",
    "core.mptcp.profiles",
    "core.mptcp_config",
    "core.mptcp_options",
    "core.segment",
    "core.sequences",
    "core.stack",
    "core.tcp.connection",
    "core.tcp.info",
    "core.window_log",
}

#: Where the names of attributes may mean something else that is read outside.
NEIGHBOURS = (
    *(f"{package}/" for package in OUTSIDE),
    "sim/",
    "net/link",
    "net/node",
    "net/pipe",
    "core/segment",
)

#: Attributes of others that are called as some of the core's: of keys and options, settings, modules.
NAMESAKES = {
    "header",
    "idsn",
    "local_port",
    "log",
    "minimum",
    "nonce",
    "path_manager",
    "rto_max",
    "rto_min",
    "signal",
    "source_for",
}

#: Classes of the core whose attributes are nobody's business outside.
INSIDE = (
    "core.mptcp.addresses.Addresses",
    "core.mptcp.connection.MptcpConnection",
    "core.mptcp.data_receiver.DataReceiver",
    "core.mptcp.data_sender.DataSender",
    "core.mptcp.mappings.Mapping",
    "core.mptcp.mappings.SentMappings",
    "core.mptcp.subflow.Subflow",
    "core.tcp.connection.Connection",
    "core.tcp.arrives.Tcp",
    "core.tcp.receiver.Receiver",
    "core.tcp.recovery.Recovery",
    "core.tcp.rtt.RttEstimator",
    "core.tcp.scoreboard.Scoreboard",
    "core.tcp.scoreboard.Sent",
    "core.tcp.sender.Sender",
    "core.tcp.window_probe.WindowProbe",
)

#: Of a connection: its event logs, and the hooks by which it tells of events.
EVENTS = {"host_events", "on_progress", "on_write", "window_log"}


def find(name: str) -> type[Any]:
    module, _, found = name.rpartition(".")
    cls = getattr(importlib.import_module(f"mptcpsim.{module}"), found)
    assert isinstance(cls, type)
    return cls


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in OUTSIDE:
        for path in sorted((PACKAGE / package).rglob("*.py")):
            yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Return the modules of the package from which a module imports more than constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mptcpsim."):
            module = node.module.removeprefix("mptcpsim.")
            for alias in node.names:
                if alias.name.isupper():
                    continue  # a constant
                below = f"{module}.{alias.name}".replace(".", "/")
                yield f"{module}.{alias.name}" if (PACKAGE / f"{below}.py").exists() else module


def internal_names() -> set[str]:
    """Return the attributes of the core's objects whose names mean nothing else in the package."""
    inside: set[str] = set()
    for name in INSIDE:
        for cls in find(name).__mro__:
            inside |= {attribute for attribute in vars(cls) if not attribute.startswith("__")}
    elsewhere: set[str] = EVENTS | NAMESAKES
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith(NEIGHBOURS) or path.name == "info.py":
            elsewhere |= defined(ast.parse(path.read_text(encoding="utf-8")))
    return inside - elsewhere - set(dir(str)) - set(dir(list)) - set(dir(dict)) - set(dir(set))


def defined(tree: ast.Module) -> set[str]:
    """Return the names that a module gives to fields, methods, functions and attributes of ``self``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def test_only_records_and_logs_are_imported() -> None:
    wrong = [
        f"{name} imports {module}"
        for name, tree in sources()
        for module in imported(tree)
        if module.startswith("core.") and module not in ALLOWED
    ]
    assert wrong == []


def test_no_attribute_of_an_object_of_the_core_is_named() -> None:
    names = internal_names()
    assert {"una", "nxt", "board", "outbound", "inbound", "window_probe", "rtt", "congestion"} <= names
    wrong = [
        f"{name}:{node.lineno} reads .{node.attr}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in names
    ]
    assert wrong == []


def _watched(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Have the classes of the core note which modules outside read their attributes."""
    seen: set[str] = set()
    for name in INSIDE:
        cls = find(name)
        plain = cls.__getattribute__

        def noting(self: Any, attribute: str, plain: Any = plain, cls: type = cls) -> Any:
            module = sys._getframe(1).f_globals.get("__name__", "")
            if module.startswith(tuple(f"mptcpsim.{package}." for package in OUTSIDE)):
                seen.add(f"{module} reads {cls.__name__}.{attribute}")
            return plain(self, attribute)

        monkeypatch.setattr(cls, "__getattribute__", noting)
    return seen


#: Two flows; both links are cut for a second, and the readers are too slow for the windows.
SCENARIO = """
title = "watched"
duration = "4s"
[output]
record = FIELDS
[results]
stall_threshold = "200ms"
[defaults.tcp]
receive_buffer = "20kB"
[hosts.A.interfaces]
x = {addresses = ["10.0.1.1/24"]}
y = {addresses = ["10.0.2.1/24"]}
[hosts.B.interfaces]
x = {addresses = ["10.0.1.2/24"]}
y = {addresses = ["10.0.2.2/24"]}
[[links]]
name = "first"
ends = ["A:x", "B:x"]
rate = "500kbps"
delay = "10ms"
loss = 0.02
[[links]]
name = "second"
ends = ["A:y", "B:y"]
rate = "200kbps"
delay = "30ms"
[[flows]]
name = "multipath"
client = "A"
server = "B"
reader = {read_size = "10kB", every = "700ms"}
mptcp = {enabled = true, path_manager = {name = "endpoints", endpoints = "10.0.2.1 subflow"}}
[[flows]]
name = "plain"
client = "A"
server = "B"
port = 5002
reader = {read_size = "10kB", every = "900ms"}
[[events]]
at = "1500ms"
action = "down"
link = "first"
[[events]]
at = "2500ms"
action = "up"
link = "first"
"""


@pytest.mark.skipif(bool(compiled_modules()), reason="compiled classes take no other __getattribute__")
def test_no_object_of_the_core_is_read_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with stalls, all fields recorded, its segments traced, and its events told."""
    simulation = build(loads(SCENARIO.replace("FIELDS", str(sorted(FIELDS)))))
    interfaces = [i for host in simulation.hosts.values() for i in host.interfaces.values()]
    SegmentTrace(simulation.flows, interfaces, SegmentRecorder(tmp_path / "segments.parquet"))
    seen = _watched(monkeypatch)
    summary = measure(simulation, NoSeries())
    assert all(flow.stalls or flow.pauses.count for flow in summary.flows)
    assert list(event_lines(simulation, summary))
    assert list(subflow_paths(simulation))
    allowed = {f"{cls}.{event}" for event in EVENTS for cls in ("Connection", "MptcpConnection")}
    assert {one for one in seen if one.rpartition(" ")[2] not in allowed} == set()
    assert any("window_log" in one for one in seen), "nothing was watched"


@pytest.mark.parametrize(
    ("line", "finds"),
    [
        ("x = flow.sender.subflows[0].sender.una", True),
        ("x = connection.outbound", True),
        ("x = tcp.snd_una", False),
        ("x = end.info.delivered", False),
    ],
)
def test_a_reader_of_the_core_is_found(line: str, finds: bool) -> None:
    names = internal_names()
    found = [n.attr for n in ast.walk(ast.parse(line)) if isinstance(n, ast.Attribute) and n.attr in names]
    assert bool(found) == finds
