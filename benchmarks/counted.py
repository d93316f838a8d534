"""Run W1 or W2 and mark the time between two instants for callgrind. instructions.py starts it.

A mark is a call of ``getppid``, which nothing else calls: callgrind writes down its count there. Start,
imports, building, handshakes and slow start come before the first mark.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from networks import Workload
from w1 import W1
from w2 import W2

WORKLOADS: dict[str, type[Workload]] = {"W1": W1, "W2": W2}


def main() -> None:
    """Run ``argv[1]`` and mark the instants ``argv[2]`` and ``argv[3]``; print what was delivered between."""
    workload = WORKLOADS[sys.argv[1]]()  # type: ignore[call-arg]
    before = workload.run(float(sys.argv[2]))
    os.getppid()
    after = workload.run(float(sys.argv[3]))
    os.getppid()
    loop = importlib.import_module("mptcpsim.sim.loop")
    root = Path(str(importlib.import_module("mptcpsim").__file__)).resolve().parents[1]
    print(
        json.dumps(
            {
                "packets": after - before,
                "compiled": not str(loop.__file__).endswith(".py"),
                "checkout": str(root),
            }
        )
    )


if __name__ == "__main__":
    main()
