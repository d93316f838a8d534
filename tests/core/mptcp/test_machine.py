"""The Hypothesis machine over MPTCP: 2,000 examples here, 10^5 in `make fuzz`."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests import profiles
from tests.core.mptcp.machine import MptcpMachine


class Version1Machine(MptcpMachine):
    """RFC 8684, and Linux."""


class Version0Machine(MptcpMachine):
    """RFC 6824, and the FreeBSD patch."""

    #: caia-v0.51 breaks laws on purpose: ACKs without a DATA_ACK, and no flow control.
    PROFILES: ClassVar[tuple[str, ...]] = ("rfc6824", "caia-v0.4")


class ChecksumMachine(MptcpMachine):
    """DSS checksums, which middleboxes spoil."""

    FIXED: ClassVar[dict[str, Any]] = {"checksum": True}


class EncodedMptcpMachine(MptcpMachine):
    """Every packet as bytes, and ends that need not agree on the version, or on MPTCP."""

    PROFILES: ClassVar[tuple[str, ...]] = ("rfc8684", "linux-6.18", "rfc6824", "caia-v0.4", "plain")
    ENCODE: ClassVar[bool] = True

    def teardown(self) -> None:
        """Do everything again by reference: the run must be the same."""
        super().teardown()
        self.repeat_by_reference(MptcpMachine())


class BytesMptcpMachine(MptcpMachine):
    """What applications write, byte for byte, over both versions."""

    PROFILES: ClassVar[tuple[str, ...]] = ("rfc8684", "linux-6.18", "rfc6824", "caia-v0.4", "plain")
    PAYLOAD: ClassVar[str] = "bytes"


MACHINES = [Version1Machine, Version0Machine, ChecksumMachine, EncodedMptcpMachine, BytesMptcpMachine]


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.parametrize("part", profiles.parts())
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__)
def test_mptcp_machine(machine: type[MptcpMachine], part: int) -> None:
    share = len(MACHINES) * len(profiles.parts())
    chosen = settings(profiles.examples(2_000 // len(MACHINES), share), stateful_step_count=30)
    run_state_machine_as_test(machine, settings=chosen)
