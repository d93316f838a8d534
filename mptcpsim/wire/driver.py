"""The driver: the event loop of the simulator, run by the clock on the wall.

One thread waits for packets and for the next callback, whichever comes first. What has arrived is read
before timers fire: it is older than the time-out that it may save (without that, a busy machine sends
again what was acknowledged long ago).
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from simpy.events import Event

from mptcpsim.sim.engine import Environment
from mptcpsim.units import NEVER, SECOND
from mptcpsim.wire.devices import WireDevice

#: Packets read from a device before timers and applications have their turn again.
BATCH: Final = 64

#: The longest sleep, so that a clock that is set cannot lengthen it. (CLOCK_MONOTONIC is not, but the
#: selectors of some systems are woken early by suspension.)
_LONGEST_WAIT: Final = SECOND


class WireTimeout(Exception):
    """What was waited for has not happened in time."""


class HasFileno(Protocol):
    """Anything that the driver can wait for."""

    def fileno(self) -> int:
        """Return its file descriptor."""


class Driver:
    """Runs an environment in real time.

    Attributes:
        env: clock, callbacks and processes; its time is that since the driver was made, ns.
    """

    def __init__(self, env: Environment, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.env = env
        self._clock = clock
        self._begin = clock() - env.now
        self._selector = selectors.DefaultSelector()
        self._devices: list[WireDevice] = []

    def add_device(self, device: WireDevice, on_gone: Callable[[], None] | None = None) -> None:
        """Read a device from now on; ``on_gone`` is called once if its interface vanishes."""
        self._selector.register(device, selectors.EVENT_READ, (device, on_gone))
        self._devices.append(device)

    def remove_device(self, device: WireDevice) -> None:
        """Read a device no more."""
        self._selector.unregister(device)
        self._devices.remove(device)

    def watch(self, source: HasFileno | int, callback: Callable[[], None]) -> None:
        """Call back whenever something can be read from a file descriptor."""
        self._selector.register(source, selectors.EVENT_READ, (None, callback))

    def unwatch(self, source: HasFileno | int) -> None:
        """Call back no more."""
        self._selector.unregister(source)

    def now(self) -> int:
        """Return the time of the clock on the wall, as the environment counts it, ns."""
        return self._clock() - self._begin

    def run(self, until: Event, timeout: int = NEVER) -> Any:
        """Run until an event has happened; return its value.

        Args:
            until: the event; if it fails, its exception is raised.
            timeout: ns.

        Raises:
            WireTimeout: it has not happened in time.
        """
        done: list[Event] = []

        def note(event: Event) -> None:
            event.defused = True
            done.append(event)

        if until.processed:
            note(until)
        else:
            until.callbacks.append(note)
        end = NEVER if timeout >= NEVER else self.now() + timeout
        while not done:
            now = self.now()
            if now >= end:
                raise WireTimeout(f"after {timeout / SECOND:g} s")
            self._turn(min(end, now + _LONGEST_WAIT))
        value = until.value
        if isinstance(value, BaseException) and not until.ok:
            raise value
        return value

    def run_for(self, duration: int) -> None:
        """Run for so long, ns."""
        self.run(self.env.timeout(max(0, self.now() + duration - self.env.now)))

    def close(self) -> None:
        """Stop waiting for anything; devices stay open."""
        self._selector.close()

    def _turn(self, end: int) -> None:
        """Wait, but not beyond ``end``; then read what came, and run what is due."""
        loop = self.env.loop
        due = min(loop.peek(), end)
        wait = max(0, due - self.now())
        for key, _ in self._selector.select(wait / SECOND):
            device, callback = key.data
            # The clock goes on as far as nothing is due before: nothing is run here.
            loop.run(min(self.now(), loop.peek()))
            if device is None:
                callback()
            else:
                device.poll(BATCH)
                if device.gone:
                    self.remove_device(device)
                    if callback is not None:
                        callback()
        loop.run(self.now() + 1)
