"""Congestion control plug-ins; importing this package registers them."""

from mptcpsim.congestion import cubic, reno

__all__ = ["cubic", "reno"]
