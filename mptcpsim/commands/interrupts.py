"""Ctrl-C of a run: what was measured is kept; a second one throws it away."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any, Final

from mptcpsim.scenario.run import Stop

#: What ends a run: Ctrl-C, what batch systems send first, and the end of a terminal.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_KEEPING: Final = b"mptcpsim: interrupted; what was measured is being written (once more: throw it away)\n"


class Interrupts:
    """Takes the signals that end a run while it is entered.

    While the run may be stopped, the first one asks it to; any other one raises ``KeyboardInterrupt``, and
    those that follow are passed over, so that what is being cleaned up is cleaned up.

    Attributes:
        stop: what the run looks at.
    """

    def __init__(self) -> None:
        self.stop = Stop()
        self._former: dict[int, Any] = {}
        self._over = False

    def __enter__(self) -> Interrupts:
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup
            self._former[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._over:
            return
        if self.stop.possible and not self.stop.asked:
            self.stop.asked = True
            # Not print: the program may be in the midst of one.
            if sys.stderr is not None:
                os.write(2, _KEEPING)
            return
        self._over = True
        raise KeyboardInterrupt
