"""Middleboxes; importing this package registers them. How to write one: ``mptcpsim.net.middlebox``."""

from mptcpsim.middleboxes.drop import Drop
from mptcpsim.middleboxes.hold import Hold

__all__ = ["Drop", "Hold"]
