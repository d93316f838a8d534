"""The fallback matrix with ``strip`` middleboxes in a scenario in place of the hooks of the tests."""

from __future__ import annotations

from typing import Any

import pytest

from mptcpsim.core.segment import Segment
from mptcpsim.units import SECOND
from tests.core.mptcp.fallback_matrix import BUFFER, PROTOCOLS, STREAM, STRIPPED, Cell, N, expected, judge
from tests.core.mptcp.pair import MptcpPair
from tests.middleboxes.boxes import Run, run

#: The middlebox of each column of the table.
BOXES = {
    "nothing": "",
    "SYN": '{ name = "strip", match = "syn", direction = "forward" }',
    "SYN/ACK": '{ name = "strip", match = "syn", direction = "backward" }',
    "third ACK": '{ name = "strip", match = "non-syn", direction = "forward", nth = [1] }',
    "first data": '{ name = "strip", match = "data", direction = "forward", nth = [1] }',
    "from the n-th packet": f'{{ name = "strip", after = {N - 1} }}',
}


class Wire(MptcpPair):
    """What the two hosts of a scenario have sent, as ``judge`` reads it."""

    def __init__(self, result: Run) -> None:
        ways = {"a:eth0": "c>s", "b:eth0": "s>c"}
        self.wire = [
            (seen.at, ways[seen.end], seen.packet)
            for seen in result.seen
            if seen.outgoing and seen.end in ways and isinstance(seen.packet, Segment)
        ]
        self.client = result.simulation.hosts["a"].stack
        self.server = result.simulation.hosts["b"].stack


def settings(protocol: str) -> str:
    lines = f'tcp = {{ receive_buffer = "{BUFFER // 1024}KiB" }}'
    if protocol == "TCP":
        return lines
    return f'{lines}\nmptcp = {{ profile = "rfc8684", versions = [{protocol[1]}] }}'


def produce(cell: Cell, **given: Any) -> Run:
    return run(
        BOXES[cell.stripped],
        flow=f'bytes = "{STREAM}B"',
        a=settings(cell.client),
        b=settings(cell.server),
        duration=15 * SECOND,
        **given,
    )


def test_every_column_has_its_box() -> None:
    assert list(BOXES) == list(STRIPPED)


@pytest.mark.parametrize(
    "cell",
    [cell for cell in expected() if cell.client == cell.server or "v1" in (cell.client, cell.server)],
    ids=lambda cell: f"{cell.client}-{cell.server}-{cell.stripped}",
)
def test_cell(cell: Cell) -> None:
    assert {cell.client, cell.server} <= set(PROTOCOLS)
    result = produce(cell)
    assert judge(Wire(result)) == (cell.outcome, cell.by), cell.why
    touched = sum(side.changed for box in result.link().middleboxes for side in (box.forward, box.backward))
    assert (touched > 0) == (cell.outcome != "MPTCP v1" and cell.outcome != "MPTCP v0" and offers(cell))


def offers(cell: Cell) -> bool:
    """Return whether the packets that the box looks at ever carry an option of MPTCP."""
    if cell.client == "TCP":
        return False
    return cell.stripped == "SYN" or cell.client == cell.server


@pytest.mark.parametrize("stripped", ["third ACK", "from the n-th packet"])
def test_cell_as_bytes(stripped: str) -> None:
    (cell,) = [c for c in expected() if (c.client, c.server, c.stripped) == ("v1", "v1", stripped)]
    assert judge(Wire(produce(cell, roundtrip=True))) == (cell.outcome, cell.by)
