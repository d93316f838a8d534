"""Everything on every subflow."""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import Path, Scheduler, register


@mypyc_attr(allow_interpreted_subclasses=True)
class Redundant(Scheduler):
    """Every subflow carries all data that is not acknowledged: latency for bandwidth.

    The connection does it (``REDUNDANT``): each subflow goes through the stream by itself.
    """

    NAME: ClassVar[str] = "redundant"
    SUMMARY: ClassVar[str] = "everything on every subflow"
    REDUNDANT: ClassVar[bool] = True

    def choose(self, available: list[Path], now: int) -> Path | None:
        """Return the first path; a connection does not ask."""
        return available[0]

    def better(self, best: Path | None, path: Path) -> Path:
        """Return the first path."""
        return path if best is None else best


register(Redundant)
