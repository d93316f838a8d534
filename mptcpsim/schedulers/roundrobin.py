"""Round robin, the scheduler of the FreeBSD implementation that was the seed of this project."""

from __future__ import annotations

from typing import ClassVar

from mypy_extensions import mypyc_attr

from mptcpsim.plugins import Parameter, Path, Scheduler, Value, register


@mypyc_attr(allow_interpreted_subclasses=True)
class RoundRobin(Scheduler):
    """The paths by turns, in the order of their identifiers; who cannot send loses the turn."""

    NAME: ClassVar[str] = "roundrobin"
    SUMMARY: ClassVar[str] = "the subflows by turns"
    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        Parameter("segments", 1, "segments in a row on one path", 1, 1_000_000),
    )

    def __init__(self) -> None:
        self.segments: int = 1
        #: Whose turn it is, by identifier, and how many segments are left of it.
        self.turn: int = -1
        self.left: int = 0

    def configure(self, values: dict[str, Value]) -> None:
        """Take the parameters."""
        self.segments = int(values["segments"])

    def choose(self, available: list[Path], now: int) -> Path | None:
        """Return the path whose turn it is, or the next one after it that can send."""
        following = available[0]
        for path in available:
            identifier = path.identifier
            if identifier == self.turn and self.left > 0:
                self.left -= 1
                return path
            if identifier > self.turn:
                following = path
                break
        self.turn = following.identifier
        self.left = self.segments - 1
        return following

    def _comes_now(self, identifier: int) -> bool:
        """Return whether a path has the turn, or is behind the one that had it."""
        return identifier > self.turn or (identifier == self.turn and self.left > 0)

    def better(self, best: Path | None, path: Path) -> Path:
        """Return the first path that comes now, else the first of all."""
        if best is None or (self._comes_now(path.identifier) and not self._comes_now(best.identifier)):
            return path
        return best

    def on_chosen(self, path: Path) -> None:
        """A segment less is left of the turn, or another path has it."""
        identifier = path.identifier
        if identifier == self.turn and self.left > 0:
            self.left -= 1
        else:
            self.turn = identifier
            self.left = self.segments - 1


register(RoundRobin)
