"""What a run of one workload costs: measured, printed, or profiled."""

from __future__ import annotations

import cProfile
import pstats
import resource
import time
from collections.abc import Callable
from pathlib import Path

from networks import Workload

from mptcpsim.results.meta import is_compiled

#: Figures by name, in the order in which they are printed.
Figures = dict[str, float]


def user_cpu() -> float:
    """Return the user CPU seconds of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def peak_mib() -> float:
    """Return the peak resident memory of this process.

    ``ru_maxrss`` begins with that of the process which started this one; the kernel's account of the
    address space does not.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cost(build: Callable[[], Workload], seconds: float) -> Figures:
    """Build a workload, run it up to the instant ``seconds``, and return what it cost.

    Raises:
        RuntimeError: it delivered no packet.
    """
    begun = user_cpu()
    workload = build()
    built, wall = user_cpu(), time.perf_counter()
    packets = workload.run(seconds)
    cpu, wall = user_cpu() - built, time.perf_counter() - wall
    if packets == 0:
        raise RuntimeError(f"no packet was delivered in {seconds:g} s: take a larger --size")
    hops = workload.hops()
    return {
        "us/packet": cpu / packets * 1e6,
        "us/hop": cpu / hops * 1e6,
        "hops/CPU s": hops / max(cpu, 1e-6),
        "simulated/wall": seconds / wall,
        "peak MiB": peak_mib(),
        "set-up s": built - begun,
        "user CPU s": cpu,
        "packets": packets,
        "hops": hops,
        "drops": workload.drops(),
        "events": workload.env.loop.executed,
        "Mbit/s": packets * workload.mss * 8 / seconds / 1e6,
    }


def report(workload: Workload, seconds: float) -> None:
    """Run a workload once and print the figures."""
    figures = cost(lambda: workload, seconds)
    print(f"compiled             {is_compiled()}")
    print(f"delivered packets    {figures['packets']}")
    print(f"goodput              {figures['Mbit/s']:.1f} Mbit/s")
    print(f"lost packets         {figures['drops']}")
    print(f"events per packet    {figures['events'] / figures['packets']:.2f}")
    print(f"user CPU             {figures['user CPU s']:.2f} s")
    print(f"user CPU per packet  {figures['us/packet']:.2f} us")
    print(f"peak memory          {figures['peak MiB']:.0f} MiB")


def profile(run: Callable[[float], int], seconds: float) -> None:
    """Print the shares of modules and functions in the time of a run (cProfile, built-ins with callers)."""
    profiler = cProfile.Profile(builtins=False)
    packets = profiler.runcall(run, seconds)
    modules: dict[str, float] = {}
    functions: dict[str, float] = {}
    calls: dict[str, int] = {}
    for (path, _, name), (_, count, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        module = "/".join(Path(path).parts[-2:])
        modules[module] = modules.get(module, 0.0) + own
        function = f"{module} {name}"
        functions[function] = functions.get(function, 0.0) + own
        calls[function] = calls.get(function, 0) + count
    total = sum(modules.values())
    for module, own in sorted(modules.items(), key=lambda item: -item[1])[:14]:
        print(f"{module:40} {100 * own / total:5.1f} %")
    print()
    for function, own in sorted(functions.items(), key=lambda item: -item[1])[:25]:
        print(f"{function:40} {100 * own / total:5.1f} %  {calls[function] / packets:5.2f} calls a packet")
