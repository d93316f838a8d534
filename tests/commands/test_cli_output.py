"""What the commands print, and to whom: a terminal of any width, a pipe, one that nobody reads."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mptcpsim.cli import app
from mptcpsim.sweep.metrics import metrics

SCENARIO = """\
title = "Two flows"
duration = "2s"
[hosts.laptop]
interfaces = { eth0 = "10.0.0.1/24" }
[hosts.server]
interfaces = { eth0 = "10.0.0.2/24" }
[[links]]
name = "the only link"
ends = ["laptop:eth0", "server:eth0"]
rate = "5Mbps"
delay = "20ms"
[[flows]]
name = "nobody [listens]"
client = "laptop"
server = "server"
listen = "never"
[[flows]]
name = "works"
client = "laptop"
server = "server"
port = 5002
bytes = "100kB"
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "two.toml"
    file.write_text(SCENARIO)
    return file


def mptcpsim(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def in_terminal(columns: int, *arguments: str | Path) -> tuple[int, str]:
    """Run a command at a terminal of so many columns; return its exit status and what it prints."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "mptcpsim", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=its, stdout=its, stderr=subprocess.DEVNULL, env={**environment, "TERM": "xterm"}
    )
    os.close(its)
    printed = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # so Linux tells of the other end's close
            break
        if not piece:
            break
        printed += piece
    os.close(ours)
    status = process.wait(timeout=60)
    return status, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed.decode()).replace("\r\n", "\n")


class TestFailedFlows:
    """A flow that was refused, reset or timed out."""

    def test_it_is_told_in_a_column_of_its_own_and_by_the_exit_status(
        self, scenario: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        result = mptcpsim("run", scenario, "--out", out, "--no-figures", "--no-lint")
        assert result.exit_code == 1
        assert result.stderr == "mptcpsim: flow 'nobody [listens]' failed: connection refused at 0.040 s\n"
        head, no, works = (
            line for line in result.stdout.splitlines() if re.match(" (flow|nobody|works) ", line)
        )
        assert head.split()[-2:] == ["integrity", "failed"]
        assert no.rstrip().endswith(" ok         connection refused at 0.040 s")
        assert works.rstrip().endswith("ok")
        summary = json.loads((out / "summary.json").read_text())
        assert [(f["failed"], f["error"], f["failed_s"]) for f in summary["flows"]] == [
            (True, "connection refused", pytest.approx(0.04, abs=1e-3)),
            (False, None, None),
        ]
        columns = metrics(summary, {})
        assert (columns["nobody [listens].failed"], columns["works.failed"]) == (True, False)

    def test_a_run_without_one_has_no_such_column(self, scenario: Path, tmp_path: Path) -> None:
        listens = ["--set", "flows.0.listen=0s", "--set", "flows.0.bytes=10kB"]
        result = mptcpsim("run", scenario, "--out", tmp_path / "out", "--no-figures", *listens)
        assert result.exit_code == 0
        assert "failed" not in result.output

    @pytest.mark.parametrize(
        ("events", "says"),
        [
            ('{at="0.1s", action="down", link="the only link"}', "timed out: data was not acknowledged"),
            ('{at="0s", action="down", link="the only link"}', "timed out: the SYN was not answered"),
        ],
    )
    def test_time_outs(self, scenario: Path, tmp_path: Path, events: str, says: str) -> None:
        """A second flow is refused long before: the first five are named."""
        given = [f"events=[{events}]", "defaults.tcp.data_retries=2", "defaults.tcp.syn_retries=2"]
        given += ["flows.0.listen=0s", "flows.0.bytes=10kB", "duration=60s", "flows.1.bytes=1MB"]
        sets = [word for text in given for word in ("--set", text)]
        result = mptcpsim("run", scenario, "--out", tmp_path / "out", "--no-figures", *sets)
        assert result.exit_code == 1
        assert f"flow 'works' failed: {says} at " in result.stderr

    def test_a_sweep_has_a_column_and_no_failed_run(self, scenario: Path, tmp_path: Path) -> None:
        scenario.write_text(SCENARIO + '[sweep.grid]\n"links.0.delay" = ["10ms", "20ms"]\n')
        out, table = tmp_path / "out", tmp_path / "table.csv"
        result = mptcpsim("sweep", "run", scenario, "--out", out, "--jobs", "1", "--no-figures")
        assert result.exit_code == 0, result.output
        assert "2 of 2 runs done" in result.stdout
        assert mptcpsim("sweep", "export", out, "--out", table).exit_code == 0
        head, *rows = (line.split(",") for line in table.read_text().splitlines())
        for name, value in (("nobody [listens].failed", "True"), ("works.failed", "False")):
            assert [row[head.index(name)].lower() for row in rows] == [value.lower()] * 2


class TestWidths:
    def test_a_pipe_gets_lines_as_long_as_they_are(self, scenario: Path, tmp_path: Path) -> None:
        name = "a-very-long-name-" * 8
        result = mptcpsim(
            "run", scenario, "--out", tmp_path / "out", "--no-figures", "--set", f"flows.1.name={name}"
        )
        (line,) = (line for line in result.stdout.splitlines() if line.strip().startswith(name[:20]))
        assert line.split()[:4] == [name, "laptop", "->", "server"]
        assert "…" not in result.stdout

    def test_forty_columns_are_enough(self, scenario: Path, tmp_path: Path) -> None:
        status, printed = in_terminal(
            40, "run", scenario, "--out", tmp_path / "out", "--no-figures", "--no-lint"
        )
        assert status == 1
        lines = [line.rstrip() for line in printed.splitlines()]
        assert "…" not in printed
        assert max(map(len, lines)) <= 40 or lines[-1].startswith("Results: ")
        flow = lines.index("works")
        assert lines[flow : flow + 4] == [
            *("works", "    path: laptop -> server", "    delivered: 100 kB", "    goodput: 3.125 Mbit/s")
        ]
        assert "    utilisation: 11.0 %" in lines or any("utilisation: " in line for line in lines)

    def test_a_wide_terminal_has_tables(self, scenario: Path, tmp_path: Path) -> None:
        _, printed = in_terminal(140, "run", scenario, "--out", tmp_path / "out", "--no-figures", "--no-lint")
        assert re.search(r"^ works +laptop -> server +100 kB +3\.125 Mbit/s", printed, re.MULTILINE)

    @pytest.mark.parametrize("command", [("list",), ("list", "qdisc")])
    def test_other_tables_in_forty_columns(self, command: tuple[str, ...]) -> None:
        _, printed = in_terminal(40, *command)
        assert "…" not in printed
        assert max(len(line.rstrip()) for line in printed.splitlines()) <= 40
        assert "what it is: " in printed


class TestBrokenPipe:
    @pytest.mark.parametrize(
        "command",
        [
            ("list",),
            ("lint", "{}"),
            ("route", "{}", "laptop", "laptop", "server"),
            ("run", "{}", "--out", "{out}", "--no-figures"),
            ("plot", "--topology", "{}", "--out", "{out}"),
            ("--version",),
        ],
    )
    def test_who_reads_no_further_ends_a_command_quietly(
        self, scenario: Path, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        words = [word.format(scenario, out=tmp_path / "out") for word in command]
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "mptcpsim", *words], stdout=writer, stderr=subprocess.PIPE, text=True,
            timeout=60,
        )  # fmt: skip
        os.close(writer)
        assert done.returncode == (1 if command == ("--version",) else 141)
        assert "Broken" not in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run with ``--dsn``."""
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "two.toml").write_text(SCENARIO)
    mptcpsim("run", directory / "two.toml", "--out", directory / "out", "--dsn")
    return directory / "out"


