"""A campaign on a real Dask cluster: a scheduler and two workers as processes, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mptcpsim.sweep import pool
from mptcpsim.sweep.store import Store, StoreError
from tests.sweep.gate import GATED, Gate
from tests.sweep.scenarios import ENVIRONMENT, run, start, sweep, table, written

MANY = """
[sweep]
replicates = 3
[sweep.grid]
"links.a.delay" = ["5ms", "20ms"]
"links.b.rate" = ["20Mbps", "40Mbps"]
"hosts.A.tcp.congestion.share" = [1.0, 0.5]
"""

PATIENCE_S = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sweep processes")]


def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def stored(campaign: Path) -> dict[str, int]:
    """Return how many runs each worker has brought in."""
    try:
        with Store(campaign) as store:
            found: dict[str, int] = {}
            for one in store.runs():
                if one.status:
                    found[one.worker] = found.get(one.worker, 0) + 1
            return found
    except StoreError:
        return {}


class Cluster:
    """A scheduler and its workers, as their users start them."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.file = home / "scheduler.json"
        self.home = home
        self.environment = {**ENVIRONMENT, **environment}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.dask("scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--no-show",
                  "--scheduler-file", str(self.file))  # fmt: skip
        until(self.file.exists)
        until(lambda: bool(self.file.read_text()))
        self.address = json.loads(self.file.read_text())["address"].removeprefix("tcp://")
        self.workers = [
            self.dask("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                      "--name", name, "--local-directory", str(home))
            for name in ("one", "two")
        ]  # fmt: skip
        until(lambda: all("Registered to" in log.read_text() for log in home.glob("worker*.log")))

    def dask(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``dask ...``."""
        with (self.home / f"{arguments[0]}{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / "dask"), *arguments],
                env=self.environment, cwd=self.home, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Kill what is left."""
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def cluster(tmp_path: Path, gate: Gate) -> Iterator[Cluster]:
    (tmp_path / "dask").mkdir()
    made = None
    try:
        made = Cluster(tmp_path / "dask", gate.environment)
        yield made
    finally:
        if made is not None:
            made.end()


def test_a_campaign_on_dask_loses_a_worker_and_has_the_same_table(
    tmp_path: Path, gate: Gate, cluster: Cluster
) -> None:
    # The plug-in travels to the workers with the campaign.
    scenario = written(tmp_path, MANY, GATED)
    out = tmp_path / "dasked"
    parent = start(
        "run", scenario, "--out", out, "--executor", "dask", "--address", cluster.address, "--no-figures"
    )
    try:
        # Both work; then one of them is killed with a run in hand.
        while len(stored(out)) < 2:
            before = sum(stored(out).values())
            gate.let(1)
            until(lambda before=before: sum(stored(out).values()) == before + 1)  # type: ignore[misc]
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        gate.open()
        said, complaint = parent.communicate(timeout=PATIENCE_S)
    finally:
        parent.kill()
        parent.wait()
    assert parent.returncode == 0, said + complaint
    assert "24 of 24 runs done" in said
    assert cluster.workers[1].poll() is None
    left = {name.rpartition(":")[2] for name in stored(out)}
    assert left == {str(worker.pid) for worker in cluster.workers}
    assert run(scenario, tmp_path / "pool").exit_code == 0
    dasked, pooled = table(out).splitlines(), table(tmp_path / "pool").splitlines()
    assert len(dasked) == 25
    assert dasked == pooled
    # Once more, and this time the scheduler goes away; the campaign is finished without it.
    out = tmp_path / "left"
    gate.close()
    parent = start(
        "run", scenario, "--out", out, "--executor", "dask", "--address", cluster.address, "--no-figures"
    )
    try:
        gate.let(2)
        until(lambda: sum(stored(out).values()) == 2)
        cluster.processes[0].kill()
        said, complaint = parent.communicate(timeout=PATIENCE_S)
    finally:
        parent.kill()
        parent.wait()
    assert parent.returncode == 2, said + complaint
    assert complaint.strip().endswith("has gone; start it and call again")
    assert "Traceback" not in complaint
    assert run(scenario, out).exit_code == 0
    assert table(out).splitlines() == pooled


def test_nobody_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "CONNECT_S", 1.0)
    result = sweep(
        "run", written(tmp_path), "--out", tmp_path / "c", "--executor", "dask", "--address", "127.0.0.1:1"
    )
    assert result.exit_code == 2
    assert "no Dask scheduler answers at 127.0.0.1:1" in result.stderr
