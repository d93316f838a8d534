"""What a command shows on a terminal while it takes its time: nothing for two seconds, then what it does."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

#: Wall-clock seconds after which a command shows its progress.
PROGRESS_AFTER_S = 2.0


class Progress:
    """A line on stderr, if that is a terminal, that appears only when a command takes long.

    Entered, it shows ``what`` is being done; called with the simulated instant (ns) of a run, how far
    that is of its ``duration``.
    """

    def __init__(self, what: str, duration: int = 0) -> None:
        self._what = what
        self._due = time.monotonic() + PROGRESS_AFTER_S
        self._duration = duration
        self._now = 0
        self._since = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        from rich.live import Live

        from mptcpsim.results.terminal import Terminal

        console = Terminal(stderr=True)
        if console.is_terminal:
            self._live = Live(
                get_renderable=self.shown, console=console, transient=True, redirect_stdout=False
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, what: str) -> None:
        """Show something else from now on."""
        self._what = what
        self._now = 0

    def __call__(self, now: int) -> None:
        """Show that the run has come to the instant ``now``, ns."""
        if not self._now:
            self._since = time.monotonic()
        self._now = now

    def shown(self) -> RenderableType:
        """Return what the terminal shows at this moment."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        if time.monotonic() < self._due:
            return Group()
        if not self._now:
            return f"{self._what}..."
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        text = f"{self._now / 1e9:.1f} of {self._duration / 1e9:.1f} s simulated, left: {self._left()}"
        line.add_row(ProgressBar(total=self._duration, completed=self._now), text)
        return line

    def _left(self) -> str:
        seconds = round((time.monotonic() - self._since) * (self._duration - self._now) / self._now)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
