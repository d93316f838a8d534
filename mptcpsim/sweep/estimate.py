"""How long a campaign will take, before it has begun."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mptcpsim.results.series import NoSeries
from mptcpsim.scenario.build import build
from mptcpsim.scenario.run import sampler_of
from mptcpsim.sweep.worker import Resolved, unpack

#: Wall-clock seconds that a point is tried for.
TRIAL_S = 1.0

#: Slices of simulated time in a trial.
_SLICES = 500


def seconds_per_packet(points: Sequence[Resolved]) -> float:
    """Return the seconds that an expected packet takes here, from a short trial of three points.

    The cheapest point, the dearest and the one in the middle are run for a second at most.
    Plug-ins of the user's must be registered.
    """
    ranked = sorted(points, key=lambda point: point.cost)
    chosen = {index: ranked[index] for index in (0, len(ranked) // 2, len(ranked) - 1)}
    packets = seconds = 0.0
    for point in chosen.values():
        started = time.perf_counter()
        simulation = build(unpack(point.scenario, point.base_seed))
        sampler_of(simulation, NoSeries())
        end = simulation.scenario.duration
        for part in range(1, _SLICES + 1):
            simulation.env.run(end * part // _SLICES)
            if time.perf_counter() - started > TRIAL_S:
                break
        seconds += time.perf_counter() - started
        packets += point.cost * part / _SLICES
    return seconds / packets
