"""Run a scenario and write everything but the figures into a run directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

from mptcpsim.guard import any_guarded
from mptcpsim.measure.sampler import Sampler
from mptcpsim.measure.segment_trace import SegmentTrace
from mptcpsim.net.node import Interface
from mptcpsim.results.frames import locate
from mptcpsim.results.meta import Stopwatch, collect
from mptcpsim.results.rundir import META, RunDirectory
from mptcpsim.results.segments import FILE_NAME as SEGMENTS
from mptcpsim.results.segments import SegmentRecorder
from mptcpsim.results.series import FILE_NAME, SeriesRecorder
from mptcpsim.results.summary import Summary
from mptcpsim.scenario.build import build
from mptcpsim.scenario.captures import labels, write_captures, write_dumps
from mptcpsim.scenario.hook_watch import hook_watch
from mptcpsim.scenario.load import dumps
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.scenario.summarise import event_lines, summarise
from mptcpsim.sim.loop import Loop
from mptcpsim.units import SECOND


class Stop:
    """A way to end a run early, and to keep what it has measured until then.

    Attributes:
        possible: the simulation is under way; what is asked before or after that has no effect.
        asked: end it.
    """

    def __init__(self) -> None:
        self.possible = False
        self.asked = False


class _Stopped(Exception):
    """The run was asked to end."""


def run_scenario(
    scenario: Scenario,
    directory: RunDirectory,
    *,
    pcap: bool = False,
    merged: bool = False,
    snaplen: int = 0,
    dsn: bool = False,
    roundtrip: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: Stop | None = None,
) -> Summary:
    """Build and run a scenario; the results are in ``directory`` when this returns.

    Args:
        scenario: as ``scenario.load`` returns it.
        directory: entered, so that it has its temporary name.
        pcap: write a capture for each interface in ``output.capture``, or of every host.
        merged: write one of all of them instead.
        snaplen: bytes kept of each packet; 0 keeps all.
        dsn: record the segments of the flows, from which ``results.figures_dsn`` draws.
        roundtrip: every packet is encoded and decoded at every hop.
        progress: called now and then with the simulated instant, ns.
        stop: ends the run early if it is set; the summary is of the time that was simulated, and
            ``meta.json`` says that the run is not complete.

    Raises:
        EventBudgetExceeded: the run makes no progress in time.
        IntegrityError: a byte was delivered that is not the next one of its stream.
    """
    stopwatch = Stopwatch()
    simulation = build(scenario, roundtrip=roundtrip)
    with ExitStack() as files:
        recorder = files.enter_context(SeriesRecorder(directory.path / FILE_NAME))
        captures = write_captures(simulation, directory.path, files, merged, snaplen) if pcap else []
        write_dumps(simulation, directory.path, files)
        segments = SegmentRecorder(directory.path / SEGMENTS)
        if dsn:
            SegmentTrace(simulation.flows, _ends_of_flows(simulation), segments)
        loop = simulation.env.loop
        loop.watch = partial(_look, loop, stop or Stop(), progress)
        summary = measure(simulation, recorder, stop)
    if dsn:
        segments.close()
    locate(captures, labels(simulation), summary.packets())
    directory.write_text("scenario.toml", dumps(_with_plugins(scenario, directory)))
    directory.write_json("summary.json", summary.as_dict())
    directory.write_lines(
        "events.jsonl",
        (json.dumps(line, sort_keys=True, ensure_ascii=False) for line in event_lines(simulation, summary)),
    )
    events = simulation.env.loop.executed
    meta = collect(scenario.seed, events, stopwatch, {"pcap": pcap, "roundtrip": roundtrip})
    if simulation.env.now < scenario.duration:
        meta |= {"complete": False, "ended": interrupted_at(simulation.env.now, scenario.duration)}
    directory.write_json(META, meta)
    return summary


def interrupted_at(now: int, duration: int) -> str:
    """Return when a run was interrupted, in words."""
    return f"interrupted at {now / SECOND:.1f} s of {duration / SECOND:g} s"


def _look(loop: Loop, stop: Stop, progress: Callable[[int], None] | None) -> None:
    """Look up from the simulation, as the loop does now and then, between two callbacks."""
    if stop.asked:
        raise _Stopped
    if progress is not None:
        progress(loop.now)


def measure(simulation: Simulation, recorder: SeriesRecorder, stop: Stop | None = None) -> Summary:
    """Run a simulation that was just built to its end; return what it amounts to.

    Args:
        simulation: as ``scenario.build.build`` returns it.
        recorder: takes the time series.
        stop: is possible while the simulation runs.
    """
    sampler = sampler_of(simulation, recorder)
    stop = stop or Stop()
    stop.possible = True
    with suppress(_Stopped), hook_watch() if any_guarded() else nullcontext():
        simulation.env.run(simulation.scenario.duration)
    stop.possible = False
    sampler.finish()
    return summarise(simulation, sampler)


def _ends_of_flows(simulation: Simulation) -> list[Interface]:
    """Return the interfaces of the hosts that have flows."""
    hosts = {name for flow in simulation.flows for name in (flow.client_host, flow.server_host)}
    return [
        simulation.interface(f"{name}:{interface}")
        for name in sorted(hosts)
        for interface in simulation.scenario.hosts[name].interfaces
    ]


def sampler_of(simulation: Simulation, recorder: SeriesRecorder) -> Sampler:
    """Begin to measure a simulation that was just built, as its scenario wants it."""
    scenario = simulation.scenario
    return Sampler(
        recorder,
        simulation.env.loop,
        simulation.topology,
        simulation.flows,
        interval=scenario.output.sample_interval,
        end=scenario.duration,
        stall_threshold=scenario.results.stall_threshold,
        record=scenario.output.record,
    )


def _with_plugins(scenario: Scenario, directory: RunDirectory) -> Scenario:
    """Copy the user's plug-ins into the run directory; return the scenario that names the copies."""
    copies = []
    for number, path in enumerate(scenario.plugins):
        source = Path(path)
        copies.append(f"{number}-{source.name}" if len(scenario.plugins) > 1 else source.name)
        directory.write_text(copies[-1], source.read_text(encoding="utf-8"))
    return scenario.model_copy(update={"plugins": tuple(copies)})
