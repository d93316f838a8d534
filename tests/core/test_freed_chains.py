"""A chain of packets and what hangs on them are freed without harm to other memory, however long it is.

CPython bounds the recursion by putting objects aside at a depth of fifty. It keeps them in a list whose links
stand in front of an object that the garbage collector knows; in front of another one stands memory that
is not its own. mypyc uses the list for every compiled class, those with ``acyclic=True`` included, and so no
class may have that. The debug hooks of the allocator see the bytes in front of each object.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

CHAIN = """
from mptcpsim.core.mptcp_options import Dss
from mptcpsim.core.segment import ACK, FourTuple, Segment
from mptcpsim.core.sequences import SequenceMap

flow = FourTuple("10.0.0.1", 49152, "10.0.0.2", 5001)
head = None
for number in range(10_000):
    segment = Segment(flow, 1500, SequenceMap(7, 9), ACK, 1, 1, 1000, 1448, 1, 1, None, 0)
    segment.{field} = {value}
    segment.behind = head
    head = segment
del segment, head
print("freed")
"""


@pytest.mark.parametrize(
    ("field", "value"), [("dss", "Dss(8, number)"), ("sequences", "SequenceMap(number, 9)")]
)
def test_a_long_chain_is_freed(field: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHAIN.format(field=field, value=value)],
        cwd=ROOT, env=os.environ | {"PYTHONMALLOC": "debug"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "freed\n"), done.stderr


def test_no_compiled_class_is_acyclic() -> None:
    sources = (ROOT / "mptcpsim").rglob("*.py")
    assert [path.name for path in sources if "acyclic=" in path.read_text(encoding="utf-8")] == []
