"""The event log of a host: rare things, with their time and connection."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """Something that happened at a host.

    ``connection`` and ``subflow`` are identifiers, -1 where there is none.
    """

    time: int
    connection: int
    subflow: int
    what: str
    detail: str
