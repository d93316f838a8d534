"""What connections carry makes no difference to packets: numbers of bytes written, as pattern and as bytes.

The whole of a run is compared: summary, event log and series, with and without encoding of every packet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mptcpsim import build, loads
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.run import sampler_of
from mptcpsim.scenario.summarise import event_lines, summarise
from tests.random_scenarios import random_scenario

#: All themes, and networks of several shapes; in none of them is payload changed without a checksum.
NUMBERS = (3, 30, 40, 57, 84, 111, 165)


def outcome(number: int, payload: str, file: Path) -> tuple[Any, ...]:
    """Run a random scenario and return all that its run directory would say."""
    scenario = random_scenario(number)
    simulation = build(
        loads(scenario.text, overrides=[f"defaults.tcp.payload={payload}"]),
        roundtrip="--roundtrip" in scenario.options,
    )
    assert {sockets.host.stack.config.payload for sockets in simulation.sockets.values()} == {payload}
    with SeriesRecorder(file) as recorder:
        sampler = sampler_of(simulation, recorder)
        simulation.env.run(simulation.scenario.duration)
        sampler.finish()
    summary = summarise(simulation, sampler)
    return summary.as_dict(), list(event_lines(simulation, summary)), file.read_bytes()


@pytest.mark.parametrize("number", NUMBERS)
def test_bytes_go_as_the_pattern_does(number: int, tmp_path: Path) -> None:
    pattern = outcome(number, "pattern", tmp_path / "pattern")
    assert outcome(number, "bytes", tmp_path / "bytes") == pattern
