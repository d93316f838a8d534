"""The processes of a pool: they may die, and so may the server that they are forked from."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from multiprocessing import process

import pytest

from mptcpsim.sweep import pool
from mptcpsim.sweep.pool import PoolError, ProcessPool, WorkerDied


def own_pid() -> int:
    return os.getpid()


def server_pid() -> int:
    return os.getppid()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def single() -> Iterator[ProcessPool]:
    """A pool of one process."""
    made = ProcessPool(1)
    yield made
    made.stop()


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Exceptions that the next starts of a process fail with, the first one first."""
    waiting: list[Exception] = []
    start = process.BaseProcess.start

    def failing(self: process.BaseProcess) -> None:
        if waiting:
            raise waiting.pop(0)
        start(self)

    monkeypatch.setattr(process.BaseProcess, "start", failing)
    monkeypatch.setattr(pool, "_START_AGAIN_S", 0.0)
    return waiting


def test_the_server_dies_between_calls_and_another_takes_its_place(single: ProcessPool) -> None:
    worker, server = single.submit(own_pid).result(60), single.submit(server_pid).result(60)
    os.kill(server, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    assert single.submit(own_pid).result(60) != worker
    assert single.submit(server_pid).result(60) != server


def test_a_call_that_kills_its_worker_is_given_up_and_the_next_one_is_not(single: ProcessPool) -> None:
    with pytest.raises(WorkerDied, match="died 3 times"):
        single.submit(die).result(60)
    assert single.submit(own_pid).result(60) > 0


def test_a_start_that_fails_with_the_server_is_tried_again(
    single: ProcessPool, failures: list[Exception]
) -> None:
    failures += [EOFError("unexpected EOF"), ConnectionRefusedError(111, "Connection refused")]
    assert single.submit(own_pid).result(60) > 0
    assert not failures


def test_a_start_that_always_fails_is_told(single: ProcessPool, failures: list[Exception]) -> None:
    failures += [EOFError("") for _ in range(pool.ATTEMPTS)]
    with pytest.raises(PoolError, match="a worker process cannot be started: EOFError"):
        single.submit(own_pid).result(60)
    assert single.submit(own_pid).result(60) > 0
