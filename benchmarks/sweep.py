"""A campaign of many short runs: what a run costs beside its simulation, how busy the workers are.

    python benchmarks/sweep.py --runs 2000 --jobs 2

400 points of a transfer of 3 MB over two links, 5 replicates each. Prints the overhead a run (workers times
elapsed time, less the seconds of simulation), the part of the time in which the workers had a run in
hand, the CPU time of all workers by the kernel's account, and the memory of the parent process over the
campaign: its resident set a quarter of the way and at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from programs import CAMPAIGN

from mptcpsim.results.meta import is_compiled
from mptcpsim.scenario.load import ScenarioSource
from mptcpsim.sweep.agenda import Sweep
from mptcpsim.sweep.execute import Execution
from mptcpsim.sweep.observer import Observer
from mptcpsim.sweep.pool import ProcessPool
from mptcpsim.sweep.store import PlannedRun, Store
from mptcpsim.sweep.worker import Outcome


class Memory(Observer):
    """The resident set of this process at each run's end, MiB."""

    def __init__(self) -> None:
        self.mib: list[float] = []

    def finished(self, run: PlannedRun, outcome: Outcome) -> None:
        """Look at the memory."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.mib.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def main() -> None:
    """Run the campaign and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="runs, in steps of 100, default 2000")
    parser.add_argument("--jobs", type=int, default=2, help="processes, default 2")
    arguments = parser.parse_args()
    sweep = Sweep(ScenarioSource(CAMPAIGN.format(delays=20, queues=max(1, arguments.runs // 100))))
    memory = Memory()
    with tempfile.TemporaryDirectory() as home:
        started = time.perf_counter()
        pool = ProcessPool(arguments.jobs)
        resolved = sweep.resolve(pool)
        with Store(Path(home) / "campaign", create=True) as store:
            tally = Execution(sweep, resolved, store, pool, observer=memory).run()
        pool.stop()
        elapsed = time.perf_counter() - started
        size = sum(path.stat().st_size for path in Path(home).rglob("*") if path.is_file())
    own = resource.getrusage(resource.RUSAGE_SELF)
    quarter = memory.mib[len(memory.mib) // 4]
    slots = elapsed * arguments.jobs
    print(f"compiled                    {is_compiled()}")
    print(f"runs                        {tally.carried_out}, {tally.statuses['done']} done")
    print(
        f"elapsed                     {elapsed:.1f} s on {arguments.jobs} processes, start and end included"
    )
    print(f"simulation                  {1000 * tally.simulated_s / tally.carried_out:.1f} ms a run")
    print(
        f"everything else             {1000 * (slots - tally.simulated_s) / tally.carried_out:.1f} ms a run"
    )
    inside = 1000 * (tally.worked_s - tally.simulated_s) / tally.carried_out
    print(f"  of it in the workers      {inside:.1f} ms a run")
    print(f"workers busy                {100 * tally.worked_s / slots:.1f} %")
    print(
        f"CPU of the parent           {1000 * (own.ru_utime + own.ru_stime) / tally.carried_out:.2f} ms a run"
    )
    print(
        f"memory of the parent        {quarter:.1f} MiB after a quarter, {memory.mib[-1]:.1f} MiB at the end"
    )
    print(f"campaign on disk            {size / tally.carried_out / 1000:.1f} kB a run")


if __name__ == "__main__":
    main()
