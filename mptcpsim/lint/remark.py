"""A remark: one thing that a rule of lint has found."""

from __future__ import annotations

from typing import NamedTuple

from mptcpsim.freebsd.lines import Line
from mptcpsim.scenario.errors import KeyPath


class Remark(NamedTuple):
    """One thing that a rule has found.

    Attributes:
        path: of the key that is to blame, from the top of the scenario.
        problem: what is wrong, in words that need no manual.
        remedy: what to write instead.
        at: the line of a pf.conf or of commands, where the key holds such a text; else None.
        node: whose packets go astray for this reason, or empty: of the consequences nothing is told.
    """

    path: KeyPath
    problem: str
    remedy: str
    at: Line | None = None
    node: str = ""
