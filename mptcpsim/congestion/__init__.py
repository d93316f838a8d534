"""Congestion control plug-ins; importing this package registers them."""

from mptcpsim.congestion import cubic, lia, reno

__all__ = ["cubic", "lia", "reno"]
