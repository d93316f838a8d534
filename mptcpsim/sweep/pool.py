"""Where runs are carried out: executors as ``concurrent.futures`` has them, and nothing else.

``ProcessPool`` is the default; ``dask_pool`` hands the same calls to a Dask cluster. Both keep
one promise: a worker that dies costs the calls that it had in hand, and those are repeated
elsewhere; a call that kills its worker time and again fails with ``WorkerDied``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

#: Times that a call is tried when its worker dies over it.
ATTEMPTS = 3

#: prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1

#: Seconds after which a worker process that could not be started is tried again.
_START_AGAIN_S = 0.2

#: Seconds within which a scheduler must answer, and have a worker.
CONNECT_S = 10.0

#: Seconds between two questions to a cluster how many workers it has.
_ASK_EVERY_S = 2.0


class PoolError(RuntimeError):
    """The workers cannot be reached, or have gone; the text says what to do."""


class WorkerDied(RuntimeError):
    """A call whose worker died every time that it was tried."""


class Pool(Executor):
    """An executor that knows how many calls it can carry out at once."""

    def slots(self) -> int:
        """Return the number of calls that run at once, now."""
        raise NotImplementedError

    def stop(self) -> None:
        """End everything at once; what is in hand is lost."""
        raise NotImplementedError


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


# --- Processes of this machine ------------------------------------------------------------------


class _Call(NamedTuple):
    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class ProcessPool(Pool):
    """Worker processes, one call in hand each; a thread a worker waits for its answers.

    Workers are forked from a server process that has imported what they need. Each takes the next
    call from one queue, so calls begin in the order in which they were submitted.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._stopping = False
        self._processes: dict[int, multiprocessing.process.BaseProcess] = {}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["mptcpsim.sweep.worker"])
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"sweep worker {number}", daemon=True)
            for number in range(jobs)
        ]
        for thread in self._threads:
            thread.start()

    def slots(self) -> int:
        """Return the number of processes."""
        return self._jobs

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Queue a call; function and arguments must be picklable, keywords are not taken."""
        if kwargs:
            raise TypeError("ProcessPool.submit takes no keywords")
        if self._stopping:
            raise RuntimeError("the pool has been shut down")
        future: Future[T] = Future()
        self._calls.put(_Call(future, fn, args))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the workers end: after what is queued, or with ``cancel_futures`` after what is in hand."""
        self._stopping = True
        if cancel_futures:
            self._cancel_queued()
        for _ in self._threads:
            self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def stop(self) -> None:
        """Kill the workers at once; the futures of what is in hand never end."""
        self._stopping = True
        self._cancel_queued()
        for process in list(self._processes.values()):
            process.kill()
        self.shutdown()

    def _cancel_queued(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            if call is not None:
                call.future.cancel()

    def _serve(self, number: int) -> None:
        """Hand calls to one worker, one at a time, until there are no more."""
        connection: Connection | None = None
        while (call := self._calls.get()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            for attempt in range(1, ATTEMPTS + 1):
                if connection is None:
                    try:
                        connection = self._start(number)
                    except (EOFError, OSError) as error:
                        # The server that workers are forked from died at that very moment?
                        if attempt < ATTEMPTS:
                            time.sleep(_START_AGAIN_S)
                            continue
                        call.future.set_exception(PoolError(_cannot_start(error)))
                        break
                    except Exception as error:
                        call.future.set_exception(PoolError(_cannot_start(error)))
                        break
                answer = self._ask(number, connection, call)
                if answer is not None:
                    ok, value = answer
                    if ok:
                        call.future.set_result(value)
                    else:
                        call.future.set_exception(value)
                    break
                code = self._bury(number, connection)
                connection = None
                if self._stopping:
                    return
                if attempt == ATTEMPTS:
                    call.future.set_exception(
                        WorkerDied(f"its worker process died {attempt} times ({_how_ended(code)})")
                    )
            # Nothing of the call stays alive while the thread waits for the next one.
            del call
        if connection is not None:
            connection.close()
            self._bury(number, None)

    def _start(self, number: int) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), name=f"sweep-{number}", daemon=True)
        process.start()
        theirs.close()
        self._processes[number] = process
        if self._stopping:
            process.kill()
        return ours

    def _ask(self, number: int, connection: Connection, call: _Call) -> tuple[bool, Any] | None:
        """Return whether the call succeeded and its value or exception, or None if the worker died."""
        try:
            connection.send((call.function, call.arguments))
            wait([connection, self._processes[number].sentinel])
            answer: tuple[bool, Any] = connection.recv()
        except (EOFError, OSError):
            return None
        return answer

    def _bury(self, number: int, connection: Connection | None) -> int | None:
        """Wait for the end of a worker; return its exit code."""
        if connection is not None:
            connection.close()
        process = self._processes.pop(number)
        process.join(5.0)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode


