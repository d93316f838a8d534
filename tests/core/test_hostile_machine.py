"""The machine in which a peer sends anything: 2,000 examples here, 20,000 in `make fuzz`."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests import profiles
from tests.core.hostile_machine import HostileMachine
from tests.core.intruded import Intruded
from tests.core.outsider_machine import OutsiderMachine


class HostileVersion1Machine(HostileMachine):
    """RFC 8684, Linux, and plain TCP."""

    PROFILES: ClassVar[tuple[str, ...]] = ("rfc8684", "rfc8684", "linux-6.18", "plain")


class HostileVersion0Machine(HostileMachine):
    """RFC 6824, and the FreeBSD patches."""

    PROFILES: ClassVar[tuple[str, ...]] = ("rfc6824", "rfc6824", "caia-v0.4", "caia-v0.51")


class HostileBytesMachine(HostileMachine):
    """Ends that carry what their applications write."""

    #: Not caia-v0.51: nothing bounds there what waits for its turn.
    PROFILES: ClassVar[tuple[str, ...]] = ("rfc8684", "linux-6.18", "rfc6824", "plain")
    PAYLOAD: ClassVar[str] = "bytes"


MACHINES: list[Any] = [
    HostileVersion1Machine,
    HostileVersion0Machine,
    HostileMachine,
    HostileBytesMachine,
    OutsiderMachine,
]


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.parametrize("part", profiles.parts())
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__)
def test_hostile_machine(machine: type[Intruded], part: int) -> None:
    share = 5 * len(MACHINES) * len(profiles.parts())
    chosen = settings(profiles.examples(2_000 // len(MACHINES), share), stateful_step_count=20)
    run_state_machine_as_test(machine, settings=chosen)
