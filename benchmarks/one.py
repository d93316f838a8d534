"""Measure one workload in this process and print the figures as one line of JSON. run.py starts it.

Which checkout is measured is that which this interpreter finds, for instance by PYTHONPATH.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from pathlib import Path

from cases import CASES


def main() -> None:
    """Measure ``argv[1]`` at the share ``argv[2]`` of its full size."""
    figures = CASES[sys.argv[1]].measure(float(sys.argv[2]))
    loop = importlib.import_module("mptcpsim.sim.loop")
    root = Path(str(importlib.import_module("mptcpsim").__file__)).resolve().parents[1]
    print(
        json.dumps(
            {
                "figures": figures,
                "compiled": not str(loop.__file__).endswith(".py"),
                "python": platform.python_version(),
                "checkout": str(root),
            }
        )
    )


if __name__ == "__main__":
    main()
