"""Scheduler plug-ins; importing this package registers them."""

from mptcpsim.schedulers import minrtt, redundant, roundrobin

__all__ = ["minrtt", "redundant", "roundrobin"]
