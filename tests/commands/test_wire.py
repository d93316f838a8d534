"""``mptcpsim wire``: what is refused, what is reported, what unmodified programs get, what is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mptcpsim.wire import leftovers

LIMIT = 90


def wire(*words: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
    """Run a command of ``mptcpsim wire``."""
    return subprocess.run(
        [sys.executable, "-m", "mptcpsim", "wire", *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Server:
    """A ``wire serve`` that goes on until it is ended."""

    def __init__(self, *words: str) -> None:
        self.program = subprocess.Popen(
            [sys.executable, "-m", "mptcpsim", "wire", "serve", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.program.stdout is not None
        line = self.program.stdout.readline()
        found = re.search(r"ip netns exec (\S+)", line)
        assert found is not None, line
        self.namespace = found[1]

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; return the exit status and what is on stderr."""
        self.program.send_signal(number)
        _, errors = self.program.communicate(timeout=LIMIT)
        return self.program.returncode, errors

    def stop(self) -> None:
        if self.program.poll() is None:
            self.program.kill()
        self.program.communicate()
        leftovers.clean()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server("--limit", "60", *getattr(request, "param", ()))
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["send", "--flow", "rcvbuff=1MiB"], "'rcvbuff' is no setting; did you mean 'rcvbuf'?"),
        (["send", "--profile", "linux"], "profile 'linux' is not known"),
        (["request", "-n", "ten"], "--bytes "),
        (["request", "-P", "2", "--flow", "nodelay"], "--parallel and --flow"),
        (["send", "-6", "--mtu", "1000"], "too small for IPv6"),
        (["send", "--pcap", "/nonexistent/a.pcapng"], "there is no directory /nonexistent"),
        (["serve", "--http", "/nonexistent"], "there is no such directory"),
        (["serve", "--http", ".", "--iperf3"], "two servers"),
    ],
)
def test_wrong_input_is_named(words: list[str], message: str) -> None:
    done = wire(*words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.kernel
class TestTransfers:
    def test_send(self, tmp_path: Path) -> None:
        done = wire("send", "-n", "1MB", "--pcap", str(tmp_path / "a.pcapng"))
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(r"\[1\] 1\.00 MB in .* MPTCP, 2 subflows, SHA-256 right", done.stdout)
        assert "10.1.0.2:5000" in done.stdout
        assert (tmp_path / "a.pcapng").stat().st_size > 1_000_000

    def test_several_connections_with_settings_of_their_own(self) -> None:
        done = wire(
            "request",
            "-n",
            "300kB",
            "--flow",
            "rcvbuf=32KiB nodelay",
            "--flow",
            "profile=tcp",
            "--device",
            "packet",
            "-6",
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(r"\[1\] 0\.30 MB in .* MPTCP, \d subflows?, SHA-256 right", done.stdout)
        assert re.search(r"\[2\] 0\.30 MB in .* TCP, SHA-256 right", done.stdout)
        assert "fd00:1::1:" in done.stdout

    @pytest.mark.parametrize("what", ["send", "request"])
    def test_json_has_the_shape_of_iperf3(self, what: str) -> None:
        done = wire(what, "-t", "1.2", "-P", "2", "-J", "--loss", "0.01")
        assert (done.returncode, done.stderr) == (0, "")
        data: dict[str, Any] = json.loads(done.stdout)
        assert data["start"]["test_start"]["reverse"] == int(what == "request")
        assert len(data["end"]["streams"]) == 2
        for end in data["end"]["streams"]:
            assert end["sender"]["bytes"] == end["receiver"]["bytes"] > 0
        assert len(data["intervals"]) >= 2
        for number in range(2):
            streams = [interval["streams"][number] for interval in data["intervals"]]
            assert sum(s["bytes"] for s in streams) == data["end"]["streams"][number]["sender"]["bytes"]
            assert {subflow["subflow"] for s in streams for subflow in s["subflows"]} >= {0}
        assert data["end"]["sum_received"]["bits_per_second"] > 0

    def test_a_program_at_the_other_end(self, tmp_path: Path) -> None:
        """A server of the user's own takes what we send."""
        program = tmp_path / "sink.py"
        program.write_text(
            "import socket\n"
            "s = socket.create_server(('', 5000))\n"
            "c, _ = s.accept()\n"
            "n = 0\n"
            "while d := c.recv(65536): n += len(d)\n"
            f"open({str(tmp_path / 'count')!r}, 'w').write(str(n))\n"
        )
        done = wire("send", "-n", "200kB", "--", sys.executable, str(program))
        assert (done.returncode, done.stderr) == (0, "")
        assert "TCP" in done.stdout
        assert (tmp_path / "count").read_text() == "200000"

    def test_nobody_listens(self) -> None:
        done = wire("send", "-n", "1kB", "--", "sleep", "30")
        assert done.returncode == 1
        assert "refused" in done.stderr

    def test_a_limit(self) -> None:
        done = wire("send", "-t", "30", "--limit", "1")
        assert done.returncode == 1
        assert "not done after 1 s: raise --limit" in done.stderr


@pytest.mark.kernel
class TestServers:
    @pytest.mark.tool("curl")
    @pytest.mark.tool("mptcpize")
    def test_curl_fetches_over_two_subflows(self, tmp_path: Path) -> None:
        data = os.urandom(3_000_000)
        (tmp_path / "big").write_bytes(data)
        got = tmp_path / "got"
        done = wire(
            "serve",
            "--http",
            str(tmp_path),
            "--",
            "mptcpize",
            "run",
            "curl",
            "-sS",
            "-o",
            str(got),
            "http://10.1.0.1/big",
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert got.read_bytes() == data
        assert "1 connections with MPTCP, 1 further subflows" in done.stdout
        assert "1 requests, 3.00 MB" in done.stdout

    @pytest.mark.tool("iperf3")
    @pytest.mark.tool("mptcpize")
    @pytest.mark.parametrize("words", [[], ["-R"], ["-R", "-P", "2"], ["--bidir"]], ids=" ".join)
    def test_iperf3(self, words: list[str]) -> None:
        done = wire(
            "serve", "--iperf3", "--", "mptcpize", "run", "iperf3", "-c", "10.1.0.1", "-t", "1", "-J", *words
        )
        assert (done.returncode, done.stderr) == (0, "")
        text = done.stdout[done.stdout.index("{") :]
        data, _ = json.JSONDecoder().raw_decode(text)
        assert "error" not in data
        assert data["end"]["sum_received"]["bytes"] > 100_000
        assert "1 tests" in done.stdout

    def test_a_server_that_counts(self) -> None:
        count = "import socket; s = socket.create_connection(('10.1.0.1', 5000)); s.sendall(bytes(70000))"
        done = wire("serve", "--json", "--", sys.executable, "-c", count)
        assert (done.returncode, done.stderr) == (0, "")
        data = json.loads(done.stdout)
        assert (data["connections"], data["bytes"]) == (1, 70_000)

    def test_the_status_of_a_program_that_fails(self) -> None:
        done = wire("serve", "--", "false")
        assert done.returncode == 1
        assert "false: exit status 1" in done.stderr

    def test_a_program_that_is_not_there(self) -> None:
        done = wire("serve", "--", "no-such-program")
        assert done.returncode == 2
        assert "no-such-program cannot be run: No such file" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_without_a_program_it_serves_for_so_long(self) -> None:
        done = wire("serve", "--limit", "1")
        assert (done.returncode, done.stderr) == (0, "")
        assert "0 connections, 0.00 MB" in done.stdout


@pytest.mark.kernel
@pytest.mark.xdist_group("leftovers of the wire")  # one test's `clean` is not to spoil another one
class TestLeftovers:
    @pytest.mark.parametrize(
        ("number", "status", "word"),
        [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    )
    @pytest.mark.parametrize("server", [["--device", "tun"], ["--device", "packet"]], indirect=True)
    def test_a_signal_leaves_nothing(self, server: Server, number: int, status: int, word: str) -> None:
        assert (leftovers.NAMESPACES / server.namespace).exists()
        assert server.end(number) == (status, f"mptcpsim: {word}; nothing is left behind\n")
        assert not (leftovers.NAMESPACES / server.namespace).exists()

    def test_clean_removes_what_a_kill_has_left(self, server: Server) -> None:
        server.end(signal.SIGKILL)
        assert (leftovers.NAMESPACES / server.namespace).exists()
        done = wire("send", "-n", "10kB")
        assert (done.returncode, done.stderr) == (0, ""), "the next run works"
        done = wire("clean")
        assert done.returncode == 0
        assert not (leftovers.NAMESPACES / server.namespace).exists()

    def test_clean_leaves_what_is_in_use(self, server: Server) -> None:
        assert wire("clean").returncode == 0
        assert (leftovers.NAMESPACES / server.namespace).exists()


@pytest.mark.kernel
def test_probe_says_what_is_there() -> None:
    done = wire("probe")
    assert (done.returncode, done.stderr) == (0, "")
    assert "yes  tun" in done.stdout
    data = json.loads(wire("probe", "--json").stdout)
    assert {entry["what"] for entry in data} >= {"rights", "tun", "packet", "mptcp", "namespaces"}


@pytest.mark.kernel
@pytest.mark.tool("setpriv")
@pytest.mark.parametrize("words", [["send"], ["serve"], ["clean"], ["probe"]], ids=" ".join)
def test_without_rights_one_message_says_so(words: list[str]) -> None:
    done = subprocess.run(
        [
            "setpriv",
            "--bounding-set=-net_admin",
            "--inh-caps=-all",
            sys.executable,
            "-m",
            "mptcpsim",
            "wire",
            *words,
        ],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "CAP_NET_ADMIN missing: run as root" in done.stderr
