"""The Hypothesis machine over the TCP core: 2,000 examples here, 10^5 in `make fuzz`."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests import profiles
from tests.core.tcp.machine import TcpMachine


class RackMachine(TcpMachine):
    """RACK-TLP."""

    FIXED: ClassVar[dict[str, Any]] = {"sack": True, "rack_tlp": True}


class SackMachine(TcpMachine):
    """SACK without RACK."""

    FIXED: ClassVar[dict[str, Any]] = {"sack": True, "rack_tlp": False}


class NewRenoMachine(TcpMachine):
    """No SACK."""

    FIXED: ClassVar[dict[str, Any]] = {"sack": False}


class EncodedMachine(TcpMachine):
    """Every packet as bytes, and ends that need not agree on SACK."""

    ENCODE: ClassVar[bool] = True

    def teardown(self) -> None:
        """Do everything again by reference: the run must be the same."""
        super().teardown()
        self.repeat_by_reference(TcpMachine())


class BytesMachine(TcpMachine):
    """What applications write, byte for byte."""

    PAYLOAD: ClassVar[str] = "bytes"


MACHINES = [RackMachine, SackMachine, NewRenoMachine, EncodedMachine, BytesMachine]


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.parametrize("part", profiles.parts())
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__)
def test_tcp_machine(machine: type[TcpMachine], part: int) -> None:
    share = len(MACHINES) * len(profiles.parts())
    run_state_machine_as_test(machine, settings=profiles.examples(2_000 // len(MACHINES), share))
