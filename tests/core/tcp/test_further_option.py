"""One TCP option takes three places: codec entry, core class, configuration key.

A copy of the package gets an experimental option that does nothing (RFC 6994), by one insertion in
each of three files. Scenarios run in the copy with the option, and in the original without it:
tshark reads the one with the option on every segment, and not a byte of the other has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.core import patched_package
from tests.core.patched_package import PACKAGE, capture, patch, segments, summary

KIND, EXPERIMENT = 253, 0x6E6F

#: What the option puts into each of three files, and before what.
PLACES = {
    "core/tcp/further_options.py": [
        (
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
        ("}\n\n\nclass FurtherOptions", '    "nothing": UseOfNothing,\n'),
    ],
    "codec/further_options.py": [
        ("#: By kind and identifier", "from mptcpsim.core.tcp.further_options import Nothing\n"),
        (
            "}\n\n\ndef write_further",
            f"    ({KIND}, {EXPERIMENT}): Layout(Nothing, lambda option: b'', lambda body: Nothing()),\n",
        ),
    ],
    "core/config.py": [
        (
            "    window_scaling: bool = setting(",
            """    nothing: bool = setting(
        False, "Segments carry an experimental option that says nothing.", source="RFC 6994"
    )
""",
        )
    ],
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


FIELDS = ("tcp.flags", "tcp.hdr_len", "tcp.option_kind", "tcp.options.experimental.exid", "_ws.malformed")

Run = Callable[..., tuple[Path, CompletedProcess[str]]]


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of the package in which the option has been put in."""
    return patch(tmp_path_factory.mktemp("patched"), PLACES)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs the scenario with the package in a folder."""

    def run(
        package: Path, *options: str, client: str = "", server: str = "", mptcp: str = "", name: str = "run"
    ) -> tuple[Path, CompletedProcess[str]]:
        scenario = SCENARIO.format(client=client, server=server, mptcp=mptcp)
        return patched_package.run(package, scenario, tmp_path / name, *options)

    return run


@pytest.mark.slow
@pytest.mark.tool("tshark")
@pytest.mark.parametrize("mptcp", ["", 'mptcp = "rfc8684"'], ids=["tcp", "mptcp"])
def test_the_option_is_on_every_segment(patched: Path, run: Run, mptcp: str) -> None:
    out, done = run(patched, client=ON, server=ON, mptcp=mptcp)
    assert done.returncode == 0, done.stderr
    read = segments(out, *FIELDS)
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
def test_a_peer_without_the_option_gets_it_on_the_syn_only(patched: Path, run: Run) -> None:
    out, done = run(patched, client=ON)
    assert done.returncode == 0, done.stderr
    for segment in segments(out, *FIELDS):
        is_syn = int(segment["tcp.flags"], 16) & 0x12 == 0x02
        assert bool(segment["tcp.options.experimental.exid"]) == is_syn


def test_switched_off_it_changes_nothing(patched: Path, run: Run) -> None:
    with_it, done = run(patched, name="with")
    assert done.returncode == 0, done.stderr
    without, done = run(PACKAGE.parent, name="without")
    assert done.returncode == 0, done.stderr
    assert summary(with_it) == summary(without)
    assert capture(with_it) == capture(without)


def test_taken_out_its_key_is_unknown(run: Run) -> None:
    out, done = run(PACKAGE.parent, client=ON)
    assert done.returncode == 2
    assert "nothing" in done.stderr
    assert not out.exists()
