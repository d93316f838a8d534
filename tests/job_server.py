"""Carries out commands of ``mptcpsim``, each in a process of its own that is forked off this one.

``compare_checkouts`` starts it with PYTHONPATH set to a checkout: importing the libraries takes longer than
most of the runs. A request is a line of JSON on stdin (``arguments``, ``directory``, ``stdout``, ``stderr``,
``seconds``), the answer one on stdout (``status``, ``cpu_s``).
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

#: Libraries that a run needs; pandas, where it is installed, is imported by pyarrow.
LIBRARIES = (
    "numpy",
    "networkx",
    "pandas",
    "pyarrow.compute",
    "pyarrow.parquet",
    "rich.table",
    "simpy",
    "tomlkit",
)

#: Exit status of a command that ends in a traceback: README.md gives 1 another meaning.
TRACEBACK = 70


def carry_out(request: dict[str, Any]) -> None:
    """Run a command in this process, and end it."""
    status = 0
    # Without a handler this ends the process.
    signal.alarm(request["seconds"])
    os.chdir(request["directory"])
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    sys.argv = ["mptcpsim", *request["arguments"]]
    try:
        runpy.run_module("mptcpsim", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = TRACEBACK
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Serve until stdin ends."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    # The names of the package's interface, which are looked up when they are asked for.
    for name in ("build", "load"):
        getattr(importlib.import_module("mptcpsim"), name)
    importlib.import_module("mptcpsim.cli")
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            carry_out(request)
        _, status, usage = os.wait4(process, 0)
        answer = {"status": os.waitstatus_to_exitcode(status), "cpu_s": usage.ru_utime + usage.ru_stime}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
