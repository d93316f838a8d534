"""One option of MPTCP takes three places: codec entry, core class, configuration key.

A copy of the package gets an option of the experimental subtype (RFC 8684 section 7.2) that asks for
nothing but an answer, by insertions into three files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.core import patched_package
from tests.core.patched_package import PACKAGE, capture, patch, segments, summary

#: What the option puts into each of three files, and before what.
PLACES = {
    "core/mptcp/further_options.py": [
        (
            "#: What to do with an option, by the key",
            '''
class Greeting(FurtherMptcpOption):
    """A greeting, or with ``answer`` the answer to one."""

    __slots__ = ("answer",)

    def __init__(self, answer: bool) -> None:
        self.answer = answer

    def wire_length(self) -> int:
        """Return 3 bytes."""
        return 3


class UseOfGreeting(MptcpOptionUse):
    """Greets on each subflow, and answers."""

    __slots__ = ()

    def ready_option(self) -> FurtherMptcpOption | None:
        return Greeting(False)

    def take(self, option: FurtherMptcpOption, now: int) -> FurtherMptcpOption | None:
        return None if not isinstance(option, Greeting) or option.answer else Greeting(True)


''',
        ),
        ("}\n\n\nclass FurtherMptcpOptions", '    "greeting": UseOfGreeting,\n'),
    ],
    "codec/mptcp.py": [
        (
            "_WRITERS: Final",
            """
from mptcpsim.core.mptcp.further_options import Greeting


def _write_greeting(option: Greeting) -> bytes:
    return bytes((0xF0 | option.answer,))


def _read_greeting(body: bytes, flags: int) -> Greeting:
    return Greeting(body == bytes((0xF1,)))


""",
        ),
        ("}\n\n\n# --- Bytes to option", "    Greeting: _write_greeting,\n"),
        ("    SUBTYPE_MP_TCPRST: _read_tcprst,\n", "    0xF: _read_greeting,\n"),
    ],
    "core/mptcp_config.py": [
        (
            "    checksum: bool = setting(",
            """    greeting: bool = setting(
        False, "Ends greet each other on each subflow.", source="RFC 8684 section 7.2"
    )
""",
        )
    ],
}

SCENARIO = """
title = "An option that greets"
duration = "20s"
[hosts.a]
interfaces = {{ eth0 = "10.0.1.1/24", eth1 = "10.0.2.1/24" }}
mptcp = {{ path_manager = {{ name = "endpoints", add_addr_accepted = 1 }}{client} }}
[hosts.b]
interfaces = {{ eth0 = "10.0.1.2/24", eth1 = "10.0.2.2/24" }}
mptcp = {{ path_manager = {{ name = "endpoints", endpoints = "10.0.2.2 signal" }}{server} }}
[[links]]
ends = ["a:eth0", "b:eth0"]
rate = "10Mbps"
delay = "10ms"
[[links]]
ends = ["a:eth1", "b:eth1"]
rate = "10Mbps"
delay = "20ms"
[[flows]]
name = "f"
client = "a"
server = "b"
app = "bulk"
bytes = "300kB"
"""
ON = ", greeting = true"
FIELDS = ("ip.src", "ip.dst", "tcp.options.mptcp.subtype", "_ws.malformed")

Run = Callable[..., tuple[Path, CompletedProcess[str]]]


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of the package in which the option has been put in."""
    return patch(tmp_path_factory.mktemp("patched"), PLACES)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs the scenario with the package in a folder."""

    def run(
        package: Path, *options: str, client: str = "", server: str = "", name: str = "run"
    ) -> tuple[Path, CompletedProcess[str]]:
        scenario = SCENARIO.format(client=client, server=server)
        return patched_package.run(package, scenario, tmp_path / name, *options)

    return run


def greetings(out: Path) -> list[tuple[str, str]]:
    """Return source and destination of each segment with the option, one for each of it."""
    read = segments(out, *FIELDS)
    assert not any(segment["_ws.malformed"] for segment in read)
    return sorted(
        (segment["ip.src"], segment["ip.dst"])
        for segment in read
        for subtype in segment["tcp.options.mptcp.subtype"].split(",")
        if subtype == "15"
    )


@pytest.mark.slow
@pytest.mark.tool("tshark")
def test_ends_greet_and_answer_on_each_subflow(patched: Path, run: Run) -> None:
    out, done = run(patched, client=ON, server=ON)
    assert done.returncode == 0, done.stderr
    found = greetings(out)
    seen = len(found) // 8  # a merged capture has a segment at each interface that it passes
    ways = [("10.0.1.1", "10.0.1.2"), ("10.0.1.2", "10.0.1.1")]
    ways += [("10.0.2.1", "10.0.2.2"), ("10.0.2.2", "10.0.2.1")]
    assert seen >= 1
    assert found == sorted(way for way in ways for _ in range(2 * seen))
    encoded, done = run(patched, "--roundtrip", client=ON, server=ON, name="encoded")
    assert done.returncode == 0, done.stderr
    assert summary(encoded) == summary(out)


@pytest.mark.tool("tshark")
def test_a_peer_without_the_option_passes_it_over(patched: Path, run: Run) -> None:
    out, done = run(patched, client=ON)
    assert done.returncode == 0, done.stderr
    assert {source for source, _ in greetings(out)} == {"10.0.1.1", "10.0.2.1"}


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
    assert "greeting" in done.stderr
    assert not out.exists()
