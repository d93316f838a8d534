"""Campaigns that lose workers, their parent, the terminal's patience or the disk: nothing stored is lost.

These tests start real processes. Each wait is for something that happens, bounded in time, and every
process is ended in the end.
"""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mptcpsim.sweep.store import Store, StoreError
from tests.sweep.gate import GATED, Gate
from tests.sweep.scenarios import BASE, ENVIRONMENT, program, run, start, table, written

#: 40 runs.
MANY = """
[sweep]
replicates = 10
[sweep.grid]
"links.a.delay" = ["5ms", "20ms"]
"links.b.rate" = ["20Mbps", "40Mbps"]
"""

#: Seconds after which a wait has failed.
PATIENCE_S = 120.0


def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {inspect.getsource(condition).strip()}"
        time.sleep(0.02)


def stored(campaign: Path) -> int:
    """Return the number of runs that are stored."""
    try:
        with Store(campaign) as store:
            return len(store.statuses())
    except StoreError:
        return 0


def family(pid: int) -> list[int]:
    """Return all descendants of a process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        mine = children.get(todo.pop(), [])
        found += mine
        todo += mine
    return found


def workers(pid: int) -> list[int]:
    """Return the worker processes of a campaign: those that have no children, and once had a server."""
    everybody = family(pid)
    return [
        one for one in everybody
        if not family(one) and b"forkserver" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]  # fmt: skip


def alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The table of the campaign that nothing happens to."""
    home = tmp_path_factory.mktemp("undisturbed")
    Gate(home)
    assert run(written(home, MANY, GATED), home / "c").exit_code == 0
    return table(home / "c")


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Started processes; those that are still there at the end of a test are killed, workers and all."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        for pid in [*family(process.pid), process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate()


pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sweep processes")]


@pytest.mark.parametrize("which", ["a worker", "the server that workers are forked from"])
def test_a_worker_is_killed_then_the_parent_and_the_table_is_the_same(
    which: str, tmp_path: Path, undisturbed: str, processes: list[subprocess.Popen[str]]
) -> None:
    gate, out = Gate(tmp_path), tmp_path / "c"
    scenario = written(tmp_path, MANY, GATED)
    parent = start("run", scenario, "--out", out, "--jobs", "2", "--no-figures", environment=gate.environment)
    processes.append(parent)
    gate.let(2)
    until(lambda: stored(out) == 2)
    until(lambda: len(workers(parent.pid)) == 2)
    victim, *others = workers(parent.pid)
    dying = [victim]
    if which != "a worker":
        # The workers go with it.
        dying += others
        victim = int(Path(f"/proc/{victim}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(victim, signal.SIGKILL)
    # Who is dead takes no pass with it.
    until(lambda: not any(map(alive, dying)))
    gate.let(3)
    until(lambda: stored(out) == 5)
    everybody = family(parent.pid)
    assert victim not in everybody
    assert parent.poll() is None
    parent.kill()
    parent.wait()
    # No worker outlives its parent by more than 5 s.
    until(lambda: not any(map(alive, everybody)), 5.0)
    assert stored(out) == 5
    again = run(scenario, out)
    assert again.exit_code == 0, again.output
    assert table(out) == undisturbed


def test_ctrl_c_ends_it_in_order_and_the_next_call_goes_on(
    tmp_path: Path, undisturbed: str, processes: list[subprocess.Popen[str]]
) -> None:
    gate, out = Gate(tmp_path), tmp_path / "c"
    scenario = written(tmp_path, MANY, GATED)
    parent = start("run", scenario, "--out", out, "--jobs", "2", "--no-figures", environment=gate.environment)
    processes.append(parent)
    gate.let(2)
    until(lambda: stored(out) == 2)
    everybody = family(parent.pid)
    # As a terminal does it: to the whole group; the workers leave it to their parent.
    for pid in [*everybody, parent.pid]:
        os.kill(pid, signal.SIGINT)
    said, complaint = parent.communicate(timeout=PATIENCE_S)
    assert parent.returncode == 130, said + complaint
    assert "interrupted; what had ended is stored" in complaint
    assert "Traceback" not in complaint
    until(lambda: not any(map(alive, everybody)), 5.0)
    assert stored(out) == 2
    assert run(scenario, out).exit_code == 0
    assert table(out) == undisturbed


@pytest.mark.parametrize("series", ["false", "true"])
def test_a_full_disk_stops_it_and_what_is_stored_is_whole(tmp_path: Path, series: str) -> None:
    text = MANY.replace("replicates = 10", f"replicates = 5\nseries = {series}")
    base = BASE.replace('"10Mbps"', '"50Mbps"').replace("100kB", "200kB")
    base += "[output]\nsample_interval = '2ms'\n"
    scenario, out = written(tmp_path, text, base), tmp_path / "c"
    # No file may grow beyond 60 kB (20 kB): to a process that is what a full disk looks like.
    limit = 20_000 if series == "true" else 60_000
    limited = (
        f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    if series == "true":
        assert run(scenario, out, "--shard", "1/20").exit_code == 0
        (out / "scenario.toml").unlink()
    command = program("run", scenario, "--out", out, "--jobs", "2", "--no-figures")
    found = subprocess.run(
        [sys.executable, "-c", limited, *command],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert found.returncode == 5, found.stdout + found.stderr
    assert "what is stored already is whole. Make room and call again" in found.stderr
    assert "Traceback" not in found.stderr
    assert stored(out) < 20
    assert not list((out / "series").glob(".*"))
    assert run(scenario, out).exit_code == 0
    assert run(scenario, tmp_path / "other").exit_code == 0
    assert table(out) == table(tmp_path / "other")
    assert len(list((out / "series").iterdir())) == (20 if series == "true" else 0)