def _cannot_start(error: Exception) -> str:
    return f"a worker process cannot be started: {str(error) or type(error).__name__}"


def _how_ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"{name}: out of memory?" if -code == signal.SIGKILL else name
    return f"exit status {code}"


def _work(connection: Connection) -> None:
    """The life of a worker process: calls in, answers out, until the other end is closed."""
    _tie_to_parent()
    gc.collect()
    gc.freeze()
    while True:
        try:
            function, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = True, function(*arguments)
        except Exception as error:
            answer = False, error
        try:
            connection.send(answer)
        except OSError:
            return
        except Exception as error:
            connection.send((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _tie_to_parent() -> None:
    """Make this process end when the one that asked for it does; leave Ctrl-C to that one.

    Two ways: the kernel's (the fork server ends with its own parent, and this process with the
    server), and a thread that waits for the parent itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the thread is left
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="follow the parent", daemon=True).start()


# --- A Dask cluster -----------------------------------------------------------------------------


class DaskPool(Pool):
    """The workers of a Dask cluster, as many as there are at the moment.

    Dask itself repeats what a lost worker had in hand, elsewhere.
    """

    def __init__(self, address: str) -> None:
        """Connect to a scheduler.

        Raises:
            PoolError: Dask is not installed, nobody answers, or there is no worker.
        """
        try:
            import distributed
        except ImportError:
            raise PoolError(
                "--executor dask needs Dask: install it with pip install 'mptcpsim[cluster]'"
            ) from None
        self.address = address
        # What becomes of the connection is told by PoolError; Dask would print tracebacks beside it.
        # Tornado tells of callbacks that were under way when the scheduler went.
        for name in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            client: Any = distributed.Client
            self._client = client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise PoolError(
                f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`, "
                "or give its address with --address HOST:PORT"
            ) from None
        self._killed: type[Exception] = distributed.KilledWorker
        self._executor = self._client.get_executor(pure=False)
        self._asked = float("-inf")
        self._threads = 0
        if self.slots() == 0:
            try:
                self._client.wait_for_workers(1, timeout=CONNECT_S)
            except TimeoutError:
                self.stop()
                raise PoolError(
                    f"the Dask scheduler at {address} has no worker; start some with `dask worker {address}`"
                ) from None

    def slots(self) -> int:
        """Return the number of threads of all workers."""
        now = time.monotonic()
        if self._threads == 0 or now - self._asked > _ASK_EVERY_S:
            self._threads = sum(self._client.nthreads().values())
            self._asked = now
        return self._threads

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Send a call to the cluster."""
        inner: Future[T] = self._executor.submit(fn, *args, **kwargs)
        outer: Future[T] = Future()

        def answered(inner: Future[T]) -> None:
            if inner.cancelled():
                outer.set_exception(
                    PoolError(f"the Dask scheduler at {self.address} has gone; start it and call again")
                )
            elif isinstance(error := inner.exception(), self._killed):
                outer.set_exception(WorkerDied(f"its Dask workers died over it: {error}"))
            elif error is not None:
                outer.set_exception(error)
            else:
                outer.set_result(inner.result())

        inner.add_done_callback(answered)
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, which stays as it is."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close(timeout=2)

    def stop(self) -> None:
        """Leave the cluster at once."""
        self.shutdown(wait=False, cancel_futures=True)
