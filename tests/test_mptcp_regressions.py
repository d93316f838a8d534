"""Faults of MPTCP that the Hypothesis machine found, each shrunk to a script."""

from __future__ import annotations

from mptcp_pair import C1, C2, joining, start

from mptcpsim.units import SECOND


def test_subflow_that_ends_after_a_time_out_leaves_its_data_once() -> None:
    """What was queued for the others when it timed out is not queued again when it is given up."""
    pair = joining()
    client, _ = start(pair)
    for address in (C1, C2):
        pair.cut(address, pair.now)
    client.write(10_000, pair.now)
    pair.run(pair.now + 5 * SECOND)
    client.subflows[0].abort(pair.now)
    client.subflows[1].abort(pair.now)
    assert 0 < sum(item.end - item.dsn for item in client.outbound.reinjections) <= 10_000
