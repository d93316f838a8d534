"""Sockets of applications that write and read bytes of their own."""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from typing import Any

import pytest

from mptcpsim import LocalProtocolError
from mptcpsim.core.config import TcpConfig
from mptcpsim.sim.apps import write_all
from mptcpsim.sim.sockets import Socket
from mptcpsim.units import SECOND
from tests.paths import ROOT
from tests.sim.test_sockets import A, B, Ends, simulation

Process = Generator[Any, Any, Any]

BYTES = "defaults.tcp.payload=bytes"


def test_the_example_of_the_documentation(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    text = (ROOT / "docs" / "applications.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(example, "docs/applications.md", "exec"), {})
    assert capsys.readouterr().out == "b'HELLO'\n"


def test_lines_there_and_back() -> None:
    ends = Ends(BYTES)

    def server() -> Process:
        while not ends.server.at_end:
            yield ends.server.readable()
            ends.server.write(ends.server.read_bytes().upper())
        ends.server.close()

    def client() -> Process:
        got = b""
        for line in (b"one\n", bytearray(b"two\n"), memoryview(b"three\n")):
            assert ends.client.write(line) == len(line)
            yield ends.client.readable()
            got += ends.client.read_bytes(1 << 20)
        ends.client.close()
        yield ends.client.peer_closed()
        assert ends.client.read_bytes() == b""
        return got

    ends.env.process(server())
    assert ends.process(client()) == b"ONE\nTWO\nTHREE\n"


def test_a_blocking_write_of_more_than_the_buffers_hold() -> None:
    ends = Ends(BYTES, "defaults.tcp.send_buffer=10kB", "defaults.tcp.receive_buffer=8kB")
    data = random.Random(1).randbytes(200_000)

    def writer() -> Process:
        yield from write_all(ends.client, data)
        ends.client.release()

    def reader() -> Process:
        pieces = []
        while not ends.server.at_end:
            yield ends.server.readable()
            pieces.append(ends.server.read_bytes(3_000))
        return pieces

    ends.env.process(writer())
    pieces = ends.process(reader())
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 3_000


def test_who_pauses_reads_nothing() -> None:
    ends = Ends(BYTES)
    ends.client.write(b"hello")
    ends.env.run(ends.env.now + SECOND)
    ends.server.set_reading(False)
    assert ends.server.read_bytes() == b""
    ends.server.set_reading(True)
    assert ends.server.read_bytes() == b"hello"


def test_a_setting_of_one_connection() -> None:
    """Only that one carries bytes; others of the same host carry the pattern."""
    sim = simulation()
    carries = TcpConfig(payload="bytes")
    listening = sim.sockets["b"].listen(80, carries)
    sim.sockets["b"].listen(81)
    client = sim.sockets["a"].connect(A, (B, 80), carries)
    server: Socket = sim.env.run(until=listening.accept())
    other = sim.sockets["a"].connect(A, (B, 81))
    client.write(b"hello")
    sim.env.run(sim.env.now + SECOND)
    assert server.read_bytes() == b"hello"
    with pytest.raises(LocalProtocolError, match='set payload = "bytes" in its settings of TCP'):
        other.write(b"hello")
    with pytest.raises(LocalProtocolError, match='set payload = "bytes" in its settings of TCP'):
        other.read_bytes()
    assert other.write(1_000) == 1_000
