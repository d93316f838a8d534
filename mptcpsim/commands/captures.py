"""What the options of ``run`` about captures say."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from typer.core import TyperCommand

_OPTION = "--pcap"


class Pcap(StrEnum):
    """One capture for each interface, or one of all of them."""

    EACH = "each"
    MERGED = "merged"


class WithPcap(TyperCommand):
    """A command whose ``--pcap`` may stand alone, which means ``--pcap each``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments apart."""
        return super().parse_args(ctx, explicit(args))


def explicit(args: Sequence[str]) -> list[str]:
    """Return arguments in which every ``--pcap`` has a value."""
    found: list[str] = []
    known = [str(kind) for kind in Pcap]
    left = list(args)
    while left:
        word = left.pop(0)
        if word == "--":
            return [*found, word, *left]
        if word == _OPTION:
            value = left.pop(0) if left and left[0] in known else Pcap.EACH
            word = f"{_OPTION}={value}"
        found.append(word)
    return found
