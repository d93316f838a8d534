"""The interoperation matrix with the kernel: a row a test, half a megabyte each way.

``python -m tests.wire.write_matrix`` carries out the same rows with ten megabytes, and stores the table.
"""

from __future__ import annotations

import pytest

from tests.wire.interop import Row, run_row
from tests.wire.rows import ROWS

#: Bytes that stand for 1 in a row.
SIZE = 500_000

#: On a busy machine the packet that a row wants to change may not come by, and the row shows nothing: it is
#: carried out again, at most so often. No other problem is forgiven.
AGAIN = 2
MISSED = "nothing was done to"


def test_every_row_has_a_name_of_its_own() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.kernel
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row: Row) -> None:
    outcome = run_row(row, SIZE)
    for _ in range(AGAIN):
        if not outcome.problems or not all(problem.startswith(MISSED) for problem in outcome.problems):
            break
        outcome = run_row(row, SIZE)
    assert outcome.problems == [], f"kernel: {outcome.kernel}; ours: {outcome.ours}"
