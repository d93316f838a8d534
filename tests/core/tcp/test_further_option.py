"""One TCP option takes three places: codec entry, core class, configuration key.

A copy of the package gets an experimental option that does nothing (RFC 6994), by one insertion in
each of three files. Scenarios run in the copy with the option, and in the original without it:
tshark reads the one with the option on every segment, and not a byte of the other has changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mptcpsim

PACKAGE = Path(mptcpsim.__file__).resolve().parent

KIND, EXPERIMENT = 253, 0x6E6F

#: For each of the three files: before which line of it what is inserted.
PLACES: dict[str, tuple[str, str]] = {
    "core/tcp/further_options.py": (
        "#: What to do with an option, by the key",
        '''
class Nothing(TcpOption):
    """An experimental option that says nothing."""

    __slots__ = ()

    def wire_length(self) -> int:
        """Return 4 bytes: kind, length, identifier of the experiment."""
        return 4


class UseOfNothing(OptionUse):
    """Goes with every segment if both SYNs had it."""

    __slots__ = ("_offered", "taken")

    def __init__(self, config: TcpConfig) -> None:
        super().__init__(config)
        self._offered = True
        self.taken = 0

    def syn_option(self, answer: bool) -> TcpOption | None:
        return Nothing() if self._offered else None

    def take_syn(self, segment: Segment) -> None:
        self._offered = any(isinstance(option, Nothing) for option in segment.further_options or ())
        self.length = 4 if self._offered else 0

    def segment_option(self) -> TcpOption | None:
        return Nothing() if self.length else None

    def take(self, segment: Segment, now: int) -> None:
        if segment.further_options:
            assert self.length, segment
            self.taken += 1


''',
    ),
    "codec/further_options.py": (
        "#: By kind and identifier",
        "from mptcpsim.core.tcp.further_options import Nothing\n",
    ),
    "core/config.py": (
        "    window_scaling: bool = setting(",
        """    nothing: bool = setting(
        False, "Segments carry an experimental option that says nothing.", source="RFC 6994"
    )
""",
    ),
}
#: The lines of the two tables.
LINES = {
    "core/tcp/further_options.py": ("USES: Final[dict[str, type[OptionUse]]] = {", '"nothing": UseOfNothing'),
    "codec/further_options.py": (
        "LAYOUTS: Final[dict[tuple[int, int], Layout]] = {",
        f"({KIND}, {EXPERIMENT}): Layout(Nothing, lambda option: b'', lambda body: Nothing())",
    ),
}

SCENARIO = """
title = "An option that does nothing"
duration = "20s"
[hosts.a]
interfaces = {{ eth0 = "10.0.1.1/24" }}
tcp = {{ ack_every = 1{client} }}
{mptcp}
[hosts.b]
interfaces = {{ eth0 = "10.0.1.2/24" }}
tcp = {{ ack_every = 1{server} }}
{mptcp}
[[links]]
ends = ["a:eth0", "b:eth0"]
rate = "10Mbps"
delay = "10ms"
loss = 0.02
[[flows]]
name = "f"
client = "a"
server = "b"
app = "bulk"
bytes = "300kB"
"""
ON = ", nothing = true"


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of the package in which the option has been put in."""
    directory = tmp_path_factory.mktemp("patched")
    copy = directory / "mptcpsim"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name, (anchor, text) in PLACES.items():
        source = (copy / name).read_text(encoding="utf-8")
        changes = [(anchor, text + anchor)]
        if name in LINES:
            table, line = LINES[name]
            changes.append((table, table + line))
        for old, new in changes:
            assert source.count(old) == 1, f"{name} does not contain once: {old!r}"
            source = source.replace(old, new)
        (copy / name).write_text(source, encoding="utf-8")
    return directory


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Path, subprocess.CompletedProcess[str]]]:
    """Return a function that runs a scenario with the package in a folder."""

    def run(
        package: Path, *options: str, client: str = "", server: str = "", mptcp: str = "", name: str = "run"
    ) -> tuple[Path, subprocess.CompletedProcess[str]]:
        scenario = tmp_path / f"{name}.toml"
        scenario.write_text(SCENARIO.format(client=client, server=server, mptcp=mptcp))
        out = tmp_path / name
        command = [sys.executable, "-m", "mptcpsim", "run", str(scenario), "--out", str(out)]
        done = subprocess.run(
            [*command, "--pcap", "merged", *options],
            cwd=package,
            env=os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return out, done

    return run


def segments(out: Path) -> list[dict[str, str]]:
    """Return flags, kinds of options, experiments and faults of each segment, as tshark reads them."""
    fields = ("tcp.flags", "tcp.hdr_len", "tcp.option_kind", "tcp.options.experimental.exid", "_ws.malformed")
    (capture,) = out.glob("*.pcapng")
    command = ["tshark", "-n", "-r", str(capture), "-Y", "tcp", "-T", "fields", "-E", "separator=|"]
    for field in fields:
        command += ["-e", field]
    read = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [dict(zip(fields, line.split("|"), strict=True)) for line in read.splitlines()]


def summary(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return read


@pytest.mark.slow
@pytest.mark.tool("tshark")
@pytest.mark.parametrize("mptcp", ["", 'mptcp = "rfc8684"'], ids=["tcp", "mptcp"])
def test_the_option_is_on_every_segment(patched: Path, run: Any, mptcp: str) -> None:
    out, done = run(patched, client=ON, server=ON, mptcp=mptcp)
    assert done.returncode == 0, done.stderr
    read = segments(out)
    assert len(read) > 400
    for segment in read:
        assert not segment["_ws.malformed"]
        # What MPTCP needs goes first: a segment is without the option only if no room is left.
        if segment["tcp.options.experimental.exid"] or not mptcp or int(segment["tcp.hdr_len"]) < 60:
            assert segment["tcp.options.experimental.exid"] == f"{EXPERIMENT:#06x}", segment
            assert str(KIND) in segment["tcp.option_kind"].split(",")
    assert any("5" in segment["tcp.option_kind"].split(",") for segment in read), "no SACK beside it"
    assert ("30" in read[0]["tcp.option_kind"].split(",")) == bool(mptcp)
    (flow,) = summary(out)["flows"]
    assert flow["bytes_delivered"] == 300000
    # By reference and encoded at every hop: the same run.
    encoded, done = run(patched, "--roundtrip", client=ON, server=ON, mptcp=mptcp, name="encoded")
    assert done.returncode == 0, done.stderr
    assert summary(encoded) == summary(out)


@pytest.mark.tool("tshark")
def test_a_peer_without_the_option_gets_it_on_the_syn_only(patched: Path, run: Any) -> None:
    out, done = run(patched, client=ON)
    assert done.returncode == 0, done.stderr
    for segment in segments(out):
        is_syn = int(segment["tcp.flags"], 16) & 0x12 == 0x02
        assert bool(segment["tcp.options.experimental.exid"]) == is_syn


def test_switched_off_it_changes_nothing(patched: Path, run: Any) -> None:
    with_it, done = run(patched, name="with")
    assert done.returncode == 0, done.stderr
    without, done = run(PACKAGE.parent, name="without")
    assert done.returncode == 0, done.stderr
    assert summary(with_it) == summary(without)
    (one,) = with_it.glob("*.pcapng")
    (other,) = without.glob("*.pcapng")
    assert one.read_bytes() == other.read_bytes()


def test_taken_out_its_key_is_unknown(run: Any) -> None:
    out, done = run(PACKAGE.parent, client=ON)
    assert done.returncode == 2
    assert "nothing" in done.stderr
    assert not out.exists()
