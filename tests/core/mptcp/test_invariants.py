"""The check of why a connection fails finds a subflow that ended without a cause."""

from __future__ import annotations

import pytest

from mptcpsim.units import SECOND
from tests.core.mptcp.pair import working
from tests.core.mptcp.test_machine import Version1Machine
from tests.core.tcp.watched_path import Violation
from tests.core.test_machine_cases import do, mptcp, opened, play

#: The subflow of the path from the second address of the client.
SECOND_ONE = do("open_subflow", end=0, path=2, backup=False, wait=1_000)


def with_two_subflows() -> Version1Machine:
    """Return a machine with two subflows that work at both ends."""
    machine = Version1Machine()
    play(machine, [opened(mptcp=(mptcp(), mptcp())), do("elapse", length=1_000), SECOND_ONE])
    for end in machine.ends:
        assert end.connection is not None
        assert len(working(end.connection)) == 2
    return machine


def break_silently(machine: Version1Machine, number: int) -> None:
    """End a subflow at both ends as no part of an implementation should."""
    for end in machine.ends:
        assert end.connection is not None
        end.connection.subflows[number].finish("a fault", machine._now())


@pytest.mark.parametrize("number", [0, 1])
def test_a_subflow_that_ends_without_a_cause_is_found(number: int) -> None:
    machine = with_two_subflows()
    play(machine, [do("withdraw", end=0, second=number == 0, wait=1_000)])
    break_silently(machine, number)
    with pytest.raises(Violation, match="failed without cause"):
        machine._run(200 * SECOND)