class TestPartsOfAFigure:
    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--dsn", "--from", "100", "--to", "1"), "--from 100 --to 1 shows nothing"),
            (("--dsn", "--from", "1", "--to", "1"), "--from 1 --to 1 shows nothing"),
            (("--dsn", "--from", "-1"), "--from -1 is no time of a run"),
            (("--dsn", "--to", "nan"), "--to nan is no time of a run"),
            (("--dsn", "--to", "inf"), "--to inf is no time of a run"),
            (("--dsn", "--from", "100"), "nothing was recorded from 100 s on"),
            (("--dsn", "--to", "0.001"), "nothing was recorded up to 0.001 s"),
            (("--from", "1"), "--from is for --dsn"),
            (("--topology", "--to", "1"), "--to is for --dsn"),
            (("--topology", "--dsn"), "--topology and --dsn are two pictures"),
        ],
    )
    def test_what_shows_nothing_is_refused(self, recorded: Path, words: tuple[str, ...], says: str) -> None:
        before = sorted(path.name for path in recorded.iterdir())
        result = mptcpsim("plot", *words, recorded)
        assert result.exit_code == 2
        assert says in result.stderr
        assert result.stderr.count("\n") == 1
        assert sorted(path.name for path in recorded.iterdir()) == before

    def test_a_part_has_a_name_of_its_own(self, recorded: Path) -> None:
        whole = (recorded / "dsn-works.png").read_bytes()
        result = mptcpsim("plot", "--dsn", "--from", "0.1", "--to", "0.15", recorded)
        assert str(recorded / "dsn-works-from-0.1s-to-0.15s.png") in result.stdout.splitlines()
        assert (recorded / "dsn-works.png").read_bytes() == whole
        assert (recorded / "dsn-works-from-0.1s-to-0.15s.png").read_bytes() != whole
