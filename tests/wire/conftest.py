"""Tests on the live wire: the machine must be able to carry them out."""

from __future__ import annotations

import functools

import pytest

from mptcpsim.wire import probe


@functools.cache
def _missing() -> str:
    try:
        probe.require([probe.TUN, probe.PACKET, probe.MPTCP, probe.H11])
    except probe.Unavailable as error:
        return str(error)
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs the kernel where it cannot be had."""
    if item.get_closest_marker("kernel") is not None and _missing():
        pytest.skip(f"no live wire here: {_missing()}")
